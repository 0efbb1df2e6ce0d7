//! Either side goes away, by itself or by a kill, and comes back.

use serde_json::{Value, json};

use crate::deploys::distinct;
use crate::program::Version;
use crate::support::mosquitto::Subscriber;
use crate::support::patiently;
use crate::{Scene, doors};

/// The numbers up to `end` arrive in order. What was on its way when something died may come twice.
pub(crate) fn arrive(published: &Subscriber, mut expected: u32, end: u32) {
    while expected < end {
        let door: u32 = published.next().parse().unwrap();
        assert!(door <= expected, "{door} before {expected}");
        expected = expected.max(door + 1);
    }
}

pub(crate) fn what_is_sent_while_gatewire_is_away_waits(version: Version) {
    let scene = Scene::new(version);
    let published = scene.broker.subscribe_with("gateways/thing-1/door", &[], "%p");
    scene.exchange(0);
    published.next();
    let Scene { mut node_red, gatewire, setup, broker } = scene;
    gatewire.kill();
    node_red.publish(doors(0..250));
    node_red.wait_for_status("gw-out", "isn't running, 250 messages waiting");
    node_red.deploy("full");
    node_red.publish(doors(250..500));
    node_red.touch(&["gw-out"]);
    node_red.deploy("nodes");
    node_red.publish(doors(500..749));
    node_red.publish(json!([{"topic": "gateways/thing-1/door", "bytes": b"749"}]));
    node_red.publish(json!([{"topic": "gateways/thing-1/expired", "payload": "x", "messageExpiryInterval": 0}]));
    // Node-RED itself is restarted, and killed: it starts with what was left.
    node_red.stop();
    assert!(node_red.directory().join("gatewire/gw-out.jsonl").exists());
    node_red.run();
    node_red.wait_for_status("gw-out", "751 messages waiting");
    node_red.publish(doors(750..900));
    node_red.kill();
    node_red.run();
    node_red.wait_for_status("gw-out", "901 messages waiting");
    node_red.publish(doors(900..1000));
    let gatewire = setup.again().connect();
    arrive(&published, 0, 1000);
    let complete = node_red.next("complete", 1000);
    let results: Vec<&Value> = complete.iter().map(|heard| &heard["gatewire"]["result"]).collect();
    assert!(results.iter().all(|result| result.is_string()), "{results:?}");
    let caught = patiently("what has expired", || Some(node_red.all("caught")).filter(|all| !all.is_empty()));
    assert_eq!((caught.len(), &caught[0]["gatewire"]["error"]), (1, &json!("expired")));
    patiently("no file", || (!node_red.directory().join("gatewire/gw-out.jsonl").exists()).then_some(()));
    let scene = Scene { node_red, gatewire, setup, broker };
    scene.exchange(1);
    scene.has_one_connection_each();
    full(scene, &published);
}

/// What finds no room is told, and the others arrive.
fn full(scene: Scene, published: &Subscriber) {
    let Scene { mut node_red, gatewire, setup, broker: _broker } = scene;
    published.next();
    gatewire.kill();
    node_red.publish(doors(0..10_003));
    let caught = node_red.next("caught", 3);
    assert!(caught.iter().all(|caught| caught["gatewire"]["error"] == "queue_full"), "{caught:?}");
    assert!(caught[0]["error"].as_str().unwrap().contains("10000 messages wait for gatewire"), "{caught:?}");
    // A node that is deleted can't send them any more, which is said.
    let removed: Vec<Value> = node_red.flow.extract_if(.., |node| node["id"] == "gw-out").collect();
    node_red.deploy("nodes");
    let told =
        "[warn] [gatewire out:gw-out] 10000 messages without an answer of gatewire dropped: the node was deleted";
    patiently("the log", || node_red.log().contains(told).then_some(()));
    node_red.flow.extend(removed);
    node_red.deploy("nodes");
    node_red.publish(doors(0..10));
    let _gatewire = setup.again().connect();
    arrive(published, 0, 10);
}

pub(crate) fn what_comes_while_node_red_is_away_waits(version: Version) {
    let scene = Scene::new(version);
    let Scene { mut node_red, gatewire, setup, broker } = scene;
    node_red.stop();
    let publish = |numbers: std::ops::Range<u32>| {
        let mut publisher = broker.publisher("test/topic");
        numbers.for_each(|n| publisher.send(&n.to_string()));
        publisher.finish();
    };
    publish(0..100);
    patiently("they wait", || (gatewire.status()["forward"][0]["waiting"] == 100).then_some(()));
    // What the broker hasn't heard of when the connection ends comes again.
    let pubacks = || broker.log().matches("Received PUBACK from thing-1").count();
    patiently("every PUBACK", || (pubacks() == 100).then_some(()));
    gatewire.stop();
    let gatewire = setup.again().connect();
    publish(100..200);
    node_red.run();
    let messages = node_red.next("message", 200);
    let payloads: Vec<u64> = messages.iter().map(|message| message["payload"].as_u64().unwrap()).collect();
    assert_eq!(payloads, (0..200).collect::<Vec<u64>>());
    patiently("nothing unacknowledged", || (gatewire.status()["forward"][0]["waiting"] == 0).then_some(()));
}

pub(crate) fn nothing_is_lost_when_gatewire_is_killed(version: Version) {
    let Scene { node_red, mut gatewire, setup, broker } = Scene::new(version);
    let published = broker.subscribe_with("gateways/thing-1/door", &[], "%p");
    let mut publisher = broker.publisher("test/topic");
    for round in 0..5 {
        let (from, to) = (round * 1000, round * 1000 + 1000);
        (from..to).for_each(|n| publisher.send(&n.to_string()));
        node_red.publish(doors(from..to));
        // In the middle of it.
        node_red.next("complete", 10);
        gatewire.kill();
        gatewire = setup.again().connect();
    }
    publisher.finish();
    arrive(&published, 0, 5000);
    patiently("each complete", || (node_red.all("complete").len() == 5000).then_some(()));
    patiently("all of them", || (distinct(&node_red.all("message")).len() == 5000).then_some(()));
    patiently("one connection each", || (crate::counts(&gatewire.status()) == (1, 1)).then_some(()));
}

pub(crate) fn nothing_acknowledged_or_complete_is_lost_when_node_red_is_killed(version: Version) {
    let Scene { mut node_red, gatewire, setup: _setup, broker } = Scene::new(version);
    let published = broker.subscribe_with("gateways/thing-1/door", &[], "%p");
    let mut publisher = broker.publisher("test/topic");
    for round in 0..3 {
        let (from, to) = (round * 1000, round * 1000 + 1000);
        node_red.publish(doors(from..to));
        (from..to).for_each(|n| publisher.send(&n.to_string()));
        node_red.next("message", 10);
        node_red.kill();
        node_red.run();
    }
    publisher.finish();
    patiently("all of them", || (distinct(&node_red.all("message")).len() == 3000).then_some(()));
    patiently("nothing unacknowledged", || (gatewire.status()["forward"][0]["waiting"] == 0).then_some(()));
    node_red.publish(json!([{"topic": "gateways/thing-1/door", "payload": 3000}]));
    let mut arrived: Vec<u64> = Vec::new();
    while arrived.last() != Some(&3000) {
        arrived.push(published.next().parse().unwrap());
    }
    let complete = distinct(&node_red.all("complete"));
    assert!(complete.iter().all(|n| *n == 3000 || arrived.contains(n)), "{complete:?}");
}
