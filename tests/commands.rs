//! AWS IoT Device Management commands: what the cloud may have this gateway do at once, from the command to its result.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::cloud::jobs::Status;
use support::cloud::service::{Kind, Mood};
use support::cloud::{Cloud, THING};
use support::daemon::{Gatewire, Setup};
use support::eventually;
use support::mosquitto::Mosquitto;

/// With the action `run`, whose script has these lines; it adds a line to `begun` when it begins.
fn setup(port: u16, sections: &str, keys: &str, script: &str) -> Setup {
    let action =
        format!("[[action]]\nname = \"run\"\nrun = [\"DIR/run\", \"{{{{args}}}}\"]\nargs = \"[a-z0-9]+\"\n{keys}\n");
    let setup = Setup::new(port, &format!("{sections}\n{action}"));
    let directory = setup.directory.path();
    let path = directory.join("run");
    let text = format!("#!/bin/sh\nDIR={}\necho run \"$@\" >> $DIR/begun\n{script}\n", directory.display());
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    setup
}

const WAITS: &str = "touch $DIR/waits; until [ -e $DIR/go ] || [ ! -d $DIR ]; do sleep 0.05; done";

fn waits(directory: &Path) {
    eventually("the action waits", || directory.join("waits").exists().then_some(()));
}

fn let_go(directory: &Path) {
    std::fs::write(directory.join("go"), "").unwrap();
}

fn begun(directory: &Path) -> usize {
    std::fs::read_to_string(directory.join("begun")).unwrap_or_default().lines().count()
}

fn start(sections: &str, keys: &str, script: &str) -> (Mosquitto, Cloud, Gatewire) {
    let (broker, cloud) = Cloud::start();
    let gatewire = setup(broker.port, sections, keys, script).connect();
    broker.wait_for("executions/+/response/+/json (QoS 1)");
    (broker, cloud, gatewire)
}

fn run() -> Value {
    json!({"operation": "run"})
}

/// Status and reason code of each response.
fn said(cloud: &Cloud, execution: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let responses = cloud.responses(execution);
    responses.iter().map(|said| (text(&said["status"]), text(&said["statusReason"]["reasonCode"]))).collect()
}

#[test]
fn a_command_runs_its_action_and_its_result_is_in_the_cloud() {
    let (_broker, cloud, gatewire) = start("[commands]", "report_output = true", "echo done");
    let sent = Instant::now();
    cloud.send_command("execution-1", &json!({"operation": "run", "args": ["a"]}), Some(60));
    let response = cloud.wait_for_command("execution-1", "SUCCEEDED");
    let took = sent.elapsed();
    assert_eq!(
        (&response["result"]["action"]["s"], &response["result"]["exit_code"]["s"]),
        (&json!("run"), &json!("0"))
    );
    assert!(response["result"]["stdout"]["s"].as_str().unwrap().starts_with("done"), "{response}");
    let said = said(&cloud, "execution-1").len();
    assert!(said == 1 || said == 2 && took >= Duration::from_secs(2), "{said} answers after {took:?}");
    assert_eq!(begun(gatewire.directory()), 1);
}

#[test]
fn what_takes_longer_is_in_progress_first() {
    let (_broker, cloud, gatewire) = start("[commands]", "", &format!("{WAITS}; exit 3"));
    cloud.treat(Kind::Response, &[Mood::Holds]);
    cloud.send_command("execution-1", &run(), Some(60));
    waits(gatewire.directory());
    cloud.wait_for_command("execution-1", "IN_PROGRESS");
    let_go(gatewire.directory());
    cloud.release();
    let response = cloud.wait_for_command("execution-1", "FAILED");
    assert_eq!(response["result"]["exit_code"]["s"], "3");
    assert_eq!(said(&cloud, "execution-1").len(), 2);
}

#[test]
fn what_no_action_takes_is_rejected() {
    let (broker, cloud, gatewire) = start("[commands]", "", "");
    for (n, payload) in
        [json!({"operation": "other"}), json!({"operation": "run", "args": ["A;B"]}), json!([])].iter().enumerate()
    {
        let execution = format!("execution-{n}");
        cloud.send_command(&execution, payload, None);
        let response = cloud.wait_for_command(&execution, "REJECTED");
        assert!(
            response["statusReason"]["reasonDescription"].as_str().is_some_and(|text| !text.is_empty()),
            "{response}"
        );
    }
    cloud.with(|service| service.commands.send(THING, "cbor"));
    broker.publish(&format!("$aws/commands/things/{THING}/executions/cbor/request/cbor"), b"\xa0");
    let response = cloud.wait_for_command("cbor", "REJECTED");
    assert_eq!(response["statusReason"]["reasonCode"], "UNSUPPORTED_FORMAT");
    assert_eq!(begun(gatewire.directory()), 0);
}

