//! Deploys, as the editor's button does them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::away::arrive;
use crate::program::Version;
use crate::support::patiently;
use crate::{Scene, doors};

pub(crate) fn deploys_of_each_kind_lose_nothing(version: Version) {
    let mut scene = Scene::new(version);
    let published = scene.broker.subscribe_with("gateways/thing-1/door", &[], "%p");
    let changed: [(&str, &[&str]); 7] = [
        ("full", &[]),
        ("full", &["gw-in", "gw-out"]),
        ("nodes", &["gw-in", "gw-out"]),
        // The nodes around them alone.
        ("nodes", &["message", "split", "complete", "completed"]),
        ("flows", &["message"]),
        ("nodes", &["gw-out"]),
        ("nodes", &["gw-in"]),
    ];
    let mut n = 0;
    for (kind, ids) in changed {
        n += 1;
        scene.exchange(n);
        scene.node_red.touch(ids);
        scene.node_red.deploy(kind);
        scene.node_red.wait_until_connected();
        scene.has_one_connection_each();
    }
    scene.exchange(n + 1);
    (1..=n + 1).for_each(|n| assert_eq!(published.next(), json!({"open": n}).to_string()));
    assert_eq!(scene.node_red.all("message").len() as u32, n + 1, "each message once");
    assert!(scene.node_red.is_alive());
    // A node that is deleted takes its connection with it.
    scene.node_red.flow.retain(|node| node["id"] != "gw-in");
    scene.node_red.deploy("nodes");
    patiently("no reader", || (scene.gatewire.status()["forward"][0]["readers"] == 0).then_some(()));
}

pub(crate) fn two_hundred_deploys_leave_nothing_behind(version: Version) {
    let mut scene = Scene::new(version);
    let deploy = |scene: &mut Scene, n: u32| {
        let kind = ["full", "flows", "nodes"][n as usize % 3];
        scene.node_red.touch(&["gw-in", "gw-out"]);
        scene.node_red.deploy(kind);
    };
    (0..10).for_each(|n| deploy(&mut scene, n));
    scene.node_red.wait_until_connected();
    scene.has_one_connection_each();
    scene.exchange(1);
    let (files, listeners) = (scene.node_red.open_files(), scene.node_red.listeners());
    (0..200).for_each(|n| deploy(&mut scene, n));
    scene.node_red.wait_until_connected();
    scene.has_one_connection_each();
    scene.exchange(2);
    // Those of HTTP come and go.
    patiently("the files of before", || (scene.node_red.open_files() <= files + 1).then_some(()));
    assert_eq!(scene.node_red.listeners(), listeners);
    assert!(!scene.node_red.log().contains("MaxListeners"), "{}", scene.node_red.log());
}

/// What is on its way in a deploy may come twice, but it comes.
pub(crate) fn messages_that_come_during_deploys_arrive(version: Version) {
    let mut scene = Scene::new(version);
    let mut publisher = scene.broker.publisher("test/topic");
    for n in 0..1000 {
        publisher.send(&n.to_string());
        if n % 50 == 0 {
            // The reader stays, and the node behind it goes; both go; all of them.
            let (kind, ids): (&str, &[&str]) = match n % 150 {
                0 => ("nodes", &["message"]),
                50 => ("nodes", &["message", "gw-in"]),
                _ => ("full", &[]),
            };
            scene.node_red.touch(ids);
            scene.node_red.deploy(kind);
        }
    }
    publisher.finish();
    patiently("all of them", || (distinct(&scene.node_red.all("message")).len() == 1000).then_some(()));
    // Likewise out of it: HTTP is answered when the messages are in the flow, and the deploy follows at once.
    let published = scene.broker.subscribe_with("gateways/thing-1/door", &[], "%p");
    for round in 0..10 {
        scene.node_red.publish(doors(round * 100..round * 100 + 100));
        scene.node_red.touch(&["gw-out"]);
        scene.node_red.deploy(if round % 2 == 0 { "nodes" } else { "full" });
    }
    arrive(&published, 0, 1000);
}

/// The different payloads.
pub(crate) fn distinct(messages: &[Value]) -> BTreeSet<u64> {
    messages.iter().map(|message| message["payload"].as_u64().unwrap()).collect()
}
