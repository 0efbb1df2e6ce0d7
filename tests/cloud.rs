//! The cloud that other tests talk to does as AWS's documentation says, and the AWS SDK for Python understands it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};
use support::CERTIFICATES;
use support::cloud::jobs::{Jobs, Status};
use support::cloud::service::{Kind, Message, Mood, Service};
use support::cloud::{Cloud, THING};

const JOBS: &str = "$aws/things/thing-1/jobs";

fn members(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// What is answered to a request: whether it is accepted, and the payload.
fn ask(service: &mut Service, what: &str, body: &Value) -> (bool, Value) {
    let said = service.hears(&format!("{JOBS}/{what}"), body.to_string().as_bytes(), false);
    let answer =
        said.iter().find(|message| message.topic.contains(what)).unwrap_or_else(|| panic!("no answer: {said:?}"));
    (answer.topic.ends_with("/accepted"), serde_json::from_str(&answer.payload).unwrap())
}

fn code(service: &mut Service, what: &str, body: &Value) -> String {
    match ask(service, what, body) {
        (true, _) => "accepted".to_owned(),
        (false, refusal) => refusal["code"].as_str().unwrap().to_owned(),
    }
}

/// With one job, in progress.
fn in_progress() -> Service {
    let mut service = Service::default();
    service.jobs.create(THING, "job", json!({"operation": "restart"}), 0);
    assert_eq!(code(&mut service, "start-next", &json!({})), "accepted");
    service
}

fn started(jobs: &mut Jobs) -> bool {
    jobs.answer(THING, "start-next", &Map::new()).unwrap().get("execution").is_some()
}

fn updated(jobs: &mut Jobs, status: &str) -> bool {
    jobs.answer(THING, "job/update", &members(json!({"status": status}))).is_ok()
}

#[test]
fn an_execution_goes_from_one_state_to_another_as_aws_says() {
    type Row = (&'static str, fn(&mut Jobs) -> bool, Option<Status>, Option<Status>);
    use Status::{Canceled, Failed, InProgress, Queued, Rejected, Removed, Succeeded, TimedOut};
    let terminal = [Succeeded, Failed, Rejected, Canceled, TimedOut, Removed];
    // What happens, and what becomes of one that is queued and of one that is in progress.
    let table: [Row; 10] = [
        ("start-next", started, Some(InProgress), Some(InProgress)),
        ("IN_PROGRESS", |jobs| updated(jobs, "IN_PROGRESS"), Some(InProgress), Some(InProgress)),
        ("SUCCEEDED", |jobs| updated(jobs, "SUCCEEDED"), Some(Succeeded), Some(Succeeded)),
        ("FAILED", |jobs| updated(jobs, "FAILED"), Some(Failed), Some(Failed)),
        ("REJECTED", |jobs| updated(jobs, "REJECTED"), Some(Rejected), Some(Rejected)),
        ("cancel", |jobs| jobs.cancel("job", false), Some(Canceled), None),
        ("force", |jobs| jobs.cancel("job", true), Some(Canceled), Some(Canceled)),
        ("time-out", |jobs| jobs.time_out("job"), None, Some(TimedOut)),
        ("step", |jobs| jobs.expire_step("job"), None, Some(TimedOut)),
        ("remove", |jobs| jobs.remove("job"), Some(Removed), Some(Removed)),
    ];
    let at = |status: Status| {
        let mut jobs = Jobs::default();
        jobs.create(THING, "job", json!({}), 0);
        let with_timer = members(json!({"stepTimeoutInMinutes": 5}));
        if status != Queued {
            jobs.answer(THING, "start-next", &with_timer).unwrap();
        }
        match status {
            Queued | InProgress => {}
            Canceled => assert!(jobs.cancel("job", true)),
            TimedOut => assert!(jobs.time_out("job")),
            Removed => assert!(jobs.remove("job")),
            other => assert!(updated(&mut jobs, other.as_str())),
        }
        assert_eq!(jobs.of_job("job").unwrap().status, status);
        jobs
    };
    for (name, event, from_queued, from_progress) in table {
        let rows = [(Queued, from_queued), (InProgress, from_progress)].into_iter();
        for (before, after) in rows.chain(terminal.map(|status| (status, None))) {
            let mut jobs = at(before);
            let version = jobs.of_job("job").unwrap().version;
            let is_done = event(&mut jobs);
            let execution = jobs.of_job("job").unwrap();
            assert_eq!((is_done, execution.status), (after.is_some(), after.unwrap_or(before)), "{name} at {before:?}");
            let changes = after.is_some() && (name, before) != ("start-next", InProgress);
            assert_eq!(execution.version, version + i64::from(changes), "{name} at {before:?}");
            assert_eq!(execution.history.last().unwrap().status, execution.status);
        }
    }
}

#[test]
fn requests_are_refused_with_the_codes_of_aws() {
    let updates = [
        (json!({"status": "SUCCEEDED", "expectedVersion": 1}), "VersionMismatch"),
        (json!({"status": "SUCCEEDED", "executionNumber": 2}), "ResourceNotFound"),
        (json!({"status": "QUEUED"}), "InvalidRequest"),
        (json!({}), "InvalidRequest"),
        (json!([]), "InvalidJson"),
        (json!({"status": "FAILED", "clientToken": "x".repeat(65)}), "InvalidRequest"),
        (json!({"status": "IN_PROGRESS", "stepTimeoutInMinutes": 10081}), "InvalidRequest"),
        (json!({"status": "FAILED", "statusDetails": {"a b": "x"}}), "InvalidRequest"),
        (json!({"status": "FAILED", "statusDetails": {"a": ""}}), "InvalidRequest"),
        (json!({"status": "FAILED", "statusDetails": {"a": 1}}), "InvalidRequest"),
        (json!({"status": "FAILED", "statusDetails": {"a": "x".repeat(1025)}}), "InvalidRequest"),
        (json!({"status": "FAILED", "statusDetails": {"a": "line\n"}}), "InvalidRequest"),
        (json!({"status": "FAILED", "statusDetails": {"a": "\u{202e}"}}), "InvalidRequest"),
        (json!({"status": "FAILED", "statusDetails": {"a": "\u{e000}"}}), "InvalidRequest"),
        (json!({"status": "FAILED", "statusDetails": {"a": "\u{378}"}}), "InvalidRequest"),
        (json!({"status": "SUCCEEDED", "statusDetails": {"a": "ü 🙂", "b:_-1": "x"}}), "accepted"),
    ];
    for (body, expected) in updates {
        let mut service = in_progress();
        assert_eq!(code(&mut service, "job/update", &body), expected, "{body}");
        assert_eq!(service.violations().len(), usize::from(expected.starts_with("Invalid")), "{body}");
    }
    let many: Map<String, Value> = (0..11).map(|n| (format!("k{n}"), json!("v"))).collect();
    let body = json!({"status": "FAILED", "statusDetails": many});
    assert_eq!(code(&mut in_progress(), "job/update", &body), "InvalidRequest");
    let mut service = in_progress();
    assert_eq!(code(&mut service, "other/update", &json!({"status": "FAILED"})), "ResourceNotFound");
    assert_eq!(code(&mut service, "job/what", &json!({})), "InvalidTopic");
    assert_eq!(code(&mut service, "job/update", &json!({"status": "FAILED"})), "accepted");
    assert_eq!(code(&mut service, "job/update", &json!({"status": "FAILED"})), "InvalidStateTransition");
    assert_eq!(code(&mut service, "job/get", &json!({})), "TerminalStateReached");
    service.jobs.delete("job");
    assert_eq!(code(&mut service, "job/get", &json!({})), "ResourceNotFound");
}

#[test]
fn a_mismatch_says_the_state_and_left_out_details_stay() {
    let mut service = in_progress();
    let body = json!({"status": "IN_PROGRESS", "expectedVersion": 2, "statusDetails": {"step": "1"}, "clientToken": "a",
        "includeJobExecutionState": true, "includeJobDocument": true});
    let (is_accepted, answer) = ask(&mut service, "job/update", &body);
    let state = json!({"status": "IN_PROGRESS", "statusDetails": {"step": "1"}, "versionNumber": 3});
    assert!(is_accepted);
    assert_eq!((&answer["executionState"], &answer["clientToken"]), (&state, &json!("a")));
    assert_eq!(answer["jobDocument"], json!({"operation": "restart"}));
    let (_, refusal) =
        ask(&mut service, "job/update", &json!({"status": "FAILED", "expectedVersion": 2, "clientToken": "b"}));
    assert_eq!((&refusal["executionState"], &refusal["clientToken"]), (&state, &json!("b")));
    let (_, answer) = ask(&mut service, "job/update", &json!({"status": "IN_PROGRESS", "expectedVersion": 3}));
    assert_eq!(answer.get("executionState"), None);
    assert_eq!(service.jobs.of_job("job").unwrap().details["step"], "1");
}

#[test]
fn what_is_in_progress_comes_first_and_with_what_was_said_of_it() {
    let mut service = Service::default();
    for job in ["first", "second"] {
        service.jobs.create(THING, job, json!({}), 0);
    }
    let (_, answer) = ask(&mut service, "start-next", &json!({"statusDetails": {"step": "1"}}));
    assert_eq!((&answer["execution"]["jobId"], &answer["execution"]["versionNumber"]), (&json!("first"), &json!(2)));
    let (_, again) = ask(&mut service, "start-next", &json!({"statusDetails": {"step": "2"}}));
    assert_eq!(again["execution"], answer["execution"], "nothing has changed");
    let (_, first) = ask(&mut service, "$next/get", &json!({}));
    assert_eq!(first["execution"]["statusDetails"]["step"], "1");
    ask(&mut service, "first/update", &json!({"status": "REJECTED"}));
    let (_, answer) = ask(&mut service, "start-next", &json!({}));
    assert_eq!(answer["execution"]["jobId"], "second");
    ask(&mut service, "second/update", &json!({"status": "SUCCEEDED"}));
    assert_eq!(ask(&mut service, "start-next", &json!({})).1.get("execution"), None);
}

#[test]
fn things_are_told_when_the_first_one_or_the_list_changes() {
    let mut service = Service::default();
    let mut news = |act: &dyn Fn(&mut Service)| -> Vec<(String, Value)> {
        act(&mut service);
        let said = service.news().into_iter();
        said.map(|Message { topic, payload, .. }| {
            let payload: Value = serde_json::from_str(&payload).unwrap();
            (topic.rsplit('/').next().unwrap().to_owned(), payload["execution"]["jobId"].clone())
        })
        .collect()
    };
    let list = || ("notify".to_owned(), Value::Null);
    let next = |job: Value| ("notify-next".to_owned(), job);
    assert_eq!(news(&|service| service.jobs.create(THING, "a", json!({}), 0)), [list(), next(json!("a"))]);
    assert_eq!(news(&|service| service.jobs.create(THING, "b", json!({}), 0)), [list()]);
    let start = |service: &mut Service| drop(service.jobs.answer(THING, "start-next", &Map::new()));
    assert_eq!(news(&start), [], "the first one stays it");
    assert_eq!(news(&|service| assert!(service.jobs.cancel("b", false))), [list()]);
    assert_eq!(news(&|service| assert!(service.jobs.time_out("a"))), [list(), next(Value::Null)]);
}

#[test]
fn what_fails_is_tried_again_as_another_execution() {
    let mut service = Service::default();
    service.jobs.create(THING, "job", json!({}), 2);
    for number in 1..=3 {
        let (_, answer) = ask(&mut service, "start-next", &json!({}));
        assert_eq!(answer["execution"]["executionNumber"], number);
        ask(&mut service, "job/update", &json!({"status": "FAILED", "executionNumber": number}));
    }
    assert_eq!(ask(&mut service, "start-next", &json!({})).1.get("execution"), None);
    assert_eq!(service.jobs.all().len(), 3);
    let late = json!({"status": "SUCCEEDED", "executionNumber": 1});
    assert_eq!(code(&mut service, "job/update", &late), "InvalidStateTransition");
}

#[test]
fn a_mood_changes_what_becomes_of_one_request() {
    for (mood, answers, is_done, expected) in [
        (Mood::Refuses("RequestThrottled"), 1, false, "RequestThrottled"),
        (Mood::Dead, 0, false, ""),
        (Mood::Silent, 0, true, ""),
        (Mood::Holds, 0, true, ""),
        (Mood::Repeats, 2, true, "accepted"),
    ] {
        let mut service = in_progress();
        service.treat(Kind::Update, mood);
        assert_eq!(code(&mut service, "job/get", &json!({})), "accepted", "it isn't meant");
        let said = service.hears(&format!("{JOBS}/job/update"), br#"{"status":"SUCCEEDED"}"#, false);
        let said: Vec<&Message> = said.iter().filter(|message| message.topic.contains("/update/")).collect();
        assert_eq!((said.len(), service.jobs.of_job("job").unwrap().status == Status::Succeeded), (answers, is_done));
        assert!(said.iter().all(|message| message.topic.ends_with(expected) || message.payload.contains(expected)));
        assert_eq!(service.release().len(), usize::from(mood == Mood::Holds));
    }
    assert_eq!(in_progress().requests(Kind::StartNext).count(), 1);
}

#[test]
fn a_command_is_answered_as_aws_says() {
    let respond = |service: &mut Service, body: &Value| -> String {
        let topic = "$aws/commands/things/thing-1/executions/e/response/json";
        let said = service.hears(topic, body.to_string().as_bytes(), false);
        let Some(answer) = said.first() else { return String::new() };
        let payload: Value = serde_json::from_str(&answer.payload).unwrap();
        assert_eq!(payload["executionId"], "e");
        assert_eq!(answer.topic.ends_with("/response/accepted/json"), payload.get("error").is_none());
        payload["error"].as_str().unwrap_or("accepted").to_owned()
    };
    let sent = || {
        let mut service = Service::default();
        service.commands.send(THING, "e");
        service
    };
    for (body, expected) in [
        (json!({"status": "SUCCEEDED", "result": {"exit_code": {"s": "0"}, "ok": {"b": true}}}), "accepted"),
        (json!({"status": "FAILED", "statusReason": {"reasonCode": "EXIT_CODE", "reasonDescription": ""}}), "accepted"),
        (json!({"status": "TIMED_OUT"}), "accepted"),
        (json!({"status": "CREATED"}), "InvalidRequest"),
        (json!({"status": "FAILED", "statusReason": {"reasonCode": "exit"}}), "InvalidRequest"),
        (json!({"status": "FAILED", "statusReason": {"reasonCode": "X".repeat(65)}}), "InvalidRequest"),
        (
            json!({"status": "FAILED", "statusReason": {"reasonCode": "X", "reasonDescription": "a\tb"}}),
            "InvalidRequest",
        ),
        (
            json!({"status": "FAILED", "statusReason": {"reasonCode": "X", "reasonDescription": "x".repeat(1025)}}),
            "InvalidRequest",
        ),
        (json!({"status": "SUCCEEDED", "result": {"a": "b"}}), "InvalidRequest"),
        (json!({"status": "SUCCEEDED", "result": {"a": {"s": ""}}}), "InvalidRequest"),
        (json!({"status": "SUCCEEDED", "clientToken": "x"}), "InvalidRequest"),
    ] {
        let mut service = sent();
        assert_eq!(respond(&mut service, &body), expected, "{body}");
        let is_over = service.commands.get("e").unwrap().is_over;
        assert_eq!(is_over, expected == "accepted");
        if is_over {
            assert_eq!(respond(&mut service, &json!({"status": "FAILED"})), "TerminalStateReached");
        }
    }
    let mut service = sent();
    service.commands.time_out("e");
    assert_eq!(respond(&mut service, &json!({"status": "IN_PROGRESS"})), "InvalidStateTransition");
    assert_eq!(respond(&mut service, &json!({"status": "SUCCEEDED"})), "accepted", "AWS's own isn't the end");
    let mut service = sent();
    service.treat(Kind::Response, Mood::Holds);
    assert_eq!(respond(&mut service, &json!({"status": "IN_PROGRESS"})), "");
    assert_eq!(respond(&mut service, &json!({"status": "SUCCEEDED"})), "DataConflict");
    assert_eq!(service.release().len(), 1);
    assert_eq!(respond(&mut service, &json!({"status": "SUCCEEDED"})), "accepted");
    service.commands.delete("e");
    assert_eq!(respond(&mut service, &json!({"status": "FAILED"})), "ResourceNotFound");
}

#[test]
fn the_aws_sdk_for_python_works_through_jobs() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let interpreter = tests.join(".venv/bin/python3");
    assert!(interpreter.exists(), "{} isn't there: `make test` makes it", interpreter.display());
    let (broker, cloud) = Cloud::start();
    cloud.create_job("first", json!({"operation": "restart", "args": ["a"]}));
    cloud.create_job("second", json!({"version": "1.0", "steps": []}));
    let mut command = Command::new(interpreter);
    command.arg(tests.join("python/jobs.py")).arg(broker.port.to_string());
    command.arg(CERTIFICATES.path("x").parent().unwrap()).args(["test-sdk-jobs", THING, "3"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut expected = vec![json!({"queued": ["first", "second"], "in_progress": []})];
    for (job, document) in
        [("first", json!({"operation": "restart", "args": ["a"]})), ("second", json!({"version": "1.0", "steps": []}))]
    {
        expected.extend([
            json!({"job": job, "document": document, "status": "IN_PROGRESS", "version": 2}),
            json!({"status": "IN_PROGRESS", "details": {"step": "1"}, "version": 3}),
            json!({"code": "VersionMismatch", "version": 3}),
            json!({"status": "SUCCEEDED", "version": 4}),
        ]);
    }
    expected.push(json!({"none": true}));
    assert_eq!(lines, expected);
    assert_eq!(cloud.execution("second").details["step"], "1");
}
