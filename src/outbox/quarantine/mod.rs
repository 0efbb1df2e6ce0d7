//! What IoT Core refuses: the messages, and the conditions that they meet. Pure: no I/O, no clock.
//!
//! Once a condition is set aside, messages that meet it aren't sent. Those that nobody waits for lie here, in a queue of their
//! own on the disk, which counts against `max_size` with the rest of the outbox and gives way before that. Once a day, and when it is [released](Quarantine::release), all of it is tried anew: the
//! messages go back to the outbox one after the other, as far as that has room, and leave the disk here only when they are
//! delivered or on the disk there. What is refused again gets a new place, behind what is still to be released.

mod held;
mod listed;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::bounds::Bounds;
use crate::message::{Condition, Traits};
use crate::store::backlog::{ENTRY_OVERHEAD, Item};
use crate::store::durable::{DiskRules, Durable, Note};
use crate::store::{Moment, QueueId, Row, Totals};
use held::Held;
pub(super) use held::Refused;
use listed::Listed;
pub(super) use listed::NOTE;
pub(crate) use listed::QuarantineStatus;

/// What is set aside is tried anew after so long.
const TRY_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// A message that wasn't on the disk before may wait in memory for so long: its topic may be published to every second, and
/// a card wears out.
const SPILL_AFTER: Duration = Duration::from_secs(60);

/// The most memory, in bytes: there is room for all that may be in flight to a topic when it is set aside, beside what waits to
/// be written, what goes back, and what the backlog keeps of its head.
const MEMORY: u64 = 6 * 1024 * 1024;

/// With more bytes than this that aren't on the disk they are written without delay, and what the outbox holds has to wait for
/// that. Nor are more on their way back at a time.
const PRESSED: u64 = 1024 * 1024;

/// So many messages are on their way back at a time: a group is tried with one of them, the rest would come for nothing.
const MAX_RETURNING: usize = 100;

/// The place of a message in the quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u64);

/// See the module.
#[derive(Debug)]
pub(super) struct Quarantine {
    backlog: Durable<Held>,
    /// Of the outbox, this included.
    bounds: Bounds,
    /// Bytes and messages in the rest of it.
    beside: (u64, u64),
    /// The place that the next message gets.
    next: u64,
    listed: Listed,
    /// When all is to be tried anew; `None`: there is nothing.
    try_again_at: Option<Instant>,
    /// Up to here messages go back to the outbox.
    releasing: Option<u64>,
    /// What may be sent again, for the link to be told.
    released: Vec<Condition>,
    dropped: u64,
}

/// What is to be done with a message that goes back.
#[derive(Debug)]
pub(super) enum Returning {
    /// It has waited for `max_age` meanwhile, and is gone.
    Expired,
    /// The outbox has to take it, and [`Quarantine::finish`] its place once it is safe there.
    ToOutbox(Place, Refused),
}

impl Quarantine {
    /// The quarantine of which `stored` is on the disk, in the database of this `generation`. `bounds` are the outbox's; places
    /// begin at `first`, or after what is stored.
    pub(super) fn new(bounds: &Bounds, stored: Totals, generation: u64, first: u64, now: Instant) -> Quarantine {
        let mut backlog = Durable::new(QueueId::QUARANTINE, stored, generation);
        backlog.moves_within();
        Quarantine {
            backlog,
            bounds: bounds.clone(),
            beside: (0, 0),
            next: stored.last.map_or(first, |last| first.max(last + 1)),
            listed: Listed::default(),
            try_again_at: (stored.messages > 0).then(|| now + TRY_AGAIN),
            releasing: None,
            released: Vec::new(),
            dropped: 0,
        }
    }

    /// Other bounds of the outbox hold from now on.
    pub(super) fn set_bounds(&mut self, bounds: &Bounds) {
        self.bounds = bounds.clone();
        self.evict();
    }

    /// What an earlier process has noted, read now, when the clock shows `clock`.
    pub(super) fn recall(&mut self, note: &str, now: Instant, clock: Timestamp) {
        if let Some(since) = self.listed.recall(note) {
            // A clock that isn't set yet shows a time before that: then the day begins now.
            let age = Duration::try_from(clock.duration_since(since)).unwrap_or_default();
            self.try_again_at = Some(now + TRY_AGAIN.saturating_sub(age));
        }
    }

    /// The rest of the outbox holds so many bytes and messages.
    pub(super) fn set_beside(&mut self, bytes: u64, messages: u64) {
        self.beside = (bytes, messages);
        self.evict();
    }

