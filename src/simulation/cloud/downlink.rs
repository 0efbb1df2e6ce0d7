//! What goes to the client.

use std::time::{Duration, Instant};

use super::connection::Established;
use super::message::{Downlink, Offered, Origin};
use super::session::{InFlight, MessageCopy, SessionKey};
use super::timers::Action;
use super::{Cloud, ConnectionId, seconds};
use crate::limits::MAX_IN_FLIGHT;
use crate::mqtt::Protocol;
use crate::simulation::server::judge::Transmission;
use crate::simulation::server::say::{self, Publishing};

/// A PUBLISH as it goes out.
#[derive(Debug, Clone, Copy)]
struct Packet {
    /// 0 with QoS 0.
    id: u16,
    dup: bool,
    is: Transmission,
}

impl Cloud {
    /// A message is published: it goes to every session that is subscribed to its topic.
    pub(super) fn route(&mut self, message: Downlink, origin: Origin, now: Instant) {
        if message.retain && message.payload.is_empty() {
            self.retained.remove(&message.topic);
        } else if message.retain {
            self.retained.insert(message.topic.clone(), message.clone());
        }
        self.route_to(message, origin, None, now);
    }

    /// For the subscription to one filter only, if there is one given.
    pub(super) fn route_to(&mut self, message: Downlink, origin: Origin, only: Option<&str>, now: Instant) {
        self.end_sessions(now);
        let place = self.offered.len();
        let delivery = &self.behaviour.downlink;
        let (overlap, parent) = (delivery.overlap, delivery.hash_matches_parent);
        let expires_at = message.properties.expires_in.map(|expiry| now + Duration::from_secs(expiry.into()));
        let (mut copies, mut owed) = (0, 0);
        let (mut keys, mut at_once) = (Vec::new(), Vec::new());
        for (key, session) in &mut self.sessions {
            let matching = match only.and_then(|filter| session.subscriptions.get(filter)) {
                Some(subscription) => vec![(subscription.qos, subscription.identifier.into_iter().collect())],
                None if only.is_some() || (origin == Origin::Client && !delivery.echoes) => Vec::new(),
                None => session.copies(&message.topic, overlap, parent),
            };
            for (granted, identifiers) in matching {
                let qos = message.qos.min(granted);
                if qos == 0 && session.active.is_none() {
                    continue;
                }
                copies += 1;
                owed += usize::from(qos > 0);
                let copy = MessageCopy {
                    message: place,
                    qos,
                    retain: only.is_some(),
                    identifiers,
                    expires_at,
                    is_stored: session.active.is_none(),
                };
                match session.active.filter(|_| qos == 0) {
                    // It needs no room.
                    Some(id) => at_once.push((id, copy)),
                    None => {
                        session.queue.push_back(copy);
                        keys.push(key.clone());
                    }
                }
            }
        }
        if copies == 0 && origin != Origin::Device {
            return;
        }
        self.offered.push(Offered {
            message,
            origin,
            at: now,
            copies,
            owed,
            sent: 0,
            first_sent: None,
            acknowledged: 0,
            acknowledged_at: None,
            given_up: 0,
        });
        for (id, copy) in at_once {
            self.transmit(id, &copy, Packet { id: 0, dup: false, is: Transmission::First }, now);
        }
        for key in keys {
            self.deliver(&key, now);
        }
    }

    /// Sends what may be sent: first again what was sent on earlier connections (`MQTT-4.4.0-1`), then what waits.
    pub(super) fn deliver(&mut self, key: &SessionKey, now: Instant) {
        while self.deliver_next(key, now).is_some() {}
    }

    fn deliver_next(&mut self, key: &SessionKey, now: Instant) -> Option<()> {
        let session = self.sessions.get_mut(key)?;
        let id = session.active?;
        let established = self.connections.get_mut(&id)?.established()?;
        let window = MAX_IN_FLIGHT.min(established.connect.receive_maximum.into());
        if session.in_flight.iter().filter(|sent| sent.on == id).count() >= window {
            return None;
        }
        if let Some(sent) = session.in_flight.iter_mut().find(|sent| sent.on != id) {
            sent.on = id;
            let (packet, copy) = (sent.id, sent.copy.clone());
            let packet = Packet { id: packet, dup: self.behaviour.downlink.resends_with_dup, is: Transmission::First };
            self.transmit(id, &copy, packet, now);
            return Some(());
        }
        if session.queue.front()?.is_stored && established.next_stored > now {
            return None;
        }
        let copy = session.queue.pop_front()?;
        if copy.expires_at.is_some_and(|at| at <= now) {
            self.offered[copy.message].given_up += 1;
            return Some(());
        }
        if let Some(rate) = self.behaviour.downlink.stored_per_second.filter(|_| copy.is_stored) {
            established.next_stored = now + Duration::from_secs(1) / rate.max(1);
            let at = established.next_stored;
            self.later(at, Action::Deliver(key.clone()));
        }
        self.send_first(key, id, copy, now);
        Some(())
    }

