//! Bridges, with two real brokers: one in the place of IoT Core, one beside the gateway.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::daemon::{Gatewire, Setup};
use support::local_broker::LocalBroker;
use support::mosquitto::Mosquitto;
use support::strict::Strict;
use support::{eventually, patiently};

const RULES: &str = "[[bridge.up]]\nfrom = \"z2m/#\"\nstrip = \"z2m/\"\nto = \"gw/{{client_id}}/z2m/\"\nexcept = [\"z2m/bridge/#\"]\n\
    [[bridge.down]]\nfrom = \"gw/{{client_id}}/set/#\"\nstrip = \"gw/{{client_id}}/set/\"\nto = \"z2m/\"\n";

fn bridge(port: u16, rules: &str) -> String {
    format!("[[bridge]]\nname = \"house\"\nbroker = \"127.0.0.1:{port}\"\n{rules}")
}

/// Both brokers, and a gatewire that is connected to both.
struct Bench {
    cloud: Mosquitto,
    local: LocalBroker,
    setup: Setup,
    /// Whether something comes down.
    subscribes: bool,
}

impl Bench {
    fn new(rules: &str) -> Bench {
        Bench::with(LocalBroker::start(), rules)
    }

    fn with(local: LocalBroker, rules: &str) -> Bench {
        let cloud = Mosquitto::start();
        let setup = Setup::new(cloud.port, &bridge(local.port, rules));
        Bench { cloud, local, setup, subscribes: rules.contains("[[bridge.down]]") }
    }

    fn start(&self) -> Gatewire {
        let gatewire = self.setup.connect();
        gatewire.wait_for("bridge house: connected to ");
        gatewire.wait_for("bridge house: subscribed to ");
        if self.subscribes {
            // Before that nothing that is published there is for it.
            self.cloud.wait_for("Sending SUBACK to thing-1");
        }
        gatewire
    }
}

fn rule(gatewire: &Gatewire, way: &str, index: usize) -> Value {
    gatewire.status()["bridge"][0][way][index].clone()
}

/// Waits until a rule has delivered so many messages, and returns what it says then.
fn delivered(gatewire: &Gatewire, way: &str, index: usize, n: u64) -> Value {
    eventually(&format!("{n} delivered {way}"), || {
        Some(rule(gatewire, way, index)).filter(|rule| rule["delivered"].as_u64().unwrap() >= n)
    })
}

#[test]
fn topics_are_carried_both_ways() {
    let bench = Bench::new(RULES);
    let cloud = bench.cloud.subscribe("gw/#");
    let local = bench.local.subscribe("z2m/#");
    let gatewire = bench.start();
    bench.local.publish("z2m/lamp", b"{\"state\":\"ON\"}");
    assert_eq!(cloud.next(), "gw/thing-1/z2m/lamp {\"state\":\"ON\"}");
    assert_eq!(local.next(), "z2m/lamp {\"state\":\"ON\"}");
    bench.cloud.publish("gw/thing-1/set/lamp/set", b"{\"state\":\"OFF\"}");
    assert_eq!(local.next(), "z2m/lamp/set {\"state\":\"OFF\"}");
    // What the gateway publishes itself doesn't come back.
    bench.local.publish("z2m/bridge/state", b"online");
    bench.local.publish("z2m/door", b"open");
    assert_eq!(cloud.next(), "gw/thing-1/set/lamp/set {\"state\":\"OFF\"}");
    assert_eq!(cloud.next(), "gw/thing-1/z2m/door open");
    let up = delivered(&gatewire, "up", 0, 2);
    assert_eq!((&up["from"], &up["urgent"]), (&json!("z2m/#"), &json!(false)));
    assert_eq!(
        [&up["received"], &up["accepted"], &up["delivered"], &up["waiting"]],
        [&json!(2), &json!(2), &json!(2), &json!(0)]
    );
    let down = delivered(&gatewire, "down", 0, 1);
    assert_eq!([&down["received"], &down["delivered"], &down["dropped"]], [&json!(1), &json!(1), &json!({})]);
    let document = gatewire.status();
    assert_eq!(
        (&document["bridge"][0]["name"], &document["bridge"][0]["state"]),
        (&json!("house"), &json!("connected"))
    );
}

