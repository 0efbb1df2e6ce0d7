//! Which messages wait, which are in flight, which go to the disk, which may be forgotten. Pure: no I/O, no clock.
//!
//! There are two lanes, of what is urgent and of what isn't. They share the bounds and the numbers by which messages are called.

mod disk;
mod entry;
mod lane;
mod lanes;

use std::time::Instant;

use jiff::Timestamp;

use super::bounds::{Bounds, MAX_IN_FLIGHT_BYTES, MAX_QOS_0_BYTES, MEMORY, without_reserve};
use crate::config::WhenFull;
use crate::message::{Outbound, Qos, Sequence};
use crate::store::backlog::{At, ENTRY_OVERHEAD, Item};
use crate::store::{Accepted, Contents, Moment, QueueId, Totals};

pub(super) use entry::Entry;
pub(super) use lane::Lane;
use lanes::Lanes;

/// So many of the messages that wait in a lane are looked through for one that may be sent: those before it may only be sent alone.
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

/// What of the outbox is on the disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    /// In the queue of this number.
    pub(crate) urgent: (QueueId, Totals),
    pub(crate) others: Totals,
}

impl Stored {
    pub(crate) fn of(contents: &Contents) -> Stored {
        Stored { urgent: contents.urgent(), others: contents.totals(QueueId::OUTBOX) }
    }
}

/// The messages of the outbox. `W` is who waits for the outcome of one.
#[derive(Debug)]
pub(super) struct Ledger<W> {
    lanes: Lanes<W>,
    bounds: Bounds,
    /// Bytes and messages in the quarantine, which shares the bounds.
    beside: (u64, u64),
    next: u64,
    link: LinkState,
    /// What isn't urgent waits, whatever the link is like.
    holds_others: bool,
    /// Memory of QoS 0 messages that wait.
    qos_0: u64,
    /// Messages given up since the last [`Ledger::take_dropped`].
    dropped: Vec<(Cause, Option<W>)>,
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
    /// QoS 0, and what isn't urgent is held back.
    HeldBack,
}

impl<W> Ledger<W> {
    /// A ledger of which `stored` is on the disk, in the database of this `generation`. Places begin at `first`, or after
    /// what is stored.
    pub(crate) fn new(bounds: Bounds, stored: Stored, generation: u64, first: u64) -> Ledger<W> {
        let last = stored.urgent.1.last.max(stored.others.last);
        Ledger {
            lanes: Lanes::new(stored, generation),
            bounds,
            beside: (0, 0),
            next: last.map_or(first, |last| first.max(last + 1)),
            link: LinkState::Coming,
            holds_others: false,
            qos_0: 0,
            dropped: Vec::new(),
        }
    }

