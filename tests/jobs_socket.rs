//! Jobs that a program at `jobs.sock` does, from the cloud to its result; and `gatewire jobs` of them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use serde_json::{Value, json};
use support::cloud::Cloud;
use support::cloud::jobs::Status;
use support::daemon::{Gatewire, Setup};
use support::eventually;
use support::mosquitto::Mosquitto;
use support::socket::Client;

const JOBS: &str = "[jobs]\nsocket = \"DIR/jobs.sock\"\n";

/// An action beside it.
const ACTION: &str = "[[action]]\nname = \"listed\"\nrun = [\"/bin/true\"]\n";

fn start(rest: &str) -> (Mosquitto, Cloud, Setup, Gatewire) {
    let (broker, cloud) = Cloud::start();
    let setup = Setup::new(broker.port, &format!("{JOBS}{rest}"));
    let gatewire = setup.connect();
    (broker, cloud, setup, gatewire)
}

fn reader(gatewire: &Gatewire) -> Client {
    Client::connect(&gatewire.path("jobs.sock"))
}

/// The executions as `gatewire jobs` lists them, without their times.
fn listed(setup: &Setup) -> Vec<Value> {
    let (code, text, said) = setup.output_of(&["jobs", "--json"]);
    assert_eq!((code, said.as_str()), (0, ""));
    let mut list: Value = serde_json::from_str(&text).unwrap();
    let mut executions = list["executions"].take();
    let executions = executions.as_array_mut().unwrap();
    for execution in &mut *executions {
        let at = execution.as_object_mut().unwrap().remove("at").unwrap();
        assert!(at.as_str().unwrap().ends_with('Z'));
    }
    std::mem::take(executions)
}

fn entry(job: &str, action: Option<&str>, status: &str, reason: Option<&str>) -> Value {
    json!({"kind": "job", "id": job, "execution": 1, "action": action, "status": status, "reason": reason})
}

