//! What a publication is sent as: its payload, several together with `batch`. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::Reads;
use crate::batch::{Batch, Element, GZIP_TYPE, NotBatchable};
use crate::config::{self, Encoding, Publish, When};
use crate::cron::Cron;
use crate::mqtt::PROPERTY_OF_TEXT;
use crate::template::{RenderError, Tick};
use crate::time;

/// So many due times of a cron pattern show how full its batches get.
const SAMPLE: usize = 2000;

/// What is published of a configuration at a time.
pub(super) struct Message {
    /// Publications in it: more than one with `batch`.
    pub(super) elements: f64,
    pub(super) payload: usize,
    /// Bytes of its properties.
    pub(super) properties: usize,
    /// What is read differs from time to time, and so is packed into more.
    pub(super) is_at_least: bool,
}

impl Message {
    /// `Err`: why it isn't known.
    pub(super) fn of(publish: &Publish, reads: &Reads, due: u64, from: Timestamp) -> Result<Message, &'static str> {
        let value = match reads {
            Reads::Nothing => None,
            Reads::Value(value) if value.bytes().is_empty() => return Err("its file is empty"),
            Reads::Value(value) => Some(value),
            Reads::Unknown(why) => return Err(why),
        };
        // The count has as many digits as at the end of the month.
        let last = Tick { count: due.max(1), due: from, value };
        let payload = publish.payload.render(&last).map_err(|error| match error {
            RenderError::TooLarge => "its payload is too large",
            _ => "its payload can't be made of what its file holds now",
        })?;
        let Some(batch) = publish.batch else {
            return Ok(Message { elements: 1.0, payload: payload.len(), properties: 0, is_at_least: false });
        };
        let is_packed = batch.encoding == Encoding::Gzip;
        let differs = publish.payload.takes_value();
        if is_packed && differs && publish.on_change.is_some() {
            return Err("how well gzip packs its values depends on how they change");
        }
        let fit = full(batch, &payload).map_err(|_| "its payload can't be in a batch")?;
        let elements = match &publish.when {
            When::Every(every) => {
                let within = batch.within.as_nanos().div_ceil(every.as_nanos().max(1));
                (usize::try_from(within).unwrap_or(usize::MAX)).clamp(1, fit.0) as f64
            }
            When::Cron(cron) => filled(cron, batch.within, fit.0, from),
        };
        if is_packed {
            let payload = packed(publish, batch, last, elements.round() as u64)?;
            let properties = PROPERTY_OF_TEXT + GZIP_TYPE.len();
            return Ok(Message { elements, payload, properties, is_at_least: differs && elements > 1.0 });
        }
        let element = (fit.1 - 1) as f64 / fit.0 as f64;
        let payload = (1.0 + elements * element).round() as usize;
        Ok(Message { elements, payload, properties: 0, is_at_least: false })
    }
}

/// How many elements like `payload` a batch has when it is full, and its bytes before it is packed.
fn full(config: config::Batch, payload: &[u8]) -> Result<(usize, usize), NotBatchable> {
    let element = Element::new(payload)?;
    let (mut batch, mut elements, now) = (Batch::new(config), 0, time::now());
    while elements < config.max && batch.has_room_for(&element) {
        batch.push(&element, now);
        elements += 1;
    }
    Ok((elements, batch.bytes() + 1))
}

/// Bytes of so many elements as one message. Counts and timestamps are those of one publication after the other, as gzip packs what
/// is alike into next to nothing.
fn packed(publish: &Publish, config: config::Batch, last: Tick<'_>, elements: u64) -> Result<usize, &'static str> {
    const CANT: &str = "its payload can't be in a batch";
    let (mut batch, now, mut due) = (Batch::new(config), time::now(), last.due);
    let first = last.count.saturating_sub(elements.saturating_sub(1)).max(1);
    for index in 0..elements.max(1) {
        let tick = Tick { count: first + index, due: spread(due, publish.jitter, index), value: last.value };
        let payload = publish.payload.render(&tick).map_err(|_| CANT)?;
        let element = Element::new(&payload).map_err(|_| CANT)?;
        if batch.has_room_for(&element) {
            batch.push(&element, now);
        }
        due = match &publish.when {
            When::Every(every) => due.saturating_add(*every).unwrap_or(due),
            When::Cron(cron) => cron.after(due).unwrap_or(due),
        };
    }
    Ok(batch.take().map_or(0, |packed| packed.len()))
}

/// Put off within `jitter`, each by another part of it.
fn spread(due: Timestamp, jitter: Duration, index: u64) -> Timestamp {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    due.saturating_add(jitter.mul_f64((index as f64 * GOLDEN).fract())).unwrap_or(due)
}

/// How many publications a batch of a pattern has on average: the first waits at most `within`.
fn filled(cron: &Cron, within: Duration, max: usize, from: Timestamp) -> f64 {
    let (mut time, mut sent_at, mut batches) = (from, from, Vec::<usize>::new());
    for _ in 0..SAMPLE {
        let Some(next) = cron.after(time) else { break };
        match batches.last_mut().filter(|elements| **elements < max && next < sent_at) {
            Some(elements) => *elements += 1,
            None => {
                batches.push(1);
                sent_at = next.saturating_add(within).unwrap_or(next);
            }
        }
        time = next;
    }
    // The first and the last aren't whole: the sample has cut them.
    let whole = match &batches[..] {
        [_, whole @ .., _] if !whole.is_empty() => whole,
        all => all,
    };
    whole.iter().sum::<usize>() as f64 / whole.len().max(1) as f64
}
