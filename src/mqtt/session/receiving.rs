//! Messages from the server, and their acknowledgements.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use jiff::Timestamp;

use super::acks::{Ack, Arrival, Digest, Room};
use super::arriving::Arriving;
use super::event::{End, Event};
use super::{Session, State};
use crate::limits::MAX_PROPERTIES;
use crate::message::{AckToken, Inbound, Qos};
use crate::mqtt::wire::{Head, Incoming, PacketKind, Received, TooLarge, Unreadable};
use crate::mqtt::{Malformed, Protocol};

/// How long a message beyond the Receive Maximum may wait for room.
const OVERRUN_LIMIT: Duration = Duration::from_secs(2);

/// Tells a message from others with its identifier.
fn digest_of(head: &Head, content: &[u8]) -> Digest {
    Digest::of(head.topic.as_str(), content)
}

impl Session {
    /// Takes whole packets from the front of `input` and leaves what is incomplete.
    pub(crate) fn receive(&mut self, input: &mut BytesMut, now: Instant, clock: Timestamp) -> Result<(), End> {
        self.heard(now);
        let was_passing = self.wire.is_passing();
        let was_blocked = self.options.waits_for_room && self.congested_since.is_some();
        let mut went_on = false;
        while !self.is_congested() {
            let kind = PacketKind::of(input);
            match self.receive_one(input, now, clock) {
                Ok(true) => went_on = true,
                Ok(false) => break,
                Err(end) => {
                    let is_fault = matches!(end, End::Violation(_) | End::Malformed(Malformed::Invalid(_)));
                    self.bad_subacks = if is_fault && kind == PacketKind::SubAck { self.bad_subacks + 1 } else { 0 };
                    self.is_answer_bad = is_fault && self.may_be_an_answer(kind);
                    return Err(end);
                }
            }
        }
        self.arriving = self.wire.arriving(input).filter(|_| self.is_connected() && !self.is_congested()).map(|come| {
            let since = self.arriving.filter(|_| !went_on).map_or(now, |before| before.since());
            Arriving::new(since, come)
        });
        if was_passing || was_blocked || self.wire.is_passing() {
            // The answers that are waited for come behind it.
            self.moved(0, now);
        }
        self.congested_since = match (self.is_congested(), self.congested_since) {
            (false, _) => None,
            (true, Some(since)) if !went_on => Some(since),
            (true, _) => Some(now),
        };
        Ok(())
    }

    /// Something has come.
    fn heard(&mut self, now: Instant) {
        let State::Connected(liveness) = &mut self.state else { return };
        let before = liveness.silence(now);
        liveness.last_received = now;
        if let Some(silence) = &mut self.silence {
            silence.received_after(before);
            self.tell_found(now);
        }
    }

    /// Whether a packet of this kind, which breaks the rules, may answer a message or a filter of ours.
    fn may_be_an_answer(&self, kind: PacketKind) -> bool {
        self.is_connected()
            && match kind {
                PacketKind::Publish => false,
                PacketKind::SubAck => self.bad_subacks > 1 && self.unanswered().next().is_some(),
                PacketKind::Other => self.birth.is_out() || self.in_flight.on_the_wire_traits().next().is_some(),
            }
    }

    /// Takes a whole packet; whether there was one.
    fn receive_one(&mut self, input: &mut BytesMut, now: Instant, clock: Timestamp) -> Result<bool, End> {
        let (held, before) = (self.overrun.take(), input.len());
        let packet = held.map_or_else(|| self.wire.decode(input), |packet| Ok(Some(packet)))?;
        self.note_taken(before - input.len(), packet.as_ref());
        let Some(packet) = packet else { return Ok(false) };
        match self.room_for(&packet) {
            Room::Enough => self.packet(packet, now, clock)?,
            Room::Exceeded if !self.options.waits_for_room => return Err(End::TooMany(None)),
            Room::Later | Room::Exceeded => self.overrun = Some(packet),
        }
        Ok(true)
    }

    /// Whether the connection has ended because something broke the rules of MQTT that may have been the answer to what was sent.
    pub(crate) fn was_answer_bad(&self) -> bool {
        self.is_answer_bad
    }

    /// Whether `packet` may be looked at now (`MQTT-3.3.4-9`). In MQTT 3.1.1 nothing is taken out of the input when it may not.
    pub(super) fn room_for(&self, packet: &Received) -> Room {
        if self.options.protocol != Protocol::Mqtt5 || !self.is_connected() {
            return Room::Enough;
        }
        let (head, digest, is_resent) = match packet {
            Received::Publish(Incoming { head, payload, duplicate, .. }) => {
                (head, digest_of(head, payload), *duplicate)
            }
            Received::TooLarge(TooLarge { head, size }) | Received::Unreadable(Unreadable { head, size, .. }) => {
                (head, digest_of(head, &size.to_be_bytes()), true)
            }
            _ => return Room::Enough,
        };
        match head.qos {
            Qos::AtMostOnce => Room::Enough,
            Qos::AtLeastOnce => self.owed.room(head.id, digest, head.is_exactly_once, is_resent),
        }
    }

