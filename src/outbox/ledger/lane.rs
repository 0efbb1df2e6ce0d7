//! The messages of one lane, and what is decided for it alone about the disk.

use std::time::{Duration, Instant};

use super::{Entry, LinkState};
use crate::store::backlog::Item as _;
use crate::store::durable::{DiskRules, Durable};
use crate::store::{Moment, QueueId, Row, Totals};

/// Messages that leave in the order in which they came, whatever becomes of those of the other lane.
#[derive(Debug)]
pub(in crate::outbox) struct Lane<W> {
    pub(super) backlog: Durable<Entry<W>>,
    /// No waiting message is too old before this.
    expiry_check: Option<Instant>,
    /// What is to be on the disk before it is due: the memory and the link of both lanes decide.
    at_once: fn(&Entry<W>) -> bool,
    /// Who waited for what is on the disk since the last [`Lane::take_stored`].
    stored: Vec<W>,
}

impl<W> Lane<W> {
    pub(super) fn new(queue: QueueId, stored: Totals, generation: u64) -> Lane<W> {
        let backlog = Durable::new(queue, stored, generation);
        Lane { backlog, expiry_check: None, at_once: |_| false, stored: Vec::new() }
    }

    /// What the disk has to have at once, now.
    pub(super) fn look_at_disk(&mut self, link: LinkState, is_memory_short: bool) {
        self.at_once = match link {
            _ if is_memory_short => |_| true,
            LinkState::Down => |entry| entry.waiter.is_some(),
            LinkState::Coming | LinkState::Up => |_| false,
        };
    }

    /// The disk is another than before, and holds this in that queue.
    pub(super) fn attach(&mut self, queue: QueueId, stored: Totals, generation: u64) {
        if self.backlog.attach(stored, generation) {
            self.backlog.set_queue(queue);
            self.expiry_check = None;
        }
    }

    /// Bytes of topics and payloads that the link has.
    pub(super) fn taken_bytes(&self) -> u64 {
        self.backlog.taken_items().map(|(_, entry)| entry.size()).sum()
    }

    pub(super) fn take_stored(&mut self) -> Vec<W> {
        std::mem::take(&mut self.stored)
    }

    /// Forgets a message that the link had.
    pub(super) fn finish(&mut self, seq: u64, now: Instant) -> Option<Entry<W>> {
        let entry = self.backlog.finish(seq)?;
        self.backlog.note_finished(now);
        if self.backlog.is_empty() {
            self.expiry_check = None;
        }
        Some(entry)
    }

    /// Messages may be too old sooner than they were.
    pub(super) fn look_at_age(&mut self) {
        self.expiry_check = None;
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        // With nothing at the front nothing can expire: what is in flight no longer does.
        let expiry_check = self.expiry_check.filter(|_| self.backlog.front().is_some());
        [self.backlog.timeout(), expiry_check].into_iter().flatten().min()
    }

    /// Whether it is time to look for what is too old.
    pub(super) fn expiry_is_due(&self, now: Instant) -> bool {
        self.expiry_check.is_none_or(|at| at <= now) && self.backlog.front().is_some()
    }

    /// Gives up the first message if it has waited for `max_age`.
    pub(super) fn expire_front(&mut self, max_age: Duration, now: Instant, moment: &Moment) -> Option<Entry<W>> {
        self.expiry_check = None;
        let (_, entry) = self.backlog.front()?;
        let left = max_age.saturating_sub(moment.age(entry.accepted));
        if !left.is_zero() {
            self.expiry_check = now.checked_add(left);
            return None;
        }
        self.backlog.drop_front()
    }
}

impl<W> DiskRules for Lane<W> {
    type Item = Entry<W>;

    fn durable(&mut self) -> &mut Durable<Entry<W>> {
        &mut self.backlog
    }

    fn at_once(&self) -> fn(&Entry<W>) -> bool {
        self.at_once
    }

    fn written(&mut self, _successful: bool, waiters: Vec<W>) {
        self.stored.extend(waiters);
    }

    fn read(&self, row: Row, now: Instant, moment: &Moment) -> Entry<W> {
        Entry::from_row(row, now, moment)
    }

    fn loaded(&mut self) {
        self.expiry_check = None;
    }
}
