//! What is sent next at the local broker.

use crate::message::{Outbound, Sequence};
use crate::mqtt::isolation::Rank;
use crate::mqtt::session::Waiting;

/// What waits: what gatewire itself publishes first, then what the legs have.
pub(super) struct Fresh<W> {
    pub(super) own: Option<Outbound>,
    pub(super) legs: Option<W>,
}

impl<W: Waiting<Found = (Sequence, usize)>> Waiting for Fresh<W> {
    /// `None`: it is gatewire's own.
    type Found = Option<Sequence>;

    fn first(&mut self, mut admits: impl FnMut(&Outbound, bool) -> bool) -> Option<Option<Sequence>> {
        if self.own.as_ref().is_some_and(|own| admits(own, false)) {
            return Some(None);
        }
        self.legs.as_mut()?.first(admits).map(|(sequence, _)| Some(sequence))
    }

    fn least(&mut self, rank: impl Fn(&Outbound, u32) -> Option<Rank>) -> Option<Option<Sequence>> {
        if self.own.as_ref().is_some_and(|own| rank(own, 0).is_some()) {
            return Some(None);
        }
        self.legs.as_mut()?.least(rank).map(|(sequence, _)| Some(sequence))
    }
}
