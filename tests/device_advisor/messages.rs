//! Publications, subscriptions and the session that keeps them.

use std::time::Duration;

use serde_json::json;

use crate::support::daemon::Setup;
use crate::support::device::{Published, Said, Version, both};
use crate::support::eventually;
use crate::support::scripted::Broker;
use crate::{FORWARD, INGEST, QUICK};

const A_WHILE: Duration = Duration::from_millis(300);

#[test]
fn mqtt_subscribe() {
    both(|version| {
        let broker = Broker::start();
        let _gatewire = Setup::new(broker.port, FORWARD).speaking(version.name()).start();
        let mut device = broker.connected_device(version, false);
        let (id, filters) = device.subscribe();
        assert_eq!(filters, ["commands/#"]);
        device.suback(id, 1);
        assert!(device.is_silent(A_WHILE));
    });
}

#[test]
fn mqtt_publish() {
    both(|version| {
        let publish = "[[publish]]\nname = \"hello\"\ntopic = \"test/topic\"\nevery = \"1h\"\npayload = \"hi\"\n";
        for qos in [0, 1] {
            let broker = Broker::start();
            let rest = format!("{publish}qos = {qos}\n");
            let _gatewire = Setup::new(broker.port, &rest).speaking(version.name()).start();
            let mut device = broker.connected_device(version, false);
            let sent = device.publish();
            assert_eq!((sent.topic.as_str(), sent.payload.as_str(), sent.qos), ("test/topic", "hi", qos));
            assert_eq!((sent.id == 0, sent.dup, sent.retain), (qos == 0, false, false));
        }
    });
}

#[test]
fn mqtt_publish_retained_messages() {
    both(|version| {
        let broker = Broker::start();
        let gatewire = Setup::new(broker.port, INGEST).speaking(version.name()).start();
        let mut device = broker.connected_device(version, false);
        gatewire.client("publish.sock").send(r#"{"topic":"kept","payload":"x","retain":true}"#);
        assert!(device.publish().retain);
    });
}

#[test]
fn mqtt_client_puback_qos1() {
    both(|version| {
        let broker = Broker::start();
        let _gatewire = Setup::new(broker.port, FORWARD).speaking(version.name()).start();
        let mut device = broker.connected_device(version, false);
        let (id, _) = device.subscribe();
        device.suback(id, 1);
        for (id, size) in [(1, 0), (2, 100), (3, 64 * 1024), (65_535, 128 * 1024)] {
            device.message("commands/x", &"x".repeat(size), id);
            assert_eq!(device.next(), Some(Said::PubAck(id)));
        }
    });
}

#[test]
fn mqtt_publish_retry_no_puback() {
    both(|version| {
        let broker = Broker::start();
        let gatewire = Setup::with_connection(broker.port, QUICK, INGEST).speaking(version.name()).start();
        let mut device = broker.connected_device(version, false);
        let mut client = gatewire.client("publish.sock");
        client.send(r#"{"topic":"t","payload":"x"}"#);
        let first = device.publish();
        // MQTT 5 forbids to send it again on the same connection (MQTT-4.4.0-1).
        if version == Version::Mqtt5 {
            assert_eq!(device.next(), None);
            device = broker.connected_device(version, true);
        }
        assert_eq!(device.publish(), Published { dup: true, ..first.clone() });
        device.puback(first.id);
        // It may have been on the disk by then.
        assert!([json!({"result": "delivered"}), json!({"result": "stored"})].contains(&client.json()));
        assert!(device.is_silent(A_WHILE));
    });
}

#[test]
fn mqtt_subscribe_retry_no_suback() {
    both(|version| {
        let broker = Broker::start();
        let _gatewire = Setup::with_connection(broker.port, QUICK, FORWARD).speaking(version.name()).start();
        let mut device = broker.connected_device(version, false);
        let first = device.subscribe();
        // Nor does it know of a second SUBSCRIBE with the same packet identifier, which is in use (MQTT-2.2.1-3).
        if version == Version::Mqtt5 {
            assert_eq!(device.next(), None);
            device = broker.connected_device(version, true);
        }
        let again = device.subscribe();
        assert_eq!(again.1, first.1);
        assert!(version == Version::Mqtt5 || again.0 == first.0, "{again:?} {first:?}");
        device.suback(again.0, 1);
        assert!(device.is_silent(Duration::from_millis(2300)));
    });
}

#[test]
fn mqtt_persistent_session_happy_case() {
    both(|version| {
        let broker = Broker::start();
        let gatewire = Setup::with_connection(broker.port, QUICK, FORWARD).speaking(version.name()).start();
        let mut device = broker.accept_device(version);
        assert!(!device.connect(), "a session that is kept");
        device.connack(false);
        let (id, _) = device.subscribe();
        device.suback(id, 1);
        assert!(device.is_silent(A_WHILE));
        eventually("the SUBACK to be heard", || gatewire.status()["outbox"]["held"].is_null().then_some(()));
        device.hang_up();
        let mut device = broker.connected_device(version, true);
        // What was stored meanwhile.
        device.message("commands/stored", "stored", 9);
        assert_eq!(device.next(), Some(Said::PubAck(9)), "without a SUBSCRIBE");
        assert_eq!(gatewire.client("f.sock").payload(), "stored");
    });
}

#[test]
fn mqtt_expired_persistent_session() {
    both(|version| {
        let broker = Broker::start();
        let _gatewire = Setup::with_connection(broker.port, QUICK, FORWARD).speaking(version.name()).start();
        let mut device = broker.connected_device(version, false);
        let (id, filters) = device.subscribe();
        device.suback(id, 1);
        assert!(device.is_silent(A_WHILE));
        device.hang_up();
        let mut device = broker.accept_device(version);
        assert!(!device.connect());
        device.connack(false);
        assert_eq!(device.subscribe().1, filters);
    });
}
