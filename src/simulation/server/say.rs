//! Packets to the client.

use super::Downlink;
use super::behaviour::Announced;
use super::bytes::{packet, put_binary, put_variable};
use crate::mqtt::Protocol;

/// What CONNACK says beside what it announces.
pub(in crate::simulation) struct Accepted {
    pub(in crate::simulation) session_present: bool,
    /// Seconds, if it isn't what was asked for.
    pub(in crate::simulation) session_expiry: Option<u32>,
    pub(in crate::simulation) keep_alive: Option<u16>,
}

pub(in crate::simulation) fn connack(protocol: Protocol, accepted: &Accepted, announced: &Announced) -> Vec<u8> {
    let mut body = vec![u8::from(accepted.session_present), 0];
    if protocol == Protocol::Mqtt5 {
        let mut properties = Vec::new();
        let mut put = |identifier: u8, bytes: &[u8]| {
            properties.push(identifier);
            properties.extend(bytes);
        };
        put(0x21, &announced.receive_maximum.to_be_bytes());
        if let Some(size) = announced.maximum_packet_size {
            put(0x27, &size.to_be_bytes());
        }
        if announced.maximum_qos < 2 {
            put(0x24, &[announced.maximum_qos]);
        }
        for (identifier, is_available) in [
            (0x25, announced.retain),
            (0x28, announced.wildcards),
            (0x29, announced.subscription_identifiers),
            (0x2a, announced.shared_subscriptions),
        ] {
            if !is_available {
                put(identifier, &[0]);
            }
        }
        put(0x22, &announced.topic_alias_maximum.to_be_bytes());
        if let Some(keep_alive) = accepted.keep_alive {
            put(0x13, &keep_alive.to_be_bytes());
        }
        if let Some(expiry) = accepted.session_expiry {
            put(0x11, &expiry.to_be_bytes());
        }
        put_variable(properties.len(), &mut body);
        body.extend(properties);
    }
    packet(0x20, &body)
}

/// CONNACK with a failure.
pub(in crate::simulation) fn refused(protocol: Protocol, code: u8) -> Vec<u8> {
    match protocol {
        Protocol::Mqtt311 => packet(0x20, &[0, code]),
        Protocol::Mqtt5 => packet(0x20, &[0, code, 0]),
    }
}

/// Of MQTT 3.1.1 only with success, which is left out in MQTT 5, too (3.4.2.1).
pub(in crate::simulation) fn puback(id: u16, code: u8) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    match code {
        0 => packet(0x40, &[high, low]),
        _ => packet(0x40, &[high, low, code]),
    }
}

pub(in crate::simulation) fn suback(protocol: Protocol, id: u16, codes: &[u8]) -> Vec<u8> {
    answer(0x90, protocol, id, codes)
}

/// For so many filters.
pub(in crate::simulation) fn unsuback(protocol: Protocol, id: u16, codes: &[u8]) -> Vec<u8> {
    match protocol {
        Protocol::Mqtt311 => answer(0xb0, protocol, id, &[]),
        Protocol::Mqtt5 => answer(0xb0, protocol, id, codes),
    }
}

fn answer(first: u8, protocol: Protocol, id: u16, codes: &[u8]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if protocol == Protocol::Mqtt5 {
        body.push(0);
    }
    body.extend(codes);
    packet(first, &body)
}

pub(in crate::simulation) fn pingresp() -> Vec<u8> {
    vec![0xd0, 0]
}

/// MQTT 5 only.
pub(in crate::simulation) fn disconnect(code: u8) -> Vec<u8> {
    packet(0xe0, &[code])
}

/// How a message is sent.
pub(in crate::simulation) struct Publishing<'a> {
    pub(in crate::simulation) id: u16,
    pub(in crate::simulation) qos: u8,
    pub(in crate::simulation) retain: bool,
    pub(in crate::simulation) dup: bool,
    pub(in crate::simulation) identifiers: &'a [u32],
    /// Seconds left.
    pub(in crate::simulation) expires_in: Option<u32>,
}

pub(in crate::simulation) fn publish(protocol: Protocol, message: &Downlink, how: &Publishing<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    put_binary(message.topic.as_bytes(), &mut body);
    if how.qos > 0 {
        body.extend(how.id.to_be_bytes());
    }
    if protocol == Protocol::Mqtt5 {
        let properties = properties(message, how);
        put_variable(properties.len(), &mut body);
        body.extend(properties);
    }
    body.extend(&message.payload);
    packet(0x30 | u8::from(how.dup) << 3 | how.qos << 1 | u8::from(how.retain), &body)
}

fn properties(message: &Downlink, how: &Publishing<'_>) -> Vec<u8> {
    let mut output = Vec::new();
    let carried = &message.properties;
    if let Some(indicator) = carried.payload_format_indicator {
        output.extend([0x01, indicator]);
    }
    if let Some(seconds) = how.expires_in {
        output.push(0x02);
        output.extend(seconds.to_be_bytes());
    }
    let binaries = [
        (0x03, carried.content_type.as_ref().map(String::as_bytes)),
        (0x08, carried.response_topic.as_ref().map(String::as_bytes)),
        (0x09, carried.correlation_data.as_deref()),
    ];
    for (identifier, bytes) in binaries {
        if let Some(bytes) = bytes {
            output.push(identifier);
            put_binary(bytes, &mut output);
        }
    }
    for identifier in how.identifiers {
        output.push(0x0b);
        put_variable(*identifier as usize, &mut output);
    }
    for (name, value) in &carried.user_properties {
        output.push(0x26);
        put_binary(name.as_bytes(), &mut output);
        put_binary(value.as_bytes(), &mut output);
    }
    output
}
