//! What of a queue is written, read and let go of.

use std::ops::RangeInclusive;

use super::ranges::Ranges;
use super::{BATCH, BATCH_ROWS, Backlog, Batch, Entry, Gap, HEAD, Item, MANY_RANGES, OnDisk};
use crate::count::count_that;
use crate::store::{Load, QueueId, Row, Totals};

impl<T: Item> Backlog<T> {
    /// What to write now: the messages that are `wanted` on the disk and aren't, up to a batch, and whatever has to be removed
    /// if there is something to write or that is to be `flush`ed. One write at a time.
    pub(crate) fn begin_write(
        &mut self,
        flush: bool,
        wanted: impl Fn(&T) -> bool,
        to_row: impl Fn(u64, &T) -> Row,
    ) -> Option<Batch> {
        if self.is_writing {
            return None;
        }
        let (mut batch, mut bytes, mut again, mut is_cut) = (Batch::default(), 0, Vec::new(), false);
        for entry in self.entries_mut() {
            if entry.disk.is_to_be_written() && (entry.disk == OnDisk::Lost || wanted(&entry.item)) {
                if entry.disk != OnDisk::No {
                    again.push(entry.seq);
                }
                entry.disk = OnDisk::Writing;
                batch.insert.push(to_row(entry.seq, &entry.item));
                bytes += entry.cost();
                if bytes >= BATCH {
                    is_cut = true;
                    break;
                }
            }
        }
        if batch.insert.is_empty() && (self.finished.is_empty() || !flush) {
            return None;
        }
        self.merge_finished();
        if !(is_cut && self.is_moved_within) {
            self.removing = std::mem::take(&mut self.finished);
        }
        batch.delete = self.removing.iter().chain(again.into_iter().map(|seq| seq..=seq)).collect();
        self.is_writing = true;
        Some(batch)
    }

    /// The write has ended. If it was successful, `stored` is called for each message that is on the disk now.
    pub(crate) fn end_write(&mut self, successful: bool, mut stored: impl FnMut(&mut T)) {
        self.is_writing = false;
        let removed = std::mem::take(&mut self.removing);
        if !successful {
            self.finished.append(removed);
        }
        for entry in self.entries_mut().filter(|entry| entry.disk == OnDisk::Writing) {
            entry.disk = if successful { OnDisk::Yes } else { OnDisk::Maybe };
            if successful {
                stored(&mut entry.item);
            }
        }
        if successful {
            self.release();
        }
    }

    /// Lets go of memory for what is on the disk.
    fn release(&mut self) {
        if self.gap.is_none() {
            if self.head_memory <= HEAD {
                return;
            }
            while let Some(entry) = self.head.pop_back_if(|entry| entry.disk != OnDisk::Yes) {
                self.head_memory -= entry.cost();
                self.tail.push_front(entry);
            }
            while self.head_memory > HEAD
                && let Some(entry) = self.head.pop_back_if(|entry| entry.disk == OnDisk::Yes)
            {
                self.head_memory -= entry.cost();
                self.move_to_gap(&entry, false);
            }
            if self.gap.is_none() {
                self.head_memory += self.tail.iter().map(Entry::cost).sum::<u64>();
                self.head.append(&mut self.tail);
            }
        }
        while let Some(Gap { until, .. }) = self.gap
            && let Some(entry) = self.tail.pop_front_if(|entry| entry.disk == OnDisk::Yes && entry.seq > until)
        {
            self.move_to_gap(&entry, true);
        }
        if self.tail.is_empty() {
            self.tail.shrink_to(64);
        }
    }

    /// A message leaves memory for the gap, at its end or its beginning.
    fn move_to_gap(&mut self, entry: &Entry<T>, at_the_end: bool) {
        self.memory -= entry.cost();
        let gap = self.gap.get_or_insert(Gap { cursor: None, until: entry.seq, messages: 0, bytes: 0 });
        match at_the_end {
            true => gap.until = entry.seq,
            false => gap.cursor = entry.seq.checked_sub(1),
        }
        gap.messages += 1;
        gap.bytes += entry.item.size();
    }

    /// Whether the head has run short, and there is more on the disk that isn't being loaded.
    pub(crate) fn needs_load(&self) -> bool {
        self.gap.is_some() && self.loading.is_none() && self.head_memory < HEAD / 2
    }

    /// What to load now, if the head has run short. One load at a time.
    pub(crate) fn begin_load(&mut self, queue: QueueId) -> Option<Load> {
        let gap = self.gap.filter(|_| self.needs_load())?;
        self.loading = Some(gap.until);
        Some(Load { queue, after: gap.cursor, until: gap.until, max_bytes: BATCH, max_rows: BATCH_ROWS })
    }

