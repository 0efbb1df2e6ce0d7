use std::path::{Path, PathBuf};
use std::sync::Arc;

use fastrand::Rng;
use jiff::Timestamp;
use serde_json::Map;

use super::simulated::{Cut, Fault, SimulatedDisk};
use super::*;
use crate::secret::Secret;

const STATE: &str = "/var/lib/gatewire";

fn on(disk: &SimulatedDisk) -> Directory {
    Directory::on(Path::new(STATE), Arc::new(disk.clone()))
}

fn identity(thing: &str) -> Identity {
    let mut configuration = Map::new();
    configuration.insert("site".to_owned(), thing.into());
    Identity { thing: thing.to_owned(), configuration, certificate_id: format!("id of {thing}"), key: KeyPlace::File }
}

fn progress(step: Step) -> Progress {
    Progress { step, ..Progress::begun(Cause::Claim, KeyPlace::File, Timestamp::UNIX_EPOCH) }
}

fn key(thing: &str) -> Secret<String> {
    Secret::new(format!("key of {thing}"))
}

type Operation = (&'static str, fn(&Directory) -> Result<(), DiskError>);

/// All that is done for an identity, and for the next one.
const OPERATIONS: [Operation; 12] = [
    ("begin", |directory| directory.begin(Some(&key("one")), &progress(Step::CreateCertificate))),
    ("note", |directory| directory.note(&progress(Step::CreateCertificate))),
    ("certificate", |directory| directory.note_certificate("certificate of one", &progress(Step::RegisterThing))),
    ("another certificate", |directory| {
        directory.note_certificate("certificate of one", &progress(Step::RegisterThing))
    }),
    ("trial", |directory| directory.note(&progress(Step::Trial))),
    ("put in force", |directory| directory.put_in_force(&identity("one"))),
    ("begin anew", |directory| directory.begin(Some(&key("none")), &progress(Step::CreateCertificate))),
    ("discard", |directory| directory.discard_next()),
    ("begin the next", |directory| directory.begin(Some(&key("two")), &progress(Step::CreateCertificate))),
    ("its certificate", |directory| directory.note_certificate("certificate of two", &progress(Step::Commit))),
    ("committing", |directory| directory.note(&Progress { committing: true, ..progress(Step::Commit) })),
    ("put the next in force", |directory| directory.put_in_force(&identity("two"))),
];
const FIRST: usize = 5;
const SECOND: usize = 11;

/// The name of the thing of the identity in force. What belongs to it is whole.
fn in_force(directory: &Directory) -> Option<String> {
    let identity = match directory.current().unwrap() {
        FoundIdentity::Nothing => return None,
        FoundIdentity::Identity(found) => found,
        FoundIdentity::Damaged(what) => panic!("{what}"),
    };
    let thing = identity.thing.clone();
    assert_eq!(identity, self::identity(&thing));
    let found = |name: &str, file: &str| directory.read(&directory.state.join(name).join(file)).unwrap();
    let place = ["identity", "identity.next", "identity.previous"].into_iter().find(|name| {
        found(name, "private.pem.key").is_some_and(|found| found == format!("key of {thing}").into_bytes())
            && found(name, "certificate.pem.crt")
                .is_some_and(|found| found == format!("certificate of {thing}").into_bytes())
    });
    assert!(place.is_some(), "key or certificate of {thing} is lost");
    Some(thing)
}

/// What is allowed to be in force after these operations were done, the last of them perhaps in part.
fn allowed(done: usize, is_last_whole: bool) -> Vec<Option<&'static str>> {
    let after = |done: usize| match done {
        done if done <= FIRST => None,
        done if done <= SECOND => Some("one"),
        _ => Some("two"),
    };
    if is_last_whole { vec![after(done + 1)] } else { vec![after(done), after(done + 1)] }
}

