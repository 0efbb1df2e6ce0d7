//! One bad message or filter never stops the rest: the binary against a server that closes the connection on what its policy
//! doesn't allow, in both versions of MQTT.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "quarantine/innocent.rs"]
mod innocent;
mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use support::daemon::{Gatewire, Setup};
use support::socket::Client;
use support::strict::Strict;
use support::{PATIENCE, eventually, found_within};

const INGEST: &str = "[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"#\"]\n";

fn setup(server: &Strict, protocol: &str, rest: &str) -> Setup {
    Setup::new(server.port, &format!("{INGEST}{rest}")).speaking(protocol)
}

fn numbers(n: usize) -> Vec<String> {
    (0..n).map(|i| i.to_string()).collect()
}

/// Hands over `n` messages to a topic, whose payloads are their numbers.
fn publish(gatewire: &Gatewire, topic: &str, n: usize) -> Client {
    let mut client = gatewire.client("publish.sock");
    (0..n).for_each(|i| client.send(&format!("{{\"topic\":\"{topic}\",\"payload\":{i},\"id\":{i}}}")));
    client
}

/// The answer to one more message there.
fn ask(gatewire: &Gatewire, topic: &str) -> Value {
    gatewire.client("publish.sock").ask(&format!("{{\"topic\":\"{topic}\",\"payload\":\"asked\"}}"))
}

/// Messages to a topic are delivered; while the link is down, they are stored.
fn assert_passes(gatewire: &Gatewire, topic: &str) {
    eventually(topic, || {
        let answer = ask(gatewire, topic);
        assert!(answer["error"].is_null(), "{answer}");
        (answer["result"] == "delivered").then_some(())
    });
}

/// Something else that the server takes: without that it could be one that refuses everything.
fn and_others(gatewire: &Gatewire) {
    assert!(ask(gatewire, "others")["error"].is_null());
}

