//! What is found guilty, and for which evidence. Pure.

use std::time::Instant;

use super::evidence::kind;
use super::{ALONE, IN_COMPANY, Isolation, MAX_REMEMBERED, MAX_TRIED_AGAIN, Suspect};
use crate::message::{Condition, Traits};
use crate::mqtt::reason::{Reason, ReasonCode};

/// What a PUBACK with a failure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// All messages to its topic.
    Topic,
    /// The form of this message, its topic among it: others to the same topic, with other properties or another payload, may be in
    /// order.
    Message,
    /// It doesn't say.
    Unknown,
}

impl Ground {
    /// What a reason code says, in a PUBACK or in a DISCONNECT.
    pub(crate) fn of(code: ReasonCode) -> Ground {
        match code {
            ReasonCode::NOT_AUTHORIZED => Ground::Topic,
            ReasonCode::MALFORMED_PACKET
            | ReasonCode::PROTOCOL_ERROR
            | ReasonCode::TOPIC_NAME_INVALID
            | ReasonCode::PACKET_TOO_LARGE
            | ReasonCode::PAYLOAD_FORMAT_INVALID => Ground::Message,
            _ => Ground::Unknown,
        }
    }
}

/// What a PUBACK with a failure has shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// The message is guilty, and all that meets the condition if there is one.
    Sure(Option<Condition>),
    /// Nothing was taken on this connection: it may be that everything is refused.
    Perhaps,
}

impl Isolation {
    /// How many refusals in a row make guilty: more where the server has lately closed for other reasons.
    pub(super) fn enough(&self) -> u32 {
        ALONE + self.closes.doubts()
    }

    /// A PUBACK with a failure.
    pub(crate) fn refused(&mut self, traits: &Traits, ground: Ground, reason: &Reason, now: Instant) -> Certainty {
        let suspect = Suspect::Publish(traits.clone());
        self.closes.clear(|other| suspect.clears(other));
        self.trial_began = None;
        if self.has_taken {
            self.records.remove(&suspect.key());
            let condition = self.convict(traits, ground, now);
            self.relax();
            return Certainty::Sure(condition);
        }
        if self.perhaps.len() < MAX_REMEMBERED && !self.perhaps.iter().any(|(known, ..)| kind(known) == kind(traits)) {
            self.perhaps.push((traits.clone(), ground, reason.clone()));
        }
        self.pace.failed_in_vain(now);
        self.note_failed(&traits.topic);
        Certainty::Perhaps
    }

    /// A message that was perhaps refused for no fault of its own waits again: it may only be sent alone.
    pub(crate) fn keep_apart(&mut self, traits: Traits, now: Instant) {
        let record = self.record(&Suspect::Publish(traits), now);
        record.closes = record.closes.max(IN_COMPANY);
        record.tries += 1;
    }

    /// A message is refused, and others were taken: what is guilty for that.
    pub(super) fn convict(&mut self, traits: &Traits, ground: Ground, now: Instant) -> Option<Condition> {
        if ground == Ground::Message {
            return None;
        }
        self.evidence.refused(traits, now);
        let again = self.tried_again.iter().find(|(condition, _)| condition.matches(traits));
        let group = again.map(|(condition, _)| condition.clone()).or_else(|| self.evidence.group(traits, ALONE));
        let condition = match group {
            Some(group) => group,
            None if ground == Ground::Topic || self.evidence.times(traits) >= ALONE => self.single(traits),
            None => return None,
        };
        self.found(&condition, now);
        Some(condition)
    }

    /// What is guilty for one message that is; more than it, if it is one of many that nothing separates from what is taken.
    pub(super) fn single(&mut self, traits: &Traits) -> Condition {
        let single = self.evidence.single(traits);
        self.evidence.found(&single);
        self.evidence.remainder(traits).unwrap_or(single)
    }

    pub(super) fn found(&mut self, condition: &Condition, now: Instant) {
        self.found_at = Some(now);
        let matches = |suspect: &Suspect| matches!(suspect, Suspect::Publish(traits) if condition.matches(traits));
        self.evidence.found(condition);
        self.records.retain(|_, record| !matches(&record.suspect));
        self.recovery.clear(matches);
        self.closes.explain(matches);
        self.tried_again.retain(|(other, _)| other != condition);
        self.relax();
    }

    /// What meets this was refused, and is given another chance: alone, and once is enough.
    pub(crate) fn try_again(&mut self, condition: Condition, now: Instant) {
        self.tried_again.retain(|(other, _)| *other != condition);
        if self.tried_again.len() >= MAX_TRIED_AGAIN {
            self.tried_again.remove(0);
        }
        self.tried_again.push((condition, now));
    }
}
