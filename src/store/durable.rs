//! A backlog, and when what of it goes to the disk. Pure: no I/O, no clock.
//!
//! What is written and read next is decided in one place, [`DiskQueue`], for every queue there is; in what they differ, they say
//! by [`DiskRules`].
//!
//! Every message knows when it is due on the disk; one that is finished before never gets there. What is finished and on the
//! disk is removed from it together with others.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use super::backlog::{Backlog, Batch, Item};
use super::{Load, Moment, Page, QueueId, Row, Totals, Write};

/// Messages that are finished and still on the disk are removed when there are so many, or after [`FLUSH_AFTER`], or with
/// whatever else is written, or with the last of them. Should the daemon be killed before, they are delivered a second time.
pub(crate) const FLUSH_AT: u64 = 256;

/// See [`FLUSH_AT`].
pub(crate) const FLUSH_AFTER: Duration = Duration::from_secs(5);

/// A message that may have to be on the disk.
pub(crate) trait Lasting: Item {
    /// Who waits for it to be there.
    type Waiter;
    /// When it has to be on the disk at the latest; `None` if it never has.
    fn due(&self) -> Option<Instant>;
    fn to_row(&self, seq: u64) -> Row;
    /// It is on the disk: nobody waits for that any more.
    fn take_waiter(&mut self) -> Option<Self::Waiter>;
}

