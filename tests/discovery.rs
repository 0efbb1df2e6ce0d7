//! `discovery = "homeassistant"`: what Home Assistant finds at a real mosquitto, and what never leaves it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::closed_port;
use support::daemon::Setup;
use support::local_broker::LocalBroker;
use support::mosquitto::{Mosquitto, Subscriber};
use support::{eventually, patiently};

const DISCOVERY: &str = "discovery = \"homeassistant\"";
const CONFIGS: [&str; 3] = [
    "homeassistant/binary_sensor/gatewire-thing-1/link/config",
    "homeassistant/sensor/gatewire-thing-1/waiting/config",
    "homeassistant/sensor/gatewire-thing-1/certificate/config",
];
const LINK: &str = "gatewire/gatewire-thing-1/link";
const WAITING: &str = "gatewire/gatewire-thing-1/waiting";
const CERTIFICATE: &str = "gatewire/gatewire-thing-1/certificate";

/// A bridge to a broker at this port with these keys, and a rule for what matches `from`.
fn bridge(port: u16, keys: &str, from: &str) -> String {
    format!(
        "[[bridge]]\nname = \"house\"\nbroker = \"127.0.0.1:{port}\"\n{keys}\n[[bridge.up]]\nfrom = \"{from}\"\nto = \"gw/\"\n"
    )
}

/// What Home Assistant would be subscribed to, and the states.
fn watch(local: &LocalBroker) -> Subscriber {
    local.subscribe_with("homeassistant/#", &["-q", "1", "-t", "gatewire/#"], "%t %p")
}

fn until(watcher: &Subscriber, wanted: &str) {
    patiently(wanted, || (watcher.next() == wanted).then_some(()));
}

/// The next announcement of each entity, in whatever order, and what else comes until all are there.
fn announced(watcher: &Subscriber) -> BTreeMap<String, Value> {
    let mut configs = BTreeMap::new();
    patiently("the announcements", || {
        let line = watcher.next();
        let (topic, payload) = line.split_once(' ').unwrap();
        if CONFIGS.contains(&topic) {
            configs.insert(topic.to_owned(), serde_json::from_str(payload).unwrap());
        }
        (configs.len() == CONFIGS.len()).then_some(())
    });
    configs
}

/// What is retained on all of these topics, as a client sees it that has just come.
fn retained(local: &LocalBroker) -> BTreeMap<String, String> {
    let watcher = watch(local);
    // It comes after everything that was retained before.
    local.publish("gatewire/mark", b"x");
    let mut found = BTreeMap::new();
    loop {
        let line = watcher.next();
        let (topic, payload) = line.split_once(' ').unwrap();
        if topic == "gatewire/mark" {
            return found;
        }
        found.insert(topic.to_owned(), payload.to_owned());
    }
}

#[test]
fn home_assistant_sees_the_link_what_waits_and_that_gatewire_is_gone() {
    let (mut cloud, local) = (Mosquitto::start(), LocalBroker::start());
    let watcher = watch(&local);
    let setup = Setup::new(cloud.port, &bridge(local.port, DISCOVERY, "z2m/#"));
    let gatewire = setup.start();
    let configs = announced(&watcher);
    assert_eq!(configs[CONFIGS[0]]["device_class"], json!("connectivity"));
    for (topic, state) in CONFIGS.iter().zip([LINK, WAITING, CERTIFICATE]) {
        let config = &configs[*topic];
        assert_eq!((&config["state_topic"], &config["availability_topic"]), (&json!(state), &json!(LINK)));
        assert_eq!(config["device"]["name"], json!("gatewire-thing-1"));
    }
    until(&watcher, &format!("{LINK} {{\"state\":\"connected\"}}"));
    cloud.kill();
    until(&watcher, &format!("{LINK} {{\"state\":\"waiting\"}}"));
    (0..3).for_each(|n| local.publish(&format!("z2m/{n}"), b"x"));
    until(&watcher, &format!("{WAITING} 3"));
    cloud.restart();
    until(&watcher, &format!("{WAITING} 0"));
    let found = eventually("all six, and the link", || {
        Some(retained(&local)).filter(|found| found.len() == 6 && found[LINK] == "{\"state\":\"connected\"}")
    });
    let (code, out, err) = setup.output_of(&["check", "--connect"]);
    assert!(code == 0 && out.matches("accepted, as `discovery` needs it").count() == 2, "{code} {out}{err}");
    assert_eq!(retained(&local), found, "the check leaves nothing there");
    assert!(found[CERTIFICATE].parse::<i64>().unwrap() > 0, "{found:?}");
    gatewire.kill();
    until(&watcher, &format!("{LINK} {{\"state\":\"gone\"}}"));
}