#[test]
fn a_command_that_comes_again_runs_once() {
    let (broker, cloud) = Cloud::start();
    let setup = setup(broker.port, "[commands]", "", "");
    let topic = format!("$aws/commands/things/{THING}/executions/execution-1/request/json");
    let mut gatewire = setup.connect();
    broker.wait_for("executions/+/response/+/json (QoS 1)");
    cloud.send_command("execution-1", &run(), Some(60));
    cloud.wait_for_command("execution-1", "SUCCEEDED");
    for _ in 0..2 {
        cloud.say(&topic, &run().to_string());
        cloud.send_command(&format!("after-{}", gatewire.pid()), &run(), Some(60));
        cloud.wait_for_command(&format!("after-{}", gatewire.pid()), "SUCCEEDED");
        gatewire.kill();
        gatewire = setup.connect();
    }
    assert_eq!(begun(gatewire.directory()), 3);
    // A slow machine says first that it is in progress.
    let results = said(&cloud, "execution-1").into_iter().filter(|(status, _)| status != "IN_PROGRESS");
    assert_eq!(results.count(), 1);
}

#[test]
fn what_a_killed_daemon_left_is_told_as_interrupted() {
    let (broker, cloud) = Cloud::start();
    let setup = setup(broker.port, "[commands]", "", WAITS);
    let gatewire = setup.connect();
    broker.wait_for("executions/+/response/+/json (QoS 1)");
    cloud.send_command("execution-1", &run(), Some(600));
    waits(gatewire.directory());
    gatewire.kill();
    let gatewire = setup.connect();
    let response = cloud.wait_for_command("execution-1", "FAILED");
    assert_eq!(response["statusReason"]["reasonCode"], "INTERRUPTED");
    assert_eq!(begun(gatewire.directory()), 1);
}

#[test]
fn what_waited_for_too_long_while_there_was_no_daemon_isnt_begun() {
    let (broker, cloud) = Cloud::start();
    let setup = setup(broker.port, "[commands]\nmax_age = \"1m\"", "", "");
    let gatewire = setup.connect();
    broker.wait_for("executions/+/response/+/json (QoS 1)");
    cloud.send_command("execution-1", &run(), Some(600));
    cloud.wait_for_command("execution-1", "SUCCEEDED");
    let (code, _) = gatewire.stop();
    assert_eq!(code, 0);
    let stopped = Instant::now();
    // The first one had to begin in its time, too.
    let setup = setup.edit("max_age = \"1m\"", "max_age = \"1s\"");
    cloud.send_command("execution-2", &run(), Some(600));
    eventually("it waits for longer than max_age", || (stopped.elapsed() > Duration::from_secs(3)).then_some(()));
    let gatewire = setup.connect();
    let response = cloud.wait_for_command("execution-2", "FAILED");
    assert_eq!(response["statusReason"]["reasonCode"], "TOO_OLD");
    assert_eq!(begun(gatewire.directory()), 1);
}

#[test]
fn commands_and_jobs_take_turns() {
    let (_broker, cloud, gatewire) =
        start("[jobs]\n[commands]", "", "mkdir $DIR/lock || exit 1\nsleep 0.2\nrmdir $DIR/lock");
    for n in 1..=3 {
        cloud.create_job(&format!("job-{n}"), run());
        cloud.send_command(&format!("execution-{n}"), &run(), Some(600));
    }
    for n in 1..=3 {
        cloud.wait_for(&format!("job-{n}"), Status::Succeeded);
        cloud.wait_for_command(&format!("execution-{n}"), "SUCCEEDED");
    }
    assert_eq!(begun(gatewire.directory()), 6);
}

#[test]
fn a_command_that_gets_no_turn_in_its_time_doesnt_run() {
    let (_broker, cloud, gatewire) = start("[commands]", "", WAITS);
    cloud.send_command("execution-1", &run(), Some(600));
    waits(gatewire.directory());
    cloud.send_command("execution-2", &run(), Some(2));
    cloud.wait_for_command("execution-2", "TIMED_OUT");
    assert_eq!(said(&cloud, "execution-2"), [("TIMED_OUT".to_owned(), "WAITED_TOO_LONG".to_owned())]);
    let_go(gatewire.directory());
    cloud.wait_for_command("execution-1", "SUCCEEDED");
    assert_eq!(begun(gatewire.directory()), 1);
}

#[test]
fn a_result_is_told_though_aws_says_that_its_time_has_passed() {
    let (_broker, cloud, gatewire) = start("[commands]", "", WAITS);
    cloud.send_command("execution-1", &run(), Some(60));
    waits(gatewire.directory());
    cloud.with(|service| service.commands.time_out("execution-1"));
    let_go(gatewire.directory());
    cloud.wait_for_command("execution-1", "SUCCEEDED");
}

#[test]
fn whatever_ran_between_two_kills_no_execution_is_begun_twice() {
    let (broker, cloud) = Cloud::start();
    let setup = setup(broker.port, "[jobs]\n[commands]", "", WAITS);
    let gatewire = setup.connect();
    broker.wait_for("executions/+/response/+/json (QoS 1)");
    cloud.create_job("job-1", run());
    waits(gatewire.directory());
    let waits_file = gatewire.path("waits");
    gatewire.kill();
    std::fs::remove_file(&waits_file).unwrap();
    cloud.send_command("execution-1", &run(), Some(600));
    let gatewire = setup.connect();
    waits(gatewire.directory());
    gatewire.kill();
    let gatewire = setup.connect();
    cloud.wait_for("job-1", Status::Failed);
    cloud.wait_for_command("execution-1", "FAILED");
    assert_eq!(begun(gatewire.directory()), 2, "once each");
}
