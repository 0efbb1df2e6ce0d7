//! Messages of every kind, both ways.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::away::arrive;
use crate::deploys::distinct;
use crate::program::Version;
use crate::support::patiently;
use crate::{Scene, doors};

const ECHO: &str = "gateways/thing-1/echo";

fn buffer(bytes: &[u8]) -> Value {
    json!({"type": "Buffer", "data": bytes})
}

pub(crate) fn payloads_and_properties_arrive_as_they_were(version: Version) {
    let mut scene = Scene::new(version);
    let all_bytes: Vec<u8> = (0..=255).collect();
    let control = "\u{1}".repeat(100_000);
    let properties = json!({
        "contentType": "text/plain", "responseTopic": "a/b", "correlation": all_bytes, "messageExpiryInterval": 3600,
        "payloadFormatIndicator": true, "userProperties": {"k": ["v", "w"], "one": "1", "object": {"a": 1}, "__proto__x": "y"},
    });
    let mut with_properties = properties.clone();
    with_properties["topic"] = json!(ECHO);
    with_properties["payload"] = json!("21.5");
    scene.node_red.publish(json!([
        {"topic": ECHO, "bytes": all_bytes},
        {"topic": ECHO, "payload": "zero", "qos": 0},
        {"topic": ECHO, "payload": "two", "qos": "2"},
        with_properties,
        {"topic": ECHO, "payload": {"a": [true, null, "ü"]}, "retain": "true"},
        {"topic": ECHO, "payload": ""},
        {"topic": ECHO, "payload": null},
        {"topic": ECHO, "payload": true},
        {"topic": ECHO, "payload": 21.5},
        {"topic": ECHO, "payload": [1, 2]},
        {"topic": ECHO, "payload": control},
        {"topic": ECHO, "payload": "{\"a\": 1}", "contentType": "application/octet-stream"},
        {"topic": ECHO, "payload": "half \u{fffd}", "messageExpiryInterval": "60"},
    ]));
    let complete = scene.node_red.next("complete", 13);
    let results: Vec<&str> = complete.iter().map(|heard| heard["gatewire"]["result"].as_str().unwrap()).collect();
    assert_eq!(results.iter().filter(|result| **result == "sent").count(), 1, "{results:?}");
    assert_eq!(results.iter().filter(|result| **result == "delivered").count(), 12, "{results:?}");
    let messages = patiently("all of them", || Some(scene.node_red.all("message")).filter(|all| all.len() == 13));
    let payloads: Vec<&Value> = messages.iter().map(|message| &message["payload"]).collect();
    let expected = [
        buffer(&all_bytes),
        json!("zero"),
        json!("two"),
        json!("21.5"),
        json!({"a": [true, null, "ü"]}),
        json!(""),
        json!(""),
        json!(true),
        json!(21.5),
        json!([1, 2]),
        json!(control),
        buffer(b"{\"a\": 1}"),
        json!("half \u{fffd}"),
    ];
    assert_eq!(payloads, expected.iter().collect::<Vec<_>>());
    let qos: Vec<&Value> = messages.iter().take(3).map(|message| &message["qos"]).collect();
    assert_eq!(qos, [1, 0, 1]);
    let got = &messages[3];
    let mut expected = properties.as_object().unwrap().clone();
    expected.insert("correlationData".to_owned(), buffer(&all_bytes));
    expected.remove("correlation");
    expected["userProperties"]["object"] = json!("{\"a\":1}");
    assert!(got["messageExpiryInterval"].as_u64().is_some_and(|left| left <= 3600 && left > 3000), "{got}");
    expected.insert("messageExpiryInterval".to_owned(), got["messageExpiryInterval"].clone());
    let got: BTreeMap<&String, &Value> = expected.keys().map(|key| (key, &got[key])).collect();
    assert_eq!(got, expected.iter().collect());
    let retained = scene.broker.subscribe_with(ECHO, &[], "%r %p");
    assert_eq!(retained.next(), "1 {\"a\":[true,null,\"ü\"]}");
    outputs(&mut scene, &all_bytes);
}

