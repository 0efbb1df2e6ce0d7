//! One scheduled publication: what is due, what became of it.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use super::clock::{Clock, Due, Now, Wake};
use super::template::Tick;
use crate::config;
use crate::message::Outbound;
use crate::outbox::Refusal;

/// A publication and its state.
#[derive(Debug)]
pub(super) struct Entry {
    config: config::Publish,
    clock: Clock,
    /// Publications so far: the next one's `{{count}}` is one more.
    count: u64,
    skipped: u64,
    refused: u64,
    last_run: Option<Timestamp>,
    /// Why the last publication wasn't taken; `None` if it was.
    last_error: Option<Refusal>,
}

/// One of the `publish` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct PublishStatus {
    name: String,
    topic: String,
    /// Publications made since the start, `refused` included.
    count: u64,
    /// Due times that passed while the machine slept or stood still, or that its clock left out.
    skipped: u64,
    /// Publications that the outbox didn't take.
    refused: u64,
    last_run: Option<Timestamp>,
    next_run: Option<Timestamp>,
    last_error: Option<String>,
}

impl Entry {
    pub(super) fn new(config: &config::Publish, now: &Now) -> Entry {
        Entry {
            config: config.clone(),
            clock: Clock::new(config, now, fastrand::f64()),
            count: 0,
            skipped: 0,
            refused: 0,
            last_run: None,
            last_error: None,
        }
    }

    /// Whether it was made for this configuration.
    pub(super) fn is_for(&self, config: &config::Publish) -> bool {
        self.config == *config
    }

    /// When to look at it again.
    pub(super) fn wake(&self) -> Wake {
        if self.is_done() { Wake::default() } else { self.clock.wake() }
    }

    fn is_done(&self) -> bool {
        self.config.count.is_some_and(|count| self.count >= count)
    }

    /// The clock on the wall showed nonsense until `now`.
    pub(super) fn restart(&mut self, now: &Now) {
        self.clock.restart(now, fastrand::f64());
    }

    /// Publishes what is due at `now`.
    pub(super) fn tick(&mut self, now: &Now, submit: impl Fn(Outbound) -> Result<(), Refusal>) {
        if !self.is_done()
            && let Some(due) = self.clock.take(now, fastrand::f64())
        {
            self.note_skipped(&due);
            self.publish(due.at, submit);
        }
    }

    fn note_skipped(&mut self, due: &Due) {
        let (name, skipped) = (&self.config.name, due.skipped);
        if skipped > 0 {
            self.skipped += skipped;
            log::info!(
                GATEWIRE_EVENT = "publish_skipped", GATEWIRE_PUBLISH = name.as_str(), GATEWIRE_COUNT = skipped;
                "publish {name}: skipped {skipped} due times that passed while this machine stood still, or that its clock left out"
            );
        }
    }

    fn publish(&mut self, at: Timestamp, submit: impl Fn(Outbound) -> Result<(), Refusal>) {
        self.count += 1;
        self.last_run = Some(at);
        let mut payload = Vec::with_capacity(self.config.payload.max_len());
        self.config.payload.render(&Tick { count: self.count, due: at }, &mut payload);
        let outcome = submit(Outbound {
            topic: self.config.topic.clone(),
            payload: Bytes::from(payload),
            qos: self.config.qos,
            retain: self.config.retain,
            properties: None,
        });
        self.note(outcome);
    }

    /// Counts a refusal, and says it when it is the first of its kind in a row.
    fn note(&mut self, outcome: Result<(), Refusal>) {
        let Err(refusal) = outcome else {
            self.last_error = None;
            return;
        };
        self.refused += 1;
        if self.last_error.as_ref() != Some(&refusal) {
            let (name, topic) = (&self.config.name, self.config.topic.as_str());
            log::warn!(
                GATEWIRE_EVENT = "publish_refused", GATEWIRE_PUBLISH = name.as_str(), GATEWIRE_TOPIC = topic;
                "publish {name}: not published on {topic}: {refusal}"
            );
            self.last_error = Some(refusal);
        }
    }

    pub(super) fn status(&self, now: &Now) -> PublishStatus {
        PublishStatus {
            name: self.config.name.clone(),
            topic: self.config.topic.to_string(),
            count: self.count,
            skipped: self.skipped,
            refused: self.refused,
            last_run: self.last_run,
            next_run: (!self.is_done()).then(|| self.clock.next(now)).flatten(),
            last_error: self.last_error.as_ref().map(Refusal::to_string),
        }
    }
}