fn assert_rejected(answer: &Value, topic: &str) {
    assert_eq!(answer["error"], "rejected", "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains(&format!("iot:Publish on topic/{topic}")), "{answer}");
}

fn quarantined(gatewire: &Gatewire) -> Value {
    gatewire.status()["outbox"]["quarantined"].clone()
}

#[test]
fn one_forbidden_topic_among_many_is_set_aside_and_everything_else_arrives_in_order() {
    for protocol in ["3.1.1", "5"] {
        let server = Strict::start(protocol, &["secret", "secret/scheduled"]);
        let schedule = |name: &str, topic: &str| {
            let timing = "every = \"150ms\"\ncount = 20\npayload = \"{{count}}\"\n";
            format!("[[publish]]\nname = \"{name}\"\ntopic = \"{topic}\"\n{timing}")
        };
        let schedules = schedule("allowed", "open/scheduled") + &schedule("forbidden", "secret/scheduled");
        let gatewire = setup(&server, protocol, &schedules).start();
        let clients = ["open/1", "secret", "open/2", "open/3"].map(|topic| publish(&gatewire, topic, 60));
        for topic in ["open/1", "open/2", "open/3"] {
            eventually(topic, || (server.arrived(topic).len() == 60).then_some(()));
            assert_eq!(server.arrived(topic), numbers(60));
        }
        let twenty: Vec<String> = (1..=20).map(|i| i.to_string()).collect();
        eventually("the schedule", || (server.arrived("open/scheduled") == twenty).then_some(()));
        eventually("both", || (gatewire.count("They are set aside") >= 2).then_some(()));
        assert_rejected(&ask(&gatewire, "secret"), "secret");
        // A client is told, or its message kept: whichever came first.
        let [_, mut secret, ..] = clients;
        let answers: Vec<Value> = (0..60).map(|_| secret.json()).collect();
        let stored = answers.iter().filter(|answer| answer["result"] == "stored").count();
        answers
            .iter()
            .filter(|answer| answer["result"] != "stored")
            .for_each(|answer| assert_rejected(answer, "secret"));
        eventually("the quarantine", || (quarantined(&gatewire) == 20 + stored).then_some(()));
        let status = gatewire.status();
        let listed = &status["outbox"]["quarantine"];
        assert_eq!((&listed[0]["topic"], &listed[0]["messages"]), (&json!("secret"), &json!(stored)));
        assert_eq!((&listed[1]["topic"], &listed[1]["messages"]), (&json!("secret/scheduled"), &json!(20)));
        assert_eq!(listed[1]["missing"], "iot:Publish on topic/secret/scheduled");
        assert!(server.closes() <= 12, "{} closes", server.closes());
        let line = gatewire.wait_for("Add iot:Publish on topic/secret/scheduled");
        let does = match protocol {
            "5" => "it ends the connection on a PUBLISH with reason code 0x87",
            _ => "it closes the connection on a PUBLISH",
        };
        assert!(line.contains(&format!("refuses messages to `secret/scheduled`: {does}")), "{line}");
        let closes = server.closes();
        assert_passes(&gatewire, "open/1");
        assert_eq!(server.closes(), closes);
    }
}

#[test]
fn a_forbidden_filter_is_left_out_and_the_others_stand() {
    for protocol in ["3.1.1", "5"] {
        let server = Strict::start(protocol, &["secret/#"]);
        let filters: Vec<String> = (0..12).map(|i| format!("\"open/{i}\"")).collect();
        let forward = format!(
            "[[forward]]\nname = \"f\"\nfilters = [{}, \"secret/#\"]\nsocket = \"DIR/f.sock\"\n",
            filters.join(", ")
        );
        let gatewire = setup(&server, protocol, &forward).start();
        let line = gatewire.wait_for("IoT Core refuses the filter `secret/#`");
        assert!(line.contains("iot:Subscribe on topicfilter/secret/#"), "{line}");
        eventually("the others", || (server.subscribed().len() == 12).then_some(()));
        eventually("the link", || (ask(&gatewire, "t")["result"] == "delivered").then_some(()));
        let link = &gatewire.status()["link"];
        assert_eq!(link["filters_refused"][0]["filter"], "secret/#");
        assert_eq!(link["filters_refused"][0]["missing"], "iot:Subscribe on topicfilter/secret/#");
        assert!(server.closes() <= 5, "{} closes", server.closes());
    }
}

#[test]
fn a_filter_whose_answer_breaks_the_rules_is_left_out_and_the_others_stand() {
    for protocol in ["3.1.1", "5"] {
        let server = Strict::start(protocol, &[]);
        server.misanswer("odd/#");
        let forward =
            "[[forward]]\nname = \"f\"\nfilters = [\"open/1\", \"odd/#\", \"open/2\"]\nsocket = \"DIR/f.sock\"\n";
        let gatewire = setup(&server, protocol, forward).start();
        let line = gatewire.wait_for("IoT Core refuses the filter `odd/#`: its answer to a SUBSCRIBE breaks the rules");
        assert!(!line.contains("iot:"), "no policy mends it: {line}");
        eventually("the link", || (ask(&gatewire, "t")["result"] == "delivered").then_some(()));
        let status = gatewire.status();
        let refused = status["link"]["filters_refused"].as_array().unwrap();
        assert_eq!((refused.len(), &refused[0]["filter"]), (1, &json!("odd/#")));
    }
}

/// Then it is the daemon that ends the connection, as MQTT wants it, each time.
#[test]
fn a_message_whose_answer_breaks_the_rules_is_set_aside_and_everything_else_arrives() {
    for protocol in ["3.1.1", "5"] {
        let server = Strict::start(protocol, &[]);
        server.misanswer("odd");
        let gatewire = setup(&server, protocol, "").start();
        let _clients = ["open/1", "odd", "open/2"].map(|topic| publish(&gatewire, topic, 20));
        let verdict = "refuses messages to `odd`: its answer to a PUBLISH breaks the rules of MQTT";
        eventually("the verdict", || {
            and_others(&gatewire);
            (gatewire.count(verdict) > 0).then_some(())
        });
        let line = gatewire.wait_for(verdict);
        assert!(!line.contains("iot:"), "no policy mends it: {line}");
        for topic in ["open/1", "open/2"] {
            eventually(topic, || (server.arrived(topic) == numbers(20)).then_some(()));
        }
        assert_passes(&gatewire, "open/1");
    }
}

#[test]
fn a_forbidden_topic_is_found_though_qos_0_is_not_answered() {
    for protocol in ["3.1.1", "5"] {
        let server = Strict::start(protocol, &["secret"]);
        let gatewire = setup(&server, protocol, "").connect();
        let mut client = gatewire.client("publish.sock");
        let is_found = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // A client of its own: what is taken has to be there while what isn't is tried, and a trial keeps its client waiting.
            scope.spawn(|| {
                let mut client = gatewire.client("publish.sock");
                found_within(4 * PATIENCE, || {
                    let _ = client.ask("{\"topic\":\"open\",\"payload\":1,\"qos\":0}");
                    is_found.load(Ordering::Relaxed).then_some(())
                });
            });
            let rejection = found_within(3 * PATIENCE, || {
                let answer = client.ask("{\"topic\":\"secret\",\"payload\":1,\"qos\":0}");
                (answer["error"] == "rejected").then_some(answer)
            });
            is_found.store(true, Ordering::Relaxed);
            assert_rejected(&rejection.expect("a rejection"), "secret");
        });
        assert!(server.closes() <= 12, "{} closes", server.closes());
        assert_eq!(gatewire.status()["outbox"]["quarantined"], 0);
        let sent = client.ask("{\"topic\":\"open\",\"payload\":\"last\",\"qos\":0}");
        assert_eq!(sent["result"], "sent");
        eventually("the others", || server.arrived("open").contains(&"last".to_owned()).then_some(()));
    }
}

