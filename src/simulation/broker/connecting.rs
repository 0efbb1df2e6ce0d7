//! The beginning and the end of a connection.

use std::time::Instant;

use super::session::{Connection, Established, Phase, Session};
use super::{Action, Broker};
use crate::mqtt::Protocol;
use crate::simulation::server::heard::Connect;
use crate::simulation::server::judge::{CameHere, SentToClient};
use crate::simulation::server::say::{self, Accepted};
use crate::simulation::server::{ConnectionId, Output, SESSION_TAKEN_OVER};

impl Broker {
    pub(super) fn connect(&mut self, id: ConnectionId, connect: Connect, now: Instant) {
        for other in self.connections.keys().copied().filter(|other| *other != id).collect::<Vec<_>>() {
            if self.connections.get(&other).is_some_and(|other| other.protocol().is_some()) {
                self.close(other, Some(SESSION_TAKEN_OVER), now);
            }
        }
        if std::mem::take(&mut self.is_another_process)
            && let Some(session) = &mut self.session
        {
            session.client.forget();
        }
        let protocol = connect.protocol;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.phase = Phase::Connecting(Box::new(connect));
        }
        let Some(delay) = self.behaviour.connack.pick(&mut self.random) else { return };
        let action = match (self.behaviour.refuses_connect, protocol) {
            (None, _) => Action::ConnAck(id),
            (Some((code, _)), Protocol::Mqtt311) | (Some((_, code)), Protocol::Mqtt5) => Action::Refuse(id, code),
        };
        self.later(now + delay, action);
    }

    pub(super) fn connack(&mut self, id: ConnectionId, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Phase::Connecting(connect) = &connection.phase else { return };
        let connect = Connect::clone(connect);
        connection.last_received = now;
        if connect.clean {
            self.session = None;
        }
        let session_present = self.session.is_some();
        self.session.get_or_insert_with(Session::default).active = Some(id);
        let announced = self.behaviour.announced.clone();
        let accepted = Accepted { session_present, session_expiry: None, keep_alive: None };
        self.say(id, say::connack(connect.protocol, &accepted, &announced));
        let established = Established {
            connect,
            announced,
            is_new_session: !session_present,
            came: CameHere::default(),
            sent: SentToClient::default(),
            last_ack: now,
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.phase = Phase::Connected(Box::new(established));
        }
        if let Some((after, reason)) = self.behaviour.ends {
            let after = after.pick(&mut self.random);
            self.later(now + after, Action::Close(id, reason));
        }
        self.deliver(now);
    }

    /// The client has said DISCONNECT.
    pub(super) fn disconnected(&mut self, id: ConnectionId, code: u8, now: Instant) {
        if code >= 0x80 {
            self.fault(
                id,
                &format!("DISCONNECT with 0x{code:02x}: the client says that the broker broke the rules"),
                now,
            );
        }
        let input = self.connections.get_mut(&id).map(|it| std::mem::take(&mut it.input)).unwrap_or_default();
        self.output.push_back((id, Output::Close));
        self.ended(id, code == 0x04 || code >= 0x80, now);
        // What comes now, the client mustn't send.
        let mut departed = Connection::new(now);
        (departed.phase, departed.input) = (Phase::Departed, input);
        self.connections.insert(id, departed);
    }

    /// A connection has ended; the will is published unless the client has said goodbye.
    pub(super) fn ended(&mut self, id: ConnectionId, with_will: bool, now: Instant) {
        let Some(connection) = self.connections.remove(&id) else { return };
        let Phase::Connected(established) = connection.phase else { return };
        if let Some(session) = self.session.as_mut().filter(|session| session.active == Some(id)) {
            session.active = None;
        }
        let five = established.connect.protocol == Protocol::Mqtt5;
        if (five && established.connect.session_expiry == 0) || (!five && established.connect.clean) {
            self.session = None;
        }
        if let Some(will) = established.connect.will.filter(|_| with_will) {
            self.route(will, None, now);
        }
    }
}
