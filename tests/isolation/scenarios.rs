//! What a server forbids, and what is published meanwhile, in the pace of a gateway.

use serde_json::Value;

use crate::play::{LARGE, Script, each, line, play};
use crate::setup;
use crate::support::daemon::Gatewire;
use crate::support::judge::{Asked, Does, Judge};
use crate::support::{eventually, patiently};

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

pub fn a_new_forbidden_topic_each_three_seconds_does_not_stop_the_rest() {
    a_new_topic_each_three_seconds("5");
}

pub fn a_new_forbidden_topic_each_three_seconds_does_not_stop_the_rest_in_mqtt_3_1_1() {
    a_new_topic_each_three_seconds("3.1.1");
}

pub fn good_and_forbidden_topics_that_share_a_prefix_and_a_source_are_told_apart() {
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

pub fn two_groups_at_a_time_are_found_both() {
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

pub fn what_is_forbidden_by_its_retain_flag_alone_is_told_from_the_rest_of_its_topic() {
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

pub fn what_is_forbidden_by_its_size_alone_is_told_from_the_rest_of_its_topic() {
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

pub fn what_is_forbidden_with_qos_0_alone_is_told_from_the_rest_of_its_topic() {
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

pub fn a_failure_for_each_new_topic_is_one_group_and_closes_nothing() {
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

pub fn ten_forbidden_topics_a_second_do_not_stop_the_rest() {
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

pub fn bursts_of_forbidden_topics_before_anything_was_taken_do_not_stop_the_rest() {
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

pub fn where_nothing_separates_the_forbidden_the_rest_goes_on_too() {
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

pub fn a_policy_that_changes_is_noticed_both_ways() {
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
