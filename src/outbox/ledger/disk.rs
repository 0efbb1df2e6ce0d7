//! The ledger and the disk: what is asked for both lanes, and what is said of them.

use std::time::Instant;

use super::{Lane, Ledger, Stored};
use crate::store::QueueId;

impl<W> Ledger<W> {
    /// What waits and hasn't been sent by `due` is to be on the disk then.
    pub(in crate::outbox) fn hasten(&mut self, due: Instant) {
        for lane in self.lanes.all_mut() {
            lane.backlog.waiting_unconfirmed().for_each(|entry| entry.due = entry.due.min(due));
            lane.backlog.expect(due);
        }
    }

    /// Whether something waits that isn't known to be on the disk.
    pub(in crate::outbox) fn has_waiting_unconfirmed(&self) -> bool {
        self.lanes.has_waiting_unconfirmed(self.holds_others)
    }

    /// Everything is to be on the disk.
    pub(crate) fn stop(&mut self) {
        self.lanes.stop();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.lanes.is_stopping()
    }

    /// Nothing is in memory alone, and nothing on the disk that is delivered.
    pub(crate) fn is_stored(&self) -> bool {
        self.lanes.is_stored()
    }

    /// Whether there is something to write or read before [`Ledger::timeout`].
    pub(crate) fn needs_keeper(&self) -> bool {
        self.lanes.needs_keeper()
    }

    /// The lane of a queue, as the disk asks for it.
    pub(in crate::outbox) fn lane(&mut self, queue: QueueId) -> &mut Lane<W> {
        let link = self.link_for(queue != QueueId::OUTBOX);
        self.lanes.of_queue(queue, link)
    }

    /// The queue of what is urgent; that of the rest is [`QueueId::OUTBOX`].
    pub(in crate::outbox) fn urgent_queue(&self) -> QueueId {
        self.lanes.urgent.backlog.queue()
    }

    /// How many messages are on the disk in each queue.
    pub(in crate::outbox) fn stored_by_queue(&self) -> [(QueueId, u64); 2] {
        self.lanes.stored_by_queue()
    }

    /// Something was read: more of it may be than may be kept.
    pub(in crate::outbox) fn loaded(&mut self) {
        self.evict();
    }

    /// Who waited for what is on the disk now, since the last call.
    pub(crate) fn take_stored(&mut self) -> Vec<W> {
        self.lanes.all_mut().into_iter().flat_map(Lane::take_stored).collect()
    }

    /// The disk is another than before, and holds this.
    pub(crate) fn attach(&mut self, stored: Stored, generation: u64) {
        let (queue, urgent) = stored.urgent;
        self.lanes.urgent.attach(queue, urgent, generation);
        self.lanes.others.attach(QueueId::OUTBOX, stored.others, generation);
    }

    /// When to ask for something to write, or call [`Ledger::expire`], though nothing has happened.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.lanes.timeout()
    }

    /// Whether the head of the backlog has run short.
    pub(crate) fn needs_load(&self) -> bool {
        self.lanes.needs_load()
    }

    /// The end, whatever the disk says later: how many QoS 1 messages aren't known to be on it, and who waits.
    pub(crate) fn abandon(&mut self) -> (usize, Vec<W>) {
        let (mut unconfirmed, mut waiters) = (0, Vec::new());
        for entry in self.lanes.all_mut().into_iter().flat_map(|lane| lane.backlog.unconfirmed()) {
            unconfirmed += usize::from(entry.is_kept());
            waiters.extend(entry.waiter.take());
        }
        (unconfirmed, waiters)
    }
}
