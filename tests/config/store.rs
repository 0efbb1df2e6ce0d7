//! The directory and the file system of the store.

use super::*;

#[test]
fn a_store_that_cannot_be_written_is_told() {
    let files = Files::new("");
    let at = files.0.path().join("ro");
    fs::create_dir(&at).unwrap();
    files.write("gatewire.toml", &format!("{CONNECTION}{TLS}[outbox]\npath = \"{}/a.db\"\n", at.display()));
    let mut command = Command::new("unshare");
    let mount = "mount -t tmpfs -o ro tmpfs \"$1\" && shift && exec \"$@\"";
    command.args(["--mount", "sh", "-c", mount, "-"]).arg(&at).arg(env!("CARGO_BIN_EXE_gatewire"));
    command.arg("--config").arg(files.0.path().join("gatewire.toml")).arg("check");
    command.env("CREDENTIALS_DIRECTORY", CERTIFICATES.path(""));
    let said = files.said(command.output().unwrap());
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("nothing could be stored: ") && said.stderr.contains("read-only"), "{said:?}");
}

#[test]
fn a_store_in_memory_is_warned_of() {
    for there in ["", "/none/below"] {
        let files = Files::new("");
        let at = files.0.path().join("memory");
        fs::create_dir(&at).unwrap();
        let path = format!("{}{there}/a.db", at.display());
        files.write("gatewire.toml", &format!("{CONNECTION}{TLS}[outbox]\npath = \"{path}\"\n"));
        let mut command = Command::new("unshare");
        let mount = "mount -t tmpfs tmpfs \"$1\" && shift && exec \"$@\"";
        command.args(["--mount", "sh", "-c", mount, "-"]).arg(&at).arg(env!("CARGO_BIN_EXE_gatewire"));
        command.arg("--config").arg(files.0.path().join("gatewire.toml")).arg("check");
        command.env("CREDENTIALS_DIRECTORY", CERTIFICATES.path(""));
        let said = files.said(command.output().unwrap());
        assert!(said.code == Some(0) && said.stderr.contains("a tmpfs, which is memory"), "{said:?}");
    }
}

/// As `raspi-config` mounts the root file system to spare the card.
#[test]
fn a_store_on_an_overlay_in_memory_is_warned_of_and_one_of_unknown_size_is_not_called_full() {
    let overlay = "mkdir \"$1/u\" \"$1/l\" && mount -t tmpfs tmpfs \"$1/u\" && mkdir \"$1/u/u\" \"$1/u/w\" && \
        mount -t overlay -o \"lowerdir=$1/l,upperdir=$1/u/u,workdir=$1/u/w\" overlay \"$1/l\"";
    let ramfs = "mkdir \"$1/l\" && mount -t ramfs ramfs \"$1/l\"";
    for (mount, kind) in
        [(overlay, "an overlay that keeps changes in a tmpfs, which is memory"), (ramfs, "a ramfs, which is memory")]
    {
        let files = Files::new("");
        let at = files.0.path().join("memory");
        fs::create_dir(&at).unwrap();
        let path = format!("{}/l/a.db", at.display());
        files.write("gatewire.toml", &format!("{CONNECTION}{TLS}[outbox]\npath = \"{path}\"\n"));
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &format!("{mount} && shift && exec \"$@\""), "-"]).arg(&at);
        command.arg(env!("CARGO_BIN_EXE_gatewire"));
        command.arg("--config").arg(files.0.path().join("gatewire.toml")).arg("check");
        command.env("CREDENTIALS_DIRECTORY", CERTIFICATES.path(""));
        let said = files.said(command.output().unwrap());
        assert!(said.code == Some(0) && said.stderr.contains(kind), "{said:?}");
    }
}
