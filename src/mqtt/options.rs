//! What a client asks of its server when it connects.

use std::time::Duration;

use bytes::Bytes;

use crate::limits::MAX_SUBSCRIPTIONS;
use crate::message::{Outbound, Qos, Topic};
use crate::secret::Secret;

/// The version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Mqtt311,
    Mqtt5,
}

impl Protocol {
    /// As it is written in the configuration and in the status.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Protocol::Mqtt311 => "3.1.1",
            Protocol::Mqtt5 => "5",
        }
    }
}

/// What the server publishes in our name once the connection has ended without our DISCONNECT.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Will {
    pub(crate) topic: Topic,
    /// At most [`MAX_WILL_PAYLOAD`](crate::limits::MAX_WILL_PAYLOAD) bytes.
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
}

/// Who we are to a server that asks for it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Login {
    /// Not empty.
    pub(crate) username: String,
    /// At most 65,535 bytes; an empty one is none.
    pub(crate) password: Option<Secret<String>>,
}

/// How filters are asked for. The default is how IoT Core is asked. What MQTT 5 alone has isn't said in MQTT 3.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subscribing {
    /// The most filters of one session.
    pub(crate) max: usize,
    /// Messages come with RETAIN as they were published (MQTT 5, Retain As Published).
    pub(crate) retain_as_published: bool,
    /// Retained messages come for filters that the session doesn't hold yet, and not each time they are asked for (MQTT 5,
    /// Retain Handling 1).
    pub(crate) only_new_retained: bool,
    /// What we publish ourselves doesn't come back (MQTT 5, No Local).
    pub(crate) no_local: bool,
    /// Filters that stand are asked for again on each connection (MQTT 5): the server may have gone back to an older state of
    /// its session, as mosquitto does that was killed.
    pub(crate) each_connection: bool,
}

impl Default for Subscribing {
    fn default() -> Subscribing {
        Subscribing {
            max: MAX_SUBSCRIPTIONS as usize,
            retain_as_published: false,
            only_new_retained: false,
            no_local: false,
            each_connection: false,
        }
    }
}

/// How long nothing may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    /// At least 1 s; fractions of a second are cut off, MQTT has none.
    Fixed(Duration),
    /// As long as the network lets an idle connection live, which is found by trying, and never longer than this. The server is
    /// told this.
    UpTo(Duration),
}

impl KeepAlive {
    /// What the server is told.
    pub(crate) fn longest(self) -> Duration {
        match self {
            KeepAlive::Fixed(time) | KeepAlive::UpTo(time) => time,
        }
    }

    /// Whether it is found by trying.
    pub(crate) fn is_adaptive(self) -> bool {
        matches!(self, KeepAlive::UpTo(_))
    }
}

/// What a session is to ask of its server, and how patient it is.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) protocol: Protocol,
    pub(crate) client_id: String,
    /// How long the server is asked to keep the session; zero: as long as the connection. MQTT 3.1.1 can't say more than
    /// whether it is zero.
    pub(crate) session_expiry: Duration,
    pub(crate) keep_alive: KeepAlive,
    /// For PUBACK and SUBACK, before the packet is sent again (MQTT 3.1.1) or the connection given up (MQTT 5).
    pub(crate) ack_timeout: Duration,
    /// QoS 1 publications without PUBACK.
    pub(crate) max_in_flight: usize,
    pub(crate) will: Option<Will>,
    /// What is published on each connection before anything else.
    pub(crate) birth: Option<Outbound>,
    pub(crate) login: Option<Login>,
    /// Topics go as numbers where the server takes that (MQTT 5, 3.3.2.3.4).
    pub(crate) topic_alias: bool,
    pub(crate) subscribing: Subscribing,
    /// What comes and can't be taken, because it is larger than [`MAX_PACKET`](crate::limits::MAX_PACKET) or breaks the rules of
    /// MQTT, is acknowledged, dropped and told: for a server whose other clients nobody holds to our bounds. If not, CONNECT
    /// forbids what is larger (MQTT 5), and what breaks the rules ends the connection, though not again and again.
    pub(crate) drops_unfit: bool,
    /// What the server refuses in a PUBACK, or rules out in its CONNACK, is done with, and says nothing of other messages. If
    /// not, it may be that the server refuses everything, and messages wait.
    pub(crate) refusals_are_final: bool,
    /// What the server sends beyond what may be unacknowledged waits on its way, for hours if need be: whoever takes the messages
    /// may be full. If not, the connection ends after a while.
    pub(crate) waits_for_room: bool,
}
