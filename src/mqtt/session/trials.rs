//! What the server may close the connection for is sent alone: it waits until nothing is on the wire, and the rest waits until
//! it is answered. A server that closes before it has answered anything at all does so whatever is sent: so at least a PINGRESP
//! comes first. What has to be sent alone, and when, [`Isolation`](crate::mqtt::isolation::Isolation) decides.

use std::time::{Duration, Instant};

use super::event::{Event, Refusal};
use super::{Paused, Session, State};
use crate::message::{Condition, Outbound, Sequence, TopicFilter, Traits};
use crate::mqtt::Rejection;
use crate::mqtt::isolation::{self, Ground, Guilty, Rank, Suspect};
use crate::mqtt::reason::Reason;
use crate::mqtt::wire::Wire;

/// A server whose CONNACK allows none of what waits is asked again after so long, doubled each time up to the second.
const ASK_AGAIN: Duration = Duration::from_secs(10);
const MAX_ASK_AGAIN: Duration = Duration::from_secs(300);

/// What is known after the server has closed the connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) guilty: Option<Guilty>,
    /// The connection has ended for this message alone: others like it may be in order.
    pub(crate) refused: Option<(Sequence, Traits)>,
    /// Messages that wait again: they may only be sent alone, or not at all.
    pub(crate) returned: Vec<Sequence>,
    /// Something was tried alone, and that has ended the connection: it wasn't in vain.
    pub(crate) of_a_trial: bool,
    /// The birth is left out from now on, for an hour.
    pub(crate) birth_left_out: bool,
    /// It has ended for a filter that readers ask for, as others before.
    pub(crate) paused: Option<Paused>,
}

/// That nothing is sent because the server refuses everything.
#[derive(Debug, Default)]
pub(super) struct Holding {
    /// What it did last on a message.
    pub(super) refusal: Option<Refusal>,
    /// What its CONNACK doesn't allow, though it waits.
    pub(super) limits: Option<Rejection>,
    /// When to connect once more for other limits, and how often that was done.
    ask_again_at: Option<Instant>,
    asked: u32,
}

impl Holding {
    pub(super) fn restart(&mut self) {
        self.limits = None;
        self.ask_again_at = None;
    }

    /// The server has taken a message.
    pub(super) fn took(&mut self) {
        self.restart();
        self.asked = 0;
    }

    pub(super) fn refused_by_limits(&mut self, rejection: Rejection, now: Instant) {
        if self.limits.is_none() {
            let doubled = 1u32.checked_shl(self.asked).and_then(|factor| ASK_AGAIN.checked_mul(factor));
            self.ask_again_at = Some(now + doubled.map_or(MAX_ASK_AGAIN, |wait| wait.min(MAX_ASK_AGAIN)));
            self.asked = self.asked.saturating_add(1);
            self.limits = Some(rejection);
        }
    }

    pub(super) fn ask_again_at(&self) -> Option<Instant> {
        self.ask_again_at
    }
}

impl Session {
    /// Asks for what is wanted and doesn't stand, as far as nothing is tried alone; a suspect only once nothing is on the wire.
    pub(super) fn request(&mut self, now: Instant) {
        // Nothing else is sent while the birth is alone.
        self.requests_held = self.birth.is_alone();
        if self.requests_held {
            return;
        }
        while let Some(request) = self.subscriptions.next_request(|filter| self.is_suspected(filter)) {
            if self.is_trial_on() {
                self.requests_held = true;
                return;
            }
            self.send_request(request, now);
        }
        if let Some(request) = self.subscriptions.next_request_alone(|filter| self.is_suspected(filter)) {
            match !self.is_trial_on() && self.is_wire_clear(now) {
                true => self.send_request(request, now),
                false => self.requests_held = true,
            }
        }
        if let Some(standing) = self.subscriptions.settled() {
            self.events.push_back(Event::Settled(standing.clone(), self.subscriptions.identifiers().clone()));
        }
    }

    fn is_suspected(&self, filter: &TopicFilter) -> bool {
        !self.isolation.is_idle() && self.isolation.is_alone(&Suspect::Subscribe(filter.clone()))
    }

    /// Whether messages may be sent now, as far as what is tried alone allows. If not, that changes when the server has answered
    /// something.
    pub(super) fn is_way_free(&self, now: Instant) -> bool {
        self.isolation.is_idle() || !(self.requests_held || self.is_trial_on() || self.isolation.makes_way(now))
    }