    /// Bytes and messages that it holds, of the outbox's bounds. What goes back counts there.
    pub(super) fn held(&self) -> (u64, u64) {
        let taken = self.backlog.taken_items().map(|(_, held)| held.size()).sum::<u64>();
        (self.backlog.bytes() - taken, self.backlog.waiting())
    }

    /// Nothing is set aside.
    pub(super) fn is_clear(&self) -> bool {
        self.listed.is_empty()
    }

    /// Why a message isn't sent, if it isn't.
    pub(super) fn why_not(&self, message: &Traits) -> Option<String> {
        self.listed.why_not(message)
    }

    /// Nothing that meets `condition` is sent from now on. Returns whether that is new.
    pub(super) fn set_aside(
        &mut self,
        condition: Condition,
        reason: &str,
        missing: Option<String>,
        now: Instant,
        clock: Timestamp,
    ) -> bool {
        self.try_again_at.get_or_insert(now + TRY_AGAIN);
        self.released.retain(|released| *released != condition);
        self.listed.set_aside(condition, reason, missing, clock)
    }

    /// Keeps a message that was refused for this `reason`. One that was on the disk is to be there again before it leaves its
    /// old place.
    pub(super) fn insert(&mut self, refused: Refused, was_stored: bool, reason: &str, now: Instant, clock: Timestamp) {
        self.try_again_at.get_or_insert(now + TRY_AGAIN);
        self.listed.add(&refused.message.traits(), reason, clock);
        let due = if was_stored { now } else { now + SPILL_AFTER };
        self.backlog.insert(self.next, Held { refused, was_stored, due });
        self.backlog.expect(due);
        if was_stored || self.is_pressed() {
            self.backlog.hurry();
        }
        self.next += 1;
        self.evict();
    }

    /// Evicts the oldest until the bounds are kept; those on the disk alone have to be loaded first. Should the disk hang, the
    /// newest are evicted to keep the bound of memory, but for what is on the disk already.
    fn evict(&mut self) {
        loop {
            let oldest = self.backlog.front().map(|(place, _)| place).filter(|_| self.is_over());
            let dropped = match oldest {
                Some(_) => self.backlog.drop_front(),
                None if self.backlog.memory() > MEMORY && self.is_pressed() => {
                    self.backlog.drop_back_if(|held| !held.was_stored)
                }
                None => None,
            };
            let Some(dropped) = dropped else { return };
            // What is being released isn't listed any more.
            if self.releasing.zip(oldest).is_none_or(|(until, oldest)| oldest > until) {
                self.listed.remove(&dropped.refused.message.traits());
            }
            self.dropped += 1;
        }
    }

    /// Whether memory has room for what moves here from the outbox. A disk that takes nothing isn't waited for, unless the message
    /// is on it: it stays there.
    pub(super) fn has_room(&self, is_stored: bool) -> bool {
        !self.is_pressed() || (self.backlog.is_failing() && !is_stored)
    }

    fn is_pressed(&self) -> bool {
        let unstored = || self.backlog.unstored().map(|held| held.size() + ENTRY_OVERHEAD).sum::<u64>();
        self.backlog.memory() > PRESSED && unstored() > PRESSED
    }

    fn is_over(&self) -> bool {
        let ((bytes, messages), (bytes_beside, messages_beside)) = (self.held(), self.beside);
        bytes > 0 && self.bounds.is_over(bytes + bytes_beside, messages + messages_beside)
    }

    /// Whether the day is over.
    pub(super) fn is_release_due(&self, now: Instant) -> bool {
        self.try_again_at.is_some_and(|at| at <= now)
    }

    /// All of it is to be tried anew. Returns how many messages that are, and how many conditions hold no longer.
    pub(super) fn release(&mut self) -> (u64, usize) {
        self.try_again_at = None;
        let released = self.listed.release();
        let count = (self.len(), released.len());
        self.released.extend(released);
        self.releasing = self.next.checked_sub(1).filter(|_| self.backlog.waiting() > 0);
        count
    }

    /// What may be sent again since the last call.
    pub(super) fn take_released(&mut self) -> Vec<Condition> {
        std::mem::take(&mut self.released)
    }

