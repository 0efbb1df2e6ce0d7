//! The birth: what is published on each connection before anything else.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::Packet;
use serde_json::json;
use support::daemon::Setup;
use support::eventually;
use support::mosquitto::Mosquitto;
use support::scripted::{Broker, text};
use support::strict::Strict;

const BIRTH: &str = "birth = { topic = \"gateways/{{client_id}}/link\", payload = { link = \"up\" }, retain = true }\n";
const WILL: &str = "will = { topic = \"gateways/{{client_id}}/link\", payload = { link = \"lost\" }, retain = true }\n";
const QUICK: &str = "backoff = { min = \"100ms\", max = \"200ms\" }\nrate_limit = { connects_per_second = 100 }\n";
const INGEST: &str = "[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"#\"]\n";

/// What a dashboard does with it: retained, the two say whether the gateway is there.
#[test]
fn birth_and_will_say_whether_the_gateway_is_there() {
    for protocol in ["5", "3.1.1"] {
        let broker = Mosquitto::start();
        let setup = Setup::with_connection(broker.port, &format!("{BIRTH}{WILL}"), "").speaking(protocol);
        let seen = || broker.subscribe_with("gateways/#", &[], "%t %p %q %r").next();
        let gatewire = setup.connect();
        eventually("the birth", || (seen() == "gateways/thing-1/link {\"link\":\"up\"} 1 1").then_some(()));
        gatewire.kill();
        broker.wait_for("Client thing-1 closed its connection.");
        assert_eq!(seen(), "gateways/thing-1/link {\"link\":\"lost\"} 1 1", "{protocol}");
    }
}

/// docs/recipes.md: what the drop-in does before systemd sends SIGTERM.
#[test]
fn a_clean_stop_is_told_by_the_command_of_the_recipe() {
    let broker = Mosquitto::start();
    let setup = Setup::with_connection(broker.port, &format!("{BIRTH}{WILL}"), INGEST);
    let gatewire = setup.connect();
    broker.wait_for("Received PUBLISH from thing-1");
    let page = include_str!("../docs/recipes.md");
    let line = page.split_once("ExecStop=-/usr/bin/gatewire ").unwrap().1.lines().next().unwrap();
    let line = line.replace("thing-gateway-01", "thing-1");
    let (code, _, said) = setup.output_of(&line.split(' ').collect::<Vec<_>>());
    assert_eq!(code, 0, "{said}");
    assert_eq!(gatewire.stop().0, 0);
    assert_eq!(broker.subscribe_with("gateways/#", &[], "%t %p %r").next(), "gateways/thing-1/link stopped 1");
    let _gatewire = setup.again().connect();
    let seen = || broker.subscribe_with("gateways/#", &[], "%p").next();
    eventually("the birth", || (seen() == "{\"link\":\"up\"}").then_some(()));
}

