use std::fs;

use tempfile::TempDir;

use super::super::head::Validator;
use super::*;

const MAX: u64 = 1000;

fn sum(bytes: &[u8]) -> Sha256 {
    let mut summing = Summing::new();
    summing.add(bytes);
    summing.sum()
}

fn place(directory: &TempDir) -> Place {
    Place::new(&directory.path().join("downloads"), "job:1", 0)
}

fn known(total: u64) -> Known {
    Known { validator: Some(Validator::Etag("\"a\"".to_owned())), total: Some(total) }
}

#[test]
fn a_part_is_gone_on_with_in_another_life() {
    let directory = tempfile::tempdir().unwrap();
    let (place, wanted) = (place(&directory), sum(b"hello world"));
    let mut part = Part::open(&place, wanted, MAX).unwrap();
    assert_eq!((part.held().length, part.is_pieced()), (0, false));
    part.begin_anew(known(11)).unwrap();
    part.append(b"hello").unwrap();
    drop(part);
    let mut part = Part::open(&place, wanted, MAX).unwrap();
    assert_eq!(part.held(), Held { length: 5, known: &known(11) });
    assert!(part.is_pieced() && part.sum() == sum(b"hello") && !part.is_wanted());
    part.go_on(known(11)).unwrap();
    part.append(b" world").unwrap();
    assert!(part.is_wanted());
    part.finish().unwrap();
    drop(part);
    assert_eq!(fs::read(place.file()).unwrap(), b"hello world");
    assert!(Part::open(&place, wanted, MAX).unwrap().is_wanted());
}

#[test]
fn a_part_of_which_nothing_is_known_is_worth_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (place, wanted) = (place(&directory), sum(b"hello"));
    let begin = || {
        let mut part = Part::open(&place, wanted, MAX).unwrap();
        part.begin_anew(known(5)).unwrap();
        part.append(b"hello").unwrap();
    };
    let held = |wanted, max| Part::open(&place, wanted, max).unwrap().held().length;
    let spoilers: [&dyn Fn() -> u64; 5] = [
        &|| held(sum(b"another"), MAX),
        &|| held(wanted, 4),
        &|| {
            fs::remove_file(place.note()).unwrap();
            held(wanted, MAX)
        },
        &|| {
            fs::write(place.note(), "{\"sha256\":").unwrap();
            held(wanted, MAX)
        },
        &|| {
            fs::write(place.note(), "x".repeat(10_000)).unwrap();
            held(wanted, MAX)
        },
    ];
    for spoiled in spoilers {
        begin();
        assert_eq!(held(wanted, MAX), 5);
        assert_eq!((spoiled(), fs::metadata(place.file()).unwrap().len()), (0, 0));
    }
}

#[test]
fn beginning_anew_forgets_what_was_there() {
    let directory = tempfile::tempdir().unwrap();
    let (place, wanted) = (place(&directory), sum(b"new"));
    let mut part = Part::open(&place, wanted, MAX).unwrap();
    part.begin_anew(Known::default()).unwrap();
    // It may have been cut off where it seemed to end.
    assert!(part.is_pieced());
    part.append(b"old and long").unwrap();
    part.begin_anew(known(3)).unwrap();
    assert!(!part.is_pieced() && part.sum() == sum(b""));
    part.append(b"new").unwrap();
    assert!(part.is_wanted());
    assert_eq!(fs::read(place.file()).unwrap(), b"new");
}

#[test]
fn two_never_write_to_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let (place, wanted) = (place(&directory), sum(b""));
    let first = Part::open(&place, wanted, MAX).unwrap();
    let again = {
        let place = place.clone();
        std::thread::spawn(move || Part::open(&place, wanted, MAX).unwrap())
    };
    // What the first one had is gone by the time that the second gets it.
    place.remove().unwrap();
    drop(first);
    let mut second = again.join().unwrap();
    second.append(b"x").unwrap();
    assert_eq!(fs::read(place.file()).unwrap(), b"x");
}

#[test]
fn room_is_left_for_everything_else() {
    const MIB: u64 = 1 << 20;
    assert_eq!(room(8192 * MIB, 164 * MIB, 100 * MIB), Ok(()));
    assert_eq!(room(8192 * MIB, 163 * MIB, 100 * MIB), Err(64 * MIB));
    assert_eq!(room(160 * MIB, 30 * MIB, 20 * MIB), Ok(()));
    assert_eq!(room(160 * MIB, 30 * MIB, 21 * MIB), Err(10 * MIB));
    assert_eq!(room(160 * MIB, 5 * MIB, 0), Err(10 * MIB));
    assert_eq!(room(160 * MIB, MIB, u64::MAX), Err(10 * MIB));
    // A ramfs doesn't say.
    assert_eq!(room(0, 0, MIB), Ok(()));
}

#[test]
fn what_the_disk_says_comes_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("downloads"), "").unwrap();
    let said = Part::open(&place(&directory), sum(b""), MAX).unwrap_err().to_string();
    assert!(said.contains("/downloads: ") && said.contains("remove what is there"), "{said}");
}
