//! Where a server is, and the way to it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::config;

/// Where the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// A name or an IP address.
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
}

impl Endpoint {
    /// Whether this is AWS IoT Core rather than another broker.
    pub(crate) fn is_iot_core(&self) -> bool {
        let aws = self.host.ends_with(".amazonaws.com") || self.host.ends_with(".amazonaws.com.cn");
        aws && self.host.contains(".iot.")
    }
}

/// The server's own.
impl From<&config::Connection> for Endpoint {
    fn from(connection: &config::Connection) -> Endpoint {
        Endpoint { host: connection.endpoint.as_str().into(), port: connection.port }
    }
}

/// Without the login, as a person may see it.
impl From<&config::Proxy> for Endpoint {
    fn from(proxy: &config::Proxy) -> Endpoint {
        Endpoint { host: proxy.host.as_str().into(), port: proxy.port }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// The way that was found to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) endpoint: Endpoint,
    /// The address that answered: of the endpoint, or of the proxy.
    pub(crate) address: SocketAddr,
    /// The proxy on the way.
    pub(crate) proxy: Option<Endpoint>,
}
