mod damage;
mod leftover;

use std::os::unix::fs::PermissionsExt as _;
use std::time::SystemTime;

use bytes::Bytes;
use tempfile::TempDir;

use super::names::with_suffix;
use super::*;
use crate::message::{Properties, Qos, Topic};

/// Drives a future on a runtime of its own: the answers come from the store's thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn row(seq: u64, size: usize) -> Row {
    Row {
        seq,
        at: "2026-01-31T12:00:00.123Z".parse().unwrap(),
        accepted: Accepted::ThisBoot(1000 + seq),
        topic: Topic::new(&format!("gateways/g1/{seq}")).unwrap(),
        payload: Bytes::from(vec![(seq % 251) as u8; size]),
        qos: Qos::AtLeastOnce,
        retain: seq.is_multiple_of(2),
        duplicate: seq.is_multiple_of(3),
        urgent: seq.is_multiple_of(5),
        properties: seq.is_multiple_of(4).then(|| Arc::new(properties(seq))),
    }
}

fn properties(seq: u64) -> Properties {
    Properties {
        correlation_data: Some(Bytes::from(seq.to_le_bytes().to_vec())),
        user_properties: vec![("seq".to_owned(), seq.to_string()); 2],
        expires_in: Some(60),
        ..Properties::default()
    }
}

fn change(delete: Vec<RangeInclusive<u64>>, insert: Vec<Row>) -> Write {
    Write { queue: QueueId::OUTBOX, delete, insert, clock_offset: None, notes: Vec::new() }
}

fn everything(queue: QueueId) -> Load {
    Load { queue, after: None, until: QueueId::MAX_SEQ, max_bytes: u64::MAX, max_rows: usize::MAX }
}

fn open(path: &Path) -> Rc<Store> {
    wait(Store::open(path, &["commands", "events"], &Thread)).unwrap()
}

/// The rows of the outbox that a new start finds.
fn found(path: &Path) -> Vec<Row> {
    let store = open(path);
    let rows = wait(store.load(everything(QueueId::OUTBOX))).unwrap().rows;
    wait(store.close());
    rows
}

/// A database with rows in it, closed; how large their payloads are goes up to more than a page.
fn filled(directory: &TempDir, count: u64) -> (PathBuf, Vec<Row>) {
    let path = directory.path().join("gatewire.db");
    let rows: Vec<Row> = (1..=count).map(|seq| row(seq, (seq as usize * 97) % 6000)).collect();
    let store = open(&path);
    for chunk in rows.chunks(100) {
        wait(store.write(change(Vec::new(), chunk.to_vec()))).unwrap();
    }
    wait(store.close());
    (path, rows)
}

#[test]
fn what_was_written_is_there_after_a_start_and_what_was_removed_is_not() {
    let directory = TempDir::new().unwrap();
    let (path, rows) = filled(&directory, 300);
    assert_eq!(found(&path), rows);
    let store = open(&path);
    let totals = store.contents().borrow().totals(QueueId::OUTBOX);
    let bytes = rows.iter().map(Row::size).sum();
    assert_eq!(totals, Totals { messages: 300, bytes, first: Some(1), last: Some(300) });
    wait(store.write(change(vec![1..=99, 150..=150], Vec::new()))).unwrap();
    wait(store.close());
    let left: Vec<u64> = found(&path).iter().map(|row| row.seq).collect();
    assert_eq!(left, (100..=300).filter(|seq| *seq != 150).collect::<Vec<_>>());
    let totals = open(&path).contents().borrow().totals(QueueId::OUTBOX);
    assert_eq!((totals.messages, totals.first), (200, Some(100)));
}

#[test]
fn queues_do_not_mix_and_keep_their_numbers() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("deep/er/gatewire.db");
    let store = open(&path);
    let (commands, events) = (wait(store.place("commands")).queue, wait(store.place("events")).queue);
    assert!(commands != events && commands != QueueId::OUTBOX && events != QueueId::OUTBOX);
    for (queue, seq) in [(commands, 7), (events, QueueId::MAX_SEQ), (QueueId::OUTBOX, 0)] {
        wait(store.write(Write { queue, ..change(Vec::new(), vec![row(seq, 10)]) })).unwrap();
    }
    wait(store.close());
    let store = wait(Store::open(&path, &["events", "new", "commands"], &Thread)).unwrap();
    assert_eq!((wait(store.place("commands")).queue, wait(store.place("events")).queue), (commands, events));
    for (queue, seq) in [(commands, 7), (events, QueueId::MAX_SEQ), (QueueId::OUTBOX, 0)] {
        let page = wait(store.load(everything(queue))).unwrap();
        assert_eq!(page.rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [seq]);
    }
    assert!(wait(store.load(everything(wait(store.place("new")).queue))).unwrap().rows.is_empty());
}

