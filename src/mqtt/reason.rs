//! The reason codes of MQTT 5 and their names in the specification (MQTT 5, 2.4).

use std::fmt;

use crate::printable::printable;

/// The most characters of what another computer says that are shown: a reason string may have 64 KiB.
const MAX_SHOWN: usize = 200;

/// Why the server did something: a reason code, and the server's own words if it gave some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: ReasonCode,
    text: Option<Box<str>>,
}

/// One byte; 0x80 and above are failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReasonCode(pub(crate) u8);

impl Reason {
    /// A reason with the server's reason string; an empty one says nothing.
    pub(crate) fn new(code: u8, text: Option<String>) -> Reason {
        let text = text.filter(|text| !text.is_empty()).map(|text| shown(&text));
        Reason { code: ReasonCode(code), text }
    }

    pub(crate) fn is_failure(&self) -> bool {
        self.code.0 >= 0x80
    }
}

/// What another computer says, made fit for one line of a log: short, and without characters that could pass for another line.
pub(crate) fn shown(text: &str) -> Box<str> {
    let end = text.char_indices().nth(MAX_SHOWN).map(|(end, _)| end);
    let mut shown = one_line(&text[..end.unwrap_or(text.len())]);
    if end.is_some() {
        shown.push('…');
    }
    shown.into()
}

/// Without characters that could pass for another line.
pub(crate) fn one_line(text: &str) -> String {
    printable(text).into_owned()
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        match &self.text {
            Some(text) => write!(f, ", \"{text}\""),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "0x{:02X} ({name})", self.0),
            None => write!(f, "0x{:02X}", self.0),
        }
    }
}

impl ReasonCode {
    pub(crate) const UNSPECIFIED: ReasonCode = ReasonCode(0x80);
    pub(crate) const MALFORMED_PACKET: ReasonCode = ReasonCode(0x81);
    pub(crate) const PROTOCOL_ERROR: ReasonCode = ReasonCode(0x82);
    pub(crate) const IMPLEMENTATION_SPECIFIC: ReasonCode = ReasonCode(0x83);
    pub(crate) const NOT_AUTHORIZED: ReasonCode = ReasonCode(0x87);
    pub(crate) const TOPIC_FILTER_INVALID: ReasonCode = ReasonCode(0x8F);
    pub(crate) const TOPIC_NAME_INVALID: ReasonCode = ReasonCode(0x90);
    pub(crate) const RECEIVE_MAXIMUM_EXCEEDED: ReasonCode = ReasonCode(0x93);
    pub(crate) const TOPIC_ALIAS_INVALID: ReasonCode = ReasonCode(0x94);
    pub(crate) const PACKET_TOO_LARGE: ReasonCode = ReasonCode(0x95);
    pub(crate) const QUOTA_EXCEEDED: ReasonCode = ReasonCode(0x97);
    pub(crate) const PAYLOAD_FORMAT_INVALID: ReasonCode = ReasonCode(0x99);
    pub(crate) const RETAIN_NOT_SUPPORTED: ReasonCode = ReasonCode(0x9A);
    pub(crate) const SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: ReasonCode = ReasonCode(0x9E);
    pub(crate) const SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED: ReasonCode = ReasonCode(0xA1);
    pub(crate) const WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED: ReasonCode = ReasonCode(0xA2);

    /// The name of a failure in the specification.
    pub(crate) fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0x00 => "success",
            0x10 => "no matching subscribers",
            0x11 => "no subscription existed",
            0x80 => "unspecified error",
            0x81 => "malformed packet",
            0x82 => "protocol error",
            0x83 => "implementation specific error",
            0x84 => "unsupported protocol version",
            0x85 => "client identifier not valid",
            0x86 => "bad user name or password",
            0x87 => "not authorized",
            0x88 => "server unavailable",
            0x89 => "server busy",
            0x8A => "banned",
            0x8B => "server shutting down",
            0x8C => "bad authentication method",
            0x8D => "keep alive timeout",
            0x8E => "session taken over",
            0x8F => "topic filter invalid",
            0x90 => "topic name invalid",
            0x91 => "packet identifier in use",
            0x92 => "packet identifier not found",
            0x93 => "receive maximum exceeded",
            0x94 => "topic alias invalid",
            0x95 => "packet too large",
            0x96 => "message rate too high",
            0x97 => "quota exceeded",
            0x98 => "administrative action",
            0x99 => "payload format invalid",
            0x9A => "retain not supported",
            0x9B => "QoS not supported",
            0x9C => "use another server",
            0x9D => "server moved",
            0x9E => "shared subscriptions not supported",
            0x9F => "connection rate exceeded",
            0xA0 => "maximum connect time",
            0xA1 => "subscription identifiers not supported",
            0xA2 => "wildcard subscriptions not supported",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(Reason::new(0x87, None).to_string(), "0x87 (not authorized)");
        assert_eq!(Reason::new(0x8E, Some(String::new())).to_string(), "0x8E (session taken over)");
        let forged = Reason::new(0xFF, Some("no\nERROR all is lost".to_owned()));
        assert_eq!(forged.to_string(), "0xFF, \"no\\nERROR all is lost\"");
        assert!(Reason::new(0x80, Some("ö".repeat(65_535))).to_string().chars().count() < MAX_SHOWN + 40);
    }
}
