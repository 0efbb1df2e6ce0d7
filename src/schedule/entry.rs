//! One scheduled publication: what is due, what is read for it, what became of it.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use super::clock::{Clock, Due, Now, Wake};
use super::source::{Reading, Source, SourceError};
use super::trouble::{LastError, Trouble, Troubles};
use crate::batch::{Batch, Element};
use crate::config;
use crate::count::count;
use crate::message::{Outbound, Properties, exactly};
use crate::outbox::Refusal;
use crate::template::SourceValue;
use crate::template::Tick;
use crate::time::Rfc3339;
use crate::timestamp::to_milliseconds;

/// A publication and its state.
#[derive(Debug)]
pub(super) struct Publication {
    config: config::Publish,
    clock: Clock,
    source: Option<Rc<Source>>,
    run: Run,
    /// With `on_change`: the value that was published last.
    published: Option<SourceValue>,
    batch: Option<Batch>,
    troubles: Troubles,
    /// Publications so far: the next one's `{{count}}` is one more.
    count: u64,
    skipped: u64,
    unchanged: u64,
    failed: u64,
    refused: u64,
    last_run: Option<Timestamp>,
    last_published: Option<Timestamp>,
}

/// Of a source, one run at a time.
#[derive(Debug, Default)]
struct Run {
    goes_on: bool,
    /// Something was due while it went on.
    was_too_long: bool,
    /// That was said, and no run since then has been in time.
    said: bool,
}

/// How a run went well.
enum Done {
    /// The outbox took a message.
    Submitted,
    /// The value waits in a batch.
    Waits,
    /// The value hadn't moved.
    Unchanged,
}

/// What is to be read for the publication that was due at a time.
#[derive(Debug)]
pub(super) struct ToRead {
    pub(super) source: Rc<Source>,
    pub(super) due: Timestamp,
}

/// One of the `publish` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct PublishStatus {
    name: String,
    topic: String,
    /// Publications made since the start, `refused` included; of a batch, each value.
    count: u64,
    /// Due times that passed while the machine slept or stood still, or that its clock left out, or for which the run before
    /// took too long.
    skipped: u64,
    /// Values that weren't published because they hadn't moved.
    unchanged: u64,
    /// Runs without a value that can be published.
    failed: u64,
    /// Messages that the outbox didn't take.
    refused: u64,
    last_run: Option<Rfc3339>,
    /// When the outbox last took a message.
    last_published: Option<Rfc3339>,
    next_run: Option<Rfc3339>,
    /// Whether the last run had trouble, `last_error`.
    failing: bool,
    last_error: Option<LastError>,
}

impl Publication {
    pub(super) fn new(config: &config::Publish, now: &Now) -> Publication {
        Publication {
            config: config.clone(),
            clock: Clock::new(config, now, fastrand::f64()),
            source: config.source.as_ref().map(|source| Rc::new(Source::new(source))),
            run: Run::default(),
            published: None,
            batch: config.batch.map(Batch::new),
            troubles: Troubles::default(),
            count: 0,
            skipped: 0,
            unchanged: 0,
            failed: 0,
            refused: 0,
            last_run: None,
            last_published: None,
        }
    }

    /// Whether it was made for this configuration.
    pub(super) fn is_for(&self, config: &config::Publish) -> bool {
        self.config == *config
    }

    /// When to look at it again.
    pub(super) fn wake(&self) -> Wake {
        let clock = if self.is_done() { Wake::default() } else { self.clock.wake() };
        clock.or(Wake { mono: self.batch.as_ref().and_then(Batch::due), wall: None })
    }

    fn is_done(&self) -> bool {
        self.config.count.is_some_and(|count| self.count >= count)
    }

    /// The clock on the wall showed nonsense until `now`.
    pub(super) fn restart(&mut self, now: &Now) {
        self.clock.restart(now, fastrand::f64());
    }

