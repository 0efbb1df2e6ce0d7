//! What the server does later.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::behaviour::Reply;
use super::message::{Downlink, Origin};
use super::session::SessionKey;
use super::{Cloud, ConnectionId, KEEP_ALIVE_TIMEOUT};

#[derive(Debug)]
pub(super) enum Action {
    ConnAck(ConnectionId),
    /// CONNACK with a failure, and the end.
    Refuse(ConnectionId, u8),
    PubAck(ConnectionId, u16, u8),
    /// SUBACK or UNSUBACK: the packet identifier is free again.
    Answer(ConnectionId, u16, Vec<u8>),
    Say(ConnectionId, Vec<u8>),
    Close(ConnectionId, Option<u8>),
    /// What was stored may go on.
    Deliver(SessionKey),
    /// A message has had no PUBACK for long.
    Repeat(ConnectionId, u16),
    /// The server gives a message up; it is this one of the offered.
    GiveUp(SessionKey, u16, usize),
}

impl Cloud {
    /// When [`Cloud::handle_timeout`] is due.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let actions = self.due.keys().next().map(|(at, _)| *at);
        let silent = self.connections.values().filter_map(|connection| connection.silent_until()).min();
        let session = self.sessions.values().filter_map(|session| session.ends_at).min();
        [actions, silent, session, self.next_flood, self.services.timeout()].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(at) = self.timeout().filter(|at| *at <= now) {
            if let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= at) {
                let action = entry.remove();
                self.act(action, now);
            } else if self.next_flood.is_some_and(|next| next <= at) {
                self.flood(now);
            } else if self.services.timeout().is_some_and(|next| next <= at) {
                self.services_say(now);
            } else {
                self.end_silent(now);
                self.end_sessions(now);
            }
        }
    }

    pub(super) fn later(&mut self, at: Instant, action: Action) {
        self.last_action += 1;
        self.due.insert((at, self.last_action), action);
    }

    /// An acknowledgement, or another answer to a packet: as late as `reply` says, or never.
    pub(super) fn answer(&mut self, id: ConnectionId, reply: Reply, action: Action, now: Instant) {
        let Some(delay) = reply.pick(&mut self.random) else { return };
        let in_order = !self.behaviour.acknowledges_in_any_order;
        let Some(established) = self.connections.get_mut(&id).and_then(|connection| connection.established()) else {
            return;
        };
        let mut at = now + delay;
        if in_order {
            at = at.max(established.last_ack);
            established.last_ack = at;
        }
        self.later(at, action);
    }

    fn act(&mut self, action: Action, now: Instant) {
        match action {
            Action::ConnAck(id) => self.connack(id, now),
            Action::Refuse(id, code) => self.refuse(id, code, now),
            Action::PubAck(id, packet, code) => self.puback(id, packet, code),
            Action::Answer(id, packet, bytes) => {
                if let Some(established) = self.connections.get_mut(&id).and_then(|it| it.established()) {
                    established.requests.remove(&packet);
                    self.say(id, bytes);
                }
            }
            Action::Say(id, bytes) => {
                if self.connections.get_mut(&id).is_some_and(|it| it.established().is_some()) {
                    self.say(id, bytes);
                }
            }
            Action::Close(id, reason) => self.close(id, reason, now),
            Action::Deliver(key) => self.deliver(&key, now),
            Action::Repeat(id, packet) => self.repeat(id, packet, now),
            Action::GiveUp(key, packet, message) => self.give_up(&key, packet, message, now),
        }
    }

    /// What Jobs and Commands have to say now.
    fn services_say(&mut self, now: Instant) {
        self.services.handle_timeout(now);
        while let Some(said) = self.services.next_said() {
            let is_there = |id| self.connections.get_mut(&id).is_some_and(|it| it.established().is_some());
            if !said.to.is_none_or(is_there) {
                continue;
            }
            let place = self.offered.len();
            self.route(said.message, Origin::Service, now);
            if let Some(command) = said.command.filter(|_| self.offered.len() > place) {
                self.services.offered(&command, place);
            }
        }
    }

    /// Ends the connections on which nothing has come for too long.
    fn end_silent(&mut self, now: Instant) {
        let is_silent = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let silent = self.connections.iter().filter(|(_, connection)| is_silent(connection.silent_until()));
        for id in silent.map(|(id, _)| *id).collect::<Vec<_>>() {
            if self.behaviour.expected.keep_alive {
                self.fault(id, "nothing for 1.5 times the keep alive [MQTT-3.1.2-20]", now);
            }
            self.close(id, Some(KEEP_ALIVE_TIMEOUT), now);
        }
    }

    /// A flood begins if there is to be one and a client is there.
    pub(super) fn begin_flood(&mut self, now: Instant) {
        let is_wanted = self.behaviour.flood.is_some() && self.is_connected();
        self.next_flood = is_wanted.then(|| self.next_flood.unwrap_or(now));
    }

    fn flood(&mut self, now: Instant) {
        let Some(flood) = self.behaviour.flood.clone().filter(|_| self.is_connected()) else {
            self.next_flood = None;
            return;
        };
        self.floods += 1;
        let payload = format!("{:>1$}", self.floods, flood.size);
        let message =
            Downlink { topic: flood.topic, payload: Bytes::from(payload), qos: flood.qos, ..Downlink::default() };
        self.route(message, Origin::Flood, now);
        self.next_flood = Some(now + flood.every.max(Duration::from_micros(1)));
    }
}