#[test]
fn what_was_answered_stored_is_kept_through_restarts_and_tried_anew_a_day_later() {
    for protocol in ["3.1.1", "5"] {
        let server = Strict::start(protocol, &["secret", "secret/too"]);
        let setup = setup(&server, protocol, "");
        let gatewire = setup.connect();
        let mut client = publish(&gatewire, "secret", 3);
        (0..3).for_each(|id| assert_eq!(client.json(), json!({"id": id, "result": "stored"})));
        gatewire.kill();
        let gatewire = setup.again().start();
        let kept = |n: usize| {
            eventually("the quarantine", || {
                and_others(&gatewire);
                (quarantined(&gatewire) == n).then_some(())
            });
        };
        kept(3);
        let mut other = publish(&gatewire, "secret/too", 1);
        assert_eq!(other.json()["result"], "stored");
        kept(4);
        assert_eq!(gatewire.stop().0, 0);

        let closes = server.closes();
        setup.again().connect().kill();
        let gatewire = setup.again().connect();
        assert_eq!(quarantined(&gatewire), 4);
        assert_rejected(&ask(&gatewire, "secret"), "secret");
        assert_passes(&gatewire, "open");
        assert_eq!(server.closes(), closes, "what is set aside isn't to be found out again");
        assert_eq!(gatewire.stop().0, 0);

        a_day_passes(&setup);
        server.allow("secret");
        let gatewire = setup.again().connect();
        eventually("what is allowed now", || (server.arrived("secret") == numbers(3)).then_some(()));
        assert_passes(&gatewire, "secret");
        eventually("the quarantine", || {
            and_others(&gatewire);
            (quarantined(&gatewire) == 1).then_some(())
        });
        eventually("a rejection", || (ask(&gatewire, "secret/too")["error"] == "rejected").then_some(()));
        assert_eq!(server.closes(), closes + 1, "once alone is enough the second time");
    }
}

#[test]
fn more_than_memory_holds_moves_to_the_quarantine_and_back_through_the_disk() {
    const MESSAGES: usize = 80;
    let server = Strict::start("5", &["secret"]);
    server.be_away(true);
    let gatewire = setup(&server, "5", "").start();
    let mut client = gatewire.client("publish.sock");
    let payload = |i: usize| format!("{i:03}{}", "x".repeat(100_000));
    for i in 0..MESSAGES {
        client.send(&format!("{{\"topic\":\"secret\",\"payload\":\"{}\"}}", payload(i)));
        assert_eq!(client.json(), json!({"result": "stored"}));
    }
    server.be_away(false);
    eventually("the quarantine", || {
        and_others(&gatewire);
        (quarantined(&gatewire) == MESSAGES).then_some(())
    });
    assert_passes(&gatewire, "open");
    server.allow("secret");
    reload(&gatewire);
    gatewire.wait_for("what IoT Core refused is tried again: 80 messages to 1 topic");
    eventually("all of them", || (server.arrived("secret").len() == MESSAGES).then_some(()));
    assert!(server.arrived("secret").into_iter().eq((0..MESSAGES).map(payload)));
    assert_eq!(gatewire.status()["outbox"]["dropped"]["quarantine_full"], 0);
}

fn reload(gatewire: &Gatewire) {
    let before = gatewire.count("the configuration is read again");
    gatewire.signal("HUP");
    gatewire.wait_for_nth("the configuration is read again", before + 1);
}

