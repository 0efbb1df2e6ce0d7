//! A disk for tests of the outbox, whose process may be killed at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use super::Outbox;
use super::ledger::Stored;
use crate::config::{self, WhenFull};
use crate::store::keeper;
use crate::store::{Failure, Page, QueueId, Row, Totals, Write};

/// What lies on the disk, and outlives each process.
pub(super) struct Disk {
    config: config::Outbox,
    rows: BTreeMap<(QueueId, u64), Row>,
    /// The numbers of messages that were written once: not to be lost by anything.
    pub(super) stored: BTreeSet<u64>,
    /// Processes so far.
    generation: u64,
}

/// The number that a payload begins with.
pub(super) fn number(payload: &[u8]) -> u64 {
    let text = std::str::from_utf8(payload).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

impl Disk {
    /// An empty one, and what is configured for the outbox.
    pub(super) fn new(max_size: u64, when_full: WhenFull) -> Disk {
        let config = config::Outbox {
            path: "unused".into(),
            max_size,
            max_age: Duration::from_secs(7 * 24 * 3600),
            when_full,
            spill_after: Duration::ZERO,
        };
        Disk { config, rows: BTreeMap::new(), stored: BTreeSet::new(), generation: 0 }
    }

    /// The outbox of another process, which finds what is on the disk, and no more: what was delivered, too, if it is still there.
    pub(super) fn start(&mut self) -> Rc<Outbox> {
        self.generation += 1;
        let limit = config::RateLimit {
            messages_per_second: 1_000_000,
            bytes_per_second: 1 << 30,
            burst: 1000,
            connects_per_second: 1,
        };
        let urgent = QueueId::likely_urgent();
        let stored = Stored { urgent: (urgent, self.totals(urgent)), others: self.totals(QueueId::OUTBOX) };
        let stored = (stored, self.totals(QueueId::QUARANTINE));
        let outbox = Outbox::with(&self.config, &limit, stored, self.generation, self.generation * 1_000_000);
        outbox.link_up();
        outbox
    }

    /// What the outbox wants written next is, or fails. Whether there was anything.
    pub(super) fn write(&mut self, outbox: &Outbox, successful: bool) -> bool {
        let Some(Write { queue, delete, insert, .. }) = keeper::begin_write(outbox) else { return false };
        if !successful {
            keeper::end_write(outbox, queue, &Err(Failure::Gone));
            return true;
        }
        for range in delete {
            self.rows.retain(|(other, seq), _| *other != queue || !range.contains(seq));
        }
        for row in insert {
            self.stored.insert(number(&row.payload));
            assert!(self.rows.insert((queue, row.seq), row).is_none(), "a place was taken");
        }
        keeper::end_write(outbox, queue, &Ok(()));
        true
    }

    /// What the outbox wants to read next. Whether there was anything.
    pub(super) fn load(&self, outbox: &Outbox) -> bool {
        let Some(load) = keeper::begin_load(outbox) else { return false };
        let first = load.after.map_or(0, |after| after + 1);
        let mut rows = self.rows.range((load.queue, first)..=(load.queue, load.until)).map(|(_, row)| row.clone());
        let (mut page, mut bytes) = (Vec::new(), 0);
        while bytes < load.max_bytes
            && let Some(row) = rows.next()
        {
            bytes += row.size();
            page.push(row);
        }
        let complete = rows.next().is_none();
        keeper::end_load(outbox, load.queue, Ok(Page { rows: page, complete }));
        true
    }

    /// How many messages are on it.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    fn of(&self, queue: QueueId) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |((other, _), _)| *other == queue).map(|(_, row)| row)
    }

    /// The numbers of the messages of a queue.
    pub(super) fn numbers_of(&self, queue: QueueId) -> BTreeSet<u64> {
        self.of(queue).map(|row| number(&row.payload)).collect()
    }

    /// Nothing that was stored once is gone unless it was delivered.
    pub(super) fn assert_nothing_is_lost(&self, delivered: &BTreeSet<u64>) {
        let there: BTreeSet<u64> = self.rows.values().map(|row| number(&row.payload)).collect();
        let lost: Vec<&u64> = self.stored.iter().filter(|n| !delivered.contains(n) && !there.contains(n)).collect();
        assert!(lost.is_empty(), "on no disk any more: {lost:?}");
    }

    fn totals(&self, queue: QueueId) -> Totals {
        Totals {
            messages: self.of(queue).count() as u64,
            bytes: self.of(queue).map(Row::size).sum(),
            first: self.of(queue).map(|row| row.seq).min(),
            last: self.of(queue).map(|row| row.seq).max(),
        }
    }
}
