//! MQTT 5.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::v5::{
    ConnAckProperties, Connect, ConnectProperties, Filter, LastWill, Login, Packet, Publish, PublishProperties,
    RetainForwardRule, SubAck, Subscribe, SubscribeProperties, SubscribeReasonCode, Unsubscribe,
};
use rumqttc::v5::mqttbytes::{Error, QoS};

use super::{Frame, Malformed, Opening, PacketIdentifier, Received, Sent, ServerLimits, checked};
use crate::limits::{MAX_IN_FLIGHT, MAX_PACKET};
use crate::message::{Outbound, Qos, TopicFilter};
use crate::mqtt::options::Subscribing;
use crate::mqtt::reason::Reason;

/// The codec's bound is on the remaining length.
const MAX: Option<u32> = Some(MAX_PACKET as u32);

/// The packet at the front of `input`, which is there as a whole.
pub(super) fn decode(input: &mut BytesMut, frame: Frame) -> Result<Received, Malformed> {
    let body = frame.body(input);
    // Where the reason code stands, which the codec gives as a different type without number for each packet (3.2.2, 3.4.2,
    // 3.14.2); left out it means success.
    let at = |index: usize| body.get(index).copied().unwrap_or(0);
    let (connack, puback, disconnect) = (at(1), at(2), at(0));
    match (frame.kind, body.len()) {
        // A server that knows only MQTT 3.1.1 refuses in its words, without properties.
        (2, 2) => return refused_by_3_1_1(input, frame, connack),
        // Likewise, and so may the properties (3.6.2.1): whatever it says, the message is let go of.
        (6, 2..) => {
            let id = PacketIdentifier::from_be_bytes([at(0), at(1)]);
            let _ = input.split_to(frame.total);
            return Ok(Received::PubRel(id));
        }
        // The reason code may be left out (3.14.2.1), and so may the properties (3.14.2.2.1): the codec wants both.
        (14, 0 | 1) => {
            let _ = input.split_to(frame.total);
            return Ok(Received::Disconnect(Reason::new(disconnect, None)));
        }
        _ => {}
    }
    let packet = match Packet::read(input, MAX) {
        Ok(packet) => packet,
        Err(Error::InvalidConnectReturnCode(code)) if frame.kind == 2 => {
            return Ok(Received::Refused(Reason::new(code, None)));
        }
        Err(
            Error::InvalidConnectReturnCode(code)
            | Error::InvalidReason(code)
            | Error::InvalidSubscribeReasonCode(code),
        ) => {
            return Err(frame.unknown_code(code));
        }
        // Also that bytes are missing: within a packet that is there as a whole.
        Err(_) => return Err(frame.unreadable()),
    };
    Ok(match packet {
        Packet::ConnAck(ack) if connack != 0 => {
            Received::Refused(Reason::new(connack, ack.properties.and_then(|properties| properties.reason_string)))
        }
        Packet::ConnAck(ack) => {
            let limits = ack.properties.map(limits).unwrap_or_default();
            Received::ConnAck { session_present: ack.session_present, limits }
        }
        Packet::Publish(_) => Received::Unexpected("PUBLISH"),
        Packet::PubAck(ack) => {
            let text = ack.properties.and_then(|properties| properties.reason_string);
            Received::PubAck(ack.pkid, Reason::new(puback, text))
        }
        Packet::SubAck(ack) => suback(ack),
        Packet::UnsubAck(ack) => Received::UnsubAck(ack.pkid),
        Packet::PingResp(_) => Received::PingResp,
        Packet::Disconnect(packet) => {
            let text = packet.properties.and_then(|properties| properties.reason_string);
            Received::Disconnect(Reason::new(disconnect, text))
        }
        Packet::Auth(_) => Received::Unexpected("AUTH"),
        Packet::Connect(..) => Received::Unexpected("CONNECT"),
        Packet::PubRec(_) => Received::Unexpected("PUBREC"),
        Packet::PubRel(_) => Received::Unexpected("PUBREL"),
        Packet::PubComp(_) => Received::Unexpected("PUBCOMP"),
        Packet::Subscribe(_) => Received::Unexpected("SUBSCRIBE"),
        Packet::Unsubscribe(_) => Received::Unexpected("UNSUBSCRIBE"),
        Packet::PingReq(_) => Received::Unexpected("PINGREQ"),
    })
}

