//! Publications to the server: what may be sent now, first and again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Session;
use super::event::Event;
use crate::message::{Outbound, Qos, Topic};
use crate::outbox::Sequence;

/// No publication is added while more bytes than this wait to be written.
const OUTPUT_HIGH_WATER: usize = 64 * 1024;

/// How long a server may take to close the connection on a message that it forbids.
const JUDGED_WITHIN: Duration = Duration::from_secs(5);

/// More suspects than this aren't worth naming.
const MAX_SUSPECTS: usize = 5;

/// The last messages with QoS 0 on this connection.
#[derive(Debug, Default)]
pub(super) struct SentQos0(VecDeque<(Topic, bool, Instant)>);

impl SentQos0 {
    fn push(&mut self, topic: Topic, retain: bool, now: Instant) {
        if self.0.len() == MAX_SUSPECTS {
            self.0.pop_front();
        }
        self.0.push_back((topic, retain, now));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Topic and RETAIN of those that the server may be closing the connection for at `now`.
    pub(super) fn since(&self, now: Instant) -> impl Iterator<Item = (&Topic, bool)> {
        let recent = move |sent_at: Instant| now.duration_since(sent_at) <= JUDGED_WITHIN;
        self.0.iter().filter(move |(.., sent_at)| recent(*sent_at)).map(|(topic, retain, _)| (topic, *retain))
    }
}

impl Session {
    /// Whether there is room to send a message, be it again or for the first time.
    pub(crate) fn has_room(&self) -> bool {
        self.is_connected() && self.output.len() < OUTPUT_HIGH_WATER
    }

    /// How many QoS 1 publications may be without PUBACK: our bound, or the server's if that is lower (`MQTT-3.3.4-7`).
    fn window(&self) -> usize {
        self.options.max_in_flight.min(self.terms.receive_maximum.unwrap_or(usize::MAX))
    }

    /// Whether a new message may be sent: what has to be sent again goes first.
    pub(crate) fn can_publish(&self) -> bool {
        self.has_room() && self.in_flight.len() < self.window() && self.in_flight.next_unsent().is_none()
    }

    /// Sends a message for the first time. Only after [`Session::can_publish`]. `false`: it isn't sent, an event says why.
    pub(crate) fn publish(&mut self, sequence: Sequence, message: Outbound, now: Instant) -> bool {
        if message.has_expired(now) {
            self.events.push_back(Event::Expired(sequence));
            return false;
        }
        if let Some(rejection) = self.terms.rejection(&message, now) {
            self.events.push_back(Event::Rejected(sequence, message.topic, rejection));
            return false;
        }
        self.counters.published += 1;
        match message.qos {
            Qos::AtMostOnce => {
                self.wire.publish(&message, 0, false, now, &mut self.output);
                self.sent_qos_0.push(message.topic, message.retain, now);
            }
            Qos::AtLeastOnce => {
                let id = self.allocate();
                self.wire.publish(&message, id, false, now, &mut self.output);
                self.in_flight.push(sequence, message, id, now, self.options.ack_timeout);
            }
        }
        true
    }

    /// Bytes of the message that has to be sent again next, once the server's window has room for it.
    pub(crate) fn next_resend_size(&self) -> Option<usize> {
        let (message, _) = self.in_flight.next_unsent()?;
        (self.in_flight.on_the_wire() < self.window()).then(|| message.size())
    }

    /// Sends that message again. Only after [`Session::has_room`]. One that this server refuses isn't, nor one whose time has
    /// passed; unless the server's session may know it already: there it must be (`MQTT-4.4.0-1`).
    pub(crate) fn resend(&mut self, now: Instant) {
        let Some((message, dup)) = self.in_flight.next_unsent() else { return };
        let rejection = self.terms.rejection(message, now);
        if rejection.is_some() || (!dup && message.has_expired(now)) {
            let Some((sequence, topic)) = self.in_flight.give_up_next() else { return };
            self.events.push_back(match rejection {
                Some(rejection) => Event::Rejected(sequence, topic, rejection),
                None => Event::Expired(sequence),
            });
            return;
        }
        if let Some((message, id, dup)) = self.in_flight.resend(now, self.options.ack_timeout) {
            self.wire.publish(message, id, dup, now, &mut self.output);
            self.counters.published += 1;
            self.counters.resent += 1;
        }
    }
}
