//! What of a rule's waiting messages is on the disk.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::{Entry, Held};
use crate::message::Qos;
use crate::store::durable::{DiskQueue, FLUSH_AFTER, FLUSH_AT};
use crate::store::{Contents, Load, Moment, Page, QueueId, QueueState, Row, Totals, Write};

/// A message that waits is on the disk after so long, unless it is superseded before: most are.
pub(super) const HELD: Duration = Duration::from_secs(10);

/// When so many wait that the broker hasn't been told of, it may send no more before it is told: mosquitto sends twenty.
const MANY: usize = 8;

/// The most that is written or read at once.
const BATCH_ROWS: usize = 500;
const BATCH_BYTES: u64 = 512 * 1024;

/// Whether a message is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnDisk {
    No,
    Writing,
    /// It may be: that wasn't confirmed.
    Maybe,
    Yes,
}

/// The disk as a rule sees it.
#[derive(Debug)]
pub(super) struct Disk {
    queue: QueueId,
    /// Which database it is; 0: none could be opened yet.
    generation: u64,
    /// What is there and wasn't read: the places from after the first to the second.
    unread: Option<(Option<u64>, u64)>,
    is_loading: bool,
    is_writing: bool,
    is_stopping: bool,
    /// What somebody waits for is to be there at once.
    hurried: bool,
    /// What was there has to be there again.
    lost: bool,
    /// Nothing has to be there before.
    due: Option<Instant>,
    /// Places that are to be removed, and those that are being removed.
    finished: BTreeSet<u64>,
    removing: BTreeSet<u64>,
    flush_at: Option<Instant>,
}

fn unread(stored: Totals) -> Option<(Option<u64>, u64)> {
    stored.last.map(|last| (stored.first.and_then(|first| first.checked_sub(1)), last))
}

impl Disk {
    pub(super) fn new(place: QueueState) -> Disk {
        Disk {
            queue: place.queue,
            generation: place.generation,
            unread: unread(place.stored),
            is_loading: false,
            is_writing: false,
            is_stopping: false,
            hurried: false,
            lost: false,
            due: None,
            finished: BTreeSet::new(),
            removing: BTreeSet::new(),
            flush_at: None,
        }
    }

    pub(super) fn expect(&mut self, due: Instant) {
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    pub(super) fn finished(&mut self, place: u64, disk: OnDisk) {
        if disk != OnDisk::No {
            self.finished.insert(place);
        }
    }

    pub(super) fn note_finished(&mut self, now: Instant) {
        if !self.finished.is_empty() {
            self.flush_at.get_or_insert(now + FLUSH_AFTER);
        }
    }

    /// Whether it is time to remove what is finished.
    fn flushes(&self, now: Instant) -> bool {
        self.finished.len() as u64 >= FLUSH_AT
            || (self.is_stopping && !self.finished.is_empty())
            || self.flush_at.is_some_and(|at| at <= now)
    }
}

/// Neighbouring places as ranges.
fn ranges(places: &BTreeSet<u64>) -> Vec<RangeInclusive<u64>> {
    let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
    for place in places {
        match ranges.last_mut() {
            Some(last) if *last.end() + 1 == *place => *last = *last.start()..=*place,
            _ => ranges.push(*place..=*place),
        }
    }
    ranges
}

impl Entry {
    fn to_row(&self, place: u64) -> Row {
        let message = self.message.clone();
        Row {
            seq: place,
            at: self.at,
            accepted: self.accepted,
            topic: message.topic,
            payload: message.payload,
            qos: Qos::AtLeastOnce,
            retain: message.retain,
            duplicate: false,
            urgent: message.urgent,
            properties: message.properties,
        }
    }

    fn from_row(row: Row, now: Instant, moment: &Moment) -> (u64, Entry) {
        let place = row.seq;
        let (message, at, accepted) = row.into_outbound(now, moment);
        let (token, disk, is_out, comes_again) = (None, OnDisk::Yes, false, false);
        (place, Entry { message, at, accepted, token, disk, due: now, is_out, comes_again })
    }

    /// Somebody waits for it to be on the disk.
    fn is_awaited(&self) -> bool {
        self.token.is_some() && matches!(self.disk, OnDisk::No | OnDisk::Maybe)
    }
}

impl Held {
    /// The broker may send no more before it is told of some of those that wait here.
    pub(super) fn hurry_if_many_wait(&mut self) {
        let newest = self.entries.values().rev().take(4 * MANY);
        if newest.filter(|entry| entry.is_awaited() && !entry.is_out).count() >= MANY {
            self.disk.hurried = true;
        }
    }

    /// The disk is another than before, or could be opened only now.
    pub(crate) fn attach(&mut self, contents: &Contents) {
        let disk = &mut self.disk;
        if disk.generation == contents.generation {
            return;
        }
        let is_late = disk.generation == 0;
        disk.generation = contents.generation;
        disk.unread = if is_late { unread(contents.totals(disk.queue)) } else { None };
        if is_late {
            return;
        }
        // What was there is there no more, and has to be again.
        disk.finished.clear();
        for entry in self.entries.values_mut().filter(|entry| entry.disk == OnDisk::Yes) {
            entry.disk = OnDisk::Maybe;
            disk.lost = true;
        }
    }

