//! The configuration: every key of `gatewire.toml`, typed, checked and with its placeholders filled in.
//!
//! [`read()`] turns files into a [`Config`] or into a report of everything that is wrong with them. What a [`Config`] holds is
//! valid: nothing behind it checks again.

mod allow;
mod batch;
mod bridge;
mod broker;
mod document;
mod doubt;
mod endpoint;
mod environment;
mod explain;
mod key_file;
mod known;
mod meter;
mod metrics;
mod places;
mod provisioning;
mod proxy;
mod read;
mod reader;
mod redact;
mod report;
mod section;
mod services;
mod socket;
#[cfg(test)]
mod tests;
mod unnamed;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::actions::Actions;
use crate::certificate::Whose;
use crate::cron::Cron;
use crate::message::{Outbound, Qos, Topic, TopicFilter};
use crate::mqtt::{KeepAlive, Protocol, Will};
use crate::secret::Secret;
use crate::services::{Names, Service};
use crate::template::Template;

pub(crate) use allow::Allow;
pub(crate) use batch::{Batch, Encoding};
pub(crate) use bridge::{Bridge, Broker, BrokerLogin, BrokerTls, Down, Up};
pub(crate) use broker::is_broker;
pub(crate) use doubt::about_topic;
pub(crate) use environment::Environment;
pub(crate) use key_file::KeyFile;
#[cfg(test)]
pub(crate) use known::is_key_of;
pub(crate) use known::meant;
pub(crate) use meter::{Budget, Meter, Then};
pub(crate) use metrics::{Listen, Metrics};
pub(crate) use places::Places;
pub(crate) use provisioning::{ClaimAfter, NoValue, Provisioning};
#[cfg(any(test, fuzzing))]
pub(crate) use read::fuzzing;
pub(crate) use read::{actions, files, is_unconfigured, read, read_as_client};
pub(crate) use redact::without_secrets;
pub(crate) use services::{Commands, Jobs};
pub(crate) use socket::{STATUS_SOCKET, SocketFile};
use unnamed::Unnamed;

/// A whole configuration, valid and with defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) connection: Connection,
    pub(crate) tls: Tls,
    /// `None`: the certificate and key of `tls` are put there by hand.
    pub(crate) provisioning: Option<Provisioning>,
    pub(crate) publish: Vec<Publish>,
    pub(crate) forward: Vec<Forward>,
    pub(crate) ingest: Vec<Ingest>,
    pub(crate) bridge: Vec<Bridge>,
    /// `None`: AWS IoT Jobs isn't subscribed to.
    pub(crate) jobs: Option<Jobs>,
    /// `None`: AWS IoT's commands aren't subscribed to.
    pub(crate) commands: Option<Commands>,
    pub(crate) actions: Actions,
    pub(crate) outbox: Outbox,
    pub(crate) status: Status,
    /// `None`: nobody listens.
    pub(crate) metrics: Option<Metrics>,
    /// `None`: nothing is counted.
    pub(crate) meter: Option<Meter>,
    pub(crate) log: Log,
    /// How many filters readers may ask for beside those of the configuration, by `connection.max_subscriptions`.
    pub(crate) spare_subscriptions: usize,
    pub(crate) places: Places,
    unnamed: Unnamed,
}

impl Config {
    /// What all forwards and bridges together want, each filter with the highest QoS that any of them asks for.
    pub(crate) fn filters(&self) -> BTreeMap<TopicFilter, Qos> {
        let mut filters = BTreeMap::new();
        for forward in &self.forward {
            for filter in &forward.filters {
                let qos = filters.entry(filter.clone()).or_insert(forward.qos);
                *qos = forward.qos.max(*qos);
            }
        }
        for down in self.bridge.iter().flat_map(|bridge| &bridge.down) {
            filters.insert(down.from.clone(), Qos::AtLeastOnce);
        }
        filters
    }

