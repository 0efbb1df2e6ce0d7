//! What waits for a reader, or for a reader's word: in memory, and on the disk where that has to be. Pure: no I/O, no clock.

mod ahead;
mod kept;

use std::time::Instant;

use jiff::Timestamp;

use crate::config::{self, WhenFull};
use crate::message::AckToken;
use crate::message::Inbound;
use crate::store::backlog::ENTRY_OVERHEAD;
use crate::store::durable::{DiskRules, Durable, Note};
use crate::store::{Contents, Moment, QueueId, QueueState, Row};
use ahead::Ahead;
use kept::Kept;

/// The most memory that messages of one forward take, in bytes, each with [`ENTRY_OVERHEAD`]; from half of it on they are
/// moved to the disk. What has to be acknowledged is taken beyond it, if the disk doesn't take it: the server sends no more
/// than its window of those.
const MEMORY: u64 = 4 * 1024 * 1024;

/// The messages of a forward that no reader has yet, or none has acknowledged, in the order of their ids. Those **taken** are
/// on their way to a reader, or owed to one; the others wait, within the bounds of `forward.keep`.
#[derive(Debug)]
pub(crate) struct Keep {
    backlog: Durable<Kept>,
    max_messages: u64,
    max_bytes: u64,
    when_full: WhenFull,
    last_stored: Option<u64>,
    ahead: Ahead,
    done: Vec<AckToken>,
    dropped: u64,
}

impl Keep {
    /// The keep with what is at its place on the disk.
    pub(crate) fn new(config: &config::Keep, place: QueueState) -> Keep {
        let QueueState { queue, stored, generation, given } = place;
        Keep {
            backlog: Durable::new(queue, stored, generation),
            max_messages: config.messages,
            max_bytes: config.bytes,
            when_full: config.when_full,
            last_stored: stored.last,
            ahead: Ahead::new(given),
            done: Vec::new(),
            dropped: 0,
        }
    }

    pub(crate) fn set_bounds(&mut self, config: &config::Keep) {
        (self.max_messages, self.max_bytes, self.when_full) = (config.messages, config.bytes, config.when_full);
        self.evict();
    }

    /// Adds a message that waits from now on, at the place its id gives it. It is to be on the disk by `due`. If there is no
    /// room, the oldest or the newest are evicted, as configured.
    pub(crate) fn insert(&mut self, id: u64, message: &Inbound, token: Option<AckToken>, due: Instant) {
        let is_too_much = token.is_none() && self.backlog.memory() + message.size() as u64 + ENTRY_OVERHEAD > MEMORY;
        if is_too_much || message.size() as u64 > self.max_bytes {
            self.dropped += 1;
            self.done.extend(token);
            return;
        }
        self.backlog.insert(id, Kept::new(message, token, due));
        self.expect(due);
        self.evict();
    }

    /// The connection is gone, and with it the meaning of its tokens.
    pub(crate) fn link_down(&mut self) {
        self.backlog.unconfirmed().filter(|kept| kept.token.is_some()).for_each(|kept| kept.is_orphan = true);
        // What the disk doesn't take is beyond the bound for one connection, not for each: the server still has it.
        while self.backlog.memory() > MEMORY && self.backlog.drop_back_if(|kept| kept.is_orphan).is_some() {}
    }

    /// Whether the server has sent a message again that waits already, and on which the disk has kept it waiting for its PUBACK.
    /// With many such connections it would else wait as many times.
    pub(crate) fn adopts(&mut self, message: &Inbound, token: Option<AckToken>) -> bool {
        if !message.duplicate || token.is_none() {
            return false;
        }
        let is_it = |kept: &Kept| {
            kept.is_orphan && kept.message.topic == message.topic && kept.message.payload == message.payload
        };
        let Some(kept) = self.backlog.waiting_unconfirmed().find(|kept| is_it(kept)) else { return false };
        kept.is_orphan = false;
        self.done.extend(std::mem::replace(&mut kept.token, token));
        true
    }

    /// Adds a message that a reader is owed otherwise: only so that it is on the disk.
    pub(crate) fn hold(&mut self, id: u64, message: &Inbound, token: Option<AckToken>, due: Instant) {
        self.backlog.insert_taken(id, Kept { exposed: true, ..Kept::new(message, token, due) });
        self.expect(due);
    }

