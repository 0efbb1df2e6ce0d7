//! What is taken of a queue, given back and finished.

use std::collections::VecDeque;

use super::{At, Backlog, Entry, Item, OnDisk};

impl<T: Item> Backlog<T> {
    /// The next message to take, if it is in memory.
    pub(crate) fn front(&self) -> Option<(u64, &T)> {
        self.head.front().map(|entry| (entry.seq, &entry.item))
    }

    /// The place of the last message before the gap.
    pub(crate) fn last_of_head(&self) -> Option<u64> {
        self.head.back().map(|entry| entry.seq)
    }

    /// Whether the message at the front may be on the disk.
    pub(crate) fn front_may_be_stored(&self) -> bool {
        self.head.front().is_some_and(|entry| entry.disk != OnDisk::No)
    }

    /// Takes the next message.
    pub(crate) fn take(&mut self) -> Option<(u64, &mut T)> {
        let entry = self.head.pop_front()?;
        self.head_memory -= entry.cost();
        self.taken_memory += entry.cost();
        self.taken.push(entry);
        self.taken.last_mut().map(|entry| (entry.seq, &mut entry.item))
    }

    /// What can be taken, in order: what waits in memory before any that is on the disk
    /// alone. Where none of that has moved for so long that no more is loaded, what has come since as well.
    pub(crate) fn visible(&self) -> impl Iterator<Item = (u64, &T, At)> {
        let is_stuck = !self.head.is_empty() && self.loading.is_none() && !self.needs_load();
        let tail = self.tail.iter().filter(move |_| is_stuck);
        let at = |is_late| {
            move |entry| {
                let Entry { seq, item, disk }: &Entry<T> = entry;
                (*seq, item, At { is_stored: *disk != OnDisk::No, is_late })
            }
        };
        self.head.iter().map(at(false)).chain(tail.map(at(true)))
    }

    /// Takes a [visible](Backlog::visible) message out of turn.
    pub(crate) fn take_at(&mut self, seq: u64) -> Option<(u64, &mut T)> {
        let at = |queue: &VecDeque<Entry<T>>| queue.binary_search_by_key(&seq, |entry| entry.seq).ok();
        let entry = match at(&self.head) {
            Some(index) => {
                let entry = self.head.remove(index)?;
                self.head_memory -= entry.cost();
                entry
            }
            None => self.tail.remove(at(&self.tail)?)?,
        };
        self.taken_memory += entry.cost();
        self.taken.push(entry);
        self.taken.last_mut().map(|entry| (entry.seq, &mut entry.item))
    }

    /// A message that was taken waits again, at its old place.
    pub(crate) fn put_back(&mut self, seq: u64) {
        if let Some(index) = self.taken.iter().position(|entry| entry.seq == seq) {
            let entry = self.taken.remove(index);
            self.taken_memory -= entry.cost();
            self.place_waiting(entry);
        }
    }

    /// A message that was taken.
    pub(crate) fn taken_mut(&mut self, seq: u64) -> Option<&mut T> {
        self.taken.iter_mut().find(|entry| entry.seq == seq).map(|entry| &mut entry.item)
    }

    /// The same, to look at.
    pub(crate) fn taken_item(&self, seq: u64) -> Option<&T> {
        self.taken.iter().find(|entry| entry.seq == seq).map(|entry| &entry.item)
    }

    /// What a message that was taken is on the disk isn't all any more: it is to be written once more.
    pub(crate) fn rewrite(&mut self, seq: u64) {
        if let Some(entry) = self.taken.iter_mut().find(|entry| entry.seq == seq)
            && matches!(entry.disk, OnDisk::Writing | OnDisk::Yes)
        {
            entry.disk = OnDisk::Maybe;
        }
    }

    /// Whether a message that was taken may be on the disk.
    pub(crate) fn taken_may_be_stored(&self, seq: u64) -> bool {
        self.taken.iter().any(|entry| entry.seq == seq && entry.disk != OnDisk::No)
    }

    /// A message that was taken is finished, and forgotten. `None` if it was before.
    pub(crate) fn finish(&mut self, seq: u64) -> Option<T> {
        let index = self.taken.iter().position(|entry| entry.seq == seq)?;
        let entry = self.taken.remove(index);
        self.taken_memory -= entry.cost();
        Some(self.forget(entry))
    }
}