    /// Whether a message may be sent now with others, which [`Session::is_way_free`] has allowed. One that this server's limits
    /// don't allow waits, unless the server takes others or `has_client`, who is told.
    pub(super) fn admits(&mut self, message: &Outbound, has_client: bool, now: Instant) -> bool {
        if !self.has_acked
            && !has_client
            && !self.options.refusals_are_final
            && let Some(rejection) = self.limits.rejection(message, || Wire::size(message, now))
            && !matches!(rejection, Rejection::Character(_))
        {
            self.holding.refused_by_limits(rejection, now);
            return false;
        }
        let traits = message.traits();
        if self.isolation.is_idle() || !self.isolation.is_alone(&Suspect::Publish(traits.clone())) {
            return true;
        }
        self.isolation.saw_candidate(&traits, now);
        false
    }

    /// Whether a message may be sent now that may only be sent alone, if one was seen.
    pub(super) fn may_try(&mut self, now: Instant) -> bool {
        self.isolation.has_candidate()
            && !self.requests_held
            && !self.is_trial_on()
            && self.is_wire_clear(now)
            && self.isolation.may_try(now)
    }

    /// Which of those goes first: the least. `place` is its place among those that wait. `None`: it isn't one of them.
    pub(super) fn rank(&self, message: &Outbound, place: u32, now: Instant) -> Option<Rank> {
        let is_allowed = self.has_acked
            || self.options.refusals_are_final
            || self.limits.rejection(message, || Wire::size(message, now)).is_none();
        is_allowed.then(|| self.isolation.rank(&message.traits(), place, now))?
    }

    /// None of those is there any more. Returns whether others waited for it.
    pub(super) fn no_candidate(&mut self, now: Instant) -> bool {
        self.isolation.no_candidate(now)
    }

    /// Whether something that is tried alone is on the wire.
    fn is_trial_on(&self) -> bool {
        !self.isolation.is_idle()
            && (self.isolation.is_written_alone() || self.unanswered().any(|suspect| self.isolation.is_alone(&suspect)))
    }

    fn is_wire_clear(&mut self, now: Instant) -> bool {
        self.in_flight.on_the_wire() == 0
            && self.subscriptions.settled().is_some()
            && self.isolation.make_way(self.has_answered, now)
    }

    /// Whether this message, which is to be sent again, may be sent now.
    pub(super) fn admits_again(&mut self, traits: Traits, now: Instant) -> bool {
        if self.isolation.is_idle() {
            return true;
        }
        if self.requests_held || self.is_trial_on() {
            return false;
        }
        !self.isolation.is_alone(&Suspect::Publish(traits)) || self.is_wire_clear(now)
    }

