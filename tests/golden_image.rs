//! packaging/golden-image: an image from which each device gets its own identity, and no look into the machine that runs. That gatewire
//! comes out of it twice as two is tested in tests/systemd.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use support::CERTIFICATES;
use tempfile::TempDir;

const CONFIG: &str = "[connection]\nendpoint = \"a1b2c3d4e5f6g7-ats.iot.eu-west-1.amazonaws.com\"\nclient_id = \"{{thing}}\"\n\
    [provisioning]\ntemplate = \"gateways\"\nclaim_cert_file = \"/etc/gatewire/claim/certificate.pem.crt\"\n\
    claim_key_file = \"/etc/gatewire/claim/private.pem.key\"\nparameters = { SerialNumber = \"{{serial}}\" }\n";

/// What one device has in it that no other may have.
const ONE_DEVICE: [&str; 12] = [
    "var/lib/gatewire/identity/private.pem.key",
    "var/lib/gatewire/identity.next/progress.json",
    "var/lib/gatewire/gatewire.db",
    "var/lib/gatewire/gatewire.db-wal",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/lib/dhcp/dhclient.eth0.leases",
    "var/lib/NetworkManager/secret_key",
    "root/.bash_history",
    "var/lib/dbus/machine-id",
];

/// A root directory that looks like that of a gateway which has run.
struct Image {
    root: TempDir,
    files: TempDir,
}

