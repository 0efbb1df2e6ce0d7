//! Which messages wait, which are in flight, which go to the disk, which may be forgotten. Pure: no I/O, no clock.

mod disk;
mod entry;

use std::time::Instant;

use jiff::Timestamp;

use super::bounds::{Bounds, MAX_IN_FLIGHT_BYTES, MAX_QOS_0_BYTES, MEMORY};
use crate::config::WhenFull;
use crate::message::{Outbound, Qos, Sequence};
use crate::store::backlog::{At, ENTRY_OVERHEAD, Item};
use crate::store::durable::Durable;
use crate::store::{Accepted, Moment, QueueId, Totals};

pub(super) use entry::Entry;

/// So many of the messages that wait are looked through for one that may be sent: those before it may only be sent alone.
pub(super) const LOOKAHEAD: usize = 2000;

/// The outbox holds all it may, and none of it may be evicted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// What is known of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// The daemon has just started: the first attempt hasn't ended yet.
    Coming,
    Up,
    Down,
}

/// The messages of the outbox. `W` is who waits for the outcome of one.
#[derive(Debug)]
pub(super) struct Ledger<W> {
    backlog: Durable<Entry<W>>,
    bounds: Bounds,
    /// Bytes and messages in the quarantine, which shares the bounds.
    beside: (u64, u64),
    next: u64,
    link: LinkState,
    /// Memory of QoS 0 messages that wait.
    qos_0: u64,
    /// No waiting message is too old before this.
    expiry_check: Option<Instant>,
    /// Messages given up since the last [`Ledger::take_dropped`].
    dropped: Vec<(Cause, Option<W>)>,
    /// Who waited for what is on the disk since the last [`Ledger::take_stored`].
    stored: Vec<W>,
}

/// Why a message was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// To make room for newer ones.
    Full,
    /// It had waited for `max_age`.
    Expired,
    /// QoS 0, and the connection ended.
    NotConnected,
}

impl<W> Ledger<W> {
    /// A ledger of which `stored` is on the disk, in the database of this `generation`. Places begin at `first`, or after
    /// what is stored.
    pub(crate) fn new(bounds: Bounds, stored: Totals, generation: u64, first: u64) -> Ledger<W> {
        Ledger {
            backlog: Durable::new(QueueId::OUTBOX, stored, generation),
            bounds,
            beside: (0, 0),
            next: stored.last.map_or(first, |last| first.max(last + 1)),
            link: LinkState::Coming,
            qos_0: 0,
            expiry_check: None,
            dropped: Vec::new(),
            stored: Vec::new(),
        }
    }

