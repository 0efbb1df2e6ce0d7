//! What waits for IoT Core: every message that a schedule or a local client has handed over, until the link has delivered it.
//!
//! The decisions are in [`ledger`]; this file gives them to the tasks: who accepted a message may wait for its [`Outcome`],
//! and the link is woken when there is something to send.

mod ledger;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use jiff::Timestamp;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::{Notify, oneshot};

use crate::config;
use crate::message::{Outbound, Qos};
use ledger::{Full, Ledger, Link};

pub(crate) use ledger::Sequence;

/// The most memory the outbox takes, in bytes of topics and payloads with [`ledger::ENTRY_OVERHEAD`] a message.
const MEMORY_BOUND: u64 = 16 * 1024 * 1024;

/// What became of an accepted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// QoS 1: IoT Core has acknowledged it.
    Delivered,
    /// QoS 0: it was written to the link.
    Sent,
    /// It was given up.
    Refused(Refusal),
}

/// Why a message isn't taken, or was given up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("the outbox is full: IoT Core takes messages more slowly than they come, or the link is down")]
    OutboxFull,
    #[error("the link is down, and a QoS 0 message isn't kept; send it with QoS 1 to have it kept")]
    NotConnected,
    #[error("gatewire is shutting down; send it again when it is back")]
    ShuttingDown,
    #[error("IoT Core refuses it: {reason}")]
    Rejected { reason: String },
    #[error("its `expires_in` has passed before it could be sent")]
    Expired,
}

type Waiter = Option<oneshot::Sender<Outcome>>;

/// The outbox as the tasks see it.
#[derive(Debug)]
pub(crate) struct Outbox {
    ledger: RefCell<Ledger<Waiter>>,
    arrived: Notify,
    closed: Cell<bool>,
    counters: Counters,
}

/// What has happened since the start.
#[derive(Debug, Default)]
struct Counters {
    accepted: Cell<u64>,
    delivered: Cell<u64>,
    sent: Cell<u64>,
    dropped_full: Cell<u64>,
    dropped_not_connected: Cell<u64>,
    dropped_rejected: Cell<u64>,
    dropped_expired: Cell<u64>,
}

fn add(counter: &Cell<u64>, n: u64) {
    counter.set(counter.get() + n);
}

/// The `outbox` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct OutboxStatus {
    /// Messages not yet handed to the link.
    pub(crate) waiting: usize,
    /// QoS 1 messages handed to the link and not yet acknowledged.
    pub(crate) in_flight: usize,
    /// Topics and payloads of both.
    pub(crate) bytes: u64,
    /// When the oldest of them was accepted.
    pub(crate) oldest: Option<Timestamp>,
    /// Messages on disk: none, they wait in memory.
    pub(crate) stored: u64,
    pub(crate) dropped: Dropped,
    /// Messages set aside because IoT Core refuses them: none yet, they are sent again and again.
    pub(crate) quarantined: u64,
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) sent: u64,
}

/// Messages given up, by cause.
#[derive(Debug, Serialize)]
pub(crate) struct Dropped {
    /// The outbox was full and `when_full` is `drop-oldest`.
    pub(crate) full: u64,
    /// QoS 0 while the link was down.
    pub(crate) not_connected: u64,
    /// IoT Core refused them: MQTT 5 only.
    pub(crate) rejected: u64,
    /// Their `expires_in` had passed.
    pub(crate) expired: u64,
}

impl Outbox {
    pub(crate) fn new(config: &config::Outbox) -> Rc<Outbox> {
        Rc::new(Outbox {
            ledger: RefCell::new(Ledger::new(config.max_size.min(MEMORY_BOUND), config.when_full)),
            arrived: Notify::new(),
            closed: Cell::new(false),
            counters: Counters::default(),
        })
    }

    /// Takes a message; the receiver gets what became of it. Dropping the receiver doesn't take the message back. QoS 0 is
    /// taken only while the link is up: somebody waits for the answer.
    pub(crate) fn accept(&self, message: Outbound) -> Result<oneshot::Receiver<Outcome>, Refusal> {
        self.admit(&message, self.ledger.borrow().link() == Link::Up)?;
        let (waiter, outcome) = oneshot::channel();
        self.take_in(message, Some(waiter))?;
        Ok(outcome)
    }

    /// Takes a message whose outcome nobody waits for. QoS 0 is taken before the first attempt to connect has ended, too:
    /// what is scheduled for the start isn't lost to the milliseconds that connecting takes.
    pub(crate) fn submit(&self, message: Outbound) -> Result<(), Refusal> {
        self.admit(&message, self.ledger.borrow().link() != Link::Down)?;
        self.take_in(message, None)
    }