/// A note, by its name, that goes to the disk with messages.
pub(crate) type Note = (Cow<'static, str>, String);

/// What a queue decides by itself about its [`Durable`].
pub(crate) trait DiskRules {
    type Item: Lasting;

    fn durable(&mut self) -> &mut Durable<Self::Item>;

    /// Tells which messages are to be on the disk before they are due.
    fn at_once(&self) -> fn(&Self::Item) -> bool;

    /// The note that goes with a write, or is one `alone` if it has to be there now.
    fn begin_note(&mut self, _alone: bool) -> Option<Note> {
        None
    }

    /// A write has ended, and with it the note. `waiters` waited for messages that are on the disk now.
    fn written(&mut self, successful: bool, waiters: Vec<<Self::Item as Lasting>::Waiter>);

    /// Whether more may be read. When the head is short enough for it the backlog knows.
    fn may_load(&self) -> bool {
        true
    }

    /// A message that was read.
    fn read(&self, row: Row, now: Instant, moment: &Moment) -> Self::Item;

    /// A read has ended, with messages or without.
    fn loaded(&mut self);
}

/// A queue and the disk, as [`keeper`](super::keeper) sees them: one write and one read at a time.
pub(crate) trait DiskQueue {
    /// What to write now. It is asked again only after [`DiskQueue::write_ended`].
    fn next_write(&mut self, now: Instant) -> Option<Write>;
    fn write_ended(&mut self, successful: bool, now: Instant);
    /// What to read now. It is asked again only after [`DiskQueue::load_ended`].
    fn next_load(&mut self) -> Option<Load>;
    /// `page`: what was read; `None` if that failed.
    fn load_ended(&mut self, page: Option<Page>, now: Instant, moment: &Moment);
}

impl<Q: DiskRules> DiskQueue for Q {
    fn next_write(&mut self, now: Instant) -> Option<Write> {
        let at_once = self.at_once();
        let durable = self.durable();
        let queue = durable.queue;
        let batch = durable.begin_batch(now, at_once);
        let note = self.begin_note(batch.is_none());
        if batch.is_none() && note.is_none() {
            return None;
        }
        let Batch { delete, insert } = batch.unwrap_or_default();
        Some(Write { queue, delete, insert, clock_offset: None, notes: note.into_iter().collect() })
    }

    fn write_ended(&mut self, successful: bool, now: Instant) {
        let waiters = self.durable().end_batch(successful, now);
        self.written(successful, waiters);
    }

    fn next_load(&mut self) -> Option<Load> {
        if !self.may_load() {
            return None;
        }
        let durable = self.durable();
        durable.backlog.begin_load(durable.queue)
    }

    fn load_ended(&mut self, page: Option<Page>, now: Instant, moment: &Moment) {
        match page {
            Some(Page { rows, complete }) => {
                let items = rows.into_iter().map(|row| (row.seq, self.read(row, now, moment)));
                let items: Vec<(u64, Q::Item)> = items.collect();
                let durable = self.durable();
                durable.missing += durable.backlog.end_load(items, complete);
            }
            None => self.durable().backlog.load_failed(),
        }
        self.loaded();
    }
}

/// See the module. What isn't about the disk is asked of the [`Backlog`] itself.
#[derive(Debug)]
pub(crate) struct Durable<T> {
    backlog: Backlog<T>,
    queue: QueueId,
    /// Which database the backlog lies in; 0: none could be opened yet.
    generation: u64,
    stopping: bool,
    /// The last write failed.
    failing: bool,
    /// There may be something that has to be on the disk at once.
    hurried: bool,
    /// No message in memory is due on the disk before this.
    spill_check: Option<Instant>,
    /// When to remove what is finished.
    flush_at: Option<Instant>,
    /// When the last write ended.
    written_at: Option<Instant>,
    missing: u64,
}

impl<T> Deref for Durable<T> {
    type Target = Backlog<T>;

    fn deref(&self) -> &Backlog<T> {
        &self.backlog
    }
}

impl<T> DerefMut for Durable<T> {
    fn deref_mut(&mut self) -> &mut Backlog<T> {
        &mut self.backlog
    }
}

impl<T: Lasting> Durable<T> {
    /// The queue of which `stored` is on the disk, in the database of this `generation`.
    pub(crate) fn new(queue: QueueId, stored: Totals, generation: u64) -> Durable<T> {
        Durable {
            backlog: Backlog::new(stored),
            queue,
            generation,
            stopping: false,
            failing: false,
            hurried: false,
            spill_check: None,
            flush_at: None,
            written_at: None,
            missing: 0,
        }
    }

    pub(crate) fn queue(&self) -> QueueId {
        self.queue
    }

    /// In the database it has another number than was thought.
    pub(crate) fn set_queue(&mut self, queue: QueueId) {
        self.queue = queue;
    }

    /// A message is here, or has to be on the disk sooner than it had. None is due before `at`.
    pub(crate) fn expect(&mut self, at: Instant) {
        self.spill_check = Some(self.spill_check.map_or(at, |check| check.min(at)));
    }

    /// There may be something that has to be on the disk at once.
    pub(crate) fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Something is finished.
    pub(crate) fn note_finished(&mut self, now: Instant) {
        self.plan_flush(now);
        if self.backlog.is_empty() {
            self.spill_check = None;
        }
    }

    /// What is finished is removed with others. With the last of them at once, unless the last write was so short a time ago: what
    /// comes now may be finished without ever being on the disk, and a kill would have older messages delivered once more after it.
    fn plan_flush(&mut self, now: Instant) {
        if self.backlog.finished() == 0 {
            return;
        }
        let at = match self.backlog.has_stored() {
            false => self.written_at.map_or(now, |at| now.max(at + FLUSH_AFTER)),
            true => now + FLUSH_AFTER,
        };
        self.flush_at = Some(self.flush_at.map_or(at, |planned| planned.min(at)));
    }

    /// No database could be opened yet.
    pub(crate) fn is_without_disk(&self) -> bool {
        self.generation == 0
    }

    /// Everything is to be on the disk, and off it what is finished.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        self.hurried = true;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// The last write failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing
    }

    /// Nothing is in memory alone, and nothing on the disk that is finished.
    pub(crate) fn is_stored(&self) -> bool {
        self.backlog.is_all_stored() && self.backlog.finished() == 0
    }

    /// Whether there is something to write or read before [`Durable::timeout`].
    pub(crate) fn needs_keeper(&self) -> bool {
        self.hurried || self.backlog.finished() >= FLUSH_AT
    }

    /// What to write now of the messages: what is due, or said to be wanted `at_once`.
    fn begin_batch(&mut self, now: Instant, at_once: fn(&T) -> bool) -> Option<Batch> {
        let flush = self.stopping || self.flush_at.is_some_and(|at| at <= now) || self.backlog.finished() >= FLUSH_AT;
        let look = self.hurried || self.spill_check.is_some_and(|at| at <= now);
        if !flush && !look {
            return None;
        }
        let stopping = self.stopping;
        let wanted = |item: &T| item.due().is_some_and(|due| stopping || due <= now || at_once(item));
        let batch = self.backlog.begin_write(flush, wanted, |seq, item| item.to_row(seq));
        if look && batch.as_ref().is_none_or(|batch| batch.insert.is_empty()) {
            self.hurried = false;
            self.spill_check = self.backlog.unstored().filter_map(Lasting::due).min().filter(|due| *due > now);
        }
        if batch.is_some() {
            self.flush_at = None;
        }
        batch
    }

    /// The write has ended. Returns who waited for what is on the disk now.
    fn end_batch(&mut self, successful: bool, now: Instant) -> Vec<T::Waiter> {
        self.failing = !successful;
        self.hurried = true;
        let mut waiters = Vec::new();
        self.written_at = Some(now);
        self.backlog.end_write(successful, |item| waiters.extend(item.take_waiter()));
        self.plan_flush(now);
        waiters
    }

    /// The disk is this one, and holds this. Returns whether it is another than before.
    pub(crate) fn attach(&mut self, stored: Totals, generation: u64) -> bool {
        if self.generation == generation {
            return false;
        }
        self.backlog.reattach(stored, self.generation == 0);
        self.generation = generation;
        self.hurried = true;
        true
    }

    /// When to ask for something to write, though nothing has happened.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        [self.spill_check, self.flush_at].into_iter().flatten().min()
    }

    /// Messages that should have been on the disk and weren't: what damage took.
    pub(crate) fn missing(&self) -> u64 {
        self.missing
    }
}