    fn send_first(&mut self, key: &SessionKey, id: ConnectionId, copy: MessageCopy, now: Instant) {
        let Some(established) = self.connections.get_mut(&id).and_then(|it| it.established()) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        let packet = session.allocate(|packet| established.sent.uses(packet));
        if !self.transmit(id, &copy, Packet { id: packet, dup: false, is: Transmission::First }, now) {
            self.offered[copy.message].given_up += 1;
            return;
        }
        if let Some(after) = self.behaviour.downlink.gives_up_after {
            self.later(now + after, Action::GiveUp(key.clone(), packet, copy.message));
        }
        if let Some(session) = self.sessions.get_mut(key) {
            session.in_flight.push_back(InFlight { id: packet, copy, on: id });
        }
    }

    /// Whether it is sent: a packet larger than the client takes isn't (`MQTT-3.1.2-24` of 5).
    fn transmit(&mut self, id: ConnectionId, copy: &MessageCopy, packet: Packet, now: Instant) -> bool {
        let Some(Established { connect, sent, .. }) = self.connections.get_mut(&id).and_then(|it| it.established())
        else {
            return false;
        };
        let offered = &mut self.offered[copy.message];
        let how = Publishing {
            id: packet.id,
            qos: copy.qos,
            retain: copy.retain,
            dup: packet.dup,
            identifiers: &copy.identifiers,
            expires_in: copy.expires_at.map(|at| seconds(at.saturating_duration_since(now))),
        };
        let bytes = say::publish(connect.protocol, &offered.message, &how);
        if connect.maximum_packet_size.is_some_and(|maximum| bytes.len() > maximum as usize) {
            return false;
        }
        offered.sent += 1;
        offered.first_sent.get_or_insert(now);
        if packet.id > 0 {
            sent.sent(packet.id, packet.is);
        }
        let repeats = self.behaviour.downlink.repeats_after.filter(|_| connect.protocol == Protocol::Mqtt311);
        self.say(id, bytes);
        if let Some(after) = repeats.filter(|_| packet.id > 0) {
            self.later(now + after, Action::Repeat(id, packet.id));
        }
        true
    }

    /// Sends a message again that has had no PUBACK on this connection.
    pub(super) fn repeat(&mut self, id: ConnectionId, packet: u16, now: Instant) {
        let Some(established) = self.connections.get_mut(&id).and_then(|it| it.established()) else { return };
        let Some(session) = self.sessions.get(&established.key) else { return };
        let unanswered = session.in_flight.iter().find(|sent| sent.id == packet && sent.on == id);
        if let Some(copy) = unanswered.map(|sent| sent.copy.clone()) {
            let packet =
                Packet { id: packet, dup: self.behaviour.downlink.resends_with_dup, is: Transmission::Repeated };
            self.transmit(id, &copy, packet, now);
        }
    }

    pub(super) fn give_up(&mut self, key: &SessionKey, packet: u16, message: usize, now: Instant) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let sent = session.in_flight.iter().position(|sent| sent.id == packet && sent.copy.message == message);
        if sent.and_then(|sent| session.in_flight.remove(sent)).is_some() {
            self.offered[message].given_up += 1;
            self.deliver(key, now);
        }
    }

    /// PUBACK from the client.
    pub(super) fn acknowledged(&mut self, id: ConnectionId, packet: u16, now: Instant) {
        let Some(established) = self.connections.get_mut(&id).and_then(|it| it.established()) else { return };
        let key = established.key.clone();
        if let Some(fault) = established.sent.puback(packet) {
            self.fault(id, &fault, now);
        }
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let Some(sent) = session.in_flight.iter().position(|sent| sent.id == packet && sent.on == id) else { return };
        if let Some(sent) = session.in_flight.remove(sent) {
            let offered = &mut self.offered[sent.copy.message];
            offered.acknowledged += 1;
            offered.acknowledged_at.get_or_insert(now);
        }
        self.deliver(&key, now);
    }
}
