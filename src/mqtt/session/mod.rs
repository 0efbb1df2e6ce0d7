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
mod arriving;
mod asking;
mod birth;
mod copies;
pub(crate) mod dialogue;
mod ending;
mod established;
mod event;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod holds;
mod in_flight;
mod next;
mod patience;
mod receiving;
mod sending;
mod silence;
mod subscriptions;
#[cfg(test)]
mod tests;
mod timers;
mod traffic;
mod trials;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use jiff::Timestamp;

use crate::message::{Qos, Sequence, TopicFilter};
use crate::mqtt::isolation::Isolation;
use crate::mqtt::server_limits::ServerLimits;
use crate::mqtt::wire::{PacketIdentifier, Received, Wire};
use crate::mqtt::{Options, Protocol};
use acks::Owed;
use arriving::Arriving;
use birth::Birth;
use copies::Copies;
pub(crate) use event::{End, Event, Refusal, SessionCounters};
use holds::Said;
pub(crate) use holds::{Change, Hold};
use in_flight::InFlight;
pub(crate) use next::{NextSend, Waiting};
use patience::{Awaited, Patience, Progress};
pub(crate) use sending::Throttle;
use silence::Silence;
pub(crate) use silence::{FIRST as FIRST_SILENCE, Found};
use subscriptions::Subscriptions;
pub(crate) use subscriptions::{Answer, Paused, PutOff, Remembered};
pub(crate) use traffic::{Label, Labels, Traffic};
use trials::Holding;
pub(crate) use trials::Verdict;

/// One client's session with one server. It holds no socket, clock or message queue: whoever drives it moves bytes and messages
/// and tells it the time.
///
/// # What goes in
///
/// | | |
/// |---|---|
/// | [`connect`](Session::connect) | a stream to the server is open; [`connection_lost`](Session::connection_lost) when it isn't any more, however that came |
/// | [`receive`](Session::receive) | bytes from the server. An `Err` is the end of the connection; what came before it are events |
/// | [`wrote`](Session::wrote) | so many bytes were taken off the front of [`output`](Session::output) and written |
/// | [`handle_timeout`](Session::handle_timeout) | the instant of [`timeout`](Session::timeout) is there |
/// | [`publish`](Session::publish), [`resend`](Session::resend) | what [`next_send`](Session::next_send) has named |
/// | [`acknowledge`](Session::acknowledge) | a message that came is done |
/// | [`want`](Session::want), [`want_last`](Session::want_last), [`want_requested`](Session::want_requested), [`reconfigure`](Session::reconfigure), [`set_ack_timeout`](Session::set_ack_timeout), [`use_topic_aliases`](Session::use_topic_aliases) | other filters, at any time; another server or identity, between two connections |
/// | [`disconnect`](Session::disconnect), [`say_why`](Session::say_why) | goodbye: nothing may be sent after it |
/// | [`closed_by_server`](Session::closed_by_server), [`ended_otherwise`](Session::ended_otherwise) | how the connection ended, for the isolation of what the server refuses; once, before the next `connect` |
///
/// # What comes out
///
/// After whatever went in, in this order, until there is no more: [`next_event`](Session::next_event),
/// [`next_send`](Session::next_send), [`output`](Session::output). Then nothing changes before [`timeout`](Session::timeout).
///
/// # What a caller may forget
///
/// To ask: events and output wait, and a message that wasn't sent waits with its owner. A message that was handed over doesn't:
/// it is the session's until an event names its [`Sequence`]. Events that weren't taken are gone with
/// `connect` and `connection_lost`. `not_arrived` is only a hint: without it an acknowledgement on a slow uplink counts as missing sooner.
#[derive(Debug)]
pub(crate) struct Session {
    options: Options,
    wire: Wire,
    state: State,
    output: BytesMut,
    progress: Progress,
    events: VecDeque<Event>,
    in_flight: InFlight,
    patience: Patience,
    subscriptions: Subscriptions,
    isolation: Isolation,
    holding: Holding,
    /// Filters wait to be asked for until something else is answered.
    requests_held: bool,
    /// The server has answered something on this connection, after CONNECT.
    has_answered: bool,
    /// Publications that aren't urgent wait until then for the SUBACKs of filters that are new: the answer to a request would be lost.
    held_until: Option<Instant>,
    /// It has acknowledged a message on this connection.
    has_acked: bool,
    /// What it has sent last on this connection broke the rules of MQTT, and was no message.
    is_answer_bad: bool,
    /// Connections in a row that have ended for a SUBACK against the rules: one may have been an accident.
    bad_subacks: u32,
    /// The server throttles us.
    throttle: Throttle,
    /// A message was sent again because it had no PUBACK in time, and none has come since.
    is_unanswered: bool,
    /// What holds messages back, as it was said.
    said: Said,
    owed: Owed,
    birth: Birth,
    copies: Copies,
    /// Since when nothing more is looked at ([`Session::is_congested`]).
    congested_since: Option<Instant>,
    /// A packet of which only a part has come.
    arriving: Option<Arriving>,
    /// A message that the server shouldn't have sent before another was acknowledged (MQTT 5). Nothing behind it is looked at.
    overrun: Option<Received>,
    next_id: PacketIdentifier,
    counters: SessionCounters,
    /// What the server restricts on this connection.
    limits: ServerLimits,
    /// Messages are set aside that the limits of a connection didn't allow.
    is_kept_for_limits: bool,
    /// What counts on this connection: ours, or the server's if it wants another.
    keep_alive: Duration,
    /// What is known of the network, if PINGREQs are as rare as that allows.
    silence: Option<Silence>,
    /// What is in flight was sent in the session of another client id, protocol or server.
    is_another: bool,
    /// The last connection was established, and it will be told later how it ended.
    is_unjudged: bool,
    /// What bytes are for, if that is noted.
    traffic: Option<Traffic>,
}

