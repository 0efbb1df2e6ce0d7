//! With the account, the directories and the sandbox of the service.

use super::*;

#[test]
fn root_has_the_services_user_look() {
    let files = Files::new(&format!("{CONNECTION}[tls]\nca_file = \"DIR/AmazonRootCA1.pem\"\n"));
    let directory = files.0.path();
    let open =
        |name: &str, mode: u32| fs::set_permissions(directory.join(name), fs::Permissions::from_mode(mode)).unwrap();
    let tls = TLS.replace("$CREDENTIALS_DIRECTORY", &directory.display().to_string());
    files.write("gatewire.toml", &format!("{CONNECTION}{tls}"));
    for name in ["AmazonRootCA1.pem", "certificate.pem.crt", "private.pem.key"] {
        fs::copy(CERTIFICATES.path(name), directory.join(name)).unwrap();
        open(name, 0o644);
    }
    fs::copy(env!("CARGO_BIN_EXE_gatewire"), directory.join("gatewire")).unwrap();
    for (name, mode) in [("", 0o755), ("gatewire.toml", 0o644), ("gatewire", 0o755), ("private.pem.key", 0o600)] {
        open(name, mode);
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let others = passwd.lines().filter(|line| !line.starts_with("gatewire:"));
    files.write("passwd", &others.chain(["gatewire:x:64998:64998::/:/bin/false", ""]).collect::<Vec<_>>().join("\n"));
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind \"$1\" /etc/passwd && shift && exec \"$@\"", "-"]);
    command.arg(directory.join("passwd")).arg(directory.join("gatewire"));
    command.arg("--config").arg(directory.join("gatewire.toml")).arg("check");
    let said = files.said(command.output().unwrap());
    assert_eq!(said.code, Some(78), "{said:?}");
    assert!(said.stderr.starts_with("checked as the user gatewire, which the service runs as:\n"), "{said:?}");
    assert!(said.stderr.contains("tls.key_file private.pem.key: the user gatewire may not read it"), "{said:?}");
}

#[test]
fn a_directory_that_only_systemd_names_is_pointed_out() {
    let status = "[status]\nsocket = \"$RUNTIME_DIRECTORY/status.sock\"\n";
    let said = Files::new(&format!("{CONNECTION}{TLS}{status}")).check();
    assert_eq!(said.code, Some(0), "{said:?}");
    let note = "  note     `gatewire run` started by hand ends with: gatewire.toml:10: `status.socket`: $RUNTIME_DIRECTORY isn't set";
    assert!(said.stdout.contains(note), "{said:?}");
}

/// `gatewire check` by hand on a machine where `unit` is installed, with the configuration of `files` where the package has it.
fn check_installed(files: &Files, prepare: &str) -> Said {
    let mut command = Command::new("unshare");
    let script = "set -e
        mkdir -p /etc/gatewire /etc/systemd
        mount -t tmpfs tmpfs /etc/gatewire; mount -t tmpfs tmpfs /etc/systemd
        mkdir -p /etc/systemd/system/gatewire.service.d
        cp packaging/systemd/gatewire.service /etc/systemd/system/
        cp \"$1/gatewire.toml\" /etc/gatewire/
        eval \"$2\"; shift 2; exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "-"]).arg(files.0.path()).arg(prepare);
    command.arg(env!("CARGO_BIN_EXE_gatewire")).arg("check").current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env("CREDENTIALS_DIRECTORY", CERTIFICATES.path("")).env("GATEWIRE_CHECKED_AS_SERVICE", "1");
    files.said(command.output().unwrap())
}

#[test]
fn what_the_units_sandbox_hides_is_told_when_the_installed_configuration_is_checked() {
    let files = Files::new("");
    let at = files.0.path().display().to_string();
    assert!(at.starts_with("/tmp/"), "the test needs a directory that PrivateTmp= hides");
    for name in ["AmazonRootCA1.pem", "certificate.pem.crt", "private.pem.key"] {
        fs::copy(CERTIFICATES.path(name), files.0.path().join(name)).unwrap();
    }
    fs::write(files.0.path().join("value"), "1").unwrap();
    let tls = TLS.replace("$CREDENTIALS_DIRECTORY", &at);
    let text = format!(
        "{CONNECTION}{tls}[[publish]]\nname = \"p\"\ntopic = \"t\"\nevery = \"1m\"\ncommand = [\"sh\", \"-c\", \"cat {at}/value\"]\n\
         [[ingest]]\nname = \"up\"\ntopics = [\"a\"]\nsocket = \"{at}/up.sock\"\n[status]\nsocket = \"/run/status.sock\"\n\
         [outbox]\npath = \"/srv/gatewire.db\"\n\
         [[bridge]]\nname = \"house\"\nbroker = \"unix:{at}/mqtt.sock\"\n[[bridge.up]]\nfrom = \"z/#\"\n"
    );
    files.write("gatewire.toml", &text);
    let said = check_installed(&files, "true");
    assert_eq!(said.code, Some(78), "{said:?}");
    let line = |needle: &str| {
        let found = said.stderr.lines().find(|line| line.contains(needle));
        found.unwrap_or_else(|| panic!("{needle}: {said:?}")).to_owned()
    };
    let key = line(
        "`tls.key_file`: the service can't see private.pem.key: PrivateTmp=yes in /etc/systemd/system/gatewire.service",
    );
    assert!(key.starts_with("/etc/gatewire/gatewire.toml:8: "), "{key}");
    assert!(key.contains("such as /etc/gatewire/certs"), "{key}");
    assert!(line("`ingest.socket`: warning").contains("no other program will find the socket up.sock"));
    assert!(line("`status.socket`: ").contains("the service can't write /run/status.sock: ProtectSystem=strict"));
    assert!(line("`outbox.path`: ").contains("'%s\\n' '[Service]' ReadWritePaths=/srv | sudo tee"));
    assert!(line("warning: publish p: ").contains("the service can't see value: PrivateTmp=yes"));
    assert!(line("warning: bridge house: ").contains("the service can't see mqtt.sock: PrivateTmp=yes"));
    // The drop-in, as it is printed, is all that was missing.
    let store = line("`outbox.path`: ");
    let drop_in = store.split('`').find(|part| part.starts_with("sudo mkdir")).unwrap();
    let allow = format!("{} >&2", drop_in.replace("sudo ", "").replace("&& systemctl daemon-reload", ""));
    let more =
        "printf '[Service]\\nPrivateTmp=no\\nProtectSystem=no\\n' > /etc/systemd/system/gatewire.service.d/20.conf";
    assert!(!check_installed(&files, &allow).stderr.contains("`outbox.path`"));
    let said = check_installed(&files, more);
    assert_eq!(said.code, Some(0), "{said:?}");
    // Of a configuration that isn't the service's nothing is said.
    let said = check_installed(
        &files,
        &format!(
            "cp /etc/gatewire/gatewire.toml {at}/own.toml; set -- \"$1\" \"$2\" \"$3\" --config {at}/own.toml check"
        ),
    );
    assert_eq!(said.code, Some(0), "{said:?}");
}
