//! What goes to the client, and what it is subscribed to.

use std::time::{Duration, Instant};

use super::session::{Connection, InFlight, MessageCopy, Subscription};
use super::{Action, Broker, Published};
use crate::mqtt::Protocol;
use crate::simulation::server::behaviour::FilterAnswer;
use crate::simulation::server::heard::Subscribe;
use crate::simulation::server::judge::Transmission;
use crate::simulation::server::say::{self, Publishing};
use crate::simulation::server::{ConnectionId, Downlink, matches};

impl Broker {
    /// A device publishes, with a QoS of up to 2.
    pub(in crate::simulation) fn publish(&mut self, message: Downlink, now: Instant) {
        let place = self.published.len();
        let published = Published { message: message.clone(), at: now, sent: 0, order: None, acknowledged_at: None };
        self.published.push(published);
        self.route(message, Some(place), now);
    }

    /// A message of a device, or of the client itself.
    pub(super) fn route(&mut self, message: Downlink, place: Option<usize>, now: Instant) {
        if message.retain && message.payload.is_empty() {
            self.retained.remove(&message.topic);
        } else if message.retain {
            self.retained.insert(message.topic.clone(), (message.clone(), place));
        }
        let Some(copy) = self.session.as_ref().and_then(|session| session.copy(&message, place)) else { return };
        self.enqueue(copy, now);
    }

    fn enqueue(&mut self, copy: MessageCopy, now: Instant) {
        let Some(session) = &mut self.session else { return };
        match (copy.message.qos, session.active) {
            (0, Some(id)) => {
                self.transmit(id, &copy, 0, false);
            }
            (0, None) => {}
            _ => {
                session.queue.push_back(copy);
                self.deliver(now);
            }
        }
    }

    /// Sends what may be sent: first again what was sent on earlier connections (`MQTT-4.4.0-1`), then what waits.
    pub(super) fn deliver(&mut self, now: Instant) {
        while self.deliver_next(now).is_some() {}
    }

    fn deliver_next(&mut self, _now: Instant) -> Option<()> {
        let session = self.session.as_mut()?;
        let id = session.active?;
        let established = self.connections.get_mut(&id)?.established()?;
        let window = self.behaviour.window.min(established.connect.receive_maximum.into()).max(1);
        if session.in_flight.iter().filter(|sent| sent.on == id).count() >= window {
            return None;
        }
        if let Some(sent) = session.in_flight.iter_mut().find(|sent| sent.on != id) {
            sent.on = id;
            let (packet, copy) = (sent.id, sent.copy.clone());
            self.transmit(id, &copy, packet, true);
            return Some(());
        }
        let copy = session.queue.pop_front()?;
        let packet = session.allocate(|packet| established.sent.uses(packet));
        if self.transmit(id, &copy, packet, false)
            && let Some(session) = &mut self.session
        {
            session.in_flight.push_back(InFlight { id: packet, copy, on: id });
        }
        Some(())
    }

    /// Whether the client takes a packet of that size.
    fn transmit(&mut self, id: ConnectionId, copy: &MessageCopy, packet: u16, dup: bool) -> bool {
        let Some(established) = self.connections.get_mut(&id).and_then(Connection::established) else { return false };
        let how = Publishing {
            id: packet,
            qos: copy.message.qos,
            retain: copy.message.retain,
            dup,
            identifiers: &copy.identifiers,
            expires_in: copy.message.properties.expires_in,
        };
        let bytes = say::publish(established.connect.protocol, &copy.message, &how);
        if established.connect.maximum_packet_size.is_some_and(|most| bytes.len() > most as usize) {
            return false;
        }
        if copy.message.qos > 0 {
            established.sent.sent(packet, Transmission::First);
        }
        if let Some(published) = copy.place.and_then(|place| self.published.get_mut(place)) {
            published.sent += 1;
            if published.order.is_none() {
                self.last_order += 1;
                published.order = Some(self.last_order);
            }
        }
        self.say(id, bytes);
        true
    }

    /// PUBACK from the client.
    pub(super) fn acknowledged(&mut self, id: ConnectionId, packet: u16, now: Instant) {
        let Some(established) = self.connections.get_mut(&id).and_then(Connection::established) else { return };
        if let Some(fault) = established.sent.puback(packet) {
            self.fault(id, &fault, now);
        }
        let Some(session) = &mut self.session else { return };
        let place = session.in_flight.iter().position(|sent| sent.id == packet && sent.on == id);
        let Some(sent) = place.and_then(|place| session.in_flight.remove(place)) else { return };
        if let Some(published) = sent.copy.place.and_then(|place| self.published.get_mut(place)) {
            published.acknowledged_at.get_or_insert(now);
        }
        self.deliver(now);
    }

    pub(super) fn subscribe(&mut self, id: ConnectionId, subscribe: Subscribe, now: Instant) {
        let Subscribe { id: packet, filters, identifier } = subscribe;
        let answer = |filter: &String| self.behaviour.filters.get(filter).copied();
        let ends = filters.iter().filter_map(|(filter, _)| answer(filter)).find_map(|answer| match answer {
            FilterAnswer::Closes => Some(None),
            FilterAnswer::Disconnects(code) => Some(Some(code)),
            FilterAnswer::Downgraded | FilterAnswer::Fails(_) => None,
        });
        if let Some(reason) = ends {
            return self.close(id, reason, now);
        }
        let answers: Vec<Option<FilterAnswer>> = filters.iter().map(|(filter, _)| answer(filter)).collect();
        let Some(protocol) = self.connections.get(&id).and_then(Connection::protocol) else { return };
        let Some(session) = &mut self.session else { return };
        let (mut codes, mut granted) = (Vec::new(), Vec::new());
        for ((filter, options), answer) in filters.into_iter().zip(answers) {
            if let Some(FilterAnswer::Fails(code)) = answer {
                session.subscriptions.remove(&filter);
                codes.push(if protocol == Protocol::Mqtt5 { code } else { 0x80 });
                continue;
            }
            let qos = if answer == Some(FilterAnswer::Downgraded) { 0 } else { options & 3 };
            let subscription = Subscription { options, identifier, qos };
            let is_new = session.subscriptions.insert(filter.clone(), subscription).is_none();
            codes.push(qos);
            // Retain Handling (MQTT 5, 3.8.3.1); in MQTT 3.1.1 each time.
            if options >> 4 & 3 == 0 || (options >> 4 & 3 == 1 && is_new) {
                granted.push((filter, qos));
            }
        }
        let delay = self.behaviour.suback.pick(&mut self.random);
        if let Some(delay) = delay {
            self.answer(id, delay, Action::Say(id, say::suback(protocol, packet, &codes)), now);
        }
        for (filter, qos) in granted {
            let found = self.retained.values().filter(|(message, _)| matches(&filter, &message.topic, true));
            for (message, place) in found.cloned().collect::<Vec<_>>() {
                let message = Downlink { qos: message.qos.min(qos), ..message };
                self.enqueue(MessageCopy { message, place, identifiers: identifier.into_iter().collect() }, now);
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, id: ConnectionId, packet: u16, filters: &[String], now: Instant) {
        let Some(protocol) = self.connections.get(&id).and_then(Connection::protocol) else { return };
        let Some(session) = &mut self.session else { return };
        let codes: Vec<u8> = filters
            .iter()
            .map(|filter| if session.subscriptions.remove(filter).is_some() { 0 } else { 0x11 })
            .collect();
        self.answer(id, Duration::ZERO, Action::Say(id, say::unsuback(protocol, packet, &codes)), now);
    }
}
