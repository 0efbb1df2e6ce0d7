//! Packets from the client.

use bytes::Bytes;

use super::Downlink;
use super::bytes::{Broken, PropertyValue, Reader, USER_PROPERTY, variable};
use crate::message::Properties;
use crate::mqtt::Protocol;

#[derive(Debug)]
pub(in crate::simulation) enum Heard {
    Connect(Connect),
    Publish(Publish),
    PubAck(u16),
    Subscribe(Subscribe),
    Unsubscribe(u16, Vec<String>),
    PingReq,
    /// With the reason code, and the session expiry in seconds if it is another from now on.
    Disconnect(u8, Option<u32>),
    /// One that the server doesn't expect.
    Other(&'static str),
}

#[derive(Debug, Clone)]
pub(in crate::simulation) struct Connect {
    pub(in crate::simulation) protocol: Protocol,
    pub(in crate::simulation) client_id: String,
    pub(in crate::simulation) clean: bool,
    /// Seconds.
    pub(in crate::simulation) keep_alive: u16,
    /// Seconds; MQTT 5 only.
    pub(in crate::simulation) session_expiry: u32,
    pub(in crate::simulation) receive_maximum: u16,
    pub(in crate::simulation) maximum_packet_size: Option<u32>,
    pub(in crate::simulation) will: Option<Downlink>,
}

#[derive(Debug)]
pub(in crate::simulation) struct Publish {
    pub(in crate::simulation) message: Downlink,
    pub(in crate::simulation) dup: bool,
    /// 0 with QoS 0.
    pub(in crate::simulation) id: u16,
    /// With MQTT 5: the number that stands for its topic, which may be left out then.
    pub(in crate::simulation) alias: Option<u16>,
    /// Bytes of the whole packet.
    pub(in crate::simulation) size: usize,
}

#[derive(Debug)]
pub(in crate::simulation) struct Subscribe {
    pub(in crate::simulation) id: u16,
    /// With the options, of which MQTT 3.1.1 has only the QoS.
    pub(in crate::simulation) filters: Vec<(String, u8)>,
    pub(in crate::simulation) identifier: Option<u32>,
}

/// The length of the packet at the front, with its fixed header, and how much of it that is. `None`: more has to come.
pub(in crate::simulation) fn extent(input: &[u8]) -> Result<Option<(usize, usize)>, Broken> {
    let Some((&first, rest)) = input.split_first() else { return Ok(None) };
    let (kind, flags) = (first >> 4, first & 0xf);
    let wanted = if matches!(kind, 6 | 8 | 10) { 2 } else { 0 };
    if kind != 3 && flags != wanted {
        return Err(format!("the first byte 0x{first:02x}, whose flags are reserved [MQTT-2.1.3-1]"));
    }
    let length = variable(rest)?;
    Ok(length.map(|(size, length)| (1 + size + length, 1 + size)))
}

/// The packet whose first byte is `first`. Before CONNECT the protocol isn't known.
pub(in crate::simulation) fn hear(
    first: u8,
    body: &[u8],
    protocol: Option<Protocol>,
    size: usize,
) -> Result<Heard, Broken> {
    let mut reader = Reader(body);
    let five = protocol == Some(Protocol::Mqtt5);
    let heard = match first >> 4 {
        1 => Heard::Connect(connect(&mut reader)?),
        3 => Heard::Publish(publish(&mut reader, first & 0xf, five, size)?),
        4 => Heard::PubAck(puback(&mut reader, five)?),
        8 => Heard::Subscribe(subscribe(&mut reader, five)?),
        10 => unsubscribe(&mut reader, five)?,
        12 => Heard::PingReq,
        14 => disconnect(&mut reader, five)?,
        kind => return Ok(Heard::Other(NAMES[usize::from(kind)])),
    };
    reader.end()?;
    Ok(heard)
}

const NAMES: [&str; 16] = [
    "a packet of type 0",
    "CONNECT",
    "CONNACK",
    "PUBLISH",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBSCRIBE",
    "SUBACK",
    "UNSUBSCRIBE",
    "UNSUBACK",
    "PINGREQ",
    "PINGRESP",
    "DISCONNECT",
    "AUTH",
];

fn connect(reader: &mut Reader<'_>) -> Result<Connect, Broken> {
    if reader.text()? != "MQTT" {
        return Err("a protocol name that isn't MQTT [MQTT-3.1.2-1]".to_owned());
    }
    let protocol = match reader.u8()? {
        4 => Protocol::Mqtt311,
        5 => Protocol::Mqtt5,
        other => return Err(format!("the protocol level {other} [MQTT-3.1.2-2]")),
    };
    let five = protocol == Protocol::Mqtt5;
    let flags = reader.u8()?;
    let (has_will, will_qos, will_retain) = (flags & 4 != 0, flags >> 3 & 3, flags & 0x20 != 0);
    if flags & 1 != 0 {
        return Err("a CONNECT with the reserved flag [MQTT-3.1.2-3]".to_owned());
    }
    if will_qos > 2 || (!has_will && (will_qos > 0 || will_retain)) {
        return Err(format!("a CONNECT with the will flags 0x{flags:02x} [MQTT-3.1.2-11 to 14]"));
    }
    let keep_alive = reader.u16()?;
    let mut connect = Connect {
        protocol,
        client_id: String::new(),
        clean: flags & 2 != 0,
        keep_alive,
        session_expiry: 0,
        receive_maximum: u16::MAX,
        maximum_packet_size: None,
        will: None,
    };
    if five {
        for (identifier, value) in reader.properties(&[0x11, 0x21, 0x27, 0x22, 0x19, 0x17, USER_PROPERTY])? {
            match (identifier, value) {
                (0x21 | 0x27, PropertyValue::Number(0)) => {
                    return Err(format!("0 as the property 0x{identifier:02x} (3.1.2.11)"));
                }
                (0x11, PropertyValue::Number(seconds)) => connect.session_expiry = seconds,
                (0x21, PropertyValue::Number(maximum)) => connect.receive_maximum = maximum as u16,
                (0x27, PropertyValue::Number(maximum)) => connect.maximum_packet_size = Some(maximum),
                _ => {}
            }
        }
    }
    connect.client_id = reader.text()?;
    if has_will {
        let properties = match five {
            true => properties(reader.properties(&[0x18, 0x01, 0x02, 0x03, 0x08, 0x09, USER_PROPERTY])?),
            false => Properties::default(),
        };
        let (topic, payload) = (topic(reader)?, Bytes::copy_from_slice(reader.binary()?));
        connect.will = Some(Downlink { topic, payload, qos: will_qos, retain: will_retain, properties });
    }
    if flags & 0x80 != 0 {
        reader.text()?;
    }
    if flags & 0x40 != 0 {
        reader.binary()?;
    }
    Ok(connect)
}

fn publish(reader: &mut Reader<'_>, flags: u8, five: bool, size: usize) -> Result<Publish, Broken> {
    let (dup, qos, retain) = (flags & 8 != 0, flags >> 1 & 3, flags & 1 != 0);
    if qos == 3 {
        return Err("a PUBLISH with QoS 3 [MQTT-3.3.1-4]".to_owned());
    }
    if dup && qos == 0 {
        return Err("a PUBLISH with QoS 0 and DUP [MQTT-3.3.1-2]".to_owned());
    }
    let topic = topic(reader)?;
    let id = if qos > 0 { packet_identifier(reader)? } else { 0 };
    let carried = match five {
        true => reader.properties(&[0x01, 0x02, 0x23, 0x08, 0x09, USER_PROPERTY, 0x03])?,
        false => Vec::new(),
    };
    let alias = carried.iter().find_map(|(identifier, value)| match value {
        PropertyValue::Number(alias) if *identifier == 0x23 => u16::try_from(*alias).ok(),
        _ => None,
    });
    if topic.is_empty() && alias.is_none() {
        return Err("a PUBLISH without a topic [MQTT-4.7.3-1]".to_owned());
    }
    let properties = properties(carried);
    if properties.payload_format_indicator.is_some_and(|indicator| indicator > 1) {
        return Err("a payload format indicator above 1 (3.3.2.3.2)".to_owned());
    }
    if properties.response_topic.as_ref().is_some_and(|topic| topic.contains(['+', '#'])) {
        return Err("a response topic with wildcards [MQTT-3.3.2-14]".to_owned());
    }
    let payload = Bytes::copy_from_slice(reader.rest());
    Ok(Publish { message: Downlink { topic, payload, qos, retain, properties }, dup, id, alias, size })
}

fn topic(reader: &mut Reader<'_>) -> Result<String, Broken> {
    let topic = reader.text()?;
    match topic.contains(['+', '#']) {
        true => Err(format!("the topic {topic:?} with wildcards [MQTT-3.3.2-2]")),
        false => Ok(topic),
    }
}

/// Those that a message carries to its receivers.
fn properties(carried: Vec<(u8, PropertyValue)>) -> Properties {
    let mut properties = Properties::default();
    for (identifier, value) in carried {
        match (identifier, value) {
            (0x01, PropertyValue::Number(indicator)) => properties.payload_format_indicator = Some(indicator as u8),
            (0x02, PropertyValue::Number(seconds)) => properties.expires_in = Some(seconds),
            (0x03, PropertyValue::Text(text)) => properties.content_type = Some(text),
            (0x08, PropertyValue::Text(text)) => properties.response_topic = Some(text),
            (0x09, PropertyValue::Binary(bytes)) => properties.correlation_data = Some(bytes),
            (USER_PROPERTY, PropertyValue::Pair(name, value)) => properties.user_properties.push((name, value)),
            _ => {}
        }
    }
    properties
}

fn packet_identifier(reader: &mut Reader<'_>) -> Result<u16, Broken> {
    match reader.u16()? {
        0 => Err("the packet identifier 0 [MQTT-2.2.1-3]".to_owned()),
        id => Ok(id),
    }
}

fn puback(reader: &mut Reader<'_>, five: bool) -> Result<u16, Broken> {
    let id = packet_identifier(reader)?;
    if five && !reader.0.is_empty() {
        reader.u8()?;
        if !reader.0.is_empty() {
            reader.properties(&[0x1f, USER_PROPERTY])?;
        }
    }
    Ok(id)
}

fn subscribe(reader: &mut Reader<'_>, five: bool) -> Result<Subscribe, Broken> {
    let id = packet_identifier(reader)?;
    let mut identifier = None;
    if five {
        for (property, value) in reader.properties(&[0x0b, USER_PROPERTY])? {
            match (property, value) {
                (0x0b, PropertyValue::Number(0)) => return Err("the subscription identifier 0 (3.8.2.1.2)".to_owned()),
                (0x0b, PropertyValue::Number(number)) => identifier = Some(number),
                _ => {}
            }
        }
    }
    let mut filters = Vec::new();
    while !reader.0.is_empty() {
        let filter = filter(reader)?;
        let options = reader.u8()?;
        let (reserved, retain_handling) = if five { (options & 0xc0, options >> 4 & 3) } else { (options & 0xfc, 0) };
        if reserved != 0 || options & 3 == 3 || retain_handling == 3 {
            return Err(format!("the subscription options 0x{options:02x} [MQTT-3.8.3-5]"));
        }
        if options & 4 != 0 && filter.starts_with("$share/") {
            return Err("No Local on a shared subscription [MQTT-3.8.3-4]".to_owned());
        }
        filters.push((filter, options));
    }
    match filters.is_empty() {
        true => Err("a SUBSCRIBE without filters [MQTT-3.8.3-2]".to_owned()),
        false => Ok(Subscribe { id, filters, identifier }),
    }
}

fn unsubscribe(reader: &mut Reader<'_>, five: bool) -> Result<Heard, Broken> {
    let id = packet_identifier(reader)?;
    if five {
        reader.properties(&[USER_PROPERTY])?;
    }
    let mut filters = Vec::new();
    while !reader.0.is_empty() {
        filters.push(filter(reader)?);
    }
    match filters.is_empty() {
        true => Err("an UNSUBSCRIBE without filters [MQTT-3.10.3-2]".to_owned()),
        false => Ok(Heard::Unsubscribe(id, filters)),
    }
}

fn filter(reader: &mut Reader<'_>) -> Result<String, Broken> {
    let filter = reader.text()?;
    let levels: Vec<&str> = filter.split('/').collect();
    let is_hash_misplaced = levels.iter().rev().skip(1).any(|level| level.contains('#'));
    let is_mixed = levels.iter().any(|level| level.len() > 1 && level.contains(['+', '#']));
    match filter.is_empty() || is_hash_misplaced || is_mixed {
        true => Err(format!("the filter {filter:?} [MQTT-4.7.1-2, MQTT-4.7.1-3, MQTT-4.7.3-1]")),
        false => Ok(filter),
    }
}

fn disconnect(reader: &mut Reader<'_>, five: bool) -> Result<Heard, Broken> {
    if !five || reader.0.is_empty() {
        return Ok(Heard::Disconnect(0, None));
    }
    let code = reader.u8()?;
    let properties = if reader.0.is_empty() { Vec::new() } else { reader.properties(&[0x11, 0x1f, USER_PROPERTY])? };
    let expiry = properties.iter().find_map(|property| match property {
        (0x11, PropertyValue::Number(seconds)) => Some(*seconds),
        _ => None,
    });
    Ok(Heard::Disconnect(code, expiry))
}