    /// Filters and messages that the server hasn't answered; filters first, then in the order of sending.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = Suspect> {
        let filters = self.subscriptions.unanswered().cloned().map(Suspect::Subscribe);
        filters.chain(self.in_flight.on_the_wire_traits().map(Suspect::Publish))
    }

    /// What may be the reason if the server closes the connection now, the last sent last.
    pub(crate) fn last_sent(&self, now: Instant) -> impl Iterator<Item = Suspect> {
        let written = self.isolation.written_lately(now).cloned().map(Suspect::Publish);
        self.unanswered_birth().into_iter().chain(written).chain(self.unanswered())
    }

    /// The server has answered something: what waited for that goes on.
    pub(super) fn go_on(&mut self, now: Instant) {
        if self.requests_held && self.is_connected() {
            self.request(now);
        }
    }

    /// The server has closed the established connection in a way that something we sent may have caused; if it
    /// `is_for_form`, one message, and not others to its topic.
    pub(crate) fn closed_by_server(&mut self, is_for_form: bool, now: Instant) -> Verdict {
        // Before CONNACK nothing was sent that it could be for: what is unanswered was on another connection.
        let is_unjudged = std::mem::take(&mut self.is_unjudged);
        let is_established = is_unjudged || !matches!(self.state, State::Disconnected | State::Connecting);
        if let Some(birth_left_out) = self.birth.closed(now) {
            self.isolation.ended_otherwise();
            return Verdict { of_a_trial: true, birth_left_out, ..Verdict::default() };
        }
        let unanswered: Vec<Suspect> = self.unanswered().filter(|_| is_established).collect();
        let requested = if is_established { self.subscriptions.only_requested() } else { Vec::new() };
        let is_requested = |filter: &TopicFilter| self.subscriptions.is_requested(filter);
        let shown = self.isolation.closed(unanswered.into_iter(), is_for_form, is_requested, now);
        let mut verdict = Verdict { guilty: shown.guilty, of_a_trial: shown.of_a_trial, ..Verdict::default() };
        self.holding.refusal = Some(Refusal::Ends(None));
        match &verdict.guilty {
            Some(Guilty::Subscribe(filter)) => self.subscriptions.refuse(filter.clone(), now),
            Some(Guilty::Publish(condition)) if is_for_form && !condition.is_group() => {
                verdict.refused = self.in_flight.take_on_the_wire(condition);
                verdict.guilty = None;
            }
            _ => {}
        }
        let is_other = matches!(verdict.guilty, Some(Guilty::Publish(_))) || verdict.refused.is_some();
        if !requested.is_empty() && !is_other {
            verdict.paused = self.subscriptions.ended_for(&requested, verdict.guilty.is_some(), now);
        }
        let isolation = &self.isolation;
        let condition = match &verdict.guilty {
            Some(Guilty::Publish(condition)) => Some(condition),
            _ => None,
        };
        verdict.returned = self.in_flight.take_back(|traits| {
            condition.is_some_and(|condition| condition.matches(traits))
                || isolation.is_alone(&Suspect::Publish(traits.clone()))
        });
        verdict
    }

    /// An answer is overdue. What was tried alone was on the wire for all that time, and the server hasn't closed the connection for
    /// it: it goes with the others again, which mustn't wait for it for ever.
    pub(super) fn acquit(&mut self, now: Instant) {
        if self.isolation.is_idle() {
            return;
        }
        let tried: Vec<Suspect> = self.unanswered().filter(|suspect| self.isolation.is_alone(suspect)).collect();
        tried.iter().for_each(|suspect| self.isolation.spare(suspect, now));
    }

    /// The connection was given up because no SUBACK came for this filter. If the server has said something meanwhile, and readers have
    /// asked for it, that counts as an end for it.
    pub(crate) fn suback_missing(&mut self, filter: &TopicFilter, now: Instant) -> Option<Paused> {
        let State::Connected(liveness) = &self.state else { return None };
        let is_alive = now.saturating_duration_since(liveness.last_received) < self.options.ack_timeout;
        let requested = self.subscriptions.only_requested();
        (is_alive && requested.contains(filter)).then(|| self.subscriptions.ended_for(&requested, false, now))?
    }

    /// There was no connection, or it has ended in another way.
    pub(crate) fn ended_otherwise(&mut self) {
        self.is_unjudged = false;
        self.isolation.ended_otherwise();
    }

    /// A message waits again whose refusal may not have been its fault.
    pub(crate) fn keep_apart(&mut self, message: Traits, now: Instant) {
        self.isolation.keep_apart(message, now);
    }

    /// What meets this was set aside, and may be sent again: alone at first.
    pub(crate) fn try_again(&mut self, condition: Condition, now: Instant) {
        self.isolation.try_again(condition, now);
    }

    /// The connection that the server has ended last, it has ended for this reason.
    pub(crate) fn ended_because(&mut self, reason: Reason) {
        self.holding.refusal = Some(Refusal::Ends(Some(reason)));
    }

    /// Whether a new connection is wanted, because the server's limits allow nothing that waits.
    pub(crate) fn wants_other_limits(&self, now: Instant) -> bool {
        self.is_connected() && self.holding.ask_again_at.is_some_and(|at| at <= now)
    }

    /// A PUBACK with a failure.
    pub(super) fn refused(&mut self, sequence: Sequence, traits: Traits, rejection: Rejection, now: Instant) {
        if self.options.refusals_are_final {
            return self.events.push_back(Event::Rejected(sequence, traits, rejection));
        }
        let Rejection::PubAck(reason) = &rejection else { return };
        self.holding.refusal = Some(Refusal::Refuses(rejection.clone()));
        let ground = Ground::of(reason.code);
        let event = match self.isolation.refused(&traits, ground, reason, now) {
            isolation::Certainty::Sure(condition) => {
                self.events.extend(condition.map(|condition| Event::Guilty(condition, reason.clone())));
                Event::Rejected(sequence, traits, rejection)
            }
            isolation::Certainty::Perhaps => Event::Doubtful(sequence, traits, rejection),
        };
        self.events.push_back(event);
    }
}
