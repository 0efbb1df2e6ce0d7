//! Bridges to another broker than mosquitto.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use serde_json::json;
use support::aedes::Aedes;
use support::daemon::Setup;
use support::eventually;
use support::mosquitto::Mosquitto;

const RULES: &str = "[[bridge.up]]\nfrom = \"z2m/#\"\nto = \"gw/\"\n\
    [[bridge.down]]\nfrom = \"set/#\"\nstrip = \"set/\"\nto = \"cmd/\"\n";

fn setup(cloud: &Mosquitto, broker: &Aedes, keys: &str) -> Setup {
    let bridge = format!("[[bridge]]\nname = \"house\"\nbroker = \"127.0.0.1:{}\"\n{keys}{RULES}", broker.port);
    Setup::new(cloud.port, &bridge)
}

#[test]
fn aedes_is_bridged_both_ways_and_keeps_what_comes_while_gatewire_is_away() {
    let (cloud, mut broker) = (Mosquitto::start(), Aedes::start());
    let (at_cloud, at_device) = (cloud.subscribe("gw/#"), broker.subscribe("cmd/#"));
    broker.publish("z2m/door", b"open", &["-r"]);
    let setup = setup(&cloud, &broker, "protocol = \"3.1.1\"\n");
    let gatewire = setup.connect();
    broker.wait_for("subscribed gatewire-thing-1 z2m/#");
    assert_eq!(at_cloud.next(), "gw/z2m/door open", "it was retained");
    cloud.publish("set/lamp", b"ON");
    assert_eq!(at_device.next(), "cmd/lamp ON");
    broker.publish("z2m/lamp", b"1", &[]);
    assert_eq!(at_cloud.next(), "gw/z2m/lamp 1");
    // Until then it may come again because the broker wasn't told that it is delivered.
    eventually("both to be delivered", || (gatewire.status()["bridge"][0]["up"][0]["delivered"] == 2).then_some(()));
    assert_eq!(gatewire.stop().0, 0);
    broker.wait_for("disconnected gatewire-thing-1");
    for n in 2..30 {
        broker.publish("z2m/lamp", n.to_string().as_bytes(), &[]);
    }
    let gatewire = setup.again().connect();
    for n in 2..30 {
        assert_eq!(at_cloud.next(), format!("gw/z2m/lamp {n}"));
    }
    eventually("all to be delivered", || {
        let rule = &gatewire.status()["bridge"][0]["up"][0];
        (rule["waiting"] == 0 && rule["delivered"] == 28).then_some(())
    });
    assert_eq!(gatewire.status()["bridge"][0]["up"][0]["dropped"], json!({}));
}

#[test]
fn what_it_closes_the_connection_for_is_announced_no_more_and_the_bridge_goes_on() {
    let (cloud, mut broker) = (Mosquitto::start(), Aedes::denying(&["homeassistant/"]));
    let at_cloud = cloud.subscribe("gw/#");
    let gatewire = setup(&cloud, &broker, "protocol = \"3.1.1\"\ndiscovery = \"homeassistant\"\n").connect();
    // It takes some connections to be sure.
    gatewire.wait_patiently("tells Home Assistant");
    let line = gatewire.wait_for("tells Home Assistant");
    assert!(line.contains("closes the connection on it"), "{line}");
    gatewire.wait_for("subscribed to homeassistant/status, z2m/#");
    broker.publish("z2m/door", b"open", &[]);
    assert_eq!(at_cloud.next(), "gw/z2m/door open");
    let status = broker.subscribe("gatewire/#");
    // It may be on its way still, and what is retained that of the connection before.
    eventually("the state", || {
        (status.next() == "gatewire/gatewire-thing-1/link {\"state\":\"connected\"}").then_some(())
    });
    assert_eq!(gatewire.count("tells Home Assistant"), 1);
}

#[test]
fn that_it_does_not_know_mqtt_5_is_named() {
    let (cloud, broker) = (Mosquitto::start(), Aedes::start());
    let gatewire = setup(&cloud, &broker, "").connect();
    let line = gatewire.wait_for("refused with CONNACK return code 1");
    assert!(line.contains("protocol = \"3.1.1\""), "{line}");
}
