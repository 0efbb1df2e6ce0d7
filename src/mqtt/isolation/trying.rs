//! Which message is tried alone next, and when.

use std::time::Instant;

use super::{GOOD_FIRST, Isolation, LATELY_TAKEN, MAX_FAILED, Rank, Suspect, WITNESS_WAIT};
use crate::message::{Topic, Traits};

/// So many topics that are refused and can't be told from what is taken, before they are tried to the end one by one.
const ONE_BY_ONE: usize = 3;

impl Isolation {
    /// Something was seen that may only be sent alone.
    pub(crate) fn has_candidate(&self) -> bool {
        self.way_at.is_some()
    }

    /// Something waits that may only be sent alone.
    pub(crate) fn saw_candidate(&mut self, traits: &Traits, now: Instant) {
        self.is_candidate_known |= !self.has_taken && self.evidence.takes(traits);
        if self.way_at.is_none() {
            self.way_at = Some(now + self.good_first);
        }
    }

    /// Nothing waits that may only be sent alone. Returns whether the rest was held back for it.
    pub(crate) fn no_candidate(&mut self, now: Instant) -> bool {
        let held_back = self.makes_way(now);
        self.way_at = None;
        self.is_candidate_known = false;
        held_back
    }

    /// Whether nothing else is sent, so that the wire becomes clear for what may only be sent alone.
    pub(crate) fn makes_way(&self, now: Instant) -> bool {
        self.way_at.is_some_and(|at| at <= now) && self.may_try(now)
    }

    /// Whether it is time for a trial: evidence needs something else that is taken on this connection, and that may come.
    pub(crate) fn may_try(&self, now: Instant) -> bool {
        self.pace.may_try(now) && self.witness_until().is_none_or(|until| until <= now)
    }

    /// Until when a trial waits for the server to take something else.
    fn witness_until(&self) -> Option<Instant> {
        let (taken, connected) = (self.last_taken?, self.connected_at?);
        (!self.has_taken && !self.is_candidate_known && connected < taken + LATELY_TAKEN)
            .then(|| connected + WITNESS_WAIT)
    }

    /// All is sent that may be now: notes when something that may only be sent alone is due.
    pub(crate) fn plan(&mut self, now: Instant) {
        let due = [self.pace.next(), self.witness_until(), self.way_at].into_iter().flatten();
        self.look_at = due.filter(|at| *at > now).min().filter(|_| self.way_at.is_some());
    }

    /// When to look for a trial though nothing has happened.
    pub(crate) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// That time may have come.
    pub(crate) fn looked(&mut self, now: Instant) {
        self.look_at = self.look_at.filter(|at| *at > now);
    }

    /// A message is sent alone.
    pub(crate) fn began_trial(&mut self, now: Instant) {
        self.trial_began = Some(now);
    }

    /// Which of the messages that may only be sent alone is tried first: the least. `place` is its place among those that wait.
    /// `None`: it isn't one of them.
    pub(crate) fn rank(&self, traits: &Traits, place: u32, now: Instant) -> Option<Rank> {
        let suspect = Suspect::Publish(traits.clone());
        if !self.is_alone(&suspect) {
            return None;
        }
        let record = self.records.get(&suspect.key());
        let (alone, tries) = record.map_or((0, 0), |record| (record.alone, record.tries));
        if self.has_taken {
            // Different ones show what they have in common; if that doesn't separate them, each is tried to the end.
            let one_by_one = self.evidence.open() >= ONE_BY_ONE;
            return Some((if one_by_one { u32::MAX - alone } else { alone }, tries, place));
        }
        // Something that is taken is what is missing most: what was taken before, or is less like the refused than they are like each other.
        if self.evidence.takes(traits) && tries == 0 {
            return Some((0, 0, place));
        }
        let likeness = likeness(&traits.topic, &self.failed);
        if likeness < self.unlike_below && tries == 0 {
            return Some((0, likeness, place));
        }
        let turn = self.pace.turn();
        Some(match record {
            None if turn.is_newest => (1, u32::MAX - place, 0),
            _ if turn.is_fair || self.recovery.is_selective(now) => (2, tries, place),
            _ if turn.is_newest && tries == 0 => (2, 0, place),
            _ => (3, 0, place),
        })
    }

    /// A trial of this has failed.
    pub(super) fn note_failed(&mut self, topic: &Topic) {
        if self.failed.contains(topic) {
            return;
        }
        let depth = topic.as_str().split('/').count();
        self.unlike_below = match self.failed.is_empty() {
            true => u32::try_from(depth).unwrap_or(u32::MAX),
            false => self.unlike_below.min(likeness(topic, &self.failed)),
        };
        if self.failed.len() >= MAX_FAILED {
            self.failed.remove(0);
        }
        self.failed.push(topic.clone());
    }
}

/// How many levels a topic shares with the one of `others` that is most like it.
fn likeness(topic: &Topic, others: &[Topic]) -> u32 {
    let shared = |other: &Topic| {
        let levels = topic.as_str().split('/').zip(other.as_str().split('/'));
        levels.filter(|(one, other)| one == other).count()
    };
    others.iter().map(shared).max().and_then(|most| u32::try_from(most).ok()).unwrap_or(0)
}

const _: () = assert!(GOOD_FIRST.as_secs() < WITNESS_WAIT.as_secs());
