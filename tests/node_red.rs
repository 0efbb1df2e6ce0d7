//! The palette package for Node-RED (packaging/node-red), as it would be published, in real Node-RED: its nodes are deployed again
//! and again, either side is restarted and killed, and messages of every kind go both ways.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

#[path = "node_red/away.rs"]
mod away;
#[path = "node_red/deploys.rs"]
mod deploys;
#[path = "node_red/messages.rs"]
mod messages;
#[path = "node_red/package.rs"]
mod package;
#[path = "node_red/program.rs"]
mod program;
#[path = "node_red/words.rs"]
mod words;

use program::{NodeRed, Version};
use serde_json::{Value, json};
use support::daemon::{Gatewire, Setup};
use support::mosquitto::Mosquitto;

const SOCKETS: &str = "[[forward]]\nname = \"messages\"\nfilters = [\"test/topic\", \"gateways/{{client_id}}/echo\"]\n\
    socket = \"DIR/messages.sock\"\nack = \"reader\"\n[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\n\
    topics = [\"gateways/{{client_id}}/#\"]\n";

/// What is published is `delivered`, however slow this machine is; what a reader hasn't acknowledged isn't kept from the broker for long.
fn setup(port: u16) -> Setup {
    Setup::new(port, SOCKETS).edit("[outbox]\n", "[outbox]\nspill_after = \"10s\"\n")
}

/// Everything, connected.
struct Scene {
    // In this order they end.
    node_red: NodeRed,
    gatewire: Gatewire,
    setup: Setup,
    broker: Mosquitto,
}

impl Scene {
    fn new(version: Version) -> Scene {
        let broker = Mosquitto::start();
        let setup = setup(broker.port);
        let gatewire = setup.connect();
        broker.wait_for("Sending SUBACK to thing-1");
        let node_red = NodeRed::start(version, gatewire.directory());
        node_red.wait_until_connected();
        Scene { node_red, gatewire, setup, broker }
    }

    /// A message from each side reaches the other, and only once.
    fn exchange(&self, n: u32) {
        let Scene { node_red, broker, .. } = self;
        node_red.publish(json!([{"topic": "gateways/thing-1/door", "payload": {"open": n}}]));
        assert_eq!(node_red.next("complete", 1)[0]["gatewire"], json!({"result": "delivered"}), "{}", node_red.log());
        broker.publish("test/topic", n.to_string().as_bytes());
        assert_eq!(node_red.next("message", 1)[0]["payload"], json!(n), "{}", node_red.log());
    }

    /// No connection is left over from before.
    fn has_one_connection_each(&self) {
        let status = support::eventually("one connection each", || {
            let status = self.gatewire.status();
            (counts(&status) == (1, 1)).then_some(status)
        });
        assert_eq!(status["ingest"][0]["refused"], json!({}), "{status}");
    }
}

fn counts(status: &Value) -> (u64, u64) {
    (status["forward"][0]["readers"].as_u64().unwrap(), status["ingest"][0]["clients"].as_u64().unwrap())
}

/// Numbered messages for `gatewire out`.
fn doors(numbers: std::ops::Range<u32>) -> Value {
    numbers.map(|i| json!({"topic": "gateways/thing-1/door", "payload": i})).collect()
}

/// Each test in the current Node-RED and the one before it.
macro_rules! in_both {
    ($($module:ident :: $test:ident),* $(,)?) => {
        in_one!{ node_red_5 "target/node-red-5" $($module::$test),* }
        in_one!{ node_red_4 "target/node-red-4" $($module::$test),* }
    };
}

macro_rules! in_one {
    ($version:ident $directory:literal $($module:ident :: $test:ident),* $(,)?) => {
        mod $version {
            use super::*;
            $(#[test] fn $test() { $module::$test(Version($directory)); })*
        }
    };
}

in_both! {
    deploys::deploys_of_each_kind_lose_nothing,
    deploys::two_hundred_deploys_leave_nothing_behind,
    deploys::messages_that_come_during_deploys_arrive,
    messages::payloads_and_properties_arrive_as_they_were,
    messages::five_thousand_messages_arrive_both_ways,
    messages::what_cannot_be_published_is_caught,
    messages::what_is_urgent_overtakes_what_an_outage_has_left,
    away::what_is_sent_while_gatewire_is_away_waits,
    away::what_comes_while_node_red_is_away_waits,
    away::nothing_is_lost_when_gatewire_is_killed,
    away::nothing_acknowledged_or_complete_is_lost_when_node_red_is_killed,
    words::each_failure_is_told_under_the_node,
    package::the_examples_run,
    package::the_directory_of_the_debian_package_is_installed_as_printed,
}

// The oldest that it runs in differs in what a node is given and how it says what it does.
in_one! {
    node_red_3 "target/node-red-3"
    deploys::deploys_of_each_kind_lose_nothing,
    messages::payloads_and_properties_arrive_as_they_were,
    words::each_failure_is_told_under_the_node,
    package::the_examples_run,
}