    pub(crate) fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        self.expiry_check = None;
        self.evict();
    }

    /// Whether memory has room for more. Without, whoever can wait should: the disk takes some soon.
    pub(crate) fn has_room(&self) -> bool {
        self.backlog.is_failing() || self.backlog.memory() < MEMORY * 3 / 4
    }

    /// Whether memory has room for more QoS 0 messages, which can't be stored.
    pub(crate) fn has_room_for_qos_0(&self) -> bool {
        self.qos_0 < MAX_QOS_0_BYTES
    }

    /// Adds a message behind the others. The oldest that the link hasn't got yet may be evicted for it; what is in flight never
    /// is, it may have been delivered already.
    pub(crate) fn accept(
        &mut self,
        message: Outbound,
        waiter: Option<W>,
        now: Instant,
        at: Timestamp,
        accepted: Accepted,
    ) -> Result<(), Full> {
        let size = message.size() as u64;
        if self.backlog.memory() + size + ENTRY_OVERHEAD > MEMORY {
            return Err(Full);
        }
        if self.is_over_with(size, 1) {
            let unmovable = self.backlog.taken_items().map(|(_, entry)| entry.size()).sum::<u64>();
            let no_way = self.bounds.is_over(unmovable + size, self.backlog.taken() as u64 + 1);
            if self.bounds.when_full == WhenFull::RejectNew || self.backlog.is_failing() || no_way {
                return Err(Full);
            }
        }
        let due = now + self.bounds.spill_after;
        if (self.link == LinkState::Down && waiter.is_some()) || self.backlog.memory() > MEMORY / 2 {
            self.backlog.hurry();
        }
        self.backlog.expect(due);
        if message.qos == Qos::AtMostOnce {
            self.qos_0 += size + ENTRY_OVERHEAD;
        }
        self.backlog.insert(self.next, Entry { message, at, accepted, due, waiter });
        self.next += 1;
        self.evict();
        Ok(())
    }

    /// Evicts the oldest until the bounds are kept. Those on the disk alone have to be loaded first.
    fn evict(&mut self) {
        while self.bounds.is_over(self.backlog.bytes(), self.count())
            && let Some(entry) = self.backlog.drop_front()
        {
            self.no_longer_waits(&entry.message);
            self.dropped.push((Cause::Full, entry.waiter));
        }
    }

    /// Whether the bounds are passed with so many bytes and messages more. With `drop-oldest` the quarantine gives way first.
    fn is_over_with(&self, bytes: u64, messages: u64) -> bool {
        let beside = if self.bounds.when_full == WhenFull::RejectNew { self.beside } else { (0, 0) };
        self.bounds.is_over(self.backlog.bytes() + bytes + beside.0, self.count() + messages + beside.1)
    }

    /// Whether `reject-new` has room for so many bytes more.
    pub(super) fn has_room_by_rule(&self, bytes: u64) -> bool {
        self.bounds.when_full == WhenFull::DropOldest || !self.is_over_with(bytes, 1)
    }

    /// The quarantine holds so many bytes and messages.
    pub(super) fn set_beside(&mut self, bytes: u64, messages: u64) {
        self.beside = (bytes, messages);
    }

    /// The place of the first message.
    pub(super) fn first(&self) -> Option<u64> {
        self.backlog.first()
    }

    /// Messages, those in flight included.
    pub(super) fn count(&self) -> u64 {
        self.backlog.waiting() + self.backlog.taken() as u64
    }

    /// The first message that is `wanted`, which is told where it is, of the next [`LOOKAHEAD`]: its place, and
    /// bytes of topic and payload. `None` also if as much is in flight as may be.
    pub(super) fn find(&self, mut wanted: impl FnMut(&Entry<W>, At) -> bool) -> Option<(Sequence, usize)> {
        let (seq, entry, _) = self.backlog.visible().take(LOOKAHEAD).find(|(_, entry, at)| wanted(entry, *at))?;
        self.fits_in_flight(entry).then(|| (Sequence::new(seq), entry.message.size()))
    }

    /// Likewise, the one of the lowest rank, or an older one of the same kind. Without a rank it isn't looked for.
    pub(super) fn find_least<R: Ord>(&self, rank: impl Fn(&Entry<W>, u32) -> Option<R>) -> Option<(Sequence, usize)> {
        let head = (0..).zip(self.backlog.visible().take(LOOKAHEAD));
        let ranked = head.filter_map(|(place, (seq, entry, _))| Some((rank(entry, place)?, seq, entry)));
        let (_, _, least) = ranked.min_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)))?;
        let kind = |entry: &Entry<W>| (entry.message.topic.clone(), entry.message.retain, entry.message.qos);
        let kind_of_least = kind(least);
        let (seq, entry, _) = self.backlog.visible().find(|(_, entry, _)| kind(entry) == kind_of_least)?;
        self.fits_in_flight(entry).then(|| (Sequence::new(seq), entry.message.size()))
    }

    fn fits_in_flight(&self, entry: &Entry<W>) -> bool {
        let taken = self.backlog.taken_memory();
        taken == 0 || taken + entry.size() <= MAX_IN_FLIGHT_BYTES
    }

    /// Hands a message that was [found](Ledger::find) to the link.
    pub(crate) fn take(&mut self, sequence: Sequence) -> Option<Outbound> {
        let (_, entry) = self.backlog.take_at(sequence.get())?;
        let message = entry.message.clone();
        self.no_longer_waits(&message);
        Some(message)
    }

    fn no_longer_waits(&mut self, message: &Outbound) {
        if message.qos == Qos::AtMostOnce {
            self.qos_0 = self.qos_0.saturating_sub(message.size() as u64 + ENTRY_OVERHEAD);
        }
    }

    /// A message that the link had waits again, at its old place.
    pub(crate) fn put_back(&mut self, sequence: Sequence) {
        self.backlog.put_back(sequence.get());
        self.backlog.hurry();
    }

    /// Whether there is room for a message of so many bytes without another one being evicted, and some left in memory.
    pub(crate) fn has_room_for(&self, size: u64) -> bool {
        self.backlog.memory() + size + ENTRY_OVERHEAD < MEMORY / 2
            && !self.bounds.is_over(self.backlog.bytes() + size, self.count() + 1)
    }

    /// Whether somebody waits for what becomes of a message that the link has.
    pub(super) fn waiter(&self, sequence: Sequence) -> Option<&W> {
        let mut taken = self.backlog.taken_items();
        taken.find(|(seq, _)| *seq == sequence.get()).and_then(|(_, entry)| entry.waiter.as_ref())
    }

    /// Whether a message that the link has may be on the disk.
    pub(super) fn may_be_stored(&self, sequence: Sequence) -> bool {
        self.backlog.taken_may_be_stored(sequence.get())
    }

    /// Forgets a message that the link had, and returns it with who waited for it; `None` if it is forgotten already.
    pub(super) fn remove(&mut self, sequence: Sequence, now: Instant) -> Option<Entry<W>> {
        let entry = self.backlog.finish(sequence.get())?;
        self.backlog.note_finished(now);
        if self.backlog.is_empty() {
            self.expiry_check = None;
        }
        Some(entry)
    }

    pub(crate) fn link(&self) -> LinkState {
        self.link
    }

    pub(crate) fn link_up(&mut self) {
        self.link = LinkState::Up;
    }

    /// The connection is gone. QoS 0 messages are forgotten. QoS 1 messages that were in flight stay so: the session sends
    /// them again. What a client waits for is to be on the disk.
    pub(crate) fn link_down(&mut self) {
        self.link = LinkState::Down;
        self.qos_0 = 0;
        self.backlog.hurry();
        let gone = self.backlog.forget_where(|entry| !entry.is_kept());
        self.dropped.extend(gone.into_iter().map(|entry| (Cause::NotConnected, entry.waiter)));
    }

    /// What waits and hasn't been sent by `due` is to be on the disk then.
    pub(super) fn hasten(&mut self, due: Instant) {
        self.backlog.waiting_unconfirmed().for_each(|entry| entry.due = entry.due.min(due));
        self.backlog.expect(due);
    }

    /// Whether something waits that isn't known to be on the disk.
    pub(super) fn has_waiting_unconfirmed(&self) -> bool {
        self.backlog.has_waiting_unconfirmed()
    }

    /// Everything is to be on the disk.
    pub(crate) fn stop(&mut self) {
        self.backlog.stop();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.backlog.is_stopping()
    }

    /// Nothing is in memory alone, and nothing on the disk that is delivered.
    pub(crate) fn is_stored(&self) -> bool {
        self.backlog.is_stored()
    }

    /// Whether there is something to write or read before [`Ledger::timeout`].
    pub(crate) fn needs_keeper(&self) -> bool {
        self.backlog.needs_keeper()
    }

    /// Who waited for what is on the disk now, since the last call.
    pub(crate) fn take_stored(&mut self) -> Vec<W> {
        std::mem::take(&mut self.stored)
    }

    /// The disk is another than before, and holds this.
    pub(crate) fn attach(&mut self, stored: Totals, generation: u64) {
        if self.backlog.attach(stored, generation) {
            self.expiry_check = None;
        }
    }

    /// When to ask for something to write, or call [`Ledger::expire`], though nothing has happened.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        // With nothing at the front nothing can expire: what is in flight no longer does.
        let expiry_check = self.expiry_check.filter(|_| self.backlog.front().is_some());
        [self.backlog.timeout(), expiry_check].into_iter().flatten().min()
    }

    /// Whether the head of the backlog has run short.
    pub(crate) fn needs_load(&self) -> bool {
        self.backlog.needs_load()
    }

    /// Whether it is time for [`Ledger::expire`].
    pub(crate) fn expiry_is_due(&self, now: Instant) -> bool {
        self.expiry_check.is_none_or(|at| at <= now) && self.backlog.front().is_some()
    }

    /// Gives up what has waited for too long.
    pub(crate) fn expire(&mut self, now: Instant, moment: &Moment) {
        self.expiry_check = None;
        while let Some((_, entry)) = self.backlog.front() {
            let left = self.bounds.max_age.saturating_sub(moment.age(entry.accepted));
            if !left.is_zero() {
                self.expiry_check = now.checked_add(left);
                return;
            }
            let Some(entry) = self.backlog.drop_front() else { return };
            self.no_longer_waits(&entry.message);
            self.dropped.push((Cause::Expired, entry.waiter));
        }
    }

    /// Messages given up since the last call, and who waited for them.
    pub(crate) fn take_dropped(&mut self) -> Vec<(Cause, Option<W>)> {
        std::mem::take(&mut self.dropped)
    }

    /// The end, whatever the disk says later: how many QoS 1 messages aren't known to be on it, and who waits.
    pub(crate) fn abandon(&mut self) -> (usize, Vec<W>) {
        let (mut unconfirmed, mut waiters) = (0, Vec::new());
        for entry in self.backlog.unconfirmed() {
            unconfirmed += usize::from(entry.is_kept());
            waiters.extend(entry.waiter.take());
        }
        (unconfirmed, waiters)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.backlog.is_empty()
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.backlog.waiting()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.backlog.taken()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.backlog.bytes()
    }

    pub(crate) fn stored(&self) -> u64 {
        self.backlog.stored()
    }

    /// Messages that should have been on the disk and weren't: what damage took.
    pub(crate) fn missing(&self) -> u64 {
        self.backlog.missing()
    }

    /// The place that the next message gets.
    pub(crate) fn next_sequence(&self) -> Sequence {
        Sequence::new(self.next)
    }

    /// When the oldest was accepted.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.backlog.oldest().map(|entry| entry.at)
    }
}

#[cfg(test)]
mod tests;