    /// The load has ended: these are the next messages, and all there are if `complete`. Returns how many that should have
    /// been there weren't.
    pub(crate) fn end_load(&mut self, items: impl IntoIterator<Item = (u64, T)>, complete: bool) -> u64 {
        // Without `loading` the disk is another than the one that was asked: nothing of the gap may be touched.
        let Some(until) = self.loading.take() else { return 0 };
        let Some(mut gap) = self.gap.take() else { return 0 };
        for (seq, item) in items {
            gap.cursor = Some(seq);
            // Those that came back late lie in memory already.
            while let Some(late) = self.tail.pop_front_if(|entry| entry.seq <= seq) {
                self.head.push_back(late);
            }
            // Nor is what is taken or finished one of the gap, though it may lie among them on the disk.
            let is_known = self.head.back().is_some_and(|last| last.seq == seq)
                || self.finished.contains(seq)
                || self.removing.contains(seq)
                || self.taken.iter().any(|entry| entry.seq == seq);
            if is_known {
                continue;
            }
            gap.messages = gap.messages.saturating_sub(1);
            gap.bytes = gap.bytes.saturating_sub(item.size());
            let entry = Entry { seq, item, disk: OnDisk::Yes };
            self.memory += entry.cost();
            self.head.push_back(entry);
        }
        if !complete || gap.until > until {
            // More may have joined the gap meanwhile.
            gap.cursor = if complete { Some(until) } else { gap.cursor };
            while let Some(late) = self.tail.pop_front_if(|entry| complete && entry.seq <= until) {
                self.head.push_back(late);
            }
            self.gap = Some(gap);
            self.recount();
            return 0;
        }
        self.head.append(&mut self.tail);
        self.recount();
        gap.messages
    }

    fn recount(&mut self) {
        self.head_memory = self.head.iter().map(Entry::cost).sum();
        self.bytes = self.entries().map(|entry| entry.item.size()).sum::<u64>() + self.gap.map_or(0, |gap| gap.bytes);
    }

    /// The load has failed.
    pub(crate) fn load_failed(&mut self) {
        self.loading = None;
    }

    /// The disk is another than before: one that could be opened only now (`late`), or one made anew after damage.
    pub(crate) fn reattach(&mut self, stored: Totals, late: bool) {
        self.loading = None;
        for entry in self.entries_mut() {
            entry.disk = match entry.disk {
                OnDisk::No => OnDisk::No,
                OnDisk::Maybe => OnDisk::Maybe,
                OnDisk::Writing | OnDisk::Yes | OnDisk::Lost => OnDisk::Lost,
            };
        }
        // What damage took of the gap shows when its end has been loaded.
        if late && !self.put_before_all(stored) {
            // What is finished was another's.
            self.finished = Ranges::default();
            return;
        }
        // What is older than all we know of was finished long ago.
        let first = self.entries().map(|entry| entry.seq).min();
        let first = match self.gap {
            Some(Gap { cursor: None, .. }) => Some(0),
            Some(Gap { cursor: Some(after), .. }) => Some(first.map_or(after + 1, |first| first.min(after + 1))),
            None => first,
        };
        if let Some(last) = first.map_or(stored.last, |first| first.checked_sub(1)) {
            self.finished.insert(0..=last);
        }
        self.recount();
    }

    /// What was on the disk before all that is in memory. `false`: it can't be, which takes two starts in a row without the
    /// database, and a clock that was set back between them ([`QueueId::UNREAD`]).
    fn put_before_all(&mut self, stored: Totals) -> bool {
        let first = self.entries().map(|entry| entry.seq).min();
        if stored.last.zip(first).is_some_and(|(last, first)| last >= first) {
            log::warn!(
                "{} on the disk for the next start: the order isn't certain",
                count_that(stored.messages, "message", "stays", "stay")
            );
            return false;
        }
        self.open_gap(stored);
        if self.gap.is_some() {
            // No gap was there before, and so no tail.
            self.tail = std::mem::take(&mut self.head);
        }
        true
    }

    /// Makes one range of neighbours where nothing that is still wanted lies between them.
    fn merge_finished(&mut self) {
        if self.finished.len() <= MANY_RANGES {
            return;
        }
        let mut wanted: Vec<RangeInclusive<u64>> = self.entries().map(|entry| entry.seq..=entry.seq).collect();
        wanted.extend(self.gap.map(|gap| gap.cursor.map_or(0, |after| after + 1)..=gap.until));
        wanted.sort_by_key(|range| *range.start());
        self.finished.merge_around(&wanted);
    }
}
