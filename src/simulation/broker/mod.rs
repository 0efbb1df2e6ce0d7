//! A local broker with one client of which it knows, the bridge: as good or bad as its [`Behaviour`] says. Devices publish by
//! [`Broker::publish`], and see all that it [has taken](Broker::taken).
//!
//! Pure, as the [`Cloud`](super::cloud::Cloud), with which it shares the bytes of packets and the rules of MQTT that the client has
//! to keep ([`server`](super::server)).

pub(in crate::simulation) mod behaviour;
mod connecting;
mod delivering;
mod session;
mod taking;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::cloud::message::Taken;
use super::server::heard::{self, Heard};
use super::server::{
    ConnectionId, Downlink, KEEP_ALIVE_TIMEOUT, MALFORMED_PACKET, Output, PROTOCOL_ERROR, Server, say,
};
use crate::mqtt::Protocol;
use behaviour::Behaviour;
use session::{Connection, Phase, Session};

/// What a device has published.
#[derive(Debug, Clone)]
pub(in crate::simulation) struct Published {
    pub(in crate::simulation) message: Downlink,
    pub(in crate::simulation) at: Instant,
    /// PUBLISH packets to the client, those sent again included.
    pub(in crate::simulation) sent: usize,
    /// Its place among all that were sent for the first time.
    pub(in crate::simulation) order: Option<u64>,
    /// When the client had acknowledged it first.
    pub(in crate::simulation) acknowledged_at: Option<Instant>,
}

#[derive(Debug)]
enum Action {
    ConnAck(ConnectionId),
    Refuse(ConnectionId, u8),
    PubAck(ConnectionId, u16, u8),
    Say(ConnectionId, Vec<u8>),
    Close(ConnectionId, Option<u8>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Broker {
    behaviour: Behaviour,
    random: Rng,
    started: Instant,
    connections: BTreeMap<ConnectionId, Connection>,
    last_connection: u64,
    session: Option<Session>,
    due: BTreeMap<(Instant, u64), Action>,
    last_action: u64,
    output: VecDeque<(ConnectionId, Output)>,
    /// By topic; with its place if a device has published it.
    retained: BTreeMap<String, (Downlink, Option<usize>)>,
    published: Vec<Published>,
    last_order: u64,
    taken: Vec<Taken>,
    /// Payloads that it has answered with a failure, or closed the connection on.
    refused: BTreeSet<Vec<u8>>,
    faults: Vec<String>,
    is_another_process: bool,
}

impl Broker {
    pub(in crate::simulation) fn new(seed: u64, now: Instant) -> Broker {
        Broker {
            behaviour: Behaviour::default(),
            random: Rng::with_seed(seed),
            started: now,
            connections: BTreeMap::new(),
            last_connection: 0,
            session: None,
            due: BTreeMap::new(),
            last_action: 0,
            output: VecDeque::new(),
            retained: BTreeMap::new(),
            published: Vec::new(),
            last_order: 0,
            taken: Vec::new(),
            refused: BTreeSet::new(),
            faults: Vec::new(),
            is_another_process: false,
        }
    }

    /// Another behaviour from now on. One that has hung goes on with what has come.
    pub(in crate::simulation) fn set_behaviour(&mut self, behaviour: Behaviour, now: Instant) {
        self.handle_timeout(now);
        let has_hung = std::mem::replace(&mut self.behaviour, behaviour).hangs;
        if has_hung && !self.behaviour.hangs {
            for id in self.connections.keys().copied().collect::<Vec<_>>() {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.last_received = now;
                }
                self.read(id, now);
            }
        }
        self.handle_timeout(now);
    }

    /// It stops, and starts again: with all that it had, or with nothing.
    pub(in crate::simulation) fn restart(&mut self, keeps: bool) {
        for id in std::mem::take(&mut self.connections).into_keys() {
            self.output.push_back((id, Output::Close));
        }
        self.due.clear();
        match &mut self.session {
            Some(session) if keeps => session.active = None,
            _ => {
                self.session = None;
                self.retained.clear();
            }
        }
    }

    /// Everything that devices have published, in order.
    pub(in crate::simulation) fn published(&self) -> &[Published] {
        &self.published
    }

    /// Every PUBLISH of the client that was accepted, in order.
    pub(in crate::simulation) fn taken(&self) -> &[Taken] {
        &self.taken
    }

    /// Whether a message with this payload was refused for good.
    pub(in crate::simulation) fn has_refused(&self, payload: &[u8]) -> bool {
        self.refused.contains(payload)
    }

    /// What the client did that breaks MQTT's rules.
    pub(in crate::simulation) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// What is retained on a topic.
    pub(in crate::simulation) fn retained(&self, topic: &str) -> Option<&[u8]> {
        self.retained.get(topic).map(|(message, _)| &*message.payload)
    }

    /// Messages that the client hasn't acknowledged.
    pub(in crate::simulation) fn open(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.in_flight.len() + session.queue.len())
    }

    /// Whether the client is there, and subscribed to so many filters with QoS 1.
    pub(in crate::simulation) fn has_subscriptions(&self, count: usize) -> bool {
        self.session.as_ref().is_some_and(|session| {
            let granted = session.subscriptions.values().filter(|subscription| subscription.qos > 0).count();
            session.active.is_some() && granted == count
        })
    }

