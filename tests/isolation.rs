//! What the server refuses is kept apart, and the rest goes on: the binary as it is by default, against a server that refuses
//! a new topic each time, or everything.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::daemon::{Gatewire, Setup};
use support::judge::{Asked, Does, Judge};
use support::scripted::Broker;
use support::{eventually, patiently};

const INGEST: &str = "[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"#\"]\n\
                      [[ingest]]\nname = \"events\"\nsocket = \"DIR/events.sock\"\ntopics = [\"#\"]\n";

const QUICK: &str = "backoff = { min = \"100ms\", max = \"200ms\" }\n";

/// With everything else as it is by default.
fn setup(server: &Judge, protocol: &str, rest: &str) -> Setup {
    Setup::with_connection(server.port, "", &format!("{INGEST}{rest}")).speaking(protocol)
}

/// What is published, and when: a step is a tenth of a second.
struct Script {
    steps: usize,
    /// Topic and options of the messages of a step that the server takes, and of those that it doesn't.
    good: fn(usize) -> Vec<(String, &'static str)>,
    bad: fn(usize) -> Vec<(String, &'static str)>,
}

const STEP: Duration = Duration::from_millis(100);

fn line(topic: &str, options: &str, n: usize) -> String {
    if options == LARGE {
        return format!("{{\"topic\":\"{topic}\",\"payload\":\"{n:06000}\"}}");
    }
    format!("{{\"topic\":\"{topic}\",\"payload\":\"{n}\"{options}}}")
}

/// Plays it; asserts that what is good arrives in time, in order and whole.
fn play(server: &Judge, gatewire: &Gatewire, script: &Script) {
    let (mut good, mut bad) = (gatewire.client("publish.sock"), gatewire.client("events.sock"));
    let mut sent: BTreeMap<(String, String), Instant> = BTreeMap::new();
    let start = Instant::now();
    for step in 0..script.steps {
        let at = start + STEP * u32::try_from(step).unwrap();
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        for (index, (topic, options)) in (script.bad)(step).into_iter().enumerate() {
            bad.send(&line(&topic, options, step * 1000 + index));
        }
        for (topic, options) in (script.good)(step) {
            good.send(&line(&topic, options, step));
            sent.insert((topic, step.to_string()), Instant::now());
        }
    }
    let arrived = || -> BTreeMap<(String, String), Instant> {
        server.all().into_iter().map(|(asked, at)| ((asked.topic, asked.payload), at)).collect()
    };
    patiently("all that is good", || {
        let arrived = arrived();
        sent.keys().all(|key| arrived.contains_key(key)).then_some(())
    });
    let arrived = arrived();
    let late: Vec<_> = sent.iter().filter(|(key, at)| arrived[*key] > **at + Duration::from_secs(5)).collect();
    assert!(late.len() * 20 <= sent.len(), "{} of {} came late: {late:?}", late.len(), sent.len());
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for (Asked { topic, payload, .. }, _) in server.all() {
        let n: usize = payload.parse().unwrap();
        if sent.contains_key(&(topic.clone(), payload)) {
            assert!(last.insert(topic.clone(), n).is_none_or(|last| last < n), "{topic}: {n} is out of order");
        }
    }
}

fn each(step: usize, every: usize, topic: &str) -> Vec<(String, &'static str)> {
    if step.is_multiple_of(every) { vec![(topic.to_owned(), "")] } else { Vec::new() }
}

/// Forbids what the name says.
fn policy(is_forbidden: fn(&Asked) -> bool) -> impl FnMut(&Asked) -> Does + Send + 'static {
    move |asked| if is_forbidden(asked) { Does::Close } else { Does::Take }
}

fn assert_group(gatewire: &Gatewire, topic: &str) -> Value {
    eventually(topic, || {
        let status = gatewire.status();
        let listed = status["outbox"]["quarantine"].as_array().unwrap().clone();
        listed.into_iter().find(|listed| listed["topic"] == topic)
    })
}

fn scenario(
    protocol: &'static str,
    rule: impl FnMut(&Asked) -> Does + Send + 'static,
    script: Script,
) -> (Judge, Gatewire) {
    let server = Judge::start(protocol, rule);
    let gatewire = setup(&server, protocol, "").connect();
    play(&server, &gatewire, &script);
    (server, gatewire)
}

fn a_new_topic_each_three_seconds(protocol: &'static str) {
    let (server, gatewire) = scenario(
        protocol,
        policy(|asked| asked.topic.ends_with("/door")),
        Script {
            steps: 300,
            good: |step| each(step, 10, "good/a"),
            bad: |step| each(step, 30, &format!("ev/{}/door", 7919 * step)),
        },
    );
    let group = assert_group(&gatewire, "ev/*/door");
    assert_eq!(group["missing"], "iot:Publish on topic/ev/*/door");
    assert!(server.closes() <= 12, "{} closes", server.closes());
    assert!(gatewire.count("They are set aside") <= 3);
    let answer = gatewire.client("events.sock").ask(&line("ev/new/door", "", 1));
    assert_eq!(answer["error"], "rejected", "{answer}");
}

#[test]
fn a_new_forbidden_topic_each_three_seconds_does_not_stop_the_rest() {
    a_new_topic_each_three_seconds("5");
}

#[test]
fn a_new_forbidden_topic_each_three_seconds_does_not_stop_the_rest_in_mqtt_3_1_1() {
    a_new_topic_each_three_seconds("3.1.1");
}

#[test]
fn good_and_forbidden_topics_that_share_a_prefix_and_a_source_are_told_apart() {
    let (server, gatewire) = scenario(
        "3.1.1",
        policy(|asked| asked.topic.contains("/bad-")),
        Script {
            steps: 250,
            good: |step| each(step, 10, "g1/ev/good-1"),
            bad: |step| [each(step, 20, &format!("g1/ev/bad-{step}")), each(step + 5, 20, "g1/ev/good-2")].concat(),
        },
    );
    assert_group(&gatewire, "g1/ev/bad-*");
    assert!(server.closes() <= 12, "{} closes", server.closes());
    assert!(server.took("g1/ev/good-2").len() > 10);
}

#[test]
fn two_groups_at_a_time_are_found_both() {
    let (server, gatewire) = scenario(
        "3.1.1",
        policy(|asked| asked.topic.ends_with("/door") || asked.topic.starts_with("log/")),
        Script {
            steps: 300,
            good: |step| each(step, 10, "good/a"),
            bad: |step| {
                [each(step, 20, &format!("{step}/door")), each(step + 7, 20, &format!("log/x{step}/y"))].concat()
            },
        },
    );
    assert_group(&gatewire, "*/door");
    assert_group(&gatewire, "log/x*/y");
    assert!(server.closes() <= 16, "{} closes", server.closes());
}

#[test]
fn what_is_forbidden_by_its_retain_flag_alone_is_told_from_the_rest_of_its_topic() {
    let (_, gatewire) = scenario(
        "5",
        policy(|asked| asked.retain),
        Script {
            steps: 250,
            good: |step| each(step, 10, "t/a"),
            bad: |step| {
                let retained = (step % 20 == 5).then_some(("t/a".to_owned(), ",\"retain\":true"));
                retained.into_iter().collect()
            },
        },
    );
    assert_eq!(assert_group(&gatewire, "t/a")["retain"], true);
}

#[test]
fn what_is_forbidden_by_its_size_alone_is_told_from_the_rest_of_its_topic() {
    let (_, gatewire) = scenario(
        "3.1.1",
        policy(|asked| asked.payload.len() > 5000),
        Script {
            steps: 250,
            good: |step| each(step, 10, "t/a"),
            bad: |step| {
                let large = (step % 20 == 5).then(|| ("t/a".to_owned(), LARGE));
                large.into_iter().collect()
            },
        },
    );
    assert!(assert_group(&gatewire, "t/a")["min_size"].as_u64().unwrap() > 5000);
}

#[test]
fn what_is_forbidden_with_qos_0_alone_is_told_from_the_rest_of_its_topic() {
    let (_, gatewire) = scenario(
        "3.1.1",
        policy(|asked| asked.qos == 0),
        Script {
            steps: 300,
            good: |step| each(step, 10, "t/a"),
            bad: |step| {
                let qos_0 = (step % 10 == 5).then_some(("t/a".to_owned(), ",\"qos\":0"));
                qos_0.into_iter().collect()
            },
        },
    );
    assert_eq!(assert_group(&gatewire, "t/a")["qos"], 0);
}

#[test]
fn a_failure_for_each_new_topic_is_one_group_and_closes_nothing() {
    let (server, gatewire) = scenario(
        "5",
        |asked| if asked.topic.starts_with("ev/") { Does::Answer(0x87) } else { Does::Take },
        Script {
            steps: 150,
            good: |step| each(step, 10, "good/a"),
            bad: |step| each(step, 1, &format!("ev/{step}/door")),
        },
    );
    assert_group(&gatewire, "ev/*/door");
    assert_eq!(server.connects().len(), 1);
    assert!(server.refused() < 20, "{} were sent", server.refused());
    assert!(gatewire.count("They are set aside") <= 3);
}

#[test]
fn ten_forbidden_topics_a_second_do_not_stop_the_rest() {
    let (server, gatewire) = scenario(
        "3.1.1",
        policy(|asked| asked.topic.starts_with("ev/")),
        Script {
            steps: 250,
            good: |step| each(step, 10, "good/a"),
            bad: |step| each(step, 1, &format!("ev/{step}/door")),
        },
    );
    assert_group(&gatewire, "ev/*/door");
    assert!(server.closes() <= 12, "{} closes", server.closes());
}

#[test]
fn bursts_of_forbidden_topics_before_anything_was_taken_do_not_stop_the_rest() {
    let (server, gatewire) = scenario(
        "3.1.1",
        policy(|asked| asked.topic.starts_with("g1/ev/")),
        Script {
            steps: 400,
            good: |step| each(step, 10, "g1/temperature"),
            bad: |step| match step % 100 {
                0 => (0..500).map(|n| (format!("g1/ev/{step}-{n}/door"), "")).collect(),
                _ => Vec::new(),
            },
        },
    );
    assert_group(&gatewire, "g1/ev/*/door");
    assert!(server.closes() <= 12, "{} closes", server.closes());
    assert!(gatewire.count("They are set aside") <= 3);
}

#[test]
fn where_nothing_separates_the_forbidden_the_rest_goes_on_too() {
    let (_, gatewire) = scenario(
        "3.1.1",
        policy(|asked| asked.topic != "a/b" && asked.topic != "c/d"),
        Script {
            steps: 900,
            good: |step| each(step, 10, if step % 20 == 0 { "a/b" } else { "c/d" }),
            bad: |step| each(step, 5, &format!("{}/{}", fastrand_of(step), fastrand_of(step + 1000))),
        },
    );
    eventually("an end of trials", || {
        let status = gatewire.status();
        status["outbox"]["quarantine"].as_array().unwrap().iter().any(|listed| listed["topic"] == "*/*").then_some(())
    });
}

#[test]
fn a_policy_that_changes_is_noticed_both_ways() {
    let server = Judge::start("3.1.1", policy(|_| false));
    let gatewire = setup(&server, "3.1.1", "").connect();
    let script = |steps| Script {
        steps,
        good: |step| each(step, 10, "good/a"),
        bad: |step| each(step, 10, &format!("ev/{}/door", step / 10)),
    };
    play(&server, &gatewire, &script(50));
    server.judge_by(policy(|asked| asked.topic.starts_with("ev/")));
    let again = setup(&server, "3.1.1", "");
    drop(again);
    let before = server.closes();
    let later = Script {
        steps: 200,
        good: |step| each(step, 10, "good/b"),
        bad: |step| each(step, 10, &format!("ev/{step}/door")),
    };
    play(&server, &gatewire, &later);
    let group = assert_group(&gatewire, "ev/*/door");
    let kept = group["messages"].as_u64().unwrap();
    assert!(server.closes() <= before + 12);
    let closes = server.closes();
    gatewire.signal("HUP");
    gatewire.wait_for("what IoT Core refused is tried again");
    let mut client = gatewire.client("publish.sock");
    patiently("one trial of the group", || {
        assert_eq!(client.ask(&line("good/c", "", 1)).get("error"), None);
        (server.closes() > closes).then_some(())
    });
    assert!(assert_group(&gatewire, "ev/*/door")["messages"].as_u64().unwrap() >= kept);
    assert_eq!(server.closes(), closes + 1);
    server.judge_by(policy(|_| false));
    gatewire.signal("HUP");
    gatewire.wait_for_nth("what IoT Core refused is tried again", 2);
    patiently("all of it", || {
        let _ = client.ask(&line("good/c", "", 2));
        (gatewire.status()["outbox"]["quarantined"] == 0).then_some(())
    });
}

fn fastrand_of(n: usize) -> u64 {
    fastrand::Rng::with_seed(n as u64).u64(..)
}

/// A field that makes a line's payload large: the last of a name counts.
const LARGE: &str = "LARGE";

/// A server that refuses everything, until it takes it: all waits, in order, and none is lost.
fn everything_is_refused(
    protocol: &'static str,
    terms: &[u8],
    refuses: impl FnMut(&Asked) -> Does + Send + 'static,
    topics: usize,
) {
    const MESSAGES: usize = 1500;
    let server = Judge::start(protocol, refuses);
    server.set_terms(terms);
    let gatewire = setup(&server, protocol, "").start();
    // Programs that don't wait for what becomes of it.
    let mut client = gatewire.client("publish.sock");
    for batch in 0..MESSAGES / 500 {
        for n in batch * 500..(batch + 1) * 500 {
            client.send(&line(&format!("t/{}", n % topics), "", n));
        }
        for _ in 0..500 {
            let answer = client.json();
            assert!(answer["error"].is_null() || answer["error"] == "rejected", "{answer}");
        }
    }
    gatewire.wait_for("IoT Core takes nothing that is sent");
    let status = gatewire.status();
    assert!(status["outbox"]["held"]["reason"].is_string(), "{status}");
    assert_eq!((&status["outbox"]["quarantined"], &status["outbox"]["dropped"]["full"]), (&0.into(), &0.into()));
    let kept = status["outbox"]["waiting"].as_u64().unwrap() + status["outbox"]["in_flight"].as_u64().unwrap();
    let told = status["outbox"]["dropped"]["rejected"].as_u64().unwrap();
    assert_eq!(kept + told, MESSAGES as u64);
    server.set_terms(&[]);
    server.judge_by(|_| Does::Take);
    patiently("all of them", || (server.all().len() as u64 >= kept).then_some(()));
    let arrived: Vec<usize> = server.all().iter().map(|(asked, _)| asked.payload.parse().unwrap()).collect();
    assert!(arrived.is_sorted(), "{:?}", &arrived[..50]);
    assert_eq!(gatewire.count("IoT Core takes nothing that is sent"), 1);
    gatewire.wait_for("IoT Core takes messages again");
    assert_eq!(gatewire.count("They are set aside"), 0);
    assert!(gatewire.status()["outbox"]["held"].is_null());
}

#[test]
fn a_server_that_closes_on_everything_costs_nothing_and_recovers() {
    everything_is_refused("3.1.1", &[], |_| Does::Close, 1);
}

#[test]
fn a_server_that_closes_on_everything_with_a_reason_costs_nothing_and_recovers() {
    everything_is_refused("5", &[], |_| Does::Close, 20);
}

#[test]
fn a_server_that_answers_everything_with_a_failure_costs_nothing_and_recovers() {
    everything_is_refused("5", &[], |_| Does::Answer(0x87), 10);
}

#[test]
fn a_server_that_answers_everything_with_an_error_costs_nothing_and_recovers() {
    everything_is_refused("5", &[], |_| Does::Answer(0x80), 1);
}

#[test]
fn what_a_connack_rules_out_is_said_once_and_goes_once_it_is_allowed() {
    const RETAINED: usize = 40;
    let broker = Broker::start();
    let gatewire = Setup::with_connection(broker.port, QUICK, INGEST).speaking("5").start();
    let mut client = gatewire.client("publish.sock");
    client.send(&line("plain", "", 0));
    (0..RETAINED).for_each(|n| client.send(&line(&format!("state/{n}"), ",\"retain\":true", n)));
    (0..=RETAINED).for_each(|_| assert_eq!(client.json()["result"], "stored"));
    let mut peer = broker.connected_5(false, &[0x25, 0]);
    let plain = peer.publish();
    peer.puback(plain.pkid, 0);
    let quarantined = || gatewire.status()["outbox"]["quarantined"].as_u64();
    eventually("what is retained is set aside", || (quarantined() == Some(RETAINED as u64)).then_some(()));
    assert!(gatewire.count("IoT Core refuses a message") <= 6, "of one cause is said less and less");
    peer.close();
    let mut peer = broker.connected_5(true, &[]);
    for n in 0..RETAINED {
        let message = peer.publish();
        assert_eq!((message.retain, &message.payload[..]), (true, n.to_string().as_bytes()));
        peer.puback(message.pkid, 0);
    }
}

#[test]
fn a_server_that_allows_qos_0_alone_costs_nothing_and_recovers() {
    everything_is_refused("5", &[0x24, 0], |_| Does::Take, 3);
}

#[test]
fn a_server_that_allows_no_packet_of_a_size_costs_nothing_and_recovers() {
    everything_is_refused("5", &[0x27, 0, 0, 0, 1], |_| Does::Take, 3);
}