/// A new process has begun: everything is as it may be, and goes on.
fn examine(disk: &SimulatedDisk, last: usize, is_last_whole: bool, what: &str) {
    let before = in_force(&on(disk));
    on(disk).recover().unwrap_or_else(|error| panic!("{what}: {error}"));
    let after = in_force(&on(disk));
    assert_eq!(before, after, "{what}: another identity after the recovery than before it");
    assert!(allowed(last, is_last_whole).contains(&after.as_deref()), "{what}: {after:?} is in force");
    if after.is_some() {
        for leftover in ["identity.previous", "identity.making", "identity.discarded"] {
            assert!(!on(disk).has(leftover).unwrap(), "{what}: {leftover} is left");
        }
    }
    // And from here to the end.
    let again = match after.as_deref() {
        None => 0,
        Some("one") => FIRST + 1,
        _ => return,
    };
    for (_, operation) in &OPERATIONS[again..] {
        operation(&on(disk)).unwrap();
    }
    disk.power_loss(None);
    assert_eq!(in_force(&on(disk)).as_deref(), Some("two"), "{what}");
}

/// A disk on which the operations before `last` are done, and `last` with this fault; whether it was done.
fn with_fault(last: usize, fault: Fault) -> (SimulatedDisk, bool) {
    let disk = SimulatedDisk::new(Path::new(STATE));
    for (name, operation) in &OPERATIONS[..last] {
        operation(&on(&disk)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    disk.set(fault);
    let done = OPERATIONS[last].1(&on(&disk)).is_ok();
    (disk, done)
}

#[test]
fn an_identity_survives_kills_and_power_loss_at_each_operation_of_the_disk() {
    let seed =
        std::env::var("GATEWIRE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("GATEWIRE_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let mut cuts = 0;
    for (last, (name, _)) in OPERATIONS.iter().enumerate() {
        for cut in [Cut::Before, Cut::Middle, Cut::After] {
            for operation in 0.. {
                let (disk, _) = with_fault(last, Fault::Killed(operation, cut));
                if !disk.is_dead() {
                    break;
                }
                cuts += 1;
                let what = format!("{name}, killed at {operation} {cut:?}, seed {seed}");
                for power in 0..6 {
                    let disk = disk.copy();
                    disk.restart();
                    match power {
                        0 => {}
                        1 => disk.power_loss(None),
                        _ => disk.power_loss(Some(&mut rng)),
                    }
                    cut_recovery(&disk, last, &mut rng, &what);
                    examine(&disk, last, false, &format!("{what}, power {power}"));
                }
            }
        }
    }
    println!("{cuts} cuts");
    assert!(cuts > 200);
}

/// The recovery is cut off at each operation, too, with power loss after it.
fn cut_recovery(disk: &SimulatedDisk, last: usize, rng: &mut Rng, what: &str) {
    for operation in 0.. {
        let disk = disk.copy();
        disk.set(Fault::Killed(operation, [Cut::Before, Cut::Middle, Cut::After][rng.usize(..3)]));
        let _ = on(&disk).recover();
        if !disk.is_dead() {
            return;
        }
        disk.restart();
        disk.power_loss(Some(rng));
        examine(&disk, last, false, &format!("{what}, its recovery at {operation}"));
    }
}

#[test]
fn what_was_done_is_there_after_a_power_loss() {
    for (last, (name, _)) in OPERATIONS.iter().enumerate() {
        let (disk, done) = with_fault(last, Fault::Nothing);
        assert!(done);
        let before = on(&disk).next().unwrap();
        disk.power_loss(None);
        assert_eq!(on(&disk).next().unwrap(), before, "{name}");
        examine(&disk, last, true, name);
    }
}

#[test]
fn what_is_found_after_a_kill_is_there_after_a_loss_of_power() {
    let mut kills = 0;
    for (last, (name, _)) in OPERATIONS.iter().enumerate() {
        for operation in 0.. {
            let (disk, _) = with_fault(last, Fault::Killed(operation, Cut::After));
            if !disk.is_dead() {
                break;
            }
            kills += 1;
            disk.restart();
            let found = |disk: &SimulatedDisk| {
                on(disk).recover().unwrap();
                (in_force(&on(disk)), on(disk).next().unwrap(), on(disk).next_certificate().unwrap())
            };
            let before = found(&disk);
            disk.power_loss(None);
            assert_eq!(found(&disk), before, "{name}, killed after {operation}");
        }
    }
    assert!(kills > 60, "{kills}");
}

#[test]
fn a_disk_that_is_full_at_any_operation_loses_nothing() {
    for (last, (name, operation)) in OPERATIONS.iter().enumerate() {
        for from in 0.. {
            let (disk, done) = with_fault(last, Fault::Full(from));
            let what = format!("{name}, full from {from}");
            let found = in_force(&on(&disk));
            assert!(allowed(last, done).contains(&found.as_deref()), "{what}: {found:?}");
            // While it is full, a daemon that starts doesn't lose anything either.
            let full = disk.copy();
            full.power_loss(None);
            let _ = on(&full).recover();
            assert!(allowed(last, done).contains(&in_force(&on(&full)).as_deref()), "{what}, started again");
            disk.set(Fault::Nothing);
            if done {
                break;
            }
            // Once there is room it goes on where it was.
            if operation(&on(&disk)).is_ok() {
                examine(&disk, last, true, &what);
            } else {
                examine(&disk, last, false, &what);
            }
        }
    }
}

fn real() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    (directory, state)
}

#[test]
fn the_real_disk_does_the_same_and_nobody_else_may_look() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_keep, state) = real();
    let (directory, lock) = Directory::open(&state, &this_machine()).unwrap().unwrap();
    assert_eq!(directory.current().unwrap(), FoundIdentity::Nothing);
    for (last, (name, operation)) in OPERATIONS.iter().enumerate() {
        operation(&directory).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(vec![in_force(&directory).as_deref()], allowed(last, true), "{name}");
    }
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    let paths = directory.paths(Which::Current);
    assert_eq!(
        (mode(&paths.key), mode(&paths.certificate), mode(&state.join("identity/thing.json"))),
        (0o600, 0o600, 0o600)
    );
    assert_eq!((mode(&state.join("identity")), mode(&state.join("identity.lock"))), (0o700, 0o600));
    let mut names: Vec<_> = std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["identity", "identity.lock"]);
    let mut names: Vec<_> =
        std::fs::read_dir(state.join("identity")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["certificate.pem.crt", "private.pem.key", "thing.json"]);
    assert!(Directory::open(&state, &this_machine()).unwrap().is_none(), "one process at a time");
    drop(lock);
    assert!(Directory::open(&state, &this_machine()).unwrap().is_some());
}

