//! Starting, being watched and stopping: exit codes, what systemd is told, faults of the files.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use rumqttc::mqttbytes::v4::Packet;
use serde_json::{Value, json};
use support::daemon::{Gatewire, Setup};
use support::scripted::{Broker, Peer};
use support::{CERTIFICATES, Certificates, PATIENCE, closed_port, eventually};

/// systemd's end of the notification socket.
struct Notifications(UnixDatagram);

impl Notifications {
    fn listen(setup: &Setup) -> (Notifications, std::path::PathBuf) {
        let path = setup.directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        (Notifications(socket), path)
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let n = self.0.recv(&mut buffer).expect("no notification");
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    }

    /// The first that holds `text`, and all before it.
    fn until(&self, text: &str) -> Vec<String> {
        let mut seen = vec![self.next()];
        while !seen.last().unwrap().contains(text) {
            seen.push(self.next());
        }
        seen
    }
}

#[test]
fn systemd_is_told_readiness_without_network_status_and_the_stop() {
    let setup = Setup::new(closed_port(), "");
    let (notifications, path) = Notifications::listen(&setup);
    let gatewire = setup.env("NOTIFY_SOCKET", path).start();
    notifications.until("READY=1");
    assert!(gatewire.path("status.sock").exists(), "ready means that the sockets listen");
    let failed = notifications.until("STATUS=not connected");
    assert!(failed.last().unwrap().contains("next attempt in"), "{failed:?}");
    gatewire.signal("INT");
    notifications.until("STOPPING=1");
    assert_eq!(gatewire.wait().0, 0);
}

#[test]
fn systemd_sees_the_link_and_gets_signs_of_life() {
    let broker = Broker::start();
    let setup = Setup::new(broker.port, "");
    let (notifications, path) = Notifications::listen(&setup);
    let _gatewire = setup.env("NOTIFY_SOCKET", path).env("WATCHDOG_USEC", "400000").speaking("3.1.1").start();
    let _peer = broker.connected(false);
    notifications.until("STATUS=connected to localhost as thing-1");
    for _ in 0..3 {
        notifications.until("WATCHDOG=1");
    }
}

#[test]
fn signs_of_life_go_on_while_the_link_is_down() {
    let setup = Setup::with_connection(closed_port(), "backoff = { min = \"1m\", max = \"1m\" }\n", "");
    let (notifications, path) = Notifications::listen(&setup);
    let _gatewire = setup.env("NOTIFY_SOCKET", path).env("WATCHDOG_USEC", "200000").start();
    notifications.until("STATUS=not connected");
    for _ in 0..3 {
        notifications.until("WATCHDOG=1");
    }
}

#[test]
fn an_idle_daemon_only_wakes_for_its_keep_alive() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, "[[ingest]]\nname = \"i\"\nsocket = \"DIR/i.sock\"\ntopics = [\"#\"]\n")
        .speaking("3.1.1")
        .unspilled()
        .start();
    let mut peer = broker.connected(false);
    let mut client = gatewire.client("i.sock");
    client.send(r#"{"topic":"t","payload":1}"#);
    let id = peer.publish().pkid;
    peer.puback(id);
    assert_eq!(client.json()["result"], "delivered");
    // Nothing is due for a minute: any wake-up in this time is one too many. One may be for the disk, on a machine that is short of
    // memory, or because another thread has waited for its turn.
    let is_still = || {
        let before = switches_at_rest(&gatewire, &mut peer);
        assert!(peer.is_silent(Duration::from_secs(3)));
        switches(&gatewire) == before
    };
    assert!(std::iter::repeat_with(is_still).take(4).any(|is_still| is_still));
}

#[test]
fn a_keep_alive_is_two_wake_ups_at_most() {
    let broker = Broker::start();
    let gatewire = Setup::with_connection(broker.port, "keep_alive = \"5s\"\n", "").speaking("3.1.1").start();
    let mut peer = broker.connected(false);
    // PINGREQ is due, PINGRESP comes: on a busy machine before the daemon has gone to sleep again. One more may be for the disk, on
    // a machine that is short of memory, and others for the next, if this test stands still.
    let mut wake_ups = (0..8).map(|_| {
        let before = switches_at_rest(&gatewire, &mut peer);
        assert_eq!(peer.next(), Some(Packet::PingReq));
        peer.send(&Packet::PingResp);
        switches_at_rest(&gatewire, &mut peer) - before
    });
    assert!(wake_ups.any(|n| (1..=2).contains(&n)));
}

