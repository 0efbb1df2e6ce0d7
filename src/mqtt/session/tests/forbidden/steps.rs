//! What happens in a [`World`](super::world::World), and what its server forbids.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use crate::message::{Outbound, Qos, Topic, Traits};

/// Sorts of messages that a step can publish.
pub(super) const SORTS: usize = 6;

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A message of one of the sorts, of this QoS.
    Accept(usize, bool),
    /// The server reads so many packets and answers them.
    Serve(usize),
    /// What the server has said reaches the client.
    Hear,
    Pass(u64),
    /// The network breaks, in a way that looks as if the server had closed the connection.
    Break,
    /// The network breaks in a way that doesn't.
    Outage,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..SORTS, prop::bool::weighted(0.7)).prop_map(|(sort, qos_1)| Step::Accept(sort, qos_1)),
        6 => (1..6usize).prop_map(Step::Serve),
        4 => Just(Step::Hear),
        2 => (1..6u64).prop_map(Step::Pass),
        1 => Just(Step::Break),
        1 => Just(Step::Outage),
    ]
}

/// What a server forbids, and what the sorts of messages are.
#[derive(Debug, Clone)]
pub(super) enum Forbids {
    /// Some of the sorts, each of which is a topic.
    Topics(BTreeSet<usize>),
    /// Topics that begin so; the last sorts do, each message with another topic.
    Prefix,
    /// RETAIN, with the topics of the first sorts.
    Retain,
    /// More than 5000 bytes, with the topics of the first sorts.
    Size,
    /// QoS 0.
    Qos0,
}

impl Forbids {
    pub(super) fn message(&self, n: u64, sort: usize, qos: Qos) -> Outbound {
        let is_last = sort >= SORTS / 2;
        let half = sort % (SORTS / 2);
        if sort == SORTS {
            // Nothing like the others.
            let payload = Bytes::from(format!("{n} "));
            return Outbound {
                topic: Topic::new("good").unwrap(),
                payload,
                qos,
                retain: false,
                urgent: false,
                properties: None,
            };
        }
        let (topic, retain, padding) = match self {
            Forbids::Topics(_) | Forbids::Qos0 => (format!("t/{sort}"), false, 1),
            Forbids::Prefix if is_last => (format!("ev/{}/door", n * 7919), false, 1),
            Forbids::Prefix => (format!("t/{sort}"), false, 1),
            Forbids::Retain => (format!("t/{half}"), is_last, 1),
            Forbids::Size => (format!("t/{half}"), false, if is_last { 6000 } else { 1 }),
        };
        let payload = Bytes::from(format!("{n} {:x>padding$}", ""));
        Outbound { topic: Topic::new(&topic).unwrap(), payload, qos, retain, urgent: false, properties: None }
    }

    pub(super) fn refuses(&self, traits: &Traits) -> bool {
        let topic = traits.topic.as_str();
        match self {
            Forbids::Topics(topics) => topics.iter().any(|n| topic == format!("t/{n}")),
            Forbids::Prefix => topic.starts_with("ev/"),
            Forbids::Retain => traits.retain,
            Forbids::Size => traits.size > 5000,
            Forbids::Qos0 => traits.qos == Qos::AtMostOnce,
        }
    }

    /// A sort of which the server takes messages of QoS 1.
    pub(super) fn allowed(&self) -> usize {
        match self {
            Forbids::Topics(topics) => (0..SORTS).find(|topic| !topics.contains(topic)).unwrap(),
            _ => SORTS,
        }
    }
}
