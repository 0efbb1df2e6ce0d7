//! What lies under the name of a database that waits for its place, and isn't one.

use super::super::ready::{REPLACES, place_of, ready_of};
use super::*;

/// The one that is ready was made from what is in the place now.
pub(super) fn note_what_it_replaces(path: &Path) {
    let connection = rusqlite::Connection::open(ready_of(path)).unwrap();
    let set = "INSERT INTO note (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
    connection.execute(set, [REPLACES, &place_of(path)]).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    connection.close().unwrap();
}

/// Something under the name `gatewire.db.ready`, for the database at the second path.
type Leftover = (&'static str, &'static str, fn(&Path, &Path));

const LEFTOVERS: [Leftover; 9] = [
    ("nothing in it", "leftover", |ready, _| std::fs::write(ready, "").unwrap()),
    ("garbage", "foreign", |ready, _| std::fs::write(ready, [0x5a; 20_000]).unwrap()),
    ("zeros", "leftover", |ready, _| std::fs::write(ready, [0; 20_000]).unwrap()),
    ("a directory", "foreign", |ready, _| std::fs::create_dir(ready).unwrap()),
    ("a link", "foreign", |ready, path| std::os::unix::fs::symlink(path, ready).unwrap()),
    ("a FIFO", "foreign", |ready, _| nix::unistd::mkfifo(ready, nix::sys::stat::Mode::S_IRWXU).unwrap()),
    ("another program's database", "foreign", |ready, _| {
        rusqlite::Connection::open(ready).unwrap().execute_batch("CREATE TABLE photos (name TEXT)").unwrap();
    }),
    ("an older copy", "leftover", |ready, _| {
        let directory = TempDir::new().unwrap();
        std::fs::copy(filled(&directory, 7).0, ready).unwrap();
    }),
    ("a damaged one of its own", "leftover", |ready, path| {
        std::fs::copy(path, ready).unwrap();
        note_what_it_replaces(path);
        let mut image = std::fs::read(ready).unwrap();
        image[4 * PAGE_SIZE..8 * PAGE_SIZE].fill(0xa5);
        std::fs::write(ready, image).unwrap();
    }),
];

fn aside(path: &Path, kind: &str) -> usize {
    let names = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().contains(&format!(".ready.{kind}-"))).count()
}

#[test]
fn a_healthy_database_stays_whatever_is_called_ready_and_check_names_that() {
    for (what, kind, leave) in LEFTOVERS {
        let directory = TempDir::new().unwrap();
        let (path, rows) = filled(&directory, 60);
        leave(&ready_of(&path), &path);
        let obstacle = probe(&path, |_| false);
        assert!(
            matches!(&obstacle, Some(Obstacle::Leftover(file, _)) if *file == ready_of(&path)),
            "{what}: {obstacle:?}"
        );
        assert_eq!(found(&path), rows, "{what}");
        assert_eq!(aside(&path, kind), 1, "{what}");
        assert_eq!(found(&path), rows, "{what}: the second start");
        assert!(probe(&path, |_| false).is_none(), "{what}");
    }
}

#[test]
fn a_database_that_only_its_log_makes_whole_stays_too() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gatewire.db");
    let (at, store) = (directory.path().join("live.db"), open(&directory.path().join("live.db")));
    wait(store.write(change(Vec::new(), (1..=20).map(|seq| row(seq, 500)).collect()))).unwrap();
    for suffix in ["", "-wal"] {
        std::fs::copy(with_suffix(&at, suffix), with_suffix(&path, suffix)).unwrap();
    }
    // As a copy that was made by hand.
    std::fs::copy(&at, ready_of(&path)).unwrap();
    assert_eq!(found(&path).len(), 20);
    assert_eq!(aside(&path, "leftover"), 1);
}

#[test]
fn with_no_database_in_the_place_one_of_ours_gets_it_and_nothing_else_does() {
    for (what, _, leave) in LEFTOVERS {
        let directory = TempDir::new().unwrap();
        let (path, rows) = filled(&directory, 60);
        leave(&ready_of(&path), &path);
        std::fs::rename(&path, directory.path().join("away")).unwrap();
        let found = found(&path);
        match what {
            "an older copy" => assert_eq!(found.len(), 7),
            "a damaged one of its own" => assert!(found.len() > 20 && found.iter().all(|row| rows.contains(row))),
            _ => assert_eq!(found, [], "{what}"),
        }
        assert!(std::fs::symlink_metadata(ready_of(&path)).is_err(), "{what}");
    }
}

#[test]
fn a_directory_where_a_new_one_is_made_keeps_nothing_from_being_saved() {
    let directory = TempDir::new().unwrap();
    let (path, _) = filled(&directory, 60);
    std::fs::create_dir(with_suffix(&path, ".new")).unwrap();
    std::fs::create_dir(ready_of(&path)).unwrap();
    let mut image = std::fs::read(&path).unwrap();
    image[..PAGE_SIZE].fill(0xa5);
    std::fs::write(&path, image).unwrap();
    assert!(found(&path).len() > 40);
}
