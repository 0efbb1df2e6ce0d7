//! The filters that the server's session holds, from one start of the daemon to the next.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use rumqttc::mqttbytes::v4::{Packet, UnsubAck};
use support::daemon::{Gatewire, Setup};
use support::eventually;
use support::scripted::{Broker, Peer};

fn setup(broker: &Broker, filters: &str) -> Setup {
    let forward = format!("[[forward]]\nname = \"f\"\nfilters = [{filters}]\nsocket = \"DIR/f.sock\"\n");
    Setup::new(broker.port, &forward).speaking("3.1.1")
}

fn paths(peer: &mut Peer) -> Vec<String> {
    let subscribe = peer.subscribe();
    peer.grant(&subscribe);
    subscribe.filters.into_iter().map(|filter| filter.path).collect()
}

/// Waits until the daemon has noted how the subscriptions stand: what it can still answer then, it has done before.
fn noted(gatewire: &Gatewire) {
    let database = gatewire.path("gatewire.db-wal");
    eventually("the note", || {
        let log = std::fs::read(&database).unwrap_or_default();
        let text = String::from_utf8_lossy(&log).into_owned();
        text.rfind("\"sure\":").is_some_and(|at| text[at..].starts_with("\"sure\":true")).then_some(())
    });
}

#[test]
fn a_restart_with_the_session_present_asks_for_nothing_and_takes_back_what_was_removed() {
    let broker = Broker::start();
    let setup = setup(&broker, "\"a\", \"b\"");
    let gatewire = setup.start();
    let mut peer = broker.connected(false);
    assert_eq!(paths(&mut peer), ["a", "b"]);
    noted(&gatewire);
    gatewire.kill();

    let gatewire = setup.again().start();
    let mut peer = broker.connected(true);
    assert!(peer.is_silent(Duration::from_millis(300)), "both stand");
    gatewire.signal("TERM");
    assert_eq!(peer.next(), Some(Packet::Disconnect));
    peer.close();
    assert_eq!(gatewire.wait().0, 0);

    let gatewire = setup.again().edit("\"a\", \"b\"", "\"b\", \"c\"").start();
    let mut peer = broker.connected(true);
    let Some(Packet::Unsubscribe(unsubscribe)) = peer.next() else { panic!() };
    assert_eq!(unsubscribe.topics, ["a"]);
    peer.send(&Packet::UnsubAck(UnsubAck { pkid: unsubscribe.pkid }));
    assert_eq!(paths(&mut peer), ["c"]);
    drop(gatewire);
}

#[test]
fn a_daemon_killed_before_it_knew_how_its_subscriptions_stand_asks_again() {
    let broker = Broker::start();
    let setup = setup(&broker, "\"a\"");
    let gatewire = setup.start();
    assert_eq!(paths(&mut broker.connected(false)), ["a"]);
    noted(&gatewire);
    // The server begins a new session, and the daemon is killed before it could ask.
    let mut peer = broker.accept();
    peer.connect();
    gatewire.kill();
    let gatewire = setup.again().start();
    let mut peer = broker.connected(true);
    assert_eq!(paths(&mut peer), ["a"]);
    drop(gatewire);
}

#[test]
fn another_client_id_has_another_session() {
    let broker = Broker::start();
    let setup = setup(&broker, "\"a\"");
    let gatewire = setup.start();
    assert_eq!(paths(&mut broker.connected(false)), ["a"]);
    noted(&gatewire);
    drop(gatewire);
    let _gatewire = setup.again().edit("client_id = \"thing-1\"", "client_id = \"thing-2\"").start();
    assert_eq!(paths(&mut broker.connected(true)), ["a"]);
}
