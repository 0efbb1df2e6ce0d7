//! What becomes of topics that are carried from one broker to another: which a rule takes, and which it makes of them. Pure.
//!
//! [`Mapping`] is a rule; [`image`] tells what it can make, before there are any topics, and [`loops`] which rules would carry a
//! message round for ever.

pub(crate) mod image;
pub(crate) mod loops;
#[cfg(test)]
pub(crate) mod testing;

use crate::message::{Topic, TopicError, TopicFilter};

/// The only topics under `$` that IoT Core lets clients publish to freely: Basic Ingest.
pub(crate) const BASIC_INGEST: &str = "$aws/rules/";

/// What rules of both directions have in common: which topics they take, and what they make of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mapping<'a> {
    pub(crate) from: &'a TopicFilter,
    pub(crate) except: &'a [TopicFilter],
    /// A literal beginning of `from`.
    pub(crate) strip: &'a str,
    /// Put before what is left.
    pub(crate) to: &'a str,
}

/// Which way a message is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    /// From the local broker to IoT Core.
    Up,
    /// From there to the local broker.
    Down,
}

/// The rules of a bridge, each way in the order in which they are tried.
#[derive(Debug, Clone)]
pub(crate) struct Ways<'a> {
    pub(crate) up: Vec<Mapping<'a>>,
    pub(crate) down: Vec<Mapping<'a>>,
}

/// Why the other side can't have a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    TooLong,
    TooManySlashes,
    /// It is empty, or holds a character that none may hold.
    Bad,
    /// It begins with `$`, and isn't one that clients may publish to.
    Reserved,
}

impl Mapping<'_> {
    /// Whether this rule takes `topic`, unless one before it does: as MQTT matches, `from` and `except` alike.
    pub(crate) fn takes(self, topic: &Topic) -> bool {
        self.from.matches(topic) && !self.except.iter().any(|except| except.matches(topic))
    }

    /// What becomes of `topic`, whether the other side can have that or not. One that doesn't begin with `strip` stays whole: of
    /// `a/#` there is one, `a`.
    pub(crate) fn made(self, topic: &str) -> String {
        format!("{}{}", self.to, topic.strip_prefix(self.strip).unwrap_or(topic))
    }
}

/// `name` as a topic at IoT Core. Below `$` only the rule itself may lead, by its `to`, and only to Basic Ingest: what a device
/// publishes doesn't choose which of the account's rules it runs.
pub(crate) fn for_iot_core(name: &str, to: &str) -> Result<Topic, Unfit> {
    if name.starts_with('$') && !names_a_rule(to) {
        return Err(Unfit::Reserved);
    }
    Topic::new(name).map_err(|error| unfit(&error))
}

/// Whether `to` names one of the account's rules: `$aws/rules/NAME/`.
pub(crate) fn names_a_rule(to: &str) -> bool {
    let rest = to.strip_prefix(BASIC_INGEST).and_then(|rest| rest.split_once('/'));
    rest.is_some_and(|(name, _)| !name.is_empty())
}

/// `name` as a topic at the local broker, which has MQTT's bounds only. What it says of itself is below `$SYS`, and `$share` is
/// for subscriptions.
pub(crate) fn for_local_broker(name: &str) -> Result<Topic, Unfit> {
    match name.split('/').next() {
        Some("$SYS" | "$share") => Err(Unfit::Reserved),
        _ => Topic::of_mqtt(name).map_err(|error| unfit(&error)),
    }
}

fn unfit(error: &TopicError) -> Unfit {
    match error {
        TopicError::TooLong(_) | TopicError::TooLongForMqtt(_) => Unfit::TooLong,
        TopicError::TooManySlashes(_) => Unfit::TooManySlashes,
        TopicError::Empty
        | TopicError::Character(_)
        | TopicError::WildcardInTopic(_)
        | TopicError::MisplacedPlus
        | TopicError::MisplacedHash
        | TopicError::MalformedShare => Unfit::Bad,
    }
}