    /// The services of AWS IoT that are to be asked: none as long as the name of the thing isn't known.
    pub(crate) fn services(&self) -> Vec<Service> {
        if !self.connection.is_named {
            return Vec::new();
        }
        let jobs = self.jobs.as_ref().map(|_| Service::Jobs);
        jobs.into_iter().chain(self.commands.as_ref().map(|_| Service::Commands)).collect()
    }

    /// The services that are asked only while another certificate is made, and subscribed to no longer than that.
    pub(crate) fn services_at_times(&self) -> Vec<Service> {
        let rotator = self.actions.rotate() && self.jobs.is_some();
        let renews = self.provisioning.as_ref().is_some_and(|provisioning| provisioning.renew_before.is_some());
        let at_times = [(Service::Rotator, rotator), (Service::Provisioning, renews)];
        at_times.into_iter().filter_map(|(service, is_used)| is_used.then_some(service)).collect()
    }

    /// The names in the topics of services.
    pub(crate) fn names(&self) -> Names<'_> {
        let template = self.provisioning.as_ref().map_or("", |provisioning| &provisioning.template);
        Names { thing: &self.connection.thing, template }
    }
}

/// `[connection]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Connection {
    /// Host name of the account's IoT Core endpoint (or of another broker): no scheme, no port.
    pub(crate) endpoint: String,
    pub(crate) port: u16,
    pub(crate) client_id: String,
    /// The name of this gateway's thing at AWS IoT. Where it is left out, and that is the client id, it may be none (1 to 128 of
    /// `[a-zA-Z0-9:_-]`) unless there are [`services`](Config::services). With [`provisioning`](Config::provisioning) AWS says it.
    pub(crate) thing: String,
    /// `false`: AWS is yet to say the name of the thing. `thing` stands in for it, in `client_id` and wherever else it stands, too.
    pub(crate) is_named: bool,
    pub(crate) protocol: Protocol,
    /// How long the server keeps subscriptions and queued messages; zero asks for a clean session.
    pub(crate) session_expiry: Duration,
    pub(crate) keep_alive: KeepAlive,
    /// From the start of DNS to CONNACK.
    pub(crate) connect_timeout: Duration,
    /// For PUBACK and SUBACK, before they count as missing.
    pub(crate) ack_timeout: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) rate_limit: RateLimit,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) will: Option<Will>,
    /// What is published on each connection before anything else.
    pub(crate) birth: Option<Outbound>,
    /// Topics go to IoT Core as numbers, after the first time on each connection.
    pub(crate) topic_alias: bool,
}

/// `connection.backoff`: how long to wait between attempts to connect.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Backoff {
    /// The longest wait after a connection that was stable, and once the network is back.
    pub(crate) first: Duration,
    pub(crate) min: Duration,
    pub(crate) max: Duration,
    /// The link must have been up this long before the next wait starts from `min` again.
    pub(crate) stable_after: Duration,
}

/// `connection.rate_limit`: what IoT Core lets one connection do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RateLimit {
    pub(crate) messages_per_second: u32,
    /// Bytes a second.
    pub(crate) bytes_per_second: u64,
    /// Messages that may go at once after a pause.
    pub(crate) burst: u32,
    pub(crate) connects_per_second: u32,
}

/// `connection.proxy`: the HTTP proxy through which the endpoint is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// A name or an IP address.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) login: Option<Login>,
}

/// Who we are to the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// Without a colon, which would end it (RFC 7617, 2).
    pub(crate) user: Secret<String>,
    pub(crate) password: Secret<String>,
}

/// `[tls]`. With [`provisioning`](Config::provisioning) certificate and key are those of the identity, which need not be there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tls {
    pub(crate) ca_file: PathBuf,
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: KeyFile,
    /// Which certificate that is.
    pub(crate) whose: Whose,
}

