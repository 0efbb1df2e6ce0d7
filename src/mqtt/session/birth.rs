//! What is published on each connection before anything else, and not again on it.
//!
//! The server may close the connection for it, as IoT Core does for a topic that the policy forbids. Until the server has taken it
//! once it is sent alone, and everything else waits for its answer: so nobody else is suspected, and it is left out once the server
//! has closed often enough.

use std::time::{Duration, Instant};

use super::event::{Event, Refusal};
use super::{Label, Liveness, Session, State};
use crate::message::Qos;
use crate::mqtt::Rejection;
use crate::mqtt::isolation::Suspect;
use crate::mqtt::reason::{Reason, ReasonCode};
use crate::mqtt::wire::{PacketIdentifier, Wire};

/// How long everything else waits for the answer to one that wasn't taken yet.
const ALONE: Duration = Duration::from_secs(2);

/// After so many connections in a row that the server has closed while it was alone, it is left out.
const ENOUGH: u32 = 3;

/// For so long; then one more is enough.
const LEFT_OUT_FOR: Duration = Duration::from_secs(3600);

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Birth {
    /// On the wire, and not answered.
    out: Option<Out>,
    /// Until then nothing else is sent.
    alone_until: Option<Instant>,
    /// The server keeps the connection when it comes.
    is_harmless: bool,
    /// Connections in a row that were closed while it was alone.
    closes: u32,
    left_out_until: Option<Instant>,
    /// When its PUBACK is late.
    late_at: Option<Instant>,
    /// Its PUBACK is late.
    is_late: bool,
    /// It is to be sent once more on this connection, as soon as the server's window has room.
    is_due_again: bool,
    /// The server hasn't taken it since it was sent last, and that is known.
    is_refused: bool,
    /// What was told of that last.
    told: Option<Told>,
}

/// That the server doesn't take the birth; it is told once as long as it is for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    LeftOut,
    Unanswered,
    Refused(ReasonCode),
    /// For what its CONNACK said.
    Terms,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Out {
    /// With QoS 0 any answer to what came behind it shows that it was taken.
    AtMostOnce,
    AtLeastOnce(PacketIdentifier),
}

impl Birth {
    /// Whether nothing else may be sent.
    pub(super) fn is_alone(&self) -> bool {
        self.alone_until.is_some()
    }

    /// Until when, at most.
    pub(super) fn alone_until(&self) -> Option<Instant> {
        self.alone_until
    }

    pub(super) fn is_out(&self) -> bool {
        self.out.is_some()
    }

    /// Whether it waits for the PUBACK with this packet identifier.
    pub(super) fn uses(&self, id: PacketIdentifier) -> bool {
        self.out == Some(Out::AtLeastOnce(id))
    }

    /// What it leaves of the server's window. A server that takes one at a time gets the next once the PUBACK of this one is late: it
    /// must have lost it.
    pub(super) fn rest_of(&self, window: usize) -> usize {
        let taken = usize::from(matches!(self.out, Some(Out::AtLeastOnce(_))));
        window.saturating_sub(taken).max(usize::from(self.is_late))
    }

    /// When it is to be told that no PUBACK has come.
    pub(super) fn late_at(&self) -> Option<Instant> {
        self.late_at
    }

    pub(super) fn connection_lost(&mut self) {
        (self.out, self.alone_until, self.late_at) = (None, None, None);
        (self.is_late, self.is_due_again) = (false, false);
    }

    /// The server has closed the connection. Whether that was for this, and whether it is left out now.
    pub(super) fn closed(&mut self, now: Instant) -> Option<bool> {
        self.out?;
        if !self.is_alone() {
            // It may have been for this: next time nothing else is there.
            self.is_harmless = false;
            return None;
        }
        self.closes += 1;
        let is_enough = self.closes >= ENOUGH;
        if is_enough {
            self.closes = ENOUGH - 1;
            self.left_out_until = Some(now + LEFT_OUT_FOR);
            (self.is_refused, self.told) = (true, Some(Told::LeftOut));
        }
        Some(is_enough)
    }
}

