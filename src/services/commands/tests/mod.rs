//! Commands, by example and against a cloud, a link, a disk and a daemon of which anything may happen to.

mod cloud;
mod killed;
mod properties;
mod world;

use std::time::{Duration, Instant};

use super::execution::{Requested, Status, requested};
use super::incoming::{MAX_ANSWERED, MAX_OPEN};
use super::journal::MAX_ENTRIES;
use super::{Commands, Effect, Fate, Journal, Outcome, Reason, Unanswered};
use crate::message::Topic;
use crate::services::Requests;
use crate::services::jobs::Details;
use cloud::Mood;
use world::{BAD_DETAILS, LISTED, MAX_AGE, UNLISTED, World, request};

/// One round: what is sent is answered, and the answers come.
fn talk(world: &mut World) {
    for _ in 0..10 {
        world.bring(0);
        world.send();
        world.cloud.serve(0, Mood::Works);
        world.deliver(0);
    }
}

/// A world in which the first command's action runs.
fn running(payload: &'static str) -> World {
    let mut world = World::new();
    world.connect(None);
    world.create(payload, Some(60));
    world.bring(0);
    assert!(world.begun.is_empty(), "not before it is on the disk");
    assert_eq!(world.unacknowledged.len(), 1);
    world.written(true);
    assert_eq!((world.begun.len(), world.unacknowledged.len()), (1, 0));
    world
}

/// What AWS has of the first command: its status, and the code of its reason.
fn said(world: &World) -> (String, String) {
    let command = world.cloud.command("command-1");
    (command.status.clone(), command.body["statusReason"]["reasonCode"].as_str().unwrap_or_default().to_owned())
}

fn is_said(world: &World, status: &str, code: &str) {
    assert_eq!(said(world), (status.to_owned(), code.to_owned()));
}

#[test]
fn a_command_is_begun_once_it_is_on_the_disk_and_its_result_told() {
    let mut world = running(LISTED);
    world.end_action(Status::Succeeded);
    talk(&mut world);
    is_said(&world, "CREATED", "");
    world.written(true);
    talk(&mut world);
    is_said(&world, "SUCCEEDED", "");
    assert_eq!(world.cloud.command("command-1").body["result"]["exit_code"]["s"], "0");
    assert!(matches!(world.over["command-1"], Fate::Reported(_)));
    world.calm();
}

#[test]
fn what_takes_over_two_seconds_is_in_progress_and_its_result_waits_for_that_to_be_accepted() {
    let mut world = running(LISTED);
    world.pass(Duration::from_millis(1999));
    world.send();
    assert!(world.cloud.heard.is_empty());
    world.pass(Duration::from_millis(1));
    world.send();
    world.end_action(Status::Succeeded);
    world.written(true);
    world.send();
    assert_eq!(world.cloud.heard.len(), 1, "IN_PROGRESS has no answer yet");
    world.cloud.serve(0, Mood::Works);
    is_said(&world, "IN_PROGRESS", "");
    world.deliver(0);
    talk(&mut world);
    is_said(&world, "SUCCEEDED", "");
    world.calm();
}

#[test]
fn a_late_answer_to_in_progress_isnt_taken_for_one_to_the_result() {
    let mut world = running(LISTED);
    world.pass(Duration::from_secs(2));
    world.send();
    world.cloud.serve(0, Mood::Works);
    world.pass(Duration::from_secs(15));
    world.end_action(Status::Failed);
    world.written(true);
    world.send();
    // The answer to IN_PROGRESS comes now, and the result is lost.
    world.deliver(0);
    world.cloud.serve(0, Mood::Dead);
    assert!(world.over.is_empty());
    talk(&mut world);
    is_said(&world, "FAILED", "EXIT_CODE");
    world.calm();
}

#[test]
fn in_progress_that_wasnt_sent_doesnt_hold_up_the_result() {
    let mut world = running(LISTED);
    world.cut(true);
    world.pass(Duration::from_secs(2));
    world.end_action(Status::Succeeded);
    world.written(true);
    world.connect(None);
    world.send();
    assert_eq!(world.cloud.heard.len(), 1);
    world.cloud.serve(0, Mood::Works);
    is_said(&world, "SUCCEEDED", "");
    world.calm();
}

