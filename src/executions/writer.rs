//! Journals on their way to the disk: one write at a time, of the newest that there is; again and again while the disk doesn't take it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::services::{commands, jobs};
use crate::store::{Failure, Store, Write};

/// The first wait after the disk hasn't taken something, doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Whose journal it is that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    Jobs(jobs::RecordId),
    Commands(commands::RecordId),
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
    notes: BTreeMap<&'static str, String>,
    records: Vec<Record>,
    /// Those among them of which it was said that they can't be written.
    is_told: bool,
}

type Writing = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// See the module.
pub(super) struct Writer {
    store: Rc<Store>,
    pending: Pending,
    writing: Option<(Pending, Writing)>,
    wait: Duration,
    not_before: Option<Instant>,
}

impl Writer {
    pub(super) fn new(store: &Rc<Store>) -> Writer {
        Writer {
            store: Rc::clone(store),
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
        let notes = pending.notes.iter().map(|(name, text)| ((*name).into(), text.clone())).collect();
        let store = Rc::clone(&self.store);
        self.writing = Some((pending, Box::pin(async move { store.write(Write::of_notes(notes)).await })));
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
