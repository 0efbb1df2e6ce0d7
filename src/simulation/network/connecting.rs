//! Connections to the cloud, and to the local broker.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;

use super::{Seen, SimulatedNetwork, SimulatedStream, Way, Wire};
use crate::certificate::id_of;
use crate::net::credentials::BrokerCredentials;
use crate::net::{
    self, Attempt, BrokerOptions, Brokers, Carried, Connect, ConnectError, DnsFault, Endpoint, Network, Options, Place,
    Purpose, Reach, ReachError, Reached, Route, Step,
};
use crate::simulation::broker::Broker;
use crate::simulation::cloud::Cloud;
use crate::simulation::server::Server;
use crate::time;

impl Network for SimulatedNetwork {
    type Stream = SimulatedStream<Cloud>;
    type Connector = SimulatedConnector;

    fn connector(&self, options: Options) -> SimulatedConnector {
        SimulatedConnector { network: self.clone(), options }
    }

    fn carried(&self, purpose: Purpose) -> Carried {
        self.state.borrow().usage.of(purpose)
    }

    async fn lost(&self, _: SocketAddr) {
        self.address_lost.notified().await;
    }

    async fn came(&self) {
        self.address_came.notified().await;
    }
}

/// Makes connections to the cloud.
pub(crate) struct SimulatedConnector {
    network: SimulatedNetwork,
    options: Options,
}

/// Where a server is: for documentation (RFC 5737).
const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], 8883);

impl Connect for SimulatedConnector {
    type Stream = SimulatedStream<Cloud>;

    fn endpoint(&self) -> &Endpoint {
        &self.options.endpoint
    }

    async fn connect(
        &mut self,
        _: &mut dyn FnMut(Step),
    ) -> Result<net::Connection<SimulatedStream<Cloud>>, ConnectError> {
        let Options { connect_timeout, endpoint, .. } = &self.options;
        let (stream, deadline) = self.network.connect(endpoint, *connect_timeout, Some(self.options.purpose)).await?;
        if let Some(shown) = shown(&self.options.tls) {
            let id = id_of(&shown.cert[0]);
            self.network.sees(Seen::Certificate(&id, shown.keys_match().is_ok()));
            self.network.with_cloud(|cloud| cloud.shows(stream.id(), &id));
        }
        let route = Route { endpoint: endpoint.clone(), address: SocketAddr::from(SERVER), proxy: None };
        Ok(net::Connection { stream, route, deadline })
    }
}

/// What the client shows in its handshake: the first certificate is its own.
fn shown(tls: &ClientConfig) -> Option<Arc<CertifiedKey>> {
    let schemes = ring::default_provider().signature_verification_algorithms.supported_schemes();
    tls.client_auth_cert_resolver.resolve(&[], &schemes)
}

/// Makes connections to the local broker.
pub(crate) struct BrokerConnector {
    network: SimulatedNetwork<Broker>,
    options: BrokerOptions,
}

impl Brokers for SimulatedNetwork<Broker> {
    type Stream = SimulatedStream<Broker>;
    type Connector = BrokerConnector;

    fn connector(&self, options: BrokerOptions) -> BrokerConnector {
        BrokerConnector { network: self.clone(), options }
    }
}

impl Reach for BrokerConnector {
    type Stream = SimulatedStream<Broker>;

    fn set_tls(&mut self, _: Option<BrokerCredentials>) {}

    async fn reach(&mut self, _: &mut dyn FnMut(Step)) -> Result<Reached<SimulatedStream<Broker>>, ReachError> {
        let endpoint = match &self.options.place {
            Place::Tcp(endpoint) => endpoint.clone(),
            Place::Unix(path) => Endpoint { host: path.to_string_lossy().as_ref().into(), port: 0 },
        };
        let (stream, deadline) = self.network.connect(&endpoint, self.options.connect_timeout, None).await?;
        Ok(Reached { stream, deadline })
    }
}

impl<S: Server> SimulatedNetwork<S> {
    /// A connection to the server, and by when its first answer must have come.
    async fn connect(
        &self,
        endpoint: &Endpoint,
        within: Duration,
        purpose: Option<Purpose>,
    ) -> Result<(SimulatedStream<S>, tokio::time::Instant), ConnectError> {
        let begun = tokio::time::Instant::now();
        let deadline = begun + within;
        let endpoint = endpoint.clone();
        let state = &self.state;
        state.borrow_mut().attempts += 1;
        let weather = self.weather();
        tokio::time::sleep(weather.latency.1 * 4).await;
        if weather.dns_fails {
            return Err(ConnectError::Dns { endpoint, fault: DnsFault::Temporary, took: begun.elapsed() });
        }
        let address = SocketAddr::from(SERVER);
        let is_refused = if weather.is_silent { Some(false) } else { weather.connects_fail };
        if let Some(is_refused) = is_refused {
            if !is_refused {
                tokio::time::sleep_until(deadline).await;
            }
            let failure = is_refused.then_some(ErrorKind::ConnectionRefused);
            let attempts = vec![Attempt { address, failure }];
            return Err(ConnectError::Tcp { endpoint, attempts, took: begun.elapsed() });
        }
        let state = &mut *state.borrow_mut();
        state.connections += 1;
        if std::mem::take(&mut state.is_anew) {
            // What a dead process has sent and what comes so late is lost.
            state.wires.values_mut().for_each(|wire| wire.up = Way::default());
            state.server.client_restarted();
        }
        let id = state.server.accept(time::now());
        state.wires.insert(id, Wire::default());
        let stream = SimulatedStream::new(self, id, purpose);
        self.changed.notify_one();
        Ok((stream, deadline))
    }
}
