//! Files and who may use them: what the daemon makes, what it finds, and what root has left there.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "files/replaced.rs"]
mod replaced;
mod support;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use support::daemon::Setup;
use support::{CERTIFICATES, closed_port, eventually};

/// A user that has nothing to do with any other.
const USER: u32 = 54_321;

const SOCKETS: &str = "[[forward]]\nname = \"all\"\nfilters = [\"a/#\"]\nsocket = \"DIR/messages.sock\"\n\
                       [[ingest]]\nname = \"in\"\ntopics = [\"a/#\"]\nsocket = \"DIR/publish.sock\"\n";

const LINE: &str = r#"{"topic":"a/b","payload":"x"}"#;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A daemon without a link, in a directory of [`USER`], who can read the credentials.
fn in_a_directory_of_the_user() -> Setup {
    let mut setup = Setup::new(closed_port(), SOCKETS);
    for name in ["AmazonRootCA1.pem", "certificate.pem.crt", "private.pem.key"] {
        let copy = setup.directory.path().join(name);
        fs::copy(CERTIFICATES.path(name), &copy).unwrap();
        fs::set_permissions(&copy, Permissions::from_mode(0o600)).unwrap();
        chown(&copy, Some(USER), Some(USER)).unwrap();
        setup = setup.credential(name, &copy);
    }
    chown(setup.directory.path(), Some(USER), Some(USER)).unwrap();
    setup
}

