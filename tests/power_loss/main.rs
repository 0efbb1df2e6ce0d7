//! Whatever the power takes with it when it goes: a message answered `stored` isn't missing, nor is one for which the server
//! has got its PUBACK.
//!
//! A daemon goes through an eventful life while all its changes of the disk are recorded, with the answers it gives in
//! between. From the recording, everything that may be left on the disk is made, at every moment, and looked at.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod disk;
mod recording;
#[path = "../support/mod.rs"]
mod support;
mod workload;

use std::collections::BTreeSet;
use std::path::Path;

use disk::{Change, Disk, Files, Survival};
use fastrand::Rng;
use recording::Event;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use support::scripted::Broker;
use support::socket::Client;
use tempfile::TempDir;
use workload::Link;

/// Threads that look at what is left.
const THREADS: u64 = 2;

/// States of the disk that a daemon is started on, beside those of the first moments.
const STARTS: usize = 12;

/// `GATEWIRE_SEED` repeats what the messages are and which parts of the disk are left; not how the daemon's threads take turns.
fn seed() -> u64 {
    let seed = std::env::var("GATEWIRE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    eprintln!("GATEWIRE_SEED={seed}");
    seed
}

/// A moment at which the power may go.
struct Moment<'a> {
    number: usize,
    disk: &'a Disk,
    /// The topics of the messages that somebody relies on.
    promised: &'a BTreeSet<String>,
}

