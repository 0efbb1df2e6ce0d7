//! MQTT 3.1.1.

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, LastWill, Login, Packet, Publish, Subscribe, SubscribeFilter, SubscribeReasonCode,
    Unsubscribe,
};
use rumqttc::mqttbytes::{Error, QoS};

use super::{Frame, Malformed, Opening, PacketIdentifier, Received, ServerLimits, checked};
use crate::limits::MAX_PACKET;
use crate::message::{Outbound, Qos, TopicFilter};
use crate::mqtt::reason::{Reason, ReasonCode};

/// Whether a packet may have this remaining length, where MQTT fixes it.
pub(super) fn length_allowed(kind: u8, length: usize) -> bool {
    match kind {
        2 | 4 | 11 => length == 2,
        13 => length == 0,
        _ => true,
    }
}

/// The packet at the front of `input`, which is there as a whole.
pub(super) fn decode(input: &mut BytesMut, frame: Frame) -> Result<Received, Malformed> {
    let packet = match Packet::read(input, MAX_PACKET) {
        Ok(packet) => packet,
        Err(Error::InvalidConnectReturnCode(code)) => return Ok(Received::Refused(Reason::new(code, None))),
        Err(Error::InvalidSubscribeReasonCode(code)) => return Err(frame.unknown_code(code)),
        Err(_) => return Err(frame.unreadable()),
    };
    Ok(match packet {
        Packet::ConnAck(ack) => match ack.code {
            ConnectReturnCode::Success => {
                Received::ConnAck { session_present: ack.session_present, limits: ServerLimits::default() }
            }
            code => Received::Refused(Reason::new(code as u8, None)),
        },
        Packet::Publish(_) => Received::Unexpected("PUBLISH"),
        Packet::PubAck(ack) => Received::PubAck(ack.pkid, Reason::new(0, None)),
        Packet::SubAck(ack) => Received::SubAck(ack.pkid, ack.return_codes.into_iter().map(granted).collect()),
        Packet::UnsubAck(ack) => Received::UnsubAck(ack.pkid),
        Packet::PingResp => Received::PingResp,
        Packet::Connect(_) => Received::Unexpected("CONNECT"),
        Packet::PubRec(_) => Received::Unexpected("PUBREC"),
        Packet::PubRel(release) => Received::PubRel(release.pkid),
        Packet::PubComp(_) => Received::Unexpected("PUBCOMP"),
        Packet::Subscribe(_) => Received::Unexpected("SUBSCRIBE"),
        Packet::Unsubscribe(_) => Received::Unexpected("UNSUBSCRIBE"),
        Packet::PingReq => Received::Unexpected("PINGREQ"),
        Packet::Disconnect => Received::Unexpected("DISCONNECT"),
    })
}

fn granted(code: SubscribeReasonCode) -> Result<Qos, Reason> {
    match code {
        SubscribeReasonCode::Success(qos) => Ok(level(qos).unwrap_or(Qos::AtLeastOnce)),
        SubscribeReasonCode::Failure => Err(Reason::new(ReasonCode::UNSPECIFIED.0, None)),
    }
}

fn level(qos: QoS) -> Option<Qos> {
    match qos {
        QoS::AtMostOnce => Some(Qos::AtMostOnce),
        QoS::AtLeastOnce => Some(Qos::AtLeastOnce),
        QoS::ExactlyOnce => None,
    }
}

fn qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
    }
}

pub(super) fn connect(opening: &Opening<'_>, output: &mut BytesMut) {
    let mut connect = Connect::new(opening.client_id);
    connect.clean_session = opening.session_expiry.is_zero();
    connect.keep_alive = opening.keep_alive;
    connect.last_will = opening.will.map(|will| LastWill {
        topic: will.topic.to_string(),
        message: will.payload.clone(),
        qos: qos(will.qos),
        retain: will.retain,
    });
    connect.login = opening.login.map(|login| Login {
        username: login.username.clone(),
        password: login.password.as_ref().map(|password| password.expose().clone()).unwrap_or_default(),
    });
    encode(&Packet::Connect(connect), output);
}

pub(super) fn publish(message: &Outbound, id: PacketIdentifier, dup: bool, output: &mut BytesMut) {
    let mut publish = Publish::from_bytes(message.topic.as_str(), qos(message.qos), message.payload.clone());
    publish.retain = message.retain;
    publish.pkid = id;
    publish.dup = dup;
    encode(&Packet::Publish(publish), output);
}

pub(super) fn subscribe(id: PacketIdentifier, filters: &[(TopicFilter, Qos)], output: &mut BytesMut) {
    let filters = filters.iter().map(|(filter, level)| SubscribeFilter::new(filter.to_string(), qos(*level)));
    let mut subscribe = Subscribe::new_many(filters);
    subscribe.pkid = id;
    encode(&Packet::Subscribe(subscribe), output);
}

pub(super) fn unsubscribe(id: PacketIdentifier, filters: &[TopicFilter], output: &mut BytesMut) {
    let topics = filters.iter().map(TopicFilter::to_string).collect();
    encode(&Packet::Unsubscribe(Unsubscribe { pkid: id, topics }), output);
}

pub(super) fn encode(packet: &Packet, output: &mut BytesMut) {
    checked(output, |output| packet.write(output, MAX_PACKET).map_err(|error: Error| error.to_string()));
}
