//! MQTT 3.1.1 packets to bytes and back, on rumqttc's codec. The session sees only what both protocol versions share.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{
    Codec, Connect, ConnectReturnCode, Packet, PubAck, Publish, Subscribe, SubscribeFilter, SubscribeReasonCode,
};
use rumqttc::mqttbytes::{Error, QoS};
use thiserror::Error;
use tokio_util::codec::{Decoder, Encoder};

use super::PacketIdentifier;
use crate::limits::MAX_PACKET;
use crate::message::{Outbound, Qos, TopicFilter};

/// Bytes from the server that aren't MQTT, or more than we take.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Malformed {
    #[error("a packet of {0} bytes, at most {MAX_PACKET} are taken")]
    TooLarge(usize),
    #[error("{0}")]
    Invalid(String),
}

/// A packet from the server.
#[derive(Debug)]
pub(super) enum Received {
    /// CONNACK; a refusal is the return code.
    ConnAck {
        session_present: bool,
        refused: Option<u8>,
    },
    Publish(Publish),
    PubAck(PacketIdentifier),
    /// SUBACK: the QoS granted for each filter, `None` where it failed.
    SubAck(PacketIdentifier, Vec<Option<Qos>>),
    PingResp,
    /// A packet that a server doesn't send, or doesn't send to us.
    Unexpected(&'static str),
}

/// Reads and writes packets of MQTT 3.1.1.
#[derive(Debug)]
pub(super) struct Wire {
    codec: Codec,
}

impl Wire {
    pub(super) fn new() -> Wire {
        Wire { codec: Codec { max_incoming_size: MAX_PACKET, max_outgoing_size: MAX_PACKET } }
    }

    /// Takes the next whole packet from the front of `input`; `None` if more bytes are needed.
    ///
    /// A panic in the decoder counts as a malformed packet: no byte from the network may take the daemon down.
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Received>, Malformed> {
        check_start(input)?;
        if input.is_empty() {
            return Ok(None);
        }
        match catch_unwind(AssertUnwindSafe(|| self.codec.decode(input))) {
            Ok(Ok(packet)) => Ok(packet.map(received)),
            Ok(Err(Error::PayloadSizeLimitExceeded(size))) => Err(Malformed::TooLarge(size)),
            Ok(Err(error)) => Err(Malformed::Invalid(error.to_string())),
            Err(_) => Err(Malformed::Invalid("the packet decoder gave up on it".to_owned())),
        }
    }

    pub(super) fn connect(&mut self, client_id: &str, clean_session: bool, keep_alive: u16, output: &mut BytesMut) {
        let mut connect = Connect::new(client_id);
        connect.clean_session = clean_session;
        connect.keep_alive = keep_alive;
        self.encode(Packet::Connect(connect), output);
    }

    pub(super) fn publish(&mut self, message: &Outbound, id: PacketIdentifier, dup: bool, output: &mut BytesMut) {
        let mut publish = Publish::from_bytes(message.topic.as_str(), qos(message.qos), message.payload.clone());
        publish.retain = message.retain;
        publish.pkid = id;
        publish.dup = dup;
        self.encode(Packet::Publish(publish), output);
    }

    pub(super) fn puback(&mut self, id: PacketIdentifier, output: &mut BytesMut) {
        self.encode(Packet::PubAck(PubAck::new(id)), output);
    }

    pub(super) fn subscribe(&mut self, id: PacketIdentifier, filters: &[(TopicFilter, Qos)], output: &mut BytesMut) {
        let filters = filters.iter().map(|(filter, level)| SubscribeFilter::new(filter.to_string(), qos(*level)));
        let mut subscribe = Subscribe::new_many(filters);
        subscribe.pkid = id;
        self.encode(Packet::Subscribe(subscribe), output);
    }

    pub(super) fn pingreq(&mut self, output: &mut BytesMut) {
        self.encode(Packet::PingReq, output);
    }

    pub(super) fn disconnect(&mut self, output: &mut BytesMut) {
        self.encode(Packet::Disconnect, output);
    }

    /// What is encoded was checked where it entered (topics, filters, payloads), so that the codec can't refuse it; if it
    /// did all the same, nothing of it may stay in the output.
    fn encode(&mut self, packet: Packet, output: &mut BytesMut) {
        let before = output.len();
        if let Err(error) = self.codec.encode(packet, output) {
            debug_assert!(false, "{error}");
            output.truncate(before);
            log::error!("a packet can't be encoded: {error}; this is a defect of gatewire, please report it");
        }
    }
}

/// Looks at the first byte, and the length where it is fixed, so that what isn't MQTT is noticed at once and not taken for
/// the start of a packet whose rest never comes (`MQTT-2.2.2-2`). The codec checks neither.
fn check_start(input: &[u8]) -> Result<(), Malformed> {
    let Some(&first) = input.first() else { return Ok(()) };
    let flags_allowed = first >> 4 == 3 || first & 0x0f == if matches!(first >> 4, 6 | 8 | 10) { 2 } else { 0 };
    let length_allowed = match (first >> 4, input.get(1)) {
        (2 | 4 | 11, Some(length)) => *length == 2,
        (13, Some(length)) => *length == 0,
        _ => true,
    };
    if flags_allowed && length_allowed {
        return Ok(());
    }
    let start = String::from_utf8_lossy(&input[..input.len().min(16)]).into_owned();
    Err(Malformed::Invalid(format!("bytes that aren't MQTT, beginning with {start:?}")))
}

fn received(packet: Packet) -> Received {
    match packet {
        Packet::ConnAck(ack) => Received::ConnAck {
            session_present: ack.session_present,
            refused: (ack.code != ConnectReturnCode::Success).then_some(ack.code as u8),
        },
        Packet::Publish(publish) if publish.qos == QoS::ExactlyOnce => Received::Unexpected("PUBLISH with QoS 2"),
        Packet::Publish(publish) => Received::Publish(publish),
        Packet::PubAck(ack) => Received::PubAck(ack.pkid),
        Packet::SubAck(ack) => Received::SubAck(ack.pkid, ack.return_codes.into_iter().map(granted).collect()),
        Packet::PingResp => Received::PingResp,
        Packet::Connect(_) => Received::Unexpected("CONNECT"),
        Packet::PubRec(_) => Received::Unexpected("PUBREC"),
        Packet::PubRel(_) => Received::Unexpected("PUBREL"),
        Packet::PubComp(_) => Received::Unexpected("PUBCOMP"),
        Packet::Subscribe(_) => Received::Unexpected("SUBSCRIBE"),
        Packet::Unsubscribe(_) => Received::Unexpected("UNSUBSCRIBE"),
        Packet::UnsubAck(_) => Received::Unexpected("UNSUBACK"),
        Packet::PingReq => Received::Unexpected("PINGREQ"),
        Packet::Disconnect => Received::Unexpected("DISCONNECT"),
    }
}

fn granted(code: SubscribeReasonCode) -> Option<Qos> {
    match code {
        SubscribeReasonCode::Success(QoS::AtMostOnce) => Some(Qos::AtMostOnce),
        SubscribeReasonCode::Success(_) => Some(Qos::AtLeastOnce),
        SubscribeReasonCode::Failure => None,
    }
}

fn qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
    }
}