    /// Everything that waits is to be on the disk from now on.
    pub(crate) fn stop(&mut self) {
        self.disk.is_stopping = true;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.disk.is_stopping
    }

    /// Everything that has to be is on the disk, and nothing there that needn't.
    pub(crate) fn is_stored(&self) -> bool {
        let disk = &self.disk;
        !disk.is_writing && disk.finished.is_empty() && !self.entries.values().any(Entry::is_awaited)
    }

    pub(crate) fn queue_id(&self) -> QueueId {
        self.disk.queue
    }

    /// When the disk has something to do.
    pub(crate) fn disk_timeout(&self) -> Option<Instant> {
        [self.disk.due, self.disk.flush_at].into_iter().flatten().min()
    }

    /// Whether it has now.
    pub(crate) fn needs_keeper(&self, now: Instant) -> bool {
        let disk = &self.disk;
        let has_to_read = disk.unread.is_some() && !disk.is_loading;
        has_to_read || disk.hurried || disk.lost || disk.is_stopping || disk.flushes(now)
    }

    /// What has to be written now: all that somebody waits for as soon as one of them can't wait any more. One write for many wears
    /// the card less.
    fn rows_to_write(&mut self, now: Instant) -> Vec<Row> {
        let disk = &mut self.disk;
        let is_due = disk.hurried || disk.is_stopping || disk.due.is_some_and(|due| due <= now);
        let (mut rows, mut bytes, mut next_due) = (Vec::new(), 0, None::<Instant>);
        let is_wanted = |entry: &Entry| (is_due && entry.is_awaited()) || (disk.lost && entry.disk == OnDisk::Maybe);
        if is_due && !disk.is_stopping && !disk.hurried {
            // What was due may have gone meanwhile.
            let first = self.entries.values().filter(|entry| entry.is_awaited()).map(|entry| entry.due).min();
            if first.is_none_or(|first| first > now) {
                disk.due = first;
                return rows;
            }
        }
        for (place, entry) in self.entries.iter_mut().filter(|(_, entry)| is_wanted(entry)) {
            if rows.len() >= BATCH_ROWS || bytes >= BATCH_BYTES {
                next_due = Some(now);
                break;
            }
            let row = entry.to_row(*place);
            bytes += row.size();
            rows.push(row);
            entry.disk = OnDisk::Writing;
        }
        if next_due.is_none() {
            (disk.hurried, disk.lost) = (false, false);
        }
        if is_due {
            disk.due = next_due;
        }
        rows
    }
}

impl DiskQueue for Held {
    fn next_write(&mut self, now: Instant) -> Option<Write> {
        if self.disk.is_writing || self.disk.generation == 0 {
            return None;
        }
        let insert = self.rows_to_write(now);
        let disk = &mut self.disk;
        if insert.is_empty() && !disk.flushes(now) {
            return None;
        }
        disk.removing = std::mem::take(&mut disk.finished);
        disk.flush_at = None;
        disk.is_writing = true;
        let again = insert.iter().map(|row| row.seq..=row.seq);
        let delete = ranges(&disk.removing).into_iter().chain(again).collect();
        Some(Write { queue: disk.queue, delete, insert, clock_offset: None, notes: Vec::new() })
    }

    fn write_ended(&mut self, successful: bool, now: Instant) {
        let disk = &mut self.disk;
        disk.is_writing = false;
        let removed = std::mem::take(&mut disk.removing);
        if !successful {
            disk.finished.extend(removed);
            disk.flush_at = Some(now);
            disk.hurried = true;
        }
        for entry in self.entries.values_mut().filter(|entry| entry.disk == OnDisk::Writing) {
            entry.disk = if successful { OnDisk::Yes } else { OnDisk::Maybe };
            if successful {
                self.done.extend(entry.token.take());
            }
        }
    }

    fn next_load(&mut self) -> Option<Load> {
        let disk = &mut self.disk;
        let (after, until) = disk.unread.filter(|_| !disk.is_loading)?;
        disk.is_loading = true;
        Some(Load { queue: disk.queue, after, until, max_bytes: BATCH_BYTES, max_rows: BATCH_ROWS })
    }

    fn load_ended(&mut self, page: Option<Page>, now: Instant, moment: &Moment) {
        self.disk.is_loading = false;
        let Some(Page { rows, complete }) = page else { return };
        let last = rows.last().map(|row| row.seq);
        let until = self.disk.unread.map(|(_, until)| until);
        self.disk.unread = until.filter(|_| !complete && last.is_some()).map(|until| (last, until));
        for row in rows {
            let (place, entry) = Entry::from_row(row, now, moment);
            self.next = self.next.max(place + 1);
            self.add(place, entry, now);
        }
        self.advance(now);
    }
}
