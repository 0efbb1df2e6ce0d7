//! What the server refuses is found and kept apart, so that the rest goes on. Pure: no I/O, no clock. The algorithm is told in
//! docs/architecture.md ("What the server refuses").
//!
//! In short: the server closes the connection on a PUBLISH or SUBSCRIBE that it doesn't allow, mostly without saying on which.
//! What it hadn't answered then is sent **alone** from now on: nothing else is on the wire until it is answered. A message
//! that closes the connection alone, though another was taken on it, is evidence; three times in a row make its topic guilty,
//! three different topics what they have in common. Where nothing at all is taken, nobody is guilty: it is the server that
//! refuses everything, and all is kept and tried now and then.

mod closes;
mod evidence;
mod guilt;
mod pace;
mod recovery;
mod suspect;
mod trying;
mod unanswered;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::message::{Condition, Topic, TopicFilter, Traits};
use crate::mqtt::reason::Reason;
use closes::Closes;
use evidence::{Evidence, kind};
pub(crate) use guilt::{Certainty, Ground};
use pace::Pace;
use recovery::Recovery;
pub(crate) use suspect::Suspect;
use suspect::{Key, Record};
use unanswered::Written;

/// Closes at which something was unanswered, before it is tried alone.
const IN_COMPANY: u32 = 2;

/// Closes in a row that something caused alone, before it is guilty: once or twice may have been the network.
const ALONE: u32 = 3;

/// For so long after two closes that aren't explained, what the server hasn't taken yet is sent alone.
const CAREFUL_FOR: Duration = Duration::from_secs(600);

/// What is known to be taken goes before a trial for so long at most.
const GOOD_FIRST: Duration = Duration::from_secs(2);

/// So long after CONNACK a trial waits for the server to take something else, if it did so in the last [`LATELY_TAKEN`].
const WITNESS_WAIT: Duration = Duration::from_secs(3);
const LATELY_TAKEN: Duration = Duration::from_secs(60);

/// The most suspects that are remembered; the oldest are forgotten first. As many as 100 in flight, the filters and the QoS 0
/// messages of two seconds.
const MAX_REMEMBERED: usize = 400;

/// The most conditions that are given another chance at a time.
const MAX_TRIED_AGAIN: usize = 128;

/// A suspicion that nothing has fed for so long is forgotten. A little more than a day: what is tried once a day is still known to
/// be one then, and costs one close instead of several.
const FORGET_AFTER: Duration = Duration::from_secs(25 * 3600);

/// The topics of the last trials that failed, to try what is least like them.
const MAX_FAILED: usize = 64;

/// What is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Guilty {
    Publish(Condition),
    Subscribe(TopicFilter),
}

/// What a close has shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) guilty: Option<Guilty>,
    /// It came of something that was tried alone.
    pub(crate) of_a_trial: bool,
}

/// Which message to try next: the least.
pub(crate) type Rank = (u32, u32, u32);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Isolation {
    records: BTreeMap<Key, Record>,
    written: Written,
    closes: Closes,
    evidence: Evidence,
    pace: Pace,
    /// What was refused before and is given another chance, with when it was.
    tried_again: Vec<(Condition, Instant)>,
    /// Until then what the server hasn't taken yet is sent alone.
    careful_until: Option<Instant>,
    /// When something was found guilty last.
    found_at: Option<Instant>,
    recovery: Recovery,
    /// What was refused on this connection before anything was taken on it.
    perhaps: Vec<(Traits, Ground, Reason)>,
    /// Something was taken on this connection.
    has_taken: bool,
    last_taken: Option<Instant>,
    connected_at: Option<Instant>,
    /// Topics of the last trials that failed.
    failed: Vec<Topic>,
    /// What shares fewer levels with each of them isn't like them.
    unlike_below: u32,
    /// When to look for a trial though nothing has happened.
    look_at: Option<Instant>,
    /// When something waited to be tried on this connection, the rest makes way for it from then on.
    way_at: Option<Instant>,
    /// Among that is something that was taken before: it is likely to be taken again, and needs nothing else for that.
    is_candidate_known: bool,
    trial_began: Option<Instant>,
    /// How long what is known to be taken goes first.
    good_first: Duration,
}

impl Isolation {
    /// Nothing may only be sent alone.
    pub(crate) fn is_idle(&self) -> bool {
        self.records.is_empty()
            && self.tried_again.is_empty()
            && self.careful_until.is_none()
            && !self.pace.refuses_everything()
    }

    /// Whether this may only be sent alone.
    pub(crate) fn is_alone(&self, suspect: &Suspect) -> bool {
        if self.is_idle() {
            return false;
        }
        let closes = self.records.get(&suspect.key()).map_or(0, |record| record.closes);
        let Suspect::Publish(traits) = suspect else { return closes >= IN_COMPANY };
        let is_known = self.evidence.takes(traits);
        self.pace.refuses_everything()
            || closes >= IN_COMPANY
            || (self.careful_until.is_some() && !is_known)
            || self.tried_again.iter().any(|(condition, _)| condition.matches(traits))
    }