    fn expect(&mut self, due: Instant) {
        self.backlog.expect(due);
        if self.backlog.memory() > MEMORY / 2 {
            self.backlog.hurry();
        }
    }

    /// Everything that the server waits for and that nobody has taken by `due` is to be on the disk then.
    pub(crate) fn hasten(&mut self, due: Instant) {
        self.backlog.unconfirmed().filter(|kept| kept.token.is_some()).for_each(|kept| kept.due = kept.due.min(due));
        self.expect(due);
    }

    /// Evicts the oldest or the newest, as configured, until the bounds are kept.
    fn evict(&mut self) {
        while self.waiting() > self.max_messages || self.waiting_bytes() > self.max_bytes {
            let dropped = match self.when_full {
                WhenFull::DropOldest => self.backlog.drop_front(),
                WhenFull::RejectNew => self.backlog.drop_back_if(|_| true),
            };
            let Some(dropped) = dropped else { return };
            self.done.extend(dropped.token);
            self.dropped += 1;
        }
    }

    /// Whether the message that comes next can be taken: it is in memory, and the disk knows that it may have been given, should it
    /// be there.
    pub(crate) fn is_ready(&mut self, now: Instant) -> bool {
        let Some(((id, _), last)) = self.backlog.front().zip(self.backlog.last_of_head()) else { return false };
        !self.backlog.front_may_be_stored() || self.ahead.allows(id, last, now)
    }

    /// When to look again whether a message can be taken, if the disk doesn't answer before.
    pub(crate) fn ready_at(&self, now: Instant) -> Option<Instant> {
        self.ahead.waits_until(now)
    }

    /// The next message: its id, and what it is.
    pub(crate) fn front(&self) -> Option<(u64, &Inbound)> {
        self.backlog.front().map(|(id, kept)| (id, &kept.message))
    }

    /// What can be taken, in order.
    pub(crate) fn visible(&self) -> impl Iterator<Item = (u64, &Inbound)> {
        self.backlog.visible().map(|(id, kept, _)| (id, &kept.message))
    }

    /// Takes one of those out of turn.
    pub(crate) fn take_at(&mut self, id: u64) -> Option<&Inbound> {
        let is_stored = self.backlog.visible().any(|(other, _, at)| other == id && at.is_stored);
        self.backlog.take_at(id).map(|(_, kept)| {
            kept.exposed = !is_stored;
            &kept.message
        })
    }

    /// Takes the next message: its id, and whether it is to be marked as a duplicate.
    pub(crate) fn take(&mut self) -> Option<(u64, &Inbound, bool)> {
        let is_stored = self.backlog.front_may_be_stored();
        self.backlog.take().map(|(id, kept)| {
            kept.exposed = !is_stored;
            (id, &kept.message, kept.is_duplicate())
        })
    }

    /// A message that was taken, and whether it is to be marked as a duplicate.
    pub(crate) fn taken(&self, id: u64) -> Option<(&Inbound, bool)> {
        self.backlog.taken_item(id).map(|kept| (&kept.message, kept.is_duplicate()))
    }

    /// A reader has been written a message that was taken, and may have it. Should it not be done `by` then, the disk is to know.
    /// Returns whether none had been written it before.
    pub(crate) fn note_given(&mut self, id: u64, by: Instant) -> bool {
        let Some(kept) = self.backlog.taken_mut(id) else { return false };
        if std::mem::replace(&mut kept.given, true) || kept.message.duplicate {
            return false;
        }
        kept.due = by;
        self.backlog.rewrite(id);
        self.backlog.expect(by);
        true
    }

    /// The only one that was written a message that was taken is no reader.
    pub(crate) fn note_not_given(&mut self, id: u64) {
        if let Some(kept) = self.backlog.taken_mut(id) {
            kept.given = false;
            self.backlog.rewrite(id);
        }
    }

    /// A message that was taken waits again.
    pub(crate) fn put_back(&mut self, id: u64, now: Instant) {
        if let Some(kept) = self.backlog.taken_mut(id) {
            kept.due = kept.due.min(now);
            if std::mem::take(&mut kept.exposed) && !kept.given {
                self.backlog.rewrite(id);
            }
            self.backlog.put_back(id);
            self.backlog.expect(now);
            self.evict();
        }
    }

