//! What a configuration costs in a month: messages and metering units as AWS counts them, bytes as they are sent. Pure.
//!
//! Metering: "AWS IoT Core additional metering details". A PUBLISH counts topic and payload in units of 5 KB, and with the retain
//! flag twice; PUBACK from IoT Core, PINGREQ and PINGRESP count nothing. Bytes are those of MQTT in TLS 1.3, without TCP and IP.

mod message;
mod numbers;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::{self, Publish, When};
use crate::duration;
use crate::message::Qos;
use crate::mqtt::session::FIRST_SILENCE;
use crate::mqtt::{ALIAS_BYTES, KeepAlive, Protocol, publish_size};
use crate::template::SourceValue;
use message::Message;
pub(crate) use numbers::bytes;
use numbers::{counted, grouped};

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

/// So many topics have an alias on one connection to IoT Core.
const ALIASES: usize = 8;

/// What a topic of Basic Ingest begins with: AWS has no messaging charge for what goes straight to a rule.
const BASIC_INGEST: &str = "$aws/rules/";

/// What a publication reads, if it reads anything.
#[derive(Debug)]
pub(crate) enum Reads {
    Nothing,
    /// This is what it reads now.
    Value(SourceValue),
    /// Why that isn't known, for a sentence.
    Unknown(&'static str),
}

/// Bytes to and from IoT Core, and what AWS meters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) units: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// What `connection.rate_limit` counts of it: topic and payload, as they go out.
    pub(crate) limited: u64,
}

/// How PUBLISH packets are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    protocol: Protocol,
    /// Each topic goes once, and then as a number.
    by_alias: bool,
}

impl Written {
    /// With `connection.topic_alias`, as long as each topic of `publish` can have one: with more topics it depends on their order.
    fn of(connection: &config::Connection, publish: &[(Publish, Reads)]) -> Written {
        let topics: BTreeSet<&str> = publish.iter().map(|(publish, _)| publish.topic.as_str()).collect();
        let protocol = connection.protocol;
        let by_alias = connection.topic_alias && protocol == Protocol::Mqtt5 && topics.len() <= ALIASES;
        Written { protocol, by_alias }
    }

    /// Bytes of so many PUBLISH packets in TLS.
    fn sent(self, messages: u64, qos: Qos, topic: usize, message: &Message) -> u64 {
        let size = |topic, properties| {
            record(publish_size(self.protocol, qos, topic, message.properties + properties, message.payload) as u64)
        };
        match self.by_alias {
            true => size(topic, ALIAS_BYTES) + messages.saturating_sub(1) * size(0, ALIAS_BYTES),
            false => messages * size(topic, 0),
        }
    }
}

/// What one cause comes to in a month.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// PUBLISH packets of ours: none are pings.
    pub(crate) messages: u64,
    /// There may be fewer.
    pub(crate) is_at_most: bool,
    /// They are sent to a rule, which AWS doesn't bill as messages.
    pub(crate) is_basic_ingest: bool,
    /// The traffic may be more: what differs from what a file holds now is packed less well.
    pub(crate) is_at_least: bool,
    /// `Err`: why it isn't known.
    pub(crate) traffic: Result<Traffic, &'static str>,
}

impl Row {
    /// What a `[[publish]]` comes to from `from` on.
    pub(crate) fn publish(publish: &Publish, reads: &Reads, written: Written, from: Timestamp) -> Row {
        let due = match &publish.when {
            When::Every(every) => u64::try_from(MONTH.as_nanos() / every.as_nanos().max(1)).unwrap_or(u64::MAX),
            When::Cron(cron) => (cron.in_a_year(from) + 6) / 12,
        };
        // What comes less than once a month comes in some.
        let is_seldom = due == 0;
        let due = due.max(1).min(publish.count.unwrap_or(u64::MAX));
        let message = Message::of(publish, reads, due, from);
        let elements = message.as_ref().map_or(1.0, |message| message.elements);
        let messages = (due as f64 / elements).ceil() as u64;
        let is_basic_ingest = publish.topic.as_str().starts_with(BASIC_INGEST);
        let is_at_least = message.as_ref().is_ok_and(|message| message.is_at_least);
        let traffic = message.map(|message| {
            let topic = publish.topic.as_str().len();
            let metered = (topic + message.payload) as u64;
            let copies = if publish.retain { 2 } else { 1 };
            let answer = if publish.qos == Qos::AtLeastOnce { record(PUBACK) } else { 0 };
            Traffic {
                units: if is_basic_ingest { 0 } else { messages * metered.div_ceil(UNIT) * copies },
                sent: written.sent(messages, publish.qos, topic, &message),
                received: messages * answer,
                limited: messages * metered,
            }
        });
        let is_at_most = is_seldom || publish.on_change.is_some() || publish.batch.is_some() && traffic.is_err();
        Row { name: publish.name.clone(), messages, is_at_most, is_basic_ingest, is_at_least, traffic }
    }

