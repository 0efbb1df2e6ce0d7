//! What MQTT 5 lets a message carry beside its payload (MQTT 5, 3.3.2.3).

use std::mem::size_of;
use std::time::{Duration, Instant};

use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{ForbiddenCharacter, Topic, TopicError, check_characters};
use crate::limits::MAX_PROPERTIES;

/// Base64 with the standard alphabet: written with padding, read with or without.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes of memory of one user property beside its two strings: a list that has grown has room for as many again.
const USER_PROPERTY_OVERHEAD: usize = 2 * size_of::<(String, String)>();

/// What an allocation of so many bytes takes, with what the allocator (glibc's, of 64 bits) adds to it.
fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}

/// The properties of a message that concern its sender and its receivers. Its JSON form is that of the socket lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Properties {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) response_topic: Option<String>,
    #[serde(rename = "correlation_data_base64", with = "in_base64", skip_serializing_if = "Option::is_none")]
    pub(crate) correlation_data: Option<Bytes>,
    /// 0: the payload is bytes; 1: it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload_format_indicator: Option<u8>,
    /// Names may repeat, and the order counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) user_properties: Vec<(String, String)>,
    /// The message expiry interval in seconds: of a message that came in, as the server sent it; of one to be sent, counted
    /// from its acceptance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_in: Option<u32>,
    /// When an accepted message with `expires_in` isn't worth sending any more. Not part of the JSON form: whoever reads
    /// that says anew from when `expires_in` counts, with [`Properties::count_on`].
    #[serde(skip)]
    pub(crate) expires_at: Option<Instant>,
}

/// Why properties can't be sent. The text follows the name of their key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum PropertiesError {
    #[error("takes {0} bytes, at most {MAX_PROPERTIES} together are sent")]
    TooLarge(usize),
    #[error("has a `response_topic` that can't be one: {0}")]
    ResponseTopic(TopicError),
    #[error("can't be sent: `{0}` {1}")]
    Character(&'static str, ForbiddenCharacter),
    #[error("has a `payload_format_indicator` that is neither 0 (bytes) nor 1 (UTF-8)")]
    FormatIndicator,
    #[error("says with `payload_format_indicator` that the payload is UTF-8, but it isn't")]
    NotUtf8,
    #[error("has an `expires_in` of 0: such a message would be gone before it is sent")]
    Expired,
}

impl Properties {
    /// Checks what a local client wants to send with `payload` against MQTT's rules (`MQTT-1.5.4-2`, `MQTT-3.3.2-14`) and
    /// the bound [`MAX_PROPERTIES`].
    pub(crate) fn check(&self, payload: &[u8]) -> Result<(), PropertiesError> {
        match self.wire_len() {
            length if length > MAX_PROPERTIES => return Err(PropertiesError::TooLarge(length)),
            _ => {}
        }
        if let Some(topic) = &self.response_topic {
            Topic::new(topic).map_err(PropertiesError::ResponseTopic)?;
        }
        for (key, text) in self.texts() {
            check_characters(text).map_err(|forbidden| PropertiesError::Character(key, forbidden))?;
        }
        if self.expires_in == Some(0) {
            return Err(PropertiesError::Expired);
        }
        match self.payload_format_indicator {
            Some(1) if std::str::from_utf8(payload).is_err() => Err(PropertiesError::NotUtf8),
            None | Some(0 | 1) => Ok(()),
            Some(_) => Err(PropertiesError::FormatIndicator),
        }
    }

    /// Whether their texts hold only what MQTT lets them.
    pub(crate) fn check_characters(&self) -> Result<(), ForbiddenCharacter> {
        self.texts().try_for_each(|(_, text)| check_characters(text))
    }

