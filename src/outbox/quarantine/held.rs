//! A message that was refused, as the quarantine has it.

use std::convert::Infallible;
use std::time::Instant;

use jiff::Timestamp;

use crate::message::Outbound;
use crate::store::backlog::Item;
use crate::store::durable::Lasting;
use crate::store::{Accepted, Row};

/// A message that was refused.
#[derive(Debug, Clone)]
pub(in crate::outbox) struct Refused {
    pub(in crate::outbox) message: Outbound,
    pub(in crate::outbox) at: Timestamp,
    pub(in crate::outbox) accepted: Accepted,
}

#[derive(Debug)]
pub(in crate::outbox) struct Held {
    pub(super) refused: Refused,
    /// It was on the disk elsewhere.
    pub(super) was_stored: bool,
    /// When it has to be on the disk at the latest.
    pub(super) due: Instant,
}

impl Item for Held {
    fn size(&self) -> u64 {
        self.refused.message.size() as u64
    }
}

impl Lasting for Held {
    type Waiter = Infallible;

    fn due(&self) -> Option<Instant> {
        Some(self.due)
    }

    fn to_row(&self, seq: u64) -> Row {
        let Refused { message: Outbound { topic, payload, qos, retain, urgent, properties }, at, accepted } =
            self.refused.clone();
        Row { seq, at, accepted, topic, payload, qos, retain, duplicate: false, urgent, properties }
    }

    fn take_waiter(&mut self) -> Option<Infallible> {
        None
    }
}
