//! `[meter]`: what it counts beside a relay that counts, too, and what is left of it after a restart.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use serde_json::{Value, json};
use support::daemon::{Gatewire, Setup};
use support::eventually;
use support::mosquitto::Mosquitto;
use support::relay::Relay;

const TABLES: &str = "[meter]\n\
    [[publish]]\nname = \"hello\"\ntopic = \"test/hello\"\nevery = \"20ms\"\ncount = 50\npayload = \"{{timestamp}}\"\n\
    [[forward]]\nname = \"messages\"\nfilters = [\"down/#\"]\nsocket = \"DIR/messages.sock\"\n\
    [[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"up/#\"]\n";

/// Bytes sent and received in a period of the status document.
fn carried(of: &Value) -> [u64; 2] {
    ["sent", "received"].map(|way| of[way].as_u64().unwrap())
}

/// What all causes together have.
fn of_causes(meter: &Value) -> [u64; 2] {
    let causes = meter["causes"].as_object().unwrap().values().map(carried);
    causes.fold([0, 0], |sum, cause| [sum[0] + cause[0], sum[1] + cause[1]])
}

/// Within 2 % of what the relay has counted, once both stand still.
fn agrees(gatewire: &Gatewire, relay: &Relay) -> Value {
    eventually("the meter to agree with the relay", || {
        let (before, meter) = (relay.carried(), gatewire.status()["meter"].clone());
        let own = carried(&meter["month"]);
        let is_near = (0..2).all(|way| own[way].abs_diff(before[way]) * 50 <= before[way]);
        assert_eq!(of_causes(&meter), own, "{meter}");
        (is_near && relay.carried() == before).then_some(meter)
    })
}

fn is_within_2_percent(protocol: &str) {
    let broker = Mosquitto::start();
    let relay = Relay::to(broker.port);
    let gatewire = Setup::new(relay.port, TABLES).speaking(protocol).unspilled().connect();
    eventually("the publications", || (gatewire.status()["outbox"]["delivered"] == 50).then_some(()));
    let meter = agrees(&gatewire, &relay);
    let of = |cause: &str| carried(&meter["causes"][cause]);
    // Topic and payload, and PUBACK; several may go in one record of TLS.
    let [sent, received] = of("publish hello");
    assert!(sent > 50 * (10 + 24) && received >= 50 * 4, "{meter}");
    // TLS with both certificates.
    assert!(of("handshake")[0] > 500 && of("handshake")[1] > 500 && of("subscribe")[0] > 10, "{meter}");
    // Both ways, small and large, and another connection.
    let mut client = gatewire.client("publish.sock");
    for size in [10, 100_000] {
        let answer = client.ask(&json!({"topic": "up/x", "payload": "x".repeat(size)}).to_string());
        assert_eq!(answer["result"], "delivered");
    }
    let reader = gatewire.client("messages.sock");
    relay.cut();
    gatewire.wait_for_nth("connected to", 2);
    broker.publish("down/x", "y".repeat(100_000).as_bytes());
    eventually("the message", || (gatewire.status()["inbox"]["received"] == 1).then_some(()));
    let meter = agrees(&gatewire, &relay);
    let of = |cause: &str| carried(&meter["causes"][cause]);
    assert!(of("ingest")[0] > 100_000 && of("ingest")[1] < 2_000, "{meter}");
    assert!(of("forward")[1] > 100_000 && of("forward")[0] < 2_000, "{meter}");
    drop(reader);
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn what_it_counts_is_within_2_percent_of_what_a_relay_counts() {
    ["5", "3.1.1"].into_iter().for_each(is_within_2_percent);
}

#[test]
fn its_counts_survive_a_restart() {
    let broker = Mosquitto::start();
    let relay = Relay::to(broker.port);
    let setup = Setup::new(relay.port, TABLES);
    let gatewire = setup.connect();
    eventually("the publications", || (gatewire.status()["outbox"]["delivered"] == 50).then_some(()));
    let before = agrees(&gatewire, &relay);
    assert_eq!(gatewire.stop().0, 0);
    let setup = setup.edit("count = 50", "count = 1");
    let gatewire = setup.connect();
    let after = agrees(&gatewire, &relay);
    let hello = |meter: &Value| carried(&meter["causes"]["publish hello"])[0];
    assert!(hello(&after) >= hello(&before) && carried(&after["month"])[0] > carried(&before["month"])[0], "{after}");
    gatewire.kill();
    // What was counted since the last note is lost, and nothing else.
    let gatewire = setup.connect();
    let meter = gatewire.status()["meter"].clone();
    assert!(hello(&meter) >= hello(&before), "{meter}");
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn without_its_section_there_is_none() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, "[log]\nlevel = \"info\"\n");
    let gatewire = setup.connect();
    assert_eq!(gatewire.status().get("meter"), None);
    // A reload turns it on, on the connection that there is, and off again.
    let setup = setup.edit("[log]", "[meter]\n[log]");
    gatewire.signal("HUP");
    eventually("a meter", || gatewire.status().get("meter").cloned());
    let _setup = setup.edit("[meter]\n", "");
    gatewire.signal("HUP");
    eventually("no meter", || gatewire.status().get("meter").is_none().then_some(()));
    assert_eq!(gatewire.stop().0, 0);
}

