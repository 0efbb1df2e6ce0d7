//! Scheduled publications: when ([`clock`]) and what ([`template`]).

pub(crate) mod clock;
pub(crate) mod template;

use std::cell::RefCell;
use std::time::Instant;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp, Unit};
use serde::Serialize;

use crate::config;
use crate::message::Outbound;
use crate::observe::journal;
use crate::outbox::Refusal;
use clock::{Clock, Due};
use template::Tick;

/// All scheduled publications.
#[derive(Debug)]
pub(crate) struct Schedule {
    entries: RefCell<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
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
    /// Due times that passed while the machine slept or stood still.
    skipped: u64,
    /// Publications that the outbox didn't take.
    refused: u64,
    last_run: Option<Timestamp>,
    next_run: Option<Timestamp>,
    last_error: Option<String>,
}

impl Schedule {
    /// Schedules `publications` from `start` on.
    pub(crate) fn new(publications: &[config::Publish], start: Instant) -> Schedule {
        let entry = |config: &config::Publish| Entry {
            config: config.clone(),
            clock: Clock::new(start, config.every, config.jitter, config.count, config.at_start, fastrand::f64()),
            count: 0,
            skipped: 0,
            refused: 0,
            last_run: None,
            last_error: None,
        };
        Schedule { entries: RefCell::new(publications.iter().map(entry).collect()) }
    }

    /// Hands each publication to `submit` when it is due; ends when all are made.
    pub(crate) async fn run(&self, submit: impl Fn(Outbound) -> Result<(), Refusal>) {
        while let Some(due) = self.next() {
            tokio::time::sleep_until(due.into()).await;
            let (now, clock) = (Instant::now(), Timestamp::now());
            for entry in self.entries.borrow_mut().iter_mut() {
                if let Some(due) = entry.clock.take(now, fastrand::f64()) {
                    entry.publish(&due, wall(due.at, now, clock), &submit);
                }
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        self.entries.borrow().iter().filter_map(|entry| entry.clock.next()).min()
    }

    pub(crate) fn status(&self) -> Vec<PublishStatus> {
        let (now, clock) = (Instant::now(), journal::now());
        self.entries.borrow().iter().map(|entry| entry.status(now, clock)).collect()
    }
}

impl Entry {
    fn publish(&mut self, due: &Due, at: Timestamp, submit: impl Fn(Outbound) -> Result<(), Refusal>) {
        let name = &self.config.name;
        if due.skipped > 0 {
            self.skipped += due.skipped;
            log::info!("publish {name}: skipped {} due times that passed while this machine stood still", due.skipped);
        }
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

    fn status(&self, now: Instant, clock: Timestamp) -> PublishStatus {
        PublishStatus {
            name: self.config.name.clone(),
            topic: self.config.topic.to_string(),
            count: self.count,
            skipped: self.skipped,
            refused: self.refused,
            last_run: self.last_run,
            next_run: self.clock.next().map(|next| wall(next, now, clock)),
            last_error: self.last_error.as_ref().map(Refusal::to_string),
        }
    }
}

/// What a clock on the wall shows at `at`, when it shows `clock` at `now`.
fn wall(at: Instant, now: Instant, clock: Timestamp) -> Timestamp {
    let ahead = SignedDuration::try_from(at.saturating_duration_since(now)).unwrap_or(SignedDuration::ZERO);
    let behind = SignedDuration::try_from(now.saturating_duration_since(at)).unwrap_or(SignedDuration::ZERO);
    let shown = clock.saturating_add(ahead - behind).unwrap_or(clock);
    shown.round(Unit::Millisecond).unwrap_or(shown)
}
