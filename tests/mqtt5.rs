//! What MQTT 5 has that 3.1.1 hasn't, against a server that says what each test needs.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::daemon::{Gatewire, Setup};
use support::eventually;
use support::scripted::Broker;
use support::socket::Client;

const INGEST: &str = "[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"#\"]\n";
const QUICK: &str = "backoff = { min = \"100ms\", max = \"200ms\" }\n\
    rate_limit = { connects_per_second = 100, messages_per_second = 100000, burst = 1000 }\n";

/// Long enough for a test to answer in time, and short enough to wait for.
fn short_acks() -> String {
    format!("ack_timeout = \"3s\"\n{QUICK}")
}

fn forward(filters: &str) -> String {
    format!("[[forward]]\nname = \"f\"\nfilters = [{filters}]\nsocket = \"DIR/f.sock\"\n")
}

/// Hands over `n` messages whose payloads are their numbers, from 0.
fn publish(gatewire: &Gatewire, n: usize) -> Client {
    let mut client = gatewire.client("publish.sock");
    for i in 0..n {
        client.send(&format!("{{\"topic\":\"t\",\"payload\":{i},\"id\":{i}}}"));
    }
    client
}

fn delivered(client: &mut Client, ids: std::ops::Range<usize>) {
    ids.for_each(|id| assert_eq!(client.json(), json!({"id": id, "result": "delivered"})));
}

/// The answers to messages that were in flight when a connection ended: some of them may be on the disk by then.
fn answered(gatewire: &Gatewire, client: &mut Client, n: usize) {
    for id in 0..n {
        let answer = client.json();
        assert!(answer["id"] == id && (answer["result"] == "delivered" || answer["result"] == "stored"), "{answer}");
    }
    eventually("every PUBACK", || (gatewire.status()["outbox"]["delivered"] == n).then_some(()));
}

#[test]
fn connect_asks_for_the_configured_session_and_our_own_bounds() {
    for (line, expiry) in [("", 3600), ("session_expiry = \"7d\"\n", 604_800), ("session_expiry = \"0s\"\n", 0)] {
        let broker = Broker::start();
        let gatewire = Setup::with_connection(broker.port, line, "").start();
        let (mut peer, connect) = broker.accept_5();
        assert_eq!((connect.client_id.as_str(), connect.keep_alive), ("thing-1", 60));
        assert_eq!(connect.clean_start, expiry == 0);
        let properties = connect.properties.unwrap();
        assert_eq!(properties.session_expiry_interval, Some(expiry));
        assert_eq!((properties.receive_maximum, properties.max_packet_size), (Some(100), Some(144 * 1024)));
        assert_eq!(properties.topic_alias_max, None);
        peer.connack(false, &[]);
        gatewire.wait_for("connected to");
        gatewire.wait_for("(MQTT 5)");
        assert_eq!(gatewire.status()["link"]["protocol"], "5");
    }
}

#[test]
fn a_shorter_session_than_asked_for_is_said() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, "").start();
    let _peer = broker.connected_5(false, &[0x11, 0, 0, 0, 60]);
    gatewire.wait_for("the server keeps the session for 1m after a disconnect, not for the 1h of session_expiry");
}

#[test]
fn a_refused_connect_is_explained_by_its_reason_code() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, "").start();
    broker.accept_5().0.raw(&[0x20, 8, 0, 0x87, 5, 0x1f, 0, 2, b'n', b'o']);
    let line = gatewire.wait_for("refused with CONNACK reason code 0x87 (not authorized), \"no\"");
    assert!(line.contains("iot:Connect on client/thing-1"), "{line}");
    // A server without MQTT 5 answers in the words of 3.1.1.
    broker.accept_5().0.raw(&[0x20, 2, 0, 1]);
    let line = gatewire.wait_for("refused with CONNACK return code 1");
    assert!(line.contains("change connection.protocol"), "{line}");
    broker.connected_5(false, &[]);
    gatewire.wait_for("connected to");
}

