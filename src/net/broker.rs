//! A byte stream to a broker on this machine or in its network: TCP or a Unix socket, with TLS or without.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use super::connector::{Share, Step, With, secure};
use super::counted::Counted;
use super::credentials::BrokerCredentials;
use super::dns::Resolver;
use super::endpoint::{Endpoint, Route};
use super::error::ConnectError;
use super::network::Transport;
use super::{TlsTcpStream, race, send_queue, tcp};

/// Where the broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(Endpoint),
    Unix(PathBuf),
}

/// Which broker is connected to, and how.
#[derive(Debug, Clone)]
pub(crate) struct BrokerOptions {
    pub(crate) place: Place,
    /// Not with a Unix socket.
    pub(crate) tls: Option<BrokerCredentials>,
    /// For all steps together, and the broker's first answer.
    pub(crate) connect_timeout: Duration,
    /// How long what was sent may stay unacknowledged by TCP, if that isn't very long.
    pub(crate) keep_alive: Duration,
}

/// A byte stream to a broker, on which nothing has been said yet.
#[derive(Debug)]
pub(crate) struct Reached<S> {
    pub(crate) stream: S,
    /// When `connect_timeout` is over: the broker's first answer must have come by then.
    pub(crate) deadline: Instant,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReachError {
    Connect(ConnectError),
    Unix {
        path: PathBuf,
        kind: ErrorKind,
        /// The operating system's own words.
        detail: String,
    },
}

impl From<ConnectError> for ReachError {
    fn from(error: ConnectError) -> ReachError {
        ReachError::Connect(error)
    }
}

/// What brokers are reached through: this machine, or in a simulation a network that loses and delays as it is told.
pub(crate) trait Brokers: Clone + 'static {
    type Stream: Transport;
    type Connector: Reach<Stream = Self::Stream>;

    /// What connects to the broker of `options`.
    fn connector(&self, options: BrokerOptions) -> Self::Connector;
}

/// Makes connections to one broker, one after another.
pub(crate) trait Reach {
    type Stream: Transport;

    /// Other credentials, from the next connection on.
    fn set_tls(&mut self, tls: Option<BrokerCredentials>);

    /// Connects. `progress` is told each step that is done. May be dropped at any point.
    ///
    /// # Errors
    /// The step that failed. A failed one may be tried again.
    async fn reach(&mut self, progress: &mut dyn FnMut(Step)) -> Result<Reached<Self::Stream>, ReachError>;
}

/// Those that this machine reaches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MachineBrokers;

impl Brokers for MachineBrokers {
    type Stream = BrokerStream;
    type Connector = BrokerConnector;

    fn connector(&self, options: BrokerOptions) -> BrokerConnector {
        BrokerConnector { options, resolver: Resolver::default() }
    }
}

/// See [`Reach`].
#[derive(Debug)]
pub(crate) struct BrokerConnector {
    options: BrokerOptions,
    resolver: Resolver,
}

impl Reach for BrokerConnector {
    type Stream = BrokerStream;

    fn set_tls(&mut self, tls: Option<BrokerCredentials>) {
        self.options.tls = tls;
    }

    async fn reach(&mut self, progress: &mut dyn FnMut(Step)) -> Result<Reached<BrokerStream>, ReachError> {
        let deadline = Instant::now() + self.options.connect_timeout;
        let stream = match self.options.place.clone() {
            Place::Unix(path) => BrokerStream::Unix(self.unix(path, progress).await?),
            Place::Tcp(endpoint) => self.over_tcp(endpoint, deadline, progress).await?,
        };
        Ok(Reached { stream, deadline })
    }
}

