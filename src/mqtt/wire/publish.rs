//! A PUBLISH from the server, in both versions of MQTT; and one that is larger than we take, of which only the beginning is
//! looked at.
//!
//! rumqttc's codec isn't used for them: of a packet with two subscription identifiers it takes the second for the payload.

use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};

use super::{Frame, Incoming, Malformed, PacketIdentifier, Received, variable_integer};
use crate::message::{Properties, Qos, Topic};
use crate::mqtt::options::Protocol;

/// What a PUBLISH says before its properties and payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mqtt) struct Head {
    pub(in crate::mqtt) topic: Topic,
    /// QoS 2 is taken as QoS 1, which is acknowledged in two steps.
    pub(in crate::mqtt) qos: Qos,
    pub(in crate::mqtt) is_exactly_once: bool,
    /// 0 with QoS 0.
    pub(in crate::mqtt) id: PacketIdentifier,
}

/// A PUBLISH larger than we take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mqtt) struct TooLarge {
    pub(in crate::mqtt) head: Head,
    /// Bytes of the whole packet.
    pub(in crate::mqtt) size: usize,
}

/// A PUBLISH that breaks rules within bounds that are right: a text that isn't UTF-8, wildcards in the topic, a property that it can't
/// have. It is of another client's making, and what comes after it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mqtt) struct Unreadable {
    /// With U+FFFD in the place of what isn't UTF-8.
    pub(in crate::mqtt) head: Head,
    /// Bytes of the whole packet.
    pub(in crate::mqtt) size: usize,
    pub(in crate::mqtt) why: Malformed,
}

/// A PUBLISH on its way past: its bytes are dropped as they come.
#[derive(Debug)]
pub(super) struct Passing {
    publish: TooLarge,
    left: usize,
}

impl Passing {
    /// And what is wrong with its topic. `None`: its head isn't there yet, of which there is no more than the longest topic.
    pub(super) fn begin(input: &[u8], frame: Frame) -> Result<Option<(Passing, Option<Malformed>)>, Malformed> {
        let whole = frame.total - frame.header;
        let Some(length) = input.get(frame.header..frame.header + 2) else { return Ok(None) };
        let length = 2 + usize::from(u16::from_be_bytes([length[0], length[1]])) + id_length(frame.flags);
        if length > whole {
            return Err(shorter());
        }
        let Some(head) = input.get(frame.header..frame.header + length) else { return Ok(None) };
        let (head, fault) = read_head(&mut PublishReader(Bytes::copy_from_slice(head)), frame.flags)?;
        if head.topic.as_str().is_empty() {
            return Err(Malformed::Invalid("a PUBLISH without a topic, and larger than we take".to_owned()));
        }
        Ok(Some((Passing { publish: TooLarge { head, size: frame.total }, left: frame.total }, fault)))
    }

    /// How many bytes of it have come, and how many it has.
    pub(super) fn come(&self) -> (usize, usize) {
        (self.publish.size - self.left, self.publish.size)
    }

    /// Drops what has come of it; the PUBLISH once all of it has.
    pub(super) fn drop_from(&mut self, input: &mut BytesMut) -> Option<TooLarge> {
        let come = self.left.min(input.len());
        input.advance(come);
        self.left -= come;
        (self.left == 0).then(|| self.publish.clone())
    }
}

/// The PUBLISH at the front of `input`, which is there as a whole.
pub(super) fn decode(input: &mut BytesMut, frame: Frame, protocol: Protocol) -> Result<Received, Malformed> {
    let mut reader = PublishReader(input.split_to(frame.total).freeze());
    reader.take(frame.header)?;
    let (head, fault) = read_head(&mut reader, frame.flags)?;
    let carried = match protocol {
        Protocol::Mqtt311 => Ok(Carried::default()),
        Protocol::Mqtt5 => {
            let length = reader.variable_integer()?;
            properties(PublishReader(reader.take(length)?))
        }
    };
    let carried = match (fault, carried) {
        (Some(why), _) | (None, Err(why)) => {
            return Ok(Received::Unreadable(Unreadable { head, size: frame.total, why }));
        }
        (None, Ok(carried)) => carried,
    };
    if carried.has_alias || (head.topic.as_str().is_empty() && protocol == Protocol::Mqtt5) {
        return Ok(Received::TopicAlias);
    }
    if head.topic.as_str().is_empty() {
        return Err(Malformed::Invalid("a PUBLISH without a topic".to_owned()));
    }
    let properties = carried.properties;
    Ok(Received::Publish(Incoming {
        head,
        payload: reader.0,
        retain: frame.flags & 1 != 0,
        duplicate: frame.flags & 8 != 0,
        properties: (properties != Properties::default()).then(|| Arc::new(properties)),
        subscriptions: carried.subscriptions,
    }))
}

