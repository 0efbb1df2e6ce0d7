//! What a person reads in the log and in the status when the link doesn't come or stay, met on the wire. The texts of each
//! failure are the business of the unit tests of `link::diagnosis`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::closed_port;
use support::daemon::Setup;
use support::mosquitto::Mosquitto;
use support::scripted::Broker;

const INGEST: &str = "[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"#\"]\n";

#[test]
fn two_gateways_with_one_client_id_are_told_so() {
    // This mosquitto closes without a word in MQTT 5, too; IoT Core's DISCONNECT is met in the tests of MQTT 5.
    for protocol in ["3.1.1", "5"] {
        let broker = Mosquitto::start();
        let gateways = [(); 2].map(|()| Setup::new(broker.port, "").speaking(protocol).start());
        for gateway in &gateways {
            let said = gateway.wait_for_failure("client_id_taken_over");
            assert!(said.contains("two devices share this client id") && said.contains("`thing-1`"), "{said}");
        }
    }
}

#[test]
fn a_message_without_acknowledgement_or_with_retain_is_named_too_when_the_server_closes() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, INGEST).speaking("3.1.1").start();
    let mut client = gatewire.client("publish.sock");
    for (nth, line, needed) in [
        (1, r#"{"topic":"zero","payload":1,"qos":0}"#, "lacks iot:Publish on topic/zero;"),
        (2, r#"{"topic":"kept","payload":1,"retain":true}"#, "lacks iot:Publish and iot:RetainPublish on topic/kept;"),
    ] {
        let mut peer = broker.connected(false);
        // QoS 0 is only taken while the link is up.
        gatewire.wait_for_nth("connected to", nth);
        client.send(line);
        peer.publish();
        peer.close();
        gatewire.wait_for(needed);
    }
}

#[test]
fn a_missing_puback_is_said_where_the_message_goes_again_on_the_same_connection() {
    let broker = Broker::start();
    let gatewire = Setup::with_connection(broker.port, "ack_timeout = \"1s\"\n", INGEST).speaking("3.1.1").start();
    let mut peer = broker.connected(false);
    gatewire.client("publish.sock").send(r#"{"topic":"a/b","payload":1}"#);
    let id = peer.publish().pkid;
    assert_eq!(peer.publish().pkid, id);
    let line = gatewire.wait_for("didn't acknowledge a message to `a/b` within 1s");
    assert!(line.contains("connection.rate_limit"), "{line}");
}

#[test]
fn a_failure_that_goes_on_is_said_less_and_less() {
    let connection = "backoff = { min = \"100ms\", max = \"100ms\" }\nrate_limit = { connects_per_second = 1000 }\n";
    let gatewire = Setup::with_connection(closed_port(), connection, "").start();
    let last = gatewire.wait_for(", 16 times since ");
    // Until then: it goes on.
    let log = gatewire.log();
    let until = log.iter().position(|line| *line == last).unwrap();
    let lines: Vec<&String> = log[..=until].iter().filter(|line| line.contains("connection refused")).collect();
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert!(lines[0].contains("check connection.endpoint"), "{}", lines[0]);
    assert!(lines[1..].iter().all(|line| !line.contains("check connection.endpoint")), "{lines:#?}");
}