    /// Publishes what is due at `now`, or returns what has to be read for it.
    pub(super) fn tick(&mut self, now: &Now, submit: impl Fn(Outbound) -> Result<(), Refusal>) -> Option<ToRead> {
        if self.batch.as_ref().is_some_and(|batch| batch.is_due(now.mono)) {
            self.flush(now.wall, &submit);
        }
        if self.is_done() {
            return None;
        }
        let due = self.clock.take(now, fastrand::f64())?;
        self.note_skipped(&due);
        let Some(source) = &self.source else {
            self.last_run = Some(due.at);
            let outcome = self.publish(due.at, None, now, submit);
            self.note(outcome, now.wall);
            return None;
        };
        if self.run.goes_on {
            self.skip_for_the_run();
            return None;
        }
        self.run.goes_on = true;
        self.last_run = Some(due.at);
        Some(ToRead { source: Rc::clone(source), due: due.at })
    }

    /// What was to be read has been read, for the publication that was due at `due`.
    pub(super) fn read(
        &mut self,
        due: Timestamp,
        outcome: Result<Reading, SourceError>,
        now: &Now,
        submit: impl Fn(Outbound) -> Result<(), Refusal>,
    ) {
        self.run.goes_on = false;
        self.run.said &= std::mem::take(&mut self.run.was_too_long);
        let outcome = outcome.map_err(Trouble::from).and_then(|Reading { value, lacks }| {
            if let Some(nothing) = self.why_nothing(&value) {
                return Err(Trouble::Source(nothing));
            }
            let done = self.publish_if_moved(due, value, now, submit)?;
            lacks.map_or(Ok(done), |lacks| Err(Trouble::Lacks(lacks)))
        });
        self.note(outcome, now.wall);
    }

    /// An empty value is none: a sensor that failed, or a file that is being written. Only a payload without it doesn't mind.
    fn why_nothing(&self, value: &SourceValue) -> Option<SourceError> {
        let is_missed = value.bytes().is_empty() && self.config.payload.takes_value();
        self.source.as_ref().filter(|_| is_missed)?.nothing()
    }

    fn publish_if_moved(
        &mut self,
        due: Timestamp,
        value: SourceValue,
        now: &Now,
        submit: impl Fn(Outbound) -> Result<(), Refusal>,
    ) -> Result<Done, Trouble> {
        let Some(on_change) = self.config.on_change else { return self.publish(due, Some(&value), now, submit) };
        if self.published.as_ref().is_some_and(|before| !value.has_moved(before, on_change.min_change)) {
            self.unchanged += 1;
            return Ok(Done::Unchanged);
        }
        // Whatever isn't taken is tried again, moved or not.
        self.published = None;
        let done = self.publish(due, Some(&value), now, submit)?;
        self.published = Some(value);
        Ok(done)
    }

    fn publish(
        &mut self,
        due: Timestamp,
        value: Option<&SourceValue>,
        now: &Now,
        submit: impl Fn(Outbound) -> Result<(), Refusal>,
    ) -> Result<Done, Trouble> {
        let payload = self.config.payload.render(&Tick { count: self.count + 1, due, value })?;
        if self.batch.is_some() {
            return self.add(&payload, now, &submit);
        }
        self.count += 1;
        self.submit(exactly(payload), None, now.wall, submit)
    }

    /// Adds a payload to the batch, which is sent when it is full.
    fn add(
        &mut self,
        payload: &[u8],
        now: &Now,
        submit: &impl Fn(Outbound) -> Result<(), Refusal>,
    ) -> Result<Done, Trouble> {
        let element = Element::new(payload)?;
        let mut done = Ok(Done::Waits);
        if self.batch.as_ref().is_some_and(|batch| !batch.has_room_for(&element)) {
            done = self.submit_batch(now.wall, submit);
        }
        self.count += 1;
        if let Some(batch) = &mut self.batch {
            batch.push(&element, now.mono);
            if batch.is_due(now.mono) {
                done = self.submit_batch(now.wall, submit);
            }
        }
        done
    }

