//! What a start finds in the database's place: not ours to open, not ours at all, newer, damaged. It starts, unless a person
//! has to decide.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::preload::preload;
use crate::support::daemon::{Gatewire, Setup};
use crate::support::mosquitto::Mosquitto;
use crate::support::{eventually, settled};
use crate::{INGEST, arrived, ask_all, cut_off, line, verdict, wait_until_delivered};

/// Root may do everything; without these capabilities it may do what others may as the owner.
fn as_anybody() -> &'static [&'static str] {
    let words = &["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--"];
    if nix::unistd::geteuid().is_root() { words } else { &[] }
}

/// How many messages wait in the database of [`filled`].
const MESSAGES: usize = 50;

/// A setup whose broker is up, with a database in which messages wait, as `leave` left it.
fn filled(leave: impl FnOnce(Gatewire)) -> (Mosquitto, Setup) {
    let mut setup = None;
    let (mut broker, gatewire) = cut_off(|port| setup.insert(Setup::new(port, INGEST)).again());
    let answers = ask_all(&mut gatewire.client("up.sock"), 0..MESSAGES, 1000);
    assert!(answers.iter().all(|(_, verdict)| verdict == "stored"));
    leave(gatewire);
    broker.restart();
    (broker, setup.unwrap())
}

fn stopped(gatewire: Gatewire) {
    assert_eq!(gatewire.stop().0, 0);
}

fn database(setup: &Setup) -> PathBuf {
    setup.directory.path().join("gatewire.db")
}

fn may(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The daemon works, though it can't store anything, and says what to do about that.
fn assert_in_memory(gatewire: &Gatewire, remedy: &str) -> String {
    let said = gatewire.wait_for("nothing can be stored");
    assert!(said.contains(remedy), "{said}");
    assert_eq!(ask_all(&mut gatewire.client("up.sock"), 1000..1001, 10), [(1000, "delivered".to_owned())]);
    said
}

/// Runs the command that a message names, as root where the tests are.
fn run_command_of(said: &str) {
    let (_, command) = said.split_once("`sudo ").unwrap_or_else(|| panic!("no command: {said}"));
    let command = command.split('`').next().unwrap();
    let done = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(done.success(), "{command}");
}

#[test]
fn a_database_of_another_owner_is_taken_up_once_it_is_given_to_gatewire() {
    // Not to be read, and to be read but not written.
    for mode in [0, 0o444] {
        let (broker, setup) = filled(stopped);
        may(&database(&setup), mode);
        let gatewire = setup.under(as_anybody()).connect();
        let said = assert_in_memory(&gatewire, "write it: `sudo chmod 0600 ");
        let before: Vec<usize> = arrived(&broker).into_iter().filter(|number| *number < MESSAGES).collect();
        assert!(before.is_empty() || mode == 0o444, "{before:?}");
        run_command_of(&said);
        gatewire.wait_patiently("is written again");
        wait_until_delivered(&gatewire);
        assert_eq!(arrived(&broker).into_iter().filter(|number| *number < MESSAGES).count(), MESSAGES);
        assert_eq!(gatewire.count("nothing can be stored"), 1);
        assert!(gatewire.status()["store"]["moved_aside"].as_array().unwrap().is_empty());
    }
}

#[test]
fn what_lies_in_a_database_that_is_opened_late_comes_first_though_the_clock_was_set_back() {
    let day = |days: i64| (days * 24 * 3600).to_string();
    let mut setup = None;
    let (mut broker, gatewire) = cut_off(|port| {
        let setup = setup.insert(preload(Setup::new(port, INGEST), "clock"));
        setup.again().env("CLOCK_AHEAD", day(1))
    });
    let setup = setup.unwrap();
    ask_all(&mut gatewire.client("up.sock"), 0..MESSAGES, 1000);
    stopped(gatewire);
    may(&database(&setup), 0);
    let gatewire = setup.again().under(as_anybody()).start();
    gatewire.wait_for("nothing can be stored");
    let mut client = gatewire.client("up.sock");
    (100..110).for_each(|number| client.send(&line(number, 1000)));
    eventually("them", || (gatewire.status()["outbox"]["waiting"] == 10).then_some(()));
    may(&database(&setup), 0o600);
    gatewire.wait_patiently("is written again");
    (100..110).for_each(|_| assert_eq!(verdict(&client.json()), "stored"));
    assert_eq!(ask_all(&mut client, [110], 1000)[0].1, "stored");
    gatewire.kill();
    broker.restart();
    let gatewire = setup.connect();
    wait_until_delivered(&gatewire);
    assert_eq!(arrived(&broker), (0..MESSAGES).chain(100..111).collect::<Vec<_>>());
}

#[test]
fn a_directory_of_another_owner_keeps_the_daemon_from_storing_and_not_from_starting() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, INGEST);
    let directory = setup.directory.path().join("state");
    fs::create_dir(&directory).unwrap();
    may(&directory, 0o555);
    let setup = setup.edit("/gatewire.db", "/state/gatewire.db").under(as_anybody());
    let gatewire = setup.connect();
    assert_in_memory(&gatewire, "must be able to make files in ");
    may(&directory, 0o755);
    gatewire.wait_patiently("is written again");
    assert!(directory.join("gatewire.db").exists());
}

