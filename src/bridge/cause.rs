//! Why a message doesn't go to the other side.

use std::fmt;

/// As `dropped` of the status document counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Cause {
    /// More than the other side takes in one message.
    TooLarge,
    /// Its topic there would be longer than IoT Core takes, or MQTT.
    TopicTooLong,
    /// Its topic there would have more slashes than IoT Core takes.
    TooManySlashes,
    /// Its topic there isn't one: empty, or with characters that a topic may not have.
    BadTopic,
    /// Its topic there begins with `$`, which is the server's, and isn't below `$aws/rules/`.
    ReservedTopic,
    /// It has come through too many bridges.
    Hops,
    /// The other side has refused it.
    Refused,
    /// `keep`, or the outbox, had no room for it any more.
    KeepFull,
    /// `every`: a newer one of its topic went instead.
    Superseded,
    /// `on_change`: it says what the last one of its topic said.
    Unchanged,
    /// The time that its sender gave it (message expiry interval, MQTT 5) has passed.
    Expired,
}

impl Cause {
    /// All of them.
    pub(crate) const ALL: [Cause; 11] = [
        Cause::TooLarge,
        Cause::TopicTooLong,
        Cause::TooManySlashes,
        Cause::BadTopic,
        Cause::ReservedTopic,
        Cause::Hops,
        Cause::Refused,
        Cause::KeepFull,
        Cause::Superseded,
        Cause::Unchanged,
        Cause::Expired,
    ];

    /// As it is written in the status document, in metrics and in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Cause::TooLarge => "too_large",
            Cause::TopicTooLong => "topic_too_long",
            Cause::TooManySlashes => "too_many_slashes",
            Cause::BadTopic => "bad_topic",
            Cause::ReservedTopic => "reserved_topic",
            Cause::Hops => "hops",
            Cause::Refused => "refused",
            Cause::KeepFull => "keep_full",
            Cause::Superseded => "superseded",
            Cause::Unchanged => "unchanged",
            Cause::Expired => "expired",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
