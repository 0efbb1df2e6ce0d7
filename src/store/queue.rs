//! Queues: their numbers, the places in them, and what they hold.

use std::ops::RangeInclusive;

/// The number of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct QueueId(u16);

impl QueueId {
    /// What waits for IoT Core.
    pub(crate) const OUTBOX: QueueId = QueueId(0);

    /// The name of the queue of what is urgent and waits for IoT Core. It has a number as the forwards' queues have, as every other number
    /// may be one of theirs in a database of before. No forward may have a control character in its name.
    pub(crate) const URGENT: &str = "outbox\turgent";

    /// The bits of a key that say the place in the queue.
    const SEQ_BITS: u32 = 53;

    /// How many there can be, those of the daemon itself included: what is left of a positive key.
    const COUNT: u16 = 1 << (63 - QueueId::SEQ_BITS);

    /// What IoT Core refuses. The last number.
    pub(crate) const QUARANTINE: QueueId = QueueId(QueueId::COUNT - 1);

    /// Places from here on are given out by a process that couldn't read the database when it started: so what it finds there
    /// later comes before, whatever the clocks of both processes have shown.
    pub(crate) const UNREAD: u64 = 1 << (QueueId::SEQ_BITS - 1);

    /// The highest place in a queue.
    pub(crate) const MAX_SEQ: u64 = (1 << QueueId::SEQ_BITS) - 1;

    pub(super) fn new(number: u16) -> Option<QueueId> {
        (number < QueueId::COUNT).then_some(QueueId(number))
    }

    /// The queues that are there without being asked for, with the names that they have in the database.
    pub(super) fn built_in() -> Vec<(QueueId, String)> {
        vec![(QueueId::OUTBOX, "outbox".to_owned()), (QueueId::QUARANTINE, "quarantine".to_owned())]
    }

    /// Whether it isn't a forward's.
    pub(super) fn is_built_in(self) -> bool {
        self == QueueId::OUTBOX || self == QueueId::QUARANTINE
    }

    /// A number for a forward's queue, which depends on its name alone as far as possible: should the list of queues be destroyed,
    /// the messages still find theirs.
    pub(super) fn for_name(name: &str, is_taken: impl Fn(QueueId) -> bool) -> Option<QueueId> {
        let others = QueueId::COUNT - 2;
        let start = (crc32fast::hash(name.as_bytes()) % u32::from(others)) as u16;
        (0..others).map(|i| QueueId(1 + (start + i) % others)).find(|queue| !is_taken(*queue))
    }

    /// The number that [`QueueId::URGENT`] has, unless a forward had it before.
    pub(crate) fn likely_urgent() -> QueueId {
        QueueId::for_name(QueueId::URGENT, |_| false).unwrap_or(QueueId::OUTBOX)
    }

    /// The name of the note up to which place messages of a queue may have been given to readers.
    pub(crate) fn note_of_given(self) -> String {
        format!("given {}", self.0)
    }

    pub(super) fn number(self) -> u16 {
        self.0
    }

    pub(super) fn key(self, seq: u64) -> i64 {
        (i64::from(self.0) << QueueId::SEQ_BITS) | seq.min(QueueId::MAX_SEQ) as i64
    }

    pub(super) fn keys(self, seqs: RangeInclusive<u64>) -> RangeInclusive<i64> {
        self.key(*seqs.start())..=self.key(*seqs.end())
    }

    /// Whose message has this key.
    pub(super) fn of_key(key: i64) -> Option<QueueId> {
        u16::try_from(key >> QueueId::SEQ_BITS).ok().and_then(QueueId::new)
    }

    pub(super) fn seq_of_key(key: i64) -> u64 {
        key as u64 & QueueId::MAX_SEQ
    }
}

/// What a queue holds on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) messages: u64,
    /// Topics and payloads.
    pub(crate) bytes: u64,
    pub(crate) first: Option<u64>,
    pub(crate) last: Option<u64>,
}

/// Where a queue is, and what is in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueState {
    pub(crate) queue: QueueId,
    pub(crate) stored: Totals,
    /// Of the database; 0: none is open yet.
    pub(crate) generation: u64,
    /// Readers may have been given its messages up to this place.
    pub(crate) given: u64,
}

impl Default for QueueState {
    fn default() -> QueueState {
        QueueState { queue: QueueId::OUTBOX, stored: Totals::default(), generation: 0, given: 0 }
    }
}
