//! From a host name to a TLS connection: DNS, TCP, perhaps a proxy, TLS, each with its own share of the time and its own error.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CipherSuite, ClientConfig, ProtocolVersion};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::counted::{Counted, Purpose, Usage};
use super::credentials::Verifier;
use super::dns::Resolver;
use super::endpoint::{Endpoint, Route};
use super::error::{Attempt, ConnectError, DnsFault, ProxyFault, TlsFault};
use super::proxy::Proxy;
use super::{handshake, race, tcp};
use crate::config;
use crate::pkcs11::{TokenFault, Uri};

/// A step done on the way to a connection, as `check --connect` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Resolved {
        host: Arc<str>,
        addresses: Vec<SocketAddr>,
        took: Duration,
    },
    TcpConnected {
        address: SocketAddr,
        /// The addresses that failed, or hadn't answered yet, when this one won.
        lost: Vec<Attempt>,
        took: Duration,
    },
    /// The socket of a broker on this machine.
    UnixConnected {
        path: PathBuf,
        took: Duration,
    },
    /// The proxy, to which TCP was connected, has connected to the server.
    ProxyConnected {
        proxy: Endpoint,
        server: Endpoint,
        took: Duration,
    },
    TlsEstablished {
        version: Option<ProtocolVersion>,
        cipher_suite: Option<CipherSuite>,
        /// The server's.
        certificate: Option<CertificateDer<'static>>,
        took: Duration,
    },
}

/// TLS over TCP.
pub(crate) type TlsTcpStream = TlsStream<Counted>;

/// How much may be encrypted and not written yet, in bytes. As with what the kernel hasn't sent, nobody sees it.
pub(super) const MAX_ENCRYPTED: usize = 4 * 1024;

/// A TLS connection on which nothing has been said yet.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    pub(crate) stream: S,
    pub(crate) route: Route,
    /// When `connect_timeout` is over: the server's first answer must have come by then.
    pub(crate) deadline: Instant,
}

/// Which server is connected to, and how.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// What it is counted for.
    pub(crate) purpose: Purpose,
    pub(crate) endpoint: Endpoint,
    pub(crate) proxy: Option<config::Proxy>,
    /// For all steps together, and the server's first answer.
    pub(crate) connect_timeout: Duration,
    /// How long what was sent may stay unacknowledged by TCP, if that isn't very long.
    pub(crate) keep_alive: Duration,
    /// After so long without data, TCP asks whether the other end is still there.
    pub(crate) probe_after: Duration,
    pub(crate) tls: Arc<ClientConfig>,
    /// The one in `tls`, which has seen the server's certificate.
    pub(crate) verifier: Arc<Verifier>,
    /// Where the key is that `tls` signs with, if it is in a token.
    pub(crate) token: Option<Arc<Uri>>,
}

/// Makes connections to one server, one after another.
#[derive(Debug)]
pub(crate) struct Connector {
    endpoint: Endpoint,
    proxy: Option<Proxy>,
    tls: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
    token: Option<Arc<Uri>>,
    connect_timeout: Duration,
    keep_alive: Duration,
    probe_after: Duration,
    resolver: Resolver,
    /// Where its bytes are counted, and for what.
    usage: (Rc<Usage>, Purpose),
}

impl Connector {
    /// For the server of `options`; made anew when configuration or credentials change. `usage` counts its bytes.
    pub(crate) fn new(options: Options, usage: &Rc<Usage>) -> Connector {
        Connector {
            tls: options.tls,
            verifier: options.verifier,
            token: options.token,
            proxy: options.proxy.as_ref().map(Proxy::new),
            endpoint: options.endpoint,
            connect_timeout: options.connect_timeout,
            keep_alive: options.keep_alive,
            probe_after: options.probe_after,
            resolver: Resolver::default(),
            usage: (Rc::clone(usage), options.purpose),
        }
    }

