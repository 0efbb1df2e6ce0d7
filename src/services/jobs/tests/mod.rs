//! Jobs, by example and against a cloud, a link, a disk and a daemon of which anything may happen to.

mod cloud;
mod world;

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::{CERTIFICATE_ROTATOR, Details, Fate, Identity, Jobs, Journal, Outcome, Status};
use cloud::Mood;
use world::{BAD_DETAILS, LISTED, UNLISTED, World};

#[derive(Debug, Clone)]
enum Step {
    Create(&'static str),
    Cancel(usize),
    TimedOut(usize),
    Delete(usize),
    Retry,
    Forget(usize),
    Connect,
    Cut(bool),
    Kill(usize),
    Send,
    /// A while in which all goes well, but for the disk and the action.
    Talk,
    Serve(usize, Mood),
    Deliver(usize, bool),
    Written(bool),
    End(Status),
    Progress,
    Pass(u64),
}

fn mood() -> impl Strategy<Value = Mood> {
    let bad = [Mood::Deaf, Mood::Dead, Mood::Throttles, Mood::Fails, Mood::Stale];
    prop_oneof![4 => Just(Mood::Works), 1 => prop::sample::select(bad.to_vec())]
}

fn step() -> impl Strategy<Value = Step> {
    let documents = [LISTED, LISTED, BAD_DETAILS, UNLISTED];
    prop_oneof![
        3 => prop::sample::select(documents.to_vec()).prop_map(Step::Create),
        1 => any::<usize>().prop_map(Step::Cancel),
        1 => any::<usize>().prop_map(Step::TimedOut),
        1 => any::<usize>().prop_map(Step::Delete),
        1 => Just(Step::Retry),
        1 => any::<usize>().prop_map(Step::Forget),
        6 => Just(Step::Connect),
        2 => any::<bool>().prop_map(Step::Cut),
        2 => (0..4usize).prop_map(Step::Kill),
        20 => Just(Step::Send),
        6 => Just(Step::Talk),
        20 => (any::<usize>(), mood()).prop_map(|(which, mood)| Step::Serve(which, mood)),
        20 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(which, again)| Step::Deliver(which, again)),
        12 => prop::bool::weighted(0.95).prop_map(Step::Written),
        6 => prop_oneof![Just(Status::Succeeded), Just(Status::Failed)].prop_map(Step::End),
        8 => Just(Step::Progress),
        8 => (0..30_000u64).prop_map(Step::Pass),
    ]
}

