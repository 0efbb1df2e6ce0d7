//! `gatewire jobs`, with a daemon and without.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nix::unistd::geteuid;
use rusqlite::Connection;
use serde_json::{Value, json};
use support::closed_port;
use support::daemon::Setup;

const NOTHING: &str = "no job or command of AWS IoT has come to this gateway yet\n";

/// What a daemon would have noted.
fn note(setup: &Setup, note: &str) {
    let database = Connection::open(setup.directory.path().join("gatewire.db")).unwrap();
    let set = "INSERT OR REPLACE INTO note (name, value) VALUES ('jobs', ?1)";
    assert_eq!(database.execute(set, [note]).unwrap(), 1);
}

fn executions() -> Value {
    json!({"executions": [
        {"at": "2026-01-31T12:00:00.123Z", "kind": "job", "id": "restart-1", "execution": 2, "action": "restart",
         "status": "FAILED", "reason": "exit code 3"},
        {"at": "2026-01-31T12:05:00.000Z", "kind": "command", "id": "0b71", "execution": null, "action": null,
         "status": "REJECTED", "reason": null},
    ]})
}

#[test]
fn without_a_daemon_the_list_is_read_from_the_database() {
    let setup = Setup::new(closed_port(), "[jobs]\n");
    let done = |text: &str| (0, text.to_owned(), String::new());
    assert_eq!(setup.output("jobs"), done(NOTHING), "there is no database yet");
    let gatewire = setup.start();
    gatewire.status();
    assert_eq!(setup.output("jobs"), done(NOTHING), "the daemon knows of none");
    assert_eq!(setup.output_of(&["jobs", "--json"]), done("{\"executions\":[]}\n"));
    assert_eq!(gatewire.status()["executions"], json!([]));
    gatewire.stop();
    assert_eq!(setup.output("jobs"), done(NOTHING));
    let without = setup.again().edit("[jobs]\n", "");
    let none_can = "no job or command of AWS IoT has come to this gateway, and none can: the configuration has neither [jobs] nor \
                    [commands]\n";
    assert_eq!(without.output("jobs"), done(none_can));
    note(&setup, &executions().to_string());
    let table = "TIME                     JOB        EXECUTION  ACTION   STATUS\n\
                 2026-01-31 12:00:00 UTC  restart-1  2          restart  FAILED    exit code 3\n\
                 2026-01-31 12:05:00 UTC  0b71       command    -        REJECTED\n";
    assert_eq!(setup.output("jobs"), done(table));
    let (code, json, said) = setup.output_of(&["jobs", "--json"]);
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), executions());
}

#[test]
fn after_a_kill_the_list_is_what_was_written_last() {
    let setup = Setup::new(closed_port(), "");
    let gatewire = setup.start();
    gatewire.wait_for("keeps a link");
    gatewire.stop();
    // The log isn't copied into the database, as a daemon that is killed leaves it.
    let directory = setup.directory.path();
    let database = Connection::open(directory.join("gatewire.db")).unwrap();
    database.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0").unwrap();
    let set = "INSERT OR REPLACE INTO note (name, value) VALUES ('jobs', ?1)";
    database.execute(set, [executions().to_string()]).unwrap();
    let (code, json, _) = setup.output_of(&["jobs", "--json"]);
    assert_eq!((code, serde_json::from_str::<Value>(&json).unwrap()), (0, executions()));
}

#[test]
fn what_cannot_be_asked_is_said_with_what_to_do() {
    let setup = Setup::new(closed_port(), "");
    let gatewire = setup.start();
    gatewire.status();
    let database = setup.directory.path().join("gatewire.db").display().to_string();
    // As after an edit of the configuration.
    let moved = setup.again().edit("status.sock", "moved.sock");
    let (code, said, why) = moved.output("jobs");
    assert_eq!((code, said.as_str()), (69, ""));
    assert!(why.contains(&format!("a gatewire uses the database {database}")) && why.lines().count() == 1, "{why}");
    gatewire.stop();
    fs::write(&database, "not a database\n".repeat(1000)).unwrap();
    let (code, said, why) = setup.output("jobs");
    assert_eq!((code, said.as_str()), (69, ""));
    assert!(why.starts_with("gatewire isn't running, and its database can't be read: "), "{why}");
    let (code, _, why) = setup.edit("[outbox]", "[outbux]").output("jobs");
    assert_eq!(code, 78);
    assert!(why.contains("outbux"), "{why}");
}

#[test]
fn who_may_not_read_the_database_is_told_who_may() {
    if !geteuid().is_root() {
        return;
    }
    let setup = Setup::new(closed_port(), "");
    let gatewire = setup.start();
    gatewire.wait_for("keeps a link");
    gatewire.stop();
    let directory = setup.directory.path();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    let another = setup.again().under(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    let (code, said, why) = another.output("jobs");
    assert_eq!((code, said.as_str()), (69, ""));
    let advice = format!("`sudo gatewire --config {}/gatewire.toml jobs` lists what is in it", directory.display());
    assert!(why.contains("the user nobody may not read its database") && why.contains(&advice), "{why}");
}
