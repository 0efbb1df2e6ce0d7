//! Both lanes as one: what is urgent, and what isn't. Each keeps its own order; the urgent one goes first.

use std::time::Instant;

use super::lane::Lane;
use super::{Entry, LOOKAHEAD, LinkState, Stored};
use crate::outbox::bounds::MEMORY;
use crate::store::QueueId;
use crate::store::backlog::At;

/// See the module.
#[derive(Debug)]
pub(super) struct Lanes<W> {
    pub(super) urgent: Lane<W>,
    pub(super) others: Lane<W>,
}

impl<W> Lanes<W> {
    pub(super) fn new(stored: Stored, generation: u64) -> Lanes<W> {
        let (queue, urgent) = stored.urgent;
        Lanes {
            urgent: Lane::new(queue, urgent, generation),
            others: Lane::new(QueueId::OUTBOX, stored.others, generation),
        }
    }

    /// What is urgent first.
    fn all(&self) -> [&Lane<W>; 2] {
        [&self.urgent, &self.others]
    }

    pub(super) fn all_mut(&mut self) -> [&mut Lane<W>; 2] {
        [&mut self.urgent, &mut self.others]
    }

    pub(super) fn lane(&self, urgent: bool) -> &Lane<W> {
        if urgent { &self.urgent } else { &self.others }
    }

    pub(super) fn lane_mut(&mut self, urgent: bool) -> &mut Lane<W> {
        if urgent { &mut self.urgent } else { &mut self.others }
    }

    /// The lane of a queue, as the disk asks for it.
    pub(super) fn of_queue(&mut self, queue: QueueId, link: LinkState) -> &mut Lane<W> {
        let is_memory_short = self.is_memory_short();
        let lane = self.lane_mut(queue != QueueId::OUTBOX);
        lane.look_at_disk(link, is_memory_short);
        lane
    }

    /// What is in memory is to be on the disk, to leave it.
    pub(super) fn is_memory_short(&self) -> bool {
        self.memory() > MEMORY / 2
    }

    /// The lane in which the link has this message.
    fn of_taken(&mut self, seq: u64) -> &mut Lane<W> {
        let urgent = self.urgent.backlog.taken_item(seq).is_some();
        self.lane_mut(urgent)
    }

    /// The lanes that go to the link: all, or `only_urgent`.
    fn open(&self, only_urgent: bool) -> impl Iterator<Item = &Lane<W>> {
        self.all().into_iter().take(if only_urgent { 1 } else { 2 })
    }

    /// Messages that can be taken, in the order in which they go: the next [`LOOKAHEAD`] of each lane.
    pub(super) fn head(&self, only_urgent: bool) -> impl Iterator<Item = (u64, &Entry<W>, At)> {
        self.open(only_urgent).flat_map(|lane| lane.backlog.visible().take(LOOKAHEAD))
    }

    /// All messages that can be taken, in that order.
    pub(super) fn visible(&self, only_urgent: bool) -> impl Iterator<Item = (u64, &Entry<W>, At)> {
        self.open(only_urgent).flat_map(|lane| lane.backlog.visible())
    }

    pub(super) fn take_at(&mut self, seq: u64) -> Option<&Entry<W>> {
        let Lanes { urgent, others } = self;
        let taken = urgent.backlog.take_at(seq).or_else(|| others.backlog.take_at(seq))?;
        Some(taken.1)
    }

    pub(super) fn put_back(&mut self, seq: u64) {
        let backlog = &mut self.of_taken(seq).backlog;
        backlog.put_back(seq);
        backlog.hurry();
    }

    pub(super) fn finish(&mut self, seq: u64, now: Instant) -> Option<Entry<W>> {
        self.of_taken(seq).finish(seq, now)
    }

    pub(super) fn taken_item(&self, seq: u64) -> Option<&Entry<W>> {
        self.all().into_iter().find_map(|lane| lane.backlog.taken_item(seq))
    }

    pub(super) fn taken_may_be_stored(&self, seq: u64) -> bool {
        self.all().into_iter().any(|lane| lane.backlog.taken_may_be_stored(seq))
    }

    /// Drops a message to make room: what is urgent only where nothing else waits. `None`: it has to be loaded first, or there is
    /// none.
    pub(super) fn drop_first(&mut self) -> Option<Entry<W>> {
        let urgent = self.others.backlog.waiting() == 0;
        self.lane_mut(urgent).backlog.drop_front()
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.all().into_iter().filter_map(|lane| lane.backlog.first()).min()
    }

    /// The oldest message in memory.
    pub(super) fn oldest(&self) -> Option<&Entry<W>> {
        self.all().into_iter().filter_map(|lane| lane.backlog.oldest()).min_by_key(|entry| entry.at)
    }

    pub(super) fn waiting(&self) -> u64 {
        self.sum(|lane| lane.backlog.waiting())
    }

    pub(super) fn taken(&self) -> usize {
        self.all().into_iter().map(|lane| lane.backlog.taken()).sum()
    }

    pub(super) fn taken_memory(&self) -> u64 {
        self.sum(|lane| lane.backlog.taken_memory())
    }

    /// Bytes of topics and payloads that the link has.
    pub(super) fn taken_bytes(&self) -> u64 {
        self.sum(Lane::taken_bytes)
    }

    pub(super) fn memory(&self) -> u64 {
        self.sum(|lane| lane.backlog.memory())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.sum(|lane| lane.backlog.bytes())
    }

    pub(super) fn stored_by_queue(&self) -> [(QueueId, u64); 2] {
        self.all().map(|lane| (lane.backlog.queue(), lane.backlog.stored()))
    }

    pub(super) fn stored(&self) -> u64 {
        self.sum(|lane| lane.backlog.stored())
    }

    pub(super) fn missing(&self) -> u64 {
        self.sum(|lane| lane.backlog.missing())
    }

    fn sum(&self, of: impl Fn(&Lane<W>) -> u64) -> u64 {
        self.all().into_iter().map(of).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.every(|lane| lane.backlog.is_empty())
    }

    /// Nothing is in memory alone, and nothing on the disk that is finished.
    pub(super) fn is_stored(&self) -> bool {
        self.every(|lane| lane.backlog.is_stored())
    }

    fn every(&self, is: impl Fn(&Lane<W>) -> bool) -> bool {
        self.all().into_iter().all(is)
    }

    pub(super) fn is_failing(&self) -> bool {
        self.any(|lane| lane.backlog.is_failing())
    }

    pub(super) fn has_waiting_unconfirmed(&self, only_urgent: bool) -> bool {
        self.open(only_urgent).any(|lane| lane.backlog.has_waiting_unconfirmed())
    }

    pub(super) fn needs_keeper(&self) -> bool {
        self.any(|lane| lane.backlog.needs_keeper())
    }

    pub(super) fn needs_load(&self) -> bool {
        self.any(|lane| lane.backlog.needs_load())
    }

    pub(super) fn expiry_is_due(&self, now: Instant) -> bool {
        self.any(|lane| lane.expiry_is_due(now))
    }

    fn any(&self, is: impl Fn(&Lane<W>) -> bool) -> bool {
        self.all().into_iter().any(is)
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.all().into_iter().filter_map(Lane::timeout).min()
    }

    pub(super) fn stop(&mut self) {
        self.all_mut().into_iter().for_each(|lane| lane.backlog.stop());
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.any(|lane| lane.backlog.is_stopping())
    }

    pub(super) fn hurry(&mut self) {
        self.all_mut().into_iter().for_each(|lane| lane.backlog.hurry());
    }
}
