//! Topics, filters and messages: checked once where they enter, trusted after.

mod condition;
mod handle;
mod overlap;
mod properties;
mod text;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use thiserror::Error;

use crate::limits::{MAX_TOPIC_BYTES, MAX_TOPIC_SLASHES};
pub(crate) use condition::{Condition, TopicPattern, Traits};
pub(crate) use handle::{AckToken, Sequence};
pub(crate) use overlap::{needed, overlapping};
pub(crate) use properties::{BASE64, Properties, PropertiesError};
pub(crate) use text::{ForbiddenCharacter, check_characters};

/// The longest text that a packet of MQTT can hold, in bytes: its length has two bytes (`MQTT-1.5.4`).
pub(crate) const MAX_MQTT_TEXT: usize = 65_535;

/// Why a topic or topic filter can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum TopicError {
    #[error("it is empty")]
    Empty,
    #[error("it is {0} bytes long, IoT Core takes at most {MAX_TOPIC_BYTES}")]
    TooLong(usize),
    #[error("it is {0} bytes long, MQTT takes at most {MAX_MQTT_TEXT}")]
    TooLongForMqtt(usize),
    #[error("it has {0} slashes, IoT Core takes at most {MAX_TOPIC_SLASHES}")]
    TooManySlashes(usize),
    #[error("it {0}")]
    Character(#[from] ForbiddenCharacter),
    #[error("`{0}` is a wildcard, which only a filter may hold")]
    WildcardInTopic(char),
    #[error("`+` must stand alone between slashes")]
    MisplacedPlus,
    #[error("`#` must stand alone after the last slash")]
    MisplacedHash,
    #[error("a shared subscription is `$share/GROUP/FILTER`")]
    MalformedShare,
}

/// A topic name that MQTT and IoT Core accept: not empty, no wildcard, no character that a server may close the connection for,
/// within IoT Core's bounds (`MQTT-4.7.1-1`, `MQTT-4.7.3`, `MQTT-1.5.4`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Topic(Arc<str>);

impl Topic {
    /// Checks `name` against MQTT's rules and IoT Core's bounds.
    pub(crate) fn new(name: &str) -> Result<Topic, TopicError> {
        check_bounds(name)?;
        Topic::without_wildcards(name)
    }

    /// Checks `name` against MQTT's rules only: it is another broker's, which doesn't have IoT Core's bounds.
    pub(crate) fn of_mqtt(name: &str) -> Result<Topic, TopicError> {
        check_mqtt(name)?;
        Topic::without_wildcards(name)
    }

    fn without_wildcards(name: &str) -> Result<Topic, TopicError> {
        match name.chars().find(|c| matches!(c, '+' | '#')) {
            Some(wildcard) => Err(TopicError::WildcardInTopic(wildcard)),
            None => Ok(Topic(name.into())),
        }
    }

