//! A token of SoftHSM, and a module between it and gatewire that has faults when a test wants them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

use super::CERTIFICATES;
use super::daemon::Setup;

/// SoftHSM's own module.
pub const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// The PIN of every token here.
pub const PIN: &str = "31415926";

/// The same client with a key of RSA: its key, and its certificate of the same CA.
static RSA: LazyLock<(PathBuf, PathBuf)> = LazyLock::new(|| {
    let key = CERTIFICATES.path("rsa.key");
    run(Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048"));
    (key, CERTIFICATES.issue("rsa.crt", "rsa.key", "extendedKeyUsage=clientAuth", 30))
});

/// A token `gw` with the keys `ec` (id 01) and `rsa` (id 02), which are those of the certificates.
pub struct Token {
    directory: TempDir,
}

impl Token {
    pub fn new() -> Token {
        let directory = TempDir::new().unwrap();
        let token = Token { directory };
        std::fs::create_dir(token.path("tokens")).unwrap();
        std::fs::create_dir(token.path("state")).unwrap();
        let configuration = format!("directories.tokendir = {}\n", token.path("tokens").display());
        std::fs::write(token.path("softhsm2.conf"), configuration).unwrap();
        token.write_pin(PIN);
        token.util(&["--init-token", "--free", "--label", "gw", "--so-pin", "87654321"]);
        token.import("ec", "01", &CERTIFICATES.path("private.pem.key"));
        token.import("rsa", "02", &RSA.0);
        token
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn import(&self, label: &str, id: &str, key: &Path) {
        let pkcs8 = self.path("pkcs8");
        let openssl = ["pkcs8", "-topk8", "-nocrypt", "-in"];
        run(Command::new("openssl").args(openssl).arg(key).arg("-out").arg(&pkcs8));
        let file = pkcs8.to_str().unwrap();
        self.util(&["--import", file, "--token", "gw", "--label", label, "--id", id]);
    }

    fn util(&self, arguments: &[&str]) {
        let mut command = Command::new("softhsm2-util");
        run(command.args(arguments).args(["--pin", PIN]).env("SOFTHSM2_CONF", self.path("softhsm2.conf")));
    }

    /// The file that holds the PIN.
    pub fn write_pin(&self, pin: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(self.path("pin"), pin).unwrap();
        std::fs::set_permissions(self.path("pin"), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// The token has another PIN from now on.
    pub fn change_pin(&self, pin: &str) {
        let mut command = Command::new("pkcs11-tool");
        command.args([
            "--module",
            SOFTHSM,
            "--token-label",
            "gw",
            "--login",
            "--pin",
            PIN,
            "--change-pin",
            "--new-pin",
            pin,
        ]);
        run(command.env("SOFTHSM2_CONF", self.path("softhsm2.conf")));
    }

    /// The URI of a key through this module.
    pub fn uri(&self, object: &str, module: &Path) -> String {
        let (module, pin) = (module.display(), self.path("pin"));
        format!("pkcs11:token=gw;object={object}?module-path={module}&pin-source=file:{}", pin.display())
    }

    /// The configuration with the key that has this name here, and its certificate.
    pub fn give(&self, setup: Setup, object: &str, module: &Path) -> Setup {
        let own = CERTIFICATES.path("private.pem.key").display().to_string();
        let setup = setup.edit(&own, &self.uri(object, module));
        let setup = setup.env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        let setup = setup.env("STATE_DIRECTORY", self.path("state")).env("TEST_MODULE", self.directory.path());
        if object == "rsa" { setup.credential("certificate.pem.crt", &RSA.1) } else { setup }
    }

    /// Builds the module with faults.
    pub fn faulty_module(&self) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/module.c");
        let module = self.path("module.so");
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&module).arg(source).arg("-ldl");
        run(&mut command);
        module
    }

    /// From now on the module has this fault: see tests/support/module.c.
    pub fn fault(&self, fault: &str) {
        std::fs::write(self.path("fault.new"), fault).unwrap();
        std::fs::rename(self.path("fault.new"), self.path("fault")).unwrap();
    }

    /// How often the module was asked to log in.
    pub fn logins(&self) -> usize {
        std::fs::read(self.path("logins")).map_or(0, |logins| logins.len())
    }

    /// The token is gone, or there again.
    pub fn pull_out(&self) {
        std::fs::rename(self.path("tokens"), self.path("pulled-out")).unwrap();
        std::fs::create_dir(self.path("tokens")).unwrap();
    }

    pub fn plug_in(&self) {
        std::fs::remove_dir_all(self.path("tokens")).unwrap();
        std::fs::rename(self.path("pulled-out"), self.path("tokens")).unwrap();
    }
}

/// A program that must succeed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error} (`make test` installs it)"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