#[test]
fn what_is_damaged_is_moved_aside_and_what_is_readable_in_it_is_sent() {
    let cut: fn(&Path) = |path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() * 2 / 3).unwrap();
    };
    let nuls: fn(&Path) = |path| fs::write(path, vec![0; fs::metadata(path).unwrap().len() as usize]).unwrap();
    for (what, damage, at_least) in [("cut", cut, MESSAGES / 3), ("NULs", nuls, 0)] {
        let (broker, setup) = filled(stopped);
        damage(&database(&setup));
        let gatewire = setup.connect();
        let said = gatewire.wait_for("gatewire.db was damaged");
        let status = wait_until_delivered(&gatewire);
        let aside = status["store"]["moved_aside"][0].as_str().unwrap_or_else(|| panic!("{what}: {status}"));
        assert!(said.contains(aside) && Path::new(aside).exists(), "{what}: {said}");
        assert_eq!(status["store"]["error"], Value::Null);
        let arrived = arrived(&broker);
        assert!(arrived.len() >= at_least && arrived.is_sorted(), "{what}: {arrived:?}");
        // It works, and the next start finds nothing wrong.
        stopped(gatewire);
        let gatewire = setup.connect();
        assert_eq!(gatewire.status()["store"]["moved_aside"], Value::Array(Vec::new()));
    }
}

/// Everything in the directory of the database, but for the lock and what isn't of it.
fn files(setup: &Setup) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(setup.directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let of_database =
        |path: &PathBuf| path.to_str().unwrap().contains("gatewire.db") && !path.ends_with("gatewire.db.lock");
    let mut files: Vec<_> = entries.filter(of_database).map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

/// Exit code 78, with a reason that holds `reason`; nothing of the database has changed.
fn assert_refused(setup: &Setup, reason: &str) {
    let before = files(setup);
    assert!(!before.is_empty());
    let (code, _, said) = setup.output("run");
    assert_eq!(code, 78, "{said}");
    assert!(said.contains(reason), "{said}");
    assert!(files(setup) == before, "the database was touched");
}

#[test]
fn a_directory_in_the_place_of_the_database_is_refused_and_left_as_it_is() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, INGEST);
    fs::create_dir(database(&setup)).unwrap();
    fs::write(database(&setup).join("file"), "x").unwrap();
    let (code, _, said) = setup.output("run");
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("gatewire.db: it is a directory, not a database"), "{said}");
    assert_eq!(fs::read(database(&setup).join("file")).unwrap(), b"x");
    let names = fs::read_dir(setup.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name.to_str().unwrap().starts_with("gatewire.db")).count(), 1);
}

#[test]
fn a_second_instance_is_refused_and_touches_nothing() {
    let (broker, setup) = filled(Gatewire::kill);
    let port = format!("port = {}\n", broker.port);
    let setup = setup.edit(&port, &format!("port = {}\n", crate::support::closed_port()));
    let gatewire = setup.start();
    gatewire.wait_for("50 messages wait in it");
    settled("the files of the first", || files(&setup));
    assert_refused(&setup, "gatewire.db: another gatewire uses it");
    assert_eq!(ask_all(&mut gatewire.client("up.sock"), [100], 10), [(100, "stored".to_owned())]);
    stopped(gatewire);
}

#[test]
fn a_database_of_a_newer_gatewire_is_refused_and_left_as_it_is() {
    let (_broker, setup) = filled(stopped);
    let newer = rusqlite::Connection::open(database(&setup)).unwrap();
    newer.pragma_update(None, "user_version", 2).unwrap();
    newer.close().unwrap();
    assert_refused(&setup, "it was written by a newer gatewire (schema 2, this one knows 1)");
}

#[test]
fn a_newer_database_is_known_by_its_log_alone_and_both_are_left_as_they_are() {
    let (_broker, setup) = filled(Gatewire::kill);
    let (path, log) = (database(&setup), setup.directory.path().join("gatewire.db-wal"));
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 2).unwrap();
    // As a kill leaves them: what is newer is in the log alone.
    let [was, was_logged] = [&path, &log].map(|path| fs::read(path).unwrap());
    newer.close().unwrap();
    fs::write(&path, was).unwrap();
    fs::write(&log, was_logged).unwrap();
    let _ = fs::remove_file(setup.directory.path().join("gatewire.db-shm"));
    assert_refused(&setup, "it was written by a newer gatewire");
}

#[test]
fn a_database_of_another_program_is_refused_and_left_as_it_is() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, INGEST);
    rusqlite::Connection::open(database(&setup)).unwrap().execute_batch("CREATE TABLE photos (name TEXT)").unwrap();
    assert_refused(&setup, "it is a database of another program");
}
