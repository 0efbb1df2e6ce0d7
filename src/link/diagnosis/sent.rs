//! The packets for which a server may have closed the connection, as they are named.

use std::fmt;

use crate::message::{Topic, TopicFilter, Traits};
use crate::mqtt::isolation::Suspect;

/// A packet that a policy may forbid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    Publish(Topic),
    /// With RETAIN, which needs a permission of its own.
    PublishRetained(Topic),
    Subscribe(TopicFilter),
    /// No policy forbids it.
    Unsubscribe(TopicFilter),
}

impl From<Suspect> for Sent {
    fn from(suspect: Suspect) -> Sent {
        match suspect {
            Suspect::Publish(Traits { topic, retain: false, .. }) => Sent::Publish(topic),
            Suspect::Publish(Traits { topic, retain: true, .. }) => Sent::PublishRetained(topic),
            Suspect::Subscribe(filter) => Sent::Subscribe(filter),
        }
    }
}

impl Sent {
    /// What a policy must allow for it.
    pub(in crate::link) fn needs(&self) -> String {
        match self {
            Sent::Publish(topic) => format!("iot:Publish on topic/{topic}"),
            Sent::PublishRetained(topic) => format!("iot:Publish and iot:RetainPublish on topic/{topic}"),
            Sent::Subscribe(filter) | Sent::Unsubscribe(filter) => format!("iot:Subscribe on topicfilter/{filter}"),
        }
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sent::Publish(topic) => write!(f, "PUBLISH to `{topic}`"),
            Sent::PublishRetained(topic) => write!(f, "PUBLISH with RETAIN to `{topic}`"),
            Sent::Subscribe(filter) => write!(f, "SUBSCRIBE to `{filter}`"),
            Sent::Unsubscribe(filter) => write!(f, "UNSUBSCRIBE from `{filter}`"),
        }
    }
}

/// Each of them once, where it stands last.
pub(crate) fn each_once<T: PartialEq>(all: impl DoubleEndedIterator<Item = T>) -> Vec<T> {
    let mut kept = Vec::new();
    for one in all.rev() {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept.reverse();
    kept
}

/// Them all, at the end of a line.
pub(super) struct Last<'a>(pub(super) &'a [Sent]);

impl fmt::Display for Last<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            sent => {
                f.write_str("; sent last: ")?;
                f.write_str(&each_once(sent.iter().map(Sent::to_string)).join(", "))
            }
        }
    }
}
