//! A TPM 2.0 in software (swtpm), and keys that were made in it (tpm2-pkcs11).

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::daemon::Setup;
use super::softhsm::{PIN, run};
use super::{CERTIFICATES, eventually, program};

/// tpm2-pkcs11's module, wherever Debian has it on this machine.
pub fn module() -> PathBuf {
    let libraries = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let modules = libraries.map(|directory| directory.join("pkcs11/libtpm2_pkcs11.so"));
    modules.into_iter().find(|module| module.exists()).expect("libtpm2-pkcs11-1 (`make test` installs it)")
}

pub struct Tpm {
    child: Child,
    directory: TempDir,
}

impl Tpm {
    /// With the keys `ec` and `rsa` in the token `gw`, made there, and a certificate of each.
    pub fn new() -> Tpm {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["tpm", "store", "state"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        let mut command = program("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"]);
        command.arg(format!("dir={}", path("tpm").display()));
        command.arg("--server").arg(format!("type=unixio,path={}", path("tpm.sock").display()));
        command.arg("--ctrl").arg(format!("type=unixio,path={}", path("tpm.sock.ctrl").display()));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("swtpm's socket", || path("tpm.sock.ctrl").exists().then_some(()));
        std::fs::write(path("pin"), PIN).unwrap();
        let tpm = Tpm { child, directory };
        let so_pin = ["--so-pin", "87654321"];
        tpm.tool(&["--init-token", "--label", "gw", "--slot-index", "0"], &so_pin);
        tpm.tool(&["--token-label", "gw", "--login", "--login-type", "so", "--init-pin", "--pin", PIN], &so_pin);
        for (label, kind, id) in [("ec", "EC:prime256v1", "01"), ("rsa", "rsa:2048", "02")] {
            let login = ["--token-label", "gw", "--login", "--pin", PIN];
            tpm.tool(&login, &["--keypairgen", "--key-type", kind, "--label", label, "--id", id]);
            tpm.certify(label, id);
        }
        tpm
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What the module has to know: where the TPM is, and its store.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let socket = format!("swtpm:path={}", self.path("tpm.sock").display());
        [("TPM2_PKCS11_TCTI", socket), ("TPM2_PKCS11_STORE", self.path("store").display().to_string())]
    }

    fn tool(&self, arguments: &[&str], others: &[&str]) {
        let mut command = Command::new("pkcs11-tool");
        command.arg("--module").arg(module()).args(arguments).args(others).envs(self.environment());
        run(&mut command);
    }

    /// A certificate for a key of which only the public half leaves the TPM.
    fn certify(&self, label: &str, id: &str) {
        let (der, public, certificate) =
            (self.path("key.der"), self.path("key.pub"), self.path(&format!("{label}.crt")));
        let read = ["--token-label", "gw", "--read-object", "--type", "pubkey", "--id", id];
        self.tool(&read, &["--output-file", der.to_str().unwrap()]);
        let openssl = |arguments: &[&str], files: &[(&str, &Path)]| {
            let mut command = Command::new("openssl");
            command.args(arguments);
            for (option, file) in files {
                command.arg(option).arg(file);
            }
            run(&mut command);
        };
        openssl(&["pkey", "-pubin", "-inform", "der"], &[("-in", &der), ("-out", &public)]);
        let (ca, ca_key) = (CERTIFICATES.path("AmazonRootCA1.pem"), CERTIFICATES.path("ca.key"));
        let files = [("-CA", &*ca), ("-CAkey", &*ca_key), ("-force_pubkey", &*public), ("-out", &*certificate)];
        openssl(&["x509", "-new", "-subj", "/CN=thing-1", "-days", "30"], &files);
    }

    /// The URI of a key.
    pub fn uri(&self, object: &str) -> String {
        let (module, pin) = (module(), self.path("pin"));
        format!("pkcs11:token=gw;object={object}?module-path={}&pin-source=file:{}", module.display(), pin.display())
    }

    /// The configuration with the key that has this name here, and its certificate.
    pub fn give(&self, setup: Setup, object: &str) -> Setup {
        let setup = setup.edit(&CERTIFICATES.path("private.pem.key").display().to_string(), &self.uri(object));
        let setup = setup.credential("certificate.pem.crt", &self.path(&format!("{object}.crt")));
        let [socket, store] = self.environment();
        setup.env(socket.0, socket.1).env(store.0, store.1).env("STATE_DIRECTORY", self.path("state"))
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
