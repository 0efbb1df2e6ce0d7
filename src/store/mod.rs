//! What has to outlive the daemon: one SQLite database, written by one thread.
//!
//! It holds queues of messages: what waits for IoT Core, and for each forward what waits for a reader; and short notes. The
//! tasks hand it a [`Write`] and wait: when it comes back, it is on the disk, through power loss. They keep everything in
//! memory until then, so that nothing is lost when it fails.
//!
//! [`database`] is the database and what is done with it; [`worker`] the thread; [`salvage`] reads what is left of a damaged
//! one; [`backlog`] decides (pure) what of a queue is in memory and what on the disk, [`durable`] (pure) when it goes there;
//! [`keeper`] carries out what they decide.

pub(crate) mod backlog;
mod clock;
mod database;
pub(crate) mod durable;
mod failure;
mod files;
pub(crate) mod keeper;
mod lock;
mod names;
mod note;
mod place;
mod probe;
mod queue;
mod ready;
pub(crate) mod reminder;
mod row;
mod salvage;
mod settling;
#[cfg(test)]
pub(crate) mod simulated;
mod status;
mod task;
#[cfg(test)]
mod tests;
mod thread;
mod trouble;
mod unwanted;
mod worker;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot, watch};

use crate::journal;
pub(crate) use clock::{Accepted, Moment, accepted_now};
pub(crate) use failure::{Failure, OpenError};
pub(crate) use keeper::Retry;
use lock::Lock;
pub(crate) use lock::{holder, is_held};
pub(crate) use names::names_of;
pub(crate) use note::{NoteError, note_at};
pub(crate) use probe::{Obstacle, probe};
pub(crate) use queue::{QueueId, QueueState, Totals};
pub(crate) use row::Row;
pub(crate) use settling::Settling;
pub(crate) use status::StoreStatus;
pub(crate) use task::{Disk, Job, Task};
pub(crate) use thread::Thread;
use trouble::{Action, News, Trouble};
#[cfg(any(test, fuzzing))]
pub(crate) use worker::fuzzing;

const PAGE_SIZE: usize = 4096;

/// Jobs that wait for the thread. Who waits for one doesn't ask for the next, so that these are plenty.
const MAX_JOBS: usize = 256;

/// A change of a queue: all of it, or nothing.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) queue: QueueId,
    /// Places of messages that are done; ranges may include places where there is none. Removed before `insert` is added.
    pub(crate) delete: Vec<RangeInclusive<u64>>,
    pub(crate) insert: Vec<Row>,
    /// How far the clock is ahead of the time since boot, in milliseconds, if it is synchronised.
    pub(crate) clock_offset: Option<i64>,
    /// Notes to be remembered, each under its name; of two with the same name the last counts.
    pub(crate) notes: Vec<durable::Note>,
}

impl Write {
    /// Notes alone: all of them, or none.
    pub(crate) fn of_notes(notes: Vec<durable::Note>) -> Write {
        Write { queue: QueueId::OUTBOX, delete: Vec::new(), insert: Vec::new(), clock_offset: None, notes }
    }

    /// The same, where some of it may have been done already.
    fn again(mut self) -> Write {
        self.delete.extend(self.insert.iter().map(|row| row.seq..=row.seq));
        self
    }
}

/// A question for the messages of a queue from `after` (exclusive) to `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) queue: QueueId,
    pub(crate) after: Option<u64>,
    pub(crate) until: u64,
    /// Not more than this, but at least one message.
    pub(crate) max_bytes: u64,
    pub(crate) max_rows: usize,
}

/// The answer.
#[derive(Debug)]
pub(crate) struct Page {
    /// In order.
    pub(crate) rows: Vec<Row>,
    /// There is no more up to `until`.
    pub(crate) complete: bool,
}

/// What the database holds. It is told anew when it had to be made anew, or could only be opened late.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents {
    /// The same as long as it is the same database.
    pub(crate) generation: u64,
    queues: Vec<(QueueId, String, Totals)>,
}

impl Contents {
    pub(crate) fn totals(&self, queue: QueueId) -> Totals {
        self.queues.iter().find(|(id, ..)| *id == queue).map_or_else(Totals::default, |(_, _, totals)| *totals)
    }

    /// The queue of what is urgent of the outbox. Its number is known once the database is open.
    pub(crate) fn urgent(&self) -> (QueueId, Totals) {
        let known = self.queues.iter().find(|(_, name, _)| name == QueueId::URGENT);
        known.map_or_else(|| (QueueId::likely_urgent(), Totals::default()), |(id, _, totals)| (*id, *totals))
    }
}