fn refused_by_3_1_1(input: &mut BytesMut, frame: Frame, code: u8) -> Result<Received, Malformed> {
    let _ = input.split_to(frame.total);
    match code {
        // It hasn't looked at the version.
        0 => Err(Malformed::Invalid("a CONNACK of MQTT 3.1.1".to_owned())),
        code => Ok(Received::Refused(Reason::new(code, None))),
    }
}

/// What the server restricts.
fn limits(properties: ConnAckProperties) -> ServerLimits {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    ServerLimits {
        receive_maximum: properties.receive_max.map(usize::from),
        max_packet: properties.max_packet_size.map(|size| size as usize),
        no_qos_1: properties.max_qos == Some(0),
        no_retain: properties.retain_available == Some(0),
        no_wildcards: properties.wildcard_subscription_available == Some(0),
        no_shared: properties.shared_subscription_available == Some(0),
        no_identifiers: properties.subscription_identifiers_available == Some(0),
        keep_alive: properties.server_keep_alive.map(|keep_alive| seconds(keep_alive.into())),
        session_expiry: properties.session_expiry_interval.map(seconds),
        topic_aliases: properties.topic_alias_max.unwrap_or(0),
        renamed: properties.assigned_client_identifier.is_some(),
    }
}

fn suback(ack: SubAck) -> Received {
    let text = ack.properties.and_then(|properties| properties.reason_string);
    let granted = |code: SubscribeReasonCode| match code {
        SubscribeReasonCode::Success(QoS::AtMostOnce) => Ok(Qos::AtMostOnce),
        SubscribeReasonCode::Success(_) => Ok(Qos::AtLeastOnce),
        failure => Err(Reason::new(number(failure), text.clone())),
    };
    Received::SubAck(ack.pkid, ack.return_codes.into_iter().map(granted).collect())
}

/// The reason code of a failed SUBSCRIBE (3.9.3).
fn number(code: SubscribeReasonCode) -> u8 {
    match code {
        SubscribeReasonCode::Success(qos) => qos as u8,
        SubscribeReasonCode::Failure | SubscribeReasonCode::Unspecified => 0x80,
        SubscribeReasonCode::ImplementationSpecific => 0x83,
        SubscribeReasonCode::NotAuthorized => 0x87,
        SubscribeReasonCode::TopicFilterInvalid => 0x8F,
        SubscribeReasonCode::PkidInUse => 0x91,
        SubscribeReasonCode::QuotaExceeded => 0x97,
        SubscribeReasonCode::SharedSubscriptionsNotSupported => 0x9E,
        SubscribeReasonCode::SubscriptionIdNotSupported => 0xA1,
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => 0xA2,
    }
}

pub(super) fn connect(opening: &Opening<'_>, output: &mut BytesMut) {
    let mut properties = ConnectProperties::new();
    let expiry = u32::try_from(opening.session_expiry.as_secs()).unwrap_or(u32::MAX);
    properties.session_expiry_interval = Some(expiry);
    properties.receive_maximum = Some(MAX_IN_FLIGHT as u16);
    properties.max_packet_size = MAX.filter(|_| opening.has_max_packet);
    let connect = Connect {
        keep_alive: opening.keep_alive,
        client_id: opening.client_id.to_owned(),
        clean_start: opening.session_expiry.is_zero(),
        properties: Some(properties),
    };
    // Without a delay: it is for those who want to know now.
    let will = opening.will.map(|will| LastWill {
        topic: Bytes::copy_from_slice(will.topic.as_str().as_bytes()),
        message: will.payload.clone(),
        qos: qos(will.qos),
        retain: will.retain,
        properties: None,
    });
    let login = opening.login.map(|login| Login {
        username: login.username.clone(),
        password: login.password.as_ref().map(|password| password.expose().clone()).unwrap_or_default(),
    });
    encode(&Packet::Connect(connect, will, login), output);
}