    /// A message that was taken is done.
    pub(crate) fn finish(&mut self, id: u64, now: Instant) {
        let finished = self.backlog.finish(id);
        self.note_finished(finished, now);
    }

    /// A reader has acknowledged a message: one that was taken, or that was given to a reader before and waits again. Returns
    /// whether there was one.
    pub(crate) fn acknowledge(&mut self, id: u64, now: Instant) -> bool {
        let finished = self.backlog.finish(id);
        let finished = finished.or_else(|| self.backlog.remove_if(id, |kept| kept.given || kept.maybe_given));
        self.note_finished(finished, now)
    }

    fn note_finished(&mut self, finished: Option<Kept>, now: Instant) -> bool {
        let Some(kept) = finished else { return false };
        self.done.extend(kept.token);
        self.backlog.note_finished(now);
        true
    }

    /// Messages that are done, or on the disk, since the last call.
    pub(crate) fn take_done(&mut self) -> impl Iterator<Item = AckToken> {
        self.done.drain(..)
    }

    /// Messages, those on the disk and those taken included.
    pub(crate) fn len(&self) -> u64 {
        self.waiting() + self.backlog.taken() as u64
    }

    /// Messages that no reader is owed yet.
    pub(crate) fn waiting(&self) -> u64 {
        self.backlog.waiting()
    }

    /// Topics and payloads of those, in bytes.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        let taken = self.backlog.taken_memory() - self.backlog.taken() as u64 * ENTRY_OVERHEAD;
        self.backlog.bytes() - taken
    }

    /// Topics and payloads of all, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.backlog.bytes()
    }

    /// Memory of what was taken, in bytes.
    pub(crate) fn taken_memory(&self) -> u64 {
        self.backlog.taken_memory()
    }

    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.backlog.oldest().map(|kept| kept.message.received_at)
    }

    pub(crate) fn queue_id(&self) -> QueueId {
        self.backlog.queue()
    }

    /// How many are on the disk.
    pub(crate) fn stored(&self) -> u64 {
        self.backlog.stored()
    }

    /// The highest id on the disk at the start.
    pub(crate) fn last_stored(&self) -> Option<u64> {
        self.last_stored
    }

    /// Messages given up because there was no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Messages that should have been on the disk and weren't: what damage took.
    pub(crate) fn missing(&self) -> u64 {
        self.backlog.missing()
    }

    /// Whether there is something to write or read before [`Keep::timeout`].
    pub(crate) fn needs_keeper(&self) -> bool {
        self.ahead.is_behind() || self.backlog.needs_load() || self.backlog.needs_keeper()
    }

    pub(crate) fn attach(&mut self, contents: &Contents) {
        let stored = contents.totals(self.backlog.queue());
        // What is found late comes without the note.
        if self.backlog.is_without_disk() {
            self.ahead.found(stored.last.unwrap_or(0));
        }
        self.backlog.attach(stored, contents.generation);
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.backlog.timeout()
    }

    /// Everything is to be on the disk.
    pub(crate) fn stop(&mut self) {
        self.backlog.stop();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.backlog.is_stopping()
    }

    /// Everything is on the disk.
    pub(crate) fn is_stored(&self) -> bool {
        self.backlog.is_stored()
    }
}

impl DiskRules for Keep {
    type Item = Kept;

    fn durable(&mut self) -> &mut Durable<Kept> {
        &mut self.backlog
    }

    fn at_once(&self) -> fn(&Kept) -> bool {
        if self.backlog.memory() > MEMORY / 2 { |_| true } else { |_| false }
    }

    fn begin_note(&mut self, _alone: bool) -> Option<Note> {
        let given = self.ahead.begin_write()?;
        Some((self.queue_id().note_of_given().into(), given.to_string()))
    }

    fn written(&mut self, successful: bool, tokens: Vec<AckToken>) {
        self.ahead.write_ended(successful);
        self.done.extend(tokens);
    }

    fn read(&self, row: Row, now: Instant, _: &Moment) -> Kept {
        let was_given = self.ahead.may_have_been_given(row.seq);
        Kept::from_row(row, was_given, now)
    }

    fn loaded(&mut self) {
        self.evict();
    }
}

#[cfg(test)]
mod tests;
