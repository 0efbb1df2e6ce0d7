//! What may be the reason of a close, and what is remembered of it. Pure.

use std::time::Instant;

use super::evidence::{kind, size_class};
use crate::message::{Qos, Topic, TopicFilter, Traits};

/// What a server may refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Suspect {
    Publish(Traits),
    Subscribe(TopicFilter),
}

/// Suspects that aren't told apart are one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// With its class of size.
    Publish(Topic, bool, Qos, u32),
    Subscribe(TopicFilter),
}

impl Suspect {
    pub(super) fn key(&self) -> Key {
        match self {
            Suspect::Publish(traits) => {
                let (topic, retain, qos) = kind(traits);
                Key::Publish(topic, retain, qos, size_class(traits.size))
            }
            Suspect::Subscribe(filter) => Key::Subscribe(filter.clone()),
        }
    }

    /// Whether what was answered to this clears `other`.
    pub(super) fn clears(&self, other: &Suspect) -> bool {
        match (self.key(), other.key()) {
            (Key::Publish(topic, retain, qos, class), Key::Publish(other, its_retain, its_qos, its_class)) => {
                (topic, retain, qos) == (other, its_retain, its_qos) && its_class <= class
            }
            (one, other) => one == other,
        }
    }
}

/// Closes at which something was unanswered since it was last cleared.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) suspect: Suspect,
    pub(super) closes: u32,
    /// Those in a row at which it was tried alone, and another was taken.
    pub(super) alone: u32,
    /// Trials, whatever they have shown.
    pub(super) tries: u32,
    pub(super) last: Instant,
}
