//! An MQTT server for one client over many connections: IoT Core, as good or as bad as its [`Behaviour`] says, and as strict.
//!
//! Pure: bytes and times go in, bytes come out, and every choice comes from one seed. It never breaks MQTT's rules in a way that
//! its behaviour doesn't name, and writes down where the client does ([`Cloud::faults`]).

pub(crate) mod behaviour;
mod connecting;
mod connection;
mod downlink;
pub(crate) mod message;
mod requests;
pub(crate) mod services;
mod session;
#[cfg(test)]
mod tests;
mod timers;
mod uplink;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;

use crate::mqtt::Protocol;
use crate::simulation::server::heard::{self, Heard};
use crate::simulation::server::judge::Pace;
use crate::simulation::server::say;
pub(crate) use crate::simulation::server::{ConnectionId, Output};
use crate::simulation::server::{
    KEEP_ALIVE_TIMEOUT, MALFORMED_PACKET, NOT_AUTHORIZED, PACKET_TOO_LARGE, PROTOCOL_ERROR, QUOTA_EXCEEDED,
    SESSION_TAKEN_OVER, Server, TOPIC_ALIAS_INVALID,
};
use behaviour::Behaviour;
use connection::{Connection, Phase};
use message::{Downlink, Offered, Origin, Taken};
use services::Services;
use session::{Session, SessionKey};
use timers::Action;

/// The server. Whoever drives it hands in what comes over the network, and calls [`Cloud::handle_timeout`] when
/// [`Cloud::timeout`] is there; after either, [`Cloud::next_output`] until there is no more.
#[derive(Debug)]
pub(crate) struct Cloud {
    behaviour: Behaviour,
    random: Rng,
    started: Instant,
    connections: BTreeMap<ConnectionId, Connection>,
    last_connection: u64,
    sessions: BTreeMap<SessionKey, Session>,
    /// What is to be done when, in order.
    due: BTreeMap<(Instant, u64), Action>,
    last_action: u64,
    next_flood: Option<Instant>,
    floods: u64,
    output: VecDeque<(ConnectionId, Output)>,
    retained: BTreeMap<String, Downlink>,
    taken: Vec<Taken>,
    refused: Vec<Bytes>,
    offered: Vec<Offered>,
    wills: Vec<(Downlink, Instant)>,
    faults: Vec<String>,
    /// The session of the last CONNECT, and when that came.
    last_connect: Option<(SessionKey, Instant)>,
    publishing: Pace,
    services: Services,
    /// A connection after this is the first of another process of the client.
    restarted_after: Option<ConnectionId>,
}

impl Cloud {
    pub(crate) fn new(behaviour: Behaviour, seed: u64, now: Instant) -> Cloud {
        Cloud {
            behaviour,
            random: Rng::with_seed(seed),
            started: now,
            connections: BTreeMap::new(),
            last_connection: 0,
            sessions: BTreeMap::new(),
            due: BTreeMap::new(),
            last_action: 0,
            next_flood: None,
            floods: 0,
            output: VecDeque::new(),
            retained: BTreeMap::new(),
            taken: Vec::new(),
            refused: Vec::new(),
            offered: Vec::new(),
            wills: Vec::new(),
            faults: Vec::new(),
            last_connect: None,
            publishing: Pace::default(),
            services: Services::new(seed),
            restarted_after: None,
        }
    }

    /// A transport connection was made.
    pub(crate) fn accept(&mut self, now: Instant) -> ConnectionId {
        self.handle_timeout(now);
        self.last_connection += 1;
        let id = ConnectionId(self.last_connection);
        self.connections.insert(id, Connection::new(now));
        id
    }

    /// The handshake of a connection has shown this certificate.
    pub(crate) fn shows(&mut self, id: ConnectionId, certificate: &str) {
        self.services.shows(id, certificate);
    }

    /// The certificates of the clients that are connected.
    pub(crate) fn certificates_in_use(&self) -> Vec<&str> {
        let active = self.sessions.values().filter_map(|session| session.active);
        active.filter_map(|id| self.services.certificate_of(id)).collect()
    }

