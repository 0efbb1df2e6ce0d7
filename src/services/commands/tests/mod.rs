//! Commands, by example and against a cloud, a link, a disk and a daemon of which anything may happen to.

mod cloud;
mod world;

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::execution::{Requested, Status, requested};
use super::incoming::{MAX_ANSWERED, MAX_OPEN};
use super::journal::MAX_ENTRIES;
use super::{Commands, Effect, Fate, Journal, Outcome, Reason, Unanswered};
use crate::message::Topic;
use crate::services::Requests;
use crate::services::jobs::Details;
use cloud::Mood;
use world::{BAD_DETAILS, LISTED, MAX_AGE, UNLISTED, World, request};

#[derive(Debug, Clone)]
enum Step {
    Create(&'static str, Option<u64>),
    Delete(usize),
    Connect(Option<u64>),
    Cut(bool),
    Kill(usize),
    Send,
    /// A while in which all goes well, but for the disk and the action.
    Talk,
    Serve(usize, Mood),
    Bring(usize),
    Deliver(usize),
    Written(bool),
    End(Status),
    Pass(u64),
}

fn mood() -> impl Strategy<Value = Mood> {
    let bad = [Mood::Deaf, Mood::Dead, Mood::Throttles, Mood::Fails, Mood::Conflicts];
    prop_oneof![4 => Just(Mood::Works), 1 => prop::sample::select(bad.to_vec())]
}

fn step() -> impl Strategy<Value = Step> {
    let payloads = prop::sample::select(vec![LISTED, LISTED, BAD_DETAILS, UNLISTED]);
    prop_oneof![
        4 => (payloads, prop::option::of(1..900u64)).prop_map(|(payload, time)| Step::Create(payload, time)),
        1 => any::<usize>().prop_map(Step::Delete),
        6 => prop::option::of(0..600u64).prop_map(Step::Connect),
        2 => any::<bool>().prop_map(Step::Cut),
        2 => (0..4usize).prop_map(Step::Kill),
        20 => Just(Step::Send),
        6 => Just(Step::Talk),
        20 => (any::<usize>(), mood()).prop_map(|(which, mood)| Step::Serve(which, mood)),
        12 => any::<usize>().prop_map(Step::Bring),
        20 => any::<usize>().prop_map(Step::Deliver),
        12 => prop::bool::weighted(0.95).prop_map(Step::Written),
        6 => prop_oneof![Just(Status::Succeeded), Just(Status::Failed)].prop_map(Step::End),
        8 => (0..30_000u64).prop_map(Step::Pass),
    ]
}

fn run(world: &mut World, step: &Step) {
    match *step {
        Step::Create(payload, time) => world.create(payload, time),
        Step::Delete(which) => world.cloud.delete(which),
        Step::Connect(was_down) => world.connect(was_down.map(Duration::from_secs)),
        Step::Cut(is_lost) => world.cut(is_lost),
        Step::Kill(written) => world.kill(written),
        Step::Send => world.send(),
        Step::Talk => talk(world),
        Step::Serve(which, mood) => world.cloud.serve(which, mood),
        Step::Bring(which) => world.bring(which),
        Step::Deliver(which) => world.deliver(which),
        Step::Written(is_done) => world.written(is_done),
        Step::End(status) => world.end_action(status),
        Step::Pass(milliseconds) => world.pass(Duration::from_millis(milliseconds)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_command_is_begun_twice_and_no_result_lost(steps in prop::collection::vec(step(), 1..300)) {
        let mut world = World::new();
        for step in &steps {
            run(&mut world, step);
        }
        world.calm();
    }
}

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
fn what_was_under_way_when_the_daemon_was_killed_is_answered_in_its_time() {
    for (seconds, expected) in [(59, ("FAILED", "INTERRUPTED")), (60, ("TIMED_OUT", ""))] {
        let mut world = running(LISTED);
        world.pass(Duration::from_secs(1));
        world.kill(0);
        world.pass(Duration::from_secs(seconds - 1));
        world.connect(None);
        world.calm();
        is_said(&world, expected.0, expected.1);
        assert_eq!(world.begun.len(), 1);
    }
}

#[test]
fn a_result_is_told_by_the_next_life_of_the_daemon_though_its_time_has_passed() {
    let mut world = running(LISTED);
    world.end_action(Status::Succeeded);
    world.kill(1);
    world.pass(Duration::from_secs(3600));
    is_said(&world, "TIMED_OUT", "");
    world.connect(None);
    talk(&mut world);
    is_said(&world, "SUCCEEDED", "");
    world.calm();
}

#[test]
fn a_result_is_forgotten_once_aws_cant_want_it() {
    let mut world = running(LISTED);
    world.end_action(Status::Succeeded);
    world.written(true);
    world.cut(true);
    world.pass(Duration::from_secs(12 * 3600 - 1));
    assert!(world.over.is_empty());
    world.pass(Duration::from_secs(1));
    assert!(matches!(world.over["command-1"], Fate::Late(_)));
    assert_eq!(world.requests.outstanding(), 0);
}

#[test]
fn what_waits_for_its_turn_begins_in_its_time_or_not_at_all() {
    for (time, wait, expected) in [
        (Some(100), 99, ("SUCCEEDED", "")),
        (Some(100), 100, ("TIMED_OUT", "WAITED_TOO_LONG")),
        (None, 299, ("SUCCEEDED", "")),
        (None, 300, ("FAILED", "TOO_OLD")),
    ] {
        let mut world = World::new();
        world.connect(None);
        world.create(LISTED, Some(600));
        world.create(LISTED, time);
        world.bring(0);
        world.bring(1);
        world.written(true);
        world.written(true);
        assert!(world.unacknowledged.is_empty());
        world.pass(Duration::from_secs(wait));
        world.end_action(Status::Succeeded);
        world.calm();
        let command = world.cloud.command("command-2");
        let code = command.body["statusReason"]["reasonCode"].as_str().unwrap_or_default();
        assert_eq!((&*command.status, code), expected);
        assert_eq!(world.begun.len(), 1 + usize::from(expected.0 == "SUCCEEDED"));
    }
}

#[test]
fn what_is_resumed_may_begin_again_in_its_time_only() {
    let note = |time: &str| {
        format!(
            r#"{{"entries":[{{"execution":"e","came":1000,"time":{time},"stage":{{"begun":{{"payload":"{{}}"}}}}}}]}}"#
        )
    };
    let now = Instant::now();
    for (time, wall, expected) in [
        ("60", 1059, true),
        ("60", 1060, false),
        ("null", 1299, true),
        ("null", 1300, false),
        ("9999999", 1300, false),
        ("60", 5, true),
    ] {
        let mut commands = Commands::new("t", MAX_AGE, Journal::read(&note(time)), now, wall);
        match commands.next_effect() {
            Some(Effect::Resume { execution, is_in_time }) => {
                assert_eq!((&*execution.id, &*execution.payload, is_in_time), ("e", "{}", expected), "{time} {wall}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_was_waiting_when_the_daemon_was_killed_is_answered() {
    let mut world = running(LISTED);
    world.create(LISTED, Some(60));
    world.bring(0);
    world.written(true);
    world.kill(0);
    world.connect(None);
    world.calm();
    let command = world.cloud.command("command-2");
    assert_eq!(command.body["statusReason"]["reasonCode"], "INTERRUPTED");
    assert_eq!(world.begun.len(), 1);
}

#[test]
fn what_may_have_waited_at_iot_core_for_longer_than_it_may_isnt_begun() {
    let second = Duration::from_secs(1);
    for (was_down, after, is_begun) in [
        (None, 0, true),
        (Some(MAX_AGE), 0, true),
        (Some(MAX_AGE + second), 0, false),
        (Some(Duration::MAX), 10, false),
        (Some(Duration::MAX), 11, true),
    ] {
        let mut world = World::new();
        world.connect(was_down);
        world.pass(after * second);
        world.create(LISTED, None);
        world.calm();
        let expected = if is_begun { ("SUCCEEDED", "") } else { ("FAILED", "TOO_OLD") };
        assert_eq!(said(&world), (expected.0.to_owned(), expected.1.to_owned()), "{was_down:?} {after}");
    }
}

#[test]
fn what_may_have_waited_while_there_was_no_daemon_is_as_old() {
    let now = Instant::now();
    let topic = "$aws/commands/things/t/executions/e/request/json";
    for (seen, wall, was_down, is_taken) in [
        (1000, 1300, Some(Duration::ZERO), true),
        (1000, 1301, Some(Duration::ZERO), false),
        (1000, 1300, Some(Duration::from_secs(1)), false),
        (1000, 9999, None, true),
        (1000, 5, Some(Duration::ZERO), true),
        (0, 9999, Some(Duration::ZERO), true),
    ] {
        let journal = Journal::read(&format!(r#"{{"entries":[],"seen":{seen}}}"#));
        let mut commands = Commands::new("t", MAX_AGE, journal, now, wall);
        commands.connected(was_down, now + Duration::from_secs(2));
        let Some(Effect::Record(_, journal)) = commands.next_effect() else { panic!("it isn't noted") };
        assert_eq!(journal.seen, wall + 2);
        commands.received(&request(topic, b"{}", None, wall), None, now + Duration::from_secs(2));
        let is_found = matches!(commands.next_effect(), Some(Effect::Found(_)));
        assert_eq!(is_found, is_taken, "{seen} {wall} {was_down:?}");
        commands.connected(Some(Duration::ZERO), now + Duration::from_secs(60));
        commands.stopping(now + Duration::from_secs(70));
        let records = std::iter::from_fn(|| commands.next_effect());
        let last =
            records.filter_map(|effect| if let Effect::Record(_, journal) = effect { Some(journal) } else { None });
        assert_eq!(last.last().map(|journal| journal.seen), Some(wall + 70));
    }
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
    talk(&mut world);
    assert_eq!((world.begun.len(), world.unacknowledged.len()), (0, 0));
    world.calm();
    is_said(&world, "FAILED", "NOT_RECORDED");
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
