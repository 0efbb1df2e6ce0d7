//! What of a queue is in memory and what on the disk. Pure: no I/O, no clock.
//!
//! ```text
//!   taken │ head │ gap │ tail
//! ```
//!
//! Messages are taken from the front of the **head**, in the order of their places. New ones join at the end. In the middle
//! of a long queue is the **gap**: messages that are on the disk alone; when the head runs short, the next of them are loaded.
//! Messages in memory may be on the disk, too, and leave memory for it where that helps. What is **taken** stays in memory
//! until it is finished.

mod disk;
mod ranges;
mod taking;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use super::{Row, Totals};
use ranges::Ranges;

/// Bytes of memory that a message takes beside its topic, payload and properties, counted against bounds: its place in a list,
/// and what its allocations take beside their bytes.
pub(crate) const ENTRY_OVERHEAD: u64 = 320;

/// How much of the head stays in memory once the rest of it is on the disk, in bytes: more than is in flight at a time.
const HEAD: u64 = 1024 * 1024;

/// The most that is written or loaded at once, in bytes.
const BATCH: u64 = 512 * 1024;

/// The most messages loaded at once.
const BATCH_ROWS: usize = 1000;

/// So many ranges of places to be removed are looked through for neighbours that can be one.
const MANY_RANGES: usize = 256;

/// What a queue holds.
pub(crate) trait Item {
    /// Bytes of topic and payload.
    fn size(&self) -> u64;
}

/// Whether a message in memory is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnDisk {
    No,
    /// It is being written.
    Writing,
    /// Nobody knows: it wasn't confirmed.
    Maybe,
    /// It was, and the disk is another now: it has to be there again at once.
    Lost,
    Yes,
}

impl OnDisk {
    /// It isn't there, for all we know, and isn't being written.
    fn is_to_be_written(self) -> bool {
        matches!(self, OnDisk::No | OnDisk::Maybe | OnDisk::Lost)
    }
}

#[derive(Debug)]
struct Entry<T> {
    seq: u64,
    item: T,
    disk: OnDisk,
}

impl<T: Item> Entry<T> {
    fn cost(&self) -> u64 {
        self.item.size() + ENTRY_OVERHEAD
    }
}

/// Messages that are on the disk alone: all there are between two places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gap {
    /// How far it has been read: the last place. `None`: not at all.
    cursor: Option<u64>,
    until: u64,
    messages: u64,
    bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Backlog<T> {
    taken: Vec<Entry<T>>,
    head: VecDeque<Entry<T>>,
    gap: Option<Gap>,
    tail: VecDeque<Entry<T>>,
    /// Places whose messages are finished and still on the disk.
    finished: Ranges,
    /// Those of them that are being removed.
    removing: Ranges,
    is_writing: bool,
    /// What is finished here may have moved to another place in the same queue: it isn't removed before all of that is written.
    is_moved_within: bool,
    /// Up to where a load goes that hasn't ended.
    loading: Option<u64>,
    /// What taken, head and tail cost.
    memory: u64,
    /// What the taken cost, and what the head does.
    taken_memory: u64,
    head_memory: u64,
    /// Topics and payloads, those of the gap included.
    bytes: u64,
}

/// Where a message is that can be taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    /// It may be on the disk.
    pub(crate) is_stored: bool,
    /// Others that came before it are on the disk alone.
    pub(crate) is_late: bool,
}

/// What is to be written.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) delete: Vec<RangeInclusive<u64>>,
    pub(crate) insert: Vec<Row>,
}

impl<T: Item> Backlog<T> {
    /// Messages move to other places of this queue.
    pub(crate) fn moves_within(&mut self) {
        self.is_moved_within = true;
    }

    /// A queue of which this is on the disk.
    pub(crate) fn new(stored: Totals) -> Backlog<T> {
        let mut backlog = Backlog {
            taken: Vec::new(),
            head: VecDeque::new(),
            gap: None,
            tail: VecDeque::new(),
            finished: Ranges::default(),
            removing: Ranges::default(),
            is_writing: false,
            is_moved_within: false,
            loading: None,
            memory: 0,
            taken_memory: 0,
            head_memory: 0,
            bytes: 0,
        };
        backlog.open_gap(stored);
        backlog
    }