#[derive(Debug)]
enum State {
    Disconnected,
    /// CONNECT is out; nothing else may be sent before CONNACK.
    Connecting,
    Connected(Liveness),
    /// DISCONNECT is out: nothing may follow it (`MQTT-3.14.4-2`). With when the server was last heard, after a CONNACK.
    Disconnecting(Option<Instant>),
}

/// When something was last heard and said.
#[derive(Debug)]
struct Liveness {
    last_sent: Instant,
    last_received: Instant,
    /// A PINGREQ without answer.
    ping_sent: Option<Awaited>,
}

impl Session {
    /// A session that wants to be subscribed to `filters`, and of which this is `remembered`.
    pub(crate) fn new(options: Options, filters: BTreeMap<TopicFilter, Qos>, remembered: Remembered) -> Session {
        Session {
            wire: Wire::new(&options),
            keep_alive: options.keep_alive.longest(),
            silence: Silence::of(options.keep_alive),
            subscriptions: Subscriptions::new(filters, remembered, options.subscribing.max),
            options,
            state: State::Disconnected,
            output: BytesMut::new(),
            progress: Progress::default(),
            events: VecDeque::new(),
            in_flight: InFlight::default(),
            patience: Patience::default(),
            isolation: Isolation::default(),
            holding: Holding::default(),
            requests_held: false,
            has_answered: false,
            held_until: None,
            has_acked: false,
            is_answer_bad: false,
            bad_subacks: 0,
            throttle: Throttle::default(),
            is_unanswered: false,
            said: Said::default(),
            owed: Owed::default(),
            birth: Birth::default(),
            copies: Copies::default(),
            congested_since: None,
            arriving: None,
            overrun: None,
            next_id: 1,
            counters: SessionCounters::default(),
            limits: ServerLimits::default(),
            is_kept_for_limits: false,
            is_another: false,
            is_unjudged: false,
            traffic: None,
        }
    }

    /// Other options, from the next connection on. Only between two connections. With another server, client id or protocol it
    /// is `another` session: of that one this is remembered, and what was in flight goes into it as new messages.
    pub(crate) fn reconfigure(&mut self, options: Options, another: Option<Remembered>) {
        self.wire = Wire::new(&options);
        self.subscriptions.bound(options.subscribing.max);
        self.keep_alive = options.keep_alive.longest();
        if options.keep_alive != self.options.keep_alive || another.is_some() {
            self.silence = Silence::of(options.keep_alive);
        }
        if options.birth != self.options.birth || another.is_some() {
            self.birth = Birth::default();
        }
        self.options = options;
        if let Some(remembered) = another {
            self.subscriptions.begin_another(remembered);
            // What one server forbids, or one policy, says nothing of another.
            self.isolation = Isolation::default();
            self.holding = Holding::default();
            self.throttle = Throttle::default();
            self.is_another = true;
        }
    }