#[test]
fn a_disconnect_from_the_server_is_explained_by_its_reason_code() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, INGEST).start();
    let disconnects: [(&[u8], &str, &str); 5] = [
        (&[0xe0, 1, 0x8e], "session_taken_over", "two devices share this client id"),
        (&[0xe0, 2, 0x97, 0], "quota_exceeded", "connection.rate_limit"),
        (&[0xe0, 7, 0x8b, 5, 0x1f, 0, 2, b'h', b'i'], "server_unavailable", "0x8B (server shutting down), \"hi\""),
        (&[0xe0, 1, 0x8d], "keep_alive_timeout", "keep alive"),
        (&[0xe0, 1, 0x95], "packet_too_large", "128 KiB"),
    ];
    for (bytes, code, text) in disconnects {
        broker.connected_5(false, &[]).raw(bytes);
        let said = gatewire.wait_for_failure(&format!("disconnected_{code}"));
        assert!(said.replace("\\\"", "\"").contains(text) && said.contains("thing-1"), "{said}");
    }
    let mut peer = broker.connected_5(false, &[]);
    let mut client = gatewire.client("publish.sock");
    client.send(r#"{"topic":"forbidden/topic","payload":1}"#);
    peer.publish();
    peer.raw(&[0xe0, 1, 0x87]);
    let said = gatewire.wait_for_failure("disconnected_not_authorized");
    assert!(said.contains("lacks iot:Publish on topic/forbidden/topic"), "{said}");
    broker.connected_5(true, &[]).publish();
}

#[test]
fn what_no_policy_would_mend_is_not_said_to_lack_one() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, INGEST).unspilled().start();
    let mut peer = broker.connected_5(false, &[]);
    let mut client = gatewire.client("publish.sock");
    client.send("{\"topic\":\"nothing\",\"payload\":1}");
    let id = peer.publish().pkid;
    peer.puback(id, 0x90);
    let reason = client.json()["detail"].to_string();
    assert!(reason.contains("0x90 (topic name invalid)") && !reason.contains("iot:"), "{reason}");
    let line = gatewire.wait_for("IoT Core refuses a message to `nothing`");
    assert!(!line.contains("policy"), "{line}");
    // It is for this message, and the next may be in order.
    client.send("{\"topic\":\"nothing\",\"payload\":2}");
    let id = peer.publish().pkid;
    peer.puback(id, 0);
    assert_eq!(client.json(), json!({"result": "delivered"}));
}

#[test]
fn a_message_that_the_server_refuses_is_not_sent_again_and_its_client_told() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, INGEST).unspilled().start();
    let mut peer = broker.connected_5(false, &[]);
    let mut client = publish(&gatewire, 4);
    let sent = peer.received(4);
    peer.puback(sent[0].1, 0x87);
    peer.puback(sent[1].1, 0x10);
    peer.puback(sent[2].1, 0x99);
    peer.puback(sent[3].1, 0);
    let refused = client.json();
    assert_eq!((&refused["id"], &refused["error"]), (&json!(0), &json!("rejected")));
    assert!(refused["detail"].as_str().unwrap().contains("0x87 (not authorized)"), "{refused}");
    delivered(&mut client, 1..2);
    assert_eq!(client.json()["error"], "rejected");
    delivered(&mut client, 3..4);
    let line = gatewire.wait_for("refuses a message to `t`");
    assert!(line.contains("iot:Publish on topic/t"), "{line}");
    assert_eq!(gatewire.status()["outbox"]["quarantine"], json!([]), "it takes others to the same topic");
    let status = gatewire.status();
    assert_eq!((&status["outbox"]["dropped"]["rejected"], &status["outbox"]["in_flight"]), (&json!(2), &json!(0)));
    peer.close();
    assert!(broker.connected_5(true, &[]).is_silent(Duration::from_millis(300)));
}

#[test]
fn never_more_are_in_flight_than_the_receive_maximum_allows() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, INGEST).unspilled().start();
    let mut peer = broker.connected_5(false, &[]);
    let mut client = publish(&gatewire, 12);
    assert_eq!(peer.received(12)[11].0, "11");
    peer.close();
    // What was in flight goes again, within the window that this connection has.
    let mut peer = broker.connected_5(true, &[0x21, 0, 5]);
    for n in (0..12).step_by(5) {
        let sent = peer.received(5.min(12 - n));
        assert!(sent.iter().all(|(_, _, dup)| *dup));
        assert_eq!(sent[0].0, n.to_string());
        assert!(peer.is_silent(Duration::from_millis(200)));
        sent.iter().for_each(|(_, id, _)| peer.puback(*id, 0));
    }
    answered(&gatewire, &mut client, 12);
    client = publish(&gatewire, 7);
    let sent = peer.received(5);
    assert!(peer.is_silent(Duration::from_millis(200)));
    sent.iter().for_each(|(_, id, _)| peer.puback(*id, 0));
    peer.received(2).iter().for_each(|(_, id, _)| peer.puback(*id, 0));
    delivered(&mut client, 0..7);
}

