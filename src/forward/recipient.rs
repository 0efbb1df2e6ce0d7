//! Who gets messages from IoT Core.

use std::fmt;
use std::time::Instant;

use crate::message::{AckToken, Inbound, Topic};

/// Who gets messages from IoT Core: a forward, or a bridge.
pub(crate) trait Recipient: fmt::Debug {
    /// Whether a message on this topic is for it.
    fn wants(&self, topic: &Topic) -> bool;

    /// Takes a message. Its token goes to the [`Acks`](super::Acks) once that is done.
    fn deliver(&self, id: u64, message: &Inbound, token: Option<AckToken>);

    /// The connection is gone: the server sends again what it has no PUBACK for, if it keeps the session.
    fn link_down(&self);

    /// What the server waits for and nobody has taken by then is to be on the disk.
    fn hasten(&self, due: Instant);

    /// The highest id of a message that was on the disk at the start.
    fn last_stored(&self) -> Option<u64>;
}