    /// Bytes have come, split in any way.
    pub(crate) fn receive(&mut self, id: ConnectionId, bytes: &[u8], now: Instant) {
        self.handle_timeout(now);
        let Some(connection) = self.connections.get_mut(&id).filter(|_| !bytes.is_empty()) else { return };
        connection.last_received = now;
        connection.input.extend_from_slice(bytes);
        while let Some(heard) = self.next_packet(id) {
            match heard {
                Ok(heard) => self.packet(id, heard, now),
                Err(broken) => {
                    self.fault(id, &broken, now);
                    self.close(id, Some(MALFORMED_PACKET), now);
                }
            }
        }
        self.handle_timeout(now);
    }

    /// The transport has ended, and the server learns of it.
    pub(crate) fn lost(&mut self, id: ConnectionId, now: Instant) {
        self.handle_timeout(now);
        self.ended(id, true, now);
    }

    /// In order.
    pub(crate) fn next_output(&mut self) -> Option<(ConnectionId, Output)> {
        self.output.pop_front()
    }

    /// Another behaviour from now on. What CONNACK has announced, and what is on its way, stays.
    pub(crate) fn set_behaviour(&mut self, behaviour: Behaviour, now: Instant) {
        self.handle_timeout(now);
        self.behaviour = behaviour;
        self.begin_flood(now);
        self.handle_timeout(now);
    }

    /// Another device publishes. Returns its place in [`Cloud::offered`].
    pub(crate) fn publish(&mut self, message: Downlink, now: Instant) -> usize {
        self.handle_timeout(now);
        let place = self.offered.len();
        self.route(message, Origin::Device, now);
        self.handle_timeout(now);
        place
    }

    /// Somebody does something at AWS, or has Jobs and Commands behave otherwise.
    pub(crate) fn operate(&mut self, what: impl FnOnce(&mut Services), now: Instant) {
        self.handle_timeout(now);
        what(&mut self.services);
        self.handle_timeout(now);
    }

    /// Jobs and Commands.
    pub(crate) fn services(&self) -> &Services {
        &self.services
    }

    /// Ends the established connections for no reason that the client could know: with a DISCONNECT in MQTT 5 if there is a reason code.
    pub(crate) fn end_connections(&mut self, reason: Option<u8>, now: Instant) {
        self.handle_timeout(now);
        for id in self.established_connections() {
            self.close(id, reason, now);
        }
    }

    /// The client's process was restarted, or has let go of its session: on connections that are made from now on its packet
    /// identifiers begin anew, and what it had sent and not heard of comes as new messages if its disk knows of it. It may connect
    /// at once. What is still under way of earlier connections is judged as before.
    pub(crate) fn client_restarted(&mut self) {
        self.restarted_after = Some(ConnectionId(self.last_connection));
    }

    /// The server has lost all sessions.
    pub(crate) fn forget_sessions(&mut self, now: Instant) {
        self.end_connections(None, now);
        for key in self.sessions.keys().cloned().collect::<Vec<_>>() {
            self.forget(&key);
        }
    }

    /// Every PUBLISH that was accepted, in order.
    pub(crate) fn taken(&self) -> &[Taken] {
        &self.taken
    }

    /// The payloads of those that it has refused, in order.
    pub(crate) fn refused(&self) -> &[Bytes] {
        &self.refused
    }

    /// Every message for the client, in the order in which they were published. Of those that weren't published by
    /// [`Cloud::publish`], only what matched a subscription.
    pub(crate) fn offered(&self) -> &[Offered] {
        &self.offered
    }

    /// The client's will, each time it was published.
    pub(crate) fn wills(&self) -> &[(Downlink, Instant)] {
        &self.wills
    }

    /// What the client did that breaks MQTT's rules or IoT Core's, or what it has promised ([`Expected`](behaviour::Expected)).
    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// The filters of the client's sessions, with the QoS granted.
    pub(crate) fn subscriptions(&self) -> BTreeMap<&str, u8> {
        let all = self.sessions.values().flat_map(|session| &session.subscriptions);
        all.map(|(filter, subscription)| (filter.as_str(), subscription.qos)).collect()
    }

    /// Whether a CONNACK was said, and the connection hasn't ended as far as the server knows.
    pub(crate) fn is_connected(&self) -> bool {
        self.sessions.values().any(|session| session.active.is_some())
    }

    fn established_connections(&self) -> Vec<ConnectionId> {
        let established = self.connections.iter().filter(|(_, it)| matches!(it.phase, Phase::Connected(_)));
        established.map(|(id, _)| *id).collect()
    }

