//! Publications to the server: what may be sent now, first and again.

use std::time::{Duration, Instant};

use super::Session;
use super::event::Event;
use super::in_flight::Acknowledged;
use crate::message::{Outbound, Qos, Sequence, Traits};
use crate::mqtt::Rejection;
use crate::mqtt::isolation::Suspect;
use crate::mqtt::reason::{Reason, ReasonCode};
use crate::mqtt::server_limits::Reduced;
use crate::mqtt::wire::{PacketIdentifier, Wire};

/// No publication is added while more bytes than this wait to be written.
const OUTPUT_HIGH_WATER: usize = 16 * 1024;

impl Session {
    /// Whether there is room to send a message, be it again or for the first time; while filters are awaited, one that is urgent.
    pub(crate) fn has_room(&self) -> bool {
        self.is_connected()
            && self.output.len() < OUTPUT_HIGH_WATER
            && self.throttle.until().is_none()
            && !self.birth.is_alone()
    }

    /// How many QoS 1 publications may be without PUBACK: our bound, or the server's if that is lower (`MQTT-3.3.4-7`).
    pub(super) fn window(&self) -> usize {
        let window = self.options.max_in_flight.min(self.limits.receive_maximum.unwrap_or(usize::MAX));
        self.birth.rest_of(window)
    }

    /// Whether a new message may be sent: what has to be sent again goes first.
    pub(crate) fn can_publish(&self) -> bool {
        self.held_until.is_none()
            && self.has_room()
            && self.in_flight.len() < self.window()
            && self.in_flight.next_unsent().is_none()
    }

    /// Whether others wait for filters to be answered, and a new message that is urgent may be sent. What is urgent and has to be sent
    /// again goes before it.
    pub(crate) fn can_publish_urgent(&self) -> bool {
        self.held_until.is_some()
            && self.has_room()
            && self.in_flight.len() < self.window()
            && !self.in_flight.has_unsent_urgent()
    }

    /// Sends a message for the first time, which [`Session::next_send`] has named. `false`: it isn't sent, an event says why.
    pub(crate) fn publish(&mut self, sequence: Sequence, message: Outbound, now: Instant) -> bool {
        if message.has_expired(now) {
            self.events.push_back(Event::Expired(sequence));
            return false;
        }
        if let Some(rejection) = self.limits.rejection(&message, || Wire::size(&message, now)) {
            self.not_allowed(sequence, message.traits(), rejection, now);
            return false;
        }
        self.counters.published += 1;
        if !self.isolation.is_idle() && self.isolation.is_alone(&Suspect::Publish(message.traits())) {
            self.isolation.began_trial(now);
        }
        let before = self.output.len();
        match message.qos {
            Qos::AtMostOnce => {
                self.wire.publish_first(&message, 0, now, &mut self.output);
                self.put_message(&message.topic, before);
                self.isolation.wrote(message.traits(), now);
            }
            Qos::AtLeastOnce => {
                let id = self.allocate();
                self.wire.publish_first(&message, id, now, &mut self.output);
                self.put_message(&message.topic, before);
                let (sent, timeout) = (self.just_put(now), self.ack_timeout());
                self.in_flight.push(sequence, message, id, sent, timeout);
            }
        }
        true
    }

    /// Leaves out of `message` what this server doesn't have, though it takes the message without.
    pub(crate) fn reduce(&self, message: &mut Outbound) -> Option<Reduced> {
        self.limits.reduce(message)
    }

    pub(super) fn puback(&mut self, id: PacketIdentifier, reason: Reason, now: Instant) {
        if self.birth.uses(id) {
            return self.birth_acknowledged(reason, now);
        }
        self.heard_behind_birth(now);
        if reason.code == ReasonCode::QUOTA_EXCEEDED {
            return self.throttled(id, reason, now);
        }
        let Some(Acknowledged { sequence, traits, sent, dup }) = self.in_flight.acknowledge(id) else { return };
        if let Some(sent) = sent {
            // One for a message that was sent twice may be late for the first time, and says nothing of the second.
            if !dup {
                self.patience.was_enough(now.saturating_duration_since(sent.since()), self.options.ack_timeout);
                self.owed.heard(sent.end());
            }
            self.answered(sent.end(), now);
        }
        self.has_answered = true;
        self.throttle.passed();
        self.is_unanswered = false;
        if reason.is_failure() {
            self.refused(sequence, traits, Rejection::PubAck(reason), now);
        } else {
            self.has_acked = true;
            self.holding.took();
            let guilty = self.isolation.took(&traits, now);
            self.events.extend(guilty.into_iter().map(|(condition, reason)| Event::Guilty(condition, reason)));
            self.events.push_back(Event::Delivered(sequence));
        }
        self.send_birth_again(now);
        self.go_on(now);
    }