#[test]
fn a_conflict_is_told_again_after_a_while() {
    let mut world = running(LISTED);
    world.end_action(Status::Succeeded);
    world.written(true);
    world.send();
    world.cloud.serve(0, Mood::Conflicts);
    world.deliver(0);
    world.send();
    assert!(world.cloud.heard.is_empty());
    world.pass(Duration::from_secs(5));
    talk(&mut world);
    is_said(&world, "SUCCEEDED", "");
}

#[test]
fn a_command_that_comes_again_isnt_begun_again() {
    let mut world = running(LISTED);
    world.unacknowledged.push("command-1".to_owned());
    world.bring(0);
    assert!(world.unacknowledged.is_empty(), "IoT Core is told at once");
    world.end_action(Status::Succeeded);
    world.calm();
    for kill in [false, true] {
        if kill {
            world.kill(0);
            world.connect(None);
        }
        world.unacknowledged.push("command-1".to_owned());
        world.calm();
    }
    assert_eq!(world.begun.len(), 1);
}

#[test]
fn only_json_for_which_there_is_an_action_is_accepted() {
    let now = Instant::now();
    let base = "$aws/commands/things/t/executions/e/request";
    for (topic, payload, expected) in [
        (format!("{base}/json"), &b"{}"[..], None),
        (base.to_owned(), b"{}", None),
        (format!("{base}/cbor"), b"\xa0", Some(Status::Rejected)),
        (format!("{base}/json"), b"\xff", Some(Status::Rejected)),
    ] {
        let mut commands = Commands::new("t", MAX_AGE, Journal::default(), now, 0);
        assert!(commands.received(&request(&topic, payload, None, 0), None, now));
        let effect = commands.next_effect();
        match (expected, effect) {
            (None, Some(Effect::Found(execution))) => assert_eq!(execution.id, "e"),
            (Some(_), Some(Effect::Record(_, journal))) => {
                assert!(journal.text().contains("UNSUPPORTED_FORMAT"), "{journal:?}");
            }
            (_, effect) => panic!("{topic}: {effect:?}"),
        }
    }
}

#[test]
fn a_topic_says_which_execution_is_meant() {
    let topic = |text: &str| Topic::received(&format!("$aws/commands/things/{text}"));
    let long = "x".repeat(65);
    for (text, expected) in [
        ("t/executions/e/request/json".to_owned(), Some(Requested::Execution("e", Some("json")))),
        ("t/executions/e/request".to_owned(), Some(Requested::Execution("e", None))),
        ("t/executions/e/request/".to_owned(), Some(Requested::Execution("e", Some("")))),
        ("t/executions/e.1/request/json".to_owned(), Some(Requested::Unreadable)),
        (format!("t/executions/{long}/request/json"), Some(Requested::Unreadable)),
        ("t/executions//request/json".to_owned(), Some(Requested::Unreadable)),
        ("t/executions/e/requests/json".to_owned(), None),
        ("t/executions/e/response/accepted/json".to_owned(), None),
        ("tt/executions/e/request/json".to_owned(), None),
        ("u/executions/e/request/json".to_owned(), None),
        ("t/executions/e".to_owned(), None),
        ("t/executions/request/json".to_owned(), None),
    ] {
        let topic = topic(&text);
        assert_eq!(requested(&topic, "t"), expected, "{text}");
    }
}

#[test]
fn details_that_aws_refuses_are_left_out() {
    let mut world = running(BAD_DETAILS);
    world.end_action(Status::Failed);
    world.written(true);
    talk(&mut world);
    is_said(&world, "FAILED", "EXIT_CODE");
    assert_eq!(world.troubles, 1);
}

#[test]
fn without_a_disk_nothing_is_begun() {
    let mut world = World::new();
    world.connect(None);
    world.create(LISTED, None);
    world.bring(0);
    world.written(false);
    assert_eq!(world.unacknowledged.len(), 1, "killed now, it wouldn't be answered if it didn't come again");
    talk(&mut world);
    assert_eq!((world.begun.len(), world.unacknowledged.len()), (0, 0));
    world.calm();
    is_said(&world, "FAILED", "NOT_RECORDED");
}

