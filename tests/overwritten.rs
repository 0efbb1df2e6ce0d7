//! The database overwritten in place while it is used: the same file, with something else in it. What was called stored is there
//! after a kill, or said to be lost.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde_json::Value;
use support::daemon::{Gatewire, Setup};
use support::{closed_port, eventually};

const INGEST: &str = "[[ingest]]\nname = \"in\"\ntopics = [\"a/#\"]\nsocket = \"DIR/publish.sock\"\n";

const LINE: &str = r#"{"topic":"a/b","payload":"x"}"#;

fn line(number: usize, bytes: usize) -> String {
    format!("{{\"topic\":\"a/{number}\",\"payload\":\"{}\"}}", "x".repeat(bytes))
}

/// What a program does to the database at this path, or its log.
type Way = (&'static str, fn(&Path));

fn log_of(db: &Path) -> std::path::PathBuf {
    db.with_file_name("gatewire.db-wal")
}

fn set_len(path: &Path, len: u64) {
    File::options().write(true).open(path).unwrap().set_len(len).unwrap();
}

/// Writes into the middle of a file.
fn scribble(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

/// Another program's database.
fn other_database(db: &Path) -> Vec<u8> {
    let other = db.with_file_name("other");
    let _ = fs::remove_file(&other);
    let connection = rusqlite::Connection::open(&other).unwrap();
    connection.execute_batch("CREATE TABLE photos (name TEXT); INSERT INTO photos VALUES ('cat')").unwrap();
    connection.close().unwrap();
    fs::read(&other).unwrap()
}

const WAYS: [Way; 11] = [
    ("an empty log", |db| fs::write(log_of(db), "").unwrap()),
    ("an empty database", |db| fs::write(db, "").unwrap()),
    ("both empty", |db| {
        fs::write(db, "").unwrap();
        fs::write(log_of(db), "").unwrap();
    }),
    ("a word in the database", |db| fs::write(db, "x\n").unwrap()),
    ("a word in the log", |db| fs::write(log_of(db), "x\n").unwrap()),
    ("another program's database", |db| fs::write(db, other_database(db)).unwrap()),
    ("the database cut", |db| set_len(db, fs::metadata(db).unwrap().len() / 2)),
    ("the log cut", |db| set_len(&log_of(db), 5000)),
    ("the database full of NULs", |db| scribble(db, 0, &vec![0; fs::metadata(db).unwrap().len() as usize])),
    ("the log full of NULs", |db| {
        scribble(&log_of(db), 0, &vec![0; fs::metadata(log_of(db)).unwrap().len() as usize]);
    }),
    ("the middle of the log", |db| scribble(&log_of(db), 4000, &[0x5a; 3000])),
];

/// What the disk has after the daemon was killed.
fn stored_after_a_kill(setup: &Setup, gatewire: Gatewire) -> u64 {
    gatewire.kill();
    let gatewire = setup.again().start();
    gatewire.wait_for("keeps a link");
    gatewire.status()["outbox"]["stored"].as_u64().unwrap()
}

/// What was moved aside, once it is as much: the thread of the store says so, and others are told a little later.
fn moved_aside(gatewire: &Gatewire, n: usize) -> Vec<Value> {
    let moved = || gatewire.status()["store"]["moved_aside"].as_array().unwrap().clone();
    eventually("what was moved aside", || Some(moved()).filter(|moved| moved.len() == n))
}

#[test]
fn what_is_called_stored_is_there_whatever_is_written_over_the_database() {
    for (what, write) in WAYS {
        let setup = Setup::new(closed_port(), INGEST);
        let gatewire = setup.start();
        let mut client = gatewire.client("publish.sock");
        (0..20).for_each(|number| assert_eq!(client.ask(&line(number, 1000))["result"], "stored", "{what}"));
        write(&gatewire.path("gatewire.db"));
        assert_eq!(client.ask(LINE)["result"], "stored", "{what}");
        gatewire.wait_for("another program has written to");
        let aside = moved_aside(&gatewire, 1);
        assert!(Path::new(aside[0].as_str().unwrap()).exists(), "{what}: {aside:?}");
        assert_eq!(gatewire.count("nothing can be stored"), 0, "{what}");
        assert_eq!(stored_after_a_kill(&setup, gatewire), 21, "{what}");
    }
}

#[test]
fn it_is_noticed_though_nothing_is_written_by_us() {
    for (what, write) in WAYS {
        let setup = Setup::new(closed_port(), INGEST);
        let gatewire = setup.start();
        let mut client = gatewire.client("publish.sock");
        (0..20).for_each(|number| assert_eq!(client.ask(&line(number, 1000))["result"], "stored", "{what}"));
        write(&gatewire.path("gatewire.db"));
        gatewire.wait_for("another program has written to");
        eventually(what, || (gatewire.status()["store"]["restored"] == 1).then_some(()));
        assert_eq!(stored_after_a_kill(&setup, gatewire), 20, "{what}");
    }
}

#[test]
fn one_daemon_goes_through_all_of_them() {
    let setup = Setup::new(closed_port(), INGEST);
    let gatewire = setup.start();
    let mut client = gatewire.client("publish.sock");
    let mut stored = 0;
    for (what, write) in WAYS.iter().take(9) {
        assert_eq!(client.ask(&line(stored, 1000))["result"], "stored", "{what}");
        write(&gatewire.path("gatewire.db"));
        assert_eq!(client.ask(LINE)["result"], "stored", "{what}");
        stored += 2;
    }
    moved_aside(&gatewire, 9);
    assert_eq!(stored_after_a_kill(&setup, gatewire), stored as u64);
}

#[test]
fn what_costs_no_message_changes_nothing() {
    let ways: [Way; 6] = [
        ("the database extended", |db| set_len(db, 100 * 4096)),
        ("the database touched", |db| File::open(db).unwrap().set_modified(UNIX_EPOCH).unwrap()),
        ("the log touched", |db| File::open(log_of(db)).unwrap().set_modified(UNIX_EPOCH).unwrap()),
        ("what the log has anyway", |db| scribble(db, 4096, &[0x5a; 4096])),
        ("the database copied back", |db| scribble(db, 0, &fs::read(db).unwrap())),
        ("the log copied back", |db| scribble(&log_of(db), 0, &fs::read(log_of(db)).unwrap())),
    ];
    let setup = Setup::new(closed_port(), INGEST);
    let gatewire = setup.start();
    let mut client = gatewire.client("publish.sock");
    for (number, (what, write)) in ways.iter().enumerate() {
        assert_eq!(client.ask(&line(number, 1000))["result"], "stored", "{what}");
        write(&gatewire.path("gatewire.db"));
    }
    assert_eq!(client.ask(LINE)["result"], "stored");
    let store = gatewire.status()["store"].clone();
    assert!(store["restored"] == 0 && store["moved_aside"] == Value::Array(Vec::new()), "{store}");
    assert_eq!(stored_after_a_kill(&setup, gatewire), 7);
}

#[test]
fn another_gatewires_database_or_an_old_copy_does_not_take_its_place() {
    let other = Setup::new(closed_port(), INGEST);
    let gatewire = other.start();
    let mut client = gatewire.client("publish.sock");
    (0..30).for_each(|number| assert_eq!(client.ask(&line(number, 500))["result"], "stored"));
    let path = gatewire.path("gatewire.db");
    assert_eq!(gatewire.stop().0, 0);
    let another = fs::read(path).unwrap();

    let setup = Setup::new(closed_port(), INGEST);
    let gatewire = setup.start();
    let mut client = gatewire.client("publish.sock");
    (0..5).for_each(|number| assert_eq!(client.ask(&line(number, 1000))["result"], "stored"));
    let path = gatewire.path("gatewire.db");
    assert_eq!(gatewire.stop().0, 0);
    let old = fs::read(path).unwrap();

    for (n, copy) in [another, old].iter().enumerate() {
        let stored = 6 * n as u64;
        let gatewire = setup.start();
        let mut client = gatewire.client("publish.sock");
        (0..5).for_each(|number| assert_eq!(client.ask(&line(number, 1000))["result"], "stored"));
        fs::write(gatewire.path("gatewire.db"), copy).unwrap();
        assert_eq!(client.ask(LINE)["result"], "stored");
        gatewire.wait_for("another program has written to");
        assert_eq!(stored_after_a_kill(&setup, gatewire), stored + 11);
    }
}

#[test]
fn what_is_lost_of_a_long_queue_is_said_and_no_more_is_promised() {
    const MESSAGES: usize = 3000;
    let ways: [Way; 3] = [WAYS[0], WAYS[1], WAYS[2]];
    for (what, write) in ways {
        let setup = Setup::new(closed_port(), INGEST);
        let gatewire = setup.start();
        let mut client = gatewire.client("publish.sock");
        (0..MESSAGES).for_each(|number| client.send(&line(number, 3000)));
        (0..MESSAGES).for_each(|_| assert_eq!(client.json()["result"], "stored", "{what}"));
        write(&gatewire.path("gatewire.db"));
        gatewire.wait_for("another program has written to");
        assert_eq!(client.ask(LINE)["result"], "stored", "{what}");
        gatewire.signal("TERM");
        gatewire.wait_for("info: stopped");
        let kept = number_before(&gatewire.wait_for("for IoT Core on the disk"), " messages wait");
        let lost = gatewire.log().into_iter().find(|line| line.contains("that had been stored"));
        // All of it may have just been copied from the log to the database.
        assert!(lost.is_some() || what == "an empty log", "{what}");
        let lost = lost.map_or(0, |lost| number_before(&lost, " messages for IoT Core that"));
        assert_eq!(kept + lost, MESSAGES as u64 + 1, "{what}");
        // What memory has is a third of the bound or so, and SQLite has some.
        assert!(kept > 300, "{what}: {kept}");
        assert_eq!(gatewire.wait().0, 0);
        let gatewire = setup.start();
        gatewire.wait_for("keeps a link");
        assert_eq!(gatewire.status()["outbox"]["stored"].as_u64().unwrap(), kept, "{what}");
    }
}

fn number_before(line: &str, text: &str) -> u64 {
    let before = line.split(text).next().unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("no number before {text:?}: {line}"))
}
