//! The filters that the server's session holds, from one start of the daemon to the next.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use rumqttc::mqttbytes::v4::{Packet, UnsubAck};
use serde_json::json;
use support::daemon::{Gatewire, Setup};
use support::eventually;
use support::mosquitto::Mosquitto;
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
    let mut peer = broker.connected(false);
    assert_eq!(paths(&mut peer), ["a"]);
    noted(&gatewire);
    // The server begins a new session, and the daemon is killed before it could ask.
    peer.close();
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
    let mut peer = broker.connected(false);
    assert_eq!(paths(&mut peer), ["a"]);
    noted(&gatewire);
    drop(gatewire);
    let _gatewire = setup.again().edit("client_id = \"thing-1\"", "client_id = \"thing-2\"").start();
    assert_eq!(paths(&mut broker.connected(true)), ["a"]);
}

/// Waits until this is subscribed to for readers of the first forward.
fn subscribed(gatewire: &Gatewire, filters: &[&str]) {
    let is_so = || gatewire.status()["forward"][0]["subscribed"] == json!(filters);
    eventually("what is subscribed to", || is_so().then_some(()));
}

#[test]
fn a_reader_gets_what_it_asks_for_within_allow_and_for_as_long_as_it_is_there() {
    let broker = Mosquitto::start();
    let forward = "[[forward]]\nname = \"f\"\nallow = [\"gateways/{{client_id}}/#\"]\nsocket = \"DIR/f.sock\"\n";
    let setup = Setup::new(broker.port, forward);
    let gatewire = setup.connect();
    let mut reader = gatewire.client("f.sock");
    for (line, code) in [
        (r#"{"subscribe":["gateways/{{client_id}}/x","gateways/other/x"]}"#, "filter_not_allowed"),
        (r##"{"subscribe":["#"]}"##, "filter_not_allowed"),
        (r##"{"subscribe":["gateways/#/x"]}"##, "bad_filter"),
        (r#"{"subscribe":"gateways/thing-1/x"}"#, "bad_line"),
    ] {
        let answer = reader.ask(line);
        assert!(answer["error"] == code && answer["detail"].is_string(), "{line}: {answer}");
    }
    reader.send(r#"{"subscribe":["gateways/{{client_id}}/x","gateways/thing-1/+/set"]}"#);
    broker.wait_for("Sending SUBACK to thing-1");
    subscribed(&gatewire, &["gateways/thing-1/+/set", "gateways/thing-1/x"]);
    broker.publish("gateways/thing-1/y", b"nobody wants it");
    broker.publish("gateways/thing-1/x", b"1");
    broker.publish("gateways/thing-1/lamp/set", b"2");
    assert_eq!(
        ["1", "2"],
        [reader.json(), reader.json()].map(|message| message["payload"].as_str().unwrap().to_owned())[..]
    );

    // It is given up, and what comes in the moments before that waits for who comes again.
    drop(reader);
    eventually("the reader is gone", || (gatewire.status()["forward"][0]["readers"] == 0).then_some(()));
    broker.publish("gateways/thing-1/x", b"3");
    eventually("it waits", || (gatewire.status()["forward"][0]["waiting"] == 1).then_some(()));
    broker.wait_for("Sending UNSUBACK to thing-1");
    subscribed(&gatewire, &[]);
    let mut reader = gatewire.client("f.sock");
    assert_eq!(reader.json()["payload"], "3");
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn what_comes_while_the_daemon_is_restarted_waits_for_the_reader_that_had_asked_for_it() {
    let broker = Mosquitto::start();
    let forward = "[[forward]]\nname = \"f\"\nallow = [\"gateways/{{client_id}}/#\"]\nack = \"reader\"\n\
                   socket = \"DIR/f.sock\"\n[[forward]]\nname = \"own\"\nfilters = [\"gateways/thing-1/own\"]\nsocket = \"DIR/own.sock\"\n";
    let setup = Setup::new(broker.port, forward);
    let gatewire = setup.connect();
    let mut reader = gatewire.client("f.sock");
    reader.send(r#"{"subscribe":["gateways/{{client_id}}/x"]}"#);
    let database = gatewire.path("gatewire.db-wal");
    let is_noted = || String::from_utf8_lossy(&std::fs::read(&database).unwrap()).contains("\"gateways/thing-1/x\":1");
    eventually("the note", || is_noted().then_some(()));
    gatewire.kill();
    drop(reader);
    for payload in ["1", "2"] {
        broker.publish("gateways/thing-1/x", payload.as_bytes());
        broker.publish("gateways/thing-1/own", payload.as_bytes());
    }

    let gatewire = setup.again().connect();
    let waiting = || Some(gatewire.status()["forward"][0].clone()).filter(|forward| forward["waiting"] == 2);
    assert_eq!(eventually("they wait", waiting)["subscribed"], json!(["gateways/thing-1/x"]));
    // Nobody comes back in time, and it is given up.
    broker.wait_for("Sending UNSUBACK to thing-1");
    assert_eq!(gatewire.status()["inbox"]["unmatched"], 0);
    assert_eq!(gatewire.stop().0, 0);
    let gatewire = setup.again().connect();
    let mut reader = gatewire.client("f.sock");
    for payload in ["1", "2"] {
        let message = reader.json();
        assert_eq!((&message["topic"], &message["payload"]), (&json!("gateways/thing-1/x"), &json!(payload)));
        reader.send(&format!("{{\"ack\":{}}}", message["id"]));
    }
    eventually("none waits", || (gatewire.status()["forward"][0]["waiting"] == 0).then_some(()));
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn a_reader_that_asks_for_something_else_all_the_time_does_not_wear_the_card() {
    let broker = Mosquitto::start();
    let forward = "[[forward]]\nname = \"f\"\nallow = [\"gateways/{{client_id}}/#\"]\nsocket = \"DIR/f.sock\"\n";
    let setup = Setup::new(broker.port, forward);
    let gatewire = setup.connect();
    let mut reader = gatewire.client("f.sock");
    let size = || std::fs::metadata(gatewire.path("gatewire.db-wal")).unwrap().len();
    let mut ask = |n: usize| {
        let before = n.wrapping_sub(1);
        reader.send(&format!(r#"{{"unsubscribe":["gateways/thing-1/{before}"]}}"#));
        reader.send(&format!(r#"{{"subscribe":["gateways/thing-1/{n}"]}}"#));
        let filter = format!("gateways/thing-1/{n}");
        eventually("the filter", || broker.log().contains(&format!("\t{filter} (QoS 1)")).then_some(()));
    };
    ask(1);
    eventually("the first is noted at once", || {
        let log = std::fs::read(gatewire.path("gatewire.db-wal")).unwrap();
        String::from_utf8_lossy(&log).contains("\"gateways/thing-1/1\":1").then_some(())
    });
    let before = size();
    (2..60).for_each(&mut ask);
    // Once for each it would be three times as much.
    let written = size() - before;
    assert!(written < 300_000, "{written} bytes");
    // A stop notes what stands: the next life goes on with it.
    assert_eq!(gatewire.stop().0, 0);
    let gatewire = setup.again().connect();
    let subscribed = gatewire.status()["forward"][0]["subscribed"].as_array().unwrap().clone();
    assert!(subscribed.contains(&json!("gateways/thing-1/59")), "{subscribed:?}");
}

#[test]
fn a_reload_that_allows_less_tells_the_reader_and_another_gives_back_what_it_had() {
    let broker = Mosquitto::start();
    let forward = "[[forward]]\nname = \"f\"\nallow = [\"gateways/{{client_id}}/#\"]\nsocket = \"DIR/f.sock\"\n";
    let setup = Setup::new(broker.port, forward);
    let gatewire = setup.connect();
    let mut reader = gatewire.client("f.sock");
    reader.send(r#"{"subscribe":["gateways/{{client_id}}/x"]}"#);
    broker.wait_for("Sending SUBACK to thing-1");
    let setup = setup.edit("/#\"]", "/y\"]");
    gatewire.signal("HUP");
    let told = reader.json();
    assert!(told["error"] == "filter_not_allowed" && told["detail"].as_str().unwrap().contains("gateways/thing-1/x"));
    gatewire.wait_for("`allow` doesn't cover any more what its readers have asked for: `gateways/thing-1/x`");
    broker.wait_for("Sending UNSUBACK to thing-1");
    subscribed(&gatewire, &[]);
    let _setup = setup.edit("/y\"]", "/#\"]");
    gatewire.signal("HUP");
    gatewire.wait_for("subscribed to again: `gateways/thing-1/x`");
    eventually("it is", || broker.log().matches("Sending SUBACK to thing-1").nth(1).map(drop));
    broker.publish("gateways/thing-1/x", b"1");
    assert_eq!(reader.json()["payload"], "1");
    assert_eq!(gatewire.stop().0, 0);
}
