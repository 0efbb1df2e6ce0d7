//! Sockets that are opened before the daemon starts, and stay when it is gone: as systemd does for a socket unit.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use support::daemon::Setup;
use support::mosquitto::Mosquitto;
use support::socket::Client;

const FORWARD: &str = "[[forward]]\nname = \"down\"\nfilters = [\"down\"]\nsocket = \"DIR/down.sock\"\n";
const INGEST: &str = "[[ingest]]\nname = \"up\"\nsocket = \"DIR/up.sock\"\ntopics = [\"up\"]\n";

/// Puts the sockets that it is given where a service expects them, and becomes the service.
const HAND_OVER: &str = "fd=3; for given in $GIVEN; do eval \"exec $fd<&$given\"; fd=$((fd + 1)); done; \
    LISTEN_PID=$$ LISTEN_FDS=$((fd - 3)) exec \"$@\"";

/// A socket that a child inherits.
fn open(path: &Path) -> UnixListener {
    let listener = UnixListener::bind(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o602)).unwrap();
    fcntl(&listener, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    listener
}

fn handing_over(setup: Setup, sockets: &[&UnixListener]) -> Setup {
    let given: Vec<String> = sockets.iter().map(|socket| socket.as_raw_fd().to_string()).collect();
    setup.env("GIVEN", given.join(" ")).under(["bash", "-c", HAND_OVER, "hand-over"])
}

fn ask(client: &mut Client) -> String {
    let answer = client.json();
    answer["result"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[test]
fn who_connects_before_the_daemon_runs_is_served_when_it_does_and_the_sockets_outlive_it() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, &format!("{FORWARD}{INGEST}")).unspilled();
    let [up, down] = ["up.sock", "down.sock"].map(|name| setup.directory.path().join(name));
    let sockets = [open(&up), open(&down)];
    let identity =
        || [&up, &down].map(|path| fs::metadata(path).map(|found| (found.ino(), found.mode() & 0o777)).unwrap());
    let before = identity();

    let mut early = Client::connect(&up);
    early.send(r#"{"topic":"up","payload":1}"#);
    let setup = handing_over(setup, &[&sockets[0], &sockets[1]]);
    let gatewire = setup.connect();
    assert_eq!(ask(&mut early), "delivered");
    let mut reader = gatewire.client("down.sock");
    broker.wait_for("Sending SUBACK to thing-1");
    let mut publisher = broker.publisher("down");
    publisher.send("first");
    assert_eq!(reader.payload(), "first");
    assert_eq!(gatewire.stop().0, 0);

    // The mode is that of the socket unit, whatever ours is by default; and nobody is refused while we are away.
    assert_eq!(identity(), before);
    let mut between = Client::connect(&up);
    between.send(r#"{"topic":"up","payload":2}"#);
    let gatewire = setup.connect();
    assert_eq!(ask(&mut between), "delivered");
    assert_eq!(gatewire.stop().0, 0);
    assert_eq!(identity(), before);
}

#[test]
fn a_reload_lets_go_of_a_socket_and_takes_it_up_again() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, &format!("{FORWARD}{INGEST}")).unspilled();
    let [up, other] = ["up.sock", "other.sock"].map(|name| setup.directory.path().join(name));
    let sockets = [open(&up), open(&other)];
    let setup = handing_over(setup, &[&sockets[0], &sockets[1]]);
    let gatewire = setup.connect();
    // What nobody serves is said, as who connects there waits in vain.
    assert!(gatewire.wait_for("other.sock for gatewire, and nothing in the configuration").contains("socket unit"));

    let setup = setup.edit("up.sock", "own.sock");
    gatewire.signal("HUP");
    gatewire.wait_for("the configuration is read again");
    let mut waiting = Client::connect(&up);
    waiting.send(r#"{"topic":"up","payload":1}"#);
    let mut client = gatewire.client("own.sock");
    client.send(r#"{"topic":"up","payload":2}"#);
    assert_eq!(ask(&mut client), "delivered");

    let _setup = setup.edit("own.sock", "up.sock");
    gatewire.signal("HUP");
    gatewire.wait_for_nth("the configuration is read again", 2);
    assert_eq!(ask(&mut waiting), "delivered");
    assert_eq!(gatewire.stop().0, 0);
    // What the daemon has made itself goes with it.
    assert!(up.exists() && !up.with_file_name("own.sock").exists());
}
