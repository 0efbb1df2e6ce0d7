//! Packets to bytes and back, on rumqttc's codecs of both protocol versions. The session sees only what they share.

mod aliases;
mod frame;
mod publish;
#[cfg(test)]
mod tests;
mod v4;
mod v5;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4::{Packet, PubAck, PubComp, PubRec};
use thiserror::Error;

pub(crate) use aliases::ALIAS_BYTES;
use aliases::{Aliases, Sent};
pub(super) use frame::PacketKind;
use frame::{Frame, PUBLISH, variable_integer};
use publish::Passing;
pub(super) use publish::{Head, TooLarge, Unreadable};

use super::server_limits::ServerLimits;
use crate::limits::MAX_PACKET;
use crate::message::{Outbound, Properties, Qos, Topic, TopicFilter};
use crate::mqtt::options::{Login, Options, Protocol, Subscribing, Will};
use crate::mqtt::reason::{Reason, ReasonCode};

/// MQTT's packet identifier: from 1, unique among what waits for an acknowledgement.
pub(super) type PacketIdentifier = u16;

/// Bytes from the server that aren't MQTT, or more than we take.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Malformed {
    #[error("a packet of {0} bytes, at most {MAX_PACKET} are taken")]
    TooLarge(usize),
    /// The topic of a PUBLISH with wildcards, which only filters have (`MQTT-3.3.2-2`).
    #[error("a PUBLISH to `{0}`, and a topic name has no wildcards (MQTT-3.3.2-2)")]
    Wildcard(Topic),
    #[error("{0}")]
    Invalid(String),
}

/// A packet from the server.
#[derive(Debug)]
pub(super) enum Received {
    /// CONNACK that accepts.
    ConnAck {
        session_present: bool,
        limits: ServerLimits,
    },
    /// CONNACK with a failure: a return code of MQTT 3.1.1 (below 0x80) or a reason code of MQTT 5.
    Refused(Reason),
    Publish(Incoming),
    /// A PUBLISH larger than we take, all of which has come by.
    TooLarge(TooLarge),
    /// A PUBLISH that can't be passed on, after others that ended connections.
    Unreadable(Unreadable),
    /// A PUBLISH with a topic alias, or without a topic.
    TopicAlias,
    PubRel(PacketIdentifier),
    /// In MQTT 3.1.1 always a success.
    PubAck(PacketIdentifier, Reason),
    /// SUBACK: the QoS granted for each filter, or why it failed.
    SubAck(PacketIdentifier, Vec<Result<Qos, Reason>>),
    UnsubAck(PacketIdentifier),
    PingResp,
    /// MQTT 5 only.
    Disconnect(Reason),
    /// A packet that a server doesn't send, or doesn't send to us.
    Unexpected(&'static str),
}

/// A PUBLISH from the server.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) head: Head,
    pub(super) payload: Bytes,
    pub(super) retain: bool,
    pub(super) duplicate: bool,
    /// The identifiers of the subscriptions it comes for, if they have any.
    pub(super) subscriptions: Vec<u32>,
    pub(super) properties: Option<Arc<Properties>>,
}

/// What is asked of the server in one packet, at most [`MAX_FILTERS_PER_SUBSCRIBE`](crate::limits::MAX_FILTERS_PER_SUBSCRIBE) filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// With the identifier that all of them get.
    Subscribe(Vec<(TopicFilter, Qos)>, Option<u32>),
    Unsubscribe(Vec<TopicFilter>),
}

impl Request {
    pub(super) fn filters(&self) -> Box<dyn Iterator<Item = &TopicFilter> + '_> {
        match self {
            Request::Subscribe(filters, _) => Box::new(filters.iter().map(|(filter, _)| filter)),
            Request::Unsubscribe(filters) => Box::new(filters.iter()),
        }
    }
}

/// What CONNECT says.
pub(super) struct Opening<'a> {
    pub(super) client_id: &'a str,
    /// Zero asks for a clean session. MQTT 3.1.1 knows no more than that.
    pub(super) session_expiry: Duration,
    /// Seconds.
    pub(super) keep_alive: u16,
    pub(super) will: Option<&'a Will>,
    pub(super) login: Option<&'a Login>,
    /// The server is told how large a packet may be (MQTT 5).
    pub(super) has_max_packet: bool,
}

impl Opening<'_> {
    /// What it says of these `options`.
    pub(super) fn of(options: &Options) -> Opening<'_> {
        let keep_alive = u16::try_from(options.keep_alive.longest().as_secs()).unwrap_or(u16::MAX);
        let Options { client_id, session_expiry, will, login, drops_unfit, .. } = options;
        Opening {
            client_id,
            session_expiry: *session_expiry,
            keep_alive,
            will: will.as_ref(),
            login: login.as_ref(),
            has_max_packet: !drops_unfit,
        }
    }
}

/// Bytes of identifier and length that a property has beside its text, such as a content type.
pub(crate) const PROPERTY_OF_TEXT: usize = 1 + 2;

