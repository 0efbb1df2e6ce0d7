//! For which packet the server may have closed the connection. Pure: no I/O, no clock.
//!
//! IoT Core closes the connection on a PUBLISH or SUBSCRIBE that the policy forbids; in MQTT 3.1.1 without a word, in MQTT 5
//! with a reason that doesn't name the packet. What it hadn't answered then is under suspicion, and cleared by an answer. What
//! was unanswered at two closes without having been cleared in between is tried **alone** from then on: it is sent when nothing
//! else is on the wire and the server has shown that it answers on this connection, and nothing else is sent until it is
//! answered. What closes the connection alone three times in a row is guilty: once or twice may have been the network, which
//! broke just then. A close whose suspects are all cleared later was for another reason, or for none: where there were such
//! closes lately, it has to be more often.
//!
//! So a bad packet costs five connections at most, and who is suspected with it one or two round trips.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::message::{Target, TopicFilter};

/// Closes at which something was unanswered, before it is tried alone.
const IN_COMPANY: u32 = 2;

/// Closes in a row that something caused alone, before it is guilty.
const ALONE: u32 = 3;

/// How many more those must be at most where the server closes for other reasons, too.
const MAX_DOUBT: u32 = 5;

/// A close for another reason is forgotten after so long.
const DOUBT_FOR: Duration = Duration::from_secs(3600);

/// The most closes that are remembered to be explained.
const MAX_CLOSES: usize = 16;

/// A QoS 0 message isn't answered: it is suspected if it was written less than this before the connection was closed.
const LATELY: Duration = Duration::from_secs(5);

/// The PINGREQ whose answer clears a QoS 0 message is sent so long after it: nothing says that the server looks at a policy
/// before it answers a PINGREQ.
const PING_AFTER: Duration = Duration::from_secs(1);

/// The most QoS 0 topics, and the most suspects, that are remembered; the oldest are forgotten first. As many as 100 in
/// flight, the filters and the QoS 0 messages of two seconds.
const MAX_REMEMBERED: usize = 400;

/// A suspicion that nothing has fed for so long is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 3600);

/// What a policy may forbid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Suspect {
    Publish(Target),
    Subscribe(TopicFilter),
}

/// Closes at which something was unanswered since it was last cleared.
#[derive(Debug, Clone, Copy)]
struct Record {
    closes: u32,
    /// Those in a row at which it was tried alone.
    alone: u32,
    last: Instant,
}

impl Record {
    fn is_tried_alone(&self) -> bool {
        self.closes >= IN_COMPANY
    }
}

/// A topic to which a QoS 0 message was written on this connection.
#[derive(Debug)]
struct Unproven {
    target: Target,
    written_at: Instant,
    /// A PINGREQ was sent behind it.
    asked: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    records: BTreeMap<Suspect, Record>,
    unproven: Vec<Unproven>,
    /// The QoS 0 messages are to be cleared by a PINGREQ: one of them is tried alone, or something else waits to be.
    wants_ping: bool,
    /// The last closes for which nobody was found guilty yet, at most [`MAX_CLOSES`], with those who may be.
    unexplained: VecDeque<(Instant, BTreeSet<Suspect>)>,
    /// The last closes for which nobody can be, at most [`MAX_DOUBT`], the last first.
    doubts: VecDeque<Instant>,
    /// Since when something waits to be tried alone until the server has answered anything on this connection.
    wants_proof: Option<Instant>,
}

/// What a close has shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) guilty: Option<Suspect>,
    /// It came of something that was tried alone.
    pub(crate) of_a_trial: bool,
}

impl Suspects {
    /// Nobody was ever suspected of anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether this may only be sent alone.
    pub(crate) fn is_tried_alone(&self, suspect: &Suspect) -> bool {
        self.records.get(suspect).is_some_and(Record::is_tried_alone)
    }

    /// The server has answered this.
    pub(crate) fn clear(&mut self, suspect: &Suspect) {
        self.records.remove(suspect);
        for (_, suspects) in &mut self.unexplained {
            suspects.remove(suspect);
        }
        while let Some(index) = self.unexplained.iter().position(|(_, suspects)| suspects.is_empty()) {
            self.unexplained.remove(index).into_iter().for_each(|(at, _)| self.doubt(at));
        }
    }

    /// A connection was closed for something else than what we sent.
    fn doubt(&mut self, at: Instant) {
        self.doubts.truncate(MAX_DOUBT as usize - 1);
        self.doubts.push_front(at);
    }

    /// How many closes alone in a row make guilty.
    fn enough(&self) -> u32 {
        ALONE + self.doubts.len() as u32
    }

    /// This was guilty, and is given another chance: alone, and once is enough.
    pub(crate) fn put_on_probation(&mut self, suspect: Suspect, now: Instant) {
        self.records.insert(suspect, Record { closes: IN_COMPANY, alone: ALONE - 1, last: now });
        self.forget(now);
    }

    /// A connection is established.
    pub(crate) fn restart(&mut self) {
        self.unproven.clear();
        self.wants_ping = false;
        self.wants_proof = None;
    }

    /// A QoS 0 message has been written.
    pub(crate) fn wrote(&mut self, target: Target, now: Instant) {
        self.drop_old(now);
        self.unproven.retain(|unproven| unproven.target != target);
        if self.unproven.len() >= MAX_REMEMBERED {
            self.unproven.remove(0);
        }
        self.wants_ping |= self.is_on_trial(&target);
        self.unproven.push(Unproven { target, written_at: now, asked: false });
    }

