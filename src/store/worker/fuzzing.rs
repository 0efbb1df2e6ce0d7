//! A database of anything: what isn't ours is left alone, and what is ours is opened, whatever became of it.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::{env, fs, process};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;

use super::Worker;
use crate::message::{Qos, Topic};
use crate::store::failure::Fault;
use crate::store::names::log_of;
use crate::store::salvage::has_message;
use crate::store::{Accepted, Contents, Load, QueueId, Row, Write, note_at, probe};

/// A database and its log.
type Files = (Vec<u8>, Vec<u8>);

/// Ones of gatewire, with messages in both, a freed page and messages of several pages.
static SOUND: LazyLock<Files> = LazyLock::new(|| {
    let directory = directory();
    let path = directory.path().join("gatewire.db");
    let fill = |seqs: RangeInclusive<u64>, delete| {
        let mut worker = worker(&path);
        assert!(worker.connect().is_ok());
        let change = change(vec![delete], seqs.map(row).collect());
        assert!(worker.attempt(|database| database.write([change.clone()].iter())).is_ok());
        worker
    };
    drop(fill(1..=8, 0..=0));
    let worker = fill(9..=12, 2..=3);
    let files = (fs::read(&path).unwrap_or_default(), fs::read(log_of(&path)).unwrap_or_default());
    drop(worker);
    files
});

/// Has `input` lie there when the daemon starts. Where its first byte is even, the rest changes a sound database: a place and
/// what stands there from now on. Where it is odd, the rest is the length of the database (two bytes), it and its log.
pub fn database(input: &[u8]) {
    let Some((&kind, input)) = input.split_first() else { return };
    let (file, log) = if kind % 2 == 0 { changed(input) } else { taken(input) };
    let directory = directory();
    let path = directory.path().join("gatewire.db");
    write(&path, &file);
    if !log.is_empty() {
        write(&log_of(&path), &log);
    }
    let is_ours =
        file.starts_with(b"SQLite format 3\0") || file.iter().take(100).all(|byte| *byte == 0) || has_message(&path);
    // What only looks changes nothing, and fails nowhere.
    let _ = note_at(&path, "n");
    probe(&path, |_| false);
    let is_as_it_was = || {
        fs::read(&path).is_ok_and(|now| now == file)
            && (log.is_empty() || fs::read(log_of(&path)).is_ok_and(|now| now == log))
    };
    assert!(is_as_it_was());
    let mut worker = worker(&path);
    match worker.connect() {
        Ok(()) => {
            assert!(is_ours, "what isn't ours is refused");
            used(&mut worker);
        }
        // Only a person can decide: everything is as it was.
        Err(Fault::Unusable(_)) => {
            assert!(is_as_it_was());
            assert!(fs::read_dir(directory.path()).is_ok_and(|names| names.count() <= 4), "nothing was moved aside");
        }
        Err(Fault::Damage(why)) => panic!("damage is mended, not told: {why}"),
        Err(Fault::Refused(_) | Fault::Broken(_)) => {}
    }
}

/// Everything is read, and something is written. Damage may show only now, and once the database was made anew.
fn used(worker: &mut Worker) {
    let everything =
        Load { queue: QueueId::OUTBOX, after: None, until: QueueId::MAX_SEQ, max_bytes: 1 << 20, max_rows: 1000 };
    let seq = QueueId::MAX_SEQ;
    let read = worker.attempt(|database| database.load(&everything));
    assert!(read.is_err() || read.is_ok_and(|page| page.rows.is_sorted_by_key(|row| row.seq)));
    worker.checks_left = 1;
    worker.check();
    if worker.attempt(|database| database.write([change(vec![seq..=seq], vec![row(seq)])].iter())).is_ok() {
        let last = Load { after: Some(seq - 1), ..everything };
        let read = worker.attempt(|database| database.load(&last));
        assert!(read.is_err() || read.is_ok_and(|page| page.rows == [row(seq)]), "what was written is there");
    }
}

/// The sound database with changes: which file, a place (two bytes, each step eight bytes), a length and so many bytes. Of
/// length 0: the file ends there.
fn changed(mut changes: &[u8]) -> Files {
    let (mut file, mut log) = SOUND.clone();
    while let Some((&[which, high, low, length], rest)) = changes.split_first_chunk() {
        let bytes = if which % 2 == 0 { &mut file } else { &mut log };
        let place = usize::from(u16::from_be_bytes([high, low])) * 8 % (bytes.len() + 1);
        let (new, rest) = rest.split_at(rest.len().min(usize::from(length)));
        changes = rest;
        match length {
            0 => bytes.truncate(place),
            _ => bytes[place..].iter_mut().zip(new).for_each(|(byte, new)| *byte = *new),
        }
    }
    (file, log)
}

fn taken(input: &[u8]) -> Files {
    let Some((length, rest)) = input.split_first_chunk() else { return Files::default() };
    let (file, log) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes(*length))));
    (file.to_vec(), log.to_vec())
}

fn row(seq: u64) -> Row {
    Row {
        seq,
        at: Timestamp::UNIX_EPOCH,
        accepted: Accepted::ThisBoot(1),
        topic: Topic::received("a/b"),
        payload: Bytes::from(vec![b'x'; (seq % 4) as usize * 2000]),
        qos: Qos::AtLeastOnce,
        retain: false,
        duplicate: false,
        urgent: false,
        properties: None,
    }
}

fn change(delete: Vec<RangeInclusive<u64>>, insert: Vec<Row>) -> Write {
    Write {
        queue: QueueId::OUTBOX,
        delete,
        insert,
        clock_offset: Some(1),
        notes: vec![("n".into(), "a note".to_owned()), ("m".into(), "another".to_owned())],
    }
}

fn worker(path: &Path) -> Worker {
    let (publish, _) = watch::channel(Contents::default());
    Worker::new(path, vec!["f".to_owned()], publish, Arc::default(), Arc::default(), Arc::default())
}

/// A directory that is removed when it is dropped.
struct Directory(PathBuf);

impl Directory {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left is in memory, or where all that is temporary is.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// In memory, where there is such a place: nothing here is about the disk.
fn directory() -> Directory {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() { memory } else { env::temp_dir() };
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = parent.join(format!("gatewire-fuzzing-{}-{number}", process::id()));
    fs::create_dir(&path).expect("a directory can be made");
    Directory(path)
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file can be written");
}
