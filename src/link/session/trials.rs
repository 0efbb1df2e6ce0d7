//! What the server may close the connection for is tried alone: it waits until nothing is on the wire, and the rest waits
//! until it is answered. A server that closes before it has answered anything at all does so whatever is sent: so at least a
//! PINGRESP comes first. Who is suspected, [`Suspects`](crate::link::suspects::Suspects) decides.

use std::time::Instant;

use super::event::Event;
use super::{Session, State};
use crate::link::suspects::Suspect;
use crate::message::{Target, TopicFilter};
use crate::outbox::Sequence;

/// What is known after the server has closed the connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) guilty: Option<Guilty>,
    /// Something was tried alone, and that has ended the connection: it wasn't in vain.
    pub(crate) of_a_trial: bool,
}

/// What the server closes the connection for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Guilty {
    /// Messages to this target, or one of them. Those of QoS 1 that were in flight and can't be sent aren't any more.
    Publish(Target, Vec<Sequence>),
    /// It isn't asked for until an hour has passed, or other filters are wanted.
    Subscribe(TopicFilter),
}

impl Session {
    /// Asks for what is wanted and doesn't stand, as far as nothing is tried alone; a suspect only once nothing is on the wire.
    pub(super) fn request(&mut self, now: Instant) {
        self.requests_held = false;
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
        !self.suspects.is_empty() && self.suspects.is_tried_alone(&Suspect::Subscribe(filter.clone()))
    }

    /// Whether a message to `target` may be sent now. If not, that changes when the server has answered something.
    pub(crate) fn admits(&mut self, target: &Target, now: Instant) -> bool {
        if self.suspects.is_empty() {
            return true;
        }
        if self.requests_held || self.is_trial_on() {
            return false;
        }
        !self.suspects.is_tried_alone(&Suspect::Publish(target.clone())) || self.is_wire_clear(now)
    }

    /// Whether something that is tried alone is on the wire.
    fn is_trial_on(&self) -> bool {
        !self.suspects.is_empty()
            && (self.suspects.any_on_the_wire()
                || self.unanswered().any(|suspect| self.suspects.is_tried_alone(&suspect)))
    }

    fn is_wire_clear(&mut self, now: Instant) -> bool {
        self.in_flight.on_the_wire() == 0
            && self.subscriptions.settled().is_some()
            && self.suspects.make_way(self.has_answered, now)
    }

    /// Filters and targets that the server hasn't answered; filters first, then in the order of sending.
    fn unanswered(&self) -> impl Iterator<Item = Suspect> {
        let filters = self.subscriptions.unanswered().cloned().map(Suspect::Subscribe);
        filters.chain(self.in_flight.on_the_wire_to().map(Suspect::Publish))
    }

    /// What may be the reason if the server closes the connection now, the last sent last.
    pub(crate) fn last_sent(&self, now: Instant) -> impl Iterator<Item = Suspect> {
        let written = self.suspects.written_lately(now).cloned().map(Suspect::Publish);
        written.chain(self.unanswered())
    }

    /// The server has answered something: what waited for that goes on.
    pub(super) fn go_on(&mut self, now: Instant) {
        if self.requests_held && self.is_connected() {
            self.request(now);
        }
    }

    /// The server has closed the established connection in a way that something we sent may have caused; if it
    /// `is_for_form`, one message, and not others to its target.
    pub(crate) fn closed_by_server(&mut self, is_for_form: bool, now: Instant) -> Verdict {
        // Before CONNACK nothing was sent that it could be for: what is unanswered was on another connection.
        let is_established = !matches!(self.state, State::Disconnected | State::Connecting);
        let unanswered: Vec<Suspect> = self.unanswered().filter(|_| is_established).collect();
        let shown = self.suspects.closed(unanswered.into_iter(), now);
        let guilty = shown.guilty.map(|guilty| match guilty {
            Suspect::Publish(target) => {
                let sequences = self.in_flight.take_out(&target, is_for_form);
                Guilty::Publish(target, sequences)
            }
            Suspect::Subscribe(filter) => {
                self.subscriptions.refuse(filter.clone(), now);
                Guilty::Subscribe(filter)
            }
        });
        Verdict { guilty, of_a_trial: shown.of_a_trial }
    }

    /// An answer is overdue. What was tried alone was on the wire for all that time, and the server hasn't closed the connection for
    /// it: it goes with the others again, which mustn't wait for it for ever.
    pub(super) fn acquit(&mut self) {
        if self.suspects.is_empty() {
            return;
        }
        let tried: Vec<Suspect> = self.unanswered().filter(|suspect| self.suspects.is_tried_alone(suspect)).collect();
        tried.iter().for_each(|suspect| self.suspects.clear(suspect));
    }

    /// There was no connection, or it has ended in another way.
    pub(crate) fn ended_otherwise(&mut self) {
        self.suspects.ended_otherwise();
    }

    /// Messages to this target were set aside, and may be sent again: alone at first.
    pub(crate) fn put_on_probation(&mut self, target: Target, now: Instant) {
        self.suspects.put_on_probation(Suspect::Publish(target), now);
    }
}
