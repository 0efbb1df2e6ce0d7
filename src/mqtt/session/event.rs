//! What the session tells the daemon.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::silence::Found;
use super::subscriptions::Answer;
use crate::limits::MAX_IN_FLIGHT;
use crate::message::AckToken;
use crate::message::Sequence;
use crate::message::{Condition, Inbound, Qos, Topic, TopicFilter, Traits};
use crate::mqtt::reason::{Reason, ReasonCode};
use crate::mqtt::{Malformed, Rejection};

/// Something the daemon has to know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// CONNACK: messages flow from now on.
    Connected {
        session_present: bool,
        /// How long the server keeps the session, if it isn't what was asked for.
        session_expiry: Option<Duration>,
    },
    /// A message from the server; one with QoS 1 waits for [`Session::acknowledge`](super::Session::acknowledge).
    Message(Inbound, Option<AckToken>),
    /// The next message has lost its properties, they were over [`MAX_PROPERTIES`](crate::limits::MAX_PROPERTIES).
    PropertiesLeftOut(Topic),
    /// A message of so many bytes, as a packet, has come and is dropped: more than [`MAX_PACKET`](crate::limits::MAX_PACKET).
    TooLarge(Topic, usize),
    /// A message has come that can't be passed on, and is dropped: what is wrong with it.
    Unreadable(Topic, Malformed),
    /// The server has acknowledged a publication.
    Delivered(Sequence),
    /// A publication that isn't sent, or not sent again, because the server refuses it.
    Rejected(Sequence, Traits, Rejection),
    /// The server has refused a publication, and taken none on this connection: it may be that it refuses everything. If its
    /// client doesn't wait to be told, it waits to be sent again.
    Doubtful(Sequence, Traits, Rejection),
    /// What meets this isn't to be sent any more: the server refuses it with this reason.
    Guilty(Condition, Reason),
    /// The birth, of so many bytes, is sent.
    BirthSent(usize),
    /// The server doesn't take the birth, and does nothing else for it.
    BirthRefused(Refusal),
    /// The server hasn't acknowledged the birth for so long.
    BirthUnanswered(Duration),
    /// The server takes the birth again.
    BirthTaken,
    /// The CONNACK allows more than the one before, which has kept messages from being sent.
    LimitsRelaxed,
    /// A publication that isn't sent because its time has passed.
    Expired(Sequence),
    /// So many messages, among them one to this topic, have had no PUBACK in time and are sent again (MQTT 3.1.1).
    Overdue(Topic, usize),
    /// A SUBSCRIBE for this filter, and perhaps others, has had no SUBACK in time and is sent again (MQTT 3.1.1).
    SubscribeOverdue(TopicFilter),
    /// The server has refused a message to this topic for now: it is sent again, and nothing until so much time has passed
    /// (MQTT 5, quota exceeded).
    Throttled(Topic, Duration),
    /// How long the network bears silence, as far as that is known (`KeepAlive::UpTo`).
    Silence(Found),
    /// The server's answer to one filter.
    Subscription(TopicFilter, Answer),
    /// Nothing is being asked: the server's session holds these filters, with the QoS that was asked for.
    /// Some of them have a subscription identifier.
    Settled(BTreeMap<TopicFilter, Qos>, BTreeMap<TopicFilter, u32>),
}

/// What the server does on whatever is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It ends the connection, with this reason if it gives any.
    Ends(Option<Reason>),
    /// It answers with a failure, or its CONNACK doesn't allow it.
    Refuses(Rejection),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Ends(None) => f.write_str("it closes the connection on it"),
            Refusal::Ends(Some(reason)) => write!(f, "it ends the connection on it with reason code {reason}"),
            Refusal::Refuses(rejection) => rejection.fmt(f),
        }
    }
}

/// Why a connection must be given up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum End {
    /// CONNACK with a failure: below 0x80 a return code of MQTT 3.1.1, else a reason code of MQTT 5.
    #[error("CONNACK with {0}")]
    Refused(Reason),
    /// DISCONNECT from the server (MQTT 5).
    #[error("DISCONNECT with {0}")]
    Disconnected(Reason),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Violation(String),
    #[error("a PUBLISH with a topic alias, although gatewire takes none, or without a topic")]
    TopicAlias,
    /// More messages with QoS 1 than it may send before they are acknowledged (`MQTT-3.3.4-9`).
    #[error("{}", too_many(*.0))]
    TooMany(Option<Duration>),
    /// A packet that has begun, and doesn't come to its end.
    #[error("{come} of the {size} bytes of a packet within {waited:?}")]
    Unfinished { come: usize, size: usize, waited: Duration },
    #[error("no PINGRESP within {0:?}")]
    NoPingResp(Duration),
    /// MQTT 5, where a PUBLISH may only be sent again on a new connection (`MQTT-4.4.0-1`).
    #[error("no PUBACK for a message to {0} within {1:?}")]
    NoPubAck(Topic, Duration),
    /// MQTT 5, likewise.
    #[error("no SUBACK for {0} within {1:?}")]
    NoSubAck(TopicFilter, Duration),
    #[error("no UNSUBACK for {0} within {1:?}")]
    NoUnsubAck(TopicFilter, Duration),
}

/// Counts for status, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SessionCounters {
    /// PUBLISH packets sent, those sent again included.
    pub(crate) published: u64,
    /// PUBLISH packets sent again.
    pub(crate) resent: u64,
    /// PUBLISH packets received.
    pub(crate) received: u64,
    /// Of those, copies of a message that came for another subscription, too.
    pub(crate) copies: u64,
}

fn too_many(waited: Option<Duration>) -> String {
    match waited {
        None => format!("more than {MAX_IN_FLIGHT} messages with QoS 1 or 2 before they were acknowledged"),
        Some(waited) => format!(
            "more than {MAX_IN_FLIGHT} messages with QoS 1 or 2 before they were acknowledged, and for {waited:?} none could be \
             acknowledged: neither the readers nor the disk accept them"
        ),
    }
}

impl End {
    /// What MQTT 5 wants the server told, where it is the server's fault (4.13).
    pub(super) fn reason(&self) -> Option<ReasonCode> {
        match self {
            End::Malformed(Malformed::Invalid(_)) => Some(ReasonCode::MALFORMED_PACKET),
            End::Malformed(Malformed::TooLarge(_)) => Some(ReasonCode::PACKET_TOO_LARGE),
            End::Malformed(Malformed::Wildcard(_)) => Some(ReasonCode::TOPIC_NAME_INVALID),
            End::Violation(_) => Some(ReasonCode::PROTOCOL_ERROR),
            End::TopicAlias => Some(ReasonCode::TOPIC_ALIAS_INVALID),
            End::TooMany(_) => Some(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED),
            _ => None,
        }
    }
}