impl BrokerConnector {
    async fn unix(&self, path: PathBuf, progress: &mut dyn FnMut(Step)) -> Result<UnixStream, ReachError> {
        let start = Instant::now();
        let connected = timeout(self.options.connect_timeout / 2, UnixStream::connect(&path)).await;
        match connected.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                progress(Step::UnixConnected { path, took: start.elapsed() });
                Ok(stream)
            }
            Err(error) => Err(ReachError::Unix { path, kind: error.kind(), detail: error.to_string() }),
        }
    }

    async fn over_tcp(
        &mut self,
        endpoint: Endpoint,
        deadline: Instant,
        progress: &mut dyn FnMut(Step),
    ) -> Result<BrokerStream, ConnectError> {
        let Ok(name) = ServerName::try_from(endpoint.host.to_string()) else {
            return Err(ConnectError::InvalidHost(Arc::clone(&endpoint.host)));
        };
        let addresses = self.resolve(&endpoint, deadline, progress).await?;
        let start = Instant::now();
        let won = race::run(addresses, Share::Tcp.of(deadline - start), tcp::connect).await;
        let won = won.map_err(|attempts| {
            let (endpoint, took) = (endpoint.clone(), start.elapsed());
            ConnectError::Tcp { endpoint, attempts, took }
        })?;
        tcp::tune(&won.connection, self.options.keep_alive, tcp::PROBE_AFTER);
        progress(Step::TcpConnected { address: won.address, lost: won.lost, took: start.elapsed() });
        let Some(tls) = &self.options.tls else { return Ok(BrokerStream::Tcp(won.connection)) };
        let route = Route { endpoint, address: won.address, proxy: None };
        let with = With { tls: tls.client_config(), verifier: tls.verifier(), token: None };
        let tcp = Counted::new(won.connection, None);
        let stream = secure(with, tcp, name, &route, deadline, progress).await?;
        Ok(BrokerStream::Tls(Box::new(stream)))
    }

    async fn resolve(
        &mut self,
        endpoint: &Endpoint,
        deadline: Instant,
        progress: &mut dyn FnMut(Step),
    ) -> Result<Vec<SocketAddr>, ConnectError> {
        if let Ok(address) = endpoint.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, endpoint.port)]);
        }
        let start = Instant::now();
        let found = self.resolver.resolve(endpoint, Share::Dns.of(deadline - start)).await;
        let took = start.elapsed();
        let addresses = found.map_err(|fault| ConnectError::Dns { endpoint: endpoint.clone(), fault, took })?;
        progress(Step::Resolved { host: Arc::clone(&endpoint.host), addresses: addresses.clone(), took });
        Ok(addresses)
    }
}

/// A byte stream to a broker.
#[derive(Debug)]
pub(crate) enum BrokerStream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsTcpStream>),
}

impl AsyncRead for BrokerStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            BrokerStream::Tcp(stream) => Pin::new(stream).poll_read(cx, into),
            BrokerStream::Unix(stream) => Pin::new(stream).poll_read(cx, into),
            BrokerStream::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for BrokerStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            BrokerStream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            BrokerStream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            BrokerStream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            BrokerStream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            BrokerStream::Unix(stream) => Pin::new(stream).poll_flush(cx),
            BrokerStream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            BrokerStream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            BrokerStream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            BrokerStream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Transport for BrokerStream {
    fn local_address(&self) -> Option<SocketAddr> {
        match self {
            BrokerStream::Tcp(stream) => stream.local_addr().ok(),
            BrokerStream::Unix(_) => None,
            BrokerStream::Tls(stream) => stream.local_address(),
        }
    }

    fn not_arrived(&self, is_flushed: bool) -> Option<usize> {
        match self {
            BrokerStream::Tcp(stream) => send_queue::unacknowledged(stream),
            BrokerStream::Unix(_) => None,
            BrokerStream::Tls(stream) => stream.not_arrived(is_flushed),
        }
    }

    fn under_way(&self, is_flushed: bool) -> Option<usize> {
        match self {
            BrokerStream::Tcp(stream) => send_queue::unacknowledged(stream),
            BrokerStream::Unix(_) => None,
            BrokerStream::Tls(stream) => stream.under_way(is_flushed),
        }
    }

    fn acknowledge_at_once(&self) {
        match self {
            BrokerStream::Tcp(stream) => tcp::acknowledge_at_once(stream),
            BrokerStream::Unix(_) => {}
            BrokerStream::Tls(stream) => stream.acknowledge_at_once(),
        }
    }

    fn abandon(&self) {
        match self {
            BrokerStream::Tcp(stream) => tcp::abandon(stream),
            BrokerStream::Unix(_) => {}
            BrokerStream::Tls(stream) => stream.abandon(),
        }
    }
}