/// A server that answers with a reason, or not at all; what is mended, a reload tries on the same connection.
#[test]
fn one_that_is_not_taken_is_told_and_a_reload_tries_it_again() {
    let broker = Broker::start();
    let setup = Setup::with_connection(broker.port, &format!("{BIRTH}ack_timeout = \"300ms\"\n{QUICK}"), "");
    let gatewire = setup.start();
    let mut peer = broker.connected_5(false, &[]);
    let birth = peer.publish();
    gatewire.wait_for("no PUBACK has come within 0.3 s");
    let refused = || gatewire.status()["link"]["birth_refused"].clone();
    assert!(refused()["advice"].as_str().unwrap().contains("`systemctl restart gatewire`"), "{}", refused());
    peer.puback(birth.pkid, 0);
    gatewire.wait_for("IoT Core takes the birth (connection.birth) again");
    assert!(refused().is_null());
    // From now on an answer may take as long as it does on a slow machine.
    let setup = setup.edit("ack_timeout = \"300ms\"\n", "");
    gatewire.signal("HUP");
    gatewire.wait_for("the configuration is read again");
    peer.close();
    let mut peer = broker.connected_5(false, &[]);
    let birth = peer.publish();
    let (mut follower, line) = eventually("a line for who follows", || {
        let mut follower = gatewire.client("status.sock");
        follower.send("{\"follow\":true}");
        let line = follower.json();
        // Who says nothing for a moment gets the document.
        (line.as_object().unwrap().len() == 2).then_some((follower, line))
    });
    assert_eq!((&line["link"]["state"], &line["link"]["birth_refused"]), (&json!("connected"), &json!(null)), "{line}");
    peer.puback(birth.pkid, 0x80);
    let line = follower.json();
    assert!(line["link"]["birth_refused"]["reason"].is_string(), "who follows is told at once: {line}");
    let line = gatewire.wait_for("it may be that the certificate's policy lacks");
    assert!(line.contains("`systemctl reload gatewire` tries it again at once"), "{line}");
    assert!(refused()["missing"].is_null(), "nobody knows: {}", refused());
    let (_, metrics, _) = setup.output_of(&["status", "--prometheus"]);
    assert!(metrics.contains("\ngatewire_link_birth_refused 1\n"), "{metrics}");
    gatewire.signal("HUP");
    let birth = peer.publish();
    assert_eq!(&birth.payload[..], br#"{"link":"up"}"#);
    peer.puback(birth.pkid, 0x97);
    gatewire.wait_for("a limit of the account was passed");
    gatewire.signal("HUP");
    let birth = peer.publish();
    peer.puback(birth.pkid, 0);
    eventually("the birth to be taken", || refused().is_null().then_some(()));
}

#[test]
fn it_comes_first_on_each_connection_before_what_is_sent_again() {
    let broker = Broker::start();
    let forward = "[[forward]]\nname = \"f\"\nfilters = [\"f/#\"]\nsocket = \"DIR/f.sock\"\n";
    let setup = Setup::with_connection(broker.port, &format!("{BIRTH}{QUICK}"), &format!("{INGEST}{forward}"));
    let gatewire = setup.speaking("3.1.1").start();
    let mut peer = broker.accept();
    peer.connect();
    peer.connack(false);
    let birth = peer.publish();
    assert_eq!((birth.topic.as_str(), &birth.payload[..]), ("gateways/thing-1/link", &br#"{"link":"up"}"#[..]));
    assert_eq!((birth.qos, birth.retain, birth.dup), (QoS::AtLeastOnce, true, false));
    peer.puback(birth.pkid);
    let subscribe = peer.subscribe();
    peer.grant(&subscribe);
    let mut client = gatewire.client("publish.sock");
    client.send("{\"topic\":\"t\",\"payload\":\"a\"}");
    assert_eq!(text(&peer.publish()), "a");
    peer.close();
    let mut peer = broker.accept();
    peer.connect();
    peer.connack(true);
    let (birth, again) = (peer.publish(), peer.publish());
    assert_eq!((birth.topic.as_str(), birth.dup), ("gateways/thing-1/link", false));
    assert_eq!((text(&again), again.dup), ("a".to_owned(), true));
    peer.puback(again.pkid);
    // There was no link for a moment.
    assert!(client.json()["error"].is_null());
    gatewire.signal("TERM");
    assert!(matches!(peer.next(), Some(Packet::Disconnect)), "an unanswered birth holds nothing up");
}

#[test]
fn a_forbidden_birth_is_left_out_and_everything_else_arrives() {
    for protocol in ["5", "3.1.1"] {
        let server = Strict::start(protocol, &["gateways/thing-1/link"]);
        let setup = Setup::with_connection(server.port, &format!("{BIRTH}{QUICK}"), INGEST).speaking(protocol);
        let gatewire = setup.start();
        let mut client = gatewire.client("publish.sock");
        client.send("{\"topic\":\"t\",\"payload\":\"a\"}");
        let line = gatewire.wait_for("IoT Core doesn't take the birth");
        assert!(line.contains("iot:Publish and iot:RetainPublish on topic/gateways/thing-1/link"), "{line}");
        // There was no link for a moment.
        assert!(client.json()["error"].is_null());
        eventually("the message", || (server.arrived("t") == ["a"]).then_some(()));
        assert_eq!(server.closes(), 3, "{protocol}");
        let status = gatewire.status();
        assert_eq!(status["outbox"]["quarantined"], 0);
        let refused = &status["link"]["birth_refused"];
        assert_eq!(
            (&refused["topic"], &refused["left_out"]),
            (&json!("gateways/thing-1/link"), &json!(true)),
            "{refused}"
        );
        let (_, page, _) = setup.output("status");
        let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("the birth to gateways/thing-1/link isn't taken for "), "{page}");
        assert!(words.contains("; `systemctl reload gatewire` tries it again at once"), "{page}");
        assert!(
            words.contains(
                "; the policy lacks iot:Publish and iot:RetainPublish on topic/gateways/thing-1/link; it is left out"
            ),
            "{page}"
        );
        // Another one isn't refused.
        let _setup = setup.edit("gateways/{{client_id}}/link", "gateways/{{client_id}}/here");
        gatewire.signal("HUP");
        eventually("the birth", || (server.arrived("gateways/thing-1/here") == ["{\"link\":\"up\"}"]).then_some(()));
        assert!(gatewire.status()["link"]["birth_refused"].is_null(), "{protocol}");
    }
}

/// What was changed by a reload holds from the next connection on, which the change brings about.
#[test]
fn a_reload_with_another_birth_sends_it() {
    let broker = Mosquitto::start();
    let setup = Setup::with_connection(broker.port, &format!("{BIRTH}{QUICK}"), "");
    let gatewire = setup.connect();
    let subscriber = broker.subscribe_with("gateways/#", &[], "%p");
    assert_eq!(subscriber.next(), "{\"link\":\"up\"}");
    let _setup = setup.edit("{ link = \"up\" }", "\"here\"");
    gatewire.signal("HUP");
    assert_eq!(subscriber.next(), "here");
}
