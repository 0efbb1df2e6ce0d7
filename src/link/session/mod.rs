//! The MQTT session with the server: what has been promised to it, what it has promised, and what is said next.
//!
//! Pure: bytes come in through [`Session::receive`] and leave through [`Session::output`], time is told, and whatever the
//! daemon has to know is an [`Event`]. The session outlives connections; [`Session::connect`] begins one and
//! [`Session::connection_lost`] ends it.
//!
//! It is ours rather than rumqttc's event loop because of what has to hold: first transmissions in the order of acceptance,
//! packet identifiers never reused while in flight, DUP where MQTT asks for it, nothing forgotten when the server lost its
//! session, a failed SUBACK noticed.

mod acks;
mod in_flight;
#[cfg(test)]
mod properties;
mod subscriptions;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use jiff::Timestamp;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::Publish;
use thiserror::Error;

use crate::inbox::AckToken;
use crate::message::{Inbound, Outbound, Qos, Topic, TopicFilter};
use crate::outbox::Sequence;
use acks::{Arrival, Owed};
use in_flight::InFlight;
pub(crate) use subscriptions::Answer;
use subscriptions::Subscriptions;
pub(crate) use wire::Malformed;
use wire::{Received, Wire};

/// MQTT's packet identifier: from 1, unique among what waits for an acknowledgement.
type PacketIdentifier = u16;

/// No publication is added while more bytes than this wait to be written.
const OUTPUT_HIGH_WATER: usize = 64 * 1024;

/// What a session needs to know from the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) client_id: String,
    /// Ask the server to forget the session when the connection ends.
    pub(crate) clean_session: bool,
    /// At least 1 s; fractions of a second are cut off, MQTT has none.
    pub(crate) keep_alive: Duration,
    /// For PUBACK and SUBACK, before the packet is sent again.
    pub(crate) ack_timeout: Duration,
    /// QoS 1 publications without PUBACK.
    pub(crate) max_in_flight: usize,
}

/// Something the daemon has to know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// CONNACK: messages flow from now on.
    Connected { session_present: bool },
    /// A message from the server; one with QoS 1 waits for [`Session::acknowledge`].
    Message(Inbound, Option<AckToken>),
    /// The server has acknowledged a publication.
    Delivered(Sequence),
    /// The server's answer to one filter.
    Subscription(TopicFilter, Answer),
}

/// Why a connection must be given up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum End {
    #[error("CONNACK with return code {0}")]
    Refused(u8),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Violation(String),
    #[error("no PINGRESP within {0:?}")]
    NoPingResp(Duration),
}

/// Counts for status, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// PUBLISH packets sent, those sent again included.
    pub(crate) published: u64,
    /// PUBLISH packets sent again.
    pub(crate) resent: u64,
    /// PUBLISH packets received.
    pub(crate) received: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    options: Options,
    wire: Wire,
    state: State,
    output: BytesMut,
    events: VecDeque<Event>,
    in_flight: InFlight,
    subscriptions: Subscriptions,
    owed: Owed,
    next_id: PacketIdentifier,
    counters: Counters,
}

#[derive(Debug)]
enum State {
    Disconnected,
    /// CONNECT is out; nothing else may be sent before CONNACK.
    Connecting,
    Connected(Liveness),
    /// DISCONNECT is out: nothing may follow it (`MQTT-3.14.4-2`).
    Disconnecting,
}

/// When something was last heard and said.
#[derive(Debug)]
struct Liveness {
    last_sent: Instant,
    last_received: Instant,
    /// When a PINGREQ without answer was sent.
    ping_sent: Option<Instant>,
}

impl Session {
    /// A session that wants to be subscribed to `filters`.
    pub(crate) fn new(options: Options, filters: BTreeMap<TopicFilter, Qos>) -> Session {
        Session {
            options,
            wire: Wire::new(),
            state: State::Disconnected,
            output: BytesMut::new(),
            events: VecDeque::new(),
            in_flight: InFlight::default(),
            subscriptions: Subscriptions::new(filters),
            owed: Owed::default(),
            next_id: 1,
            counters: Counters::default(),
        }
    }

    /// A transport is open: says CONNECT on it.
    pub(crate) fn connect(&mut self) {
        self.connection_lost();
        self.state = State::Connecting;
        let keep_alive = u16::try_from(self.options.keep_alive.as_secs()).unwrap_or(u16::MAX);
        self.wire.connect(&self.options.client_id, self.options.clean_session, keep_alive, &mut self.output);
    }