#[test]
fn a_load_goes_page_by_page() {
    let directory = TempDir::new().unwrap();
    let (path, rows) = filled(&directory, 50);
    let store = open(&path);
    let (mut after, mut loaded) = (None, Vec::new());
    loop {
        let load = Load { after, max_bytes: 10_000, max_rows: 7, ..everything(QueueId::OUTBOX) };
        let page = wait(store.load(load)).unwrap();
        assert!(page.rows.len() <= 7);
        after = page.rows.last().map(|row| row.seq).or(after);
        loaded.extend(page.rows);
        if page.complete {
            break;
        }
    }
    assert_eq!(loaded, rows);
}

#[test]
fn notes_are_remembered() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gatewire.db");
    for text in ["a", "b"] {
        let store = open(&path);
        wait(store.write(Write::of_notes(vec![("filters".into(), text.to_owned())]))).unwrap();
        wait(store.close());
        let store = open(&path);
        assert_eq!(wait(store.note("filters")).unwrap(), Some(text.to_owned()));
        assert_eq!(wait(store.note("other")).unwrap(), None);
        wait(store.close());
    }
}

/// The power may go while the log is written: whatever of it has got to the disk, notes of one change are there together.
#[test]
fn of_two_notes_written_at_once_a_loss_of_power_leaves_both_or_none() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gatewire.db");
    let store = open(&path);
    let both = |text: String| Write::of_notes(vec![("job".into(), text.clone()), ("jobs".into(), text)]);
    let log = |at: &Path| std::fs::read(names::log_of(at)).unwrap();
    // The second is large enough for pages of its own.
    let (old, new) = ("old".to_owned(), "new".repeat(5000));
    wait(store.write(both(old.clone()))).unwrap();
    let before = log(&path).len();
    wait(store.write(both(new.clone()))).unwrap();
    let (database, log) = (std::fs::read(&path).unwrap(), log(&path));
    assert!(log.len() >= before + 4 * PAGE_SIZE, "the log has grown by what was written");
    let mut found = Vec::new();
    for cut in (before..log.len()).step_by(1000).chain([log.len()]) {
        let left = TempDir::new().unwrap();
        let path = left.path().join("gatewire.db");
        std::fs::write(&path, &database).unwrap();
        std::fs::write(names::log_of(&path), &log[..cut]).unwrap();
        let store = open(&path);
        let notes = ["job", "jobs"].map(|name| wait(store.note(name)).unwrap().unwrap());
        assert_eq!(notes[0], notes[1], "cut at {cut} of {}", log.len());
        found.push(notes[0] == new);
        wait(store.close());
    }
    assert!(found.is_sorted() && found.first() == Some(&false) && found.last() == Some(&true), "{found:?}");
}

/// In a database of a version that knew nothing urgent any number may be a forward's.
#[test]
fn what_is_urgent_gets_a_queue_in_a_database_of_before_and_takes_none_away() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gatewire.db");
    let likely = QueueId::likely_urgent();
    let names = (0..).map(|n| format!("forward {n}"));
    let name = names.into_iter().find(|name| QueueId::for_name(name, |_| false) == Some(likely)).unwrap();
    let open = || wait(Store::open(&path, &[&name], &Thread)).unwrap();
    let store = open();
    let outbox = [row(1, 10), row(2, 10)];
    wait(store.write(change(Vec::new(), outbox.to_vec()))).unwrap();
    wait(store.close());
    let before = rusqlite::Connection::open(&path).unwrap();
    before.execute("DELETE FROM queue WHERE name <> 'outbox' AND name <> 'quarantine'", []).unwrap();
    before.execute("INSERT INTO queue VALUES (?1, ?2, 0, 0)", rusqlite::params![likely.number(), name]).unwrap();
    before.close().unwrap();
    for run in 0..2 {
        let store = open();
        let (forward, (urgent, totals)) = (wait(store.place(&name)).queue, store.contents().borrow().urgent());
        assert_eq!((forward, totals.messages), (likely, run));
        assert!(urgent != likely && !urgent.is_built_in());
        for queue in [forward, urgent] {
            wait(store.write(Write { queue, ..change(Vec::new(), vec![row(10 + run, 10)]) })).unwrap();
        }
        wait(store.close());
    }
    let store = open();
    let places =
        |queue| wait(store.load(everything(queue))).unwrap().rows.iter().map(|row| row.seq).collect::<Vec<_>>();
    let urgent = store.contents().borrow().urgent().0;
    assert_eq!([QueueId::OUTBOX, likely, urgent].map(places), [vec![1, 2], vec![10, 11], vec![10, 11]]);
}

