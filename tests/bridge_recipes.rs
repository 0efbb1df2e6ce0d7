//! The recipes of docs/bridge.md and what is translated of mosquitto's configuration, with two real brokers.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use support::daemon::{Gatewire, Setup};
use support::local_broker::LocalBroker;
use support::mosquitto::Mosquitto;
use tempfile::TempDir;

/// Of the page, the configuration below this heading.
fn recipe(heading: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bridge.md")).unwrap();
    let (_, rest) = page.split_once(&format!("\n### {heading}\n")).unwrap();
    rest.split_once("```toml\n").unwrap().1.split("\n```").next().unwrap().to_owned() + "\n"
}

/// Both brokers, and a gatewire with these tables.
struct Bench {
    cloud: Mosquitto,
    local: LocalBroker,
    setup: Setup,
}

impl Bench {
    /// The recipe as it is, but for the port of the broker and the time that a batch may take.
    fn of_recipe(heading: &str) -> Bench {
        let local = LocalBroker::start();
        let text = recipe(heading).replace("127.0.0.1:1883", &format!("127.0.0.1:{}", local.port));
        Bench::with(local, &text.replace("within = \"1m\"", "within = \"200ms\""))
    }

    fn with(local: LocalBroker, tables: &str) -> Bench {
        let cloud = Mosquitto::start();
        let setup = Setup::new(cloud.port, tables);
        Bench { cloud, local, setup }
    }

    fn start(&self) -> Gatewire {
        let gatewire = self.setup.connect();
        gatewire.wait_for(": subscribed to ");
        gatewire
    }

    /// Each of `ups` is published at the local broker and arrives as the second says, `TOPIC PAYLOAD` and whether it is retained;
    /// each of `downs` the other way round. What is in `kept` stays where it is.
    fn carries(&self, ups: &[(&str, &str)], kept: &[&str], downs: &[(&str, &str)]) {
        let at_cloud = self.cloud.subscribe_with("#", &["-V", "mqttv5", "--retain-as-published"], "%t %p %r");
        let gatewire = self.start();
        for topic in kept {
            self.local.publish(topic, &[b'x'; 200 * 1024]);
        }
        for (message, _) in ups {
            let (topic, payload) = message.split_once(' ').unwrap();
            self.local.publish_with(topic, payload.as_bytes(), &["-q", "1", "-r"]);
        }
        let expected: BTreeSet<String> = ups.iter().map(|(_, arrives)| (*arrives).to_owned()).collect();
        let arrived: BTreeSet<String> = ups.iter().map(|_| at_cloud.next()).collect();
        assert_eq!(arrived, expected);
        let at_local = self.local.subscribe_with("#", &["-R"], "%t %p");
        for (message, arrives) in downs {
            let (topic, payload) = message.split_once(' ').unwrap();
            self.cloud.publish(topic, payload.as_bytes());
            assert_eq!(at_local.next(), *arrives);
            // And nothing of it comes back.
            assert_eq!(at_cloud.next(), format!("{message} 0"));
        }
        let status = gatewire.status();
        let dropped = status["bridge"][0]["up"].as_array().unwrap().iter().map(|rule| rule["dropped"].to_string());
        assert!(dropped.clone().all(|dropped| dropped == "{}"), "{:?}", dropped.collect::<Vec<_>>());
    }
}

#[test]
fn zigbee2mqtt() {
    Bench::of_recipe("Zigbee2MQTT").carries(
        &[
            ("zigbee2mqtt/kitchen {\"state\":\"ON\"}", "gateways/thing-1/z2m/kitchen {\"state\":\"ON\"} 0"),
            ("zigbee2mqtt/kitchen/availability online", "gateways/thing-1/z2m/kitchen/availability online 1"),
            ("zigbee2mqtt/bridge/state online", "gateways/thing-1/z2m/bridge/state online 1"),
        ],
        &["zigbee2mqtt/bridge/devices", "zigbee2mqtt/bridge/logging", "zigbee2mqtt/kitchen/set"],
        &[
            ("gateways/thing-1/set/kitchen/set {\"state\":\"OFF\"}", "zigbee2mqtt/kitchen/set {\"state\":\"OFF\"}"),
            ("gateways/thing-1/set/kitchen/get {}", "zigbee2mqtt/kitchen/get {}"),
        ],
    );
}

