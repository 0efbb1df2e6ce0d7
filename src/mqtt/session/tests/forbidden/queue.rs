//! The messages that wait in a [`World`](super::world::World).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::message::{Outbound, Qos, Topic, Traits};
use crate::mqtt::isolation::Rank;
use crate::mqtt::session::Waiting;

/// What the session tells apart: with whether it is over 1 KiB.
pub(super) type Kind = (Topic, bool, Qos, bool);

pub(super) fn kind(traits: &Traits) -> Kind {
    (traits.topic.clone(), traits.retain, traits.qos, traits.size > 1024)
}

/// What waits, as the session may look through it.
pub(super) struct Queue<'a> {
    pub(super) waiting: &'a BTreeSet<u64>,
    pub(super) messages: &'a BTreeMap<u64, (Outbound, Traits, Instant)>,
}

impl Waiting for Queue<'_> {
    type Found = u64;

    fn first(&mut self, mut admits: impl FnMut(&Outbound, bool) -> bool) -> Option<u64> {
        self.waiting.iter().find(|n| admits(&self.messages[n].0, false)).copied()
    }

    fn least(&mut self, rank: impl Fn(&Outbound, u32) -> Option<Rank>) -> Option<u64> {
        let ranked = (0..).zip(self.waiting).filter_map(|(place, n)| Some((rank(&self.messages[n].0, place)?, *n)));
        let (_, least) = ranked.min()?;
        self.waiting.iter().find(|n| kind(&self.messages[n].1) == kind(&self.messages[&least].1)).copied()
    }
}