impl Session {
    /// CONNACK has come.
    pub(super) fn publish_birth(&mut self, now: Instant) {
        let Some(birth) = self.options.birth.clone() else { return };
        if self.birth.left_out_until.is_some_and(|until| now < until) {
            return;
        }
        if let Some(rejection) = self.limits.rejection(&birth, || Wire::size(&birth, now)) {
            return self.birth_refused(Told::Terms, Event::BirthRefused(Refusal::Refuses(rejection)));
        }
        let has_ack = birth.qos == Qos::AtLeastOnce;
        let id = if has_ack { self.allocate() } else { 0 };
        let before = self.output.len();
        self.wire.publish(&birth, id, false, now, &mut self.output);
        self.put(Label::CONNECTION, before);
        self.counters.published += 1;
        self.events.push_back(Event::BirthSent(birth.size()));
        let has_room = self.window() > usize::from(has_ack);
        self.birth.out = Some(if has_ack { Out::AtLeastOnce(id) } else { Out::AtMostOnce });
        self.birth.late_at = has_ack.then(|| now + self.options.ack_timeout);
        if self.birth.is_harmless && has_room {
            return;
        }
        self.birth.alone_until = Some(now + ALONE.min(self.options.ack_timeout));
        if !has_ack {
            self.ping(now);
        }
    }

    /// Its PUBACK has come.
    pub(super) fn birth_acknowledged(&mut self, reason: Reason, now: Instant) {
        self.has_answered = true;
        if !reason.is_failure() {
            return self.birth_taken(now);
        }
        (self.birth.out, self.birth.late_at, self.birth.is_late) = (None, None, false);
        (self.birth.is_harmless, self.birth.closes) = (true, 0);
        let told = Told::Refused(reason.code);
        self.birth_refused(told, Event::BirthRefused(Refusal::Refuses(Rejection::PubAck(reason))));
        self.go_on_after_birth(now);
    }

    /// No PUBACK has come in time. It may still come.
    pub(super) fn look_at_birth(&mut self, now: Instant) {
        if self.birth.alone_until.is_some_and(|until| until <= now) {
            self.go_on_after_birth(now);
        }
        if self.birth.late_at.take_if(|at| *at <= now).is_some() {
            self.birth.is_late = true;
            self.birth_refused(Told::Unanswered, Event::BirthUnanswered(self.options.ack_timeout));
        }
    }

    /// It is tried again if the server hasn't taken it, at once where there is a connection, and what comes of it is told again.
    pub(crate) fn try_birth_again(&mut self, now: Instant) {
        if !self.birth.is_refused {
            return;
        }
        self.birth.left_out_until = None;
        self.birth.told = None;
        self.birth.is_due_again = self.is_connected() && !self.birth.is_out();
        self.send_birth_again(now);
    }

    /// Sends it, if that is due and there is room in the server's window.
    pub(super) fn send_birth_again(&mut self, now: Instant) {
        if self.birth.is_due_again && self.in_flight.on_the_wire() < self.window() {
            self.birth.is_due_again = false;
            self.publish_birth(now);
        }
    }

    /// The server has answered something that was sent behind it.
    pub(super) fn heard_behind_birth(&mut self, now: Instant) {
        if self.birth.out == Some(Out::AtMostOnce) {
            self.birth_taken(now);
        }
    }

    fn birth_taken(&mut self, now: Instant) {
        let was_refused = self.birth.is_refused;
        self.birth = Birth { is_harmless: true, alone_until: self.birth.alone_until, ..Birth::default() };
        if was_refused {
            self.events.push_back(Event::BirthTaken);
        }
        self.go_on_after_birth(now);
    }

    fn birth_refused(&mut self, told: Told, how: Event) {
        self.birth.is_refused = true;
        if self.birth.told.replace(told) != Some(told) {
            self.events.push_back(how);
        }
    }

    /// Nothing waits for it any more.
    pub(super) fn go_on_after_birth(&mut self, now: Instant) {
        if self.birth.alone_until.take().is_some() {
            self.request(now);
            self.hold(now);
        }
    }

    /// Says PINGREQ.
    pub(super) fn ping(&mut self, now: Instant) {
        let before = self.output.len();
        self.wire.pingreq(&mut self.output);
        self.put(Label::KEEP_ALIVE, before);
        self.isolation.pinged(now);
        let ping = self.just_put(now);
        if let State::Connected(Liveness { ping_sent, .. }) = &mut self.state {
            *ping_sent = Some(ping);
        }
    }

    /// It, if the server may have closed the connection for it.
    pub(super) fn unanswered_birth(&self) -> Option<Suspect> {
        let birth = self.options.birth.as_ref().filter(|_| self.birth.is_out())?;
        Some(Suspect::Publish(birth.traits()))
    }
}