#[test]
fn tasmota() {
    Bench::of_recipe("Tasmota").carries(
        &[
            ("tele/plug/LWT Online", "gateways/thing-1/tele/plug/LWT Online 1"),
            ("tele/plug/SENSOR {\"ENERGY\":1}", "gateways/thing-1/tele/plug/SENSOR [{\"ENERGY\":1}] 0"),
            ("tele/plug/STATE {\"POWER\":\"ON\"}", "gateways/thing-1/tele/plug/STATE {\"POWER\":\"ON\"} 0"),
            ("stat/plug/POWER ON", "gateways/thing-1/stat/plug/POWER ON 0"),
        ],
        &["tele/plug/INFO1", "cmnd/plug/POWER"],
        &[("gateways/thing-1/set/cmnd/plug/POWER OFF", "cmnd/plug/POWER OFF")],
    );
}

#[test]
fn esphome() {
    Bench::of_recipe("ESPHome").carries(
        &[
            (
                "esphome/kitchen/sensor/temperature/state 21.5",
                "gateways/thing-1/esphome/kitchen/sensor/temperature/state 21.5 0",
            ),
            ("esphome/kitchen/status online", "gateways/thing-1/esphome/kitchen/status online 1"),
        ],
        &["esphome/kitchen/debug"],
        &[("gateways/thing-1/set/kitchen/switch/relay/command ON", "esphome/kitchen/switch/relay/command ON")],
    );
}

#[test]
fn home_assistant() {
    Bench::of_recipe("Home Assistant").carries(
        &[
            (
                "homeassistant/sensor/kitchen/config {\"name\":\"k\"}",
                "gateways/thing-1/homeassistant/sensor/kitchen/config {\"name\":\"k\"} 1",
            ),
            (
                "homeassistant/sensor/node/kitchen/config {\"name\":\"n\"}",
                "gateways/thing-1/homeassistant/sensor/node/kitchen/config {\"name\":\"n\"} 1",
            ),
            ("statestream/light/desk/state on", "gateways/thing-1/statestream/light/desk/state on 0"),
        ],
        &["homeassistant/status"],
        &[],
    );
}

#[test]
fn what_mosquitto_bridged_is_bridged_by_the_translation() {
    let local = LocalBroker::start();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("mosquitto.conf");
    let text = format!(
        "listener {} 127.0.0.1\nallow_anonymous true\nconnection aws\naddress a1-ats.iot.eu-west-1.amazonaws.com:8883\n\
         bridge_outgoing_retain false\nnotification_topic house/link\ntopic # out 1 zigbee2mqtt/ gateways/gw/z2m/\n\
         topic + in 1 zigbee2mqtt/ gateways/gw/set/\ntopic \"\" out 1 door gateways/gw/door\ntopic alarm/# out 1\ntopic alarm/+/reset in 1\n",
        local.port
    );
    fs::write(&file, text).unwrap();
    let translated =
        Command::new(env!("CARGO_BIN_EXE_gatewire")).args(["bridge", "--from-mosquitto"]).arg(&file).output().unwrap();
    assert!(translated.status.success(), "{translated:?}");
    let bench = Bench::with(local, &String::from_utf8(translated.stdout).unwrap());
    bench.carries(
        &[
            ("zigbee2mqtt/kitchen on", "gateways/gw/z2m/kitchen on 0"),
            ("zigbee2mqtt/a/b/c on", "gateways/gw/z2m/a/b/c on 0"),
            ("door open", "gateways/gw/door open 0"),
            ("alarm/hall on", "alarm/hall on 0"),
        ],
        &["other"],
        &[("gateways/gw/set/kitchen off", "zigbee2mqtt/kitchen off"), ("alarm/hall/reset now", "alarm/hall/reset now")],
    );
}

#[test]
fn alarms() {
    Bench::of_recipe("Alarms").carries(
        &[
            ("dev/alarm/door open", "gateways/thing-1/dev/alarm/door open 0"),
            ("dev/lamp on", "gateways/thing-1/dev/lamp on 0"),
        ],
        &[],
        &[],
    );
}
