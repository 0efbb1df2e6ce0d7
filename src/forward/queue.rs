//! Who is owed which line, what waits for a reader, and when a message is done. Pure: no I/O, time comes from the caller.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;

use crate::config::{Keep, WhenFull};
use crate::inbox::Receipt;

/// Unwritten lines of a reader, in bytes. Past it the reader is dismissed.
const MAX_UNWRITTEN: usize = 1024 * 1024;

/// A reader that takes nothing for so long while lines wait for it is dismissed.
pub(super) const MAX_SILENCE: Duration = Duration::from_secs(10);

/// How much of what was kept is handed to a reader at a time.
const REFILL: usize = 64 * 1024;

/// Bytes of memory that a kept line takes beside itself.
const KEPT_OVERHEAD: u64 = 128;

/// Whatever `keep.bytes` says: the memory that kept lines may take.
const MAX_KEPT_MEMORY: u64 = 16 * 1024 * 1024;

/// A connected client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReaderId(u64);

/// A line and who still waits for it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) line: Bytes,
    id: u64,
    received_at: Timestamp,
    /// Readers that it hasn't been written to.
    owed: Cell<usize>,
    /// It has been written to a reader.
    taken: Cell<bool>,
    /// It is among the kept lines.
    kept: Cell<bool>,
    receipt: RefCell<Option<Receipt>>,
}

impl Entry {
    fn done(&self) {
        if let Some(receipt) = self.receipt.take() {
            receipt.done();
        }
    }
}

/// A line that waits for a reader.
#[derive(Debug)]
struct Kept {
    entry: Rc<Entry>,
    /// The reader it is for, if it was kept only to come behind what that reader still gets.
    only_for: Option<ReaderId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It hasn't had the time to say that it only observes.
    Undecided,
    /// What comes is put into its queue.
    Live,
    /// It is handed what was kept; what comes is kept behind that.
    Draining,
    /// Sees what comes and counts as nobody.
    Observer,
}

#[derive(Debug)]
struct Reader {
    role: Role,
    /// Not written yet, in order.
    lines: VecDeque<Rc<Entry>>,
    bytes: usize,
    /// How much of the first line is written.
    written: usize,
    /// When it last took something, or had nothing to take.
    progress: Instant,
    /// It must go, and why.
    dismissed: Option<Dismissal>,
}

/// Why a reader must go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dismissal {
    TooMuch,
    TooSlow,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Lines written, once a reader.
    pub(super) written: u64,
    pub(super) dropped_oldest: u64,
    pub(super) dropped_newest: u64,
    pub(super) dismissed: u64,
}

/// The lines of one forward.
#[derive(Debug)]
pub(super) struct Queue {
    keep: Keep,
    readers: BTreeMap<ReaderId, Reader>,
    next_reader: u64,
    kept: VecDeque<Kept>,
    kept_bytes: u64,
    counters: Counters,
}

impl Queue {
    pub(super) fn new(keep: &Keep) -> Queue {
        Queue {
            keep: Keep { bytes: keep.bytes.min(MAX_KEPT_MEMORY), ..keep.clone() },
            readers: BTreeMap::new(),
            next_reader: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
            counters: Counters::default(),
        }
    }

    /// A client has connected. Until [`Queue::decide`] nothing is written to it.
    pub(super) fn join(&mut self, now: Instant) -> ReaderId {
        let id = ReaderId(self.next_reader);
        self.next_reader += 1;
        let reader = Reader {
            role: Role::Undecided,
            lines: VecDeque::new(),
            bytes: 0,
            written: 0,
            progress: now,
            dismissed: None,
        };
        self.readers.insert(id, reader);
        id
    }

    /// It is a reader: it gets what was kept, unless another is about to.
    pub(super) fn decide(&mut self, id: ReaderId, now: Instant) {
        let drained = self.readers.values().any(|reader| reader.role == Role::Draining);
        let Some(reader) = self.readers.get_mut(&id).filter(|reader| reader.role == Role::Undecided) else { return };
        reader.progress = now;
        reader.role = Role::Live;
        if !self.kept.is_empty() && !drained {
            reader.role = Role::Draining;
            // What came since it connected comes behind what was there before.
            let came: Vec<Rc<Entry>> = reader.lines.drain(..).collect();
            reader.bytes = 0;
            for entry in came {
                self.hand_back(entry, Some(id));
            }
        }
        self.refill(id);
    }