/// A `[[publish]]`: a scheduled publication.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Publish {
    pub(crate) name: String,
    pub(crate) topic: Topic,
    pub(crate) when: When,
    /// Stop after so many publications since the daemon started.
    pub(crate) count: Option<u64>,
    /// Each publication is put off by a random time below this.
    pub(crate) jitter: Duration,
    /// With `every`, the first publication comes at once, not after the first interval; with `cron`, there is one more at once.
    pub(crate) at_start: bool,
    /// Where `{{value}}` comes from.
    pub(crate) source: Option<Source>,
    /// With a source and left out: the value itself.
    pub(crate) payload: Template,
    /// Only values that have moved are published.
    pub(crate) on_change: Option<OnChange>,
    pub(crate) batch: Option<Batch>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// Its messages go before everything that isn't urgent and hasn't been sent.
    pub(crate) urgent: bool,
}

/// When a publication is due.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum When {
    Every(Duration),
    Cron(Box<Cron>),
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::Every(every) => write!(f, "every {}", crate::duration::written(*every)),
            When::Cron(cron) => cron.fmt(f),
        }
    }
}

/// What a publication reads each time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    File(PathBuf),
    /// A program and its arguments.
    Command {
        argv: Vec<String>,
        timeout: Duration,
    },
    /// None of them twice.
    Metrics(Vec<Metric>),
}

/// `publish.metrics`: something that this machine tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    Cpu,
    Memory,
    Disk,
    Temperature,
    Network,
    Uptime,
}

impl Metric {
    /// As it is written in the configuration and in the value.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Metric::Cpu => "cpu",
            Metric::Memory => "memory",
            Metric::Disk => "disk",
            Metric::Temperature => "temperature",
            Metric::Network => "network",
            Metric::Uptime => "uptime",
        }
    }
}

/// `publish.on_change`
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OnChange {
    /// By how much a number has to differ from the one sent last; `None`: at all.
    pub(crate) min_change: Option<f64>,
}

/// A `[[forward]]`: messages from IoT Core to a local socket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Forward {
    pub(crate) name: String,
    pub(crate) filters: Vec<TopicFilter>,
    /// `None`: readers can't ask for more.
    pub(crate) allow: Option<Allow>,
    pub(crate) qos: Qos,
    pub(crate) socket: SocketFile,
    pub(crate) format: Format,
    pub(crate) ack: Ack,
    pub(crate) keep: Keep,
}

/// `forward.ack`: when a reader has a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ack {
    /// Once it is written to the reader's socket.
    Written,
    /// Once the reader has said so.
    Reader,
}

/// What a forward writes for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A JSON object and a newline.
    Json,
    /// The bare payload and a newline.
    Payload,
    /// The bare payload as a netstring: its length in decimal digits, a colon, the payload, a comma.
    Netstring,
}

impl Format {
    /// As the configuration has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Payload => "payload",
            Format::Netstring => "netstring",
        }
    }
}

/// `forward.keep`: the bounds of what waits while no reader is there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Keep {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) when_full: WhenFull,
}

/// What gives way when a queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenFull {
    DropOldest,
    RejectNew,
}

/// A `[[ingest]]`: messages from local programs to IoT Core.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ingest {
    pub(crate) name: String,
    pub(crate) socket: SocketFile,
    /// What clients of this socket may publish to.
    pub(crate) topics: Vec<TopicFilter>,
    /// More of them are known once AWS has said the name of the thing.
    pub(crate) awaits_name: bool,
    /// Whether lines may go before what isn't urgent; if not, those that ask for it are taken like the others.
    pub(crate) urgent: bool,
    pub(crate) batch: Option<Batch>,
}

/// `[outbox]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outbox {
    pub(crate) path: PathBuf,
    /// Bytes of waiting topics and payloads.
    pub(crate) max_size: u64,
    pub(crate) max_age: Duration,
    pub(crate) when_full: WhenFull,
    pub(crate) spill_after: Duration,
}

/// `[status]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Status {
    pub(crate) socket: SocketFile,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Log {
    pub(crate) level: log::LevelFilter,
}
