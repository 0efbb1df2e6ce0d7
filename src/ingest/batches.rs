//! The batches of an ingest socket: what is said of one topic within a while goes out as one message.
//!
//! A line that waits in a batch isn't answered before the batch is, so that nobody believes a message safe that is only in
//! memory here.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_local;

use super::line::Reject;
use crate::batch::{Batch, Element, NotBatchable};
use crate::config;
use crate::message::{Outbound, Qos, Topic};
use crate::outbox::{MessageOutcome, Outbox, Refusal};
use crate::time;

/// The most topics that have a batch at a time.
const MAX_OPEN: usize = 256;

/// The most bytes that wait in batches: beyond [`MAX_OPEN`] and this, the one whose time comes first is sent before it.
const MAX_BYTES: usize = 512 * 1024;

/// The batches of one socket.
#[derive(Debug)]
pub(super) struct Batches {
    config: config::Batch,
    outbox: Rc<Outbox>,
    open: RefCell<BTreeMap<Topic, OpenBatch>>,
    /// Of all that is open.
    bytes: Cell<usize>,
    /// A batch was opened.
    opened: Notify,
}

#[derive(Debug)]
struct OpenBatch {
    batch: Batch,
    qos: Qos,
    retain: bool,
    /// Whoever waits for what becomes of it.
    waiters: Vec<oneshot::Sender<MessageOutcome>>,
}

impl Batches {
    pub(super) fn new(config: config::Batch, outbox: Rc<Outbox>) -> Batches {
        Batches { config, outbox, open: RefCell::default(), bytes: Cell::new(0), opened: Notify::new() }
    }

    /// Adds a message to the batch of its topic; the receiver gets what became of the batch. What can't be part of an array
    /// (bytes, properties) is sent by itself, after what waits before it.
    pub(super) fn add(&self, message: Outbound) -> Result<oneshot::Receiver<MessageOutcome>, Reject> {
        let element = match Element::new(&message.payload) {
            Ok(element) if message.properties.is_none() => element,
            Err(NotBatchable::TooLarge) if message.properties.is_none() => return Err(Reject::TooLargeForBatch),
            _ => {
                self.send(&message.topic);
                return Ok(self.outbox.accept(message)?);
            }
        };
        let Outbound { topic, qos, retain, .. } = &message;
        let fits = |open: &OpenBatch| (open.qos, open.retain) == (*qos, *retain) && open.batch.has_room_for(&element);
        if self.open.borrow().get(topic).is_some_and(|open| !fits(open)) {
            self.send(topic);
        }
        let (waiter, outcome) = oneshot::channel();
        let now = time::now();
        let is_due = {
            let mut batches = self.open.borrow_mut();
            let open = batches.entry(topic.clone()).or_insert_with(|| {
                self.opened.notify_one();
                OpenBatch { batch: Batch::new(self.config), qos: *qos, retain: *retain, waiters: Vec::new() }
            });
            let before = open.batch.bytes();
            open.batch.push(&element, now);
            open.waiters.push(waiter);
            self.bytes.set(self.bytes.get() + open.batch.bytes() - before);
            open.batch.is_due(now)
        };
        if is_due {
            self.send(topic);
        }
        self.make_room();
        Ok(outcome)
    }

    /// Sends batches when their time comes, for ever.
    pub(super) async fn run(&self) {
        loop {
            let first = self.first().map(|(_, due)| due);
            let due = async {
                match first {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = due => {}
                () = self.opened.notified() => {}
            }
            let now = time::now();
            while let Some((topic, _)) = self.first().filter(|(_, due)| *due <= now) {
                self.send(&topic);
            }
        }
    }

    /// Sends all of them.
    pub(super) fn flush(&self) {
        while let Some((topic, _)) = self.first() {
            self.send(&topic);
        }
    }

    /// The batch whose time comes first.
    fn first(&self) -> Option<(Topic, Instant)> {
        let open = self.open.borrow();
        let due = open.iter().filter_map(|(topic, open)| Some((topic, open.batch.due()?)));
        due.min_by_key(|(_, due)| *due).map(|(topic, due)| (topic.clone(), due))
    }

    fn make_room(&self) {
        while (self.open.borrow().len() > MAX_OPEN || self.bytes.get() > MAX_BYTES)
            && let Some((topic, _)) = self.first()
        {
            self.send(&topic);
        }
    }

    /// Hands the batch of a topic to the outbox, if there is one, and tells whoever waits what becomes of it.
    fn send(&self, topic: &Topic) {
        let Some(OpenBatch { mut batch, qos, retain, waiters }) = self.open.borrow_mut().remove(topic) else { return };
        self.bytes.set(self.bytes.get() - batch.bytes());
        let Some(payload) = batch.take() else { return };
        let properties = batch.properties(None);
        let message = Outbound { topic: topic.clone(), payload, qos, retain, urgent: false, properties };
        let tell = |outcome: &MessageOutcome, waiters: Vec<oneshot::Sender<MessageOutcome>>| {
            for waiter in waiters {
                // One who has gone away doesn't mind.
                let _ = waiter.send(outcome.clone());
            }
        };
        match self.outbox.accept(message) {
            Err(refusal) => tell(&MessageOutcome::Refused(refusal), waiters),
            Ok(outcome) => {
                spawn_local(async move {
                    let gone = MessageOutcome::Refused(Refusal::ShuttingDown);
                    tell(&outcome.await.unwrap_or(gone), waiters);
                });
            }
        }
    }
}
