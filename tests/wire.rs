//! End to end against mosquitto: from a configuration file to the broker and back.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "wire/sockets.rs"]
mod sockets;
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;

use nix::unistd::{Gid, Group, Uid};
use serde_json::{Value, json};
use support::daemon::Setup;
use support::eventually;
use support::mosquitto::Mosquitto;
use support::socket::Client;

const FORWARD: &str = "[[forward]]\nname = \"messages\"\nfilters = [\"test/#\"]\nsocket = \"DIR/messages.sock\"\n";
/// What the most central tests go through.
const PROTOCOLS: [&str; 2] = ["5", "3.1.1"];
const INGEST: &str = "[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"up/#\"]\n";

#[test]
fn scheduled_publications_arrive_in_order_and_stop_after_their_count() {
    PROTOCOLS.into_iter().for_each(publications_stop_after_their_count);
}

fn publications_stop_after_their_count(protocol: &str) {
    let broker = Mosquitto::start();
    let subscriber = broker.subscribe("test/topic");
    let gatewire = Setup::new(
        broker.port,
        "[[publish]]\nname = \"hello\"\ntopic = \"test/topic\"\nevery = \"50ms\"\ncount = 5\n\
         payload = { message = \"Hello from gatewire [{{count}}]\", n = \"{{count}}\", at = \"{{timestamp}}\", on = \"{{client_id}}\" }\n",
    )
    .speaking(protocol).connect();
    for n in 1..=5 {
        let line = subscriber.next();
        let payload = line.strip_prefix("test/topic ").unwrap();
        assert!(
            payload.starts_with(&format!("{{\"message\":\"Hello from gatewire [{n}]\",\"n\":{n},\"at\":\"20")),
            "{payload}"
        );
        assert!(payload.ends_with("Z\",\"on\":\"thing-1\"}"), "{payload}");
    }
    let status = eventually("the fifth PUBACK", || Some(gatewire.status()).filter(|s| s["outbox"]["delivered"] == 5));
    assert_eq!((&status["publish"][0]["count"], &status["publish"][0]["next_run"]), (&json!(5), &Value::Null));
    assert_eq!(gatewire.stop().0, 0);
    assert_eq!(subscriber.try_next(), None);
}

#[test]
fn a_qos_0_publication_due_at_the_start_waits_for_the_first_connection() {
    let broker = Mosquitto::start();
    let subscriber = broker.subscribe("test/topic");
    let publish = "[[publish]]\nname = \"p\"\ntopic = \"test/topic\"\nevery = \"100ms\"\ncount = 3\nqos = 0\npayload = \"{{count}}\"\n";
    let _gatewire = Setup::new(broker.port, publish).connect();
    for n in 1..=3 {
        assert_eq!(subscriber.next(), format!("test/topic {n}"));
    }
}