    /// Bytes of the message that has to be sent again next, once the server's window has room for it, it is admitted and nothing
    /// holds it back.
    pub(super) fn next_resend_size(&mut self, now: Instant) -> Option<usize> {
        let (message, _) = self.in_flight.next_unsent()?;
        if self.held_until.is_some() && !message.urgent {
            return None;
        }
        let (size, traits) = (message.size(), message.traits());
        (self.in_flight.on_the_wire() < self.window() && self.admits_again(traits, now)).then_some(size)
    }

    /// Sends that message again, which [`Session::next_send`] has allowed. One that this server refuses isn't, nor one whose time has
    /// passed; unless the server's session may know it already: there it must be (`MQTT-4.4.0-1`).
    pub(crate) fn resend(&mut self, now: Instant) {
        let Some((message, dup)) = self.in_flight.next_unsent() else { return };
        let rejection = self.limits.rejection(message, || Wire::size(message, now));
        if rejection.is_some() || (!dup && message.has_expired(now)) {
            let Some((sequence, traits)) = self.in_flight.give_up_next() else { return };
            match rejection {
                Some(rejection) => self.not_allowed(sequence, traits, rejection, now),
                None => self.events.push_back(Event::Expired(sequence)),
            }
            return;
        }
        if let Some((message, id, dup)) = self.in_flight.resend() {
            let (before, topic) = (self.output.len(), message.topic.clone());
            self.wire.publish(message, id, dup, now, &mut self.output);
            self.put_message(&topic, before);
            let (sent, timeout) = (self.just_put(now), self.ack_timeout());
            self.in_flight.resent(sent, timeout);
            self.counters.published += 1;
            self.counters.resent += 1;
        }
    }

    /// The limits of the server don't allow a message. Unless it takes others, it may be that they allow nothing.
    fn not_allowed(&mut self, sequence: Sequence, message: Traits, rejection: Rejection, now: Instant) {
        let is_for_any_server = matches!(rejection, Rejection::Character(_));
        if self.has_acked || is_for_any_server || self.options.refusals_are_final {
            self.is_kept_for_limits |= !(is_for_any_server || self.options.refusals_are_final);
            self.events.push_back(Event::Rejected(sequence, message, rejection));
        } else {
            self.holding.refused_by_limits(rejection.clone(), now);
            self.events.push_back(Event::Doubtful(sequence, message, rejection));
        }
    }

    /// The server has no room for a message just now. Its PUBACK ends the packet identifier; sent again it is another packet.
    pub(super) fn throttled(&mut self, id: PacketIdentifier, reason: Reason, now: Instant) {
        let fresh = self.allocate();
        if let Some(traits) = self.in_flight.send_anew(id, fresh) {
            self.isolation.spare(&Suspect::Publish(traits.clone()), now);
            if let Some(wait) = self.throttle.hit(reason, now) {
                self.events.push_back(Event::Throttled(traits.topic, wait));
            }
            self.go_on(now);
        }
    }
}

/// The wait after "quota exceeded": from [`THROTTLE_MIN`], doubled each time, up to [`THROTTLE_MAX`], until a message passes.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    wait: Duration,
    until: Option<Instant>,
    /// What the server has said; `None`: a message has passed since.
    reason: Option<Reason>,
}

const THROTTLE_MIN: Duration = Duration::from_secs(1);
const THROTTLE_MAX: Duration = Duration::from_secs(60);

impl Throttle {
    /// How long to wait from now on. What was sent before the wait began may be refused in it: that is the same hit, `None`.
    pub(crate) fn hit(&mut self, reason: Reason, now: Instant) -> Option<Duration> {
        self.reason = Some(reason);
        if self.until.is_some() {
            return None;
        }
        self.wait = (self.wait * 2).clamp(THROTTLE_MIN, THROTTLE_MAX);
        self.until = Some(now + self.wait);
        Some(self.wait)
    }

    pub(crate) fn passed(&mut self) {
        self.wait = Duration::ZERO;
        self.reason = None;
    }

    pub(super) fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }

    /// Until when nothing is sent.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    pub(crate) fn look(&mut self, now: Instant) {
        self.until = self.until.filter(|until| *until > now);
    }
}