    /// It only observes: it is owed nothing, and keeps what it has been given so far. Returns who takes its place.
    pub(super) fn observe(&mut self, id: ReaderId, now: Instant) -> Option<ReaderId> {
        let reader = self.readers.get_mut(&id).filter(|reader| reader.role != Role::Observer)?;
        reader.role = Role::Observer;
        reader.progress = now;
        for entry in reader.lines.clone() {
            self.hand_back(entry, None);
        }
        self.release(id)
    }

    /// It has gone; what only it was owed is kept for the next. Returns who takes its place.
    pub(super) fn leave(&mut self, id: ReaderId) -> Option<ReaderId> {
        let reader = self.readers.remove(&id)?;
        if reader.role != Role::Observer {
            for entry in reader.lines {
                self.hand_back(entry, None);
            }
        }
        self.release(id)
    }

    /// What was kept for `id` alone needs to be kept no longer if another has it, or is to get it: should that one fail,
    /// it is kept again.
    fn release(&mut self, id: ReaderId) -> Option<ReaderId> {
        if self.kept.iter().any(|kept| kept.only_for == Some(id)) {
            for mut kept in std::mem::take(&mut self.kept) {
                if kept.only_for == Some(id) && (kept.entry.taken.get() || kept.entry.owed.get() > 0) {
                    self.kept_bytes -= kept_size(&kept.entry);
                    kept.entry.kept.set(false);
                    continue;
                }
                kept.only_for = kept.only_for.filter(|reader| *reader != id);
                self.kept.push_back(kept);
            }
        }
        // Nobody drains what is left: whoever is live takes it over.
        if self.kept.is_empty() || self.readers.values().any(|reader| reader.role == Role::Draining) {
            return None;
        }
        let (&next, reader) = self.readers.iter_mut().find(|(_, reader)| reader.role == Role::Live)?;
        reader.role = Role::Draining;
        self.refill(next);
        Some(next)
    }

    /// A reader won't be written `entry` after all.
    fn hand_back(&mut self, entry: Rc<Entry>, only_for: Option<ReaderId>) {
        let owed = entry.owed.get().saturating_sub(1);
        entry.owed.set(owed);
        if only_for.is_some() || (owed == 0 && !entry.taken.get()) {
            self.keep(Rc::clone(&entry), only_for);
        }
        if owed == 0 {
            entry.done();
        }
    }

    /// A message has come, as a line: it goes to every reader, or waits for one. Returns who has something to write now.
    pub(super) fn arrive(
        &mut self,
        id: u64,
        line: Bytes,
        received_at: Timestamp,
        receipt: Option<Receipt>,
        now: Instant,
    ) -> Vec<ReaderId> {
        let entry = Rc::new(Entry {
            line,
            id,
            received_at,
            owed: Cell::new(0),
            taken: Cell::new(false),
            kept: Cell::new(false),
            receipt: RefCell::new(receipt),
        });
        let mut wake = Vec::with_capacity(self.readers.len());
        let mut draining = None;
        for (id, reader) in &mut self.readers {
            match reader.role {
                Role::Draining => draining = Some(*id),
                Role::Observer => wake.extend(reader.push(&entry, now).then_some(*id)),
                Role::Undecided | Role::Live => {
                    entry.owed.set(entry.owed.get() + 1);
                    wake.extend(reader.push(&entry, now).then_some(*id));
                }
            }
        }
        let owed = entry.owed.get();
        if owed == 0 {
            entry.done();
        }
        if draining.is_some() || owed == 0 {
            self.keep(entry, draining.filter(|_| owed > 0));
        }
        wake
    }

    /// Keeps a line at its place in the order, and sees to the bounds.
    fn keep(&mut self, entry: Rc<Entry>, only_for: Option<ReaderId>) {
        if entry.kept.get() {
            // It is there for one reader, and now for whoever comes.
            for kept in self.kept.iter_mut().filter(|kept| kept.entry.id == entry.id) {
                kept.only_for = None;
            }
            return;
        }
        let fits = |queue: &Queue, size: u64| {
            (queue.kept.len() as u64) < queue.keep.messages && queue.kept_bytes + size <= queue.keep.bytes
        };
        let size = kept_size(&entry);
        while !fits(self, size) {
            let oldest = match self.keep.when_full {
                WhenFull::DropOldest => self.kept.pop_front(),
                WhenFull::RejectNew => None,
            };
            match oldest {
                Some(oldest) => {
                    self.kept_bytes -= kept_size(&oldest.entry);
                    oldest.entry.kept.set(false);
                    self.counters.dropped_oldest += 1;
                }
                None => {
                    self.counters.dropped_newest += 1;
                    return;
                }
            }
        }
        self.kept_bytes += size;
        entry.kept.set(true);
        let place = self.kept.partition_point(|kept| kept.entry.id < entry.id);
        self.kept.insert(place, Kept { entry, only_for });
    }