    /// Where it connects to.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Goes through DNS, TCP (both to the proxy, if there is one), CONNECT to the proxy and TLS, and calls `progress` after
    /// each. May be dropped at any point.
    ///
    /// # Errors
    /// The step that failed: `InvalidHost`, `Dns`, `Tcp`, `Proxy`, `Tls`, or `Io` if the network broke during the handshake.
    pub(crate) async fn connect(
        &mut self,
        progress: &mut dyn FnMut(Step),
    ) -> Result<Connection<TlsTcpStream>, ConnectError> {
        let deadline = Instant::now() + self.connect_timeout;
        let Ok(name) = ServerName::try_from(self.endpoint.host.to_string()) else {
            return Err(ConnectError::InvalidHost(Arc::clone(&self.endpoint.host)));
        };
        let addresses = self.resolve(deadline, progress).await?;
        let (tcp, address) = self.race(addresses, deadline, progress).await?;
        let mut tcp = Counted::new(tcp, Some(self.usage.clone()));
        self.tunnel(&mut tcp, deadline, progress).await?;
        let proxy = self.proxy.as_ref().map(|proxy| proxy.endpoint.clone());
        let route = Route { endpoint: self.endpoint.clone(), address, proxy };
        let with = With { tls: &self.tls, verifier: &self.verifier, token: self.token.as_ref() };
        let stream = secure(with, tcp, name, &route, deadline, progress).await?;
        Ok(Connection { stream, route, deadline })
    }

    async fn resolve(
        &mut self,
        deadline: Instant,
        progress: &mut dyn FnMut(Step),
    ) -> Result<Vec<SocketAddr>, ConnectError> {
        let Endpoint { host, port } = self.first_hop().clone();
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let start = Instant::now();
        let endpoint = Endpoint { host, port };
        match self.resolver.resolve(&endpoint, Share::Dns.of(deadline - start)).await {
            Ok(addresses) => {
                let took = start.elapsed();
                progress(Step::Resolved { host: endpoint.host, addresses: addresses.clone(), took });
                Ok(addresses)
            }
            Err(fault) => Err(self.unresolved(fault, start.elapsed())),
        }
    }

    /// Where TCP goes to.
    fn first_hop(&self) -> &Endpoint {
        self.proxy.as_ref().map_or(&self.endpoint, |proxy| &proxy.endpoint)
    }

    fn unresolved(&self, fault: DnsFault, took: Duration) -> ConnectError {
        let endpoint = self.endpoint.clone();
        match &self.proxy {
            None => ConnectError::Dns { endpoint, fault, took },
            Some(proxy) => proxy.failed(endpoint, ProxyFault::Dns(fault), took),
        }
    }

    fn unreachable(&self, attempts: Vec<Attempt>, took: Duration) -> ConnectError {
        let endpoint = self.endpoint.clone();
        match &self.proxy {
            None => ConnectError::Tcp { endpoint, attempts, took },
            Some(proxy) => proxy.failed(endpoint, ProxyFault::Tcp(attempts), took),
        }
    }

    async fn race(
        &self,
        addresses: Vec<SocketAddr>,
        deadline: Instant,
        progress: &mut dyn FnMut(Step),
    ) -> Result<(TcpStream, SocketAddr), ConnectError> {
        let start = Instant::now();
        match race::run(addresses, Share::Tcp.of(deadline - start), tcp::connect).await {
            Ok(won) => {
                tcp::tune(&won.connection, self.keep_alive, self.probe_after);
                progress(Step::TcpConnected { address: won.address, lost: won.lost, took: start.elapsed() });
                Ok((won.connection, won.address))
            }
            Err(attempts) => Err(self.unreachable(attempts, start.elapsed())),
        }
    }

    /// Has the proxy connect to the server, if there is one.
    async fn tunnel(
        &self,
        tcp: &mut Counted,
        deadline: Instant,
        progress: &mut dyn FnMut(Step),
    ) -> Result<(), ConnectError> {
        let Some(proxy) = &self.proxy else { return Ok(()) };
        let start = Instant::now();
        let answer = timeout(Share::Proxy.of(deadline - start), proxy.tunnel(tcp, &self.endpoint)).await;
        let (server, took) = (self.endpoint.clone(), start.elapsed());
        match answer.unwrap_or(Err(ProxyFault::Timeout)) {
            Ok(()) => {
                progress(Step::ProxyConnected { proxy: proxy.endpoint.clone(), server, took });
                Ok(())
            }
            Err(fault) => Err(proxy.failed(server, fault, took)),
        }
    }
}

