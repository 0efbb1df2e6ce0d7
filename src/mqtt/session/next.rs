//! What is to be sent next: what was sent before, then what may go with others, then what may only be sent alone.

use std::time::Instant;

use super::Session;
use crate::message::Outbound;
use crate::mqtt::isolation::Rank;

/// The messages that wait to be sent for the first time, in their order. Their owner has them; the session looks through them.
pub(crate) trait Waiting {
    /// By what the owner finds one again.
    type Found;

    /// The first that `admits` lets through. It is told of each whether a client waits to be told what becomes of it.
    fn first(&mut self, admits: impl FnMut(&Outbound, bool) -> bool) -> Option<Self::Found>;

    /// The one of the least rank, if any has one. `rank` is told the place of each among those that wait.
    fn least(&mut self, rank: impl Fn(&Outbound, u32) -> Option<Rank>) -> Option<Self::Found>;
}

/// What may be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NextSend<T> {
    /// A message of so many bytes that was sent before: [`Session::resend`] sends it.
    Resend(usize),
    /// One that waits: [`Session::publish`] sends it.
    Fresh(T),
    /// Nothing, until something has happened.
    Wait,
}

impl Session {
    /// What may be sent now, of what is in flight and of what is `waiting`. `has_room`: the transport takes more.
    ///
    /// It may be asked as often as one likes: an answer that isn't followed, because of a quota for one, is given again.
    pub(crate) fn next_send<W: Waiting>(
        &mut self,
        waiting: &mut W,
        has_room: bool,
        now: Instant,
    ) -> NextSend<W::Found> {
        let next = if has_room && self.has_room() { self.look_for_next(waiting, now) } else { NextSend::Wait };
        if matches!(next, NextSend::Wait) {
            self.isolation.plan(now);
        }
        next
    }

    fn look_for_next<W: Waiting>(&mut self, waiting: &mut W, now: Instant) -> NextSend<W::Found> {
        if let Some(size) = self.next_resend_size(now) {
            return NextSend::Resend(size);
        }
        if !self.can_publish() {
            return self.look_for_urgent(waiting, now);
        }
        if self.is_way_free(now)
            && let Some(found) = waiting.first(|message, has_client| self.admits(message, has_client, now))
        {
            return NextSend::Fresh(found);
        }
        if !self.may_try(now) {
            return NextSend::Wait;
        }
        if let Some(found) = waiting.least(|message, place| self.rank(message, place, now)) {
            return NextSend::Fresh(found);
        }
        self.no_candidate(now);
        let found = waiting.first(|message, has_client| self.admits(message, has_client, now));
        found.map_or(NextSend::Wait, NextSend::Fresh)
    }

    /// What needn't wait for filters to be answered: an alarm is no request.
    fn look_for_urgent<W: Waiting>(&mut self, waiting: &mut W, now: Instant) -> NextSend<W::Found> {
        if !self.can_publish_urgent() || !self.is_way_free(now) {
            return NextSend::Wait;
        }
        let found = waiting.first(|message, has_client| message.urgent && self.admits(message, has_client, now));
        found.map_or(NextSend::Wait, NextSend::Fresh)
    }
}
