//! What a simulated disk holds.

use std::collections::BTreeMap;

use crate::store::{QueueId, Row, Totals, Write};

/// A message, and when it came in the form in which the database notes that.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) row: Row,
    pub(super) boot: u64,
}

/// What a transaction has made of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Database {
    pub(super) queues: Vec<(QueueId, String)>,
    pub(super) messages: BTreeMap<(QueueId, u64), Stored>,
    pub(super) notes: BTreeMap<String, String>,
    /// How far the clock of a boot was ahead of the time since that boot, in milliseconds.
    pub(super) offsets: BTreeMap<u64, i64>,
}

impl Database {
    pub(super) fn apply(&mut self, write: &Write, boot: u64) {
        let queue = write.queue;
        for range in &write.delete {
            let range = (queue, *range.start())..=(queue, *range.end());
            let gone: Vec<_> = self.messages.range(range).map(|(key, _)| *key).collect();
            gone.iter().for_each(|key| drop(self.messages.remove(key)));
        }
        let stored = write.insert.iter().map(|row| ((queue, row.seq), Stored { row: row.clone(), boot }));
        self.messages.extend(stored);
        if let Some(offset) = write.clock_offset {
            self.offsets.entry(boot).or_insert(offset);
        }
        self.notes.extend(write.notes.iter().map(|(name, value)| (name.to_string(), value.clone())));
    }
}

pub(super) fn totals(database: &Database, queue: QueueId) -> Totals {
    let mut totals = Totals::default();
    for stored in database.messages.range((queue, 0)..=(queue, u64::MAX)).map(|(_, stored)| stored) {
        totals.messages += 1;
        totals.bytes += stored.row.size();
        totals.first = totals.first.or(Some(stored.row.seq));
        totals.last = Some(stored.row.seq);
    }
    totals
}