/// What TLS is spoken with.
#[derive(Clone, Copy)]
pub(super) struct With<'a> {
    pub(super) tls: &'a Arc<ClientConfig>,
    pub(super) verifier: &'a Verifier,
    /// Where the key is, if it is in a token.
    pub(super) token: Option<&'a Arc<Uri>>,
}

impl With<'_> {
    async fn handshake(
        self,
        tcp: Counted,
        name: ServerName<'static>,
        is_signing: &Cell<bool>,
    ) -> io::Result<TlsTcpStream> {
        let connector = TlsConnector::from(Arc::clone(self.tls));
        if self.token.is_none() {
            return connector.connect(name, tcp).await;
        }
        let done = handshake::over(&tcp, self.tls, name.clone(), is_signing).await?;
        connector.connect_with(name, tcp, |connection| *connection = done).await
    }

    /// The handshake didn't end in time.
    fn timed_out(self, waited: Duration, is_signing: bool) -> TlsFault {
        match self.token.filter(|_| is_signing) {
            Some(uri) => TlsFault::Token(Box::new(TokenFault::too_slow(uri, waited))),
            None => TlsFault::Timeout { waited },
        }
    }
}

/// TLS on an open connection: rustls's handshake, and who is at the other end if that fails.
pub(super) async fn secure(
    with: With<'_>,
    tcp: Counted,
    name: ServerName<'static>,
    route: &Route,
    deadline: Instant,
    progress: &mut dyn FnMut(Step),
) -> Result<TlsTcpStream, ConnectError> {
    let start = Instant::now();
    let is_signing = Cell::new(false);
    let handshake = timeout(Share::Tls.of(deadline - start), with.handshake(tcp, name, &is_signing)).await;
    let seen = with.verifier.take_seen();
    let mut stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let seen = seen.as_ref().and_then(|der| with.verifier.read_untrusted(der));
            return Err(ConnectError::of_handshake(&error, route.clone(), seen));
        }
        Err(_) => {
            let fault = with.timed_out(start.elapsed(), is_signing.get());
            return Err(ConnectError::Tls { route: route.clone(), fault });
        }
    };
    let (_, tls) = stream.get_mut();
    tls.set_buffer_limit(Some(MAX_ENCRYPTED));
    progress(Step::TlsEstablished {
        version: tls.protocol_version(),
        cipher_suite: tls.negotiated_cipher_suite().map(|suite| suite.suite()),
        // A resumed session verifies none.
        certificate: seen.or_else(|| tls.peer_certificates()?.first().cloned()),
        took: start.elapsed(),
    });
    Ok(stream)
}

/// How much of what is left of `connect_timeout` a step may use, so that none eats everything. Of 20 s, DNS has 10 (glibc
/// asks the second name server after 5), TCP at least 5 (three SYNs), TLS at least 3.3, CONNACK at least 1.6; and since
/// the steps before are mostly done in milliseconds, TCP mostly has 10, TLS 13 and CONNACK all that is left. A proxy has half
/// of what TCP leaves: it connects by TCP in its turn.
#[derive(Debug, Clone, Copy)]
pub(super) enum Share {
    Dns,
    Tcp,
    Proxy,
    Tls,
}

impl Share {
    pub(super) fn of(self, left: Duration) -> Duration {
        match self {
            Share::Dns | Share::Tcp | Share::Proxy => left / 2,
            Share::Tls => left * 2 / 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_step_may_use_all_the_time() {
        let all = Duration::from_secs(20);
        let dns = Share::Dns.of(all);
        let tcp = Share::Tcp.of(all - dns);
        let tls = Share::Tls.of(all - dns - tcp);
        let connack = all - dns - tcp - tls;
        assert_eq!([dns, tcp].map(|share| share.as_secs()), [10, 5]);
        assert!(tls > Duration::from_secs(3) && connack > Duration::from_millis(1600), "{tls:?} {connack:?}");
    }
}
