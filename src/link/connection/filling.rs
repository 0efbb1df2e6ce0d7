//! What the session is given to send: as much as window, quota and network take.

use std::time::Instant;

use super::{ANSWER_TIME, Connection};
use crate::message::{Outbound, Qos, Sequence};
use crate::mqtt::isolation::Rank;
use crate::mqtt::session::{NextSend, Waiting};
use crate::net::Network;
use crate::outbox::Outbox;
use crate::thing_services::ThingServices;

impl<N: Network> Connection<'_, N> {
    /// Gives the session what it may send now: first what has to go again, then what waits, as far as window and quota go.
    pub(super) fn fill(&mut self, now: Instant) {
        self.quota_until = None;
        for condition in self.link.outbox.take_released() {
            self.session.try_again(condition, now);
        }
        self.is_slow |= self.drain_deadline.is_some() && !self.is_not_behind();
        if self.is_late(now) {
            return;
        }
        loop {
            let may_begin = self.drain_deadline.is_none() || self.link.outbox.gains_by_sending();
            let has_room = self.has_room();
            let mut waiting = Fresh { outbox: &self.link.outbox, services: &self.link.services, may_begin };
            match self.session.next_send(&mut waiting, has_room, now) {
                NextSend::Wait => return,
                NextSend::Resend(size) => {
                    if !self.within_quota(now, size) {
                        return;
                    }
                    self.session.resend(now);
                }
                NextSend::Fresh((sequence, size)) => {
                    if !self.within_quota(now, size) || !self.publish(sequence, now) {
                        return;
                    }
                }
            }
        }
    }

    /// Hands a request, or a message of the outbox, to the session. Whether it was there.
    fn publish(&mut self, sequence: Sequence, now: Instant) -> bool {
        if let Some(attempt) = sequence.request() {
            let Some(message) = self.link.services.take(attempt) else { return false };
            self.session.publish(sequence, message, now);
            return true;
        }
        let Some(message) = self.link.outbox.take_at(sequence) else { return false };
        self.link.services.another_is_sent();
        let has_no_ack = message.qos == Qos::AtMostOnce;
        if self.session.publish(sequence, message, now) && has_no_ack {
            self.unwritten.push_back(sequence);
        }
        true
    }

    /// Whether there is room for another message. Once the daemon stops, only behind what is written: DISCONNECT is to come
    /// soon.
    pub(super) fn has_room(&mut self) -> bool {
        self.session.has_room()
            && self.is_not_behind()
            && (self.drain_deadline.is_none() || self.session.output().is_empty())
    }

    /// Whether the daemon stops, and the uplink is too slow for more than answers in the time that is left. What isn't sent stays
    /// stored.
    fn is_late(&self, now: Instant) -> bool {
        self.is_slow && self.drain_deadline.is_some_and(|deadline| now + ANSWER_TIME >= deadline)
    }

    fn within_quota(&mut self, now: Instant, size: usize) -> bool {
        self.quota_until = self.quota.try_take(now, size).err();
        self.quota_until.is_none()
    }
}

/// What waits to be sent for the first time, for the session to look through: requests to services, then what is in the outbox.
struct Fresh<'a> {
    outbox: &'a Outbox,
    services: &'a ThingServices,
    /// While the daemon stops, there may be nothing to be gained by sending more.
    may_begin: bool,
}

impl Waiting for Fresh<'_> {
    type Found = (Sequence, usize);

    fn first(&mut self, mut admits: impl FnMut(&Outbound, bool) -> bool) -> Option<(Sequence, usize)> {
        if !self.may_begin {
            return None;
        }
        self.services.first(&mut admits).or_else(|| self.outbox.next(admits))
    }

    /// Requests have no place among the messages: the two take turns, so that neither keeps the other from being tried.
    fn least(&mut self, rank: impl Fn(&Outbound, u32) -> Option<Rank>) -> Option<(Sequence, usize)> {
        if !self.may_begin {
            return None;
        }
        let request = self.services.first_alone(|message| rank(message, 0).is_some());
        match request {
            Some(found) if self.services.is_turn_to_try() => Some(found),
            request => self.outbox.next_alone(rank).or(request),
        }
    }
}