    fn open_gap(&mut self, stored: Totals) {
        if let Some(until) = stored.last {
            let (messages, bytes) = (stored.messages, stored.bytes);
            self.gap = Some(Gap { cursor: None, until, messages, bytes });
            self.bytes += bytes;
        }
    }

    /// Adds a message at the place its number gives it: mostly the end.
    pub(crate) fn insert(&mut self, seq: u64, item: T) {
        let entry = Entry { seq, item, disk: OnDisk::No };
        self.bytes += entry.item.size();
        self.memory += entry.cost();
        self.place_waiting(entry);
    }

    /// Adds a message that counts as taken from the start.
    pub(crate) fn insert_taken(&mut self, seq: u64, item: T) {
        let entry = Entry { seq, item, disk: OnDisk::No };
        self.bytes += entry.item.size();
        self.memory += entry.cost();
        self.taken_memory += entry.cost();
        self.taken.push(entry);
    }

    fn place_waiting(&mut self, entry: Entry<T>) {
        match &self.gap {
            Some(gap) if gap.cursor.is_none_or(|after| entry.seq > after) => place(&mut self.tail, entry),
            _ => {
                self.head_memory += entry.cost();
                place(&mut self.head, entry);
            }
        }
    }

    /// Forgets a message that waits in memory, and its place, if `is_to_go` says so.
    pub(crate) fn remove_if(&mut self, seq: u64, is_to_go: impl Fn(&T) -> bool) -> Option<T> {
        let index = self.head.binary_search_by_key(&seq, |entry| entry.seq).ok()?;
        self.head.get(index).filter(|entry| is_to_go(&entry.item))?;
        let entry = self.head.remove(index)?;
        self.head_memory -= entry.cost();
        Some(self.forget(entry))
    }

    /// Forgets the newest message in memory that `may_go`, and its place.
    pub(crate) fn drop_back_if(&mut self, may_go: impl Fn(&T) -> bool) -> Option<T> {
        if let Some(gap) = self.gap {
            let index = self.tail.iter().rposition(|entry| entry.seq > gap.until && may_go(&entry.item))?;
            let entry = self.tail.remove(index)?;
            return Some(self.forget(entry));
        }
        let index = self.head.iter().rposition(|entry| may_go(&entry.item))?;
        let entry = self.head.remove(index)?;
        self.head_memory -= entry.cost();
        Some(self.forget(entry))
    }

    /// Forgets the message at the front, and its place.
    pub(crate) fn drop_front(&mut self) -> Option<T> {
        let entry = self.head.pop_front()?;
        self.head_memory -= entry.cost();
        Some(self.forget(entry))
    }

    /// Forgets messages in memory that aren't on the disk; returns them.
    pub(crate) fn forget_where(&mut self, is_to_go: impl Fn(&T) -> bool) -> Vec<T> {
        let mut gone = Vec::new();
        let goes = |entry: &Entry<T>| entry.disk == OnDisk::No && is_to_go(&entry.item);
        gone.extend(self.taken.extract_if(.., |entry| goes(entry)));
        for queue in [&mut self.head, &mut self.tail] {
            if queue.iter().any(goes) {
                let (go, stay): (Vec<_>, Vec<_>) = queue.drain(..).partition(goes);
                queue.extend(stay);
                gone.extend(go);
            }
        }
        self.taken_memory = self.taken.iter().map(Entry::cost).sum();
        self.head_memory = self.head.iter().map(Entry::cost).sum();
        gone.into_iter().map(|entry| self.forget(entry)).collect()
    }

    fn forget(&mut self, entry: Entry<T>) -> T {
        self.bytes -= entry.item.size();
        self.memory -= entry.cost();
        if entry.disk != OnDisk::No {
            self.finished.insert(entry.seq..=entry.seq);
        }
        if self.head.is_empty() {
            self.head.shrink_to(64);
        }
        entry.item
    }