    /// All that is text, with its key.
    fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let users = self.user_properties.iter().flat_map(|(name, value)| [name, value]);
        let users = users.map(|text| ("user_properties", text.as_str()));
        let content_type = self.content_type.iter().map(|text| ("content_type", text.as_str()));
        let response_topic = self.response_topic.iter().map(|text| ("response_topic", text.as_str()));
        content_type.chain(response_topic).chain(users)
    }

    /// Bytes that they take in a PUBLISH, without their length.
    pub(crate) fn wire_len(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, |text| 3 + text.len());
        let users = self.user_properties.iter().map(|(name, value)| 5 + name.len() + value.len());
        text(&self.content_type)
            + text(&self.response_topic)
            + self.correlation_data.as_ref().map_or(0, |data| 3 + data.len())
            + self.payload_format_indicator.map_or(0, |_| 2)
            + self.expires_in.map_or(0, |_| 5)
            + users.sum::<usize>()
    }

    /// Bytes of memory that they take, at most and at least [`Properties::wire_len`]. It depends on what they are alone, so that
    /// it is the same when they come from the disk again.
    pub(crate) fn memory(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, |text| allocated(text.len()));
        let users = self
            .user_properties
            .iter()
            .map(|(name, value)| USER_PROPERTY_OVERHEAD + allocated(name.len()) + allocated(value.len()));
        // They are shared, which has two counters in front of them.
        allocated(size_of::<Properties>() + 2 * size_of::<usize>())
            + text(&self.content_type)
            + text(&self.response_topic)
            + self.correlation_data.as_ref().map_or(0, |data| allocated(data.len()))
            + users.sum::<usize>()
    }

    /// Lets `expires_in` count from `accepted`.
    pub(crate) fn count_from(&mut self, accepted: Instant) {
        self.count_on(accepted, Duration::ZERO);
    }

    /// Lets `expires_in` count from what was `age` before `now`.
    pub(crate) fn count_on(&mut self, now: Instant, age: Duration) {
        let whole = self.expires_in.map(|seconds| Duration::from_secs(seconds.into()));
        self.expires_at = whole.and_then(|whole| now.checked_add(whole.saturating_sub(age)));
    }

    /// Whether `expires_in` doesn't count yet.
    pub(crate) fn lacks_its_end(&self) -> bool {
        self.expires_in.is_some() && self.expires_at.is_none()
    }

    /// Whether the time it was to be sent in has passed.
    pub(crate) fn has_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// The message expiry interval to send: what is left in seconds, a begun one counted as whole; at least 1.
    pub(crate) fn expiry_left(&self, now: Instant) -> Option<u32> {
        let Some(expires_at) = self.expires_at else { return self.expires_in };
        let left = expires_at.saturating_duration_since(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX).max(1))
    }
}

mod in_base64 {
    use base64::Engine as _;
    use bytes::Bytes;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::BASE64;

