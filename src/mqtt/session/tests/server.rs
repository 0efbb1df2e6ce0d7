//! The server's side of a connection in the tests of the session, in both versions of MQTT.

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

use crate::mqtt::Protocol;

pub(super) const BOTH: [Protocol; 2] = [Protocol::Mqtt311, Protocol::Mqtt5];

const MAX: usize = 1 << 20;

/// What the client has sent.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    Connect { client_id: String, clean: bool, keep_alive: u16 },
    Publish { payload: Bytes, id: u16, dup: bool },
    PubAck(u16),
    PubRec(u16),
    PubComp(u16),
    Subscribe { id: u16, filters: Vec<String> },
    Unsubscribe { id: u16, filters: Vec<String> },
    PingReq,
    Disconnect,
}

/// What the server says.
#[derive(Debug, Clone)]
pub(super) enum Say {
    ConnAck {
        session_present: bool,
    },
    Refused(u8),
    PubAck(u16),
    /// The reason codes; 0 and 1 are QoS, 0x80 a failure.
    SubAck(u16, Vec<u8>),
    /// For so many filters.
    UnsubAck(u16, usize),
    Publish {
        payload: &'static str,
        id: u16,
        qos: u8,
    },
    PingResp,
}

impl Say {
    pub(super) fn bytes(&self, protocol: Protocol) -> BytesMut {
        let five = protocol == Protocol::Mqtt5;
        let mut body = Vec::new();
        let kind = match self {
            Say::ConnAck { session_present } => {
                body.extend([u8::from(*session_present), 0]);
                if five {
                    body.push(0);
                }
                0x20
            }
            Say::Refused(code) => {
                body.extend([0, *code]);
                if five {
                    body.push(0);
                }
                0x20
            }
            Say::PubAck(id) => {
                body.extend(id.to_be_bytes());
                0x40
            }
            Say::SubAck(id, codes) => {
                body.extend(id.to_be_bytes());
                if five {
                    body.push(0);
                }
                body.extend(codes);
                0x90
            }
            Say::UnsubAck(id, count) => {
                body.extend(id.to_be_bytes());
                if five {
                    body.push(0);
                    body.extend(vec![0; *count]);
                }
                0xb0
            }
            Say::Publish { payload, id, qos } => {
                body.extend([0, 1, b't']);
                body.extend(id.to_be_bytes());
                if five {
                    body.push(0);
                }
                body.extend(payload.as_bytes());
                0x30 | qos << 1
            }
            Say::PingResp => 0xd0,
        };
        let mut bytes = BytesMut::from(&[kind, u8::try_from(body.len()).unwrap()][..]);
        bytes.extend(body);
        bytes
    }
}

/// The next packet of the client; `None` if it isn't there as a whole.
pub(super) fn hear(protocol: Protocol, bytes: &mut BytesMut) -> Option<Heard> {
    match protocol {
        Protocol::Mqtt311 => hear_3_1_1(bytes),
        Protocol::Mqtt5 => hear_5(bytes),
    }
}

fn hear_3_1_1(bytes: &mut BytesMut) -> Option<Heard> {
    Some(match v4::Packet::read(bytes, MAX).ok()? {
        v4::Packet::Connect(connect) => {
            let v4::Connect { client_id, clean_session, keep_alive, .. } = connect;
            Heard::Connect { client_id, clean: clean_session, keep_alive }
        }
        v4::Packet::Publish(publish) => Heard::Publish { payload: publish.payload, id: publish.pkid, dup: publish.dup },
        v4::Packet::PubAck(ack) => Heard::PubAck(ack.pkid),
        v4::Packet::PubRec(ack) => Heard::PubRec(ack.pkid),
        v4::Packet::PubComp(ack) => Heard::PubComp(ack.pkid),
        v4::Packet::Subscribe(subscribe) => Heard::Subscribe {
            id: subscribe.pkid,
            filters: subscribe.filters.into_iter().map(|filter| filter.path).collect(),
        },
        v4::Packet::Unsubscribe(packet) => Heard::Unsubscribe { id: packet.pkid, filters: packet.topics },
        v4::Packet::PingReq => Heard::PingReq,
        v4::Packet::Disconnect => Heard::Disconnect,
        other => panic!("{other:?}"),
    })
}

fn hear_5(bytes: &mut BytesMut) -> Option<Heard> {
    if bytes.starts_with(&[0xe0, 0]) {
        let _ = bytes.split_to(2);
        return Some(Heard::Disconnect);
    }
    Some(match v5::Packet::read(bytes, None).ok()? {
        v5::Packet::Connect(connect, None, None) => {
            let properties = connect.properties.unwrap();
            assert_eq!(properties.session_expiry_interval == Some(0), connect.clean_start);
            assert_eq!((properties.receive_maximum, properties.topic_alias_max), (Some(100), None));
            let v5::Connect { client_id, clean_start, keep_alive, .. } = connect;
            Heard::Connect { client_id, clean: clean_start, keep_alive }
        }
        v5::Packet::Publish(publish) => Heard::Publish { payload: publish.payload, id: publish.pkid, dup: publish.dup },
        v5::Packet::PubAck(ack) => Heard::PubAck(ack.pkid),
        v5::Packet::PubRec(ack) => Heard::PubRec(ack.pkid),
        v5::Packet::PubComp(ack) => Heard::PubComp(ack.pkid),
        v5::Packet::Subscribe(subscribe) => Heard::Subscribe {
            id: subscribe.pkid,
            filters: subscribe.filters.into_iter().map(|filter| filter.path).collect(),
        },
        v5::Packet::Unsubscribe(packet) => Heard::Unsubscribe { id: packet.pkid, filters: packet.filters },
        v5::Packet::PingReq(_) => Heard::PingReq,
        other => panic!("{other:?}"),
    })
}