#[test]
fn what_iot_core_cannot_take_is_counted_and_named_and_stops_nothing() {
    let bench = Bench::new(RULES);
    let cloud = bench.cloud.subscribe("gw/#");
    let gatewire = bench.start();
    bench.local.publish("z2m/large", &vec![b'x'; 128 * 1024 + 1]);
    bench.local.publish("z2m/huge", &vec![b'x'; 300 * 1024]);
    bench.local.publish("z2m/1/2/3/4/5/6/7/8", b"x");
    bench.local.publish(&format!("z2m/{}", "long".repeat(70)), b"x");
    bench.local.publish("z2m/large", &vec![b'x'; 128 * 1024 + 1]);
    bench.local.publish("z2m/max", &vec![b'x'; 128 * 1024]);
    assert!(cloud.next().starts_with("gw/thing-1/z2m/max xxx"));
    let up = delivered(&gatewire, "up", 0, 1);
    assert_eq!(up["dropped"], json!({"too_large": 3, "too_many_slashes": 1, "topic_too_long": 1}));
    assert_eq!((&up["received"], &up["accepted"]), (&json!(6), &json!(1)));
    assert_eq!(gatewire.count("z2m/large"), 1, "it is named once");
    assert!(gatewire.wait_for("z2m/1/2/3/4/5/6/7/8").contains("too_many_slashes"));
    assert_eq!(gatewire.count("bridge house: connected to "), 1, "the connection lasts");
}

#[test]
fn nothing_is_lost_while_the_link_is_down_or_gatewire_or_the_local_broker() {
    let mut bench = Bench::new(RULES);
    let gatewire = bench.start();
    bench.cloud.kill();
    gatewire.wait_for("next attempt in");
    let mut device = bench.local.device("many", "z2m/n", &["-q", "1"]);
    (0..200).for_each(|n| device.send(&n.to_string()));
    device.finish();
    eventually("all of them on the disk", || {
        (gatewire.status()["outbox"]["stored"].as_u64().unwrap() == 200).then_some(())
    });
    let up = rule(&gatewire, "up", 0);
    assert_eq!([&up["accepted"], &up["delivered"], &up["waiting"]], [&json!(200), &json!(0), &json!(200)]);
    gatewire.kill();
    // While nobody is there, the local broker keeps the next.
    bench.local.publish("z2m/n", b"200");
    bench.local.stop();
    bench.local.restart();
    bench.cloud.restart();
    let cloud = bench.cloud.subscribe("gw/#");
    let _gatewire = bench.start();
    let expected: Vec<String> = (0..=200).map(|n| format!("gw/thing-1/z2m/n {n}")).collect();
    let mut came: Vec<String> = Vec::new();
    while came.last() != expected.last() {
        // What was stored and whose PUBACK the kill prevented comes twice.
        let message = cloud.next();
        if !came.contains(&message) {
            came.push(message);
        }
    }
    assert_eq!(came, expected);
}

#[test]
fn what_comes_down_waits_on_the_disk_for_the_local_broker() {
    let mut bench = Bench::new(RULES);
    let gatewire = bench.start();
    bench.local.stop();
    gatewire.wait_for("bridge house: the broker ");
    let mut publisher = bench.cloud.publisher("gw/thing-1/set/n");
    (0..200).for_each(|n| publisher.send(&n.to_string()));
    publisher.finish();
    eventually("all of them acknowledged to the cloud", || {
        let document = gatewire.status();
        let is_done = document["inbox"]["unacknowledged"] == 0 && document["bridge"][0]["down"][0]["waiting"] == 200;
        is_done.then_some(())
    });
    gatewire.kill();
    bench.local.restart();
    let local = bench.local.subscribe("z2m/#");
    let _gatewire = bench.start();
    (0..200).for_each(|n| assert_eq!(local.next(), format!("z2m/n {n}")));
}

#[test]
fn retained_messages_go_up_once_for_a_subscription() {
    let bench = Bench::new(RULES);
    let cloud = bench.cloud.subscribe_with("gw/#", &[], "%r %t %p");
    bench.local.publish_with("z2m/lamp", b"ON", &["-q", "1", "-r"]);
    let gatewire = bench.start();
    assert_eq!(cloud.next(), "0 gw/thing-1/z2m/lamp ON", "without the flag, which only `retain` carries over");
    // Until then it may come again because the local broker wasn't told that it is delivered.
    delivered(&gatewire, "up", 0, 1);
    gatewire.stop();
    let gatewire = bench.start();
    bench.local.publish("z2m/door", b"open");
    assert_eq!(cloud.next(), "0 gw/thing-1/z2m/door open", "and not again with the session that was kept");
    drop(gatewire);
}

#[test]
fn a_reload_changes_rules_without_dropping_either_link() {
    let bench = Bench::new(RULES);
    let cloud = bench.cloud.subscribe("#");
    let gatewire = bench.start();
    let again = bench.setup.again().edit("to = \"gw/{{client_id}}/z2m/\"", "to = \"other/\"");
    let _again = again.edit("from = \"z2m/#\"\nstrip = \"z2m/\"", "from = \"z2m/+\"\nstrip = \"z2m/\"");
    gatewire.signal("HUP");
    gatewire.wait_for("the configuration is read again");
    eventually("the new rule", || {
        bench.local.publish("z2m/lamp", b"x");
        (cloud.next() == "other/lamp x").then_some(())
    });
    assert_eq!((gatewire.count("bridge house: connected to "), gatewire.count("connected to localhost")), (1, 1));
}