    fn admit(&self, message: &Outbound, takes_qos_0: bool) -> Result<(), Refusal> {
        if self.closed.get() {
            return Err(Refusal::ShuttingDown);
        }
        if message.qos == Qos::AtMostOnce && !takes_qos_0 {
            add(&self.counters.dropped_not_connected, 1);
            return Err(Refusal::NotConnected);
        }
        Ok(())
    }

    fn take_in(&self, message: Outbound, waiter: Waiter) -> Result<(), Refusal> {
        let dropped =
            self.ledger.borrow_mut().accept(message, waiter, Timestamp::now()).map_err(|Full| Refusal::OutboxFull)?;
        add(&self.counters.dropped_full, dropped.len() as u64);
        settle(dropped, &Outcome::Refused(Refusal::OutboxFull));
        add(&self.counters.accepted, 1);
        self.arrived.notify_one();
        Ok(())
    }

    /// Accepts nothing from now on.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.arrived.notify_one();
    }

    /// Gives up what is left, once the link has stopped; returns how many QoS 1 messages that were.
    pub(crate) fn abandon(&self) -> usize {
        let left = self.ledger.borrow_mut().drain();
        let count = left.len();
        settle(left, &Outcome::Refused(Refusal::ShuttingDown));
        count
    }

    /// Completes when there may be something new for the link.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Nothing waits and nothing is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.ledger.borrow().is_empty()
    }

    /// Bytes of topic and payload of the next message to send.
    pub(crate) fn next_size(&self) -> Option<usize> {
        self.ledger.borrow().next_size()
    }

    /// The next message to send, in the order of acceptance.
    pub(crate) fn take(&self) -> Option<(Sequence, Outbound)> {
        self.ledger.borrow_mut().take()
    }

    /// IoT Core has acknowledged a QoS 1 message.
    pub(crate) fn delivered(&self, sequence: Sequence) {
        self.finish(sequence, &self.counters.delivered, &Outcome::Delivered);
    }

    /// A QoS 0 message has been written to the link.
    pub(crate) fn sent(&self, sequence: Sequence) {
        self.finish(sequence, &self.counters.sent, &Outcome::Sent);
    }

    /// IoT Core has refused a message, or says that it would.
    pub(crate) fn rejected(&self, sequence: Sequence, reason: String) {
        self.finish(sequence, &self.counters.dropped_rejected, &Outcome::Refused(Refusal::Rejected { reason }));
    }

    /// The time of a message had passed before it could be sent.
    pub(crate) fn expired(&self, sequence: Sequence) {
        self.finish(sequence, &self.counters.dropped_expired, &Outcome::Refused(Refusal::Expired));
    }

    fn finish(&self, sequence: Sequence, counter: &Cell<u64>, outcome: &Outcome) {
        if let Some(waiter) = self.ledger.borrow_mut().remove(sequence) {
            add(counter, 1);
            settle([waiter], outcome);
        }
    }

    /// The session is established: QoS 0 messages are taken too.
    pub(crate) fn link_up(&self) {
        self.ledger.borrow_mut().link_up();
    }

    /// The connection is gone: QoS 0 messages that weren't written are given up, QoS 1 messages stay.
    pub(crate) fn link_down(&self) {
        let dropped = self.ledger.borrow_mut().link_down();
        add(&self.counters.dropped_not_connected, dropped.len() as u64);
        settle(dropped, &Outcome::Refused(Refusal::NotConnected));
    }

    pub(crate) fn status(&self) -> OutboxStatus {
        let ledger = self.ledger.borrow();
        OutboxStatus {
            waiting: ledger.waiting(),
            in_flight: ledger.in_flight(),
            bytes: ledger.bytes(),
            oldest: ledger.oldest(),
            stored: 0,
            dropped: Dropped {
                full: self.counters.dropped_full.get(),
                not_connected: self.counters.dropped_not_connected.get(),
                rejected: self.counters.dropped_rejected.get(),
                expired: self.counters.dropped_expired.get(),
            },
            quarantined: 0,
            accepted: self.counters.accepted.get(),
            delivered: self.counters.delivered.get(),
            sent: self.counters.sent.get(),
        }
    }
}

/// Tells those who wait. One who has gone away doesn't mind.
fn settle(waiters: impl IntoIterator<Item = Waiter>, outcome: &Outcome) {
    for waiter in waiters.into_iter().flatten() {
        let _ = waiter.send(outcome.clone());
    }
}