    /// How long what is too much may wait without that anything is acknowledged: in MQTT 5 the server knows better.
    pub(super) fn congestion_limit(&self) -> Duration {
        match self.options.protocol {
            Protocol::Mqtt311 => self.options.ack_timeout,
            Protocol::Mqtt5 => self.options.ack_timeout.min(OVERRUN_LIMIT),
        }
    }

    pub(super) fn incoming(&mut self, mut publish: Incoming, now: Instant, received_at: Timestamp) -> Result<(), End> {
        self.counters.received += 1;
        let (token, again) = match self.arrival(&publish.head, &publish.payload, publish.duplicate)? {
            None if publish.head.qos == Qos::AtLeastOnce => return Ok(()),
            None => (None, false),
            Some((token, again)) => (Some(token), again),
        };
        publish.duplicate |= again;
        if self.is_copy(&publish, again, now) {
            self.counters.copies += 1;
            token.into_iter().for_each(|token| self.acknowledge(token));
            return Ok(());
        }
        let Incoming { head: Head { topic, qos, .. }, payload, retain, duplicate, properties, .. } = publish;
        let carried = properties.filter(|properties| {
            let few = properties.wire_len() <= MAX_PROPERTIES;
            if !few {
                self.events.push_back(Event::PropertiesLeftOut(topic.clone()));
            }
            few
        });
        let message = Inbound { topic, payload, qos, retain, duplicate, received_at, properties: carried };
        self.events.push_back(Event::Message(message.detached(), token));
        Ok(())
    }

    /// Whether it is a copy of a message that has come for another subscription.
    fn is_copy(&mut self, publish: &Incoming, again: bool, now: Instant) -> bool {
        let matching = match publish.subscriptions.is_empty() {
            true => Vec::new(),
            false => self.subscriptions.identifiers_for(&publish.head.topic),
        };
        // One for a subscription that is taken back, or a shared one, has no copy that comes for those that stand.
        let known: Vec<u32> =
            publish.subscriptions.iter().copied().filter(|identifier| matching.contains(identifier)).collect();
        let digest = || Digest::of(publish.head.topic.as_str(), &publish.payload);
        !known.is_empty() && self.copies.is_one(digest(), &known, again, now)
    }

    /// The token of a message that has to be acknowledged, and whether it came before; `None` if it hasn't to be, or is repeated.
    fn arrival(&mut self, head: &Head, content: &[u8], is_resent: bool) -> Result<Option<(AckToken, bool)>, End> {
        if head.qos == Qos::AtMostOnce {
            return Ok(None);
        }
        match self.owed.receive(head.id, digest_of(head, content), head.is_exactly_once, is_resent) {
            Arrival::New { token, again } => {
                self.owed.label_last(self.label_of_received(&head.topic));
                Ok(Some((token, again)))
            }
            Arrival::Repeated => Ok(None),
            Arrival::Unheard => {
                let before = self.output.len();
                self.wire.pubrec(head.id, &mut self.output);
                self.put(self.label_of_received(&head.topic), before);
                Ok(None)
            }
            // Nothing is looked at when there is no room for it.
            Arrival::TooMany => Err(End::TooMany(None)),
        }
    }

    /// A message larger than we take has come by.
    pub(super) fn too_large(&mut self, publish: TooLarge) -> Result<(), End> {
        let TooLarge { head, size } = publish;
        self.drop_incoming(&head, size)?;
        self.events.push_back(Event::TooLarge(head.topic, size));
        Ok(())
    }

    /// A message that can't be passed on.
    pub(super) fn unreadable(&mut self, publish: Unreadable) -> Result<(), End> {
        let Unreadable { head, size, why } = publish;
        self.drop_incoming(&head, size)?;
        self.events.push_back(Event::Unreadable(head.topic, why));
        Ok(())
    }

    /// A message that is dropped is acknowledged: the server would send it again and again.
    fn drop_incoming(&mut self, head: &Head, size: usize) -> Result<(), End> {
        self.counters.received += 1;
        if let Some((token, _)) = self.arrival(head, &size.to_be_bytes(), true)? {
            self.acknowledge(token);
        }
        Ok(())
    }

    /// A message from the server is taken care of. Its PUBACK goes out once all that came before it are, too.
    pub(crate) fn acknowledge(&mut self, token: AckToken) {
        self.owed.done(token);
        while matches!(self.state, State::Connected(_)) {
            let (label, before) = (self.owed.label_of_next(), self.output.len());
            let Some(ack) = self.owed.next(self.place()) else { break };
            match ack {
                Ack::PubAck(id) => self.wire.puback(id, &mut self.output),
                Ack::PubRec(id) => self.wire.pubrec(id, &mut self.output),
            }
            self.put(label, before);
        }
    }
}
