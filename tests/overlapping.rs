//! Once a forward: filters with topics in common, at servers that send one copy of a message and at such that send one for each
//! subscription.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use serde_json::json;
use support::daemon::{Gatewire, Setup};
use support::eventually;
use support::mosquitto::Mosquitto;
use support::socket::Client;

fn forwards(filters: &[&str], rest: &str) -> String {
    let forward = |(index, filters): (usize, &&str)| {
        format!("[[forward]]\nname = \"f{index}\"\nfilters = [{filters}]\nsocket = \"DIR/{index}.sock\"\n{rest}")
    };
    filters.iter().enumerate().map(forward).collect()
}

fn readers(gatewire: &Gatewire, n: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..n).map(|index| gatewire.client(&format!("{index}.sock"))).collect();
    clients.iter_mut().for_each(|client| client.send("{\"observe\":false}"));
    clients
}

/// Three equal messages and another on each topic come once to each reader, and as no duplicates.
fn each_gets_each_once(broker: &Mosquitto, readers: &mut [Client], topic: &str) {
    for payload in ["toggle", "toggle", "toggle", "last"] {
        broker.publish(topic, payload.as_bytes());
    }
    for reader in readers {
        let lines: Vec<_> = (0..4).map(|_| reader.json()).collect();
        let payloads: Vec<_> = lines.iter().map(|line| line["payload"].clone()).collect();
        assert_eq!(payloads, ["toggle", "toggle", "toggle", "last"], "{lines:?}");
        assert!(lines.iter().all(|line| line["duplicate"] == false), "{lines:?}");
        for line in lines {
            reader.send(&json!({"ack": line["id"]}).to_string());
        }
    }
}

#[test]
fn a_message_for_filters_within_each_other_comes_once_a_forward() {
    for copies in ["true", "false"] {
        for (protocol, rest) in [("5", ""), ("3.1.1", ""), ("3.1.1", "ack = \"reader\"\n")] {
            let broker = Mosquitto::with_options(&format!("allow_duplicate_messages {copies}\n"));
            let filters = ["\"plant/#\"", "\"plant/+/temp\", \"plant/a/temp\"", "\"plant/a/#\""];
            let gatewire = Setup::new(broker.port, &forwards(&filters, rest)).speaking(protocol).connect();
            broker.wait_for("Sending SUBACK to thing-1");
            let mut readers = readers(&gatewire, 3);
            eventually("the readers", || (gatewire.status()["forward"][2]["readers"] == 1).then_some(()));
            each_gets_each_once(&broker, &mut readers, "plant/a/temp");
        }
    }
}

#[test]
fn a_message_for_filters_with_topics_in_common_comes_once_a_forward_in_mqtt_5() {
    for copies in ["true", "false"] {
        let broker = Mosquitto::with_options(&format!("allow_duplicate_messages {copies}\n"));
        let filters = ["\"a/+/c\"", "\"a/b/#\"", "\"a/#\", \"other\"", "\"+/b/c\""];
        let setup = Setup::new(broker.port, &forwards(&filters, ""));
        let gatewire = setup.connect();
        // The others are within the first.
        ["a/#", "other", "+/b/c"].iter().for_each(|filter| broker.wait_for(&format!("thing-1 1 {filter}\n")));
        let mut clients = readers(&gatewire, 4);
        eventually("the readers", || (gatewire.status()["forward"][3]["readers"] == 1).then_some(()));
        each_gets_each_once(&broker, &mut clients, "a/b/c");
        drop(clients);
        gatewire.stop();
        // In the session that was kept, after a restart.
        let gatewire = setup.connect();
        let mut clients = readers(&gatewire, 4);
        eventually("the readers", || (gatewire.status()["forward"][3]["readers"] == 1).then_some(()));
        each_gets_each_once(&broker, &mut clients, "a/b/c");
        // Version 2.0 of mosquitto sends one for each identifier even where it is to send one.
        if copies == "true" {
            // The last may come a moment after its message.
            eventually("the copies", || (gatewire.status()["counters"]["copies"] == 4).then_some(()));
        }
    }
}

#[test]
fn check_warns_of_what_remains() {
    let said = |protocol: &str, filters: &[&str]| {
        let setup = Setup::new(1, &forwards(filters, "")).speaking(protocol);
        let (_, out, err) = setup.output("check");
        format!("{out}{err}")
    };
    let said_of = said("3.1.1", &["\"a/+/c\"", "\"a/b/#\""]);
    assert!(said_of.contains("\"a/b/#\" of \"f1\" and \"a/+/c\" of \"f0\" have topics in common"), "{said_of}");
    assert!(!said("3.1.1", &["\"a/#\"", "\"a/b\"", "\"a/+/c\""]).contains("in common"));
    assert!(said("5", &["\"$share/g/a/#\"", "\"a/b\""]).contains("every server sends one for each of them"));
}