/// Bytes of a PUBLISH with so many bytes of topic, properties (less than 128; MQTT 3.1.1 has none) and payload.
pub(crate) fn publish_size(protocol: Protocol, qos: Qos, topic: usize, properties: usize, payload: usize) -> usize {
    let identifier = if qos == Qos::AtLeastOnce { 2 } else { 0 };
    let properties = if protocol == Protocol::Mqtt5 { 1 + properties } else { 0 };
    let rest = 2 + topic + identifier + properties + payload;
    // The length of the rest has 7 bits a byte.
    let length = (1..4).find(|bytes| rest < 1 << (7 * bytes)).unwrap_or(4);
    1 + length + rest
}

/// Reads and writes packets of one version of MQTT.
#[derive(Debug)]
pub(super) struct Wire {
    protocol: Protocol,
    subscribing: Subscribing,
    /// What comes now is the rest of this, of which nothing is kept.
    passing: Option<Passing>,
    /// How many connections a PUBLISH has ended that is [`Unreadable`].
    unreadable: u8,
    /// Topics may be sent as numbers.
    uses_aliases: bool,
    /// So many the server takes on this connection.
    aliases_taken: u16,
    aliases: Aliases,
    /// Bytes of a whole packet that the server takes.
    max_packet: usize,
}

/// MQTT wants a connection ended that brings an [`Unreadable`] message. The server sends it again on the next, and so on for ever:
/// after so many such messages are dropped instead.
const MAX_UNREADABLE: u8 = 2;

impl Wire {
    pub(super) fn new(options: &Options) -> Wire {
        let unreadable = if options.drops_unfit { MAX_UNREADABLE } else { 0 };
        Wire {
            protocol: options.protocol,
            subscribing: options.subscribing,
            passing: None,
            unreadable,
            uses_aliases: options.topic_alias,
            aliases_taken: 0,
            aliases: Aliases::default(),
            max_packet: MAX_PACKET,
        }
    }

    /// For who leaves messages to others: none of them is its business.
    pub(super) fn passing_over_messages(options: &Options) -> Wire {
        Wire { unreadable: MAX_UNREADABLE, ..Wire::new(options) }
    }

    /// Another connection begins.
    pub(super) fn restart(&mut self) {
        self.passing = None;
        self.aliases_taken = 0;
        self.aliases.begin(0);
    }

    /// Whether topics may be sent as numbers from now on, on this connection too.
    pub(super) fn use_aliases(&mut self, uses_aliases: bool) {
        if self.uses_aliases != uses_aliases {
            self.uses_aliases = uses_aliases;
            self.begin_aliases();
        }
    }

    /// What the server knows by a number already gets another meaning only with its topic.
    fn begin_aliases(&mut self) {
        self.aliases.begin(if self.uses_aliases { self.aliases_taken } else { 0 });
    }

    /// The server takes what comes now within these limits.
    pub(super) fn established(&mut self, limits: &ServerLimits) {
        self.aliases_taken = limits.topic_aliases;
        self.begin_aliases();
        self.max_packet = limits.max_packet.map_or(MAX_PACKET, |max| max.min(MAX_PACKET));
    }

    /// Whether a packet that is larger than we take is on its way past: what the server has said after it comes later.
    pub(super) fn is_passing(&self) -> bool {
        self.passing.is_some()
    }

    /// How much has come of the packet at the front of `input`, in bytes, and how much it has; `None` if it is there as a whole, or
    /// none has begun.
    pub(super) fn arriving(&self, input: &[u8]) -> Option<(usize, usize)> {
        if let Some(passing) = &self.passing {
            return Some(passing.come());
        }
        match Frame::at_start(input, self.protocol) {
            Ok(Some(frame)) => (input.len() < frame.total).then_some((input.len(), frame.total)),
            Ok(None) => (!input.is_empty()).then_some((input.len(), MAX_FIXED_HEADER)),
            // It is refused when it is taken.
            Err(_) => None,
        }
    }

    /// Takes the next whole packet from the front of `input`; `None` if more bytes are needed. Of a PUBLISH larger than we take,
    /// whatever has come.
    ///
    /// A panic in the decoder counts as a malformed packet: no byte from the network may take the daemon down.
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Received>, Malformed> {
        if self.passing.is_none() {
            let Some(frame) = Frame::at_start(input, self.protocol)? else { return Ok(None) };
            if !frame.is_too_large() {
                return self.decode_whole(input, frame);
            }
            let Some((passing, fault)) = Passing::begin(input, frame)? else { return Ok(None) };
            if let Some(why) = fault {
                self.tolerate(why)?;
            }
            self.passing = Some(passing);
        }
        let passed = self.passing.as_mut().and_then(|passing| passing.drop_from(input));
        if passed.is_some() {
            self.passing = None;
        }
        Ok(passed.map(Received::TooLarge))
    }

