//! What a configuration costs in a month: messages and metering units as AWS counts them, bytes as they are sent. Pure.
//!
//! Metering: "AWS IoT Core additional metering details". A PUBLISH counts topic and payload in units of 5 KB, and with the retain
//! flag twice; PUBACK from IoT Core, PINGREQ and PINGRESP count nothing. Bytes are those of MQTT in TLS 1.3, without TCP and IP.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::batch::{Batch, Element, NotBatchable};
use crate::config::{self, Publish, When};
use crate::count::count;
use crate::cron::Cron;
use crate::message::Qos;
use crate::mqtt::session::FIRST_SILENCE;
use crate::mqtt::{KeepAlive, Protocol, publish_size};
use crate::template::{RenderError, Tick, Value};
use crate::time;

/// A month: a twelfth of a year of 365 days, which is 730 hours.
const MONTH: Duration = Duration::from_secs(730 * 3600);

/// What AWS meters messages in, in bytes.
const UNIT: u64 = 5 * 1024;

/// What TLS 1.3 adds to a record: its header, the type within, and the tag (RFC 8446, 5.2).
const RECORD: u64 = 5 + 1 + 16;

/// The most that a record holds (RFC 8446, 5.1).
const MAX_RECORD: u64 = 16 * 1024;

/// PUBACK without a reason, PINGREQ, PINGRESP.
const PUBACK: u64 = 4;
const PING: u64 = 2;

/// So many due times of a cron pattern show how full its batches get.
const SAMPLE: usize = 2000;

/// What a publication reads, if it reads anything.
#[derive(Debug)]
pub(crate) enum Reads {
    Nothing,
    /// This is what it reads now.
    Value(Value),
    /// Why that isn't known, for a sentence.
    Unknown(&'static str),
}

/// Bytes to and from IoT Core, and what AWS meters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) units: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// What one cause comes to in a month.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Messages as AWS counts them: none are pings.
    pub(crate) messages: u64,
    /// There may be fewer.
    pub(crate) is_at_most: bool,
    /// `Err`: why it isn't known.
    pub(crate) traffic: Result<Traffic, &'static str>,
}

impl Row {
    /// What a `[[publish]]` comes to from `from` on.
    pub(crate) fn publish(publish: &Publish, reads: &Reads, protocol: Protocol, from: Timestamp) -> Row {
        let due = match &publish.when {
            When::Every(every) => u64::try_from(MONTH.as_nanos() / every.as_nanos().max(1)).unwrap_or(u64::MAX),
            When::Cron(cron) => (cron.in_a_year(from) + 6) / 12,
        };
        let due = due.min(publish.count.unwrap_or(u64::MAX));
        let message = Message::of(publish, reads, due, from);
        let elements = message.as_ref().map_or(1.0, |message| message.elements);
        let messages = (due as f64 / elements).ceil() as u64;
        let traffic = message.map(|message| {
            let topic = publish.topic.as_str().len();
            let metered = (topic + message.payload) as u64;
            let packet = publish_size(protocol, publish.qos, topic, message.payload) as u64;
            let copies = if publish.retain { 2 } else { 1 };
            let answer = if publish.qos == Qos::AtLeastOnce { record(PUBACK) } else { 0 };
            Traffic {
                units: messages * metered.div_ceil(UNIT) * copies,
                sent: messages * record(packet),
                received: messages * answer,
            }
        });
        let is_at_most = publish.on_change.is_some() || publish.batch.is_some() && traffic.is_err();
        Row { name: publish.name.clone(), messages, is_at_most, traffic }
    }

    /// What keeping the connection alive comes to.
    pub(crate) fn keep_alive(connection: &config::Connection) -> Row {
        // Nobody knows what the network will bear.
        let (interval, name) = match connection.keep_alive {
            KeepAlive::Fixed(interval) => (interval, "keep alive"),
            KeepAlive::UpTo(_) => (FIRST_SILENCE, "keep alive, where the network bears no longer silence than 60s"),
        };
        let pings = u64::try_from(MONTH.as_nanos() / interval.as_nanos().max(1)).unwrap_or(u64::MAX);
        let traffic = Traffic { units: 0, sent: pings * record(PING), received: pings * record(PING) };
        Row { name: name.to_owned(), messages: 0, is_at_most: true, traffic: Ok(traffic) }
    }
}