    /// Whether nothing that was tried lately was taken: it is the server that refuses everything.
    pub(crate) fn refuses_everything(&self) -> bool {
        self.pace.refuses_everything()
    }

    /// When the next trial is due, if it has to wait.
    pub(crate) fn next_trial(&self) -> Option<Instant> {
        self.pace.next()
    }

    /// The server has taken a message of QoS 1. Returns what is guilty now, with what was answered to it: refused before it on
    /// this connection.
    pub(crate) fn took(&mut self, traits: &Traits, now: Instant) -> Vec<(Condition, Reason)> {
        self.witness(traits, now);
        let perhaps = std::mem::take(&mut self.perhaps);
        let mut guilty: Vec<(Condition, Reason)> = Vec::new();
        for (refused, ground, reason) in perhaps {
            if kind(&refused) == kind(traits) || guilty.iter().any(|(condition, _)| condition.matches(&refused)) {
                continue;
            }
            if let Some(condition) = self.convict(&refused, ground, now) {
                guilty.push((condition, reason));
            }
        }
        guilty
    }

    fn witness(&mut self, traits: &Traits, now: Instant) {
        let was_refusing = self.pace.refuses_everything();
        self.pace.took();
        self.has_taken = true;
        self.last_taken = Some(now);
        self.evidence.took(traits, true, now);
        if was_refusing && !self.recovery.is_selective(now) {
            // What was refused then was no worse than the rest.
            let suspected = self.records.extract_if(.., |key, _| matches!(key, Key::Publish(..))).collect();
            self.recovery.recovered(suspected, now);
            self.closes.explain_all();
            self.careful_until = None;
            self.perhaps.clear();
            self.failed.clear();
        }
        let evidence = &mut self.evidence;
        self.tried_again.retain(|(condition, _)| {
            let matches = condition.matches(traits);
            if matches {
                evidence.forget(condition);
            }
            !matches
        });
        self.cleared(&Suspect::Publish(traits.clone()), now);
    }

    /// The connection wasn't closed for this, though nothing says that it was taken.
    pub(crate) fn spare(&mut self, suspect: &Suspect, now: Instant) {
        if let Suspect::Publish(traits) = suspect {
            self.evidence.took(traits, false, now);
        }
        self.cleared(suspect, now);
    }

    /// The server has answered a filter.
    pub(crate) fn clear_filter(&mut self, filter: TopicFilter, now: Instant) {
        self.cleared(&Suspect::Subscribe(filter), now);
    }

    fn cleared(&mut self, suspect: &Suspect, now: Instant) {
        self.recovery.clear(|other| suspect.clears(other));
        if self.is_idle() {
            return;
        }
        if let Some(began) = self.trial_began.take() {
            self.good_first = GOOD_FIRST.min(2 * now.saturating_duration_since(began));
            self.way_at = None;
        }
        self.records.retain(|_, record| !suspect.clears(&record.suspect));
        self.closes.clear(|other| suspect.clears(other));
        self.relax();
    }

    /// Ends the care if nothing is left to be explained.
    fn relax(&mut self) {
        if self.closes.is_explained() && self.evidence.open() == 0 {
            self.careful_until = None;
            self.failed.clear();
        }
    }

    /// A connection is established.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.written.restart();
        self.perhaps.clear();
        self.has_taken = false;
        self.connected_at = Some(now);
        self.way_at = None;
        self.is_candidate_known = false;
        self.trial_began = None;
        self.good_first = GOOD_FIRST;
        self.forget(now);
    }

    /// The connection has ended in a way that has nothing to do with what was sent, or there was none. Whatever has closed
    /// one alone before may have been hit by the same trouble.
    pub(crate) fn ended_otherwise(&mut self) {
        self.written.restart();
        self.end_rows();
    }

    fn end_rows(&mut self) {
        self.records.values_mut().for_each(|record| record.alone = 0);
        self.recovery.end_rows();
        self.evidence.forget_open();
    }

    fn record(&mut self, suspect: &Suspect, now: Instant) -> &mut Record {
        let new = || Record { suspect: suspect.clone(), closes: 0, alone: 0, tries: 0, last: now };
        let record = self.records.entry(suspect.key()).or_insert_with(new);
        record.last = now;
        record
    }

    fn forget(&mut self, now: Instant) {
        let is_fresh = |at: Instant| now < at + FORGET_AFTER;
        self.records.retain(|_, record| is_fresh(record.last));
        self.tried_again.retain(|(_, at)| is_fresh(*at));
        self.evidence.expire(now, FORGET_AFTER);
        self.careful_until = self.careful_until.filter(|until| now < *until);
        self.closes.forget(now);
        self.recovery.forget(now);
        while self.records.len() > MAX_REMEMBERED {
            let oldest = self.records.iter().min_by_key(|(_, record)| record.last).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            self.records.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