    /// What keeping the connection alive comes to.
    pub(crate) fn keep_alive(connection: &config::Connection) -> Row {
        // Nobody knows what the network will bear.
        let (interval, name) = match connection.keep_alive {
            KeepAlive::Fixed(interval) => (interval, "keep alive"),
            KeepAlive::UpTo(_) => (FIRST_SILENCE, "keep alive, where the network bears no longer silence than 60s"),
        };
        let pings = u64::try_from(MONTH.as_nanos() / interval.as_nanos().max(1)).unwrap_or(u64::MAX);
        let traffic = Traffic { units: 0, sent: pings * record(PING), received: pings * record(PING), limited: 0 };
        let (is_basic_ingest, is_at_least) = (false, false);
        Row { name: name.to_owned(), messages: 0, is_at_most: true, is_basic_ingest, is_at_least, traffic: Ok(traffic) }
    }
}

/// ``hello: 43,800 messages, 43,800 units of 5 KB, 5.1 MB sent, 1.1 MB received``
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_most = if self.is_at_most { "at most " } else { "" };
        write!(f, "{}: {at_most}", self.name)?;
        if self.messages > 0 {
            let how = if self.is_basic_ingest { " by Basic Ingest (no messaging charge)" } else { "" };
            write!(f, "{}{how}, ", counted(self.messages, "message"))?;
        }
        match &self.traffic {
            Ok(traffic) => write!(f, "{}{traffic}", if self.is_at_least { "at least " } else { "" }),
            Err(why) => write!(f, "bytes unknown: {why}"),
        }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.units > 0 {
            write!(f, "{} of 5 KB, ", counted(self.units, "unit"))?;
        }
        write!(f, "{} sent, {} received", bytes(self.sent), bytes(self.received))
    }
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Cost {
    pub(crate) rows: Vec<Row>,
    /// Nothing can be said of these.
    pub(crate) unknown: Vec<String>,
    /// What is assumed of `connection.topic_alias`, for people.
    aliases: Option<String>,
    /// What a month may carry, both ways together, in bytes.
    pub(crate) budget: Option<u64>,
    /// What becomes of what waits for the next month, for people, where not all of it lives to see that.
    loss: Option<String>,
}

impl Cost {
    /// Of the publications in `publish`, each with what it reads, and of the connection.
    pub(crate) fn new(config: &config::Config, publish: &[(Publish, Reads)], from: Timestamp) -> Cost {
        let written = Written::of(&config.connection, publish);
        let mut rows: Vec<Row> =
            publish.iter().map(|(publish, reads)| Row::publish(publish, reads, written, from)).collect();
        rows.push(Row::keep_alive(&config.connection));
        let ingest = config.ingest.iter().map(|ingest| format!("ingest {}", ingest.name));
        let forward = config.forward.iter().map(|forward| format!("forward {}", forward.name));
        let bridge = config.bridges().map(|bridge| format!("bridge {}", bridge.name));
        let services = config.services().into_iter().map(|service| service.name().to_owned());
        let unknown = ingest.chain(forward).chain(bridge).chain(services).collect();
        let is_asked = config.connection.topic_alias && config.connection.protocol == Protocol::Mqtt5;
        let aliases = (is_asked && !publish.is_empty()).then(|| match written.by_alias {
            true => format!(
                "topic_alias: each topic counted once in full, as IoT Core takes {ALIASES} aliases a connection"
            ),
            false => format!(
                "topic_alias: not counted, as there are more topics than the {ALIASES} aliases that IoT Core takes"
            ),
        });
        let budget = config.meter.as_ref().and_then(|meter| meter.budget);
        let max_age = config.outbox.max_age;
        let holds = budget.is_some_and(|budget| budget.then == config::Then::UrgentOnly);
        let loss = (holds && max_age < config::Budget::LONGEST_WAIT).then(|| {
            format!(
                "past the budget what isn't urgent waits for the next month, and is dropped after [outbox] max_age ({})",
                duration::written(max_age)
            )
        });
        Cost { rows, unknown, aliases, budget: budget.map(|budget| budget.month), loss }
    }

    /// What is known of it, together; of the messages those that AWS bills.
    pub(crate) fn known(&self) -> (u64, Traffic) {
        self.rows.iter().fold((0, Traffic::default()), |(messages, sum), row| {
            let messages = messages + if row.is_basic_ingest { 0 } else { row.messages };
            let Ok(traffic) = row.traffic else { return (messages, sum) };
            let sum = Traffic {
                units: sum.units + traffic.units,
                sent: sum.sent + traffic.sent,
                received: sum.received + traffic.received,
                limited: sum.limited + traffic.limited,
            };
            (messages, sum)
        })
    }