    fn fault(&mut self, id: ConnectionId, text: &str, now: Instant) {
        self.faults.push(format!("{:?}, {id}: {text}", now - self.started));
    }

    fn say(&mut self, id: ConnectionId, bytes: Vec<u8>) {
        self.output.push_back((id, Output::Bytes(bytes)));
    }

    /// The next whole packet of a connection.
    fn next_packet(&mut self, id: ConnectionId) -> Option<Result<Heard, String>> {
        let connection = self.connections.get_mut(&id)?;
        if matches!(connection.phase, Phase::Departed) {
            let is_more = !std::mem::take(&mut connection.input).is_empty();
            return is_more.then(|| Err("bytes behind DISCONNECT [MQTT-3.14.4-2]".to_owned()));
        }
        let (size, header) = match heard::extent(&connection.input) {
            Ok(extent) => extent?,
            Err(broken) => return Some(Err(broken)),
        };
        if connection.input.len() < size {
            return None;
        }
        let packet: Vec<u8> = connection.input.drain(..size).collect();
        Some(heard::hear(packet[0], &packet[header..], connection.protocol(), size))
    }

    fn packet(&mut self, id: ConnectionId, heard: Heard, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let packets_left = match (&mut connection.phase, heard) {
            (Phase::Opened, Heard::Connect(connect)) => return self.connect(id, connect, now),
            (Phase::Opened, _) => {
                self.fault(id, "a packet before CONNECT [MQTT-3.1.0-1]", now);
                return self.close(id, None, now);
            }
            (_, Heard::Connect(_)) => {
                self.fault(id, "a second CONNECT [MQTT-3.1.0-2]", now);
                return self.close(id, Some(PROTOCOL_ERROR), now);
            }
            (_, Heard::Other(name)) => {
                self.fault(id, &format!("{name}, which the server didn't ask for"), now);
                return self.close(id, Some(PROTOCOL_ERROR), now);
            }
            (_, Heard::Disconnect(code, expiry)) => return self.disconnected(id, code, expiry, now),
            (Phase::Connecting(_), heard) => {
                return self.fault(id, &format!("{heard:?} before CONNACK, which IoT Core doesn't take"), now);
            }
            (Phase::Connected(established), heard) => {
                let left = established.packets_left.as_mut().map(|left| {
                    *left = left.saturating_sub(1);
                    *left
                });
                self.established(id, heard, now);
                left
            }
            (Phase::Departed, _) => return,
        };
        if packets_left == Some(0) {
            self.close(id, self.behaviour.closes.reason, now);
        }
    }

    fn established(&mut self, id: ConnectionId, heard: Heard, now: Instant) {
        match heard {
            Heard::Publish(publish) => self.published(id, publish, now),
            Heard::PubAck(packet) => self.acknowledged(id, packet, now),
            Heard::Subscribe(subscribe) => self.subscribe(id, subscribe, now),
            Heard::Unsubscribe(packet, filters) => self.unsubscribe(id, packet, filters, now),
            Heard::PingReq => self.answer(id, self.behaviour.pingresp, Action::Say(id, say::pingresp()), now),
            Heard::Connect(_) | Heard::Disconnect(..) | Heard::Other(_) => {}
        }
    }

    /// The server closes a connection: with a DISCONNECT in MQTT 5, if there is a reason code.
    fn close(&mut self, id: ConnectionId, reason: Option<u8>, now: Instant) {
        let Some(connection) = self.connections.get(&id) else { return };
        if let (Phase::Connected(established), Some(code)) = (&connection.phase, reason)
            && established.connect.protocol == Protocol::Mqtt5
        {
            self.say(id, say::disconnect(code));
        }
        self.output.push_back((id, Output::Close));
        self.ended(id, true, now);
    }
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u32::MAX)
}

impl Server for Cloud {
    fn accept(&mut self, now: Instant) -> ConnectionId {
        self.accept(now)
    }

    fn receive(&mut self, id: ConnectionId, bytes: &[u8], now: Instant) {
        self.receive(id, bytes, now);
    }

    fn lost(&mut self, id: ConnectionId, now: Instant) {
        self.lost(id, now);
    }

    fn client_restarted(&mut self) {
        self.client_restarted();
    }

    fn timeout(&self) -> Option<Instant> {
        self.timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeout(now);
    }

    fn next_output(&mut self) -> Option<(ConnectionId, Output)> {
        self.next_output()
    }
}
