//! Connecting to the server of the configuration: as [`crate::net`] does, with who we are to it and words for what fails.

#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::diagnosis::{Identity, LinkError, Peer};
use crate::config;
use crate::message::Target;
use crate::mqtt::KeepAlive;
use crate::net::credentials::Credentials;
use crate::net::{self, Connect, Connector, Endpoint, Network, Purpose, Step};

/// A TLS connection on which CONNECT is to be sent.
#[derive(Debug)]
pub(crate) struct Opened<S> {
    pub(crate) stream: S,
    pub(crate) peer: Arc<Peer>,
    /// When `connect_timeout` is over: CONNACK must have come by then.
    pub(crate) deadline: Instant,
}

/// Connects to IoT Core, or whatever server is configured, again and again.
#[derive(Debug)]
pub(crate) struct LinkConnector<C> {
    connector: C,
    identity: Identity,
}

impl LinkConnector<Connector> {
    /// The same through this machine's network, whose addresses nobody watches.
    pub(crate) fn once(connection: &config::Connection, credentials: &Credentials) -> LinkConnector<Connector> {
        let connector = Connector::new(way(connection, credentials, Purpose::Link), &Rc::default());
        LinkConnector { connector, identity: identity(connection, credentials) }
    }
}

impl<C: Connect> LinkConnector<C> {
    /// For the server and client id of `connection`, through `network`; made anew when configuration or credentials change.
    pub(crate) fn new<N>(
        network: &N,
        connection: &config::Connection,
        credentials: &Credentials,
        purpose: Purpose,
    ) -> LinkConnector<C>
    where
        N: Network<Connector = C>,
    {
        LinkConnector {
            connector: network.connector(way(connection, credentials, purpose)),
            identity: identity(connection, credentials),
        }
    }

    /// Where it connects to.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.connector.endpoint()
    }

    /// The id of the certificate that it connects with.
    pub(crate) fn certificate_id(&self) -> &Arc<str> {
        &self.identity.certificate_id
    }

    /// See [`Connect::connect`].
    ///
    /// # Errors
    /// What failed, with what is known of the server by then.
    pub(crate) async fn connect(&mut self, progress: &mut dyn FnMut(Step)) -> Result<Opened<C::Stream>, LinkError> {
        let connected = self.connector.connect(progress).await;
        let net::Connection { stream, route, deadline } =
            connected.map_err(|error| LinkError::from_connect(error, &self.identity))?;
        Ok(Opened { stream, peer: self.identity.at(route), deadline })
    }
}

fn way(connection: &config::Connection, credentials: &Credentials, purpose: Purpose) -> net::Options {
    net::Options {
        purpose,
        endpoint: Endpoint::from(connection),
        proxy: connection.proxy.clone(),
        connect_timeout: connection.connect_timeout,
        keep_alive: connection.keep_alive.longest(),
        probe_after: probe_after(connection.keep_alive),
        tls: credentials.client_config(connection.port),
        verifier: Arc::clone(credentials.verifier()),
        token: credentials.token().cloned(),
    }
}

/// A probe would keep a NAT from forgetting, so that nothing could be found out of it.
fn probe_after(keep_alive: KeepAlive) -> Duration {
    match keep_alive {
        KeepAlive::Fixed(_) => net::PROBE_AFTER,
        KeepAlive::UpTo(longest) => longest + net::PROBE_AFTER,
    }
}

fn identity(connection: &config::Connection, credentials: &Credentials) -> Identity {
    Identity {
        protocol: connection.protocol,
        client_id: connection.client_id.as_str().into(),
        certificate_id: Arc::clone(credentials.certificate_id()),
        whose: credentials.whose().clone(),
        brings_authority: credentials.brings_authority(),
        validity: Some(credentials.validity()),
        will: connection.will.as_ref().map(|will| Target { topic: will.topic.clone(), retain: will.retain }),
    }
}