    /// Sends what waits in a batch.
    pub(super) fn flush(&mut self, now: Timestamp, submit: impl Fn(Outbound) -> Result<(), Refusal>) {
        if self.batch.as_ref().is_some_and(|batch| batch.due().is_some()) {
            let outcome = self.submit_batch(now, submit);
            self.note(outcome, now);
        }
    }

    fn submit_batch(
        &mut self,
        now: Timestamp,
        submit: impl Fn(Outbound) -> Result<(), Refusal>,
    ) -> Result<Done, Trouble> {
        let Some(batch) = &mut self.batch else { return Ok(Done::Waits) };
        let Some(array) = batch.take() else { return Ok(Done::Waits) };
        let properties = batch.properties(None);
        // What nobody has got doesn't count as published.
        self.submit(array, properties, now, submit).inspect_err(|_| self.published = None)
    }

    fn submit(
        &mut self,
        payload: Bytes,
        properties: Option<Arc<Properties>>,
        now: Timestamp,
        submit: impl Fn(Outbound) -> Result<(), Refusal>,
    ) -> Result<Done, Trouble> {
        let config::Publish { topic, qos, retain, urgent, .. } = &self.config;
        let (topic, qos, retain, urgent) = (topic.clone(), *qos, *retain, *urgent);
        submit(Outbound { topic, payload, qos, retain, urgent, properties })?;
        self.last_published = Some(to_milliseconds(now));
        Ok(Done::Submitted)
    }

    fn note(&mut self, outcome: Result<Done, Trouble>, now: Timestamp) {
        match outcome {
            Ok(Done::Submitted) => self.troubles.over(&self.config.name),
            Ok(Done::Waits | Done::Unchanged) => self.troubles.over_but_refusal(&self.config.name),
            Err(trouble) => {
                match trouble {
                    Trouble::Source(_) | Trouble::Payload(_) | Trouble::Batch(_) => self.failed += 1,
                    Trouble::Refused(_) => self.refused += 1,
                    Trouble::Lacks(_) => {}
                }
                self.troubles.met(&self.config.name, trouble, now);
            }
        }
    }

    fn note_skipped(&mut self, due: &Due) {
        let (name, skipped) = (&self.config.name, due.skipped);
        if skipped > 0 {
            self.skipped += skipped;
            log::info!(
                GATEWIRE_EVENT = "publish_skipped", GATEWIRE_PUBLISH = name.as_str(), GATEWIRE_COUNT = skipped;
                "publish {name}: skipped {} that passed while this machine was suspended or too busy, or that its clock jumped over",
                count(skipped, "due time")
            );
        }
    }

    /// Said once, until a run is in time again.
    fn skip_for_the_run(&mut self) {
        self.skipped += 1;
        self.run.was_too_long = true;
        if !std::mem::replace(&mut self.run.said, true) {
            let name = &self.config.name;
            log::warn!(
                GATEWIRE_EVENT = "publish_overlap", GATEWIRE_PUBLISH = name.as_str();
                "publish {name}: it is due again, but the previous run is still reading its value: such due times are skipped, \
                and counted in the status"
            );
        }
    }

    pub(super) fn status(&self, now: &Now) -> PublishStatus {
        PublishStatus {
            name: self.config.name.clone(),
            topic: self.config.topic.to_string(),
            count: self.count,
            skipped: self.skipped,
            unchanged: self.unchanged,
            failed: self.failed,
            refused: self.refused,
            last_run: self.last_run.map(to_milliseconds).map(Rfc3339),
            last_published: self.last_published.map(Rfc3339),
            next_run: (!self.is_done()).then(|| self.clock.next(now)).flatten().map(to_milliseconds).map(Rfc3339),
            failing: self.troubles.is_met(),
            last_error: self.troubles.last().cloned(),
        }
    }
}

#[cfg(test)]
mod tests;
