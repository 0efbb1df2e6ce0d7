//! A byte stream to a host, and why there is none: DNS, a race of addresses, TCP, perhaps a proxy, TLS with the [`credentials`]
//! of this machine. What failed is a value ([`ConnectError`]); what is said of it to people is in `link/diagnosis/`.

mod addresses;
mod broker;
mod connector;
mod counted;
pub(crate) mod credentials;
mod dns;
mod endpoint;
mod error;
mod handshake;
mod network;
mod proxy;
mod race;
mod send_queue;
mod tcp;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use broker::{BrokerOptions, BrokerStream, Brokers, MachineBrokers, Place, Reach, ReachError, Reached};
pub(crate) use connector::{Connection, Connector, Options, Step, TlsTcpStream};
pub(crate) use counted::{Carried, Purpose, Usage};
pub(crate) use endpoint::{Endpoint, Route};
pub(crate) use error::{Attempt, ConnectError, DnsFault, ProxyFault, TlsFault, is_close, tls_fault};
pub(crate) use network::{Connect, MachineNetwork, Network, Transport};
pub(crate) use tcp::PROBE_AFTER;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    pub use super::credentials::fuzzing::{certificate, pem};
    pub(crate) use super::proxy::fuzzing::proxy_verdict;
}