/// And what is wrong with its topic.
fn read_head(reader: &mut PublishReader, flags: u8) -> Result<(Head, Option<Malformed>), Malformed> {
    let name = reader.binary()?;
    let topic = Topic::received(&String::from_utf8_lossy(&name));
    let fault = match std::str::from_utf8(&name) {
        Err(_) => Some(not_utf8()),
        Ok(text) => text.contains(['+', '#']).then(|| Malformed::Wildcard(topic.clone())),
    };
    let id = if id_length(flags) == 0 { 0 } else { reader.u16()? };
    let (qos, is_exactly_once) = match flags >> 1 & 3 {
        0 => (Qos::AtMostOnce, false),
        1 => (Qos::AtLeastOnce, false),
        2 => (Qos::AtLeastOnce, true),
        _ => return Err(Malformed::Invalid("a PUBLISH with QoS 3".to_owned())),
    };
    if qos == Qos::AtLeastOnce && id == 0 {
        return Err(Malformed::Invalid("a PUBLISH with 0 as its packet identifier".to_owned()));
    }
    Ok((Head { topic, qos, is_exactly_once, id }, fault))
}

/// Bytes of the packet identifier.
fn id_length(flags: u8) -> usize {
    if flags & 0b0110 == 0 { 0 } else { 2 }
}

/// What the properties of a PUBLISH say.
#[derive(Debug, Default)]
struct Carried {
    properties: Properties,
    /// The identifiers of the subscriptions it comes for.
    subscriptions: Vec<u32>,
    has_alias: bool,
}

/// The properties that a PUBLISH may have (MQTT 5, 3.3.2.3).
fn properties(mut reader: PublishReader) -> Result<Carried, Malformed> {
    let mut carried = Carried::default();
    let properties = &mut carried.properties;
    while !reader.0.is_empty() {
        match reader.u8()? {
            0x01 => properties.payload_format_indicator = Some(reader.u8()?),
            0x02 => properties.expires_in = Some(reader.u32()?),
            0x03 => properties.content_type = Some(reader.text()?),
            0x08 => properties.response_topic = Some(reader.text()?),
            0x09 => properties.correlation_data = Some(reader.binary()?),
            0x0B => carried.subscriptions.push(u32::try_from(reader.variable_integer()?).unwrap_or(0)),
            0x23 => {
                reader.u16()?;
                carried.has_alias = true;
            }
            0x26 => properties.user_properties.push((reader.text()?, reader.text()?)),
            other => return Err(Malformed::Invalid(format!("a PUBLISH with the property 0x{other:02X}"))),
        }
    }
    Ok(carried)
}

/// Takes a packet apart.
struct PublishReader(Bytes);

impl PublishReader {
    fn take(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if self.0.len() < length {
            return Err(shorter());
        }
        Ok(self.0.split_to(length))
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.take(1).map(|mut byte| byte.get_u8())
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.take(2).map(|mut bytes| bytes.get_u16())
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take(4).map(|mut bytes| bytes.get_u32())
    }

    fn variable_integer(&mut self) -> Result<usize, Malformed> {
        let (size, value) = variable_integer(&self.0).ok_or_else(shorter)?;
        self.0.advance(size);
        Ok(value)
    }

    fn binary(&mut self) -> Result<Bytes, Malformed> {
        let length = self.u16()?;
        self.take(length.into())
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let bytes = self.binary()?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| not_utf8())
    }
}

fn not_utf8() -> Malformed {
    Malformed::Invalid("a text that isn't UTF-8".to_owned())
}

fn shorter() -> Malformed {
    Malformed::Invalid("a PUBLISH that is shorter than its parts".to_owned())
}
