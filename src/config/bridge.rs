//! `[[bridge]]`: topics carried between a broker on this gateway and IoT Core.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Batch, Keep};
use crate::home_assistant::{self, Device, Entity};
use crate::mapping::{Mapping, Ways};
use crate::message::{Qos, Topic, TopicFilter};
use crate::mqtt::Protocol;

/// A `[[bridge]]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bridge {
    /// None has it twice.
    pub(crate) name: String,
    pub(crate) broker: Broker,
    /// Left out: without TLS.
    pub(crate) tls: Option<BrokerTls>,
    pub(crate) login: Option<BrokerLogin>,
    /// With placeholders filled in. Not that of the link to IoT Core, though the brokers are different ones.
    pub(crate) client_id: String,
    pub(crate) protocol: Protocol,
    /// Where the local broker is told, retained, of the link to IoT Core.
    /// With `discovery` there always is one.
    pub(crate) status_topic: Option<Topic>,
    /// `discovery = "homeassistant"`: as what gatewire announces itself there.
    pub(crate) discovery: Option<Device>,
    /// What this bridge or another one announces at this broker: no rule takes it.
    pub(crate) announced: Vec<Topic>,
    /// In the order in which they are tried.
    pub(crate) up: Vec<Up>,
    pub(crate) down: Vec<Down>,
}

/// `bridge.broker`: where the local broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broker {
    /// A name or an IP address, and a port.
    Tcp { host: String, port: u16 },
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broker::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Broker::Tcp { host, port } => write!(f, "{host}:{port}"),
            Broker::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `bridge.tls`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BrokerTls {
    pub(crate) ca_file: PathBuf,
    /// Certificate and private key, if the broker wants them.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

/// `bridge.username` and `bridge.password_file`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BrokerLogin {
    pub(crate) username: String,
    /// Read at each attempt to connect; a newline at its end isn't part of the password.
    pub(crate) password_file: Option<PathBuf>,
}

/// A `[[bridge.up]]`: from the local broker to IoT Core.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Up {
    /// Of the local broker: not held to IoT Core's bounds.
    pub(crate) from: TopicFilter,
    /// A literal beginning of `from`; empty: none.
    pub(crate) strip: String,
    /// Put before what is left; empty: nothing.
    pub(crate) to: String,
    pub(crate) except: Vec<TopicFilter>,
    /// Whether the retain flag is carried over.
    pub(crate) retain: bool,
    /// Its messages go before everything that isn't urgent and hasn't been sent.
    pub(crate) urgent: bool,
    /// Of each topic the newest, at most once in that time.
    pub(crate) every: Option<Duration>,
    /// Only payloads that differ from the topic's last.
    pub(crate) on_change: bool,
    pub(crate) batch: Option<Batch>,
}

/// A `[[bridge.down]]`: from IoT Core to the local broker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Down {
    pub(crate) from: TopicFilter,
    /// A literal beginning of `from`; empty: none.
    pub(crate) strip: String,
    /// Put before what is left; empty: nothing.
    pub(crate) to: String,
    /// What waits while the local broker doesn't take it.
    pub(crate) keep: Keep,
}

impl Bridge {
    /// The files that it reads, each with its key as it is written below `bridge`.
    pub(crate) fn files(&self) -> Vec<(&'static str, &Path)> {
        let mut files = Vec::new();
        if let Some(BrokerTls { ca_file, client }) = &self.tls {
            files.push(("tls.ca_file", ca_file.as_path()));
            files.extend(
                client
                    .iter()
                    .flat_map(|(cert, key)| [("tls.cert_file", cert.as_path()), ("tls.key_file", key.as_path())]),
            );
        }
        let password = self.login.as_ref().and_then(|login| login.password_file.as_deref());
        files.extend(password.map(|file| ("password_file", file)));
        files
    }

    /// What it subscribes to at the local broker.
    pub(crate) fn filters(&self) -> BTreeMap<TopicFilter, Qos> {
        let of_discovery = self.discovery.is_some().then(home_assistant::status_filter);
        self.up.iter().map(|rule| rule.from.clone()).chain(of_discovery).map(|from| (from, Qos::AtLeastOnce)).collect()
    }

    /// Where `discovery` has it publish.
    pub(crate) fn announces(&self) -> Vec<Topic> {
        let Some(device) = &self.discovery else { return Vec::new() };
        let configs = Entity::ALL.map(|entity| device.config_topic(entity));
        let states = [Entity::Waiting, Entity::Certificate].map(|entity| device.state_topic(entity));
        configs.into_iter().chain(states).chain(self.status_topic.clone()).collect()
    }

    /// Its rules.
    pub(crate) fn ways(&self) -> Ways<'_> {
        Ways { up: self.up.iter().map(Up::mapping).collect(), down: self.down.iter().map(Down::mapping).collect() }
    }
}

impl Up {
    pub(crate) fn mapping(&self) -> Mapping<'_> {
        Mapping { from: &self.from, except: &self.except, strip: &self.strip, to: &self.to }
    }
}

impl Down {
    pub(crate) fn mapping(&self) -> Mapping<'_> {
        Mapping { from: &self.from, except: &[], strip: &self.strip, to: &self.to }
    }
}
