//! The database removed while it is used, or something else in its place: that is moved aside, as it is, and the database is put
//! back. What is stored is there after a stop or a kill.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use support::daemon::{Gatewire, Setup};
use support::{closed_port, eventually, takes_less_than};

const INGEST: &str = "[[ingest]]\nname = \"in\"\ntopics = [\"a/#\"]\nsocket = \"DIR/publish.sock\"\n";

const LINE: &str = r#"{"topic":"a/b","payload":"x"}"#;

fn with_log(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", path.display()))
}

/// How something gets into the place of the database at this path, which is free, and whether it is still that.
struct Foreign {
    what: &'static str,
    put: fn(&Path),
    is_unharmed: fn(&Path) -> bool,
}

const FOREIGN: [Foreign; 6] = [
    Foreign {
        what: "a letter",
        put: |path| fs::write(path, "a letter").unwrap(),
        is_unharmed: |path| fs::read_to_string(path).unwrap() == "a letter",
    },
    Foreign {
        what: "garbage",
        put: |path| fs::write(path, [0x5a; 20_000]).unwrap(),
        is_unharmed: |path| fs::read(path).unwrap() == [0x5a; 20_000],
    },
    Foreign {
        what: "a directory",
        put: |path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("file"), "x").unwrap();
        },
        is_unharmed: |path| fs::read_to_string(path.join("file")).unwrap() == "x",
    },
    Foreign {
        what: "another program's database",
        put: |path| {
            let connection = rusqlite::Connection::open(path).unwrap();
            connection.execute_batch("CREATE TABLE photos (name TEXT); INSERT INTO photos VALUES ('cat')").unwrap();
        },
        is_unharmed: |path| {
            // Beside a log of ours it would be ours for SQLite.
            assert!(eventually("no log", || (!with_log(path).exists()).then_some(true)));
            let connection = rusqlite::Connection::open(path).unwrap();
            connection.query_row("SELECT name FROM photos", [], |row| row.get::<_, String>(0)).unwrap() == "cat"
        },
    },
    Foreign {
        what: "a link",
        put: |path| std::os::unix::fs::symlink("/dev/null", path).unwrap(),
        is_unharmed: |path| fs::read_link(path).unwrap() == Path::new("/dev/null"),
    },
    Foreign {
        what: "a FIFO",
        put: |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        is_unharmed: |path| fs::symlink_metadata(path).is_ok(),
    },
];

/// A daemon with two stored messages, in whose database's place something is put; a third message is stored after that.
fn with_something_in_the_place(foreign: &Foreign) -> (Setup, Gatewire) {
    let setup = Setup::new(closed_port(), INGEST);
    let gatewire = setup.start();
    let mut client = gatewire.client("publish.sock");
    (0..2).for_each(|_| assert_eq!(client.ask(LINE)["result"], "stored", "{}", foreign.what));
    let (path, thing) = (gatewire.path("gatewire.db"), gatewire.path("thing"));
    (foreign.put)(&thing);
    renameat2(AT_FDCWD, &thing, AT_FDCWD, &path, RenameFlags::RENAME_EXCHANGE).unwrap();
    fs::remove_file(&thing).unwrap();
    let said = gatewire.wait_for("what was put in its place is now ");
    assert!(said.contains("gatewire.db.foreign-") && said.contains("all that was stored in it"), "{said}");
    assert_eq!(client.ask(LINE)["result"], "stored", "{}", foreign.what);
    assert_eq!(gatewire.count("It is left as it is"), 0);
    (setup, gatewire)
}