#[test]
fn a_program_does_what_no_action_takes_and_the_list_says_so() {
    let (_broker, cloud, setup, gatewire) = start(ACTION);
    cloud.create_job("job-1", json!({"operation": "calibrate", "probe": 3}));
    cloud.wait_for("job-1", Status::InProgress);
    // Nobody is there: it waits.
    eventually("it is under way", || {
        let services = &gatewire.status()["services"];
        (services["jobs"]["readers"] == 0 && services["jobs"]["execution"] == "job-1").then_some(())
    });
    let mut first = reader(&gatewire);
    let document = json!({"operation": "calibrate", "probe": 3});
    assert_eq!(first.json(), json!({"job": "job-1", "execution": 1, "document": document, "deadline": null}));
    assert_eq!(listed(&setup), [entry("job-1", Some("jobs.sock"), "IN_PROGRESS", None)]);
    first.send(r#"{"job":"job-1","progress":{"step":"1 of 2"}}"#);
    cloud.wait("its progress", |service| {
        let step = service.jobs.of_job("job-1")?.details.get("step")?;
        (step == "1 of 2").then_some(())
    });
    let mut second = reader(&gatewire);
    second.send(r#"{"job":"job-1","result":"succeeded"}"#);
    assert_eq!(second.json()["error"], "not_yours");
    drop(first);
    assert_eq!(second.json()["job"], "job-1", "a reader that goes leaves it to the next");
    second.send(r#"{"job":"job-1","execution":1,"result":"failed","details":{"reason":"the probe is gone"}}"#);
    let execution = cloud.wait_for("job-1", Status::Failed);
    assert_eq!(execution.details["reason"], "the probe is gone");
    // An action takes this one, and this isn't as the action wants it: neither is for the socket.
    cloud.create_job("job-2", json!({"operation": "listed"}));
    cloud.wait_for("job-2", Status::Succeeded);
    cloud.create_job("job-3", json!({"operation": "listed", "args": ["-x"]}));
    cloud.wait_for("job-3", Status::Rejected);
    let is_over = |list: &Vec<Value>| list.len() == 3 && list.iter().all(|one| one["status"] != "IN_PROGRESS");
    let list = eventually("all are over", || Some(listed(&setup)).filter(is_over));
    assert_eq!(
        list[..2],
        [
            entry("job-1", Some("jobs.sock"), "FAILED", Some("the probe is gone")),
            entry("job-2", Some("listed"), "SUCCEEDED", None),
        ]
    );
    assert_eq!((&list[2]["status"], &list[2]["action"]), (&json!("REJECTED"), &json!("listed")));
    second.send(r#"{"job":"job-2","result":"failed"}"#);
    assert_eq!(second.json()["error"], "not_yours", "it was given nothing of that");
    gatewire.stop();
    assert_eq!(listed(&setup), list, "without a daemon, too");
}

#[test]
fn a_cancelled_job_is_taken_back_and_the_next_is_given() {
    let (_broker, cloud, setup, gatewire) = start("");
    let mut reader = reader(&gatewire);
    cloud.create_job("job-1", json!({"do": 1}));
    assert_eq!(reader.json()["job"], "job-1");
    cloud.create_job("job-2", json!(["do", 2]));
    assert!(cloud.cancel("job-1", true));
    assert_eq!(reader.json(), json!({"job": "job-1", "cancelled": true}));
    let next = reader.json();
    assert_eq!((&next["job"], &next["document"]), (&json!("job-2"), &json!(["do", 2])));
    reader.send(r#"{"job":"job-1","result":"succeeded"}"#);
    assert_eq!(reader.json()["error"], "not_yours");
    reader.send(r#"{"job":"job-2","result":"succeeded"}"#);
    cloud.wait_for("job-2", Status::Succeeded);
    let list = eventually("both are over", || {
        let list = listed(&setup);
        (list.len() == 2 && list.iter().all(|execution| execution["status"] != "IN_PROGRESS")).then_some(list)
    });
    let statuses: Vec<&Value> = list.iter().map(|execution| &execution["status"]).collect();
    assert_eq!(statuses, ["CANCELED", "SUCCEEDED"]);
}

#[test]
fn after_a_kill_the_job_is_given_to_a_reader_again() {
    let (_broker, cloud, setup, gatewire) = start("");
    let mut before = reader(&gatewire);
    cloud.create_job("job-1", json!({"do": 1}));
    let given = before.json();
    gatewire.kill();
    assert_eq!(before.line(), None);
    assert_eq!(listed(&setup), [entry("job-1", Some("jobs.sock"), "IN_PROGRESS", None)]);
    let gatewire = setup.connect();
    let mut after = reader(&gatewire);
    assert_eq!(after.json(), given, "whether it was begun, the reader knows");
    after.send(r#"{"job":"job-1","execution":1,"result":"succeeded"}"#);
    drop(after);
    cloud.wait_for("job-1", Status::Succeeded);
    let in_progress =
        cloud.execution("job-1").history.iter().filter(|version| version.status == Status::Succeeded).count();
    assert_eq!(in_progress, 1);
}

#[test]
fn without_its_socket_a_job_fails_and_the_next_is_rejected() {
    let (_broker, cloud, setup, gatewire) = start("");
    let mut reader = reader(&gatewire);
    cloud.create_job("job-1", json!({"do": 1}));
    assert_eq!(reader.json()["job"], "job-1");
    let _setup = setup.again().edit(
        "\nsocket = \"DIR/jobs.sock\"\n".replace("DIR", &setup.directory.path().display().to_string()).as_str(),
        "\n",
    );
    gatewire.signal("HUP");
    let execution = cloud.wait_for("job-1", Status::Failed);
    assert_eq!(execution.details["reason"], "the configuration has changed: jobs.socket was removed");
    cloud.create_job("job-2", json!({"do": 1}));
    cloud.wait_for("job-2", Status::Rejected);
}

#[test]
fn a_reload_leaves_a_job_with_its_reader() {
    let (_broker, cloud, setup, gatewire) = start("");
    let mut reader = reader(&gatewire);
    cloud.create_job("job-1", json!({"do": 1}));
    assert_eq!(reader.json()["job"], "job-1");
    let _setup = setup.again().edit("[jobs]\n", &format!("[commands]\n{ACTION}[jobs]\n"));
    gatewire.signal("HUP");
    eventually("the configuration is in use", || {
        (gatewire.status()["services"]["commands"]["state"] == "ready").then_some(())
    });
    reader.send(r#"{"job":"job-1","progress":{}}"#);
    reader.send("{}");
    assert_eq!(reader.json()["error"], "bad_line", "it was neither cancelled nor given again");
    reader.send(r#"{"job":"job-1","result":"succeeded"}"#);
    cloud.wait_for("job-1", Status::Succeeded);
}

#[test]
fn what_a_reader_had_no_action_begins_after_a_kill() {
    let (_broker, cloud, setup, gatewire) = start("");
    cloud.create_job("job-1", json!({"operation": "listed"}));
    let mut first = reader(&gatewire);
    assert_eq!(first.json()["job"], "job-1");
    first.send(r#"{"job":"job-1","progress":{"step":"1 of 2"}}"#);
    cloud.wait("its progress", |service| service.jobs.of_job("job-1")?.details.get("step").map(|_| ()));
    gatewire.kill();
    let _gatewire = setup.edit("[jobs]\n", &format!("{ACTION}[jobs]\n")).connect();
    let execution = cloud.wait_for("job-1", Status::Failed);
    assert!(execution.details["reason"].starts_with("interrupted: "), "{:?}", execution.details);
    cloud.create_job("job-2", json!({"operation": "listed"}));
    cloud.wait_for("job-2", Status::Succeeded);
}

#[test]
fn what_an_action_had_begun_no_reader_is_given_after_a_kill() {
    let (_broker, cloud, setup, gatewire) = start("[[action]]\nname = \"wait\"\nrun = [\"/bin/sleep\", \"1000\"]\n");
    cloud.create_job("job-1", json!({"operation": "wait"}));
    gatewire.wait_for("job job-1, execution 1: begun");
    let process = gatewire.pid();
    eventually("its process", || {
        let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
        (!children.trim().is_empty()).then_some(())
    });
    gatewire.kill();
    let gatewire = setup.edit("name = \"wait\"", "name = \"another\"").connect();
    let mut first = reader(&gatewire);
    let execution = cloud.wait_for("job-1", Status::Failed);
    assert!(execution.details["reason"].starts_with("interrupted: "), "{:?}", execution.details);
    cloud.create_job("job-2", json!({"operation": "wait"}));
    assert_eq!(first.json()["job"], "job-2", "it is given this one only");
}