    /// The next message that goes back, if `has_room` for one of that many bytes.
    pub(super) fn next_returning(
        &mut self,
        now: Instant,
        moment: &Moment,
        clock: Timestamp,
        has_room: impl Fn(u64) -> bool,
    ) -> Option<Returning> {
        while let Some(until) = self.releasing {
            let Some((place, held)) = self.backlog.front() else {
                self.releasing = self.releasing.filter(|_| self.backlog.waiting() > 0);
                return None;
            };
            if place > until {
                self.releasing = None;
                return None;
            }
            let traits = held.refused.message.traits();
            let has_expired = moment.age(held.refused.accepted) >= self.bounds.max_age;
            let why_not = self.listed.why_not(&traits);
            let is_open = self.backlog.taken_memory() <= PRESSED && self.backlog.taken() < MAX_RETURNING;
            let has_room = || is_open && has_room(held.size());
            let waits = if why_not.is_none() { !has_room() } else { self.is_pressed() };
            if waits && !has_expired {
                return None;
            }
            let refused = self.backlog.take().map(|(_, held)| held.refused.clone())?;
            match why_not {
                _ if has_expired => {
                    self.finish(Place(place), now);
                    return Some(Returning::Expired);
                }
                Some(_) => self.refused_again(Place(place), refused, &traits, now, clock),
                None => return Some(Returning::ToOutbox(Place(place), refused)),
            }
        }
        None
    }

    fn refused_again(&mut self, place: Place, refused: Refused, traits: &Traits, now: Instant, clock: Timestamp) {
        let reason = self.listed.reason(traits).unwrap_or_default();
        self.insert(refused, true, &reason, now, clock);
        self.finish(place, now);
    }

    /// Whether something is on its way back that waits for room.
    pub(super) fn is_releasing(&self) -> bool {
        self.releasing.is_some()
    }

    /// A message that went back is safe in the outbox, or has ended there.
    pub(super) fn finish(&mut self, place: Place, now: Instant) {
        if self.backlog.finish(place.0).is_some() {
            self.backlog.note_finished(now);
        }
    }

    /// Messages, without those that have gone back.
    pub(super) fn len(&self) -> u64 {
        self.backlog.waiting()
    }

    /// Messages given up because there was no room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Messages that should have been on the disk and weren't.
    pub(super) fn missing(&self) -> u64 {
        self.backlog.missing()
    }

    pub(super) fn status(&self) -> Vec<QuarantineStatus> {
        self.listed.status()
    }

    pub(super) fn needs_keeper(&self) -> bool {
        self.needs_load() || self.listed.is_note_pressing() || self.backlog.needs_keeper()
    }

    /// Whether something has to be written here before it may leave its old place.
    pub(super) fn must_write_first(&self) -> bool {
        self.backlog.unstored().any(|held| held.was_stored)
    }

    fn needs_load(&self) -> bool {
        self.may_load() && self.backlog.needs_load()
    }

    pub(super) fn attach(&mut self, stored: Totals, generation: u64, now: Instant) {
        if self.backlog.attach(stored, generation) && stored.messages > 0 {
            self.next = stored.last.map_or(self.next, |last| self.next.max(last + 1));
            self.try_again_at.get_or_insert(now + TRY_AGAIN);
        }
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        [self.backlog.timeout(), self.try_again_at].into_iter().flatten().min()
    }

    /// Everything is to be on the disk.
    pub(super) fn stop(&mut self) {
        self.backlog.stop();
    }

    pub(super) fn is_stored(&self) -> bool {
        self.backlog.is_stored() && !self.listed.is_note_old()
    }

    /// How many messages aren't known to be on the disk.
    pub(super) fn unconfirmed(&mut self) -> usize {
        self.backlog.unconfirmed().count()
    }
}

impl DiskRules for Quarantine {
    type Item = Held;

    fn durable(&mut self) -> &mut Durable<Held> {
        &mut self.backlog
    }

    fn at_once(&self) -> fn(&Held) -> bool {
        if self.is_pressed() { |_| true } else { |_| false }
    }

    /// It goes with what is written anyway, or alone when the topics have changed.
    fn begin_note(&mut self, alone: bool) -> Option<Note> {
        let is_due = self.listed.is_note_pressing() || (self.backlog.is_stopping() && self.listed.is_note_old());
        if alone && !is_due {
            return None;
        }
        self.listed.begin_note().map(|(name, text)| (name.into(), text))
    }

    fn written(&mut self, successful: bool, _: Vec<Infallible>) {
        if !successful {
            self.listed.note_failed();
        }
    }

    fn may_load(&self) -> bool {
        self.releasing.is_some() || self.is_over()
    }

    fn read(&self, row: Row, now: Instant, moment: &Moment) -> Held {
        let (message, at, accepted) = row.into_outbound(now, moment);
        Held { refused: Refused { message, at, accepted }, was_stored: true, due: now }
    }

    fn loaded(&mut self) {
        self.evict();
    }
}
