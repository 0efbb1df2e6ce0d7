//! AWS IoT Jobs: what the cloud may have this gateway do, from the job to its result.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "jobs/cancelled.rs"]
mod cancelled;
#[path = "jobs/killed.rs"]
mod killed;
mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::cloud::jobs::{Execution, Status};
use support::cloud::service::{Kind, Mood};
use support::cloud::{Cloud, THING};
use support::daemon::{Gatewire, Setup};
use support::device::both;
use support::mosquitto::Mosquitto;
use support::scripted::Broker;
use support::{eventually, patiently, settled};

/// An action whose script has these lines. It adds a line to `begun` when it begins; `$DIR` is the test's directory.
struct Action {
    name: &'static str,
    keys: &'static str,
    script: &'static str,
}

/// Waits for a file of the test, and leaves its process id.
const WAITS: &str =
    "echo $$ > $DIR/pid.part; mv $DIR/pid.part $DIR/pid\nuntil [ -e $DIR/go ] || [ ! -d $DIR ]; do sleep 0.05; done";

const WAITING: Action = Action { name: "wait", keys: "", script: WAITS };

fn setup(port: u16, actions: &[Action]) -> Setup {
    let mut rest = "[jobs]\n".to_owned();
    for Action { name, keys, .. } in actions {
        rest.push_str(&format!(
            "[[action]]\nname = \"{name}\"\nrun = [\"DIR/{name}\", \"{{{{args}}}}\"]\nargs = \"[a-z0-9-]+\"\n{keys}\n"
        ));
    }
    let setup = Setup::new(port, &rest);
    for Action { name, script, .. } in actions {
        let directory = setup.directory.path();
        let text = format!("#!/bin/sh\nDIR={}\necho {name} \"$@\" >> $DIR/begun\n{script}\n", directory.display());
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    setup
}

/// The actions that were begun, a line each.
fn begun(directory: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(directory.join("begun")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn operation(name: &str) -> Value {
    json!({"operation": name})
}

/// The process of an action that waits.
fn waiting(directory: &Path) -> PathBuf {
    let pid = eventually("the action waits", || std::fs::read_to_string(directory.join("pid")).ok());
    PathBuf::from(format!("/proc/{}", pid.trim()))
}

/// Whether a process runs: one that is dead stays in /proc until its parent has heard of it, which nobody may for an orphan.
fn runs(process: &Path) -> bool {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn is_gone(process: &Path) {
    patiently("the action's process is gone", || (!runs(process)).then_some(()));
}

fn let_go(directory: &Path) {
    std::fs::write(directory.join("go"), "").unwrap();
}

/// A daemon with these actions, connected.
fn start(actions: &[Action]) -> (Mosquitto, Cloud, Gatewire) {
    let (broker, cloud) = Cloud::start();
    let gatewire = setup(broker.port, actions).connect();
    (broker, cloud, gatewire)
}

fn detail<'a>(execution: &'a Execution, key: &str) -> &'a str {
    execution.details.get(key).map(String::as_str).unwrap_or_default()
}

#[test]
fn a_job_runs_its_action_and_its_result_is_in_the_cloud() {
    let action = Action { name: "restart", keys: "report_output = true", script: "echo done; echo careful >&2" };
    let (_broker, cloud, gatewire) = start(&[action]);
    cloud.create_job("job-1", json!({"operation": "restart", "args": ["zigbee2mqtt", "nodered"]}));
    let execution = cloud.wait_for("job-1", Status::Succeeded);
    assert_eq!(begun(gatewire.directory()), ["restart zigbee2mqtt nodered"]);
    assert_eq!((detail(&execution, "action"), detail(&execution, "exit_code")), ("restart", "0"));
    assert_eq!((detail(&execution, "stdout").trim(), detail(&execution, "stderr").trim()), ("done\\n", "careful\\n"));
    let statuses: Vec<Status> = execution.history.iter().map(|version| version.status).collect();
    assert_eq!((statuses.first(), statuses.last()), (Some(&Status::Queued), Some(&Status::Succeeded)));
    for update in cloud.requests(Kind::Update) {
        assert!(update["expectedVersion"].is_i64() && update["executionNumber"] == 1, "{update}");
    }
}

#[test]
fn a_job_that_has_the_configuration_read_again_is_named_in_the_journal() {
    let (_broker, cloud, gatewire) = start(&[Action { name: "restart", keys: "", script: "" }]);
    cloud.create_job("job-1", operation("gatewire:reload"));
    cloud.wait_for("job-1", Status::Succeeded);
    gatewire.wait_for("gatewire:reload: the configuration is read again: 0 publish, 0 forward, 0 ingest, 1 action");
    gatewire.signal("HUP");
    gatewire.wait_for("SIGHUP: the configuration is read again: 0 publish, 0 forward, 0 ingest, 1 action");
}

#[test]
fn a_job_that_is_there_already_runs_once_there_is_a_link() {
    let (broker, cloud) = Cloud::start();
    cloud.create_job("job-1", operation("go"));
    let _gatewire = setup(broker.port, &[Action { name: "go", keys: "", script: "" }]).connect();
    cloud.wait_for("job-1", Status::Succeeded);
}

#[test]
fn in_both_versions_of_mqtt_a_job_runs_though_the_link_is_lost_in_the_middle() {
    both(|version| {
        let (broker, cloud) = (Broker::start(), Cloud::alone());
        let setup = setup(broker.port, &[WAITING]).speaking(version.name());
        let gatewire = setup.start();
        let mut device = broker.connected_device(version, false);
        cloud.create_job("job-1", operation("wait"));
        let is_begun = || gatewire.path("pid").exists().then_some(());
        cloud.talk(&mut device, "the action is begun", |_| is_begun());
        // Nobody hears of the result for now.
        cloud.treat(Kind::Update, &[Mood::Dead]);
        let_go(gatewire.directory());
        cloud.talk(&mut device, "the result is told", |service| {
            service.requests(Kind::Update).find(|update| update["status"] == "SUCCEEDED").map(|_| ())
        });
        device.reset();
        let mut device = broker.connected_device(version, true);
        cloud.talk(&mut device, "the result is told again", |service| {
            service.jobs.of_job("job-1").filter(|execution| execution.status == Status::Succeeded).map(|_| ())
        });
        assert_eq!(begun(gatewire.directory()), ["wait"]);
    });
}

#[test]
fn an_action_that_fails_says_with_which_exit_code() {
    let (_broker, cloud, _gatewire) = start(&[Action { name: "fail", keys: "", script: "exit 7" }]);
    cloud.create_job("job-1", operation("fail"));
    let execution = cloud.wait_for("job-1", Status::Failed);
    assert_eq!((detail(&execution, "action"), detail(&execution, "exit_code")), ("fail", "7"));
    assert!(!execution.details.contains_key("stdout"), "only if report_output says so: {:?}", execution.details);
}

#[test]
fn what_no_action_takes_is_rejected_with_the_reason() {
    let (_broker, cloud, gatewire) = start(&[Action { name: "listed", keys: "max_args = 2", script: "" }]);
    let step = |action: Value| json!({"version": "1.0", "steps": [{"action": action}]});
    let documents = [
        operation("unlisted"),
        json!({"operation": "listed", "args": ["a;b"]}),
        json!({"operation": "listed", "args": ["a", "b", "c"]}),
        json!({"operation": "listed", "args": "a"}),
        json!({"operation": 5}),
        json!({}),
        json!([]),
        json!({"version": "9.9", "steps": []}),
        json!({"version": "1.0", "steps": [{"action": {"name": "listed"}}]}),
        json!({"version": "1.0", "steps": vec![json!({"action": {"name": "a", "type": "runHandler", "input": {"handler": "x"}}}); 21]}),
        step(json!({"name": "a", "type": "runCommand", "input": {"command": "rm,-rf,/"}})),
        step(json!({"name": "a", "type": "runHandler", "input": {"handler": "/bin/sh", "args": ["-c", "id"]}})),
    ];
    for (n, document) in documents.iter().enumerate() {
        let job = format!("job-{n}");
        cloud.create_job(&job, document.clone());
        let execution = cloud.wait_for(&job, Status::Rejected);
        assert!(!detail(&execution, "reason").is_empty(), "{document}: {:?}", execution.details);
        let is_named = document["operation"] == "listed" && document["args"].is_array();
        assert_eq!(detail(&execution, "action"), if is_named { "listed" } else { "" }, "{document}");
    }
    assert_eq!(begun(gatewire.directory()), Vec::<String>::new());
}

#[test]
fn an_action_that_takes_too_long_is_ended_with_all_its_processes() {
    let script = "sleep 600 &\necho $! > $DIR/pid.part; mv $DIR/pid.part $DIR/pid\nwait";
    let (_broker, cloud, gatewire) = start(&[Action { name: "slow", keys: "timeout = \"1s\"", script }]);
    // On a slow machine the time may be over before it has come so far.
    let mut jobs = (1..10).map(|n| format!("job-{n}"));
    let execution = jobs.find_map(|job| {
        cloud.create_job(&job, operation("slow"));
        let execution = cloud.wait_for(&job, Status::Failed);
        gatewire.path("pid").exists().then_some(execution)
    });
    let execution = execution.expect("an action that has begun in time");
    is_gone(&waiting(gatewire.directory()));
    assert!(!detail(&execution, "reason").is_empty(), "{:?}", execution.details);
    assert_eq!(execution.history.iter().filter(|version| version.status == Status::InProgress).count().min(1), 1);
}

#[test]
fn aws_is_told_how_long_an_action_may_take() {
    let action = Action { name: "wait", keys: "timeout = \"90s\"", script: WAITS };
    let (_broker, cloud, gatewire) = start(&[action]);
    cloud.create_job("job-1", operation("wait"));
    waiting(gatewire.directory());
    assert_eq!(cloud.execution("job-1").step_minutes, Some(3));
    let_go(gatewire.directory());
    cloud.wait_for("job-1", Status::Succeeded);
}

#[test]
fn a_job_that_is_delivered_again_and_again_runs_once() {
    let (_broker, cloud, gatewire) = start(&[WAITING]);
    cloud.treat(Kind::StartNext, &[Mood::Repeats, Mood::Repeats]);
    cloud.treat(Kind::Update, &[Mood::Repeats]);
    cloud.create_job("job-1", operation("wait"));
    waiting(gatewire.directory());
    cloud.repeat();
    let notice = json!({"timestamp": 1, "execution": {"jobId": "job-1", "status": "QUEUED", "queuedAt": 1, "lastUpdatedAt": 1,
        "versionNumber": 1, "executionNumber": 1, "jobDocument": operation("wait")}});
    cloud.say(&format!("$aws/things/{THING}/jobs/notify-next"), &notice.to_string());
    let_go(gatewire.directory());
    cloud.wait_for("job-1", Status::Succeeded);
    cloud.repeat();
    cloud.say(&format!("$aws/things/{THING}/jobs/notify-next"), &notice.to_string());
    cloud.create_job("job-2", operation("wait"));
    cloud.wait_for("job-2", Status::Succeeded);
    assert_eq!(begun(gatewire.directory()), ["wait", "wait"]);
}

#[test]
fn jobs_run_one_after_the_other() {
    let alone = "mkdir $DIR/lock || exit 1\nsleep 0.2\nrmdir $DIR/lock";
    let (_broker, cloud, gatewire) = start(&[Action { name: "alone", keys: "", script: alone }]);
    for n in 1..=4 {
        cloud.create_job(&format!("job-{n}"), json!({"operation": "alone", "args": [n.to_string()]}));
    }
    for n in 1..=4 {
        cloud.wait_for(&format!("job-{n}"), Status::Succeeded);
    }
    assert_eq!(begun(gatewire.directory()), ["alone 1", "alone 2", "alone 3", "alone 4"]);
}

#[test]
fn what_fails_may_be_tried_again_by_aws() {
    let script = "[ $(wc -l < $DIR/begun) -ge 3 ]";
    let (_broker, cloud, gatewire) = start(&[Action { name: "flaky", keys: "", script }]);
    cloud.create_job_with_retries("job-1", operation("flaky"), 5);
    assert_eq!(cloud.wait_for("job-1", Status::Succeeded).number, 3);
    assert_eq!(begun(gatewire.directory()).len(), 3);
}

#[test]
fn a_result_arrives_though_the_link_was_lost_in_the_middle() {
    let (_broker, cloud, gatewire) = start(&[WAITING]);
    cloud.create_job("job-1", operation("wait"));
    waiting(gatewire.directory());
    cloud.cut_link();
    gatewire.wait_for_nth("connected to", 2);
    let_go(gatewire.directory());
    cloud.wait_for("job-1", Status::Succeeded);
    assert_eq!(begun(gatewire.directory()), ["wait"]);
}

#[test]
fn a_result_waits_for_the_link() {
    let (mut broker, cloud, gatewire) = start(&[WAITING]);
    cloud.create_job("job-1", operation("wait"));
    let process = waiting(gatewire.directory());
    broker.kill();
    let_go(gatewire.directory());
    is_gone(&process);
    broker.restart();
    cloud.wait_for("job-1", Status::Succeeded);
    assert_eq!(begun(gatewire.directory()), ["wait"]);
}

#[test]
fn ten_megabytes_of_output_hold_up_nothing() {
    let script =
        "head -c 10000000 /dev/zero | tr '\\0' e >&2; head -c 10000000 /dev/zero | tr '\\0' o; echo last; echo end >&2";
    let (_broker, cloud, gatewire) = start(&[Action { name: "loud", keys: "report_output = true", script }]);
    cloud.create_job("job-1", operation("loud"));
    let execution = cloud.wait_for("job-1", Status::Succeeded);
    let (stdout, stderr) = (detail(&execution, "stdout"), detail(&execution, "stderr"));
    assert!(stdout.contains("last") && stderr.contains("end"), "the ends are told: {stdout:.100} {stderr:.100}");
    assert!(gatewire.own_memory_peak() < 60_000, "{} KiB", gatewire.own_memory_peak());
}

#[test]
fn output_of_any_kind_becomes_what_aws_takes() {
    let script = "printf 'a\\tb\\033[31m\\303\\274\\000\\377\\342\\200\\256\\356\\200\\200\\n%.0s' $(seq 500); exit 3";
    let (_broker, cloud, _gatewire) = start(&[Action { name: "odd", keys: "report_output = true", script }]);
    cloud.create_job("job-1", operation("odd"));
    let execution = cloud.wait_for("job-1", Status::Failed);
    assert!(detail(&execution, "stdout").contains('ü'), "{:?}", execution.details);
}

#[test]
fn throttling_faults_and_lost_answers_change_nothing() {
    let (_broker, cloud, gatewire) = start(&[Action { name: "go", keys: "", script: "" }]);
    cloud.treat(Kind::StartNext, &[Mood::Refuses("InternalError")]);
    cloud.treat(Kind::Update, &[Mood::Refuses("RequestThrottled"), Mood::Repeats, Mood::Refuses("InternalError")]);
    cloud.create_job("job-1", operation("go"));
    let execution = patiently("job-1 has succeeded", || {
        Some(cloud.execution("job-1")).filter(|execution| execution.status == Status::Succeeded)
    });
    assert_eq!(execution.version, 4, "{:?}", execution.history);
    assert_eq!(begun(gatewire.directory()), ["go"]);
}

#[test]
fn without_jobs_nothing_of_them_is_subscribed_to() {
    let (broker, cloud) = Cloud::start();
    cloud.create_job("job-1", operation("go"));
    let gatewire = Setup::new(broker.port, "").connect();
    let _ = gatewire.stop();
    let log = broker.log();
    let mut subscriptions = log.lines().filter(|line| line.contains(" thing-1 1 $aws/"));
    assert_eq!(subscriptions.next(), None, "{log}");
    assert_eq!(cloud.execution("job-1").status, Status::Queued);
}

#[test]
fn a_thing_that_aws_does_not_know_is_named_and_the_status_says_refused() {
    let (broker, cloud) = Cloud::start();
    cloud.treat(Kind::StartNext, &[Mood::Refuses("ResourceNotFound")]);
    let gatewire = setup(broker.port, &[WAITING]).connect();
    let told = gatewire.wait_for("AWS IoT Jobs refuses start-next: ResourceNotFound");
    assert!(told.contains("no thing `thing-1`") && told.contains("connection.thing"), "{told}");
    let jobs = || gatewire.status()["services"]["jobs"].clone();
    let jobs = eventually("the status", || Some(jobs()).filter(|jobs| jobs["state"] == "refused"));
    assert!(jobs["reason"].as_str().unwrap().starts_with("start-next: ResourceNotFound"), "{jobs}");
    assert!(jobs["next_attempt"].is_string(), "{jobs}");
    // So is a reload a reason to ask again at once, and news from AWS.
    cloud.treat(Kind::StartNext, &[Mood::Refuses("ResourceNotFound")]);
    let asked = cloud.requests(Kind::StartNext).len();
    gatewire.signal("HUP");
    eventually("another start-next", || (cloud.requests(Kind::StartNext).len() > asked).then_some(()));
    cloud.create_job("job-1", operation("wait"));
    waiting(gatewire.directory());
    eventually("that it can be used", || (gatewire.status()["services"]["jobs"]["state"] == "ready").then_some(()));
    let_go(gatewire.directory());
    cloud.wait_for("job-1", Status::Succeeded);
}