/// What each Output makes of bytes, text and JSON.
fn outputs(scene: &mut Scene, bytes: &[u8]) {
    let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
    let text = String::from_utf8_lossy(bytes);
    let expected = [
        ("buffer", [buffer(bytes), buffer(b"text"), buffer(b"{\"a\":1}")]),
        ("utf8", [json!(text), json!("text"), json!("{\"a\":1}")]),
        ("base64", [json!(base64), json!("dGV4dA=="), json!("eyJhIjoxfQ==")]),
    ];
    for (output, payloads) in expected {
        scene.node_red.node("gw-in")["datatype"] = json!(output);
        scene.node_red.deploy("nodes");
        scene.node_red.skip();
        [bytes, b"text", b"{\"a\":1}"].into_iter().for_each(|payload| scene.broker.publish("test/topic", payload));
        let messages = scene.node_red.next("message", 3);
        let got: Vec<&Value> = messages.iter().map(|message| &message["payload"]).collect();
        assert_eq!(got, payloads.iter().collect::<Vec<_>>(), "{output}");
    }
    scene.node_red.node("gw-in")["datatype"] = json!("json");
    scene.node_red.deploy("nodes");
    scene.node_red.skip();
    [bytes, b"text", b"{\"a\":1}"].into_iter().for_each(|payload| scene.broker.publish("test/topic", payload));
    assert_eq!(scene.node_red.next("message", 1)[0]["payload"], json!({"a": 1}));
    let caught = patiently("both", || Some(scene.node_red.all("caught")).filter(|all| all.len() == 2));
    let caught: Vec<&Value> = caught.iter().map(|caught| &caught["payload"]).collect();
    assert_eq!(caught, [&buffer(bytes), &buffer(b"text")]);
    // They don't come again.
    patiently("nothing unacknowledged", || (scene.gatewire.status()["forward"][0]["waiting"] == 0).then_some(()));
}

pub(crate) fn five_thousand_messages_arrive_both_ways(version: Version) {
    let scene = Scene::new(version);
    let published = scene.broker.subscribe_with("gateways/thing-1/door", &[], "%p");
    let mut publisher = scene.broker.publisher("test/topic");
    scene.node_red.publish(doors(0..2500));
    (0..5000).for_each(|n| publisher.send(&n.to_string()));
    scene.node_red.publish(doors(2500..5000));
    publisher.finish();
    // On a busy machine the link may be made anew meanwhile, and what was on its way comes twice.
    arrive(&published, 0, 5000);
    scene.node_red.next("complete", 5000);
    let messages =
        patiently("all of them", || Some(scene.node_red.all("message")).filter(|all| distinct(all).len() == 5000));
    let mut expected = 0;
    for message in &messages {
        let payload = message["payload"].as_u64().unwrap();
        assert!(payload <= expected, "{payload} before {expected}");
        expected = expected.max(payload + 1);
    }
    assert_eq!(scene.node_red.all("caught"), Vec::<Value>::new());
    patiently("nothing unacknowledged", || (scene.gatewire.status()["forward"][0]["waiting"] == 0).then_some(()));
}