/// Goes through the moments that matter: those before a sync, and the end. Whatever may be left at another moment may also
/// be left right before the next sync, for until then changes only come to those that aren't synced; and as much or more is
/// promised by then. What is acknowledged in between is the exception: it ends a promise, so there is a moment before, too.
fn each_moment(events: &[Event], mut look: impl FnMut(&Moment<'_>)) {
    let (mut disk, mut promised, mut acknowledged) = (Disk::default(), BTreeSet::new(), BTreeSet::new());
    let mut number = 0;
    let mut is_new = false;
    for event in events {
        let ends = match event {
            Event::Change { change: Change::Sync, .. } => true,
            Event::Acknowledged(topic) => is_new && promised.contains(topic),
            Event::Change { .. } | Event::Promised(_) => false,
        };
        if ends {
            look(&Moment { number, disk: &disk, promised: &promised });
            number += 1;
            is_new = false;
        }
        match event {
            Event::Change { file, change } => {
                disk.apply(file, change);
                is_new = true;
            }
            Event::Promised(topic) if !acknowledged.contains(topic) => {
                promised.insert(topic.clone());
                is_new = true;
            }
            Event::Promised(_) => {}
            Event::Acknowledged(topic) => {
                promised.remove(topic);
                acknowledged.insert(topic.clone());
            }
        }
    }
    look(&Moment { number, disk: &disk, promised: &promised });
}

/// What is left in one of the ways there are; the same for the same seed.
fn left(moment: &Moment<'_>, survival: Survival, seed: u64) -> Files {
    let mut rng = Rng::with_seed(seed ^ ((moment.number as u64) << 8) ^ survival as u64);
    moment.disk.after_power_loss(survival, &mut rng)
}

fn write(files: &Files, directory: &Path) {
    for (name, content) in files {
        std::fs::write(directory.join(name), content).unwrap();
    }
}

/// The topics of all messages of a database, as SQLite makes it whole again.
fn topics(path: &Path) -> rusqlite::Result<BTreeSet<String>> {
    let connection = Connection::open(path)?;
    // Nobody needs this copy any more: no copying of the log at the end, no syncs.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    assert_eq!(verdict, "ok");
    let mut query = connection.prepare("SELECT CAST(topic AS TEXT) FROM message")?;
    query.query_map([], |row| row.get(0))?.collect()
}

/// Looks at what is left with SQLite alone. Before the tables are made nothing is promised, and nothing is looked for.
fn look(moment: &Moment<'_>, survival: Survival, seed: u64) {
    // In memory: hundreds of gigabytes aren't for a disk.
    let directory = TempDir::new_in("/dev/shm").unwrap();
    write(&left(moment, survival, seed), directory.path());
    if moment.promised.is_empty() {
        return;
    }
    let topics = topics(&directory.path().join("gatewire.db"));
    let missing = match &topics {
        Ok(topics) => moment.promised.difference(topics).collect::<Vec<_>>(),
        Err(error) => panic!("{survival:?} at moment {} (GATEWIRE_SEED={seed}): {error}", moment.number),
    };
    assert!(
        missing.is_empty(),
        "{survival:?} at moment {} (GATEWIRE_SEED={seed}): of {} promised messages, {} are missing: {:?}",
        moment.number,
        moment.promised.len(),
        missing.len(),
        &missing[..missing.len().min(20)]
    );
}

/// Has a daemon start on what is left, and give what was promised to those for whom it is.
fn start(files: &Files, promised: &BTreeSet<String>) {
    let broker = Broker::start();
    let setup = workload::setup(broker.port);
    write(files, setup.directory.path());
    let gatewire = setup.start();
    let mut link = Link::accept(&broker, None);
    let (up, down): (BTreeSet<String>, BTreeSet<String>) =
        promised.iter().cloned().partition(|topic| topic.starts_with("up/"));
    link.take_all(&up);
    workload::assert_in_order(&link.arrived);
    let mut reader = Client::connect(&gatewire.path("down.sock"));
    let mut read = BTreeSet::new();
    while !read.is_superset(&down) {
        read.insert(reader.json()["topic"].as_str().unwrap().to_owned());
    }
    let status = gatewire.status();
    // Half of a new database, with nothing in it, may count as a damaged one.
    let moved_aside = status["store"]["moved_aside"].as_array().unwrap();
    assert!(moved_aside.is_empty() || promised.is_empty(), "{:?}", gatewire.log());
    assert_eq!(status["store"]["error"], serde_json::Value::Null);
}

/// The log was begun anew again and again, each time after it was copied into the database; messages were promised in both
/// directions; promises ended.
fn assert_eventful(events: &[Event]) {
    let count = |is_one: fn(&Event) -> bool| events.iter().filter(|event| is_one(event)).count();
    let logs = count(
        |event| matches!(event, Event::Change { file, change: Change::Write { at: 0, .. } } if file == "gatewire.db-wal"),
    );
    let pages =
        count(|event| matches!(event, Event::Change { file, change: Change::Write { .. } } if file == "gatewire.db"));
    let down = count(|event| matches!(event, Event::Promised(topic) if topic.starts_with("down/")));
    let ended = count(|event| matches!(event, Event::Acknowledged(_)));
    assert!(logs >= 5 && pages >= 2000 && down >= 400 && ended >= 800, "{logs} {pages} {down} {ended}");
}

#[test]
fn nothing_that_was_promised_is_missing_after_a_loss_of_power_at_any_moment() {
    let seed = seed();
    let events = workload::run(seed);
    assert_eventful(&events);
    let mut moments = 0;
    each_moment(&events, |_| moments += 1);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let events = &events;
            scope.spawn(move || {
                each_moment(events, |moment| {
                    if moment.number as u64 % THREADS == thread {
                        let ways = if moment.disk.is_synced() { &Survival::ALL[..1] } else { &Survival::ALL };
                        ways.iter().for_each(|survival| look(moment, *survival, seed));
                    }
                });
            });
        }
    });
    let mut rng = Rng::with_seed(seed);
    let chosen: BTreeSet<usize> = (0..10).chain((0..STARTS).map(|_| rng.usize(0..moments))).collect();
    each_moment(&events, |moment| {
        if chosen.contains(&moment.number) {
            let survival = Survival::ALL[rng.usize(0..Survival::ALL.len())];
            eprintln!("a start on {survival:?} at moment {}", moment.number);
            start(&left(moment, survival, seed), moment.promised);
        }
    });
}
