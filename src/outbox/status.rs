//! The `outbox` of the status document.

use crate::time::Rfc3339;
use serde::Serialize;

use super::Outbox;
use super::drain::DrainStatus;
use super::dropping::Dropped;
use super::latency::DeliveryStatus;
use super::quarantine::QuarantineStatus;

use crate::time;

/// `outbox.held` of the status document: why messages wait though there is a connection.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HeldStatus {
    /// `refused`: the server refuses everything; `throttled`: it takes no more for now; `unanswered`: it doesn't acknowledge messages;
    /// `subscribing`: it hasn't answered a SUBSCRIBE; `budget`: what isn't urgent waits, the month's is used up.
    pub(crate) cause: &'static str,
    pub(crate) since: Rfc3339,
    /// What the server does on a message, or doesn't.
    pub(crate) reason: String,
    pub(crate) advice: String,
    /// When the next message is tried.
    pub(crate) next_attempt: Option<Rfc3339>,
}

/// The `outbox` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct OutboxStatus {
    /// Messages not yet handed to the link.
    pub(crate) waiting: u64,
    /// Of these, what is urgent.
    pub(crate) urgent: u64,
    /// QoS 1 messages handed to the link and not yet acknowledged.
    pub(crate) in_flight: usize,
    /// Topics and payloads of both.
    pub(crate) bytes: u64,
    /// When the oldest of them was accepted.
    pub(crate) oldest: Option<Rfc3339>,
    /// How many of them are on the disk.
    pub(crate) stored: u64,
    pub(crate) dropped: Dropped,
    /// What holds messages back though there is a connection.
    pub(crate) held: Option<HeldStatus>,
    /// Messages set aside because IoT Core refuses them.
    pub(crate) quarantined: u64,
    /// What these have in common.
    pub(crate) quarantine: Vec<QuarantineStatus>,
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) sent: u64,
    /// How long QoS 1 messages took from acceptance to PUBACK.
    pub(crate) delivery: DeliveryStatus,
    /// The backlog of the last outage, while it goes out.
    pub(crate) drain: Option<DrainStatus>,
}

impl Outbox {
    pub(crate) fn status(&self) -> OutboxStatus {
        let (ledger, quarantine) = (self.ledger.borrow(), self.quarantine.borrow());
        OutboxStatus {
            waiting: ledger.waiting(),
            urgent: ledger.waiting_like(true),
            in_flight: ledger.in_flight(),
            bytes: ledger.bytes(),
            oldest: ledger.oldest().map(Rfc3339),
            stored: ledger.stored(),
            dropped: self.dropped(),
            held: self.held(),
            quarantined: quarantine.len(),
            quarantine: quarantine.status(),
            accepted: self.counters.accepted.get(),
            delivered: self.counters.delivered.get(),
            sent: self.counters.sent.get(),
            delivery: self.latency.status(),
            // While messages are held back it isn't going out.
            drain: self
                .drain
                .borrow()
                .as_ref()
                .filter(|_| self.held().is_none())
                .map(|drain| drain.status(time::now())),
        }
    }
}
