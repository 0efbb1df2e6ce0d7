//! One message, and what is known of its readers.

use std::time::Instant;

use crate::message::{AckToken, Inbound};
use crate::store::backlog::Item;
use crate::store::durable::Lasting;
use crate::store::{Accepted, Row};

/// A message that waits.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(super) message: Inbound,
    /// To be given out once it is on the disk, or done.
    pub(super) token: Option<AckToken>,
    /// The connection of `token` is gone: the server may send it again.
    pub(super) is_orphan: bool,
    /// When it has to be on the disk at the latest.
    pub(super) due: Instant,
    /// A reader was written it before. What is written from then on says so.
    pub(super) given: bool,
    /// It may have been, by an earlier process.
    pub(super) maybe_given: bool,
    /// It may be written to a reader at any time, and the disk didn't know it when that began: if it is written there, that says so.
    pub(super) exposed: bool,
}

impl Item for Kept {
    fn size(&self) -> u64 {
        self.message.size() as u64
    }
}

impl Lasting for Kept {
    type Waiter = AckToken;

    fn due(&self) -> Option<Instant> {
        Some(self.due)
    }

    fn to_row(&self, seq: u64) -> Row {
        let Inbound { topic, payload, qos, retain, duplicate, received_at, properties } = self.message.clone();
        let duplicate = duplicate || self.given || self.exposed;
        // How old it is decides nothing.
        let accepted = Accepted::Earlier(None);
        Row { seq, at: received_at, accepted, topic, payload, qos, retain, duplicate, urgent: false, properties }
    }

    fn take_waiter(&mut self) -> Option<AckToken> {
        self.token.take()
    }
}

impl Kept {
    pub(super) fn new(message: &Inbound, token: Option<AckToken>, due: Instant) -> Kept {
        let (given, maybe_given, exposed) = (false, false, false);
        Kept { message: message.clone(), token, is_orphan: false, due, given, maybe_given, exposed }
    }

    /// Whether a reader may have been written it before.
    pub(super) fn is_duplicate(&self) -> bool {
        self.given || self.message.duplicate
    }

    pub(super) fn from_row(row: Row, was_given: bool, now: Instant) -> Kept {
        let Row { at, topic, payload, qos, retain, duplicate, properties, .. } = row;
        let duplicate = duplicate || was_given;
        let message = Inbound { topic, payload, qos, retain, duplicate, received_at: at, properties };
        let (given, maybe_given, exposed) = (false, true, false);
        Kept { message, token: None, is_orphan: false, due: now, given, maybe_given, exposed }
    }
}