    pub(crate) fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        self.lanes.all_mut().into_iter().for_each(Lane::look_at_age);
        self.evict();
    }

    /// Whether memory has room for more. Without, whoever can wait should, what is urgent not as soon: the disk takes some.
    pub(crate) fn has_room(&self, urgent: bool) -> bool {
        let most = if urgent { MEMORY * 7 / 8 } else { MEMORY * 3 / 4 };
        self.lanes.is_failing() || self.lanes.memory() < most
    }

    /// Whether memory has room for more QoS 0 messages, which can't be stored.
    pub(crate) fn has_room_for_qos_0(&self) -> bool {
        self.qos_0 < MAX_QOS_0_BYTES
    }

    /// Adds a message behind the others of its lane. The oldest that the link hasn't got yet may be evicted for it, of what is urgent
    /// only for another that is; what is in flight never is, it may have been delivered already.
    pub(crate) fn accept(
        &mut self,
        message: Outbound,
        waiter: Option<W>,
        now: Instant,
        at: Timestamp,
        accepted: Accepted,
    ) -> Result<(), Full> {
        let size = message.size() as u64;
        let memory = match (self.keeps_reserve(), message.urgent) {
            (false, _) => MEMORY,
            (true, false) => without_reserve(MEMORY),
            // What the others took of the reserve before it was kept doesn't count.
            (true, true) => {
                let others = self.lanes.memory() - self.lanes.urgent.backlog.memory();
                MEMORY + others.saturating_sub(without_reserve(MEMORY))
            }
        };
        if self.lanes.memory() + size + ENTRY_OVERHEAD > memory {
            return Err(Full);
        }
        if self.is_over_with(size, 1, message.urgent) {
            let (bytes, messages) = self.unmovable(message.urgent);
            let no_way = self.bounds.is_over(bytes + size, messages + 1);
            if self.bounds.when_full == WhenFull::RejectNew || self.lanes.is_failing() || no_way {
                return Err(Full);
            }
        }
        let due = now + self.bounds.spill_after;
        if self.lanes.is_memory_short() {
            self.lanes.hurry();
        }
        let link = self.link_for(message.urgent);
        let lane = &mut self.lanes.lane_mut(message.urgent).backlog;
        if link == LinkState::Down && waiter.is_some() {
            lane.hurry();
        }
        lane.expect(due);
        if message.qos == Qos::AtMostOnce {
            self.qos_0 += size + ENTRY_OVERHEAD;
        }
        lane.insert(self.next, Entry { message, at, accepted, due, waiter });
        self.next += 1;
        self.evict();
        Ok(())
    }

    /// Bytes and messages that can't make room for another: what the link has, and if that isn't `urgent`, what is.
    fn unmovable(&self, urgent: bool) -> (u64, u64) {
        let (bytes, messages) = (self.lanes.taken_bytes(), self.lanes.taken() as u64);
        let lane = &self.lanes.urgent;
        match urgent {
            true => (bytes, messages),
            false => (bytes + lane.backlog.bytes() - lane.taken_bytes(), messages + lane.backlog.waiting()),
        }
    }

    /// Evicts the oldest until the bounds are kept, what is urgent last. Those on the disk alone have to be loaded first.
    fn evict(&mut self) {
        while self.bounds.has_to_drop(self.urgent(), (self.lanes.bytes(), self.count()))
            && let Some(entry) = self.lanes.drop_first()
        {
            self.no_longer_waits(&entry.message);
            self.dropped.push((Cause::Full, entry.waiter));
        }
    }

    /// Whether the bounds are passed with so many bytes and messages more. With `drop-oldest` the quarantine gives way first.
    fn is_over_with(&self, bytes: u64, messages: u64, urgent: bool) -> bool {
        let beside = if self.bounds.when_full == WhenFull::RejectNew { self.beside } else { (0, 0) };
        let all = (self.lanes.bytes() + beside.0, self.count() + beside.1);
        match (self.keeps_reserve(), urgent) {
            (false, _) => self.bounds.is_over(all.0 + bytes, all.1 + messages),
            (true, false) => self.bounds.is_in_reserve(all.0 + bytes, all.1 + messages),
            (true, true) => {
                let held = self.urgent();
                let others = (all.0.saturating_sub(held.0), all.1.saturating_sub(held.1));
                self.bounds.is_reserve_over((held.0 + bytes, held.1 + messages), others)
            }
        }
    }

    /// Whether a part of the room is for what is urgent alone: what is held back for weeks doesn't give way to that, which would find no
    /// room for as long.
    pub(super) fn keeps_reserve(&self) -> bool {
        let nothing_gives_way = self.bounds.when_full == WhenFull::RejectNew || self.lanes.is_failing();
        self.holds_others && nothing_gives_way
    }

    /// Bytes and messages that are urgent.
    fn urgent(&self) -> (u64, u64) {
        let backlog = &self.lanes.urgent.backlog;
        (backlog.bytes(), backlog.waiting() + backlog.taken() as u64)
    }

    /// Whether `reject-new` has room for so many bytes more.
    pub(super) fn has_room_by_rule(&self, bytes: u64, urgent: bool) -> bool {
        self.bounds.when_full == WhenFull::DropOldest || !self.is_over_with(bytes, 1, urgent)
    }

    /// The quarantine holds so many bytes and messages.
    pub(super) fn set_beside(&mut self, bytes: u64, messages: u64) {
        self.beside = (bytes, messages);
    }

    /// The place of the first message.
    pub(super) fn first(&self) -> Option<u64> {
        self.lanes.first()
    }

    /// Messages, those in flight included.
    pub(super) fn count(&self) -> u64 {
        self.lanes.waiting() + self.lanes.taken() as u64
    }

    /// The first message that is `wanted`, which is told where it is, of the next [`LOOKAHEAD`] of each lane: its place, and
    /// bytes of topic and payload. `None` also if as much is in flight as may be.
    pub(super) fn find(&self, mut wanted: impl FnMut(&Entry<W>, At) -> bool) -> Option<(Sequence, usize)> {
        let (seq, entry, _) = self.lanes.head(self.holds_others).find(|(_, entry, at)| wanted(entry, *at))?;
        self.fits_in_flight(entry).then(|| (Sequence::new(seq), entry.message.size()))
    }

    /// Likewise, the one of the lowest rank, or an older one of the same kind. Without a rank it isn't looked for.
    pub(super) fn find_least<R: Ord>(&self, rank: impl Fn(&Entry<W>, u32) -> Option<R>) -> Option<(Sequence, usize)> {
        let head = (0..).zip(self.lanes.head(self.holds_others));
        let ranked = head.filter_map(|(place, (seq, entry, _))| Some((rank(entry, place)?, seq, entry)));
        let (_, _, least) = ranked.min_by(|one, other| one.0.cmp(&other.0))?;
        let kind = |entry: &Entry<W>| (entry.message.topic.clone(), entry.message.retain, entry.message.qos);
        let kind_of_least = kind(least);
        let (seq, entry, _) =
            self.lanes.visible(self.holds_others).find(|(_, entry, _)| kind(entry) == kind_of_least)?;
        self.fits_in_flight(entry).then(|| (Sequence::new(seq), entry.message.size()))
    }

    fn fits_in_flight(&self, entry: &Entry<W>) -> bool {
        let taken = self.lanes.taken_memory();
        taken == 0 || taken + entry.size() <= MAX_IN_FLIGHT_BYTES
    }

    /// Hands a message that was [found](Ledger::find) to the link.
    pub(crate) fn take(&mut self, sequence: Sequence) -> Option<Outbound> {
        let message = self.lanes.take_at(sequence.get())?.message.clone();
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
        self.lanes.put_back(sequence.get());
    }

    /// Whether there is room for a message of so many bytes without another one being evicted, and some left in memory.
    pub(crate) fn has_room_for(&self, size: u64) -> bool {
        self.lanes.memory() + size + ENTRY_OVERHEAD < MEMORY / 2
            && !self.bounds.is_over(self.lanes.bytes() + size, self.count() + 1)
    }

    /// Whether somebody waits for what becomes of a message that the link has.
    pub(super) fn waiter(&self, sequence: Sequence) -> Option<&W> {
        self.lanes.taken_item(sequence.get())?.waiter.as_ref()
    }

    /// Whether a message that the link has may be on the disk.
    pub(super) fn may_be_stored(&self, sequence: Sequence) -> bool {
        self.lanes.taken_may_be_stored(sequence.get())
    }

    /// Forgets a message that the link had, and returns it with who waited for it; `None` if it is forgotten already.
    pub(super) fn remove(&mut self, sequence: Sequence, now: Instant) -> Option<Entry<W>> {
        self.lanes.finish(sequence.get(), now)
    }

    /// What the link is for what is urgent, or for what isn't: down, where that is held back.
    pub(crate) fn link_for(&self, urgent: bool) -> LinkState {
        if self.holds_others && !urgent { LinkState::Down } else { self.link }
    }

    pub(crate) fn link_up(&mut self) {
        self.link = LinkState::Up;
    }

    /// The connection is gone. QoS 0 messages are forgotten. QoS 1 messages that were in flight stay so: the session sends
    /// them again. What a client waits for is to be on the disk.
    pub(crate) fn link_down(&mut self) {
        self.link = LinkState::Down;
        [true, false].into_iter().for_each(|urgent| self.cut_off(urgent, Cause::NotConnected));
        self.qos_0 = 0;
    }

    /// What isn't urgent waits from now on as if there were no connection, or no longer.
    pub(crate) fn hold_others(&mut self, holds: bool) {
        if std::mem::replace(&mut self.holds_others, holds) != holds && holds {
            self.cut_off(false, Cause::HeldBack);
        }
    }

    /// Why QoS 0 isn't taken now.
    pub(crate) fn why_not_qos_0(&self, urgent: bool) -> Cause {
        let is_held_back = self.holds_others && !urgent && self.link != LinkState::Down;
        if is_held_back { Cause::HeldBack } else { Cause::NotConnected }
    }

    /// A lane has no connection.
    fn cut_off(&mut self, urgent: bool, why: Cause) {
        let backlog = &mut self.lanes.lane_mut(urgent).backlog;
        backlog.hurry();
        for entry in backlog.forget_where(|entry| !entry.is_kept()) {
            self.no_longer_waits(&entry.message);
            self.dropped.push((why, entry.waiter));
        }
    }

    /// Whether it is time for [`Ledger::expire`].
    pub(crate) fn expiry_is_due(&self, now: Instant) -> bool {
        self.lanes.expiry_is_due(now)
    }

    /// Gives up what has waited for too long.
    pub(crate) fn expire(&mut self, now: Instant, moment: &Moment) {
        for urgent in [true, false] {
            while let Some(entry) = self.lanes.lane_mut(urgent).expire_front(self.bounds.max_age, now, moment) {
                self.no_longer_waits(&entry.message);
                self.dropped.push((Cause::Expired, entry.waiter));
            }
        }
    }

    /// Messages given up since the last call, and who waited for them.
    pub(crate) fn take_dropped(&mut self) -> Vec<(Cause, Option<W>)> {
        std::mem::take(&mut self.dropped)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.lanes.waiting()
    }

    /// Of those that wait, what is urgent, or what isn't.
    pub(crate) fn waiting_like(&self, urgent: bool) -> u64 {
        self.lanes.lane(urgent).backlog.waiting()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.lanes.taken()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.lanes.bytes()
    }

    pub(crate) fn stored(&self) -> u64 {
        self.lanes.stored()
    }

    /// Messages that should have been on the disk and weren't: what damage took.
    pub(crate) fn missing(&self) -> u64 {
        self.lanes.missing()
    }

    /// The place that the next message gets.
    pub(crate) fn next_sequence(&self) -> Sequence {
        Sequence::new(self.next)
    }

    /// When the oldest was accepted.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.lanes.oldest().map(|entry| entry.at)
    }
}

#[cfg(test)]
mod tests;