fn run(world: &mut World, step: &Step) {
    match *step {
        Step::Create(document) => world.cloud.create(document),
        Step::Cancel(which) => world.cloud.end(which, "CANCELED"),
        Step::TimedOut(which) => world.cloud.end(which, "TIMED_OUT"),
        Step::Delete(which) => world.cloud.delete(which),
        Step::Retry => world.cloud.retry(),
        Step::Forget(which) => world.cloud.forget(which),
        Step::Connect => world.connect(),
        Step::Cut(is_lost) => world.cut(is_lost),
        Step::Kill(written) => world.kill(written),
        Step::Send => world.send(),
        Step::Talk => talk(world),
        Step::Serve(which, mood) => world.cloud.serve(which, mood),
        Step::Deliver(which, again) => world.deliver(which, again),
        Step::Written(is_done) => world.written(is_done),
        Step::End(status) => world.end_action(status),
        Step::Progress => world.progress(),
        Step::Pass(milliseconds) => world.pass(Duration::from_millis(milliseconds)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_action_is_begun_twice_and_no_result_lost(steps in prop::collection::vec(step(), 1..300)) {
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
        world.send();
        world.cloud.serve(0, Mood::Works);
        world.deliver(0, false);
    }
}

fn identity(job: &str) -> Identity {
    Identity { job: job.to_owned(), number: 1 }
}

/// A world in which the first job's action runs.
fn running() -> World {
    let mut world = World::new();
    world.cloud.create(LISTED);
    world.connect();
    talk(&mut world);
    assert!(world.action.is_none(), "not before it is on the disk");
    world.written(true);
    assert!(world.action.is_some());
    world
}

#[test]
fn a_job_is_begun_once_it_is_on_the_disk_and_its_result_told() {
    let mut world = running();
    let details = &world.cloud.jobs[0].details;
    assert_eq!((&*world.cloud.jobs[0].status, details["action"].as_str()), ("IN_PROGRESS", Some(LISTED)));
    world.progress();
    talk(&mut world);
    assert_eq!(world.cloud.jobs[0].details["step"], "2");
    world.end_action(Status::Succeeded);
    talk(&mut world);
    assert_eq!(world.cloud.jobs[0].status, "IN_PROGRESS", "the result isn't told before it is on the disk");
    world.written(true);
    talk(&mut world);
    assert_eq!(world.cloud.jobs[0].status, "SUCCEEDED");
    assert!(matches!(&world.over[..], [(over, Fate::Reported(_))] if *over == identity("job-1")));
}

#[test]
fn a_cancelled_or_deleted_job_is_stopped_and_the_next_one_taken() {
    for ends in [Step::Cancel(0), Step::TimedOut(0), Step::Delete(0)] {
        let mut world = running();
        world.cloud.create(LISTED);
        run(&mut world, &ends);
        talk(&mut world);
        assert!(world.is_stopped, "{ends:?}");
        world.end_action(Status::Failed);
        assert!(matches!(&world.over[..], [(_, Fate::Moot(_))]), "{:?}", world.over);
        talk(&mut world);
        world.written(true);
        world.written(true);
        assert_eq!(world.action.as_ref().map(|execution| &*execution.identity.job), Some("job-2"));
    }
}

#[test]
fn an_answer_to_progress_isnt_taken_for_one_to_the_result() {
    let mut world = running();
    world.progress();
    world.send();
    world.cloud.serve(0, Mood::Works);
    world.end_action(Status::Failed);
    world.deliver(0, false);
    world.written(true);
    assert!(world.over.is_empty());
    talk(&mut world);
    assert_eq!(world.cloud.jobs[0].status, "FAILED", "though the progress has raised the version");
}

#[test]
fn a_lost_answer_to_progress_doesnt_stop_the_action() {
    let mut world = running();
    world.progress();
    world.send();
    world.cloud.serve(0, Mood::Deaf);
    world.pass(Duration::from_secs(15));
    world.pass(Duration::from_secs(5));
    talk(&mut world);
    assert!(world.action.is_some() && !world.is_stopped);
    world.progress();
    talk(&mut world);
    assert_eq!(world.cloud.jobs[0].version, 5, "start-next, the first update and two of progress");
}

#[test]
fn an_execution_that_aws_has_forgotten_the_end_of_isnt_begun_again() {
    let mut world = running();
    world.end_action(Status::Succeeded);
    world.written(true);
    talk(&mut world);
    world.written(true);
    world.cloud.forget(0);
    world.kill(0);
    world.calm();
    assert_eq!((&*world.cloud.jobs[0].status, world.action.is_some()), ("SUCCEEDED", false));
}

#[test]
fn a_job_that_comes_while_it_is_looked_for_one_is_found() {
    let mut world = World::new();
    world.connect();
    world.send();
    world.cloud.serve(0, Mood::Works);
    world.cloud.create(LISTED);
    // notify-next comes first.
    world.deliver(1, false);
    world.deliver(0, false);
    talk(&mut world);
    assert_eq!(world.cloud.jobs[0].status, "IN_PROGRESS");
}

#[test]
fn a_job_that_was_cancelled_without_a_link_is_stopped_once_there_is_one() {
    let mut world = running();
    world.cut(true);
    world.cloud.end(0, "CANCELED");
    world.cloud.on_its_way.clear();
    world.connect();
    talk(&mut world);
    assert!(world.is_stopped);
}

#[test]
fn a_job_that_was_cancelled_before_isnt_begun() {
    let mut world = World::new();
    world.cloud.create(LISTED);
    world.connect();
    world.send();
    world.cloud.serve(0, Mood::Works);
    world.cloud.end(0, "CANCELED");
    talk(&mut world);
    world.written(true);
    assert!(world.action.is_none() && world.begun.is_empty());
    assert!(matches!(&world.over[..], [(_, Fate::Moot(_))]), "{:?}", world.over);
}

#[test]
fn a_result_waits_on_the_disk_through_an_outage_and_a_kill() {
    let mut world = running();
    world.cut(true);
    world.end_action(Status::Succeeded);
    world.written(true);
    world.kill(0);
    assert!(world.action.is_none(), "it isn't begun or resumed");
    world.connect();
    talk(&mut world);
    assert_eq!(world.cloud.jobs[0].status, "SUCCEEDED");
}

#[test]
fn a_result_that_aws_has_though_its_answer_was_lost_is_reported() {
    let mut world = running();
    world.end_action(Status::Succeeded);
    world.written(true);
    world.send();
    world.cloud.serve(0, Mood::Deaf);
    world.kill(0);
    world.connect();
    talk(&mut world);
    assert!(matches!(&world.over[..], [.., (_, Fate::Reported(_))]), "{:?}", world.over);
}

#[test]
fn what_was_under_way_when_the_daemon_was_killed_is_resumed() {
    let mut world = running();
    world.kill(0);
    assert!(world.action.is_none(), "it may have been cancelled");
    world.connect();
    talk(&mut world);
    assert_eq!(world.action.as_ref().map(|execution| &execution.identity), Some(&identity("job-1")));
    world.calm();
    assert_eq!(world.cloud.jobs[0].status, "SUCCEEDED");
}

#[test]
fn what_was_cancelled_while_there_was_no_daemon_isnt_resumed() {
    for ends in [Step::Cancel(0), Step::TimedOut(0), Step::Delete(0)] {
        let mut world = running();
        world.kill(0);
        run(&mut world, &ends);
        world.connect();
        world.send();
        // AWS is throttled first.
        world.cloud.serve(0, Mood::Throttles);
        world.deliver(0, false);
        world.deliver(0, false);
        world.pass(Duration::from_secs(5));
        talk(&mut world);
        assert!(world.action.is_none(), "{ends:?}");
        assert!(matches!(&world.over[..], [(_, Fate::Moot(_))]), "{:?}", world.over);
        world.calm();
    }
}

#[test]
fn a_result_whose_details_aws_refuses_is_told_without() {
    let mut world = World::new();
    world.cloud.create(BAD_DETAILS);
    world.connect();
    talk(&mut world);
    world.written(true);
    world.end_action(Status::Succeeded);
    world.written(true);
    talk(&mut world);
    assert_eq!((&*world.cloud.jobs[0].status, world.troubles), ("SUCCEEDED", 1));
}

#[test]
fn without_a_disk_nothing_is_begun() {
    let mut world = World::new();
    world.cloud.create(LISTED);
    world.connect();
    talk(&mut world);
    world.written(false);
    talk(&mut world);
    assert_eq!((&*world.cloud.jobs[0].status, world.begun.len()), ("FAILED", 0));
}

#[test]
fn what_cant_be_read_is_told_and_left() {
    use crate::services::jobs::execution::{named, started};
    for (payload, expected) in [
        (r#"{"timestamp":1}"#, Some(false)),
        (r#"{"execution":{}}"#, Some(false)),
        (r#" {"execution":{"jobId":"a","versionNumber":1}} "#, None),
        (r#"{"execution":{"jobId":"a/b","versionNumber":1}}"#, Some(true)),
        (r#"{"execution":{"jobId":"a","versionNumber":"1"}}"#, Some(true)),
        ("[", Some(false)),
        ("", Some(false)),
    ] {
        let found = started(payload.as_bytes());
        let shown = match &found {
            None => Some(false),
            Some(None) => Some(true),
            Some(Some(_)) => None,
        };
        assert_eq!(shown, expected, "{payload}: {found:?}");
    }
    assert_eq!(named(br#"{"execution":{"jobId":"a"}}"#), Some(("a".into(), None)));
    assert_eq!(named(b"\xff"), None);
    assert_eq!(Journal::read("{\"current\":5}"), Journal::default());
    let mut jobs = Jobs::new("t", Journal::default());
    let mut requests = crate::services::Requests::new(0);
    jobs.notified(&Bytes::from_static(b"garbage"), &mut requests);
    assert!(jobs.next_effect().is_none() && jobs.timeout().is_none());
}

#[test]
fn what_the_rotator_looks_for_is_never_left_out() {
    let only = Details::default().with(CERTIFICATE_ROTATOR, "true");
    assert_eq!(only.clone().with("reason", "x").bare(), only);
}

#[test]
fn details_are_what_aws_takes() {
    let mut details =
        Details::default().with("stdout", "a\nb\u{202e}\u{e000}\u{378}\u{d7ff}").with("empty", "").with("a key", "x");
    assert_eq!(details.get("stdout"), Some("a\\nb\\u202e\u{fffd}\u{fffd}\u{fffd}"));
    assert_eq!((details.get("empty"), details.get("a key")), (None, None));
    details.set("long", &"ü".repeat(2000));
    assert_eq!(details.get("long").unwrap().chars().count(), 1024);
    (0..20).for_each(|n| details.set(&format!("k{n}"), "v"));
    assert_eq!((details.get("k7"), details.get("k8")), (Some("v"), None));
    let outcome = Outcome { status: Status::Rejected, details: Details::default().with("a", "b") };
    assert_eq!(serde_json::to_string(&outcome).unwrap(), r#"{"status":"REJECTED","details":{"a":"b"}}"#);
}
