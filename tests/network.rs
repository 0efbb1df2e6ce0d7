//! A network that goes silent or changes under the connection: two network namespaces, the daemon in one, mosquitto in the other.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use support::daemon::{Gatewire, Setup};
use support::mosquitto::Mosquitto;
use support::network::Network;
use support::{CERTIFICATES, eventually, patiently};

const SECOND: Duration = Duration::from_secs(1);

/// What a loaded machine may take for what should happen at once.
const SLACK: Duration = Duration::from_millis(1500);

const INGEST: &str = "[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"#\"]\n";

/// Issued once: it is the same in each network, and the tests run side by side.
static CERTIFICATE: LazyLock<&str> = LazyLock::new(|| {
    CERTIFICATES.issue("network.crt", "server.key", &format!("subjectAltName=IP:{}", Network::SERVER), 1);
    "network.crt"
});

/// A daemon that is connected across a network of its own.
fn connected(network: &Network, connection: &str) -> (Mosquitto, Gatewire) {
    let broker = Mosquitto::inside(&network.on_server(), Network::SERVER, &CERTIFICATE);
    let setup = Setup::with_connection(broker.port, connection, INGEST)
        .edit("\"localhost\"", &format!("\"{}\"", Network::SERVER))
        .under(network.on_device());
    (broker, setup.connect())
}

/// Until the daemon has given the connection up, with the code of why.
fn given_up(gatewire: &Gatewire) -> String {
    let code = || gatewire.status()["link"]["last_error"]["code"].as_str().map(str::to_owned);
    eventually("the end of the connection", code)
}

/// How long it takes, where there is a network.
fn takes_less_than(limit: Duration, go: impl Fn(&Network) -> Duration) {
    support::takes_less_than(limit, || Network::make().map_or(Duration::ZERO, |network| go(&network)));
}

#[test]
fn a_silent_network_is_noticed_within_one_and_a_half_keep_alives() {
    takes_less_than(5 * SECOND * 3 / 2 + SLACK, |network| {
        let backoff = "backoff = { min = \"100ms\", max = \"500ms\" }\nconnect_timeout = \"1s\"\n";
        let (_broker, gatewire) = connected(network, &format!("keep_alive = \"5s\"\n{backoff}"));
        network.silence();
        let silent = Instant::now();
        assert_eq!(given_up(&gatewire), "keep_alive_lost");
        let took = silent.elapsed();
        network.speak();
        gatewire.wait_for_nth("connected to", 2);
        took
    });
}