    /// Hands a draining reader the next of what was kept.
    fn refill(&mut self, id: ReaderId) {
        let Some(reader) = self.readers.get_mut(&id).filter(|reader| reader.role == Role::Draining) else { return };
        while reader.bytes < REFILL
            && let Some(kept) = self.kept.pop_front()
        {
            self.kept_bytes -= kept_size(&kept.entry);
            kept.entry.kept.set(false);
            // Kept for a reader that has gone, and written to another since.
            let obsolete = kept.entry.taken.get() && kept.only_for != Some(id);
            if !obsolete {
                kept.entry.owed.set(kept.entry.owed.get() + 1);
                reader.bytes += kept.entry.line.len();
                reader.lines.push_back(kept.entry);
            }
        }
        if self.kept.is_empty() {
            reader.role = Role::Live;
        }
    }

    /// What is to be written to `id` next: its first lines, and how much of the first is written already.
    pub(super) fn next(&self, id: ReaderId) -> Option<(usize, impl Iterator<Item = &Bytes>)> {
        let reader = self.readers.get(&id).filter(|reader| reader.role != Role::Undecided)?;
        (!reader.lines.is_empty()).then(|| (reader.written, reader.lines.iter().map(|entry| &entry.line)))
    }

    /// So many bytes of that have been written.
    pub(super) fn wrote(&mut self, id: ReaderId, bytes: usize, now: Instant) {
        let Some(reader) = self.readers.get_mut(&id) else { return };
        reader.progress = now;
        reader.written += bytes;
        while let Some(first) = reader.lines.front()
            && reader.written >= first.line.len()
        {
            let Some(entry) = reader.lines.pop_front() else { break };
            reader.written -= entry.line.len();
            reader.bytes -= entry.line.len();
            if reader.role == Role::Observer {
                continue;
            }
            self.counters.written += 1;
            entry.taken.set(true);
            entry.owed.set(entry.owed.get().saturating_sub(1));
            if entry.owed.get() == 0 {
                entry.done();
            }
        }
        if reader.role == Role::Draining && reader.bytes < REFILL {
            self.refill(id);
        }
    }

    /// Whether the first line of `id` is only half written.
    pub(super) fn is_mid_line(&self, id: ReaderId) -> bool {
        self.readers.get(&id).is_some_and(|reader| reader.written > 0)
    }

    /// When `id` is dismissed if it goes on taking nothing.
    pub(super) fn deadline(&self, id: ReaderId) -> Option<Instant> {
        let reader = self.readers.get(&id).filter(|reader| reader.role != Role::Undecided)?;
        (!reader.lines.is_empty()).then(|| reader.progress + MAX_SILENCE)
    }

    /// Whether `id` must go by now.
    pub(super) fn dismissal(&mut self, id: ReaderId, now: Instant) -> Option<Dismissal> {
        let late = self.deadline(id).is_some_and(|deadline| now >= deadline);
        let reader = self.readers.get_mut(&id)?;
        let dismissed = reader.dismissed.or(late.then_some(Dismissal::TooSlow));
        if dismissed.is_some() {
            self.counters.dismissed += 1;
        }
        dismissed
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters
    }

    /// Readers and observers.
    pub(super) fn present(&self) -> (usize, usize) {
        let observers = self.readers.values().filter(|reader| reader.role == Role::Observer).count();
        (self.readers.len() - observers, observers)
    }

    /// Lines that wait for a reader, their bytes, and when the oldest of them came.
    pub(super) fn waiting(&self) -> (usize, u64, Option<Timestamp>) {
        let bytes = self.kept.iter().map(|kept| kept.entry.line.len() as u64).sum();
        (self.kept.len(), bytes, self.kept.front().map(|kept| kept.entry.received_at))
    }
}

impl Reader {
    /// Returns whether the reader had nothing to write before, or must go: then it has to be woken.
    fn push(&mut self, entry: &Rc<Entry>, now: Instant) -> bool {
        let idle = self.lines.is_empty();
        if idle {
            self.progress = now;
        }
        self.bytes += entry.line.len();
        self.lines.push_back(Rc::clone(entry));
        // One line alone may be larger than the bound.
        if self.bytes > MAX_UNWRITTEN && self.lines.len() > 1 && self.role != Role::Undecided {
            self.dismissed.get_or_insert(Dismissal::TooMuch);
        }
        idle || self.dismissed.is_some()
    }
}

fn kept_size(entry: &Entry) -> u64 {
    entry.line.len() as u64 + KEPT_OVERHEAD
}