    /// What is in memory and not yet on the disk, in no order.
    pub(crate) fn unstored(&self) -> impl Iterator<Item = &T> {
        let unstored = |entry: &&Entry<T>| entry.disk.is_to_be_written();
        self.entries().filter(unstored).map(|entry| &entry.item)
    }

    /// What is in memory and not known to be on the disk, though it may be.
    pub(crate) fn unconfirmed(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries_mut().filter(|entry| entry.disk != OnDisk::Yes).map(|entry| &mut entry.item)
    }

    /// Whether something that waits isn't known to be on the disk.
    pub(crate) fn has_waiting_unconfirmed(&self) -> bool {
        self.head.iter().chain(&self.tail).any(|entry| entry.disk != OnDisk::Yes)
    }

    /// Of that, what waits, in order.
    pub(crate) fn waiting_unconfirmed(&mut self) -> impl Iterator<Item = &mut T> {
        let waiting = self.head.iter_mut().chain(&mut self.tail);
        waiting.filter(|entry| entry.disk != OnDisk::Yes).map(|entry| &mut entry.item)
    }

    fn entries(&self) -> impl Iterator<Item = &Entry<T>> {
        self.taken.iter().chain(&self.head).chain(&self.tail)
    }

    fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry<T>> {
        self.taken.iter_mut().chain(&mut self.head).chain(&mut self.tail)
    }

    /// Messages whose place on the disk is to be given free.
    pub(crate) fn finished(&self) -> u64 {
        self.finished.count()
    }

    /// Messages that wait, those on the disk included, those taken not.
    pub(crate) fn waiting(&self) -> u64 {
        (self.head.len() + self.tail.len()) as u64 + self.gap.map_or(0, |gap| gap.messages)
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.len()
    }

    /// What was taken, in that order.
    pub(crate) fn taken_items(&self) -> impl Iterator<Item = (u64, &T)> {
        self.taken.iter().map(|entry| (entry.seq, &entry.item))
    }

    /// Memory of what was taken, in bytes.
    pub(crate) fn taken_memory(&self) -> u64 {
        self.taken_memory
    }

    /// The place of the first, or one before it; `None`: there are none.
    pub(crate) fn first(&self) -> Option<u64> {
        let gap = self.gap.as_ref().map(|gap| gap.cursor.map_or(0, |cursor| cursor + 1));
        let taken = self.taken.iter().map(|entry| entry.seq);
        let memory = [self.head.front(), self.tail.front()].into_iter().flatten().map(|entry| entry.seq);
        memory.chain(taken).chain(gap).min()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.waiting() == 0
    }

    /// Topics and payloads of all messages, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Memory of what is in memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.memory
    }

    /// Messages that are on the disk.
    pub(crate) fn stored(&self) -> u64 {
        let in_memory = self.entries().filter(|entry| entry.disk == OnDisk::Yes).count() as u64;
        in_memory + self.gap.map_or(0, |gap| gap.messages)
    }

    /// Whether any is.
    pub(crate) fn has_stored(&self) -> bool {
        self.gap.is_some() || self.entries().any(|entry| entry.disk == OnDisk::Yes)
    }

    /// Nothing is in memory alone.
    pub(crate) fn is_all_stored(&self) -> bool {
        self.entries().all(|entry| entry.disk == OnDisk::Yes)
    }

    /// The oldest message in memory, taken ones included: the oldest of all, unless the head is being loaded.
    pub(crate) fn oldest(&self) -> Option<&T> {
        let entries = self.taken.iter().chain(self.head.front());
        entries.min_by_key(|entry| entry.seq).map(|entry| &entry.item)
    }
}

fn place<T>(queue: &mut VecDeque<Entry<T>>, entry: Entry<T>) {
    match queue.back() {
        Some(last) if last.seq > entry.seq => {
            let index = queue.partition_point(|other| other.seq < entry.seq);
            queue.insert(index, entry);
        }
        _ => queue.push_back(entry),
    }
}