    /// Takes a topic as a server sent it. It isn't held to IoT Core's bounds, which another broker may not share.
    pub(crate) fn received(name: &str) -> Topic {
        Topic(name.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A topic filter that MQTT accepts (`MQTT-4.7.1-2`, `MQTT-4.7.1-3`) and, made by [`TopicFilter::new`], IoT Core.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// Checks `filter` against MQTT's rules and IoT Core's bounds.
    pub(crate) fn new(filter: &str) -> Result<TopicFilter, TopicError> {
        check_bounds(filter)?;
        TopicFilter::well_formed(filter)
    }

    /// Checks `filter` against MQTT's rules only: it is for another broker, which doesn't have IoT Core's bounds.
    pub(crate) fn of_mqtt(filter: &str) -> Result<TopicFilter, TopicError> {
        check_mqtt(filter)?;
        TopicFilter::well_formed(filter)
    }

    fn well_formed(filter: &str) -> Result<TopicFilter, TopicError> {
        let levels = match filter.strip_prefix("$share/") {
            None => filter,
            Some(share) => match share.split_once('/') {
                Some((group, levels)) if !group.is_empty() && !levels.is_empty() && !group.contains(['+', '#']) => {
                    levels
                }
                _ => return Err(TopicError::MalformedShare),
            },
        };
        let mut rest = levels.split('/').peekable();
        while let Some(level) = rest.next() {
            if level.contains('#') && (level != "#" || rest.peek().is_some()) {
                return Err(TopicError::MisplacedHash);
            }
            if level.contains('+') && level != "+" {
                return Err(TopicError::MisplacedPlus);
            }
        }
        Ok(TopicFilter(filter.into()))
    }

    /// Takes a filter that was checked before.
    pub(crate) fn noted(filter: &str) -> TopicFilter {
        TopicFilter(filter.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The filter by which topics are matched: of a shared subscription, what stands behind the group.
    pub(crate) fn levels(&self) -> &str {
        match self.0.strip_prefix("$share/") {
            Some(share) => share.split_once('/').map_or(share, |(_, levels)| levels),
            None => &self.0,
        }
    }

    /// Whether a message on `topic` is one this filter asked for (`MQTT-4.7.1`). A wildcard at the start doesn't match a
    /// topic that begins with `$` (`MQTT-4.7.2-1`); of a shared subscription only the filter behind the group counts.
    pub(crate) fn matches(&self, topic: &Topic) -> bool {
        let (filter, topic) = (self.levels(), topic.as_str());
        if topic.starts_with('$') && filter.starts_with(['+', '#']) {
            return false;
        }
        let mut topic = topic.split('/');
        for level in filter.split('/') {
            match (level, topic.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (wanted, Some(found)) if wanted == found => {}
                _ => return false,
            }
        }
        topic.next().is_none()
    }
}

/// The bounds that topics and filters share at any broker (`MQTT-4.7.3-1`, `MQTT-4.7.3-2`, `MQTT-4.7.3-3`).
fn check_mqtt(name: &str) -> Result<(), TopicError> {
    match name.len() {
        0 => Err(TopicError::Empty),
        len if len > MAX_MQTT_TEXT => Err(TopicError::TooLongForMqtt(len)),
        _ => Ok(check_characters(name)?),
    }
}

/// The bounds that topics and filters share (`MQTT-4.7.3-1`, `MQTT-4.7.3-2`, and IoT Core's own).
fn check_bounds(name: &str) -> Result<(), TopicError> {
    if name.is_empty() {
        return Err(TopicError::Empty);
    }
    if name.len() > MAX_TOPIC_BYTES {
        return Err(TopicError::TooLong(name.len()));
    }
    check_characters(name)?;
    let counted = match name.strip_prefix("$aws/rules/").and_then(|rest| rest.split_once('/')) {
        Some((_rule, rest)) => rest,
        None => name,
    };
    match counted.matches('/').count() {
        slashes if slashes > MAX_TOPIC_SLASHES => Err(TopicError::TooManySlashes(slashes)),
        _ => Ok(()),
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Quality of service. IoT Core has no QoS 2, so neither have we.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Qos {
    /// QoS 0
    AtMostOnce,
    /// QoS 1
    AtLeastOnce,
}

impl Qos {
    /// The number MQTT and the socket lines use.
    pub(crate) fn level(self) -> u8 {
        match self {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => 1,
        }
    }
}

impl TryFrom<i64> for Qos {
    type Error = ();

    fn try_from(level: i64) -> Result<Qos, ()> {
        match level {
            0 => Ok(Qos::AtMostOnce),
            1 => Ok(Qos::AtLeastOnce),
            _ => Err(()),
        }
    }
}

/// A payload in no more memory than it needs: what it was made in may be much larger, and the bounds count its length.
pub(crate) fn exactly(payload: Vec<u8>) -> Bytes {
    Bytes::from(payload.into_boxed_slice())
}

/// A message on its way to IoT Core. Cloning shares topic, payload and properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outbound {
    pub(crate) topic: Topic,
    /// At most [`MAX_PAYLOAD`](crate::limits::MAX_PAYLOAD) bytes.
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// It goes before everything that isn't and hasn't been sent.
    pub(crate) urgent: bool,
    /// MQTT 5 only.
    pub(crate) properties: Option<Arc<Properties>>,
}

/// What a policy decides by for a message: its topic, and whether it is retained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) topic: Topic,
    pub(crate) retain: bool,
}

impl Target {
    /// What a policy must allow for it.
    pub(crate) fn needs(&self) -> String {
        let also = if self.retain { " and iot:RetainPublish" } else { "" };
        format!("iot:Publish{also} on topic/{}", self.topic)
    }
}

impl Outbound {
    /// As small as it may be, with QoS 1: to see whether the server takes a message there.
    pub(crate) fn trial(topic: Topic) -> Outbound {
        Outbound { topic, payload: Bytes::new(), qos: Qos::AtLeastOnce, retain: false, urgent: false, properties: None }
    }

    /// Bytes of topic, payload and properties: what the bounds of the outbox count.
    pub(crate) fn size(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |properties| properties.memory());
        self.topic.as_str().len() + self.payload.len() + properties
    }

    /// Whether its texts hold only what MQTT lets them. What was accepted by an earlier version may hold more.
    pub(crate) fn check_characters(&self) -> Result<(), ForbiddenCharacter> {
        check_characters(self.topic.as_str())?;
        self.properties.as_ref().map_or(Ok(()), |properties| properties.check_characters())
    }

    /// Whether the time in which it was to be sent has passed.
    pub(crate) fn has_expired(&self, now: Instant) -> bool {
        self.properties.as_ref().is_some_and(|properties| properties.has_expired(now))
    }
}

/// A message from IoT Core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inbound {
    pub(crate) topic: Topic,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// The server marked it as sent before (DUP).
    pub(crate) duplicate: bool,
    pub(crate) received_at: Timestamp,
    /// MQTT 5 only; `None` where the message has none.
    pub(crate) properties: Option<Arc<Properties>>,
}

impl Inbound {
    /// Bytes of topic, payload and properties: what `forward.keep` counts, and with
    /// [`ENTRY_OVERHEAD`](crate::store::backlog::ENTRY_OVERHEAD) what it takes in memory.
    pub(crate) fn size(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |properties| properties.memory());
        self.topic.as_str().len() + self.payload.len() + properties
    }

    /// The same in memory of its own: it may stay for long, and mustn't hold on to the buffer that it was received in, which is
    /// larger than what the bounds count.
    pub(crate) fn detached(self) -> Inbound {
        let Inbound { payload, mut properties, .. } = self;
        if let Some(properties) = properties.as_mut().filter(|properties| properties.correlation_data.is_some()) {
            let properties = Arc::make_mut(properties);
            properties.correlation_data = properties.correlation_data.as_ref().map(|data| Bytes::copy_from_slice(data));
        }
        Inbound { payload: Bytes::copy_from_slice(&payload), properties, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        TopicFilter::new(filter).unwrap().matches(&Topic::new(topic).unwrap())
    }

    #[test]
    fn filters_match_as_mqtt_says() {
        for (filter, topic) in [
            ("test/topic", "test/topic"),
            ("+/topic", "test/topic"),
            ("test/#", "test/topic/deep"),
            ("test/#", "test"),
            ("#", "a/b"),
            ("+/+", "/b"),
            ("$aws/#", "$aws/things/x"),
            ("$share/g/test/+", "test/a"),
        ] {
            assert!(matches(filter, topic), "{filter} should match {topic}");
        }
        for (filter, topic) in [
            ("test/topic", "test/topic/x"),
            ("test/topic", "test"),
            ("+", "a/b"),
            ("#", "$aws/things/x"),
            ("+/things/x", "$aws/things/x"),
            ("$share/g/test/+", "other/a"),
            ("Test", "test"),
        ] {
            assert!(!matches(filter, topic), "{filter} shouldn't match {topic}");
        }
    }

    #[test]
    fn topics_and_filters_are_refused_with_the_reason() {
        assert_eq!(Topic::new(""), Err(TopicError::Empty));
        assert_eq!(Topic::new("a/+"), Err(TopicError::WildcardInTopic('+')));
        assert!(matches!(Topic::new("a\0"), Err(TopicError::Character(_))));
        assert!(matches!(Topic::new("door/a\nb"), Err(TopicError::Character(_))));
        assert!(matches!(TopicFilter::new("door/\u{85}/#"), Err(TopicError::Character(_))));
        assert!(matches!(TopicFilter::new("$share/g\u{fffe}/a"), Err(TopicError::Character(_))));
        assert_eq!(Topic::new(&"x".repeat(257)), Err(TopicError::TooLong(257)));
        assert_eq!(Topic::new("1/2/3/4/5/6/7/8/9"), Err(TopicError::TooManySlashes(8)));
        assert!(Topic::new("$aws/rules/rule/1/2/3/4/5/6/7/8").is_ok());
        let long = "x/".repeat(200);
        assert!(Topic::of_mqtt(&long).is_ok() && TopicFilter::of_mqtt(&format!("{long}#")).is_ok());
        assert_eq!(Topic::of_mqtt(&"x".repeat(65_536)), Err(TopicError::TooLongForMqtt(65_536)));
        assert_eq!(Topic::of_mqtt(""), Err(TopicError::Empty));
        assert_eq!(Topic::of_mqtt("a/#"), Err(TopicError::WildcardInTopic('#')));
        assert_eq!(TopicFilter::of_mqtt("a/#/b"), Err(TopicError::MisplacedHash));
        assert!(matches!(TopicFilter::of_mqtt("a\n"), Err(TopicError::Character(_))));
        assert_eq!(TopicFilter::new("a/#/b"), Err(TopicError::MisplacedHash));
        assert_eq!(TopicFilter::new("a#"), Err(TopicError::MisplacedHash));
        assert_eq!(TopicFilter::new("a/b+"), Err(TopicError::MisplacedPlus));
        assert_eq!(TopicFilter::new("$share/g"), Err(TopicError::MalformedShare));
        assert_eq!(TopicFilter::new("$share/+/a"), Err(TopicError::MalformedShare));
    }
}
