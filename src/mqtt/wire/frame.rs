//! Where a packet begins and ends.

use super::{Malformed, v4};
use crate::limits::MAX_PACKET;
use crate::mqtt::options::Protocol;

/// The packet type of a PUBLISH.
pub(super) const PUBLISH: u8 = 3;

/// The packet types.
const NAMES: [&str; 16] = [
    "a packet of an unknown type",
    "a CONNECT",
    "a CONNACK",
    "a PUBLISH",
    "a PUBACK",
    "a PUBREC",
    "a PUBREL",
    "a PUBCOMP",
    "a SUBSCRIBE",
    "a SUBACK",
    "an UNSUBSCRIBE",
    "an UNSUBACK",
    "a PINGREQ",
    "a PINGRESP",
    "a DISCONNECT",
    "an AUTH",
];

/// What comes next, as far as that matters before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mqtt) enum PacketKind {
    Publish,
    SubAck,
    Other,
}

impl PacketKind {
    /// By the first byte of `input`.
    pub(in crate::mqtt) fn of(input: &[u8]) -> PacketKind {
        match input.first().map(|first| first >> 4) {
            Some(PUBLISH) => PacketKind::Publish,
            Some(SUBACK) => PacketKind::SubAck,
            _ => PacketKind::Other,
        }
    }
}

/// The packet type of a SUBACK.
const SUBACK: u8 = 9;

/// The packet type of a PINGRESP.
const PINGRESP: u8 = 13;

/// The extent of a packet, from its first bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// The packet type: 1 (CONNECT) to 14 (DISCONNECT), 15 (AUTH).
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// Bytes before the body.
    pub(super) header: usize,
    /// Bytes of all.
    pub(super) total: usize,
}

impl Frame {
    /// Looks at the first byte and the length, so that what isn't MQTT is noticed at once and not taken for the start of a
    /// packet whose rest never comes (`MQTT-2.2.2-2` of 3.1.1). The codecs don't look at the flags.
    pub(super) fn at_start(input: &[u8], protocol: Protocol) -> Result<Option<Frame>, Malformed> {
        let Some(&first) = input.first() else { return Ok(None) };
        let (kind, flags) = (first >> 4, first & 0x0f);
        let flags_allowed = kind == PUBLISH || flags == if matches!(kind, 6 | 8 | 10) { 2 } else { 0 };
        if !flags_allowed {
            return Err(not_mqtt(input));
        }
        let Some((size, length)) = variable_integer(&input[1..]) else {
            return if input.len() > 4 { Err(not_mqtt(input)) } else { Ok(None) };
        };
        if length > MAX_PACKET && kind != PUBLISH {
            return Err(Malformed::TooLarge(length));
        }
        let is_fixed = protocol == Protocol::Mqtt311 || kind == PINGRESP;
        if is_fixed && !v4::length_allowed(kind, length) {
            return Err(not_mqtt(input));
        }
        Ok(Some(Frame { kind, flags, header: 1 + size, total: 1 + size + length }))
    }

    /// The codec's bound is on the remaining length.
    pub(super) fn is_too_large(self) -> bool {
        self.total - self.header > MAX_PACKET
    }

    /// MQTT's name of the packet, with its article.
    pub(super) fn name(self) -> &'static str {
        NAMES.get(usize::from(self.kind)).copied().unwrap_or(NAMES[0])
    }

    pub(super) fn unknown_code(self, code: u8) -> Malformed {
        Malformed::Invalid(format!("{} with the unknown reason code 0x{code:02X}", self.name()))
    }

    /// The codec can't make anything of it.
    pub(super) fn unreadable(self) -> Malformed {
        let length = self.total - self.header;
        Malformed::Invalid(format!("{} that doesn't follow the rules of MQTT (remaining length {length})", self.name()))
    }

    /// What follows the fixed header.
    pub(super) fn body(self, input: &[u8]) -> &[u8] {
        &input[self.header..self.total]
    }
}

pub(super) fn not_mqtt(input: &[u8]) -> Malformed {
    let start = String::from_utf8_lossy(&input[..input.len().min(16)]).into_owned();
    Malformed::Invalid(format!("bytes that aren't MQTT, beginning with {start:?}"))
}

/// A variable byte integer (MQTT 5, 1.5.5): how many bytes it has, at most four, and its value. `None` if it doesn't end.
pub(super) fn variable_integer(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((index + 1, value));
        }
    }
    None
}