    fn decode_whole(&mut self, input: &mut BytesMut, frame: Frame) -> Result<Option<Received>, Malformed> {
        if input.len() < frame.total {
            return Ok(None);
        }
        if frame.kind == 2 && frame.body(input).first().is_some_and(|flags| *flags > 1) {
            return Err(Malformed::Invalid("a CONNACK with flags that MQTT doesn't have".to_owned()));
        }
        let decoded = catch_unwind(AssertUnwindSafe(|| match (frame.kind, self.protocol) {
            (PUBLISH, protocol) => publish::decode(input, frame, protocol),
            (_, Protocol::Mqtt311) => v4::decode(input, frame),
            (_, Protocol::Mqtt5) => v5::decode(input, frame),
        }));
        match decoded.unwrap_or_else(|_| Err(frame.unreadable()))? {
            Received::Unreadable(publish) => {
                self.tolerate(publish.why.clone())?;
                Ok(Some(Received::Unreadable(publish)))
            }
            received => Ok(Some(received)),
        }
    }

    /// Whether an [`Unreadable`] message is dropped and the connection goes on.
    fn tolerate(&mut self, why: Malformed) -> Result<(), Malformed> {
        if self.unreadable < MAX_UNREADABLE {
            self.unreadable += 1;
            return Err(why);
        }
        Ok(())
    }

    pub(super) fn connect(&self, opening: &Opening<'_>, output: &mut BytesMut) {
        match self.protocol {
            Protocol::Mqtt311 => v4::connect(opening, output),
            Protocol::Mqtt5 => v5::connect(opening, output),
        }
    }

    pub(super) fn publish(
        &self,
        message: &Outbound,
        id: PacketIdentifier,
        dup: bool,
        now: Instant,
        output: &mut BytesMut,
    ) {
        match self.protocol {
            Protocol::Mqtt311 => v4::publish(message, id, dup, output),
            Protocol::Mqtt5 => v5::publish(message, id, dup, now, output),
        }
    }

    /// Likewise, for the first time: with MQTT 5 the topic goes as a number, where that is wanted and the server takes it.
    pub(super) fn publish_first(
        &mut self,
        message: &Outbound,
        id: PacketIdentifier,
        now: Instant,
        output: &mut BytesMut,
    ) {
        // With its alias it might be too large, by these bytes.
        let has_room = || v5::size(message, now) + ALIAS_BYTES <= self.max_packet;
        match self.protocol {
            Protocol::Mqtt5 if self.aliases.are_used() && has_room() => {
                let sent = self.aliases.send(&message.topic);
                v5::publish_as(message, id, sent, now, output);
            }
            _ => self.publish(message, id, false, now, output),
        }
    }

    /// Bytes that a message takes as a packet of MQTT 5.
    pub(super) fn size(message: &Outbound, now: Instant) -> usize {
        v5::size(message, now)
    }

    pub(super) fn request(&self, id: PacketIdentifier, request: &Request, output: &mut BytesMut) {
        match (self.protocol, request) {
            (Protocol::Mqtt311, Request::Subscribe(filters, _)) => v4::subscribe(id, filters, output),
            (Protocol::Mqtt311, Request::Unsubscribe(filters)) => v4::unsubscribe(id, filters, output),
            (Protocol::Mqtt5, Request::Subscribe(filters, identifier)) => {
                v5::subscribe(id, filters, *identifier, self.subscribing, output);
            }
            (Protocol::Mqtt5, Request::Unsubscribe(filters)) => v5::unsubscribe(id, filters, output),
        }
    }

    // What follows is the same in both: a reason code of success is left out (MQTT 5, 3.4.2.1 and 3.14.2.1).

    pub(super) fn puback(&self, id: PacketIdentifier, output: &mut BytesMut) {
        v4::encode(&Packet::PubAck(PubAck::new(id)), output);
    }

    /// The first of two steps by which a message with QoS 2 is acknowledged.
    pub(super) fn pubrec(&self, id: PacketIdentifier, output: &mut BytesMut) {
        v4::encode(&Packet::PubRec(PubRec::new(id)), output);
    }

    /// The second.
    pub(super) fn pubcomp(&self, id: PacketIdentifier, output: &mut BytesMut) {
        v4::encode(&Packet::PubComp(PubComp::new(id)), output);
    }

    pub(super) fn pingreq(&self, output: &mut BytesMut) {
        v4::encode(&Packet::PingReq, output);
    }

    pub(super) fn disconnect(&self, output: &mut BytesMut) {
        v4::encode(&Packet::Disconnect, output);
    }

    /// DISCONNECT with a reason, which MQTT 3.1.1 doesn't have (MQTT 5, 3.14.2.1).
    pub(super) fn disconnect_for(&self, reason: ReasonCode, output: &mut BytesMut) {
        if self.protocol == Protocol::Mqtt5 {
            output.extend_from_slice(&[0xE0, 1, reason.0]);
        }
    }
}

/// The most bytes before the body of a packet.
const MAX_FIXED_HEADER: usize = 5;

/// What is encoded was checked where it entered (topics, filters, payloads), so that the codec can't refuse it; if it did all
/// the same, nothing of it may stay in the output.
fn checked(output: &mut BytesMut, encode: impl FnOnce(&mut BytesMut) -> Result<usize, String>) {
    let before = output.len();
    if let Err(error) = encode(output) {
        debug_assert!(false, "{error}");
        output.truncate(before);
        log::error!("a packet can't be encoded: {error}; this is a defect of gatewire, please report it");
    }
}