/// A line of what the kernel says of the main thread.
fn main_thread(gatewire: &Gatewire, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{}/task/{0}/status", gatewire.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

/// How often the main thread has gone to sleep.
fn switches(gatewire: &Gatewire) -> u64 {
    main_thread(gatewire, "voluntary_ctxt_switches").parse().unwrap()
}

/// Likewise, once it sleeps and goes on to: it may still be on its way to that, and wait for its turn on the processor.
fn switches_at_rest(gatewire: &Gatewire, peer: &mut Peer) -> u64 {
    let mut before = None;
    for _ in 0..100 {
        match peer.next_within(Duration::from_millis(300)) {
            Err(()) => {}
            Ok(Some(Packet::PingReq)) => peer.send(&Packet::PingResp),
            Ok(other) => panic!("{other:?}"),
        }
        let now = (main_thread(gatewire, "State:") == "S").then(|| switches(gatewire));
        if let Some(now) = now
            && before == Some(now)
        {
            return now;
        }
        before = now;
    }
    panic!("it never rests");
}

#[test]
fn the_command_line_has_its_exit_codes() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_gatewire")).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (code, out, _) = run(&["--help"]);
    assert!(code == 0 && out.contains("gatewire check") && out.contains("--config"), "{out}");
    assert_eq!(run(&["--version"]).1, format!("gatewire {}\n", env!("CARGO_PKG_VERSION")));
    for wrong in [&[][..], &["wat"], &["run", "--wat"], &["--config"]] {
        let (code, _, error) = run(wrong);
        assert!(code == 64 && !error.is_empty(), "{wrong:?}: {code} {error}");
    }
    let (code, _, error) = run(&["--config", "/nowhere/gatewire.toml", "check"]);
    assert!(code == 78 && error.starts_with("/nowhere/gatewire.toml: there is no such file"), "{error}");
}

#[test]
fn check_says_what_run_would_and_run_refuses_what_check_refuses() {
    let good =
        Setup::new(1, "[[publish]]\nname = \"p\"\ntopic = \"a/b\"\nevery = \"5m\"\npayload = \"x\"\n").output("check");
    assert_eq!(good.0, 0);
    assert!(good.1.contains("localhost:1 as thing-1") && good.1.contains("on a/b every 5m"), "{good:?}");
    let bad = "[[publish]]\nname = \"p\"\ntopc = \"a/b\"\nevery = \"5m\"\npayload = \"x\"\n";
    let (code, _, error) = Setup::new(1, bad).output("check");
    assert!(code == 78 && error.contains("did you mean `topic`?"), "{error}");
    let gatewire = Setup::new(1, bad).start();
    gatewire.wait_for("did you mean `topic`?");
    assert_eq!(gatewire.wait().0, 78);
}

/// The answer of `check` after `change` was made to copies of the credential files.
fn with_credentials(change: impl Fn(&std::path::Path)) -> (i32, String) {
    let names = ["AmazonRootCA1.pem", "certificate.pem.crt", "private.pem.key"];
    let setup = Setup::new(1, "");
    let directory = setup.directory.path().to_owned();
    for name in names {
        fs::copy(CERTIFICATES.path(name), directory.join(name)).unwrap();
    }
    change(&directory);
    let original = CERTIFICATES.path("x").parent().unwrap().display().to_string();
    let setup = setup.edit(&original, &directory.display().to_string());
    let (code, _, error) = setup.output("check");
    (code, error)
}