#[test]
fn a_reload_tries_everything_anew_and_what_is_still_forbidden_goes_back() {
    for protocol in ["3.1.1", "5"] {
        let server = Strict::start(protocol, &["secret", "secret/too", "secret/#"]);
        let forward = "[[forward]]\nname = \"f\"\nfilters = [\"open\", \"secret/#\"]\nsocket = \"DIR/f.sock\"\n";
        // What waits is on the disk at once: no client is told that it was refused, all of it is kept.
        let gatewire =
            setup(&server, protocol, forward).edit("[outbox]\n", "[outbox]\nspill_after = \"10ms\"\n").connect();
        gatewire.wait_for("IoT Core refuses the filter `secret/#`");
        let mut clients = [publish(&gatewire, "secret", 20), publish(&gatewire, "secret/too", 20)];
        let stored = clients.iter_mut().flat_map(|client| (0..20).map(|_| client.json()).collect::<Vec<_>>());
        let stored = stored.filter(|answer| answer["result"] == "stored").count();
        eventually("the quarantine", || {
            and_others(&gatewire);
            (quarantined(&gatewire) == stored).then_some(())
        });
        let kept = |topic: &str| {
            let status = gatewire.status();
            let listed = status["outbox"]["quarantine"].as_array().unwrap();
            listed.iter().find(|listed| listed["topic"] == topic).map(|listed| listed["messages"].clone())
        };
        let (before, closes) = (kept("secret/too").unwrap(), server.closes());

        server.allow("secret");
        server.allow("secret/#");
        reload(&gatewire);
        eventually("the filter", || server.subscribed().contains("secret/#").then_some(()));
        eventually("what is allowed", || kept("secret").is_none().then_some(()));
        eventually("what isn't", || {
            and_others(&gatewire);
            (kept("secret/too").as_ref() == Some(&before)).then_some(())
        });
        let arrived: Vec<u32> = server.arrived("secret").iter().map(|payload| payload.parse().unwrap()).collect();
        assert!(arrived.is_sorted(), "{arrived:?}");
        assert_eq!(quarantined(&gatewire), before);
        eventually("the filter", || (gatewire.status()["link"]["filters_refused"] == json!([])).then_some(()));
        assert_passes(&gatewire, "secret");
        assert_rejected(&ask(&gatewire, "secret/too"), "secret/too");
        assert_eq!(server.closes(), closes + 1, "once alone is enough the second time");
    }
}

#[test]
fn a_filter_whose_suback_is_a_failure_is_left_out_and_asked_for_at_the_next_reload() {
    for protocol in ["3.1.1", "5"] {
        let server = Strict::start(protocol, &[]);
        server.refuse("secret/#");
        let forward = "[[forward]]\nname = \"f\"\nfilters = [\"open\", \"secret/#\"]\nsocket = \"DIR/f.sock\"\n";
        let gatewire = setup(&server, protocol, forward).connect();
        let line = gatewire.wait_for("refused to subscribe us to `secret/#`");
        assert!(line.contains("iot:Subscribe on topicfilter/secret/#"), "{line}");
        let link = &gatewire.status()["link"];
        assert_eq!(link["filters_refused"][0]["filter"], "secret/#");
        assert_eq!(link["filters_refused"][0]["missing"], "iot:Subscribe on topicfilter/secret/#");
        assert!(server.subscribed().contains("open"));
        server.grant("secret/#");
        reload(&gatewire);
        eventually("the filter", || server.subscribed().contains("secret/#").then_some(()));
        eventually("the status", || (gatewire.status()["link"]["filters_refused"] == json!([])).then_some(()));
        assert_eq!(server.closes(), 0);
    }
}

#[test]
fn a_puback_with_a_failure_sets_the_topic_aside_at_once() {
    let server = Strict::start("5", &[]);
    server.refuse("secret");
    let gatewire = setup(&server, "5", "").unspilled().connect();
    and_others(&gatewire);
    for _ in 0..3 {
        assert_rejected(&ask(&gatewire, "secret"), "secret");
    }
    assert_eq!(gatewire.count("IoT Core refuses messages to `secret`"), 1);
    assert_eq!(gatewire.status()["outbox"]["quarantine"][0]["missing"], "iot:Publish on topic/secret");
    assert_eq!(ask(&gatewire, "open"), json!({"result": "delivered"}));
    assert_eq!(gatewire.status()["counters"]["published"], 3, "what comes after the first isn't sent");
    assert_eq!(server.closes(), 0);
}

/// Makes the note in the database two days older.
fn a_day_passes(setup: &Setup) {
    let database = rusqlite::Connection::open(setup.directory.path().join("gatewire.db")).unwrap();
    let note: String =
        database.query_row("SELECT value FROM note WHERE name = 'quarantine'", [], |row| row.get(0)).unwrap();
    let mut note: Value = serde_json::from_str(&note).unwrap();
    assert!(note["since"].is_string(), "{note}");
    let before = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(48);
    note["since"] = json!(before.to_string());
    let changed = database.execute("UPDATE note SET value = ?1 WHERE name = 'quarantine'", [note.to_string()]).unwrap();
    assert_eq!(changed, 1);
}