    fn fault(&mut self, id: ConnectionId, text: &str, now: Instant) {
        self.faults.push(format!("{:?}, the broker's {id}: {text}", now - self.started));
    }

    fn say(&mut self, id: ConnectionId, bytes: Vec<u8>) {
        self.output.push_back((id, Output::Bytes(bytes)));
    }

    fn later(&mut self, at: Instant, action: Action) {
        self.last_action += 1;
        self.due.insert((at, self.last_action), action);
    }

    /// Looks at what has come, unless it hangs.
    fn read(&mut self, id: ConnectionId, now: Instant) {
        while let Some(heard) = self.next_packet(id) {
            match heard {
                Ok(heard) => self.packet(id, heard, now),
                Err(broken) => {
                    self.fault(id, &broken, now);
                    self.close(id, Some(MALFORMED_PACKET), now);
                }
            }
        }
    }

    fn next_packet(&mut self, id: ConnectionId) -> Option<Result<Heard, String>> {
        let connection = self.connections.get_mut(&id).filter(|_| !self.behaviour.hangs)?;
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
        let Some(connection) = self.connections.get(&id) else { return };
        match (&connection.phase, heard) {
            (Phase::Opened, Heard::Connect(connect)) => self.connect(id, connect, now),
            (Phase::Opened, _) => {
                self.fault(id, "a packet before CONNECT [MQTT-3.1.0-1]", now);
                self.close(id, None, now);
            }
            (_, Heard::Connect(_)) => {
                self.fault(id, "a second CONNECT [MQTT-3.1.0-2]", now);
                self.close(id, Some(PROTOCOL_ERROR), now);
            }
            (_, Heard::Disconnect(code, _)) => self.disconnected(id, code, now),
            (Phase::Connecting(_), heard) => self.fault(id, &format!("{heard:?} before CONNACK"), now),
            (_, Heard::Publish(publish)) => self.client_publishes(id, publish, now),
            (_, Heard::PubAck(packet)) => self.acknowledged(id, packet, now),
            (_, Heard::Subscribe(subscribe)) => self.subscribe(id, subscribe, now),
            (_, Heard::Unsubscribe(packet, filters)) => self.unsubscribe(id, packet, &filters, now),
            (_, Heard::PingReq) => self.say(id, say::pingresp()),
            (_, Heard::Other(name)) => {
                self.fault(id, &format!("{name}, which the broker didn't ask for"), now);
                self.close(id, Some(PROTOCOL_ERROR), now);
            }
        }
    }

    /// Closes a connection: with a DISCONNECT in MQTT 5, if there is a reason.
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

    fn act(&mut self, action: Action, now: Instant) {
        match action {
            Action::ConnAck(id) => self.connack(id, now),
            Action::Refuse(id, code) => {
                if let Some(protocol) = self.connections.get(&id).and_then(Connection::protocol) {
                    self.say(id, say::refused(protocol, code));
                    self.close(id, None, now);
                }
            }
            Action::PubAck(id, packet, code) => self.puback(id, packet, code),
            Action::Say(id, bytes) => {
                if self.connections.contains_key(&id) {
                    self.say(id, bytes);
                }
            }
            Action::Close(id, reason) => self.close(id, reason, now),
        }
    }

    /// An answer, so late as `delay` says, and never before an earlier one.
    fn answer(&mut self, id: ConnectionId, delay: Duration, action: Action, now: Instant) {
        let Some(established) = self.connections.get_mut(&id).and_then(Connection::established) else { return };
        let at = established.last_ack.max(now + delay);
        established.last_ack = at;
        self.later(at, action);
    }
}

impl Server for Broker {
    fn accept(&mut self, now: Instant) -> ConnectionId {
        self.handle_timeout(now);
        self.last_connection += 1;
        let id = ConnectionId(self.last_connection);
        self.connections.insert(id, Connection::new(now));
        id
    }

    fn receive(&mut self, id: ConnectionId, bytes: &[u8], now: Instant) {
        self.handle_timeout(now);
        let Some(connection) = self.connections.get_mut(&id).filter(|_| !bytes.is_empty()) else { return };
        connection.last_received = now;
        connection.input.extend_from_slice(bytes);
        self.read(id, now);
        self.handle_timeout(now);
    }

    fn lost(&mut self, id: ConnectionId, now: Instant) {
        self.handle_timeout(now);
        self.ended(id, true, now);
    }

    fn client_restarted(&mut self) {
        self.is_another_process = true;
    }

    fn timeout(&self) -> Option<Instant> {
        let silent = self.connections.values().filter_map(Connection::silent_until).min();
        let due = self.due.keys().next().map(|(at, _)| *at);
        [silent, due].into_iter().flatten().min().filter(|_| !self.behaviour.hangs)
    }

    fn handle_timeout(&mut self, now: Instant) {
        while self.timeout().is_some_and(|at| at <= now) {
            if let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= now) {
                let action = entry.remove();
                self.act(action, now);
                continue;
            }
            let is_silent = |connection: &Connection| connection.silent_until().is_some_and(|at| at <= now);
            let silent = self.connections.iter().filter(|(_, connection)| is_silent(connection));
            for id in silent.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.close(id, Some(KEEP_ALIVE_TIMEOUT), now);
            }
        }
    }

    fn next_output(&mut self) -> Option<(ConnectionId, Output)> {
        self.output.pop_front()
    }
}