pub(super) fn publish(message: &Outbound, id: PacketIdentifier, dup: bool, now: Instant, output: &mut BytesMut) {
    encode(&Packet::Publish(packet(message, id, dup, now)), output);
}

/// For the first time, with its topic so.
pub(super) fn publish_as(message: &Outbound, id: PacketIdentifier, sent: Sent, now: Instant, output: &mut BytesMut) {
    let mut publish = packet(message, id, false, now);
    let alias = match sent {
        Sent::Plain => None,
        Sent::Named(alias) => Some(alias),
        Sent::Alias(alias) => {
            publish.topic = Bytes::new();
            Some(alias)
        }
    };
    if alias.is_some() {
        let none = PublishProperties {
            payload_format_indicator: None,
            message_expiry_interval: None,
            topic_alias: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
            subscription_identifiers: Vec::new(),
            content_type: None,
        };
        publish.properties.get_or_insert(none).topic_alias = alias;
    }
    encode(&Packet::Publish(publish), output);
}

/// Bytes that a message takes as a packet.
pub(super) fn size(message: &Outbound, now: Instant) -> usize {
    Packet::Publish(packet(message, 1, false, now)).size()
}

fn packet(message: &Outbound, id: PacketIdentifier, dup: bool, now: Instant) -> Publish {
    let properties = message.properties.as_ref().map(|properties| PublishProperties {
        payload_format_indicator: properties.payload_format_indicator,
        message_expiry_interval: properties.expiry_left(now),
        topic_alias: None,
        response_topic: properties.response_topic.clone(),
        correlation_data: properties.correlation_data.clone(),
        user_properties: properties.user_properties.clone(),
        subscription_identifiers: Vec::new(),
        content_type: properties.content_type.clone(),
    });
    Publish {
        dup,
        qos: qos(message.qos),
        retain: message.retain,
        topic: Bytes::copy_from_slice(message.topic.as_str().as_bytes()),
        pkid: id,
        payload: message.payload.clone(),
        properties,
    }
}

pub(super) fn subscribe(
    id: PacketIdentifier,
    filters: &[(TopicFilter, Qos)],
    identifier: Option<u32>,
    subscribing: Subscribing,
    output: &mut BytesMut,
) {
    let filters = filters.iter().map(|(filter, level)| Filter {
        // Not with a shared subscription (`MQTT-3.8.3-4`).
        nolocal: subscribing.no_local && !filter.is_shared(),
        preserve_retain: subscribing.retain_as_published,
        retain_forward_rule: match subscribing.only_new_retained {
            true => RetainForwardRule::OnNewSubscribe,
            false => RetainForwardRule::OnEverySubscribe,
        },
        ..Filter::new(filter.as_str(), qos(*level))
    });
    let properties =
        identifier.map(|identifier| SubscribeProperties { id: Some(identifier as usize), user_properties: Vec::new() });
    let mut subscribe = Subscribe::new_many(filters, properties);
    subscribe.pkid = id;
    encode(&Packet::Subscribe(subscribe), output);
}

pub(super) fn unsubscribe(id: PacketIdentifier, filters: &[TopicFilter], output: &mut BytesMut) {
    let filters = filters.iter().map(TopicFilter::to_string).collect();
    encode(&Packet::Unsubscribe(Unsubscribe { pkid: id, filters, properties: None }), output);
}

fn qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
    }
}

fn encode(packet: &Packet, output: &mut BytesMut) {
    checked(output, |output| packet.write(output, MAX).map_err(|error| error.to_string()));
}
