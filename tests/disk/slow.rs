//! A disk that takes its time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rumqttc::mqttbytes::v4::Packet;
use serde_json::Value;

use crate::preload::Fault;
use crate::support::daemon::{Gatewire, Setup};
use crate::support::eventually;
use crate::support::scripted::{Broker, Peer};
use crate::{INGEST, line, verdict};

/// A daemon whose disk hangs over the message 0, which the server doesn't acknowledge. A client waits for it.
fn hanging() -> (Fault, Gatewire, Peer, crate::Client) {
    let broker = Broker::start();
    let setup = Setup::new(broker.port, INGEST)
        .speaking("3.1.1")
        .edit("[connection]\n", "[connection]\nkeep_alive = \"5s\"\nack_timeout = \"1m\"\n")
        .edit("[outbox]\n", "[outbox]\nspill_after = \"100ms\"\n");
    let (fault, setup) = Fault::on(setup);
    let gatewire = setup.start();
    let mut peer = broker.connected(false);
    fault.begin("stall");
    let mut client = gatewire.client("up.sock");
    client.send(&line(0, 100));
    peer.publish();
    eventually("a sync that hangs", || fault.is_stalled().then_some(()));
    (fault, gatewire, peer, client)
}

#[test]
fn a_disk_that_hangs_stops_neither_the_link_nor_the_sockets() {
    let (fault, gatewire, mut peer, mut waiting) = hanging();
    let mut client = gatewire.client("up.sock");
    for number in 1..=50 {
        client.send(&line(number, 100));
        let id = peer.publish().pkid;
        peer.puback(id);
        assert_eq!(verdict(&client.json()), "delivered");
        let status = gatewire.status();
        assert_eq!((&status["outbox"]["in_flight"], &status["store"]["error"]), (&1.into(), &Value::Null));
    }
    assert_eq!(peer.next(), Some(Packet::PingReq), "the keep alive of 5 s goes on");
    assert!(waiting.is_silent());
    fault.end();
    assert_eq!(verdict(&waiting.json()), "stored");
    assert_eq!(gatewire.count("nothing can be stored"), 0);
}

#[test]
fn a_stop_does_not_wait_for_ever_for_a_disk_that_hangs() {
    let (fault, gatewire, _peer, mut waiting) = hanging();
    let start = Instant::now();
    gatewire.signal("TERM");
    gatewire.wait_for("1 message that IoT Core hadn't acknowledged is lost");
    assert_eq!(verdict(&waiting.json()), "shutting_down");
    // 5 s for the server and 5 for the disk: systemd waits for longer.
    assert_eq!(gatewire.wait().0, 0);
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    drop(fault);
}

#[test]
fn a_reload_that_needs_a_disk_that_hangs_is_refused() {
    let (_fault, gatewire, _peer, _waiting) = hanging();
    let path = gatewire.path("gatewire.toml");
    let socket = gatewire.path("new.sock");
    let forward = format!("\n[[forward]]\nname = \"new\"\nfilters = [\"n\"]\nsocket = \"{}\"\n", socket.display());
    std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + &forward).unwrap();
    gatewire.signal("HUP");
    gatewire.wait_for("forward new is new, and the disk doesn't say within 2 s");
    gatewire.wait_for("the old one stays in force");
    assert!(!socket.exists());
    gatewire.signal("TERM");
    assert_eq!(gatewire.wait().0, 0);
}

#[test]
fn a_start_that_waits_for_the_disk_says_so_and_is_stopped_by_a_signal() {
    let broker = Broker::start();
    let (fault, setup) = Fault::on(Setup::new(broker.port, INGEST).speaking("3.1.1"));
    fault.begin("stall");
    let gatewire = setup.start();
    gatewire.wait_for("gatewire.db isn't open after 5 s");
    gatewire.signal("TERM");
    assert_eq!(gatewire.wait().0, 0);
    let gatewire = setup.start();
    gatewire.wait_for("gatewire.db isn't open after 5 s");
    fault.end();
    broker.connected(false);
    assert_eq!(gatewire.stop().0, 0);
}

/// As long as the file that this returns is there, the configuration can't be opened.
fn with_a_disk_that_hangs(setup: Setup) -> (Setup, PathBuf) {
    let gate = setup.directory.path().join("gate");
    let setup = crate::support::preload::preload(setup, "tests/support/slow_open.c").env("SLOW_OPEN", &gate);
    (setup, gate)
}

fn wait_until_it_hangs(gate: &Path) {
    let sign = gate.with_extension("waits");
    let _ = fs::remove_file(&sign);
    eventually("it waits for the configuration", || sign.exists().then_some(()));
}

#[test]
fn signals_in_the_start_are_heard_though_the_configuration_cannot_be_read() {
    let (setup, gate) = with_a_disk_that_hangs(Setup::new(crate::support::closed_port(), INGEST));
    for (signal, end) in [("TERM", true), ("INT", true), ("HUP", false)] {
        fs::write(&gate, "").unwrap();
        let gatewire = setup.start();
        wait_until_it_hangs(&gate);
        gatewire.signal(signal);
        if !end {
            fs::remove_file(&gate).unwrap();
            gatewire.wait_for("keeps a link");
            gatewire.signal("TERM");
        }
        assert_eq!(gatewire.wait().0, 0, "SIG{signal}");
    }
}

#[test]
fn a_configuration_that_cannot_be_read_at_a_reload_holds_up_nothing() {
    let (setup, gate) = with_a_disk_that_hangs(Setup::new(crate::support::closed_port(), INGEST));
    let gatewire = setup.start();
    gatewire.wait_for("keeps a link");
    for n in 1..=2 {
        fs::write(&gate, "").unwrap();
        gatewire.signal("HUP");
        wait_until_it_hangs(&gate);
        assert_eq!(verdict(&gatewire.client("up.sock").ask(&line(0, 10))), "stored");
        // What has changed since it began to read is read, too.
        gatewire.signal("HUP");
        gatewire.wait_for_nth("still being read", n);
        fs::remove_file(&gate).unwrap();
        gatewire.wait_for_nth("the configuration is read again", 2 * n);
    }
    fs::write(&gate, "").unwrap();
    gatewire.signal("HUP");
    wait_until_it_hangs(&gate);
    assert_eq!(gatewire.stop().0, 0);
}