#[test]
fn a_missing_puback_ends_the_connection_and_the_message_goes_again_on_the_next() {
    let broker = Broker::start();
    let gatewire = Setup::with_connection(broker.port, &short_acks(), INGEST).start();
    let mut peer = broker.connected_5(false, &[]);
    let mut client = publish(&gatewire, 2);
    let sent = peer.received(2);
    peer.puback(sent[1].1, 0);
    assert_eq!(peer.next(), None, "nothing is sent again on this connection");
    let said = gatewire.wait_for_failure("no_puback");
    assert!(said.contains("PUBLISH to `t`"), "{said}");
    let mut peer = broker.connected_5(true, &[]);
    assert_eq!(peer.received(1), [("0".to_owned(), sent[0].1, true)]);
    peer.puback(sent[0].1, 0);
    answered(&gatewire, &mut client, 2);
}

#[test]
fn a_missing_suback_ends_the_connection() {
    let broker = Broker::start();
    let gatewire = Setup::with_connection(broker.port, &short_acks(), &forward("\"a/b\"")).start();
    let mut peer = broker.connected_5(false, &[]);
    peer.subscribe();
    assert_eq!(peer.next(), None);
    assert!(gatewire.wait_for_failure("no_suback").contains("SUBSCRIBE to `a/b`"));
    assert_eq!(broker.connected_5(true, &[]).subscribe().filters[0].path, "a/b");
}