    fn is_on_trial(&self, target: &Target) -> bool {
        !self.records.is_empty() && self.is_tried_alone(&Suspect::Publish(target.clone()))
    }

    /// Lets go of what was written long enough ago, but for what is tried alone.
    fn drop_old(&mut self, now: Instant) {
        let records = &self.records;
        self.unproven.retain(|unproven| {
            let record = || records.get(&Suspect::Publish(unproven.target.clone()));
            now < unproven.written_at + LATELY || record().is_some_and(Record::is_tried_alone)
        });
    }

    /// Where to QoS 0 messages were written lately, the last written last.
    pub(crate) fn written_lately(&self, now: Instant) -> impl Iterator<Item = &Target> {
        self.unproven.iter().filter(move |unproven| now < unproven.written_at + LATELY).map(|unproven| &unproven.target)
    }

    /// Whether a QoS 0 message that is tried alone is on the wire.
    pub(crate) fn any_on_the_wire(&self) -> bool {
        self.unproven.iter().any(|unproven| self.is_on_trial(&unproven.target))
    }

    /// Whether something can be tried alone: no QoS 0 message is on the wire, and the server `has_answered` something on this
    /// connection. If not, [`Suspects::ping_at`] says what to do about that.
    pub(crate) fn make_way(&mut self, has_answered: bool, now: Instant) -> bool {
        self.drop_old(now);
        self.wants_ping |= !self.unproven.is_empty();
        if !has_answered {
            self.wants_proof.get_or_insert(now);
        }
        has_answered && self.unproven.is_empty()
    }

    /// When to send a PINGREQ, once that before is answered.
    pub(crate) fn ping_at(&self) -> Option<Instant> {
        let written = self.unproven.iter().filter(|unproven| !unproven.asked).map(|unproven| unproven.written_at);
        let ping_at = written.max().filter(|_| self.wants_ping).map(|written_at| written_at + PING_AFTER);
        self.wants_proof.or(ping_at)
    }

    /// A PINGREQ is sent.
    pub(crate) fn pinged(&mut self, now: Instant) {
        for unproven in self.unproven.iter_mut().filter(|unproven| unproven.written_at + PING_AFTER <= now) {
            unproven.asked = true;
        }
    }

    /// PINGRESP has come.
    pub(crate) fn ping_answered(&mut self) {
        self.wants_proof = None;
        let asked: Vec<Unproven> = self.unproven.extract_if(.., |unproven| unproven.asked).collect();
        for unproven in asked {
            self.clear(&Suspect::Publish(unproven.target));
        }
        self.wants_ping &= !self.unproven.is_empty();
    }

    /// The server has closed the connection while it hadn't answered these, beside the QoS 0 messages.
    pub(crate) fn closed(&mut self, unanswered: impl Iterator<Item = Suspect>, now: Instant) -> Shown {
        self.drop_old(now);
        self.forget(now);
        let written = self.unproven.drain(..).map(|unproven| Suspect::Publish(unproven.target));
        let unanswered: BTreeSet<Suspect> = unanswered.chain(written).collect();
        let is_alone = unanswered.len() == 1;
        let mut shown = Shown::default();
        if unanswered.is_empty() {
            // It closes for reasons of its own.
            self.end_rows();
            self.doubt(now);
        } else {
            self.unexplained.truncate(MAX_CLOSES - 1);
            self.unexplained.push_front((now, unanswered.clone()));
        }
        let enough = self.enough();
        for suspect in unanswered {
            let record = self.records.entry(suspect.clone()).or_insert(Record { closes: 0, alone: 0, last: now });
            let is_trial = is_alone && record.is_tried_alone();
            shown.of_a_trial |= is_trial;
            record.closes += 1;
            record.last = now;
            record.alone += u32::from(is_trial);
            if record.alone >= enough {
                shown.guilty = Some(suspect);
            }
        }
        if let Some(guilty) = &shown.guilty {
            self.unexplained.retain(|(_, suspects)| !suspects.contains(guilty));
            self.put_on_probation(guilty.clone(), now);
        }
        self.forget(now);
        shown
    }

    /// The connection has ended in a way that has nothing to do with what was sent, or there was none. Whatever has closed
    /// one alone before may have been hit by the same trouble.
    pub(crate) fn ended_otherwise(&mut self) {
        self.unproven.clear();
        self.end_rows();
    }

    /// What is guilty if it closes a connection alone once more.
    #[cfg(test)]
    pub(crate) fn accused(&self) -> impl Iterator<Item = &Suspect> {
        let is_accused = |record: &Record| record.alone + 1 >= self.enough();
        self.records.iter().filter(move |(_, record)| is_accused(record)).map(|(suspect, _)| suspect)
    }

    fn end_rows(&mut self) {
        self.records.values_mut().for_each(|record| record.alone = 0);
    }

    fn forget(&mut self, now: Instant) {
        self.records.retain(|_, record| now < record.last + FORGET_AFTER);
        self.doubts.retain(|at| now < *at + DOUBT_FOR);
        self.unexplained.retain(|(at, _)| now < *at + DOUBT_FOR);
        while self.records.len() > MAX_REMEMBERED {
            let oldest = self.records.iter().min_by_key(|(_, record)| record.last).map(|(suspect, _)| suspect.clone());
            let Some(oldest) = oldest else { return };
            self.records.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
