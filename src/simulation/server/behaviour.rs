//! What a server does with single packets.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;

use super::Downlink;
use crate::limits::MAX_IN_FLIGHT;

/// Between these bounds, uniformly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Delay {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Delay {
    pub(crate) fn between(min: Duration, max: Duration) -> Delay {
        Delay { min, max }
    }

    pub(in crate::simulation) fn pick(self, random: &mut Rng) -> Duration {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(random.u64(nanos(self.min)..=nanos(self.max.max(self.min))))
    }
}

/// When an answer comes, and whether.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reply {
    pub(crate) delay: Delay,
    /// Probability that it never comes.
    pub(crate) lost: f64,
}

impl Reply {
    /// It never comes.
    pub(crate) const NEVER: Reply = Reply { delay: Delay { min: Duration::ZERO, max: Duration::ZERO }, lost: 1.0 };

    pub(crate) fn after(min: Duration, max: Duration) -> Reply {
        Reply { delay: Delay { min, max }, lost: 0.0 }
    }

    /// After how long; `None`: never.
    pub(in crate::simulation) fn pick(self, random: &mut Rng) -> Option<Duration> {
        let delay = self.delay.pick(random);
        (!happens(random, self.lost)).then_some(delay)
    }
}

/// Whether something of this probability happens.
pub(in crate::simulation) fn happens(random: &mut Rng, probability: f64) -> bool {
    random.f64() < probability
}

/// What CONNACK restricts (MQTT 5, 3.2.2.3). Of MQTT 3.1.1, which can't say it, only the keep alive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    /// QoS 1 publications without PUBACK.
    pub(crate) receive_maximum: u16,
    /// Bytes of a packet.
    pub(crate) maximum_packet_size: Option<u32>,
    pub(crate) maximum_qos: u8,
    pub(crate) retain: bool,
    pub(crate) wildcards: bool,
    pub(crate) subscription_identifiers: bool,
    pub(crate) shared_subscriptions: bool,
    pub(crate) topic_alias_maximum: u16,
    /// Seconds: a keep alive outside counts as the next that isn't, 0 as the highest.
    pub(crate) keep_alive: (u16, u16),
}

impl Default for Announced {
    fn default() -> Announced {
        Announced {
            receive_maximum: MAX_IN_FLIGHT as u16,
            maximum_packet_size: Some(149_504),
            maximum_qos: 1,
            retain: true,
            wildcards: true,
            subscription_identifiers: false,
            shared_subscriptions: true,
            topic_alias_maximum: 8,
            keep_alive: (30, 1200),
        }
    }
}

/// What is done on a SUBSCRIBE with a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FilterAnswer {
    /// Granted with QoS 0.
    Downgraded,
    /// SUBACK with this reason code; in MQTT 3.1.1 with 0x80.
    Fails(u8),
    Closes,
    /// DISCONNECT with this reason code; in MQTT 3.1.1 as [`FilterAnswer::Closes`].
    Disconnects(u8),
}

/// Publications that the server doesn't take. All that is given must hold; nothing given holds for everything.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) topics: Option<BTreeSet<String>>,
    pub(crate) prefix: Option<String>,
    pub(crate) retain: Option<bool>,
    /// Bytes of the payload.
    pub(crate) longer_than: Option<usize>,
    pub(crate) qos: Option<u8>,
    pub(crate) how: Refuses,
}

/// How a publication is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refuses {
    /// The connection is closed, without a reason.
    Closes,
    /// DISCONNECT with this reason code; in MQTT 3.1.1 as [`Refuses::Closes`].
    Disconnects(u8),
    /// PUBACK with this reason code. With QoS 0 it is only not taken; in MQTT 3.1.1 as [`Refuses::Closes`].
    Fails(u8),
    /// It isn't taken, and there is no PUBACK.
    Silently,
}

impl Refusal {
    pub(crate) fn everything(how: Refuses) -> Refusal {
        Refusal { topics: None, prefix: None, retain: None, longer_than: None, qos: None, how }
    }

    pub(crate) fn topic(topic: &str, how: Refuses) -> Refusal {
        Refusal { topics: Some(BTreeSet::from([topic.to_owned()])), ..Refusal::everything(how) }
    }

    pub(crate) fn prefix(prefix: &str, how: Refuses) -> Refusal {
        Refusal { prefix: Some(prefix.to_owned()), ..Refusal::everything(how) }
    }

    pub(crate) fn meets(&self, message: &Downlink) -> bool {
        self.topics.as_ref().is_none_or(|topics| topics.contains(&message.topic))
            && self.prefix.as_ref().is_none_or(|prefix| message.topic.starts_with(prefix))
            && self.retain.is_none_or(|retain| retain == message.retain)
            && self.longer_than.is_none_or(|length| message.payload.len() > length)
            && self.qos.is_none_or(|qos| qos == message.qos)
    }
}