/// What the next start finds of what is stored.
#[derive(Debug)]
pub(crate) enum Kept {
    /// This, in the database.
    InPlace(Vec<(QueueId, String, Totals)>),
    /// Everything, in a file beside it, which it puts in the place of the database.
    Beside(PathBuf, Failure),
    /// Nobody knows: the database is in its place, and can't be read now.
    Unread(Failure),
    /// Nothing: it isn't there any more, and can't be written again.
    Lost(Failure),
}

/// The store, as the tasks see it.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    jobs: mpsc::Sender<Job>,
    /// How many jobs wait: the thread stops looking at old pages for them.
    pending: Arc<AtomicUsize>,
    contents: watch::Receiver<Contents>,
    trouble: RefCell<Trouble>,
    moved_aside: Arc<std::sync::Mutex<Vec<String>>>,
    restored: Arc<AtomicUsize>,
    checked: Cell<bool>,
    /// Somebody looks whether the files are in place; and has to look again.
    looking: Cell<bool>,
    look_again: Cell<bool>,
}

impl Store {
    /// Has `disk` open the database, and completes when that is open, for which a damaged one has to be read through. `forwards` are the names of the queues there should be beside the outbox.
    ///
    /// # Errors
    /// Only what a person has to decide. A damaged database is moved aside and what is readable carried over; one that can't
    /// be opened just now is tried again and again, and until then everything waits in memory.
    pub(crate) async fn open(path: &Path, forwards: &[&str], disk: &impl Disk) -> Result<Rc<Store>, OpenError> {
        let (jobs, receiver) = mpsc::channel(MAX_JOBS);
        let (publish, contents) = watch::channel(Contents::default());
        let (opened, first) = oneshot::channel();
        let (pending, moved_aside, restored) = Default::default();
        let task = Task {
            path: path.to_owned(),
            forwards: forwards.iter().chain([&QueueId::URGENT]).map(|name| (*name).to_owned()).collect(),
            jobs: receiver,
            opened,
            publish,
            pending: Arc::clone(&pending),
            moved_aside: Arc::clone(&moved_aside),
            restored: Arc::clone(&restored),
        };
        disk.begin(task).map_err(OpenError::NoThread)?;
        let outcome = first.await.unwrap_or(Ok(Err(Failure::Gone)))?;
        let store = Store {
            path: path.to_owned(),
            jobs,
            pending,
            contents,
            trouble: RefCell::default(),
            moved_aside,
            restored,
            checked: Cell::new(false),
            looking: Cell::new(false),
            look_again: Cell::new(false),
        };
        store.note_outcome(Action::Open, &outcome);
        Ok(Rc::new(store))
    }

