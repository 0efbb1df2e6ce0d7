//! What a daemon that was killed, or has lost its database, has left.

use super::*;

#[test]
fn what_a_killed_daemon_left_is_ended_and_told_as_interrupted() {
    let (broker, cloud) = Cloud::start();
    let setup = setup(broker.port, &[WAITING]);
    let gatewire = setup.connect();
    cloud.create_job("job-1", operation("wait"));
    let process = waiting(gatewire.directory());
    gatewire.kill();
    let gatewire = setup.connect();
    let execution = cloud.wait_for("job-1", Status::Failed);
    assert!(!runs(&process), "it is ended before anything is told");
    assert!(detail(&execution, "reason").contains("interrupted"), "{:?}", execution.details);
    assert_eq!(begun(gatewire.directory()), ["wait"]);
}

#[test]
fn what_may_run_again_does_after_the_daemon_was_killed() {
    let (broker, cloud) = Cloud::start();
    let setup = setup(broker.port, &[Action { name: "wait", keys: "rerun = true", script: WAITS }]);
    let gatewire = setup.connect();
    cloud.create_job("job-1", operation("wait"));
    let process = waiting(gatewire.directory());
    gatewire.kill();
    let_go(setup.directory.path());
    let gatewire = setup.connect();
    cloud.wait_for("job-1", Status::Succeeded);
    is_gone(&process);
    assert_eq!(begun(gatewire.directory()), ["wait", "wait"]);
}

#[test]
fn what_was_cancelled_while_there_was_no_daemon_doesnt_run_again() {
    let (broker, cloud) = Cloud::start();
    let setup = setup(broker.port, &[Action { name: "wait", keys: "rerun = true", script: WAITS }]);
    let gatewire = setup.connect();
    cloud.create_job("job-1", operation("wait"));
    waiting(gatewire.directory());
    gatewire.kill();
    assert!(cloud.cancel("job-1", true));
    let_go(setup.directory.path());
    let gatewire = setup.connect();
    cloud.create_job("job-2", operation("wait"));
    cloud.wait_for("job-2", Status::Succeeded);
    assert_eq!(begun(gatewire.directory()), ["wait", "wait"], "once for each job");
    assert_eq!(cloud.execution("job-1").status, Status::Canceled);
}

#[test]
fn a_result_that_wasnt_told_is_told_by_the_next_daemon() {
    let (mut broker, cloud) = Cloud::start();
    let setup = setup(broker.port, &[WAITING]);
    let gatewire = setup.connect();
    cloud.create_job("job-1", operation("wait"));
    let process = waiting(gatewire.directory());
    broker.kill();
    let_go(setup.directory.path());
    is_gone(&process);
    // What it has noted by then counts.
    let notes = || std::fs::read(setup.directory.path().join("gatewire.db-wal")).unwrap_or_default();
    eventually("the result is noted", || String::from_utf8_lossy(&notes()).contains("SUCCEEDED").then_some(()));
    settled("the notes", || notes().len());
    gatewire.kill();
    broker.restart();
    let gatewire = setup.connect();
    cloud.wait_for("job-1", Status::Succeeded);
    assert_eq!(begun(gatewire.directory()), ["wait"]);
}

#[test]
fn what_was_begun_is_not_begun_again_by_a_daemon_without_its_database() {
    let (broker, cloud) = Cloud::start();
    let setup = setup(broker.port, &[WAITING]);
    let gatewire = setup.connect();
    cloud.create_job("job-1", operation("wait"));
    waiting(gatewire.directory());
    let directory = gatewire.directory().to_owned();
    gatewire.kill();
    for entry in std::fs::read_dir(&directory).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("gatewire.db") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    let gatewire = setup.connect();
    let execution = cloud.wait_for("job-1", Status::Failed);
    assert!(detail(&execution, "reason").contains("database"), "{:?}", execution.details);
    assert_eq!(begun(gatewire.directory()), ["wait"]);
    let_go(&directory);
}

#[test]
fn until_the_database_can_be_read_nothing_is_begun_and_nothing_told() {
    let (broker, cloud) = Cloud::start();
    let setup = setup(broker.port, &[WAITING]);
    let gatewire = setup.connect();
    cloud.create_job("job-1", operation("wait"));
    let process = waiting(gatewire.directory());
    gatewire.kill();
    let directory = setup.directory.path();
    let database = rusqlite::Connection::open(directory.join("gatewire.db")).unwrap();
    let lock = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE in_the_way (x); COMMIT; BEGIN EXCLUSIVE; DROP TABLE in_the_way";
    database.execute_batch(lock).unwrap();
    let gatewire = setup.connect();
    gatewire.wait_for("no job or command is begun until the database can be read");
    cloud.create_job("job-2", operation("wait"));
    assert_eq!(cloud.execution("job-1").status, Status::InProgress);
    assert!(runs(&process) && begun(directory) == ["wait"]);
    let jobs = || Some(gatewire.status()["services"]["jobs"].clone());
    let jobs = eventually("the status", || jobs().filter(|jobs| jobs["state"] == "waiting"));
    assert!(jobs["reason"].as_str().unwrap().starts_with("the database can't be read: "), "{jobs}");
    database.execute_batch("COMMIT").unwrap();
    drop(database);
    let execution = cloud.wait_for("job-1", Status::Failed);
    assert!(detail(&execution, "reason").contains("interrupted"), "{:?}", execution.details);
    is_gone(&process);
    let_go(directory);
    cloud.wait_for("job-2", Status::Succeeded);
    assert_eq!(begun(gatewire.directory()), ["wait", "wait"]);
}