#[test]
fn home_assistant_is_told_again_when_it_starts_and_forgets_what_is_removed() {
    let local = LocalBroker::start();
    let watcher = watch(&local);
    let setup = Setup::new(closed_port(), &bridge(local.port, DISCOVERY, "z2m/#"));
    let gatewire = setup.start();
    announced(&watcher);
    local.wait_for("Sending SUBACK to gatewire-thing-1");
    local.publish("homeassistant/status", b"online");
    announced(&watcher);
    // Without `discovery`.
    let again = setup.again().edit(DISCOVERY, "status_topic = \"gatewire/link\"");
    gatewire.signal("HUP");
    CONFIGS.iter().for_each(|topic| until(&watcher, &format!("{topic} ")));
    eventually("the rest to go", || (retained(&local).keys().eq(["gatewire/link"])).then_some(()));
    local.publish("homeassistant/status", b"online");
    // Again, and then without the bridge.
    let again = again.again().edit("status_topic = \"gatewire/link\"", DISCOVERY);
    gatewire.signal("HUP");
    announced(&watcher);
    let text = std::fs::read_to_string(again.directory.path().join("gatewire.toml")).unwrap();
    let (bare, _) = text.split_once("[[bridge]]").unwrap();
    std::fs::write(again.directory.path().join("gatewire.toml"), bare).unwrap();
    gatewire.signal("HUP");
    CONFIGS.iter().for_each(|topic| until(&watcher, &format!("{topic} ")));
    assert_eq!(gatewire.count("no rule matches"), 0);
}

#[test]
fn what_is_announced_never_goes_to_iot_core() {
    for protocol in ["5", "3.1.1"] {
        let (cloud, local) = (Mosquitto::start(), LocalBroker::start());
        let (watcher, arrived) = (watch(&local), cloud.subscribe("gw/#"));
        let keys = format!("{DISCOVERY}\nprotocol = \"{protocol}\"");
        let setup = Setup::new(cloud.port, &bridge(local.port, &keys, "homeassistant/#"));
        // The neighbour is another client of the same broker: it is sent everything.
        let neighbour = "[[bridge]]\nname = \"other\"\nclient_id = \"other\"\nbroker = \"BROKER\"\n[[bridge.up]]\nfrom = \"gatewire/#\"\nto = \"gw/\"\n";
        let setup = setup.edit(
            "[[bridge]]",
            &format!("{}[[bridge]]", neighbour.replace("BROKER", &format!("127.0.0.1:{}", local.port))),
        );
        let gatewire = setup.connect();
        announced(&watcher);
        until(&watcher, &format!("{LINK} {{\"state\":\"connected\"}}"));
        // New subscriptions get what is retained, from whomever it is.
        let _again = setup.again().edit("\"homeassistant/#\"", "\"homeassistant/+/+/+/config\"");
        gatewire.signal("HUP");
        gatewire.wait_for("subscribed to homeassistant/+/+/+/config");
        local.wait_for("Sending SUBACK to other");
        for topic in ["homeassistant/sensor/lamp/power/config", "gatewire/mine"] {
            local.publish(topic, b"{}");
            assert_eq!(arrived.next(), format!("gw/{topic} {{}}"), "MQTT {protocol}");
        }
        assert_eq!(gatewire.count("no rule matches"), 0);
        let (code, out, _) = setup.output_of(&["bridge", CONFIGS[0]]);
        assert!(code == 1 && out.contains("is gatewire's own, by `discovery`"), "{code} {out}");
    }
}

#[test]
fn a_broker_that_does_not_let_gatewire_announce_is_named_once_and_carries_the_rest() {
    let cloud = Mosquitto::start();
    let rules = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(rules.path(), "topic readwrite z2m/#\n").unwrap();
    let local = LocalBroker::with_options(&format!("allow_anonymous true\nacl_file {}\n", rules.path().display()));
    let arrived = cloud.subscribe("gw/#");
    let setup = Setup::new(cloud.port, &bridge(local.port, DISCOVERY, "z2m/#"));
    let gatewire = setup.connect();
    let line = gatewire.wait_for("tells Home Assistant");
    let advice =
        ["`topic write homeassistant/+/gatewire-thing-1/+/config`", "`topic write gatewire/gatewire-thing-1/#`"];
    advice.iter().for_each(|words| assert!(line.contains(words), "{line}"));
    local.wait_for("Sending SUBACK to gatewire-thing-1");
    local.publish("z2m/lamp", b"on");
    assert_eq!(arrived.next(), "gw/z2m/lamp on");
    assert_eq!(gatewire.count("tells Home Assistant"), 1);
    let (code, out, err) = setup.output_of(&["check", "--connect"]);
    let said = out + &err;
    assert!(code == 1 && said.contains("SUBSCRIBE: `homeassistant/status` granted"), "{code} {said}");
    assert!(said.contains("doesn't take what `discovery` tells Home Assistant") && said.contains(advice[0]), "{said}");
}