#[test]
fn a_refused_filter_is_named_with_the_reason_and_one_that_the_server_cannot_do_is_not_asked_for() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, &forward("\"a\", \"b\", \"c/#\"")).start();
    let mut peer = broker.connected_5(false, &[0x28, 0]);
    let request = peer.subscribe();
    assert_eq!(request.filters.iter().map(|filter| filter.path.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let [high, low] = request.pkid.to_be_bytes();
    peer.raw(&[0x90, 5, high, low, 0, 0x87, 1]);
    let line = gatewire.wait_for("refused to subscribe us to `a` with reason code 0x87 (not authorized)");
    assert!(line.contains("iot:Subscribe on topicfilter/a"), "{line}");
    gatewire.wait_for("`c/#` with reason code 0xA2 (wildcard subscriptions not supported)");
    eventually("both", || {
        let refused = gatewire.status()["link"]["filters_refused"].clone();
        let filters: Vec<_> = refused.as_array().unwrap().iter().map(|refused| refused["filter"].clone()).collect();
        (json!(filters) == json!(["a", "c/#"])).then_some(())
    });
}

#[test]
fn what_a_connack_does_not_allow_is_refused_and_the_rest_goes() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, INGEST).unspilled().start();
    let mut peer = broker.connected_5(false, &[0x27, 0, 0, 4, 0, 0x25, 0]);
    let mut client = gatewire.client("publish.sock");
    let large = client.ask(&format!(r#"{{"topic":"large","payload":"{}"}}"#, "x".repeat(1024)));
    assert_eq!(large["error"], "rejected");
    assert!(large["detail"].as_str().unwrap().contains("its CONNACK allows 1024"), "{large}");
    assert_eq!(client.ask(r#"{"topic":"kept","payload":1,"retain":true}"#)["error"], "rejected");
    client.send(&format!(r#"{{"topic":"fits","payload":"{}"}}"#, "x".repeat(1000)));
    let publish = peer.publish();
    assert_eq!(publish.topic, "fits");
    peer.puback(publish.pkid, 0);
    assert_eq!(client.json(), json!({"result": "delivered"}));
}

#[test]
fn a_message_whose_time_has_passed_is_not_sent() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, INGEST).start();
    let (mut peer, _) = broker.accept_5();
    let mut client = gatewire.client("publish.sock");
    client.send(r#"{"topic":"t","payload":"old","expires_in":"1s","id":1}"#);
    client.send(r#"{"topic":"t","payload":"fresh","expires_in":"1h","id":2}"#);
    // That the time of the first has passed may be noticed before this is.
    eventually("both to wait", || (gatewire.status()["ingest"][0]["accepted"] == 2).then_some(()));
    assert!(peer.is_silent(Duration::from_millis(1100)));
    peer.connack(false, &[]);
    let publish = peer.publish();
    assert_eq!(publish.payload, "fresh");
    let left = publish.properties.unwrap().message_expiry_interval.unwrap();
    assert!((3590..3600).contains(&left), "{left}");
    peer.puback(publish.pkid, 0);
    // They had waited for longer than `spill_after`.
    (1..3).for_each(|id| assert_eq!(client.json(), json!({"id": id, "result": "stored"})));
    eventually("the PUBACK", || (gatewire.status()["outbox"]["delivered"] == 1).then_some(()));
    assert_eq!(gatewire.status()["outbox"]["dropped"]["expired"], 1);
}

#[test]
fn what_is_not_mqtt_5_ends_the_connection_and_not_the_daemon() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, &forward("\"f\"")).start();
    let junk: [&[u8]; 7] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &[0x90, 0xff, 0xff, 0xff, 0x7f],
        &[0x30, 6, 0, 2, 0xff, 0xfe, 0, b'x'],
        &[0x30, 7, 0, 1, b'f', 3, 0x23, 0, 1],
        &[0x32, 5, 0, 1, b'f', 0, 1],
        &[0x90, 2, 0, 1],
        &[0xf0, 0],
    ];
    for bytes in junk {
        let mut peer = broker.connected_5(false, &[]);
        peer.subscribe();
        peer.raw(bytes);
        assert_eq!(peer.next(), None, "{bytes:x?}");
    }
    broker.connected_5(false, &[]).subscribe();
    gatewire.wait_for("topic alias");
    assert_eq!(gatewire.count("internal error"), 0, "{:?}", gatewire.log());
}

#[test]
fn a_reload_begins_and_ends_topic_aliases_on_the_connection_that_is_there() {
    let broker = Broker::start();
    let setup = Setup::with_connection(broker.port, "topic_alias = false", INGEST);
    let gatewire = setup.start();
    let mut peer = broker.connected_5(false, &[0x22, 0, 1]);
    let mut client = gatewire.client("publish.sock");
    let mut send = || client.send("{\"topic\":\"long/topic\",\"payload\":1}");
    let seen = |publish: rumqttc::v5::mqttbytes::v5::Publish| {
        (publish.topic.len(), publish.properties.and_then(|properties| properties.topic_alias))
    };
    let reload = |n| {
        gatewire.signal("HUP");
        gatewire.wait_for_nth("the configuration is read again", n);
    };
    send();
    assert_eq!(seen(peer.publish()), (10, None));
    let setup = setup.edit("topic_alias = false", "topic_alias = true");
    reload(1);
    send();
    assert_eq!(seen(peer.publish()), (10, Some(1)));
    send();
    assert_eq!(seen(peer.publish()), (0, Some(1)));
    let _setup = setup.edit("topic_alias = true", "topic_alias = false");
    reload(2);
    send();
    assert_eq!(seen(peer.publish()), (10, None));
}

/// A number stands for a topic on one connection, and never on the next; what is sent again says where it goes.
#[test]
fn topics_are_numbers_where_the_server_takes_that_and_never_when_sent_again() {
    let broker = Broker::start();
    let lines = format!("topic_alias = true\n{QUICK}");
    let gatewire = Setup::with_connection(broker.port, &lines, INGEST).start();
    let sent = |publish: rumqttc::v5::mqttbytes::v5::Publish| {
        let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
        (topic, publish.properties.and_then(|properties| properties.topic_alias))
    };
    let named = |topic: &str, alias| (topic.to_owned(), alias);
    // At most one alias.
    let mut peer = broker.connected_5(false, &[0x22, 0, 1]);
    let mut client = gatewire.client("publish.sock");
    let mut publish = |topics: &[&str]| {
        topics.iter().for_each(|topic| client.send(&format!("{{\"topic\":\"{topic}\",\"payload\":1}}")))
    };
    publish(&["long/topic", "long/topic", "other/topic"]);
    assert_eq!(sent(peer.publish()), named("long/topic", Some(1)));
    assert_eq!(sent(peer.publish()), named("", Some(1)));
    assert_eq!(sent(peer.publish()), named("other/topic", None));
    peer.close();

    let mut peer = broker.connected_5(true, &[0x22, 0, 1]);
    for topic in ["long/topic", "long/topic", "other/topic"] {
        let publish = peer.publish();
        assert!(publish.dup);
        peer.puback(publish.pkid, 0);
        assert_eq!(sent(publish), named(topic, None));
    }
    publish(&["other/topic", "other/topic"]);
    assert_eq!([sent(peer.publish()), sent(peer.publish())], [named("other/topic", Some(1)), named("", Some(1))]);
    peer.close();

    // A server that takes none.
    let mut peer = broker.connected_5(false, &[]);
    assert_eq!([sent(peer.publish()), sent(peer.publish())], [named("other/topic", None), named("other/topic", None)]);
}