    pub(super) fn serialize<S: Serializer>(data: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
        match data {
            Some(data) => serializer.serialize_str(&BASE64.encode(data)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        BASE64
            .decode(text)
            .map(|data| Some(data.into()))
            .map_err(|error| D::Error::custom(format_args!("`correlation_data_base64` isn't Base64: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Properties {
        Properties {
            content_type: Some("text/plain".to_owned()),
            response_topic: Some("answers/1".to_owned()),
            correlation_data: Some(Bytes::from_static(b"\xff\x00")),
            payload_format_indicator: Some(1),
            user_properties: vec![("k".to_owned(), "v".to_owned()), ("k".to_owned(), String::new())],
            expires_in: Some(60),
            expires_at: None,
        }
    }

    #[test]
    fn the_json_form_is_that_of_the_sockets_and_reads_back() {
        let json = r#"{"content_type":"text/plain","response_topic":"answers/1","correlation_data_base64":"/wA=","payload_format_indicator":1,"user_properties":[["k","v"],["k",""]],"expires_in":60}"#;
        assert_eq!(serde_json::to_string(&all()).unwrap(), json);
        assert_eq!(serde_json::from_str::<Properties>(json).unwrap(), all());
        assert_eq!(serde_json::to_string(&Properties::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<Properties>("{}").unwrap(), Properties::default());
        let unpadded = serde_json::from_str::<Properties>(r#"{"correlation_data_base64":"/wA"}"#).unwrap();
        assert_eq!(unpadded.correlation_data, all().correlation_data);
        for wrong in [r#"{"contenttype":"x"}"#, r#"{"correlation_data_base64":"*"}"#, r#"{"user_properties":[["k"]]}"#]
        {
            assert!(serde_json::from_str::<Properties>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_mqtt_does_not_carry_is_refused_with_the_reason() {
        assert_eq!(all().check(b"text"), Ok(()));
        assert_eq!(all().check(b"\xff"), Err(PropertiesError::NotUtf8));
        let refused = |change: fn(&mut Properties)| {
            let mut properties = all();
            change(&mut properties);
            properties.check(b"text").unwrap_err()
        };
        let wildcard = PropertiesError::ResponseTopic(TopicError::WildcardInTopic('#'));
        assert_eq!(refused(|p| p.response_topic = Some("a/#".to_owned())), wildcard);
        let forbidden = |text| check_characters(text).unwrap_err();
        assert_eq!(
            refused(|p| p.content_type = Some("text\n".to_owned())),
            PropertiesError::Character("content_type", forbidden("text\n"))
        );
        assert_eq!(
            refused(|p| p.user_properties[1].1 = "\0".to_owned()),
            PropertiesError::Character("user_properties", forbidden("\0"))
        );
        assert_eq!(
            refused(|p| p.user_properties[0].0 = "\u{9c}".to_owned()),
            PropertiesError::Character("user_properties", forbidden("\u{9c}"))
        );
        assert_eq!(
            refused(|p| p.response_topic = Some("a\u{ffff}".to_owned())),
            PropertiesError::ResponseTopic(TopicError::Character(forbidden("a\u{ffff}")))
        );
        assert_eq!(refused(|p| p.payload_format_indicator = Some(2)), PropertiesError::FormatIndicator);
        assert_eq!(refused(|p| p.expires_in = Some(0)), PropertiesError::Expired);
        let mut largest = Properties { content_type: Some("x".repeat(MAX_PROPERTIES - 3)), ..Properties::default() };
        assert_eq!(largest.check(b""), Ok(()));
        largest.payload_format_indicator = Some(0);
        assert_eq!(largest.check(b""), Err(PropertiesError::TooLarge(MAX_PROPERTIES + 2)));
    }

    #[test]
    fn what_they_take_in_memory_is_counted_however_small_their_parts_are() {
        // What 8 KiB of properties are at worst.
        let many =
            Properties { user_properties: vec![(String::from("k"), String::from("v")); 1170], ..Properties::default() };
        assert!(many.wire_len() <= MAX_PROPERTIES);
        let strings = 2 * 32 * many.user_properties.len();
        let list = 2 * many.user_properties.len() * size_of::<(String, String)>();
        assert!(many.memory() >= size_of::<Properties>() + strings + list, "{}", many.memory());
        let none = Properties { content_type: Some(String::new()), ..Properties::default() };
        assert!([all(), many, none].iter().all(|properties| properties.memory() >= properties.wire_len()));
    }

    #[test]
    fn the_interval_sent_is_what_is_left() {
        let (mut properties, start) = (all(), Instant::now());
        assert_eq!((properties.expiry_left(start), properties.has_expired(start)), (Some(60), false));
        properties.count_from(start);
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!(properties.expiry_left(after(0)), Some(60));
        assert_eq!(properties.expiry_left(after(1)), Some(60));
        assert_eq!(properties.expiry_left(after(59_000)), Some(1));
        assert!(!properties.has_expired(after(59_999)));
        assert!(properties.has_expired(after(60_000)));
        assert_eq!(properties.expiry_left(after(70_000)), Some(1));
        assert_eq!(Properties::default().expiry_left(start), None);
    }
}