impl Image {
    fn new() -> Image {
        let image = Image { root: TempDir::new().unwrap(), files: TempDir::new().unwrap() };
        image.write("etc/passwd", "root:x:0:0::/root:/bin/sh\ngatewire:x:997:996::/:/usr/sbin/nologin\n");
        image.write("etc/group", "root:x:0:\ngatewire:x:996:\n");
        image.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        image.write("etc/gatewire/conf.d/README", "");
        image.write("etc/debian_version", "12.9\n");
        image.write("var/log/journal/0123/system.journal", "LPKSHHRH");
        image.write("var/log/syslog", "a line\n");
        image.write("var/log/syslog.1", "a line\n");
        image.write("usr/sbin/sshd", "");
        image.write("usr/bin/gatewire", "");
        image.write("usr/lib/systemd/system/gatewire.service", "");
        for name in ["usr/sbin/sshd", "usr/bin/gatewire"] {
            fs::set_permissions(image.path(name), Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir_all(image.path("etc/systemd/system/multi-user.target.wants")).unwrap();
        let unit = image.path("etc/systemd/system/multi-user.target.wants/gatewire.service");
        symlink("/usr/lib/systemd/system/gatewire.service", unit).unwrap();
        ONE_DEVICE.iter().for_each(|name| image.write(name, "one device's"));
        fs::write(image.files.path().join("gatewire.toml"), CONFIG).unwrap();
        image
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Exit code, standard output, standard error.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/golden-image");
        let root = self.root.path().to_str().unwrap();
        let arguments = arguments.iter().map(|word| word.replace("ROOT", root));
        let output = Command::new(script).args(arguments).current_dir(self.files.path()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// With the configuration above and a claim.
    fn prepare(&self) -> (i32, String, String) {
        let [certificate, key] = ["certificate.pem.crt", "private.pem.key"].map(|name| CERTIFICATES.path(name));
        let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
        self.run(&["--config", "gatewire.toml", "--claim-cert", certificate, "--claim-key", key, "ROOT"])
    }

    /// What is wrong with one that was prepared and then changed; it must be.
    fn problems_after(change: impl FnOnce(&Image)) -> Vec<String> {
        let image = Image::new();
        assert_eq!(image.prepare().0, 0);
        change(&image);
        let (code, said, errors) = image.run(&["--check", "ROOT"]);
        let problems: Vec<String> = said.lines().map(str::to_owned).collect();
        assert_eq!(code, 1, "{said}{errors}");
        assert!(errors.contains(&format!("{} thing", problems.len())), "{errors}");
        problems
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn mode(path: &Path) -> (u32, u32, u32) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
}

#[test]
fn what_belongs_to_one_device_is_gone_and_the_claim_is_there() {
    if !is_root() {
        return;
    }
    let image = Image::new();
    let (code, said, errors) = image.prepare();
    assert_eq!((code, errors.as_str()), (0, ""), "{said}");
    assert!(said.ends_with("each device that is flashed from it gets its own identity\n"), "{said}");
    for name in ONE_DEVICE {
        assert!(!image.path(name).exists(), "{name}");
    }
    assert_eq!(fs::read_to_string(image.path("etc/machine-id")).unwrap(), "");
    assert!(image.path("var/lib/gatewire").is_dir());
    assert_eq!(fs::read_dir(image.path("var/log/journal")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(image.path("var/log/syslog")).unwrap(), "", "its writer finds it as it was");
    assert!(!image.path("var/log/syslog.1").exists());
    assert_eq!(mode(&image.path("etc/gatewire/gatewire.toml")), (0o644, 0, 0));
    assert_eq!(mode(&image.path("etc/gatewire/claim")), (0o750, 0, 996));
    assert_eq!(mode(&image.path("etc/gatewire/claim/certificate.pem.crt")), (0o644, 0, 0));
    assert_eq!(mode(&image.path("etc/gatewire/claim/private.pem.key")), (0o600, 997, 996), "of the image's users");
    let wanted = image.path("etc/systemd/system/multi-user.target.wants/ssh-host-keys.service");
    assert!(fs::metadata(wanted).unwrap().is_file(), "SSH gets keys of its own");
    assert_eq!(image.run(&["--check", "ROOT"]).0, 0);
    assert_eq!(image.prepare().0, 0, "and once more");
}

#[test]
fn a_gateway_that_has_run_is_no_image_and_each_thing_is_named() {
    if !is_root() {
        return;
    }
    let image = Image::new();
    image.write("etc/gatewire/gatewire.toml", CONFIG);
    let (code, said, _) = image.run(&["--check", "ROOT"]);
    assert_eq!(code, 1);
    for name in ONE_DEVICE.iter().chain(&["etc/machine-id", "var/log"]) {
        // A directory is named as a whole.
        let named = |line: &str| {
            let path = line.split(": ").next().unwrap();
            format!("/{name}").starts_with(path)
        };
        assert!(said.lines().any(named), "{name}: {said}");
    }
    assert!(said.contains("the claim isn't there"), "{said}");
    assert!(image.path("var/lib/gatewire/gatewire.db").exists(), "--check changes nothing");
    assert!(image.path("etc/ssh/ssh_host_ed25519_key").exists());
}

#[test]
fn a_template_may_need_no_parameters() {
    if !is_root() {
        return;
    }
    let image = Image::new();
    let configuration = CONFIG.replace("parameters = { SerialNumber = \"{{serial}}\" }\n", "");
    assert_ne!(configuration, CONFIG);
    assert_eq!(image.prepare().0, 0);
    image.write("etc/gatewire/gatewire.toml", &configuration);
    let (code, said, errors) = image.run(&["--check", "ROOT"]);
    assert_eq!(code, 0, "{said}{errors}");
    assert!(errors.contains("note: /etc/gatewire/gatewire.toml: no parameters"), "{errors}");
}

#[test]
fn what_would_make_two_devices_one_is_named() {
    if !is_root() {
        return;
    }
    let edit = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        move |image: &Image| image.write("etc/gatewire/gatewire.toml", &CONFIG.replace(&from, &to))
    };
    for (problems, expected) in [
        (Image::problems_after(edit("{{thing}}", "thing-gateway-01")), "client_id is the same on all devices"),
        (Image::problems_after(edit("{{serial}}", "1")), "parameters are the same on all devices"),
        (Image::problems_after(edit("{{serial}}", "{{hostname}}")), "parameters are the same on all devices"),
        (
            Image::problems_after(edit(
                "parameters = { SerialNumber = \"{{serial}}\" }\n",
                "[provisioning.parameters]\n# {{serial}}\nSerialNumber = \"1\"\n",
            )),
            "parameters are the same on all devices",
        ),
        (Image::problems_after(edit("[provisioning]", "claim_client_id = \"x\"\n[provisioning]")), "claim_client_id"),
        (Image::problems_after(edit("[provisioning]", "[other]")), "no [provisioning]"),
        (Image::problems_after(edit("a1b2c3d4e5f6g7", "xxxxxxxxxxxxxx")), "isn't started"),
        (
            Image::problems_after(|image| image.write("var/lib/gatewire/identity/thing.json", "{}")),
            "/var/lib/gatewire/identity",
        ),
        (Image::problems_after(|image| image.write("etc/machine-id", "uninitialised")), "/etc/machine-id"),
        (Image::problems_after(|image| image.write("etc/gatewire/certs/private.pem.key", "")), "Remove it"),
        (Image::problems_after(|image| image.write("home/pi/.aws/credentials", "")), "/home/pi/.aws/credentials"),
        (Image::problems_after(|image| image.write("var/lib/softhsm/tokens/1/token.object", "")), "keys of one device"),
        (Image::problems_after(|image| fs::remove_file(image.path("usr/bin/gatewire")).unwrap()), "isn't installed"),
        (
            Image::problems_after(|image| {
                fs::remove_file(image.path("etc/systemd/system/multi-user.target.wants/gatewire.service")).unwrap();
            }),
            "not enabled",
        ),
        (
            Image::problems_after(|image| {
                let key = image.path("etc/gatewire/claim/private.pem.key");
                fs::set_permissions(key, Permissions::from_mode(0o640)).unwrap();
            }),
            "readable by gatewire alone",
        ),
        (
            Image::problems_after(|image| {
                fs::copy(CERTIFICATES.path("server.key"), image.path("etc/gatewire/claim/private.pem.key")).unwrap();
            }),
            "don't belong together",
        ),
    ] {
        assert!(matches!(&problems[..], [only] if only.contains(expected)), "{expected}: {problems:#?}");
    }
}

#[test]
fn a_link_in_the_image_leads_to_nothing_of_the_machine_that_runs() {
    if !is_root() {
        return;
    }
    for (name, inside) in [("var/lib/gatewire", "identity"), ("var/log", "log"), ("etc/ssh", "ssh_host_rsa_key")] {
        let (image, here) = (Image::new(), TempDir::new().unwrap());
        fs::write(here.path().join(inside), "of this machine").unwrap();
        fs::remove_dir_all(image.path(name)).unwrap();
        symlink(here.path(), image.path(name)).unwrap();
        let (code, _, errors) = image.prepare();
        assert_eq!(code, 1, "{name}");
        assert!(errors.contains("which isn't in the image: mount there what belongs there"), "{errors}");
        assert_eq!(fs::read_to_string(here.path().join(inside)).unwrap(), "of this machine");
    }
    let (image, here) = (Image::new(), TempDir::new().unwrap());
    let of_here = here.path().join("machine-id");
    fs::write(&of_here, "of this machine").unwrap();
    fs::remove_file(image.path("etc/machine-id")).unwrap();
    symlink(&of_here, image.path("etc/machine-id")).unwrap();
    assert_eq!(image.prepare().0, 0);
    assert_eq!(fs::read_to_string(&of_here).unwrap(), "of this machine");
    assert!(!image.path("etc/machine-id").is_symlink());
}

#[test]
fn a_link_is_followed_within_the_image_and_what_one_device_has_there_is_found_and_removed() {
    if !is_root() {
        return;
    }
    let image = Image::new();
    for (link, to, target) in [
        ("var/lib/gatewire", "/data/gatewire", "data/gatewire"),
        ("etc/ssh", "../data/ssh", "data/ssh"),
        ("home", "/../data/home", "data/home"),
    ] {
        fs::create_dir_all(image.path("data")).unwrap();
        match image.path(link).exists() {
            true => fs::rename(image.path(link), image.path(target)).unwrap(),
            false => fs::create_dir(image.path(target)).unwrap(),
        }
        symlink(to, image.path(link)).unwrap();
    }
    image.write("data/home/pi/.bash_history", "typed");
    image.write("data/seed", "one device's");
    fs::remove_file(image.path("var/lib/systemd/random-seed")).unwrap();
    symlink("/data/seed", image.path("var/lib/systemd/random-seed")).unwrap();
    symlink("/dev/null", image.path("data/home/.bash_history")).unwrap();
    let of_one_device = [
        "data/gatewire/identity/private.pem.key",
        "data/gatewire/gatewire.db",
        "data/ssh/ssh_host_ed25519_key",
        "data/home/pi/.bash_history",
        "data/seed",
    ];
    let (code, said, _) = image.run(&["--check", "ROOT"]);
    assert_eq!(code, 1, "{said}");
    for name in of_one_device {
        let names = |line: &str| format!("/{name}").starts_with(line.split(": ").next().unwrap());
        assert!(said.lines().any(names), "{name}: {said}");
    }
    let (code, said, errors) = image.prepare();
    assert_eq!((code, errors.as_str()), (0, ""), "{said}");
    for name in of_one_device {
        assert!(!image.path(name).exists(), "{name}");
    }
    assert!(image.path("var/lib/gatewire").is_symlink() && image.path("data/gatewire").is_dir());

    // Whether a directory somewhere else may be removed isn't known.
    image.write("data/shared/private.pem.key", "one device's");
    symlink("/data/shared", image.path("data/gatewire/identity")).unwrap();
    let (code, _, errors) = image.prepare();
    assert!(
        code == 1 && errors.contains("/data/gatewire/identity of the image is a link to the directory"),
        "{errors}"
    );
    assert!(image.path("data/shared/private.pem.key").exists());
    fs::remove_file(image.path("data/gatewire/identity")).unwrap();
    symlink("b", image.path("data/a")).unwrap();
    symlink("a", image.path("data/b")).unwrap();
    fs::remove_dir_all(image.path("var/log")).unwrap();
    symlink("/data/a", image.path("var/log")).unwrap();
    let (code, _, errors) = image.run(&["--check", "ROOT"]);
    assert!(code == 1 && errors.contains("lead in a circle"), "{errors}");
}

#[test]
fn a_wrong_call_changes_nothing_and_says_why() {
    if !is_root() {
        return;
    }
    let image = Image::new();
    for (arguments, expected) in [
        (&[][..], "one ROOT is wanted"),
        (&["/"], "the machine that runs"),
        (&["/nowhere"], "/nowhere is no directory"),
        (&["--verbose", "ROOT"], "there is no option --verbose"),
        (&["--config", "nowhere", "ROOT"], "nowhere is no file"),
        (&["--config"], "--config wants a file"),
        (&["--claim-key", "gatewire.toml", "ROOT"], "belong together"),
        (&["--check", "--config", "gatewire.toml", "ROOT"], "--check changes nothing"),
        (&["."], "isn't the root directory of a Debian"),
    ] {
        let (code, said, errors) = image.run(arguments);
        assert_eq!((code, said.as_str()), (64, ""), "{arguments:?}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
    let (code, _, errors) = image.run(&["--package", "gatewire.toml", "ROOT"]);
    assert_eq!((code, errors.contains("is no Debian package")), (1, true), "{errors}");
    assert!(image.path("etc/ssh/ssh_host_ed25519_key").exists());
    assert!(image.run(&["--help"]).1.contains("--claim-key FILE"));
}
