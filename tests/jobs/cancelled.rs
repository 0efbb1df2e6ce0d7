//! Jobs that are cancelled, deleted or timed out.

use super::*;

#[test]
fn what_is_cancelled_before_it_begins_never_does() {
    let (broker, cloud) = Cloud::start();
    cloud.create_job("job-1", operation("go"));
    cloud.create_job("job-2", operation("go"));
    assert!(cloud.cancel("job-1", false));
    let gatewire = setup(broker.port, &[Action { name: "go", keys: "", script: "" }]).connect();
    cloud.wait_for("job-2", Status::Succeeded);
    assert_eq!(begun(gatewire.directory()).len(), 1);
    assert_eq!(cloud.execution("job-1").status, Status::Canceled);
}

#[test]
fn what_is_cancelled_deleted_or_timed_out_in_the_middle_is_ended_and_the_next_job_runs() {
    for end in ["cancel", "delete", "time out"] {
        let next = Action { name: "next", keys: "", script: "" };
        let (_broker, cloud, gatewire) = start(&[WAITING, next]);
        cloud.create_job("job-1", operation("wait"));
        let process = waiting(gatewire.directory());
        cloud.create_job("job-2", operation("next"));
        match end {
            "cancel" => assert!(cloud.cancel("job-1", true)),
            "delete" => cloud.delete("job-1"),
            _ => cloud.time_out("job-1"),
        }
        cloud.wait_for("job-2", Status::Succeeded);
        is_gone(&process);
        assert_eq!(begun(gatewire.directory()), ["wait", "next"], "{end}");
        if end != "delete" {
            let status = if end == "cancel" { Status::Canceled } else { Status::TimedOut };
            assert_eq!(cloud.execution("job-1").status, status);
        }
    }
}

#[test]
fn what_is_cancelled_afterwards_stays_as_it_ended() {
    let (_broker, cloud, _gatewire) = start(&[Action { name: "go", keys: "", script: "" }]);
    cloud.create_job("job-1", operation("go"));
    cloud.wait_for("job-1", Status::Succeeded);
    assert!(!cloud.cancel("job-1", true));
    cloud.delete("job-1");
    cloud.create_job("job-2", operation("go"));
    cloud.wait_for("job-2", Status::Succeeded);
}

#[test]
fn what_was_cancelled_without_a_link_is_ended_once_there_is_one() {
    let (mut broker, cloud, gatewire) = start(&[WAITING]);
    cloud.create_job("job-1", operation("wait"));
    let process = waiting(gatewire.directory());
    broker.kill();
    assert!(cloud.cancel("job-1", true));
    broker.restart();
    is_gone(&process);
    assert_eq!(cloud.execution("job-1").status, Status::Canceled);
}