#[test]
fn a_second_instance_is_told_so() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gatewire.db");
    let store = open(&path);
    let error = wait(Store::open(&path, &[], &Thread)).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    wait(store.close());
}

#[test]
fn a_newer_schema_and_another_programs_database_are_left_as_they_are() {
    let directory = TempDir::new().unwrap();
    let (path, _) = filled(&directory, 10);
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 2).unwrap();
    newer.close().unwrap();
    let foreign = directory.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE photos (name TEXT)").unwrap();
    for path in [path, foreign] {
        let before = std::fs::read(&path).unwrap();
        let error = wait(Store::open(&path, &[], &Thread)).unwrap_err();
        assert!(matches!(error, OpenError::Newer { found: 2, .. } | OpenError::Foreign { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert!(!with_suffix(&path, "-wal").exists());
    }
}

/// A loss of power while the tables are made may leave any part of that.
#[test]
fn a_database_that_was_being_made_is_made_again() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gatewire.db");
    wait(open(&path).close());
    let whole = std::fs::read(&path).unwrap();
    // As SQLite leaves it when there is nothing but the kind of log.
    let blank = directory.path().join("blank.db");
    let connection = rusqlite::Connection::open(&blank).unwrap();
    connection.pragma_update(None, "page_size", 4096).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    let first = std::fs::read(&blank).unwrap();
    connection.execute_batch("CREATE TABLE ours (n)").unwrap();
    let log = std::fs::read(with_suffix(&blank, "-wal")).unwrap();
    assert_eq!(first.len(), 4096);
    let mut noise = log.clone();
    noise[32 + 24..].fill(0xa5);
    let page_behind = [&first[..], &whole[4096..]].concat();
    for (file, log) in [(&page_behind, &[][..]), (&first, &noise), (&first, &log[..32])] {
        std::fs::write(&path, file).unwrap();
        std::fs::write(with_suffix(&path, "-wal"), log).unwrap();
        let store = wait(Store::open(&path, &[], &Thread)).unwrap();
        wait(store.close());
        assert_eq!(std::fs::read(&path).unwrap()[..100], whole[..100], "{} bytes of log", log.len());
    }
    // Even noise in its place, but only then.
    let noise = vec![0xa5; 4096];
    let lock = with_suffix(&path, ".lock");
    for (said, is_ours) in [(&b"the database is being made\n"[..], true), (b"", false)] {
        let _ = std::fs::remove_file(with_suffix(&path, "-wal"));
        std::fs::write(&path, &noise).unwrap();
        std::fs::write(&lock, said).unwrap();
        match Store::open(&path, &[], &Thread) {
            opening if is_ours => {
                wait(wait(opening).unwrap().close());
                assert_eq!(std::fs::read(&path).unwrap()[..100], whole[..100]);
                assert_eq!(std::fs::read(&lock).unwrap(), b"");
            }
            opening => assert!(matches!(wait(opening).unwrap_err(), OpenError::NotADatabase { .. })),
        }
    }
    // Another program's isn't, be its table in the log alone.
    std::fs::write(&path, &first).unwrap();
    std::fs::write(with_suffix(&path, "-wal"), &log).unwrap();
    let error = wait(Store::open(&path, &[], &Thread)).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}

/// Whatever is at `path`, told from anything else.
fn as_it_is(path: &Path) -> String {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    let content = if metadata.is_file() { std::fs::read(path).unwrap() } else { Vec::new() };
    format!("{:?} {:o} {} {:?}", metadata.file_type(), metadata.permissions().mode(), metadata.len(), content)
}

/// What it is, and how it comes to a path.
type Kind<'a> = (&'a str, &'a dyn Fn(&Path));

#[test]
fn what_is_no_database_of_gatewire_is_left_as_it_is() {
    let text = |path: &Path| std::fs::write(path, "a letter\n".repeat(99)).unwrap();
    let kinds: [Kind<'_>; 9] = [
        ("text", &text),
        ("a byte", &|path| std::fs::write(path, "x").unwrap()),
        ("a picture", &|path| {
            std::fs::write(path, [&b"\x89PNG\r\n\x1a\n"[..], &[7; 3 * PAGE_SIZE - 8]].concat()).unwrap();
        }),
        ("another program's database", &|path| {
            rusqlite::Connection::open(path).unwrap().execute_batch("CREATE TABLE note (a TEXT, b TEXT)").unwrap();
        }),
        ("another program's database with a damaged table", &|path| {
            let photos = rusqlite::Connection::open(path).unwrap();
            photos.execute_batch("CREATE TABLE photos (name TEXT); INSERT INTO photos VALUES ('a')").unwrap();
            photos.close().unwrap();
            let mut image = std::fs::read(path).unwrap();
            image[100..PAGE_SIZE].fill(0x5a);
            std::fs::write(path, image).unwrap();
        }),
        ("a directory", &|path| std::fs::create_dir(path).unwrap()),
        ("a link", &|path| {
            text(&path.with_extension("txt"));
            std::os::unix::fs::symlink(path.with_extension("txt"), path).unwrap();
        }),
        ("a FIFO", &|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("a socket", &|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
    ];
    for (what, make) in kinds {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("gatewire.db");
        make(&path);
        let before = as_it_is(&path);
        let count = std::fs::read_dir(directory.path()).unwrap().count();
        let error = wait(Store::open(&path, &[], &Thread)).map(drop).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()) && error.contains("[outbox] path"), "{what}: {error}");
        assert_eq!(as_it_is(&path), before, "{what}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), count, "{what}: something was made beside it");
    }
}

#[test]
fn what_lies_in_the_place_of_the_log_or_the_lock_is_left_as_it_is() {
    for suffix in ["-wal", "-shm", ".lock"] {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("gatewire.db");
        let letter = directory.path().join("letter");
        std::fs::write(&letter, "precious").unwrap();
        std::fs::set_permissions(&letter, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&letter, with_suffix(&path, suffix)).unwrap();
        let error = wait(Store::open(&path, &[], &Thread)).map(drop).unwrap_err();
        assert!(matches!(error, OpenError::NotAFile { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&letter).unwrap(), "precious");
        assert_eq!(std::fs::metadata(&letter).unwrap().permissions().mode() & 0o777, 0o644);
    }
}

#[test]
fn an_emptied_database_gives_its_space_back() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gatewire.db");
    let store = open(&path);
    for n in 0..40u64 {
        let rows = (0..5).map(|i| row(n * 5 + i, 120_000)).collect();
        wait(store.write(change(Vec::new(), rows))).unwrap();
    }
    wait(store.write(change(vec![0..=QueueId::MAX_SEQ], Vec::new()))).unwrap();
    wait(store.close());
    assert!(std::fs::metadata(&path).unwrap().len() < 1 << 20);
}

#[test]
fn what_is_on_the_card_is_for_gatewire_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("state/gatewire.db");
    wait(open(&path).close());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(path.parent().unwrap()), 0o750);
    // As an older gatewire may have left them.
    for wider in [0o600, 0o644, 0o666] {
        for file in [path.clone(), with_suffix(&path, ".lock")] {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(wider)).unwrap();
        }
        std::fs::write(with_suffix(&path, "-wal"), "").unwrap();
        std::fs::set_permissions(with_suffix(&path, "-wal"), std::fs::Permissions::from_mode(wider)).unwrap();
        let store = open(&path);
        wait(store.write(change(Vec::new(), vec![row(u64::from(wider), 100)]))).unwrap();
        for suffix in ["", "-wal", ".lock"] {
            assert_eq!(mode(&with_suffix(&path, suffix)), 0o600, "{suffix} was {wider:o}");
        }
        wait(store.close());
    }
}