fn with_budget(month: &str, then: &str) -> String {
    TABLES.replace("[meter]\n", &format!("[meter]\nbudget = {{ month = \"{month}\", then = \"{then}\" }}\n"))
}

#[test]
fn a_budget_is_said_once_whatever_is_restarted() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, &with_budget("1 KiB", "warn")).keep_log("log");
    let gatewire = setup.connect();
    gatewire.wait_for("the month's budget of 1.0 kB is used up. All goes on as before");
    // A status of before its SUBACK says that messages wait for that.
    let held = eventually("the SUBACK", || {
        let status = gatewire.status();
        let past = status["meter"]["budget"]["state"] == "past";
        (past && status["outbox"]["held"]["cause"] != "subscribing").then(|| status["outbox"]["held"].clone())
    });
    assert_eq!(held, Value::Null);
    gatewire.kill();
    let gatewire = setup.connect();
    eventually("the publications", || (gatewire.status()["outbox"]["delivered"] == 50).then_some(()));
    assert_eq!(gatewire.status()["meter"]["budget"]["state"], "past");
    assert_eq!(gatewire.stop().0, 0);
    let log = std::fs::read_to_string(setup.directory.path().join("log")).unwrap();
    assert_eq!(log.matches("is used up").count(), 1, "{log}");
}

#[test]
fn past_the_budget_only_what_is_urgent_goes_until_there_is_a_larger_one() {
    let broker = Mosquitto::start();
    let tables = with_budget("60 kB", "urgent-only").replace("count = 50", "count = 1");
    // Longer than a PUBACK takes, and not too long for what the budget holds.
    let setup = Setup::new(broker.port, &tables).edit("[outbox]\n", "[outbox]\nspill_after = \"5s\"\n");
    let gatewire = setup.connect();
    let mut client = gatewire.client("publish.sock");
    let mut ask = |line: Value| client.ask(&line.to_string());
    assert_eq!(ask(json!({"topic": "up/x", "payload": "x".repeat(100_000)}))["result"], "delivered");
    gatewire.wait_for("the month's budget of 60.0 kB is used up. Only what is urgent is published from now on");
    assert_eq!(ask(json!({"topic": "up/1", "payload": "1"}))["result"], "stored");
    assert_eq!(ask(json!({"topic": "up/2", "payload": "2", "urgent": true}))["result"], "delivered");
    let refused = ask(json!({"topic": "up/3", "payload": "3", "qos": 0}));
    assert_eq!(refused["error"], "not_connected");
    assert!(refused["detail"].as_str().unwrap().starts_with("the month's budget is used up"), "{refused}");
    let status = gatewire.status();
    assert_eq!((&status["outbox"]["held"]["cause"], &status["outbox"]["waiting"]), (&json!("budget"), &json!(1)));
    let (_, page, _) = setup.output_of(&["status"]);
    assert!(page.contains("only what is urgent is sent"), "{page}");
    // Also after a restart, from the first message on.
    assert_eq!(gatewire.stop().0, 0);
    let gatewire = setup.connect();
    gatewire.wait_for("the month's budget of 60.0 kB is used up. Only what is urgent is published from now on");
    // With what the schedule has brought before.
    gatewire.wait_for(" so far). ");
    let mut client = gatewire.client("publish.sock");
    assert_eq!(client.ask(&json!({"topic": "up/4", "payload": "4"}).to_string())["result"], "stored");
    let setup = setup.edit("60 kB", "1 GB");
    gatewire.signal("HUP");
    gatewire.wait_for(
        "the month's budget is 1.0 GB now and isn't used up: what waited because it isn't urgent is sent now",
    );
    eventually("what waited", || (gatewire.status()["outbox"]["waiting"] == 0).then_some(()));
    let received = broker.received("thing-1");
    let received: Vec<&str> = received.iter().map(String::as_str).filter(|topic| topic.starts_with("up/")).collect();
    assert_eq!(received, ["up/x", "up/2", "up/1", "up/4"]);
    assert_eq!(gatewire.status()["outbox"]["held"], Value::Null);
    assert_eq!(gatewire.stop().0, 0);
    drop(setup);
}