#[test]
fn with_a_message_in_flight_a_silent_network_is_noticed_within_a_keep_alive() {
    takes_less_than(5 * SECOND + SLACK, |network| {
        let backoff = "backoff = { min = \"100ms\", max = \"500ms\" }\nconnect_timeout = \"1s\"\n";
        let (broker, gatewire) = connected(network, &format!("keep_alive = \"5s\"\n{backoff}"));
        network.silence();
        let mut client = gatewire.client("publish.sock");
        let sent = Instant::now();
        client.send(r#"{"topic":"late","payload":1}"#);
        assert_eq!(given_up(&gatewire), "network_lost");
        let took = sent.elapsed();
        network.speak();
        assert_eq!(client.json()["result"], "stored");
        eventually("the message", || (broker.received("thing-1") == ["late"]).then_some(()));
        took
    });
}

/// A wait that nobody would sit through: what comes sooner comes because the kernel said so.
const PATIENT: &str = "backoff = { first = \"0s\", min = \"1m\", max = \"2m\" }\n";

#[test]
fn an_address_that_is_replaced_is_noticed_at_once() {
    takes_less_than(SECOND + SLACK, |network| {
        let (broker, gatewire) = connected(network, PATIENT);
        // Of a network of its own: one of the same goes with the first.
        network.add("10.231.0.3/16");
        network.remove("10.231.0.2/24");
        let gone = Instant::now();
        gatewire
            .wait_for("the address 10.231.0.2, from which 10.231.0.1:8883 was reached, isn't this machine's any more");
        gatewire.wait_for_nth("connected to", 2);
        let took = gone.elapsed();
        broker.wait_for("New client connected from 10.231.0.3");
        took
    });
}

#[test]
fn an_address_that_comes_after_an_outage_ends_the_wait() {
    takes_less_than(SECOND + SLACK, |network| {
        let (broker, gatewire) = connected(network, PATIENT);
        network.remove("10.231.0.2/24");
        // It has tried at once, and waits now for longer than this test takes.
        gatewire.wait_for("network unreachable");
        network.add("10.231.0.4/24");
        let came = Instant::now();
        gatewire.wait_for_nth("connected to", 2);
        let took = came.elapsed();
        broker.wait_for("New client connected from 10.231.0.4");
        took
    });
}

#[test]
fn an_address_that_is_renewed_does_not_end_the_wait() {
    let Some(network) = Network::make() else { return };
    network.add("10.232.0.2/24");
    let (_broker, gatewire) = connected(&network, PATIENT);
    network.remove("10.231.0.2/24");
    // It has tried at once, and waits now for longer than this test takes.
    gatewire.wait_for("network unreachable");
    let attempts = || gatewire.status()["counters"]["attempts"].as_u64().unwrap();
    let before = attempts();
    (0..20).for_each(|_| network.renew("10.232.0.2/24"));
    network.add("10.231.0.4/24");
    gatewire.wait_for_nth("connected to", 2);
    assert_eq!(attempts(), before + 1, "for the one that is new");
}

#[test]
fn other_addresses_may_come_and_go() {
    let Some(network) = Network::make() else { return };
    let (_broker, gatewire) = connected(&network, PATIENT);
    for _ in 0..20 {
        network.add("10.231.0.7/24");
        network.remove("10.231.0.7/24");
    }
    let mut client = gatewire.client("publish.sock");
    assert!(client.ask(r#"{"topic":"t","payload":1}"#)["result"].is_string());
    eventually("its delivery", || (gatewire.status()["outbox"]["delivered"] == 1).then_some(()));
    let status = gatewire.status();
    assert_eq!((&status["counters"]["connections"], &status["link"]["last_error"]), (&1.into(), &().into()));
}

#[test]
fn a_slow_uplink_is_not_taken_for_missing_acknowledgements() {
    for protocol in ["3.1.1", "5"] {
        let Some(network) = Network::make() else { return };
        network.bound_window();
        let connection = format!("protocol = \"{protocol}\"\nack_timeout = \"3s\"\n");
        let (_broker, gatewire) = connected(&network, &connection);
        network.slow("25kbit");
        let mut client = gatewire.client("publish.sock");
        // Eight seconds. The kernel has all of it some seconds before the server has.
        client.send(&format!("{{\"topic\":\"large\",\"payload\":\"{}\"}}", "x".repeat(24_000)));
        client.send(r#"{"topic":"small","payload":1}"#);
        patiently("both", || (gatewire.status()["outbox"]["delivered"] == 2).then_some(()));
        let counters = gatewire.status()["counters"].clone();
        assert_eq!((&counters["resent"], &counters["connections"]), (&0.into(), &1.into()));
    }
}

/// The longest time until a message of a client that sends little arrived, on an uplink that twenty others would fill ten times over.
fn longest_wait_beside_floods(network: &Network, qos: u8) -> Duration {
    let (broker, gatewire) = connected(network, "");
    network.slow("25kbit");
    let flood = format!("{{\"topic\":\"flood\",\"payload\":\"{}\",\"qos\":{qos}}}\n", "x".repeat(400)).repeat(100);
    let floods: Vec<_> = (0..20)
        .map(|_| {
            let mut client = gatewire.client("publish.sock");
            client.write_some(flood.as_bytes());
            client
        })
        .collect();
    let mut quiet = gatewire.client("publish.sock");
    let mut longest = Duration::ZERO;
    for n in 0..5 {
        let topic = format!("quiet/{n}");
        let sent = Instant::now();
        quiet.send(&format!("{{\"topic\":\"{topic}\",\"payload\":1,\"qos\":{qos}}}"));
        patiently(&topic, || broker.received("thing-1").contains(&topic).then_some(()));
        longest = longest.max(sent.elapsed());
        assert!(quiet.json()["error"].is_null());
    }
    let received = broker.received("thing-1");
    assert!(received.len() < 20 * 100, "the flood is over");
    drop(floods);
    longest
}

#[test]
fn on_a_slow_uplink_twenty_floods_keep_nobody_waiting_for_more_than_five_seconds() {
    for qos in [0, 1] {
        takes_less_than(5 * SECOND + SLACK, |network| longest_wait_beside_floods(network, qos));
    }
}

#[test]
fn on_a_slow_uplink_a_stop_says_goodbye_too() {
    takes_less_than(6 * SECOND + SLACK, |network| {
        let (broker, gatewire) = connected(network, "");
        network.slow("200kbit");
        let mut client = gatewire.client("publish.sock");
        // Ten seconds.
        (0..60).for_each(|_| client.send(&format!("{{\"topic\":\"t\",\"payload\":\"{}\"}}", "x".repeat(4000))));
        eventually("the first", || (gatewire.status()["outbox"]["delivered"].as_u64() > Some(0)).then_some(()));
        gatewire.signal("TERM");
        let (code, took) = gatewire.wait();
        assert_eq!(code, 0);
        broker.wait_for("Received DISCONNECT from thing-1");
        took
    });
}