    /// How long to wait for acknowledgements from now on.
    pub(crate) fn set_ack_timeout(&mut self, ack_timeout: Duration) {
        self.options.ack_timeout = ack_timeout;
    }

    /// Whether topics may be sent as numbers from now on.
    pub(crate) fn use_topic_aliases(&mut self, topic_alias: bool) {
        self.options.topic_alias = topic_alias;
        self.wire.use_aliases(topic_alias);
    }

    /// Bytes to be written to the transport: whoever writes some takes them off the front and calls [`Session::wrote`].
    pub(crate) fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// How many of them there are.
    pub(crate) fn unwritten(&self) -> usize {
        self.output.len()
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn counters(&self) -> SessionCounters {
        self.counters
    }

    /// Whether nothing more is looked at before a message is acknowledged. MQTT 3.1.1 can't tell the server how many it may send;
    /// in MQTT 5 it knows, but mosquitto sends everything again that it had on its way on earlier connections, however much that
    /// is, and would never get rid of it if that ended the connection; and once something was acknowledged, up to a multiple of
    /// what it may. It waits, too.
    pub(crate) fn is_congested(&self) -> bool {
        let may_wait = match self.options.protocol {
            Protocol::Mqtt311 => true,
            Protocol::Mqtt5 => self.overrun.is_some(),
        };
        may_wait && self.is_connected() && self.owed.is_full()
    }

    fn packet(&mut self, packet: Received, now: Instant, clock: Timestamp) -> Result<(), End> {
        match (&mut self.state, packet) {
            (_, Received::Disconnect(reason)) => return Err(End::Disconnected(reason)),
            (State::Connecting, Received::Refused(reason)) => return Err(End::Refused(reason)),
            (State::Connecting, Received::ConnAck { session_present, limits }) => {
                self.established(session_present, limits, now)?;
            }
            (State::Connecting, _) => return Err(violation("the server sent something before CONNACK")),
            (State::Connected(_), Received::ConnAck { .. } | Received::Refused(_)) => {
                return Err(violation("the server sent a second CONNACK"));
            }
            (State::Connected(liveness), Received::PingResp) => {
                if let Some(ping) = liveness.ping_sent.take() {
                    self.owed.heard(ping.end());
                    self.progress.arrived(ping.end());
                }
                self.has_answered = true;
                self.isolation.ping_answered(now);
                self.heard_behind_birth(now);
                self.go_on(now);
            }
            (State::Connected(_), Received::SubAck(id, granted)) => self.suback(id, granted, now)?,
            (State::Connected(_), Received::UnsubAck(id)) => self.unsuback(id, now)?,
            (_, Received::TopicAlias) => return Err(End::TopicAlias),
            (_, Received::Unexpected(name)) => return Err(violation(&format!("the server sent {name}"))),
            (State::Connected(_) | State::Disconnecting(_), Received::PubAck(id, reason)) => {
                self.puback(id, reason, now)
            }
            (State::Connected(_), Received::Publish(publish)) => self.incoming(publish, now, clock)?,
            (State::Connected(_), Received::TooLarge(publish)) => self.too_large(publish)?,
            (State::Connected(_), Received::Unreadable(publish)) => self.unreadable(publish)?,
            (State::Connected(_), Received::PubRel(id)) => {
                self.owed.released(id);
                let before = self.output.len();
                self.wire.pubcomp(id, &mut self.output);
                self.put(Label::CONNECTION, before);
            }
            // After DISCONNECT only acknowledgements matter; what else comes, the server sends again.
            (State::Disconnecting(_) | State::Disconnected, _) => {}
        }
        Ok(())
    }

    /// Messages received and not yet acknowledged.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.owed.len()
    }

    /// Whether a message was handed over that has no PUBACK: the session sends it again on the next connection.
    pub(crate) fn has_in_flight(&self, sequence: Sequence) -> bool {
        self.in_flight.contains(sequence)
    }

    /// QoS 1 messages sent and not acknowledged.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// A packet identifier that isn't in use (`MQTT-2.3.1-2`).
    fn allocate(&mut self) -> PacketIdentifier {
        loop {
            let id = self.next_id;
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if !(self.in_flight.uses(id) || self.subscriptions.uses(id) || self.birth.uses(id)) {
                return id;
            }
        }
    }
}

fn violation(what: &str) -> End {
    End::Violation(what.to_owned())
}
