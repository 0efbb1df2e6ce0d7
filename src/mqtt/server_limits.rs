//! What the server restricts in its CONNACK.

use std::time::Duration;

use super::reason::ReasonCode;
use super::rejection::Rejection;
use crate::message::{Outbound, Qos, TopicFilter};

/// A PUBLISH is at most so many bytes longer than topic, payload and properties: fixed header, packet identifier and the
/// lengths of topic and properties.
const PUBLISH_OVERHEAD: usize = 5 + 2 + 2 + 4;

/// What holds for one connection (MQTT 5, 3.2.2.3). MQTT 3.1.1 has no such restrictions: there it is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ServerLimits {
    /// QoS 1 publications without PUBACK that the server takes.
    pub(super) receive_maximum: Option<usize>,
    /// Bytes of a whole packet.
    pub(super) max_packet: Option<usize>,
    /// The server takes QoS 0 only.
    pub(super) no_qos_1: bool,
    pub(super) no_retain: bool,
    pub(super) no_wildcards: bool,
    pub(super) no_shared: bool,
    /// The server knows no subscription identifiers.
    pub(super) no_identifiers: bool,
    /// Instead of the one we asked for.
    pub(super) keep_alive: Option<Duration>,
    /// Instead of the one we asked for.
    pub(super) session_expiry: Option<Duration>,
    /// How many topics the server takes as numbers.
    pub(super) topic_aliases: u16,
    /// The server gave us a client id, although we have one.
    pub(super) renamed: bool,
}

/// What a message goes without, because the server doesn't have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reduced {
    /// QoS 1, and perhaps RETAIN.
    Qos,
    /// RETAIN.
    Retain,
}

impl ServerLimits {
    /// What a server may not say (MQTT 5, 3.2.2.3.3, 3.2.2.3.6, `MQTT-3.2.2-16`).
    pub(super) fn fault(&self) -> Option<&'static str> {
        if self.receive_maximum == Some(0) {
            Some("a CONNACK with a receive maximum of 0")
        } else if self.max_packet == Some(0) {
            Some("a CONNACK with a maximum packet size of 0")
        } else if self.renamed {
            Some("a CONNACK that assigns a client id, although it was told one")
        } else {
            None
        }
    }

    /// Whether they allow messages that `others` don't.
    pub(super) fn allow_more_than(&self, others: &ServerLimits) -> bool {
        let size = |limits: &ServerLimits| limits.max_packet.unwrap_or(usize::MAX);
        (others.no_qos_1 && !self.no_qos_1) || (others.no_retain && !self.no_retain) || size(self) > size(others)
    }

    /// Why `message` can't be sent to this server, or to any (`MQTT-1.5.4-2`, `MQTT-3.2.2-11`, `MQTT-3.2.2-14`, `MQTT-3.2.2-15`).
    pub(super) fn rejection(&self, message: &Outbound, packet_size: impl FnOnce() -> usize) -> Option<Rejection> {
        if let Err(forbidden) = message.check_characters() {
            return Some(Rejection::Character(forbidden));
        }
        if self.no_qos_1 && message.qos == Qos::AtLeastOnce {
            return Some(Rejection::NoQos1);
        }
        if self.no_retain && message.retain {
            return Some(Rejection::NoRetain);
        }
        let limit = self.max_packet?;
        if message.size() + PUBLISH_OVERHEAD <= limit {
            return None;
        }
        let size = packet_size();
        (size > limit).then_some(Rejection::TooLarge { size, limit })
    }

    /// Leaves out of `message` what this server doesn't have, though it takes the message without: an acknowledgement, retaining.
    pub(super) fn reduce(&self, message: &mut Outbound) -> Option<Reduced> {
        let (no_ack, no_retain) = (self.no_qos_1 && message.qos == Qos::AtLeastOnce, self.no_retain && message.retain);
        if no_ack {
            message.qos = Qos::AtMostOnce;
        }
        message.retain &= !no_retain;
        match (no_ack, no_retain) {
            (true, _) => Some(Reduced::Qos),
            (false, true) => Some(Reduced::Retain),
            (false, false) => None,
        }
    }

    /// Why `filter` can't be subscribed to at this server (MQTT 5, 3.2.2.3.11 and 3.2.2.3.13).
    pub(super) fn filter_refusal(&self, filter: &TopicFilter) -> Option<ReasonCode> {
        if self.no_shared && filter.as_str().starts_with("$share/") {
            Some(ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED)
        } else if self.no_wildcards && filter.as_str().contains(['+', '#']) {
            Some(ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED)
        } else {
            None
        }
    }
}
