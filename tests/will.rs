//! The last will: what the broker publishes in our name when the link is lost, and when it doesn't.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::LastWill;
use support::daemon::Setup;
use support::mosquitto::Mosquitto;
use support::scripted::Broker;

const WILL: &str = "will = { topic = \"gateways/{{client_id}}/link\", payload = { link = \"lost\" }, retain = true }\n";

/// The topic and payload, QoS and retain flag as a later subscriber sees them.
const SEEN: &str = "gateways/thing-1/link {\"link\":\"lost\"} 1 1";

#[test]
fn a_daemon_that_is_killed_leaves_its_will() {
    for protocol in ["5", "3.1.1"] {
        let broker = Mosquitto::start();
        let gatewire = Setup::with_connection(broker.port, WILL, "").speaking(protocol).connect();
        gatewire.kill();
        broker.wait_for("Client thing-1 closed its connection.");
        let subscriber = broker.subscribe_with("gateways/#", &[], "%t %p %q %r");
        assert_eq!(subscriber.next(), SEEN, "{protocol}");
    }
}

#[test]
fn a_daemon_that_is_stopped_takes_its_will_with_it() {
    for protocol in ["5", "3.1.1"] {
        let broker = Mosquitto::start();
        let gatewire = Setup::with_connection(broker.port, WILL, "").speaking(protocol).connect();
        let subscriber = broker.subscribe("gateways/#");
        assert_eq!(gatewire.stop().0, 0);
        broker.wait_for("Client thing-1 disconnected.");
        broker.publish("gateways/after", b"nothing came before");
        assert_eq!(subscriber.next(), "gateways/after nothing came before", "{protocol}");
    }
}

#[test]
fn a_will_goes_with_every_connect() {
    let broker = Broker::start();
    let will = "will = { topic = \"lost\", payload = \"\", qos = 0 }\nbackoff = { min = \"100ms\", max = \"200ms\" }\n";
    let _gatewire = Setup::with_connection(broker.port, will, "").speaking("3.1.1").start();
    for _ in 0..2 {
        let mut peer = broker.accept();
        assert_eq!(peer.connect().last_will, Some(LastWill::new("lost", "", QoS::AtMostOnce, false)));
        peer.connack(false);
        peer.close();
    }
}