#[test]
fn without_a_disk_nothing_waits_for_its_turn_and_holds_up_what_comes_behind() {
    let mut world = running(LISTED);
    world.create(LISTED, None);
    world.bring(0);
    world.written(false);
    assert_eq!(world.unacknowledged.len(), 1);
    talk(&mut world);
    assert_eq!((world.action.is_some(), world.unacknowledged.len()), (true, 0));
    assert_eq!(world.cloud.command("command-2").status, "FAILED");
    world.end_action(Status::Succeeded);
    world.calm();
    assert_eq!(world.begun.len(), 1);
}

#[test]
fn what_a_disk_that_hangs_holds_up_isnt_begun_after_its_time() {
    let mut world = World::new();
    world.connect(None);
    world.create(LISTED, Some(30));
    world.bring(0);
    world.pass(Duration::from_secs(31));
    world.written(true);
    world.calm();
    assert_eq!(world.begun.len(), 0);
    is_said(&world, "TIMED_OUT", "WAITED_TOO_LONG");
}

#[test]
fn a_flood_is_rejected_and_what_comes_beyond_dropped() {
    let mut world = World::new();
    world.connect(None);
    for _ in 0..MAX_ANSWERED + 5 {
        world.create(LISTED, None);
    }
    for which in 0..MAX_ANSWERED + 5 {
        world.bring(which.min(MAX_ANSWERED));
    }
    assert_eq!(world.dropped, [Unanswered::TooMany; 5]);
    (0..500).for_each(|_| world.go_well());
    world.calm();
    let count = |status: &str| world.cloud.commands.iter().filter(|command| command.status == status).count();
    assert_eq!((count("SUCCEEDED"), count("REJECTED"), count("CREATED")), (MAX_OPEN, MAX_ANSWERED - MAX_OPEN, 5));
}

#[test]
fn of_those_that_are_over_the_last_ones_are_remembered() {
    let mut world = World::new();
    world.connect(None);
    for _ in 0..MAX_ENTRIES + 10 {
        world.create(UNLISTED, Some(1000));
        world.calm();
    }
    let known: Vec<String> = world.disk.entries().map(|entry| entry.execution.clone()).collect();
    assert_eq!((known.len(), &*known[0]), (MAX_ENTRIES, "command-11"));
    world.create(UNLISTED, Some(1));
    world.calm();
    world.pass(Duration::from_secs(1));
    world.create(UNLISTED, Some(1000));
    world.calm();
    let has = |id: &str| world.disk.entries().any(|entry| entry.execution == id);
    assert!(!has("command-75") && has("command-12"), "its time has passed");
}

#[test]
fn what_is_said_is_what_aws_takes() {
    let reason = Reason::new("exit code: 1", &"a\n\u{202e}\u{e000}\u{f0000}ü".repeat(300));
    assert_eq!(reason.code(), "EXIT_CODE__1");
    assert!(reason.description().starts_with("a\\n\\u202e\u{fffd}\\udb80\\udc00ü"), "{}", reason.description());
    assert_eq!(reason.description().chars().count(), 1024);
    assert_eq!((Reason::new("", "").code(), Reason::new(&"x".repeat(80), "").code().len()), ("UNKNOWN", 64));
    let outcome = Outcome::failed(Reason::new("EXIT_CODE", ""), Details::default().with("exit_code", "1"));
    let body = serde_json::Value::Object(outcome.body(false)).to_string();
    let expected = r#"{"status":"FAILED","statusReason":{"reasonCode":"EXIT_CODE"},"result":{"exit_code":{"s":"1"}}}"#;
    assert_eq!(body, expected);
    assert_eq!(serde_json::Value::Object(outcome.body(true))["result"], serde_json::Value::Null);
}

#[test]
fn what_cant_be_read_is_told_and_left() {
    assert_eq!(Journal::read("{\"entries\":5}"), Journal::default());
    let now = Instant::now();
    let mut commands = Commands::new("t", MAX_AGE, Journal::default(), now, 0);
    let mut requests = Requests::new(0);
    let topic = "$aws/commands/things/t/executions/a.b/request/json";
    let token = Some(crate::message::AckToken::new(5));
    assert!(commands.received(&request(topic, b"{}", None, 0), token, now));
    assert_eq!(commands.next_effect(), Some(Effect::Dropped(Unanswered::Unreadable)));
    assert_eq!(commands.next_effect(), token.map(Effect::Release));
    assert!(!commands.received(&request("other", b"{}", None, 0), token, now));
    commands.ready(&mut requests, now);
    assert!(commands.next_effect().is_none() && commands.timeout().is_none());
}