fn as_the_user(setup: &Setup) -> Setup {
    let id = USER.to_string();
    setup.again().under(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups", "--"])
}

fn owner_and_mode(path: &Path) -> (u32, u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

#[test]
fn its_files_are_for_gatewire_alone_whatever_the_umask() {
    for umask in ["000", "022", "777"] {
        let words = ["sh", "-c", &format!("umask {umask}; exec \"$@\""), "-"];
        let gatewire = Setup::new(closed_port(), SOCKETS).under(words).start();
        assert_eq!(gatewire.client("publish.sock").ask(LINE)["result"], "stored");
        for file in ["gatewire.db", "gatewire.db-wal", "gatewire.db.lock"] {
            let mode = owner_and_mode(&gatewire.path(file)).2;
            assert_eq!(mode, 0o600, "{file} is {mode:o} with the umask {umask}");
        }
        for socket in ["messages.sock", "publish.sock", "status.sock"] {
            assert_eq!(owner_and_mode(&gatewire.path(socket)).2, 0o660, "{socket}");
        }
        gatewire.stop();
    }
}

#[test]
fn what_an_older_version_left_open_is_closed_and_said() {
    let setup = Setup::new(closed_port(), SOCKETS);
    let gatewire = setup.start();
    assert_eq!(gatewire.client("publish.sock").ask(LINE)["result"], "stored");
    gatewire.kill();
    let files = ["gatewire.db", "gatewire.db-wal", "gatewire.db.lock"].map(|file| setup.directory.path().join(file));
    files.iter().for_each(|file| fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap());
    let gatewire = setup.again().start();
    for file in &files {
        gatewire.wait_for(&format!("{} had the mode 0644", file.display()));
        assert_eq!(owner_and_mode(file).2, 0o600);
    }
    gatewire.stop();
}

#[test]
fn what_root_makes_in_the_directory_of_the_service_is_the_services() {
    if !is_root() {
        return;
    }
    let setup = in_a_directory_of_the_user();
    let gatewire = setup.start();
    assert_eq!(gatewire.client("publish.sock").ask(LINE)["result"], "stored");
    // Its sockets stay.
    gatewire.kill();
    for file in ["gatewire.db", "gatewire.db-wal", "gatewire.db.lock"] {
        assert_eq!(owner_and_mode(&setup.directory.path().join(file)), (USER, USER, 0o600), "{file}");
    }
    for socket in ["messages.sock", "publish.sock", "status.sock"] {
        assert_eq!(owner_and_mode(&setup.directory.path().join(socket)), (USER, USER, 0o660), "{socket}");
    }
    let gatewire = as_the_user(&setup).start();
    assert_eq!(gatewire.client("publish.sock").ask(LINE)["result"], "stored");
    eventually("both", || (gatewire.status()["outbox"]["stored"] == 2).then_some(()));
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn what_root_has_left_is_mended_by_one_command_that_is_printed() {
    if !is_root() {
        return;
    }
    let setup = in_a_directory_of_the_user();
    let path = |name: &str| setup.directory.path().join(name);
    let gatewire = as_the_user(&setup).start();
    assert_eq!(gatewire.client("publish.sock").ask(LINE)["result"], "stored");
    gatewire.kill();
    for file in ["gatewire.db", "gatewire.db-wal", "gatewire.db.lock"] {
        chown(path(file), Some(0), Some(0)).unwrap();
    }
    for socket in ["messages.sock", "publish.sock", "status.sock"] {
        let _ = fs::remove_file(path(socket));
        drop(UnixListener::bind(path(socket)).unwrap());
        fs::set_permissions(path(socket), Permissions::from_mode(0o660)).unwrap();
    }
    // Sockets that nobody serves are no reason to end; what can't be stored waits.
    let gatewire = as_the_user(&setup).start();
    let line = gatewire.wait_for("nothing can be stored");
    let command =
        line.split('`').find(|part| part.starts_with("sudo ")).unwrap().trim_start_matches("sudo ").to_owned();
    assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
    gatewire.wait_patiently("is written again");
    let mut client = gatewire.client("publish.sock");
    assert_eq!(client.ask(LINE)["result"], "stored");
    eventually("both", || (gatewire.status()["outbox"]["stored"] == 2).then_some(()));
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn root_is_told_where_there_is_a_user_for_the_service() {
    if !is_root() {
        return;
    }
    let setup = Setup::new(closed_port(), SOCKETS);
    let passwd = setup.directory.path().join("passwd");
    let text = fs::read_to_string("/etc/passwd").unwrap();
    let others: Vec<&str> = text.lines().filter(|line| !line.starts_with("gatewire:")).collect();
    let with_user = format!("{}\ngatewire:x:{USER}:{USER}::/:/bin/false\n", others.join("\n"));
    fs::write(&passwd, with_user).unwrap();
    let mount = "mount --bind \"$1\" /etc/passwd && shift && exec \"$@\"";
    let words = ["unshare", "--mount", "sh", "-c", mount, "-", passwd.to_str().unwrap()];
    let gatewire = setup.again().under(words).start();
    let line = gatewire.wait_for("runs as root");
    assert!(line.contains("sudo systemctl start gatewire") && line.contains("sudo -u gatewire"), "{line}");
    gatewire.wait_for("keeps a link");
    gatewire.stop();
}

fn fifo(path: &Path) {
    let _ = fs::remove_file(path);
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
}

#[test]
fn a_fifo_in_the_place_of_a_file_is_named_at_the_start_and_waited_for_by_nobody() {
    for name in
        ["gatewire.toml", "conf.d/a.toml", "AmazonRootCA1.pem", "certificate.pem.crt", "private.pem.key", "gatewire.db"]
    {
        let setup = in_a_directory_of_the_user();
        fs::create_dir(setup.directory.path().join("conf.d")).unwrap();
        fifo(&setup.directory.path().join(name));
        let gatewire = setup.start();
        let line = gatewire.wait_for(name);
        assert!(line.contains("FIFO"), "{line}");
        assert_eq!(gatewire.wait().0, 78, "{name}");
    }
}

#[test]
fn a_fifo_in_the_place_of_a_file_is_refused_at_a_reload_and_keeps_nothing_from_going_on() {
    let names = ["gatewire.toml", "conf.d/a.toml", "AmazonRootCA1.pem", "certificate.pem.crt", "private.pem.key"];
    for name in names {
        let setup = in_a_directory_of_the_user();
        fs::create_dir(setup.directory.path().join("conf.d")).unwrap();
        let gatewire = setup.start();
        gatewire.wait_for("keeps a link");
        fifo(&setup.directory.path().join(name));
        gatewire.signal("HUP");
        gatewire.wait_for("the new configuration is refused");
        assert!(gatewire.count("FIFO") > 0, "{name}");
        assert_eq!(gatewire.client("publish.sock").ask(LINE)["result"], "stored");
        assert_eq!(gatewire.stop().0, 0);
    }
}

#[test]
fn a_key_or_a_password_that_others_can_read_and_files_that_they_can_change_are_warnings() {
    let setup = in_a_directory_of_the_user();
    let path = |name: &str| setup.directory.path().join(name);
    let set = |name: &str, mode| fs::set_permissions(path(name), Permissions::from_mode(mode)).unwrap();
    fs::create_dir(path("conf.d")).unwrap();
    fs::write(path("conf.d/proxy.toml"), "[connection]\nproxy = \"http://me:secret@localhost:1\"\n").unwrap();
    set("conf.d/proxy.toml", 0o600);
    let warnings = || {
        let (code, _, said) = setup.output("check");
        assert_eq!(code, 0, "{said}");
        said.lines().filter(|line| line.contains("warning")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(warnings(), [""; 0]);
    let cases = [
        ("private.pem.key", 0o640, 0o600, "can be read by its group"),
        ("private.pem.key", 0o644, 0o600, "can be read by every user"),
        ("conf.d/proxy.toml", 0o640, 0o600, "its password"),
        ("gatewire.toml", 0o666, 0o644, "can be changed by every user"),
        ("conf.d", 0o757, 0o755, "can be changed by every user"),
        ("AmazonRootCA1.pem", 0o646, 0o644, "can be changed by every user"),
        ("certificate.pem.crt", 0o602, 0o644, "can be changed by every user"),
    ];
    for (name, wrong, right, text) in cases {
        set(name, wrong);
        let said = warnings();
        assert!(said.len() == 1 && said[0].contains(text) && said[0].contains(name), "{name} {wrong:o}: {said:?}");
        assert!(!said[0].contains("secret"), "{said:?}");
        set(name, right);
        assert_eq!(warnings(), [""; 0], "{name}");
    }
    set("private.pem.key", 0o640);
    let gatewire = setup.start();
    gatewire.wait_for("can be read by its group");
    gatewire.stop();
}

#[test]
fn who_may_use_the_sockets_needs_no_file_that_is_for_gatewire_alone() {
    if !is_root() {
        return;
    }
    let setup = in_a_directory_of_the_user();
    fs::create_dir(setup.directory.path().join("conf.d")).unwrap();
    let secret = setup.directory.path().join("conf.d/proxy.toml");
    fs::write(&secret, "[connection]\nproxy = \"http://me:secret@localhost:1\"\n").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(setup.directory.path(), Permissions::from_mode(0o755)).unwrap();
    let gatewire = setup.start();
    gatewire.wait_for("keeps a link");
    // Somebody else, in the group of the sockets.
    let user = (USER + 1).to_string();
    let words = ["setpriv", "--reuid", &user, "--regid", &USER.to_string(), "--clear-groups", "--"];
    let member = setup.again().under(words);
    let (code, out, said) = member.output_of(&["publish", "a/b", "x"]);
    assert_eq!((code, out.trim()), (0, "stored"), "{said}");
    assert_eq!(member.output("status").0, 0);
    assert_eq!(member.output("check").0, 78);
    gatewire.stop();
}

#[test]
fn no_core_and_no_other_process_shows_its_memory() {
    if !is_root() {
        return;
    }
    let gatewire = as_the_user(&in_a_directory_of_the_user()).start();
    gatewire.wait_for("keeps a link");
    let process = PathBuf::from(format!("/proc/{}", gatewire.pid()));
    let limits = fs::read_to_string(process.join("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // What only root may look at is root's (proc(5)).
    assert_eq!(owner_and_mode(&process.join("mem")).0, 0);
    gatewire.stop();
}

#[test]
fn a_command_inherits_nothing_of_what_systemd_gives_the_daemon() {
    let command = "[[publish]]\nname = \"c\"\ntopic = \"c\"\nevery = \"1h\"\n\
                   command = [\"sh\", \"-c\", \"(env; ls /proc/self/fd) > DIR/said.new; mv DIR/said.new DIR/said\"]\n";
    let ours = ["CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "INVOCATION_ID"];
    let setup = Setup::new(closed_port(), command);
    let setup = ours.iter().fold(setup, |setup, name| setup.env(name, "/nowhere")).env("MINE", "kept");
    let gatewire = setup.start();
    let said = eventually("the command", || fs::read_to_string(gatewire.path("said")).ok());
    assert!(said.contains("MINE=kept"), "{said}");
    for name in ours {
        assert!(!said.contains(name), "{said}");
    }
    // Those that this process has given it are there, too.
    let script = format!("(env; ls /proc/self/fd) > {}", gatewire.path("here").display());
    assert!(Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).status().unwrap().success());
    let descriptors = |text: &str| text.lines().filter_map(|line| line.parse().ok()).collect::<BTreeSet<u32>>();
    let here = descriptors(&fs::read_to_string(gatewire.path("here")).unwrap());
    assert!(descriptors(&said).is_subset(&here), "{said}\n{here:?}");
    gatewire.stop();
}