#[test]
fn faulty_credentials_are_named_with_what_to_do() {
    let other = Certificates::make("thing-2", "rsa");
    let remove = |name: &'static str| move |directory: &std::path::Path| fs::remove_file(directory.join(name)).unwrap();
    let (code, error) = with_credentials(remove("private.pem.key"));
    assert!(code == 78 && error.contains("private.pem.key"), "{error}");
    let (code, error) = with_credentials(|directory| {
        fs::rename(directory.join("private.pem.key"), directory.join("x")).unwrap();
        fs::rename(directory.join("certificate.pem.crt"), directory.join("private.pem.key")).unwrap();
        fs::rename(directory.join("x"), directory.join("certificate.pem.crt")).unwrap();
    });
    assert!(code == 78 && error.lines().count() == 2 && error.contains("certificate.pem.crt"), "{error}");
    let (code, error) = with_credentials(|directory| {
        fs::copy(other.path("private.pem.key"), directory.join("private.pem.key")).unwrap();
    });
    assert!(code == 78 && error.contains("Both must be from one creation of a certificate"), "{error}");
    let (code, error) = with_credentials(|directory| fs::write(directory.join("AmazonRootCA1.pem"), "").unwrap());
    assert!(code == 78 && error.contains("AmazonRootCA1.pem"), "{error}");
    let (code, error) = with_credentials(|directory| {
        fs::set_permissions(directory.join("private.pem.key"), fs::Permissions::from_mode(0o644)).unwrap();
    });
    assert!(code == 0 && error.contains("warning: ") && error.contains("chmod"), "{error}");
}

#[test]
fn an_expired_certificate_is_a_warning_and_the_attempt_goes_on() {
    let expired = CERTIFICATES.issue("expired.crt", "private.pem.key", "extendedKeyUsage=clientAuth", -1);
    let gatewire = Setup::new(closed_port(), "").credential("certificate.pem.crt", &expired).start();
    let line = gatewire.wait_for("expired.crt");
    assert!(line.contains("warn") && line.contains("clock"), "{line}");
    gatewire.wait_for("next attempt in");
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn the_status_document_has_the_keys_that_scripts_rely_on() {
    let broker = Broker::start();
    let rest = "[[publish]]\nname = \"p\"\ntopic = \"t\"\nevery = \"1h\"\npayload = \"x\"\n\
        [[forward]]\nname = \"f\"\nfilters = [\"t\"]\nsocket = \"DIR/f.sock\"\n\
        [[ingest]]\nname = \"i\"\nsocket = \"DIR/i.sock\"\ntopics = [\"t\"]\n";
    let gatewire = Setup::new(broker.port, rest).speaking("3.1.1").start();
    broker.connected(false).close();
    let _peer = broker.connected(true);
    let status = eventually("the second connection", || {
        Some(gatewire.status()).filter(|status| status["link"]["session_present"] == true)
    });
    for (at, keys) in [
        ("", "version link outbox inbox counters publish forward ingest certificate"),
        ("/link", "state since endpoint client_id protocol session_present next_attempt last_error"),
        ("/link/last_error", "code message advice at"),
        ("/outbox", "waiting in_flight bytes oldest stored dropped quarantined"),
        ("/certificate", "not_after"),
        ("/publish/0", "name"),
        ("/forward/0", "name"),
        ("/ingest/0", "name"),
    ] {
        let object = status.pointer(at).and_then(Value::as_object).unwrap_or_else(|| panic!("no {at} in {status}"));
        for key in keys.split(' ') {
            assert!(object.contains_key(key), "no {key} in {at} of {status}");
        }
    }
    let link = &status["link"];
    assert_eq!((&link["state"], &link["endpoint"]), (&json!("connected"), &json!("localhost")));
    assert_eq!((&link["client_id"], &link["protocol"]), (&json!("thing-1"), &json!("3.1.1")));
    assert_eq!(link["last_error"]["code"], "closed_by_server");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
}

/// A shell and a container allow 1024 and more only to who asks; clients of a few sockets may be as many.
#[test]
fn it_opens_as_many_files_as_it_may() {
    let limit = ["sh", "-c", "ulimit -Sn 64; ulimit -Hn 4000; exec \"$@\"", "sh"];
    let gatewire = Setup::new(closed_port(), "").under(limit).start();
    gatewire.status();
    let limits = fs::read_to_string(format!("/proc/{}/limits", gatewire.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["4000", "4000"]);
}
