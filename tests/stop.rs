//! The end: what is still delivered, what the broker and the clients are told, how long it takes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::{Duration, Instant};

use rumqttc::mqttbytes::v4::Packet;
use serde_json::json;
use support::daemon::Setup;
use support::mosquitto::Mosquitto;
use support::scripted::Broker;
use support::{closed_port, eventually, takes_less_than};

const INGEST: &str = "[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"#\"]\n";

/// Nothing is waited for; `end` is how a daemon has ended.
fn is_quick(mut end: impl FnMut() -> (i32, Duration)) {
    takes_less_than(Duration::from_secs(2), || {
        let (code, took) = end();
        assert_eq!(code, 0);
        took
    });
}

#[test]
fn the_broker_sees_a_clean_disconnect() {
    for signal in ["TERM", "INT"] {
        is_quick(|| {
            let broker = Mosquitto::start();
            let gatewire = Setup::new(broker.port, INGEST).unspilled().connect();
            let mut client = gatewire.client("publish.sock");
            assert_eq!(client.ask(r#"{"topic":"x","payload":1}"#), json!({"result": "delivered"}));
            gatewire.signal(signal);
            let end = gatewire.wait();
            broker.wait_for("Received DISCONNECT from thing-1");
            broker.wait_for("Client thing-1 disconnected.");
            assert_eq!(client.line(), None);
            end
        });
    }
}

#[test]
fn disconnect_is_the_last_packet_after_what_was_in_flight() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, INGEST).speaking("3.1.1").unspilled().start();
    let mut peer = broker.connected(false);
    let mut client = gatewire.client("publish.sock");
    (0..3).for_each(|n| client.send(&format!("{{\"topic\":\"t\",\"payload\":{n},\"id\":{n}}}")));
    let sent: Vec<u16> = (0..3).map(|_| peer.publish().pkid).collect();
    gatewire.signal("TERM");
    gatewire.wait_for("SIGTERM: stopping");
    client.send(r#"{"topic":"t","payload":"late","id":9}"#);
    eventually("the late line", || (gatewire.status()["ingest"][0]["refused"]["shutting_down"] == 1).then_some(()));
    sent.iter().for_each(|id| peer.puback(*id));
    (0..3).for_each(|n| assert_eq!(client.json(), json!({"id": n, "result": "delivered"})));
    assert_eq!(client.json()["error"], "shutting_down");
    assert_eq!(peer.next(), Some(Packet::Disconnect));
    assert_eq!(peer.next(), None);
    assert_eq!(gatewire.wait().0, 0);
}

#[test]
fn a_stop_waits_five_seconds_for_what_is_in_flight_and_no_longer() {
    is_quick(|| {
        let broker = Broker::start();
        let gatewire = Setup::new(broker.port, INGEST).speaking("3.1.1").start();
        let mut peer = broker.connected(false);
        let mut client = gatewire.client("publish.sock");
        client.send(r#"{"topic":"t","payload":1}"#);
        peer.publish();
        let start = Instant::now();
        gatewire.signal("TERM");
        assert_eq!(peer.next(), Some(Packet::Disconnect));
        let waited = start.elapsed();
        assert!(waited > Duration::from_millis(4900) && waited < Duration::from_secs(8), "{waited:?}");
        assert_eq!(client.json()["result"], "stored");
        gatewire.wait_for("1 message waits for IoT Core on the disk");
        assert_eq!(peer.next(), None);
        gatewire.wait()
    });
}

#[test]
fn a_second_signal_ends_the_waiting() {
    is_quick(|| {
        let broker = Broker::start();
        let gatewire = Setup::new(broker.port, INGEST).speaking("3.1.1").start();
        let mut peer = broker.connected(false);
        let mut client = gatewire.client("publish.sock");
        client.send(r#"{"topic":"t","payload":1}"#);
        peer.publish();
        gatewire.signal("TERM");
        gatewire.wait_for("SIGTERM: stopping");
        gatewire.signal("TERM");
        gatewire.wait_for("a second signal: stopping at once");
        assert_eq!(client.json()["result"], "stored");
        gatewire.wait()
    });
}

#[test]
fn a_stop_in_the_middle_of_connecting_is_immediate() {
    is_quick(|| {
        let broker = Broker::start();
        let gatewire = Setup::new(broker.port, "").speaking("3.1.1").start();
        let _tcp = broker.accept_tcp();
        gatewire.stop()
    });
    is_quick(|| {
        let broker = Broker::start();
        let gatewire = Setup::new(broker.port, "").speaking("3.1.1").start();
        let mut peer = broker.accept();
        peer.connect();
        gatewire.stop()
    });
}

#[test]
fn a_stop_without_network_is_quick_and_what_waited_is_sent_after_the_next_start() {
    is_quick(|| {
        let broker = Broker::start();
        let tick = "[[publish]]\nname = \"tick\"\ntopic = \"tick\"\nevery = \"1h\"\ncount = 1\npayload = \"x\"\n";
        let setup = Setup::new(broker.port, &format!("{INGEST}{tick}"));
        let port = |port: u16| format!("port = {port}");
        let closed = closed_port();
        let setup = setup.edit(&port(broker.port), &port(closed));
        let gatewire = setup.start();
        gatewire.wait_for("next attempt in");
        let mut client = gatewire.client("publish.sock");
        client.send(r#"{"topic":"x","payload":1,"id":1}"#);
        assert_eq!(client.json(), json!({"id": 1, "result": "stored"}));
        let status = eventually("both to wait", || {
            let status = gatewire.status();
            (status["outbox"]["waiting"] == 2).then_some(status)
        });
        assert!(status["outbox"]["stored"].as_u64().unwrap() >= 1, "{status}");
        gatewire.signal("TERM");
        gatewire.wait_for("2 messages wait for IoT Core on the disk");
        let end = gatewire.wait();

        let setup = setup.edit("count = 1", "at_start = false").edit(&port(closed), &port(broker.port));
        what_waited_is_sent(&broker, &setup);
        end
    });
}

fn what_waited_is_sent(broker: &Broker, setup: &Setup) {
    let gatewire = setup.start();
    gatewire.wait_for("2 messages wait in it");
    let mut peer = broker.connected_5(false, &[]);
    let mut sent = [peer.publish(), peer.publish()];
    sent.sort_by_key(|publish| publish.topic.clone());
    assert_eq!(sent.each_ref().map(|publish| str::from_utf8(&publish.topic).unwrap()), ["tick", "x"]);
    assert!(sent.iter().all(|publish| !publish.dup));
    sent.iter().for_each(|publish| peer.puback(publish.pkid, 0));
    eventually("an empty disk", || {
        let outbox = &gatewire.status()["outbox"];
        (outbox["waiting"] == 0 && outbox["stored"] == 0).then_some(())
    });
}

#[test]
fn a_server_that_never_stops_sending_does_not_keep_it_from_stopping() {
    let broker = Broker::start();
    let rest = "[[forward]]\nname = \"a\"\nfilters = [\"f\"]\nsocket = \"DIR/a.sock\"\nack = \"reader\"\n\
                [[forward]]\nname = \"b\"\nfilters = [\"f\"]\nsocket = \"DIR/b.sock\"\n";
    let gatewire = Setup::new(broker.port, rest).speaking("3.1.1").start();
    let mut peer = broker.connected(false);
    let request = peer.subscribe();
    peer.grant(&request);
    // It never reads.
    let _reader = gatewire.client("a.sock");
    std::thread::spawn(move || {
        // Until nobody takes it any more.
        for id in (1..=u16::MAX).cycle() {
            peer.message("f", "x", id);
        }
    });
    eventually("the flood", || (gatewire.status()["counters"]["received"].as_u64() > Some(2000)).then_some(()));
    gatewire.signal("TERM");
    let (code, took) = gatewire.wait();
    assert!(code == 0 && took < Duration::from_secs(7), "{code} {took:?}");
}

#[test]
fn a_stop_with_messages_in_every_state_is_quick_where_the_server_answers() {
    is_quick(|| {
        let broker = Mosquitto::start();
        let rest = "[[forward]]\nname = \"f\"\nfilters = [\"t\"]\nsocket = \"DIR/f.sock\"\n";
        let gatewire = Setup::new(broker.port, &format!("{INGEST}{rest}")).connect();
        let _reader = gatewire.client("f.sock");
        let mut client = gatewire.client("publish.sock");
        // What comes back is acknowledged, beside what goes out.
        (0..5000).for_each(|n| client.send(&format!("{{\"topic\":\"t\",\"payload\":{n}}}")));
        gatewire.signal("TERM");
        let end = gatewire.wait();
        broker.wait_for("Received DISCONNECT from thing-1");
        end
    });
}

#[test]
fn drops_that_were_not_told_yet_are_told_at_the_end() {
    let rest = format!(
        "max_size = \"64 KiB\"\nwhen_full = \"drop-oldest\"\n{INGEST}[[forward]]\nname = \"f\"\nfilters = [\"f\"]\n\
         socket = \"DIR/f.sock\"\nkeep = {{ messages = 2 }}\n"
    );
    let broker = Mosquitto::start();
    let gatewire = Setup::new(broker.port, &rest).connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let publisher = |n: usize| (0..n).for_each(|_| broker.publish("f", b"x"));
    publisher(3);
    gatewire.wait_for("forward f: no reader has come");
    publisher(2);
    eventually("the forward", || (gatewire.status()["forward"][0]["dropped"]["keep_full"] == 3).then_some(()));
    drop(broker);
    eventually("the end of the link", || (gatewire.status()["link"]["state"] != "connected").then_some(()));
    let mut client = gatewire.client("publish.sock");
    let line = format!("{{\"topic\":\"t\",\"payload\":\"{}\"}}", "y".repeat(2000));
    for _ in 0..60 {
        client.ask(&line);
    }
    let dropped = gatewire.status()["outbox"]["dropped"]["full"].as_u64().unwrap();
    assert!(dropped > 10, "{dropped}");
    gatewire.signal("TERM");
    gatewire.wait_for("info: stopped");
    let last = |text: &str| gatewire.log().into_iter().rfind(|line| line.contains(text)).unwrap();
    let line = last("messages dropped: ");
    let total = line.split_once("Total since the start: ").unwrap().1;
    let total: u64 = total.split('.').next().unwrap().parse().unwrap();
    // Its own status may be a moment older.
    assert!(gatewire.count("messages dropped: ") == 2 && total >= dropped, "{dropped}: {line}");
    assert!(last("forward f: no reader has come").contains("3 since the start"));
}
