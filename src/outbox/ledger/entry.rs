//! A message of the outbox, and who waits for it.

use std::time::Instant;

use jiff::Timestamp;

use crate::message::{Outbound, Qos};
use crate::store::backlog::Item;
use crate::store::durable::Lasting;
use crate::store::{Accepted, Moment, Row};

#[derive(Debug)]
pub(in crate::outbox) struct Entry<W> {
    pub(in crate::outbox) message: Outbound,
    pub(in crate::outbox) at: Timestamp,
    pub(in crate::outbox) accepted: Accepted,
    /// When it has to be on the disk at the latest.
    pub(super) due: Instant,
    pub(in crate::outbox) waiter: Option<W>,
}

impl<W> Item for Entry<W> {
    fn size(&self) -> u64 {
        self.message.size() as u64
    }
}

impl<W> Lasting for Entry<W> {
    type Waiter = W;

    fn due(&self) -> Option<Instant> {
        self.is_kept().then_some(self.due)
    }

    fn to_row(&self, seq: u64) -> Row {
        let Outbound { topic, payload, qos, retain, urgent, properties } = self.message.clone();
        Row {
            seq,
            at: self.at,
            accepted: self.accepted,
            topic,
            payload,
            qos,
            retain,
            duplicate: false,
            urgent,
            properties,
        }
    }

    fn take_waiter(&mut self) -> Option<W> {
        self.waiter.take()
    }
}

impl<W> Entry<W> {
    pub(super) fn is_kept(&self) -> bool {
        self.message.qos == Qos::AtLeastOnce
    }

    pub(super) fn from_row(row: Row, now: Instant, moment: &Moment) -> Entry<W> {
        let (message, at, accepted) = row.into_outbound(now, moment);
        Entry { message, at, accepted, due: now, waiter: None }
    }
}