    /// The connection is gone, however that came. What was in flight waits for the next one.
    pub(crate) fn connection_lost(&mut self) {
        self.state = State::Disconnected;
        self.output.clear();
        self.events.clear();
        self.owed.connection_lost();
    }

    /// Says goodbye; nothing is sent after it. Before CONNACK there is nobody to say it to.
    pub(crate) fn disconnect(&mut self) {
        if matches!(self.state, State::Connected(_)) {
            self.wire.disconnect(&mut self.output);
        }
        self.state = State::Disconnecting;
    }

    /// Bytes to be written to the transport: whoever writes them takes them off the front and calls [`Session::wrote`].
    pub(crate) fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Some of the output has been written.
    pub(crate) fn wrote(&mut self, now: Instant) {
        if let State::Connected(liveness) = &mut self.state {
            liveness.last_sent = now;
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes whole packets from the front of `input` and leaves what is incomplete.
    pub(crate) fn receive(&mut self, input: &mut BytesMut, now: Instant, clock: Timestamp) -> Result<(), End> {
        if let State::Connected(liveness) = &mut self.state {
            liveness.last_received = now;
        }
        while let Some(packet) = self.wire.decode(input)? {
            self.packet(packet, now, clock)?;
        }
        Ok(())
    }

    fn packet(&mut self, packet: Received, now: Instant, clock: Timestamp) -> Result<(), End> {
        match (&mut self.state, packet) {
            (State::Connecting, Received::ConnAck { refused: Some(code), .. }) => return Err(End::Refused(code)),
            (State::Connecting, Received::ConnAck { session_present, refused: None }) => {
                self.established(session_present, now);
            }
            (State::Connecting, _) => return Err(violation("the server sent something before CONNACK")),
            (State::Connected(_), Received::ConnAck { .. }) => {
                return Err(violation("the server sent a second CONNACK"));
            }
            (State::Connected(liveness), Received::PingResp) => liveness.ping_sent = None,
            (State::Connected(_), Received::SubAck(id, granted)) => self.suback(id, &granted)?,
            (_, Received::Unexpected(name)) => return Err(violation(&format!("the server sent {name}"))),
            (State::Connected(_) | State::Disconnecting, Received::PubAck(id)) => {
                if let Some(sequence) = self.in_flight.acknowledge(id) {
                    self.events.push_back(Event::Delivered(sequence));
                }
            }
            (State::Connected(_), Received::Publish(publish)) => self.incoming(publish, clock),
            // After DISCONNECT only acknowledgements matter; what else comes, the server sends again.
            (State::Disconnecting | State::Disconnected, _) => {}
        }
        Ok(())
    }

    fn established(&mut self, session_present: bool, now: Instant) {
        self.state = State::Connected(Liveness { last_sent: now, last_received: now, ping_sent: None });
        self.subscriptions.restart(session_present);
        self.in_flight.restart(session_present);
        self.events.push_back(Event::Connected { session_present });
        loop {
            let filters = self.subscriptions.next_request();
            if filters.is_empty() {
                break;
            }
            let id = self.allocate();
            self.wire.subscribe(id, &filters, &mut self.output);
            self.subscriptions.requested(id, filters, now);
        }
    }

    fn suback(&mut self, id: PacketIdentifier, granted: &[Option<Qos>]) -> Result<(), End> {
        if !self.subscriptions.uses(id) {
            // The answer to a SUBSCRIBE that was sent twice.
            return Ok(());
        }
        let answers = self.subscriptions.answered(id, granted);
        let answers = answers.ok_or_else(|| violation("a SUBACK answers more or fewer filters than were asked for"))?;
        self.events.extend(answers.into_iter().map(|(filter, answer)| Event::Subscription(filter, answer)));
        Ok(())
    }

    fn incoming(&mut self, publish: Publish, received_at: Timestamp) {
        self.counters.received += 1;
        let (qos, token) = match publish.qos {
            QoS::AtMostOnce => (Qos::AtMostOnce, None),
            _ => match self.owed.receive(publish.pkid) {
                Arrival::New(token) => (Qos::AtLeastOnce, Some(token)),
                Arrival::Repeated => return,
            },
        };
        let message = Inbound {
            topic: Topic::received(&publish.topic),
            payload: publish.payload,
            qos,
            retain: publish.retain,
            duplicate: publish.dup,
            received_at,
        };
        self.events.push_back(Event::Message(message, token));
    }

    /// A message from the server is taken care of. Its PUBACK goes out once all that came before it are, too.
    pub(crate) fn acknowledge(&mut self, token: AckToken) {
        self.owed.done(token);
        while matches!(self.state, State::Connected(_))
            && let Some(id) = self.owed.next()
        {
            self.wire.puback(id, &mut self.output);
        }
    }

    /// Messages received and not yet acknowledged.
    #[cfg(test)]
    pub(crate) fn unacknowledged(&self) -> usize {
        self.owed.len()
    }

    /// Whether there is room to send a message, be it again or for the first time.
    pub(crate) fn has_room(&self) -> bool {
        self.is_connected() && self.output.len() < OUTPUT_HIGH_WATER
    }

    /// Whether a new message may be sent: what has to be sent again goes first.
    pub(crate) fn can_publish(&self) -> bool {
        self.has_room() && self.in_flight.len() < self.options.max_in_flight && self.in_flight.next_unsent().is_none()
    }

    /// Sends a message for the first time. Only after [`Session::can_publish`].
    pub(crate) fn publish(&mut self, sequence: Sequence, message: Outbound, now: Instant) {
        self.counters.published += 1;
        match message.qos {
            Qos::AtMostOnce => self.wire.publish(&message, 0, false, &mut self.output),
            Qos::AtLeastOnce => {
                let id = self.allocate();
                self.wire.publish(&message, id, false, &mut self.output);
                self.in_flight.push(sequence, message, id, now, self.options.ack_timeout);
            }
        }
    }

    /// Bytes of topic and payload of the message that has to be sent again next.
    pub(crate) fn next_resend_size(&self) -> Option<usize> {
        self.in_flight.next_unsent().map(Outbound::size)
    }

    /// Sends that message again. Only after [`Session::has_room`].
    pub(crate) fn resend(&mut self, now: Instant) {
        if let Some((message, id, dup)) = self.in_flight.resend(now, self.options.ack_timeout) {
            self.wire.publish(message, id, dup, &mut self.output);
            self.counters.published += 1;
            self.counters.resent += 1;
        }
    }

    /// QoS 1 messages sent and not acknowledged.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Topics of the publications and filters of the SUBSCRIBEs that the server hasn't answered: the suspects when it
    /// closes the connection.
    pub(crate) fn unanswered(&self) -> (impl Iterator<Item = &Topic>, impl Iterator<Item = &TopicFilter>) {
        (self.in_flight.topics(), self.subscriptions.unanswered())
    }

    /// When [`Session::handle_timeout`] has to be called at the latest.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let State::Connected(liveness) = &self.state else { return None };
        let acks = self.in_flight.check_at();
        let subacks = self.subscriptions.deadline(self.options.ack_timeout);
        [acks, subacks, Some(self.liveness_deadline(liveness))].into_iter().flatten().min()
    }

    /// When the next PINGREQ is due (`MQTT-3.1.2-23`: something must be sent each keep alive; that nothing was received is
    /// reason enough to ask), or its answer overdue.
    fn liveness_deadline(&self, liveness: &Liveness) -> Instant {
        match liveness.ping_sent {
            Some(sent) => sent + self.options.keep_alive / 2,
            None => liveness.last_sent.min(liveness.last_received) + self.options.keep_alive,
        }
    }

    /// Does what is due by now.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), End> {
        let State::Connected(liveness) = &self.state else { return Ok(()) };
        if now >= self.liveness_deadline(liveness) {
            if liveness.ping_sent.is_some() {
                return Err(End::NoPingResp(self.options.keep_alive / 2));
            }
            self.wire.pingreq(&mut self.output);
            if let State::Connected(liveness) = &mut self.state {
                liveness.ping_sent = Some(now);
            }
        }
        for pending in self.subscriptions.overdue(now, self.options.ack_timeout) {
            self.wire.subscribe(pending.id, &pending.filters, &mut self.output);
        }
        if self.in_flight.check_at().is_some_and(|check_at| check_at <= now) {
            self.in_flight.mark_overdue(now, self.options.ack_timeout);
        }
        Ok(())
    }

    /// A packet identifier that isn't in use (`MQTT-2.3.1-2`).
    fn allocate(&mut self) -> PacketIdentifier {
        loop {
            let id = self.next_id;
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if !self.in_flight.uses(id) && !self.subscriptions.uses(id) {
                return id;
            }
        }
    }
}

fn violation(what: &str) -> End {
    End::Violation(what.to_owned())
}