/// By `msg.urgent`, and by the node's own setting.
pub(crate) fn what_is_urgent_overtakes_what_an_outage_has_left(version: Version) {
    let mut scene = Scene::new(version);
    let topic = |name: &str| format!("gateways/thing-1/{name}");
    scene.broker.stop();
    patiently("the outage", || (scene.gatewire.status()["link"]["state"] != "connected").then_some(()));
    let stored = |scene: &Scene, messages: Value| {
        let n = messages.as_array().unwrap().len();
        scene.node_red.publish(messages);
        for heard in scene.node_red.next("complete", n) {
            assert_eq!(heard["gatewire"], json!({"result": "stored"}), "{}", scene.node_red.log());
        }
    };
    stored(
        &scene,
        json!([
            {"topic": topic("first"), "payload": 1},
            {"topic": topic("alarm"), "payload": 2, "urgent": true},
            {"topic": topic("last"), "payload": 3, "urgent": false},
        ]),
    );
    assert_eq!(scene.gatewire.status()["outbox"]["urgent"], 1);
    scene.node_red.node("gw-out")["urgent"] = json!("true");
    scene.node_red.deploy("nodes");
    scene.node_red.wait_until_connected();
    stored(&scene, json!([{"topic": topic("of-node"), "payload": 4}]));
    assert_eq!(scene.gatewire.status()["outbox"]["urgent"], 2);
    // The oldest first, but what is urgent before.
    scene.broker.restart();
    let received = patiently("all four", || Some(scene.broker.received("thing-1")).filter(|all| all.len() == 4));
    assert_eq!(received, ["alarm", "of-node", "first", "last"].map(topic));
}

pub(crate) fn what_cannot_be_published_is_caught(version: Version) {
    let scene = Scene::new(version);
    scene.node_red.publish(json!([
        {"topic": "elsewhere\n2026-01-01 [error] forged", "payload": "x"},
        {"topic": "elsewhere", "payload": "x"},
        {"topic": ECHO},
        {"payload": "without topic"},
        {"topic": ECHO, "payload": "x".repeat(300_000)},
        {"topic": ECHO, "payload": "x", "qos": 3},
        {"topic": ECHO, "payload": "x", "userProperties": "text"},
        {"topic": ECHO, "payload": "x", "userProperties": {"k": "x".repeat(9000)}},
        {"topic": ECHO, "payload": "x", "messageExpiryInterval": "soon"},
        {"topic": ECHO, "payload": "x", "messageExpiryInterval": 0},
        {"topic": format!("gateways/thing-1/{}", "x".repeat(300_000)), "payload": "x"},
        {"topic": "gateways/thing-1/+", "payload": "x"},
        {"topic": ECHO, "payload": "after"},
    ]));
    scene.node_red.next("complete", 1);
    let caught = patiently("all of them", || Some(scene.node_red.all("caught")).filter(|all| all.len() == 12));
    let codes: BTreeMap<String, usize> = caught.iter().fold(BTreeMap::new(), |mut codes, caught| {
        *codes.entry(caught["gatewire"]["error"].as_str().unwrap().to_owned()).or_default() += 1;
        codes
    });
    let expected = [
        ("bad_line", 1),
        ("bad_message", 3),
        ("bad_qos", 1),
        ("bad_topic", 3),
        ("expired", 1),
        ("too_large", 2),
        ("topic_not_allowed", 1),
    ];
    assert_eq!(codes, expected.map(|(code, n)| (code.to_owned(), n)).into());
    for caught in &caught {
        let (error, answer) = (caught["error"].as_str().unwrap(), &caught["gatewire"]);
        assert!(error.starts_with(&format!("gatewire: {}: ", answer["error"].as_str().unwrap())), "{caught}");
        assert!(!error.contains('\n'), "{caught}");
    }
    // Without Catch nodes they are in the log, each in a line.
    let mut scene = scene;
    scene.node_red.flow.retain(|node| node["id"] != "catch");
    scene.node_red.deploy("full");
    scene.node_red.publish(json!([{"topic": "elsewhere\n2026-01-01 [error] forged", "payload": "x"}, {"topic": "elsewhere", "payload": "x"}]));
    let told =
        "[error] [gatewire out:gw-out] gatewire: topic_not_allowed: this socket accepts no messages for `elsewhere`";
    patiently("the log", || scene.node_red.log().contains(told).then_some(()));
    assert!(!scene.node_red.log().contains("\n2026-01-01"), "{}", scene.node_red.log());
}
