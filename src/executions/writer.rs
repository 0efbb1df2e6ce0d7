//! Journals on their way to the disk: one write at a time, of the newest that there is; again and again while the disk doesn't take it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Executions, notes};
use crate::services::{commands, jobs};
use crate::store::{Failure, Write};

/// Notes by their names.
type Notes = BTreeMap<&'static str, String>;

/// The first wait after the disk hasn't taken something, doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Whose journal it is that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Jobs(jobs::RecordId),
    Commands(commands::RecordId),
    /// That a reader of `jobs.sock` may have this one.
    Offered(jobs::Identity),
}

/// What has become of records.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) records: Vec<Record>,
    pub(super) is_done: bool,
}

/// Notes that are to be on the disk together, with the records that are answered then.
#[derive(Debug, Default, Clone)]
struct Pending {
    notes: Notes,
    records: Vec<Record>,
    /// Those among them of which it was said that they can't be written.
    is_told: bool,
}

type Writing = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// See the module.
pub(super) struct Writer {
    /// Begins to write.
    write: Box<dyn Fn(Notes) -> Writing>,
    pending: Pending,
    writing: Option<(Pending, Writing)>,
    wait: Duration,
    not_before: Option<Instant>,
}

impl Writer {
    pub(super) fn new(executions: &Rc<Executions>) -> Writer {
        let executions = Rc::clone(executions);
        Writer::with(move |mut notes| {
            let executions = Rc::clone(&executions);
            Box::pin(async move {
                // An action notes its own position meanwhile, which isn't to be written over with what was known before.
                if let Some(text) = notes.get_mut(notes::POSITIONS) {
                    *text = executions.positions.borrow().text();
                }
                let notes = notes.into_iter().map(|(name, text)| (name.into(), text)).collect();
                executions.store.write(Write::of_notes(notes)).await
            })
        })
    }

    fn with(write: impl Fn(Notes) -> Writing + 'static) -> Writer {
        Writer {
            write: Box::new(write),
            pending: Pending::default(),
            writing: None,
            wait: Duration::ZERO,
            not_before: None,
        }
    }

    /// This note is to be on the disk, in the place of an older one of its name; `record` is answered then.
    pub(super) fn put(&mut self, name: &'static str, text: String, record: Option<Record>) {
        self.pending.notes.insert(name, text);
        if record.is_some() {
            // New ones haven't been told of.
            self.pending.is_told = false;
        }
        self.pending.records.extend(record);
    }

    /// When to go on, though nothing has happened.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.writing.is_none() && !self.pending.notes.is_empty())
    }

    /// Begins to write what waits, if that can be.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.writing.is_some() || self.pending.notes.is_empty() || self.not_before.is_some_and(|at| now < at) {
            return;
        }
        self.not_before = None;
        let pending = std::mem::take(&mut self.pending);
        let writing = (self.write)(pending.notes.clone());
        self.writing = Some((pending, writing));
    }

    /// Whether nothing is being written, nor waits to be.
    pub(super) fn is_idle(&self) -> bool {
        self.writing.is_none() && self.pending.notes.is_empty()
    }

    /// Completes when something was written, or couldn't be; never if nothing is being written.
    pub(super) async fn written(&mut self) -> Result<(), Failure> {
        match &mut self.writing {
            Some((_, writing)) => writing.await,
            None => std::future::pending().await,
        }
    }

    /// That has [completed](Writer::written).
    pub(super) fn note(&mut self, result: &Result<(), Failure>, now: Instant) -> Written {
        let Some((batch, _)) = self.writing.take() else { return Written { records: Vec::new(), is_done: true } };
        if result.is_ok() {
            self.wait = Duration::ZERO;
            return Written { records: batch.records, is_done: true };
        }
        self.wait = (self.wait * 2).clamp(FIRST_WAIT, MAX_WAIT);
        self.not_before = Some(now + self.wait);
        let newer = std::mem::take(&mut self.pending);
        let told = if batch.is_told { Vec::new() } else { batch.records.clone() };
        self.pending = batch;
        self.pending.notes.extend(newer.notes);
        self.pending.is_told = newer.records.is_empty();
        self.pending.records.extend(newer.records);
        Written { records: told, is_done: false }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::services::jobs::RecordId;

    /// A disk that takes something, or doesn't.
    #[derive(Default)]
    struct Disk {
        fails: Cell<bool>,
        written: RefCell<Vec<Notes>>,
    }

    fn writer() -> (Writer, Rc<Disk>) {
        let disk: Rc<Disk> = Rc::default();
        let of_writer = Rc::clone(&disk);
        let writer = Writer::with(move |notes| {
            let result = if of_writer.fails.get() { Err(Failure::Gone) } else { Ok(()) };
            if result.is_ok() {
                of_writer.written.borrow_mut().push(notes);
            }
            Box::pin(std::future::ready(result))
        });
        (writer, disk)
    }

    fn record(n: u64) -> Record {
        Record::Jobs(RecordId::of_test(n))
    }

    /// Lets it write once.
    async fn turn(writer: &mut Writer, now: Instant) -> Written {
        writer.begin(now);
        let result = writer.written().await;
        writer.note(&result, now)
    }

    #[tokio::test]
    async fn what_is_there_at_once_is_written_at_once_and_the_newest_of_a_name() {
        let (mut writer, disk) = writer();
        assert!(writer.is_idle());
        writer.put("job", "1".to_owned(), Some(record(1)));
        writer.put("job", "2".to_owned(), Some(record(2)));
        writer.put("jobs", "x".to_owned(), None);
        let written = turn(&mut writer, Instant::now()).await;
        assert_eq!(written, Written { records: vec![record(1), record(2)], is_done: true });
        let notes: Notes = [("job", "2".to_owned()), ("jobs", "x".to_owned())].into();
        assert_eq!(*disk.written.borrow(), [notes]);
        assert!(writer.is_idle() && writer.timeout().is_none());
    }

    #[tokio::test]
    async fn what_the_disk_does_not_take_is_told_once_and_tried_with_the_newest_later_and_later() {
        let ((mut writer, disk), mut now) = (writer(), Instant::now());
        disk.fails.set(true);
        writer.put("job", "1".to_owned(), Some(record(1)));
        let failed = |records| Written { records, is_done: false };
        assert_eq!(turn(&mut writer, now).await, failed(vec![record(1)]));
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(writer.timeout(), Some(now + Duration::from_secs(seconds)));
            writer.begin(now);
            assert!(writer.writing.is_none(), "not before");
            now += Duration::from_secs(seconds);
            assert_eq!(turn(&mut writer, now).await, failed(Vec::new()));
        }
        writer.put("job", "2".to_owned(), Some(record(2)));
        now += Duration::from_secs(30);
        disk.fails.set(false);
        let written = turn(&mut writer, now).await;
        assert_eq!(written, Written { records: vec![record(1), record(2)], is_done: true });
        assert_eq!(disk.written.borrow()[0]["job"], "2");
    }
}
