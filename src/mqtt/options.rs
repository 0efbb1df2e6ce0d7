//! What a client asks of its server when it connects.

use std::time::Duration;

use bytes::Bytes;

use crate::message::{Qos, Topic};

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

/// What a session is to ask of its server, and how patient it is.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) protocol: Protocol,
    pub(crate) client_id: String,
    /// How long the server is asked to keep the session; zero: as long as the connection. MQTT 3.1.1 can't say more than
    /// whether it is zero.
    pub(crate) session_expiry: Duration,
    /// At least 1 s; fractions of a second are cut off, MQTT has none.
    pub(crate) keep_alive: Duration,
    /// For PUBACK and SUBACK, before the packet is sent again (MQTT 3.1.1) or the connection given up (MQTT 5).
    pub(crate) ack_timeout: Duration,
    /// QoS 1 publications without PUBACK.
    pub(crate) max_in_flight: usize,
    pub(crate) will: Option<Will>,
}