#[test]
fn what_a_rule_holds_at_a_stop_is_stored_and_acknowledged() {
    let rules = "[[bridge.up]]\nfrom = \"slow/#\"\nexcept = [\"slow/fast\"]\nbatch = { max = 100, within = \"1h\" }\n\
        [[bridge.up]]\nfrom = \"slow/#\"\n";
    let bench = Bench::new(rules);
    let cloud = bench.cloud.subscribe("#");
    let gatewire = bench.start();
    (0..6).for_each(|n| bench.local.publish("slow/a", n.to_string().as_bytes()));
    bench.local.publish("slow/fast", b"1");
    assert_eq!(cloud.next(), "slow/fast 1");
    delivered(&gatewire, "up", 1, 1);
    let (_, metrics, _) = bench.setup.output_of(&["status", "--prometheus"]);
    let samples: Vec<&str> = metrics
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, _)| name)
        .collect();
    let different: BTreeSet<&&str> = samples.iter().collect();
    assert_eq!(different.len(), samples.len(), "two rules with one filter are told apart: {metrics}");
    assert_eq!(gatewire.stop().0, 0);
    // The broker may read them later.
    let acknowledged = || bench.local.log().matches("Received PUBACK from gatewire-thing-1").count();
    eventually("all to be acknowledged", || (acknowledged() == 7).then_some(()));
}

#[test]
fn what_a_rule_held_goes_on_when_it_holds_nothing_back_any_more() {
    let rules = "[[bridge.up]]\nfrom = \"slow/#\"\nbatch = { max = 100, within = \"1h\" }\n";
    for stops in [false, true] {
        let bench = Bench::new(rules);
        let cloud = bench.cloud.subscribe("#");
        let gatewire = bench.start();
        (0..3).for_each(|n| bench.local.publish("slow/a", n.to_string().as_bytes()));
        eventually("all to wait", || (rule(&gatewire, "up", 0)["waiting"] == 3).then_some(()));
        let again = bench.setup.again().edit("batch = { max = 100, within = \"1h\" }\n", "");
        let gatewire = if stops {
            assert_eq!(gatewire.stop().0, 0);
            again.connect()
        } else {
            gatewire.signal("HUP");
            gatewire
        };
        (0..3).for_each(|n| assert_eq!(cloud.next(), format!("slow/a {n}")));
        bench.local.publish("slow/a", b"3");
        assert_eq!(cloud.next(), "slow/a 3");
        eventually("nothing to wait", || (rule(&gatewire, "up", 0)["waiting"] == 0).then_some(()));
    }
}

#[test]
fn what_waits_at_the_broker_for_a_rule_that_was_removed_is_named() {
    let two = format!("{RULES}[[bridge.up]]\nfrom = \"old/#\"\n");
    let bench = Bench::new(&two);
    let gatewire = bench.start();
    assert_eq!(gatewire.stop().0, 0);
    bench.local.publish("old/a", b"x");
    let again = bench.setup.again().edit("[[bridge.up]]\nfrom = \"old/#\"\n", "");
    let gatewire = again.connect();
    let line = gatewire.wait_for("which `from` of no rule matches");
    assert!(line.contains("`old/a`"), "{line}");
    bench.local.publish("z2m/bridge/state", b"online");
    bench.local.publish("z2m/door", b"open");
    delivered(&gatewire, "up", 0, 1);
    assert_eq!(gatewire.count("of no rule matches"), 1, "what is excepted is asked for");
}

#[test]
fn what_was_asked_for_with_the_other_protocol_is_taken_back() {
    let rules = |protocol: &str, from: &str| {
        format!("protocol = \"{protocol}\"\n[[bridge.up]]\nfrom = \"{from}\"\nto = \"d/\"\n")
    };
    let bench = Bench::new(&rules("5", "#"));
    let cloud = bench.cloud.subscribe("d/#");
    let gatewire = bench.start();
    let again = bench.setup.again().edit(&rules("5", "#"), &rules("3.1.1", "dev/#"));
    gatewire.signal("HUP");
    let unsubacks = || bench.local.log().matches("Sending UNSUBACK").count();
    eventually("the first filter to be taken back", || (unsubacks() >= 1).then_some(()));
    let again = again.edit(&rules("3.1.1", "dev/#"), &rules("5", "dev/+"));
    // The same over a restart.
    assert_eq!(gatewire.stop().0, 0);
    let before = unsubacks();
    let gatewire = again.connect();
    eventually("the second filter to be taken back", || (unsubacks() > before).then_some(()));
    gatewire.wait_for("bridge house: subscribed to dev/+");
    bench.local.publish("dev/x", b"1");
    assert_eq!(cloud.next(), "d/dev/x 1");
    bench.local.publish("dev/x", b"2");
    assert_eq!(cloud.next(), "d/dev/x 2", "and nothing twice");
    assert_eq!(gatewire.count("aren't fetched"), 0);
}

