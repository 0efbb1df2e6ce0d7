//! What is sent next at the local broker.

use crate::message::{Outbound, Sequence, Topic};
use crate::mqtt::isolation::Rank;
use crate::mqtt::session::Waiting;

/// What waits: what gatewire itself publishes first, then what the legs have.
pub(super) struct Fresh<W> {
    pub(super) own: Vec<Outbound>,
    pub(super) legs: Option<W>,
}

/// One of that.
pub(super) enum Found {
    /// Of gatewire itself, on this topic.
    Own(Topic),
    Legs(Sequence),
}

impl<W: Waiting<Found = (Sequence, usize)>> Waiting for Fresh<W> {
    type Found = Found;

    fn first(&mut self, mut admits: impl FnMut(&Outbound, bool) -> bool) -> Option<Found> {
        if let Some(own) = self.own.iter().find(|own| admits(own, false)) {
            return Some(Found::Own(own.topic.clone()));
        }
        self.legs.as_mut()?.first(admits).map(|(sequence, _)| Found::Legs(sequence))
    }

    fn least(&mut self, rank: impl Fn(&Outbound, u32) -> Option<Rank>) -> Option<Found> {
        let ranked = (0..).zip(&self.own).filter_map(|(place, own)| Some((rank(own, place)?, own)));
        if let Some((_, own)) = ranked.min_by(|(one, _), (other, _)| one.cmp(other)) {
            return Some(Found::Own(own.topic.clone()));
        }
        self.legs.as_mut()?.least(rank).map(|(sequence, _)| Found::Legs(sequence))
    }
}