#[test]
fn messages_come_out_of_the_socket_as_lines() {
    let broker = Mosquitto::start();
    let rest = format!(
        "{FORWARD}{}",
        // The same filter: in MQTT 5 mosquitto sends a message once for each filter that matches it.
        FORWARD.replace("messages", "payloads") + "format = \"payload\"\n"
    );
    let gatewire = Setup::new(broker.port, &rest).connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let (mut lines, mut payloads) = (gatewire.client("messages.sock"), gatewire.client("payloads.sock"));
    broker.publish("test/topic", br#"{"message":"hi"}"#);
    let first = lines.json();
    assert_eq!(first["topic"], "test/topic");
    assert_eq!(first["payload"], r#"{"message":"hi"}"#);
    assert_eq!((&first["qos"], &first["retain"], &first["duplicate"]), (&json!(1), &json!(false), &json!(false)));
    assert!(first["received_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(payloads.line().unwrap(), r#"{"message":"hi"}"#);
    broker.publish("test/topic", &[0xff, 0x00]);
    let second = lines.json();
    assert_eq!(second["payload_base64"], "/wA=");
    assert_eq!(second.get("payload"), None);
    assert_eq!(payloads.line().unwrap(), "\u{fffd}\0");
    assert!(second["id"].as_u64() > first["id"].as_u64() && second["id"].as_u64().unwrap() < 1 << 53);
    broker.publish_with("test/topic", b"x", &["-q", "0"]);
    assert_eq!((lines.json()["qos"].as_u64(), payloads.line().unwrap().as_str()), (Some(0), "x"));
}

#[test]
fn every_reader_gets_every_message_and_an_observer_takes_none_away() {
    let broker = Mosquitto::start();
    let gatewire = Setup::new(broker.port, FORWARD).connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let mut observer = Client::observe(&gatewire.path("messages.sock"));
    eventually("the observer", || (gatewire.status()["forward"][0]["observers"] == 1).then_some(()));
    broker.publish("test/topic", b"kept");
    assert_eq!(observer.payload(), "kept");
    assert_eq!(
        eventually("it to be kept", || gatewire.status()["forward"][0]["waiting"].as_u64().filter(|n| *n > 0)),
        1
    );
    let mut readers: Vec<Client> = (0..3).map(|_| gatewire.client("messages.sock")).collect();
    assert_eq!(readers[0].payload(), "kept", "the first reader gets what was kept");
    eventually("the readers", || (gatewire.status()["forward"][0]["readers"] == 3).then_some(()));
    broker.publish("test/topic", b"all");
    for reader in &mut readers {
        assert_eq!(reader.payload(), "all");
    }
    assert_eq!(observer.payload(), "all");
}

#[test]
fn messages_wait_for_the_first_reader_and_come_in_order() {
    let broker = Mosquitto::start();
    let rest = format!("{FORWARD}keep = {{ messages = 50 }}\n");
    let gatewire = Setup::new(broker.port, &rest).connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let mut publisher = broker.publisher("test/topic");
    (0..60).for_each(|n| publisher.send(&n.to_string()));
    publisher.finish();
    eventually("all to be dropped or kept", || {
        let forward = &gatewire.status()["forward"][0];
        (forward["waiting"] == 50 && forward["dropped"]["keep_full"] == 10).then_some(())
    });
    gatewire.wait_for("no reader has come for its messages and `keep` is full");
    let mut reader = gatewire.client("messages.sock");
    for n in 10..60 {
        assert_eq!(reader.payload(), n.to_string());
    }
    drop(reader);
    broker.publish("test/topic", b"after");
    assert_eq!(gatewire.client("messages.sock").payload(), "after");
}

#[test]
fn a_reader_that_does_not_read_is_dismissed_and_slows_nobody() {
    let broker = Mosquitto::start();
    let gatewire = Setup::new(broker.port, FORWARD).connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let (stuck, mut good) = (gatewire.client("messages.sock"), gatewire.client("messages.sock"));
    eventually("both", || (gatewire.status()["forward"][0]["readers"] == 2).then_some(()));
    let big = "x".repeat(100_000);
    let mut publisher = broker.publisher("test/topic");
    for n in 0..20 {
        publisher.send(&format!("{n} {big}"));
        assert!(good.payload().starts_with(&format!("{n} ")));
    }
    publisher.finish();
    let line = gatewire.wait_for("has left more than 1 MiB of lines unread");
    assert!(line.contains("the others go on"), "{line}");
    drop(stuck);
    broker.publish("test/topic", b"still here");
    assert_eq!(good.payload(), "still here");
    assert_eq!(gatewire.count("is disconnected"), 1);
}

#[test]
fn a_line_is_answered_with_what_became_of_it() {
    PROTOCOLS.into_iter().for_each(lines_are_answered);
}

fn lines_are_answered(protocol: &str) {
    let broker = Mosquitto::start();
    let subscriber = broker.subscribe("up/#");
    let gatewire = Setup::new(broker.port, INGEST).speaking(protocol).unspilled().connect();
    let mut client = gatewire.client("publish.sock");
    let answer = client.ask(r#"{"topic":"up/door","payload":{"open":true},"qos":1,"retain":false,"id":"a7"}"#);
    assert_eq!(answer, json!({"id": "a7", "result": "delivered"}));
    assert_eq!(subscriber.next(), r#"up/door {"open":true}"#);
    assert_eq!(client.ask(r#"{"topic":"up/x","payload":"text","qos":0}"#), json!({"result": "sent"}));
    assert_eq!(subscriber.next(), "up/x text");
    for (line, id, code) in [
        (r#"{"topic":"down/x","payload":1,"id":5}"#, json!(5), "topic_not_allowed"),
        (r#"{"topic":"up/+","payload":1,"id":6.5}"#, json!(6.5), "bad_topic"),
        (r#"{"topic":"up/x","payload":1,"qos":2,"id":"q"}"#, json!("q"), "bad_qos"),
        (r#"{"topic":"up/x","id":"p"}"#, json!("p"), "bad_line"),
        ("garbage", Value::Null, "bad_line"),
        (
            &format!("\n\n{{\"topic\":\"up/x\",\"id\":9,\"payload\":\"{}\"}}", "x".repeat(131_073)),
            json!(9),
            "too_large",
        ),
        (&"x".repeat(300 * 1024), Value::Null, "bad_line"),
    ] {
        let answer = client.ask(line);
        assert_eq!((&answer["error"], &answer["id"]), (&json!(code), &id), "{answer}");
        assert!(answer["detail"].as_str().unwrap().len() > 10, "{answer}");
    }
    assert_eq!(client.ask(r#"{"topic":"up/x","payload":"last"}"#), json!({"result": "delivered"}));
    assert_eq!(subscriber.next(), "up/x last");
    let largest = format!(r#"{{"topic":"up/x","payload":"{}"}}"#, "x".repeat(131_072));
    assert_eq!(client.ask(&largest), json!({"result": "delivered"}));
    assert_eq!(gatewire.count("connected to"), 1, "the link stayed up");
}

#[test]
fn answers_come_in_the_order_of_the_lines_and_after_the_end_too() {
    let broker = Mosquitto::start();
    let gatewire = Setup::new(broker.port, INGEST).unspilled().connect();
    let mut client = gatewire.client("publish.sock");
    let mut lines = String::new();
    for n in 0..3000 {
        let topic = if n % 7 == 0 { "down" } else { "up/x" };
        lines += &format!("{{\"topic\":\"{topic}\",\"payload\":{n},\"qos\":{},\"id\":{n}}}\n", n % 2);
    }
    client.write(lines.trim_end().as_bytes());
    client.shutdown_write();
    for n in 0..3000 {
        let answer = client.json();
        let expected = if n % 7 == 0 {
            "topic_not_allowed"
        } else if n % 2 == 0 {
            "sent"
        } else {
            "delivered"
        };
        assert_eq!(
            (answer["id"].as_i64(), answer["result"].as_str().or(answer["error"].as_str())),
            (Some(n), Some(expected))
        );
    }
    assert_eq!(client.line(), None);
}

#[test]
fn qos_0_is_refused_while_the_link_is_down_and_qos_1_waits_for_it() {
    let mut broker = Mosquitto::start();
    let gatewire = Setup::new(broker.port, INGEST).unspilled().connect();
    broker.kill();
    gatewire.wait_for("next attempt in");
    let mut client = gatewire.client("publish.sock");
    assert_eq!(client.ask(r#"{"topic":"up/x","payload":1,"qos":0}"#)["error"], "not_connected");
    client.send(r#"{"topic":"up/x","payload":1,"id":1}"#);
    assert_eq!(client.json(), json!({"id": 1, "result": "stored"}));
    assert_eq!(gatewire.status()["outbox"]["waiting"], 1);
    assert!(["waiting", "connecting"].contains(&gatewire.status()["link"]["state"].as_str().unwrap()));
    eventually("the refusal", || (gatewire.status()["link"]["last_error"]["code"] == "tcp_refused").then_some(()));
    broker.restart();
    eventually("the delivery", || (gatewire.status()["outbox"]["delivered"] == 1).then_some(()));
    assert_eq!(client.ask(r#"{"topic":"up/x","payload":2,"id":2}"#), json!({"id": 2, "result": "delivered"}));
}

#[test]
fn a_broker_killed_and_restarted_under_load_loses_nothing() {
    PROTOCOLS.into_iter().for_each(nothing_is_lost_with);
}

fn nothing_is_lost_with(protocol: &str) {
    const MESSAGES: usize = 2000;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut broker = Mosquitto::with_options("persistence true\npersistence_location DIR/\n");
    // Slow enough that all kills come while there is work to do.
    let connection = "backoff = { min = \"100ms\", max = \"300ms\" }\n\
        rate_limit = { messages_per_second = 400, burst = 10, connects_per_second = 100 }\n";
    let rest = format!(
        "{INGEST}[[publish]]\nname = \"tick\"\ntopic = \"up/tick\"\nevery = \"20ms\"\ncount = 100\npayload = \"x\"\n"
    );
    let gatewire = Setup::with_connection(broker.port, connection, &rest).speaking(protocol).connect();
    let path = gatewire.path("publish.sock");
    let client = std::thread::spawn(move || {
        let mut client = Client::connect(&path);
        for n in 0..MESSAGES {
            client.send(&format!("{{\"topic\":\"up/{n}\",\"payload\":{n},\"id\":{n}}}"));
        }
        for n in 0..MESSAGES {
            let answer = client.json();
            assert!(
                answer["id"] == n && ["delivered", "stored"].contains(&answer["result"].as_str().unwrap()),
                "{answer}"
            );
        }
    });
    for _ in 0..4 {
        let before = gatewire.status()["outbox"]["delivered"].as_u64().unwrap();
        let more = random.u64(1..150);
        eventually("some deliveries", || {
            (gatewire.status()["outbox"]["delivered"].as_u64().unwrap() >= before + more).then_some(())
        });
        let left = MESSAGES as u64 - before;
        assert!(left > more, "the broker was to be killed under load");
        broker.kill();
        broker.restart();
    }
    client.join().unwrap();
    eventually("the last tick", || (gatewire.status()["outbox"]["delivered"] == MESSAGES + 100).then_some(()));
    assert_eq!(
        gatewire.status()["outbox"]["dropped"],
        json!({"full": 0, "expired": 0, "not_connected": 0, "rejected": 0, "quarantine_full": 0, "damaged": 0})
    );
    assert!(gatewire.status()["counters"]["connections"].as_u64().unwrap() >= 5);
    // mosquitto forgets what it had when it is killed; its log doesn't.
    let received = broker.received("thing-1");
    let mut next = 0;
    for n in received.iter().filter_map(|topic| topic.strip_prefix("up/")?.parse::<usize>().ok()) {
        assert!(n <= next, "{n} came before {next}; seed {seed}");
        next = next.max(n + 1);
    }
    assert_eq!(next, MESSAGES, "all were answered `delivered`; seed {seed}");
    assert!(received.iter().filter(|topic| *topic == "up/tick").count() >= 100);
}

#[test]
fn subscriptions_and_messages_survive_a_reconnect() {
    PROTOCOLS.into_iter().for_each(messages_survive_a_reconnect);
}

fn messages_survive_a_reconnect(protocol: &str) {
    let mut broker = Mosquitto::start();
    let gatewire = Setup::new(broker.port, FORWARD).speaking(protocol).connect();
    broker.kill();
    broker.restart();
    gatewire.wait_for_nth("connected to", 2);
    broker.wait_for("Sending SUBACK to thing-1");
    let mut reader = gatewire.client("messages.sock");
    eventually("a message to come through again", || {
        broker.publish("test/topic", b"again");
        (gatewire.status()["inbox"]["received"].as_u64() > Some(0)).then_some(())
    });
    assert_eq!(reader.payload(), "again");
}
