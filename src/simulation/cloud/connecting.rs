//! The beginning and the end of a connection.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::behaviour::happens;
use super::connection::{Established, Phase};
use super::message::Origin;
use super::session::{Session, SessionKey};
use super::timers::Action;
use super::{Cloud, ConnectionId, NOT_AUTHORIZED, Output, SESSION_TAKEN_OVER, seconds};
use crate::limits::MAX_CLIENT_ID_BYTES;
use crate::mqtt::Protocol;
use crate::simulation::server::heard::Connect;
use crate::simulation::server::judge::{CameHere, Pace, SentToClient};
use crate::simulation::server::say::{self, Accepted};

/// DISCONNECT that has the will published (MQTT 5, 3.14.2.1).
const WITH_WILL: u8 = 0x04;

impl Cloud {
    pub(super) fn connect(&mut self, id: ConnectionId, connect: Connect, now: Instant) {
        let key = SessionKey::new(&connect.client_id, connect.protocol);
        self.judge_connect(id, &connect, &key, now);
        match self.services.admits(id, &connect.client_id, now) {
            Ok(None) => {}
            Ok(Some(says_why)) => return self.turn_away(id, connect, says_why, now),
            Err(broken) => {
                self.fault(id, &broken, now);
                return self.close(id, None, now);
            }
        }
        let same = self.connections.iter().filter(|(other, connection)| {
            **other != id && connection.connect().is_some_and(|other| other.client_id == connect.client_id)
        });
        for other in same.map(|(other, _)| *other).collect::<Vec<_>>() {
            self.close(other, Some(SESSION_TAKEN_OVER), now);
        }
        let protocol = connect.protocol;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.phase = Phase::Connecting(Box::new(connect));
        }
        let Some(delay) = self.behaviour.connack.pick(&mut self.random) else { return };
        self.later(
            now + delay,
            match (self.behaviour.refuses_connect, protocol) {
                (None, _) => Action::ConnAck(id),
                (Some((code, _)), Protocol::Mqtt311) | (Some((_, code)), Protocol::Mqtt5) => Action::Refuse(id, code),
            },
        );
    }

    /// Its certificate doesn't count.
    fn turn_away(&mut self, id: ConnectionId, connect: Connect, says_why: bool, now: Instant) {
        let code = if connect.protocol == Protocol::Mqtt5 { NOT_AUTHORIZED } else { 5 };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.phase = Phase::Connecting(Box::new(connect));
        }
        match says_why {
            true => self.later(now, Action::Refuse(id, code)),
            false => self.close(id, None, now),
        }
    }

    fn judge_connect(&mut self, id: ConnectionId, connect: &Connect, key: &SessionKey, now: Instant) {
        let client_id = &connect.client_id;
        if client_id.is_empty() || client_id.starts_with('$') || client_id.len() > MAX_CLIENT_ID_BYTES {
            self.fault(id, &format!("the client id {client_id:?}, which IoT Core doesn't take"), now);
        }
        if connect.keep_alive == 0 {
            self.fault(id, "CONNECT without a keep alive, which IoT Core doesn't have", now);
        }
        let expected = self.behaviour.expected;
        if self.restarted_after.take_if(|last| id > *last).is_some() {
            self.sessions.values_mut().for_each(|session| session.client.forget());
            self.publishing = Pace::default();
            self.last_connect = None;
        }
        let last = self.last_connect.replace((key.clone(), now));
        let Some((last_key, at)) = last else { return };
        if let Some(apart) = expected.connects_apart
            && now - at + expected.jitter < apart
        {
            self.fault(id, &format!("CONNECT {:?} after the one before", now - at), now);
        }
        // A client keeps the state of one session, and takes another's identifiers for its own.
        if last_key != *key {
            self.sessions.values_mut().for_each(|session| session.client.forget());
        }
    }

    pub(super) fn refuse(&mut self, id: ConnectionId, code: u8, now: Instant) {
        if let Some(protocol) = self.connections.get(&id).and_then(|connection| connection.protocol()) {
            self.say(id, say::refused(protocol, code));
            self.close(id, None, now);
        }
    }

    pub(super) fn connack(&mut self, id: ConnectionId, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Phase::Connecting(connect) = &connection.phase else { return };
        let connect = Connect::clone(connect);
        connection.last_received = now;
        let key = SessionKey::new(&connect.client_id, connect.protocol);
        self.end_sessions(now);
        if happens(&mut self.random, self.behaviour.sessions.forgotten) || connect.clean {
            self.forget(&key);
        }
        let expiry = self.expiry(&connect);
        let session_present = self.sessions.contains_key(&key);
        let session = self.sessions.entry(key.clone()).or_insert_with(Session::new);
        (session.active, session.ends_at, session.expiry) = (Some(id), None, expiry);
        let (least, most) = self.behaviour.announced.keep_alive;
        let keep_alive = if connect.keep_alive == 0 { most } else { connect.keep_alive.clamp(least, most) };
        let accepted = Accepted {
            session_present,
            session_expiry: (seconds(expiry) != connect.session_expiry).then(|| seconds(expiry)),
            keep_alive: (keep_alive != connect.keep_alive).then_some(keep_alive),
        };
        self.say(id, say::connack(connect.protocol, &accepted, &self.behaviour.announced));
        let closes = self.behaviour.closes;
        let established = Established {
            connect,
            key: key.clone(),
            announced: self.behaviour.announced.clone(),
            keep_alive: Duration::from_secs(keep_alive.into()),
            is_new_session: !session_present,
            came: CameHere::default(),
            sent: SentToClient::default(),
            requests: Default::default(),
            packets_left: closes.after_packets.map(|(min, max)| self.random.u32(min..=max.max(min))),
            last_ack: now,
            aliases: BTreeMap::new(),
            next_stored: now,
            pace: Pace::default(),
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.phase = Phase::Connected(Box::new(established));
        }
        if let Some(after) = closes.after {
            let after = after.pick(&mut self.random);
            self.later(now + after, Action::Close(id, closes.reason));
        }
        self.begin_flood(now);
        self.deliver(&key, now);
    }

    /// How long the session of a client lives when that has gone.
    fn expiry(&self, connect: &Connect) -> Duration {
        let sessions = &self.behaviour.sessions;
        match connect.protocol {
            Protocol::Mqtt311 if connect.clean => Duration::ZERO,
            Protocol::Mqtt311 => sessions.expiry_3_1_1,
            Protocol::Mqtt5 => Duration::from_secs(connect.session_expiry.into()).min(sessions.expiry_at_most),
        }
    }

    /// The client has said DISCONNECT.
    pub(super) fn disconnected(&mut self, id: ConnectionId, code: u8, expiry: Option<u32>, now: Instant) {
        if code >= 0x80 {
            self.fault(
                id,
                &format!("DISCONNECT with 0x{code:02x}: the client says that the server broke the rules"),
                now,
            );
        }
        let established = self.connections.get_mut(&id).and_then(|it| it.established());
        if let Some(key) = established.map(|established| established.key.clone())
            && let (Some(seconds), Some(session)) = (expiry, self.sessions.get_mut(&key))
        {
            session.expiry = Duration::from_secs(seconds.into());
        }
        let input = self.connections.get_mut(&id).map(|it| std::mem::take(&mut it.input)).unwrap_or_default();
        self.output.push_back((id, Output::Close));
        self.ended(id, code == WITH_WILL || code >= 0x80, now);
        // What comes now, the client mustn't send.
        let mut departed = super::Connection::new(now);
        (departed.phase, departed.input) = (Phase::Departed, input);
        self.connections.insert(id, departed);
    }

    /// A connection has ended; the will is published unless the client has said goodbye.
    pub(super) fn ended(&mut self, id: ConnectionId, with_will: bool, now: Instant) {
        let Some(connection) = self.connections.remove(&id) else { return };
        let Phase::Connected(established) = connection.phase else { return };
        let Some(session) = self.sessions.get_mut(&established.key).filter(|it| it.active == Some(id)) else { return };
        session.active = None;
        session.ends_at = Some(now + session.expiry);
        self.begin_flood(now);
        self.end_sessions(now);
        if let Some(will) = established.connect.will.filter(|_| with_will) {
            self.wills.push((will.clone(), now));
            self.route(will, Origin::Will, now);
        }
    }

    /// Forgets the sessions whose time is over.
    pub(super) fn end_sessions(&mut self, now: Instant) {
        let is_over = |session: &Session| session.ends_at.is_some_and(|at| at <= now);
        let over = self.sessions.iter().filter(|(_, session)| is_over(session));
        for key in over.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.forget(&key);
        }
    }

    /// Forgets a session, and what it still had to deliver.
    pub(super) fn forget(&mut self, key: &SessionKey) {
        let Some(session) = self.sessions.remove(key) else { return };
        let in_flight = session.in_flight.iter().map(|sent| &sent.copy);
        for copy in in_flight.chain(&session.queue) {
            self.offered[copy.message].given_up += 1;
        }
    }
}