#[test]
fn where_iot_core_refuses_everything_all_waits() {
    for protocol in ["3.1.1", "5"] {
        let topics: Vec<String> = (0..5).map(|n| format!("gw/z2m/{n}")).collect();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        // A PUBACK with a failure code, of which there is none in MQTT 3.1.1: there the connection is closed.
        let forbidden = if protocol == "5" { &[][..] } else { &names[..] };
        let (cloud, local) = (Strict::start(protocol, forbidden), LocalBroker::start());
        names.iter().filter(|_| protocol == "5").for_each(|topic| cloud.refuse(topic));
        let all_waits = |gatewire: &Gatewire| {
            let up = &gatewire.status()["bridge"][0]["up"][0];
            assert_eq!((&up["dropped"], &up["delivered"]), (&json!({}), &json!(0)));
            (up["waiting"] == 5).then_some(())
        };
        let rules = "[[bridge.up]]\nfrom = \"z2m/#\"\nto = \"gw/\"\n";
        let gatewire = Setup::new(cloud.port, &bridge(local.port, rules)).speaking(protocol).connect();
        gatewire.wait_for("bridge house: subscribed to ");
        (0..5).for_each(|n| local.publish(&format!("z2m/{n}"), b"on"));
        gatewire.wait_for("takes nothing that is sent");
        eventually("all to wait", || all_waits(&gatewire));
        let allow = if protocol == "5" { Strict::grant } else { Strict::allow };
        names.iter().for_each(|topic| allow(&cloud, topic));
        patiently("all to arrive", || (gatewire.status()["bridge"][0]["up"][0]["delivered"] == 5).then_some(()));
        topics.iter().for_each(|topic| assert_eq!(cloud.arrived(topic), ["on"]));
    }
}

#[test]
fn every_and_batch_hold_back_and_lose_nothing() {
    let rules = "[[bridge.up]]\nfrom = \"slow/+\"\nevery = \"1h\"\n\
        [[bridge.up]]\nfrom = \"array/+\"\nbatch = { max = 3, within = \"1h\" }\n[[bridge.up]]\nfrom = \"fast/+\"\n";
    let bench = Bench::new(rules);
    let cloud = bench.cloud.subscribe("#");
    let gatewire = bench.start();
    // More topics wait than the broker sends without being told of them.
    for n in 0..60 {
        bench.local.publish(&format!("slow/{n}"), b"1");
        assert_eq!(cloud.next(), format!("slow/{n} 1"));
        bench.local.publish(&format!("slow/{n}"), b"2");
    }
    for n in 0..4 {
        bench.local.publish("array/a", n.to_string().as_bytes());
    }
    assert_eq!(cloud.next(), "array/a [0,1,2]");
    bench.local.publish("fast/a", b"1");
    assert_eq!(cloud.next(), "fast/a 1", "it isn't held up by what waits");
    let slow = delivered(&gatewire, "up", 0, 60);
    assert_eq!([&slow["received"], &slow["accepted"], &slow["waiting"]], [&json!(120), &json!(60), &json!(60)]);
    let array = delivered(&gatewire, "up", 1, 3);
    assert_eq!([&array["accepted"], &array["waiting"]], [&json!(4), &json!(1)]);
    // Only what the local broker wasn't told of may come twice.
    let acknowledged = || bench.local.log().matches("Received PUBACK from gatewire-thing-1").count();
    eventually("all to be acknowledged", || (acknowledged() == 125).then_some(()));
    gatewire.kill();
    let gatewire = bench.start();
    // Of what waited, all is there again; with another time it goes at once. What IoT Core has acknowledged may come once more: the kill
    // may have been quicker than the note of that.
    let sent = |message: &str| message == "array/a [0,1,2]" || message.ends_with(" 1");
    let _again = bench.setup.again().edit("every = \"1h\"", "every = \"1s\"");
    gatewire.signal("HUP");
    let mut expected: BTreeSet<String> = (0..60).map(|n| format!("slow/{n} 2")).collect();
    while !expected.is_empty() {
        let message = cloud.next();
        assert!(expected.remove(&message) || sent(&message), "{message}");
    }
}
