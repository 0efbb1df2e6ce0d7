//! Which rule takes a topic, and what becomes of it. Pure.

use super::cause::Cause;
use crate::config;
use crate::message::Topic;

/// What a bridge does with a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// The rule of this number takes it, and this is its topic on the other side.
    To(usize, Topic),
    /// The rule of this number takes it, and the other side can't have it.
    Left(usize, Cause),
    /// No rule takes it.
    Nowhere,
}

/// Where a message of the local broker goes: the first rule whose `from` matches and whose `except` doesn't.
pub(crate) fn up(_bridge: &config::Bridge, _topic: &Topic) -> Route {
    Route::Nowhere
}

/// Where a message of IoT Core goes: the first rule whose `from` matches.
pub(crate) fn down(_bridge: &config::Bridge, _topic: &Topic) -> Route {
    Route::Nowhere
}