    /// How much of the budget is known to be used.
    fn of_budget(&self) -> Option<String> {
        let budget = self.budget?;
        let known = self.both_ways();
        let percent = u128::from(known) * 100 / u128::from(budget.max(1));
        Some(format!("{} of the month's budget of {}, {percent} %", bytes(known), bytes(budget)))
    }

    /// What is known of it, both ways.
    fn both_ways(&self) -> u64 {
        let (_, traffic) = self.known();
        traffic.sent.saturating_add(traffic.received)
    }

    /// What is wrong with the budget: what is known doesn't fit.
    pub(crate) fn excess(&self) -> Option<String> {
        let budget = self.budget.filter(|budget| self.both_ways() > *budget)?;
        Some(format!(
            "the month's budget of {} isn't enough: {} are known to be carried in a month, and TLS handshakes and what isn't known come \
             on top. Publish less often, use `batch` or a longer `keep_alive`, or raise the budget",
            bytes(budget),
            bytes(self.both_ways())
        ))
    }

    /// For people: a line with the sum, and one for each cause.
    pub(crate) fn lines(&self) -> Vec<String> {
        let without_bytes: Vec<&str> =
            self.rows.iter().filter(|row| row.traffic.is_err()).map(|row| row.name.as_str()).collect();
        let mut lines = vec![self.sum(!without_bytes.is_empty() || !self.unknown.is_empty())];
        lines.extend(self.rows.iter().map(Row::to_string));
        lines.extend(self.aliases.clone());
        if !without_bytes.is_empty() {
            lines.push(format!("not counted, as it isn't known: units and bytes of {}", without_bytes.join(", ")));
        }
        lines.extend(self.of_budget());
        lines.extend(self.loss.clone());
        if !self.unknown.is_empty() {
            lines.push(format!("not counted, as it depends on others: {}", self.unknown.join(", ")));
        }
        lines
    }

    /// Where schedules bring more, together and without end, than `limit` lets through: the key, and what to do. What may be less
    /// isn't counted.
    pub(crate) fn beyond(&self, limit: &config::RateLimit) -> Vec<String> {
        let sure = || self.rows.iter().filter(|row| !row.is_at_most);
        let a_second = |month: u64| month.div_ceil(MONTH.as_secs());
        let messages = a_second(sure().map(|row| row.messages).sum());
        let traffic = sure().filter_map(|row| row.traffic.as_ref().ok());
        let size = a_second(traffic.map(|traffic| traffic.limited).sum());
        let most = u64::from(limit.messages_per_second);
        let mut beyond = Vec::new();
        if messages > most {
            beyond.push(format!(
                "`connection.rate_limit.messages_per_second`: schedules publish {} a second, and {} are let through: the outbox fills \
                 up. Publish less often, or use `batch`; a higher limit is of use only where the server takes more (IoT Core takes \
                 100 a second from a connection)",
                counted(messages, "message"),
                grouped(most)
            ));
        }
        if size > limit.bytes_per_second {
            beyond.push(format!(
                "`connection.rate_limit.bytes_per_second`: schedules publish {} a second, and {} are let through: the outbox fills \
                 up. Publish less often, or less; a higher limit is of use only where the server takes more (IoT Core takes 512 KiB \
                 a second from a connection)",
                bytes(size),
                bytes(limit.bytes_per_second)
            ));
        }
        beyond
    }

    /// `lacks`: some of it isn't counted.
    fn sum(&self, lacks: bool) -> String {
        let (messages, traffic) = self.known();
        // Pings aside: they are few bytes.
        let may_be_less = self.rows.iter().any(|row| row.is_at_most && row.messages > 0);
        let may_be_more = lacks || self.rows.iter().any(|row| row.is_at_least);
        let bound = match (may_be_more, may_be_less) {
            (true, true) => "about ",
            (true, false) => "at least ",
            (false, true) => "at most ",
            (false, false) => "",
        };
        let by_rule: u64 = self.rows.iter().filter(|row| row.is_basic_ingest).map(|row| row.messages).sum();
        let messages = match (messages, by_rule) {
            (0, 0) => String::new(),
            (messages, 0) => format!("{}, ", counted(messages, "message")),
            (messages, more) => {
                format!("{}, besides {} by Basic Ingest, ", counted(messages, "message"), grouped(more))
            }
        };
        let rest = if lacks { ", and what isn't counted (below)" } else { "" };
        let minutes = grouped(MONTH.as_secs() / 60);
        format!(
            "in a month, connected for all of its {minutes} minutes: {bound}{messages}{traffic}{rest}; AWS's prices differ by region"
        )
    }
}

/// Bytes of TLS for so many bytes that are written at once.
fn record(bytes: u64) -> u64 {
    bytes + bytes.div_ceil(MAX_RECORD) * RECORD
}
