//! A disk that takes its time.

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