#[test]
fn what_is_damaged_is_said_and_what_is_no_file_is_not_followed() {
    let (_keep, state) = real();
    let (directory, _lock) = Directory::open(&state, &this_machine()).unwrap().unwrap();
    for (_, operation) in &OPERATIONS[..=FIRST] {
        operation(&directory).unwrap();
    }
    let file = |name: &str| state.join("identity").join(name);
    let damage = |name: &str, contents: Option<&[u8]>| {
        let before = std::fs::read(file(name)).unwrap();
        match contents {
            Some(contents) => std::fs::write(file(name), contents).unwrap(),
            None => std::fs::remove_file(file(name)).unwrap(),
        }
        let found = directory.current().unwrap();
        std::fs::write(file(name), before).unwrap();
        match found {
            FoundIdentity::Damaged(what) => what.replace(state.to_str().unwrap(), ""),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(damage("thing.json", None), "/identity/thing.json: it is missing");
    assert_eq!(damage("thing.json", Some(b"{\"thing\":")), "/identity/thing.json: it isn't what gatewire has written");
    assert_eq!(damage("thing.json", Some(&[0; 100])), "/identity/thing.json: it isn't what gatewire has written");
    assert_eq!(damage("private.pem.key", Some(b"")), "/identity/private.pem.key: it is empty");
    assert_eq!(damage("certificate.pem.crt", None), "/identity/certificate.pem.crt: it is missing");
    assert_eq!(in_force(&directory).as_deref(), Some("one"));
    // One in a token needs no file.
    std::fs::remove_file(file("private.pem.key")).unwrap();
    let token = Identity { key: KeyPlace::Token, ..identity("one") };
    std::fs::write(file("thing.json"), serde_json::to_vec(&token).unwrap()).unwrap();
    assert_eq!(directory.current().unwrap(), FoundIdentity::Identity(token));
    std::fs::remove_file(file("thing.json")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", file("thing.json")).unwrap();
    assert!(directory.current().unwrap_err().to_string().contains("a symbolic link"));
    // What was begun and can't be read is as good as nothing.
    directory.begin(Some(&key("two")), &progress(Step::CreateCertificate)).unwrap();
    std::fs::write(state.join("identity.next/progress.json"), "{").unwrap();
    assert_eq!(directory.next().unwrap(), None);
    directory.begin(Some(&key("two")), &progress(Step::CreateCertificate)).unwrap();
    assert_eq!(directory.next().unwrap(), Some(progress(Step::CreateCertificate)));
    assert_eq!(directory.next_key().unwrap(), Some(key("two")));
}

#[test]
fn garbage_in_the_place_of_the_next_identity_gives_way_to_one_that_is_whole() {
    let (_keep, state) = real();
    let (directory, _lock) = Directory::open(&state, &this_machine()).unwrap().unwrap();
    for (_, operation) in &OPERATIONS[..=FIRST] {
        operation(&directory).unwrap();
    }
    let next = state.join("identity.next");
    let fifo = |path: PathBuf| nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let within = |name: &str, make: &dyn Fn(PathBuf)| {
        std::fs::create_dir(&next).unwrap();
        let thing = serde_json::to_vec(&identity("two")).unwrap();
        std::fs::write(next.join("thing.json"), thing).unwrap();
        let _ = std::fs::remove_file(next.join(name));
        make(next.join(name));
    };
    let large = |path: PathBuf| std::fs::write(path, vec![b'x'; 9 << 20]).unwrap();
    let garbage: [(&str, &dyn Fn()); 6] = [
        ("is a file", &|| std::fs::write(&next, "x").unwrap()),
        ("is a symbolic link", &|| std::os::unix::fs::symlink("/nowhere", &next).unwrap()),
        ("is a FIFO", &|| fifo(next.clone())),
        ("is a directory", &|| within("thing.json", &|path| std::fs::create_dir(path).unwrap())),
        ("is a FIFO", &|| within("certificate.pem.crt", &fifo)),
        ("No file of gatewire's own is that large", &|| within("certificate.pem.crt", &large)),
    ];
    for (what, make) in garbage {
        make();
        assert_eq!(in_force(&directory).as_deref(), Some("one"), "{what}");
        let error = directory.recover().unwrap_err();
        assert!(error.advice().contains(what) && error.advice().contains("sudo mv -T "), "{what}: {}", error.advice());
        // Without one that is whole it isn't known.
        let thing = state.join("identity/thing.json");
        let json = std::fs::read(&thing).unwrap();
        std::fs::write(&thing, "{").unwrap();
        assert_eq!(directory.current().unwrap_err(), error);
        std::fs::write(&thing, json).unwrap();
        std::fs::remove_file(&next).or_else(|_| std::fs::remove_dir_all(&next)).unwrap();
    }
}

#[test]
fn what_is_removed_unread_is_in_nobodys_way_unless_it_is_a_directory() {
    let (_keep, state) = real();
    let fifo = |path: PathBuf| nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let places = [
        "identity.making/key",
        "identity.discarded/key",
        "identity.next/progress.json.unfinished",
        "identity/progress.json",
    ];
    for place in places {
        std::fs::create_dir_all(state.join(place).parent().unwrap()).unwrap();
        fifo(state.join(place));
    }
    let looking = Directory::at(&state, &this_machine());
    looking.probe().unwrap();
    let (directory, _lock) = Directory::open(&state, &this_machine()).unwrap().unwrap();
    assert!(places.iter().all(|place| !state.join(place).exists()));
    std::fs::create_dir_all(state.join("identity.making/x")).unwrap();
    let error = looking.probe().unwrap_err();
    assert_eq!(error.advice(), directory.recover().unwrap_err().advice());
    assert!(error.advice().contains("is a directory, and gatewire's own file belongs there: `sudo mv -T "), "{error}");
}