    /// The place of a forward's queue, which is made if there is none.
    pub(crate) async fn place(&self, forward: &str) -> QueueState {
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Place(forward.to_owned(), reply)).await;
        // Should the thread have ended, nothing is stored any more, whatever the place.
        answer.await.unwrap_or_default()
    }

    /// Completes when the thread has ended: nothing is stored or read any more.
    pub(crate) async fn ended(&self) {
        let mut contents = self.contents();
        while contents.changed().await.is_ok() {}
    }

    /// Completes when `work` does, or when the thread can't do its part of it any more.
    pub(crate) async fn while_it_works(&self, work: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = work => {}
            () = self.ended() => {}
        }
    }

    /// What the database holds now, and whenever that has to be told anew.
    pub(crate) fn contents(&self) -> watch::Receiver<Contents> {
        self.contents.clone()
    }

    /// A note that was remembered; `None`: there is none.
    pub(crate) async fn note(&self, name: impl Into<Cow<'static, str>>) -> Result<Option<String>, Failure> {
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Note(name.into(), reply)).await;
        answer.await.unwrap_or(Err(Failure::Gone))
    }

    /// Likewise: completes once the database can be read. What can't is told `why_not`, each time.
    pub(crate) async fn note_in_time(&self, name: &'static str, why_not: impl Fn(&Failure)) -> Option<String> {
        let mut retry = Retry::default();
        loop {
            match self.note(name).await {
                Ok(note) => return note,
                Err(failure) => why_not(&failure),
            }
            retry.note(true);
            retry.over().await;
        }
    }

    /// Completes when the change is on the disk.
    pub(crate) async fn write(&self, write: Write) -> Result<(), Failure> {
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Write(write, reply)).await;
        let outcome = answer.await.unwrap_or(Err(Failure::Gone));
        self.note_outcome(Action::Write, &outcome);
        outcome
    }

    /// Reads messages.
    pub(crate) async fn load(&self, load: Load) -> Result<Page, Failure> {
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Load(load, reply)).await;
        let outcome = answer.await.unwrap_or(Err(Failure::Gone));
        self.note_outcome(Action::Read(load.queue), &outcome);
        outcome
    }

    /// There is nothing to read of a queue, so that it doesn't matter any more that it couldn't be read.
    fn needs_no_load(&self, queue: QueueId) {
        self.note_outcome(Action::Read(queue), &Ok(()));
    }

    /// Completes once the database is open: one that couldn't be at the start is tried again and again, though there be nothing
    /// to write. What lies in it has waited for long enough.
    pub(crate) async fn opened(&self) {
        let mut retry = Retry::default();
        while self.contents.borrow().generation == 0 {
            retry.note(true);
            retry.over().await;
            let (reply, answer) = oneshot::channel();
            self.submit(Job::Open(reply)).await;
            self.note_outcome(Action::Open, &answer.await.unwrap_or(Err(Failure::Gone)));
        }
        self.note_outcome(Action::Open, &Ok(()));
    }

    /// Completes when the files of the database are where they belong: should somebody have removed or replaced them, they are put
    /// back. One caller does that, the others have nothing to wait for.
    pub(crate) async fn keep_in_place(&self) {
        self.look_again.set(true);
        if self.looking.replace(true) {
            return;
        }
        let mut retry = Retry::default();
        while self.look_again.replace(false) {
            let (reply, answer) = oneshot::channel();
            self.submit(Job::Look(reply)).await;
            let outcome = answer.await.unwrap_or(Err(Failure::Gone));
            self.note_outcome(Action::Restore, &outcome);
            if !matches!(outcome, Ok(()) | Err(Failure::Gone)) {
                self.look_again.set(true);
                retry.note(true);
                retry.over().await;
            }
        }
        self.looking.set(false);
    }

    /// Says that so many messages wait in a queue that nothing in the configuration is for any more, as the next start does.
    pub(crate) fn say_unwanted(&self, queue: &str, waiting: u64) {
        unwanted::say(queue, waiting, &self.path);
    }

    /// The files by which it can be told that the database was removed or replaced.
    pub(crate) fn files(&self) -> [PathBuf; 3] {
        [self.path.clone(), names::log_of(&self.path), names::lock_of(&self.path)]
    }

    /// Has the whole database looked at, once, whenever there is nothing else to do.
    pub(crate) fn check_in_background(&self) {
        if !self.checked.replace(true) {
            // If there is no room for it, there is too much else to do.
            let _ = self.jobs.try_send(Job::Check);
        }
    }

    async fn submit(&self, job: Job) {
        self.pending.fetch_add(1, Ordering::Relaxed);
        // Should the thread have ended, the answer says so.
        let _ = self.jobs.send(job).await;
    }

    fn note_outcome<T>(&self, action: Action, outcome: &Result<T, Failure>) {
        let failure = outcome.as_ref().err();
        let news = self.trouble.borrow_mut().note(action, failure, journal::now());
        match (news, failure) {
            // Without the thread nothing is tried again: the daemon ends, and says so.
            (Some(News::Failing), Some(failure)) if *failure != Failure::Gone => log::error!(
                GATEWIRE_EVENT = "store_failing";
                "nothing can be stored: {failure}. Stored messages are kept. New messages wait in memory as long as there \
                is room, and gatewire keeps retrying"
            ),
            (Some(News::Recovered), _) => log::info!(
                GATEWIRE_EVENT = "store_recovered";
                "{} is written again: what waited in memory is stored now", self.path.display()
            ),
            _ => {}
        }
    }

    /// Why nothing can be written or read at the moment.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().now().map(|(failure, _)| failure.to_string())
    }

    /// The daemon stops: nobody can move away any more what is in the place of the database, so that it is moved aside.
    pub(crate) async fn stop(&self) {
        self.submit(Job::Stop).await;
    }

    /// What the next start finds. `None`: the store's thread has ended.
    pub(crate) async fn kept(&self) -> Option<Kept> {
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Kept(reply)).await;
        answer.await.ok()
    }

    /// Closes the database, as soon as what was asked of it is done.
    pub(crate) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Close(reply)).await;
        // Should the thread have ended before, it is closed.
        let _ = answer.await;
    }
}