/// ``hello: 43800 messages, 43800 units of 5 KB, 5.1 MB sent, 1.1 MB received``
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_most = if self.is_at_most { "at most " } else { "" };
        write!(f, "{}: {at_most}", self.name)?;
        if self.messages > 0 {
            write!(f, "{}, ", count(self.messages, "message"))?;
        }
        match &self.traffic {
            Ok(traffic) => traffic.fmt(f),
            Err(why) => write!(f, "bytes unknown: {why}"),
        }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.units > 0 {
            write!(f, "{} of 5 KB, ", count(self.units, "unit"))?;
        }
        write!(f, "{} sent, {} received", megabytes(self.sent), megabytes(self.received))
    }
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Cost {
    pub(crate) rows: Vec<Row>,
    /// Nothing can be said of these.
    pub(crate) unknown: Vec<String>,
}

impl Cost {
    /// Of the publications in `publish`, each with what it reads, and of the connection.
    pub(crate) fn new(config: &config::Config, publish: &[(Publish, Reads)], from: Timestamp) -> Cost {
        let protocol = config.connection.protocol;
        let mut rows: Vec<Row> =
            publish.iter().map(|(publish, reads)| Row::publish(publish, reads, protocol, from)).collect();
        rows.push(Row::keep_alive(&config.connection));
        let ingest = config.ingest.iter().map(|ingest| format!("ingest {}", ingest.name));
        let forward = config.forward.iter().map(|forward| format!("forward {}", forward.name));
        let bridge = config.bridges().map(|bridge| format!("bridge {}", bridge.name));
        let services = config.services().into_iter().map(|service| service.name().to_owned());
        let unknown = ingest.chain(forward).chain(bridge).chain(services).collect();
        Cost { rows, unknown }
    }

    /// What is known of it, together.
    pub(crate) fn known(&self) -> (u64, Traffic) {
        self.rows.iter().fold((0, Traffic::default()), |(messages, sum), row| {
            let Ok(traffic) = row.traffic else { return (messages + row.messages, sum) };
            let sum = Traffic {
                units: sum.units + traffic.units,
                sent: sum.sent + traffic.sent,
                received: sum.received + traffic.received,
            };
            (messages + row.messages, sum)
        })
    }

    /// For people: a line with the sum, and one for each cause.
    pub(crate) fn lines(&self) -> Vec<String> {
        let (messages, traffic) = self.known();
        let minutes = MONTH.as_secs() / 60;
        let mut lines = vec![format!(
            "in a month, connected for all of its {minutes} minutes: {}, {traffic}; AWS's prices differ by region",
            count(messages, "message")
        )];
        lines.extend(self.rows.iter().map(Row::to_string));
        if !self.unknown.is_empty() {
            lines.push(format!("not counted, as it depends on others: {}", self.unknown.join(", ")));
        }
        lines
    }
}

/// What is published of a configuration at a time.
struct Message {
    /// Publications in it: more than one with `batch`.
    elements: f64,
    payload: usize,
}

impl Message {
    /// `Err`: why it isn't known.
    fn of(publish: &Publish, reads: &Reads, due: u64, from: Timestamp) -> Result<Message, &'static str> {
        let value = match reads {
            Reads::Nothing => None,
            Reads::Value(value) if value.bytes().is_empty() => return Err("its file is empty"),
            Reads::Value(value) => Some(value),
            Reads::Unknown(why) => return Err(why),
        };
        // The count has as many digits as at the end of the month.
        let payload =
            publish.payload.render(&Tick { count: due.max(1), due: from, value }).map_err(|error| match error {
                RenderError::TooLarge => "its payload is too large",
                _ => "what its file holds doesn't go into its payload",
            })?;
        let Some(batch) = publish.batch else { return Ok(Message { elements: 1.0, payload: payload.len() }) };
        let fit = full(batch, &payload).map_err(|_| "its payload can't be in a batch")?;
        let elements = match &publish.when {
            When::Every(every) => {
                let within = batch.within.as_nanos().div_ceil(every.as_nanos().max(1));
                (usize::try_from(within).unwrap_or(usize::MAX)).clamp(1, fit.0) as f64
            }
            When::Cron(cron) => filled(cron, batch.within, fit.0, from),
        };
        let element = (fit.1 - 1) as f64 / fit.0 as f64;
        Ok(Message { elements, payload: (1.0 + elements * element).round() as usize })
    }
}

/// How many elements like `payload` a batch has when it is full, and its bytes.
fn full(config: config::Batch, payload: &[u8]) -> Result<(usize, usize), NotBatchable> {
    let element = Element::new(payload)?;
    let (mut batch, mut elements, now) = (Batch::new(config), 0, time::now());
    while elements < config.max && batch.has_room_for(&element) {
        batch.push(&element, now);
        elements += 1;
    }
    Ok((elements, batch.take().map_or(0, |json| json.len())))
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

/// Bytes of TLS for so many bytes that are written at once.
fn record(bytes: u64) -> u64 {
    bytes + bytes.div_ceil(MAX_RECORD) * RECORD
}

/// As data plans are sold, a million bytes each.
pub(crate) fn megabytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