/// Where the thing is that was found in the place of the database.
fn aside(setup: &Setup) -> PathBuf {
    let names = fs::read_dir(setup.directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let is_aside = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.contains(".foreign-") && !name.ends_with("-wal")
    };
    let mut found: Vec<PathBuf> = names.filter(is_aside).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn stored(setup: &Setup) -> u64 {
    let gatewire = setup.start();
    gatewire.wait_for("keeps a link");
    gatewire.status()["outbox"]["stored"].as_u64().unwrap()
}

#[test]
fn it_is_moved_aside_at_once_and_everything_is_there_after_a_stop() {
    for foreign in &FOREIGN {
        takes_less_than(Duration::from_secs(3), || {
            let (setup, gatewire) = with_something_in_the_place(foreign);
            gatewire.signal("TERM");
            gatewire.wait_for("3 messages wait for IoT Core on the disk, to be sent after the next start");
            let (code, took) = gatewire.wait();
            assert_eq!(code, 0, "{}", foreign.what);
            assert!((foreign.is_unharmed)(&aside(&setup)), "{}", foreign.what);
            assert_eq!(stored(&setup), 3, "{}", foreign.what);
            took
        });
    }
}

#[test]
fn a_kill_after_it_was_moved_aside_loses_nothing() {
    for foreign in &FOREIGN {
        let (setup, gatewire) = with_something_in_the_place(foreign);
        gatewire.kill();
        assert_eq!(stored(&setup), 3, "{}", foreign.what);
        assert!((foreign.is_unharmed)(&aside(&setup)), "{}", foreign.what);
    }
}

#[test]
fn what_cannot_be_moved_aside_at_a_stop_is_told_of_and_nothing_is_lost() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let setup = Setup::new(closed_port(), INGEST);
    let gatewire = setup.again().under(["unshare", "--mount"]).start();
    let mut client = gatewire.client("publish.sock");
    (0..2).for_each(|_| assert_eq!(client.ask(LINE)["result"], "stored"));
    let (path, letter) = (gatewire.path("gatewire.db"), gatewire.path("letter"));
    fs::write(&letter, "a letter").unwrap();
    // What something is mounted on can't be moved.
    let pid = gatewire.pid().to_string();
    let mut mount = Command::new("nsenter");
    mount.args(["-t", &pid, "-m", "mount", "--bind"]).args([&letter, &path]);
    assert!(mount.status().unwrap().success());
    client.send(LINE);
    gatewire.wait_for("nothing can be stored");
    let (code, _, told) = setup.output("check");
    assert!(code == 1 && told.contains("the running daemon can store nothing: "), "{code}: {told}");
    gatewire.signal("TERM");
    let said = gatewire.wait_for("messages wait for IoT Core on the disk");
    assert!(said.contains("They are in ") && said.contains("gatewire.db.ready"), "{said}");
    gatewire.wait_for("1 message that IoT Core hadn't acknowledged is lost");
    let (code, took) = gatewire.wait();
    assert!(code == 0 && took < Duration::from_secs(7), "{code}, {took:?}");
    // The mount has gone with it. The third may be there though nobody was told so.
    assert!([2, 3].contains(&stored(&setup)));
}

/// What the disk has after the daemon was killed.
fn stored_after_a_kill(setup: &Setup, gatewire: Gatewire) -> u64 {
    gatewire.kill();
    let gatewire = setup.again().start();
    gatewire.wait_for("keeps a link");
    gatewire.status()["outbox"]["stored"].as_u64().unwrap()
}

/// How a database gets lost.
type Loss = (&'static str, fn(&Path));

#[test]
fn a_database_that_is_removed_while_it_is_used_is_put_back_before_anything_is_called_stored() {
    let ways: [Loss; 6] = [
        ("all of it", |db| {
            for suffix in ["", "-wal", ".lock"] {
                fs::remove_file(db.with_file_name(format!("gatewire.db{suffix}"))).unwrap();
            }
        }),
        ("the database", |db| fs::remove_file(db).unwrap()),
        ("the log", |db| fs::remove_file(db.with_file_name("gatewire.db-wal")).unwrap()),
        ("the lock", |db| fs::remove_file(db.with_file_name("gatewire.db.lock")).unwrap()),
        ("moved away", |db| fs::rename(db, db.with_file_name("elsewhere")).unwrap()),
        ("an empty file instead", |db| {
            fs::write(db.with_file_name("new"), "").unwrap();
            fs::rename(db.with_file_name("new"), db).unwrap();
        }),
    ];
    for (what, lose) in ways {
        for idle in [true, false] {
            let setup = Setup::new(closed_port(), INGEST);
            let gatewire = setup.start();
            let mut client = gatewire.client("publish.sock");
            assert_eq!(client.ask(LINE)["result"], "stored");
            lose(&gatewire.path("gatewire.db"));
            if idle {
                // Nothing is written, and it is noticed.
                eventually(what, || gatewire.path("gatewire.db.lock").exists().then_some(()));
                if what != "the lock" {
                    gatewire.wait_for("was removed or replaced while gatewire used it");
                    eventually(what, || (gatewire.status()["store"]["restored"] == 1).then_some(()));
                }
                assert_eq!(stored_after_a_kill(&setup, gatewire), 1, "{what}");
            } else {
                assert_eq!(client.ask(LINE)["result"], "stored");
                assert_eq!(stored_after_a_kill(&setup, gatewire), 2, "{what}");
            }
        }
    }
}

#[test]
fn a_letter_written_over_the_database_is_called_foreign() {
    let setup = Setup::new(closed_port(), INGEST);
    let gatewire = setup.start();
    let mut client = gatewire.client("publish.sock");
    assert_eq!(client.ask(LINE)["result"], "stored");
    fs::write(gatewire.path("gatewire.db"), "a letter, and no database").unwrap();
    let said = gatewire.wait_for("another program has written to");
    assert!(said.contains("what was found there is now ") && said.contains("gatewire.db.foreign-"), "{said}");
    assert_eq!(client.ask(LINE)["result"], "stored");
    assert_eq!(fs::read_to_string(aside(&setup)).unwrap(), "a letter, and no database");
    assert_eq!(stored_after_a_kill(&setup, gatewire), 2);
}
