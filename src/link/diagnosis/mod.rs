//! Why there is no link: every way in which connecting fails or a connection ends, each with a code for programs, what
//! happened for the log, and what to do for the reader of the log.

mod advice;
mod closes;
mod disconnected;
mod filter;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod network;
mod phrases;
mod proxy;
mod sent;
mod shown;
mod steps;
#[cfg(test)]
mod tests;
mod tls;

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::certificate::Whose;
use crate::client::Failure;
use crate::message::Target;
use crate::mqtt::Protocol;
use crate::mqtt::reason::{Reason, one_line};
use crate::net::credentials::{Outside, Validity};
use crate::net::{Attempt, ConnectError, DnsFault, Endpoint, ProxyFault, Route, TlsFault, is_close, tls_fault};
use crate::time;
pub(crate) use advice::NO_PUBACK;
pub(crate) use closes::Closes;
pub(crate) use filter::FilterRefused;
use sent::Last;
pub(crate) use sent::{Sent, each_once};
pub(crate) use shown::Shown;

/// Who we are to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) protocol: Protocol,
    pub(crate) client_id: Arc<str>,
    /// See [`Credentials::certificate_id`](crate::net::credentials::Credentials::certificate_id).
    pub(crate) certificate_id: Arc<str>,
    /// Whose certificate that is.
    pub(crate) whose: Whose,
    /// The certificate of its CA is shown with it.
    pub(crate) brings_authority: bool,
    /// When the client certificate is valid, if that is known.
    pub(crate) validity: Option<Validity>,
    /// Where the will of the CONNECT goes, if it has one.
    pub(crate) will: Option<Target>,
}

impl Identity {
    /// The server that is reached so, and who we are to it.
    pub(crate) fn at(&self, route: Route) -> Arc<Peer> {
        let Identity { protocol, client_id, certificate_id, whose, brings_authority, validity, will } = self.clone();
        let outside = validity.and_then(|validity| validity.outside(time::system()));
        let Route { endpoint, address, proxy } = route;
        Arc::new(Peer {
            endpoint,
            address,
            proxy,
            protocol,
            client_id,
            certificate_id,
            whose,
            brings_authority,
            outside,
            will,
        })
    }
}

/// The server at the other end, and who we are to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) endpoint: Endpoint,
    /// The address that answered: of the endpoint, or of the proxy.
    pub(crate) address: SocketAddr,
    /// The proxy on the way.
    pub(crate) proxy: Option<Endpoint>,
    pub(crate) protocol: Protocol,
    pub(crate) client_id: Arc<str>,
    /// See [`Credentials::certificate_id`](crate::net::credentials::Credentials::certificate_id).
    pub(crate) certificate_id: Arc<str>,
    /// Whose certificate that is.
    pub(crate) whose: Whose,
    /// The certificate of its CA is shown with it.
    pub(crate) brings_authority: bool,
    /// How the client certificate was outside its validity by this machine's clock when it was shown.
    pub(crate) outside: Option<Outside>,
    /// Where the will of the CONNECT goes, if it has one.
    pub(crate) will: Option<Target>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.proxy, self.endpoint.host.parse::<IpAddr>()) {
            (Some(proxy), _) => write!(f, "{} (through the proxy {proxy})", self.endpoint),
            (None, Ok(_)) => write!(f, "{}", self.endpoint),
            (None, Err(_)) => write!(f, "{} ({})", self.endpoint, self.address.ip()),
        }
    }
}

/// How far a TLS connection had come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// CONNECT is sent or about to be.
    AwaitingConnack,
    /// CONNACK has come.
    Connected {
        /// What the server hasn't answered, the last sent last: the suspects if it closes.
        last_sent: Vec<Sent>,
    },
}

impl Phase {
    /// The suspects if the server ends the connection.
    pub(crate) fn last_sent(self) -> Vec<Sent> {
        match self {
            Phase::AwaitingConnack => Vec::new(),
            Phase::Connected { last_sent } => last_sent,
        }
    }
}

/// Why there is no link. Its text says what was tried, on what, and what came back, in one line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum LinkError {
    #[error("connection.endpoint {0:?} is neither a host name nor an IP address")]
    InvalidEndpoint(Arc<str>),
    #[error("looking up {} in DNS: {fault} (after {})", endpoint.host, Shown(*took))]
    Dns { endpoint: Endpoint, fault: DnsFault, took: Duration },
    #[error("connecting to {endpoint} by TCP: {} (after {})", Attempts(attempts), Shown(*took))]
    Tcp {
        endpoint: Endpoint,
        /// One for each address tried, in that order; at least one.
        attempts: Vec<Attempt>,
        took: Duration,
    },
    #[error("reaching {endpoint} through the proxy {proxy}: {fault} (after {})", Shown(*took))]
    Proxy { proxy: Endpoint, endpoint: Endpoint, fault: ProxyFault, took: Duration },
    #[error("TLS with {peer}: {fault}")]
    Tls { peer: Arc<Peer>, fault: TlsFault },
    #[error("MQTT CONNECT as `{}` to {peer}: the connection was closed instead of a CONNACK", peer.client_id)]
    ClosedBeforeConnack { peer: Arc<Peer> },
    #[error("MQTT CONNECT as `{}` to {peer}: refused {}", peer.client_id, RefusedConnack(reason))]
    ConnackRefused {
        peer: Arc<Peer>,
        /// Below 0x80 a return code of MQTT 3.1.1 (table 3.1), else a reason code of MQTT 5.
        reason: Reason,
    },
    #[error("MQTT CONNECT as `{}` to {peer}: no CONNACK (after {})", peer.client_id, Shown(*waited))]
    ConnackTimeout { peer: Arc<Peer>, waited: Duration },
    #[error("{peer} closed the connection of `{}`{}", peer.client_id, Last(last_sent))]
    ClosedByServer { peer: Arc<Peer>, last_sent: Vec<Sent> },
    #[error(
        "{peer} closed the connection of `{}` after {}, with nothing in flight, {times} times in a row", peer.client_id,
        Shown(*lived)
    )]
    TakenOver { peer: Arc<Peer>, times: u32, lived: Duration },
    #[error("{peer} ended the connection of `{}` with DISCONNECT, reason code {reason}{}", peer.client_id, Last(last_sent))]
    Disconnected { peer: Arc<Peer>, reason: Reason, last_sent: Vec<Sent> },
    #[error("{peer} didn't acknowledge the {sent} within {}", Shown(*waited))]
    Unanswered { peer: Arc<Peer>, sent: Sent, waited: Duration },
    #[error("{peer} didn't answer PINGREQ within {}", Shown(*waited))]
    KeepAliveLost { peer: Arc<Peer>, waited: Duration },
    #[error("the address {address}, from which {peer} was reached, isn't this machine's any more")]
    AddressLost { peer: Arc<Peer>, address: IpAddr },
    #[error("{peer} sent {}: {detail}", if *is_connected { "a malformed packet" } else { "something that isn't MQTT" })]
    MalformedPacket {
        peer: Arc<Peer>,
        detail: String,
        /// CONNACK had come: what answers is an MQTT server of the right version.
        is_connected: bool,
    },
    #[error("{peer} sent a packet of {size} bytes, more than the {limit} that gatewire accepts")]
    PacketTooLarge { peer: Arc<Peer>, size: usize, limit: usize },
    #[error(
        "{peer} sent {come} of the {size} bytes of a packet within {}, and nothing behind it could be read", Shown(*waited)
    )]
    PacketUnfinished { peer: Arc<Peer>, come: usize, size: usize, waited: Duration },
    #[error("{peer} broke the rules of MQTT: {detail}")]
    ProtocolViolation { peer: Arc<Peer>, detail: String },
    #[error("the connection with {peer} broke: {}", kind_or(*kind, detail))]
    Io {
        peer: Arc<Peer>,
        kind: ErrorKind,
        /// The operating system's or TLS library's own words.
        detail: String,
    },
}

impl fmt::Display for DnsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DnsFault::NotFound => "there is no such name",
            DnsFault::Temporary => "no name server has answered",
            DnsFault::Timeout => "no answer",
            DnsFault::NoThread(_) => "there is no thread for it",
            DnsFault::Other(words) => words,
        })
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failure {
            None => write!(f, "{}: no answer", self.address.ip()),
            Some(kind) => write!(f, "{}: {kind}", self.address.ip()),
        }
    }
}

impl From<&LinkError> for Failure {
    fn from(error: &LinkError) -> Failure {
        Failure { code: error.code(), message: error.message(), advice: one_line(&error.advice()) }
    }
}

impl LinkError {
    /// What kept a connection from being made to the server to which we are `identity`.
    pub(crate) fn from_connect(error: ConnectError, identity: &Identity) -> LinkError {
        match error {
            ConnectError::InvalidHost(host) => LinkError::InvalidEndpoint(host),
            ConnectError::Dns { endpoint, fault, took } => LinkError::Dns { endpoint, fault, took },
            ConnectError::Tcp { endpoint, attempts, took } => LinkError::Tcp { endpoint, attempts, took },
            ConnectError::Proxy { proxy, endpoint, fault, took } => LinkError::Proxy { proxy, endpoint, fault, took },
            ConnectError::Tls { route, fault } => LinkError::Tls { peer: identity.at(route), fault },
            ConnectError::Io { route, kind, detail } => LinkError::Io { peer: identity.at(route), kind, detail },
        }
    }

    /// The one diagnosis for an I/O error of a connection, whether it came from the handshake or later: with TLS 1.3 the
    /// server's verdict on the client's certificate comes with the first read after the handshake (RFC 8446, 4.4.2.4).
    pub(crate) fn from_io(error: &io::Error, peer: &Arc<Peer>, phase: Phase) -> LinkError {
        let peer = Arc::clone(peer);
        if let Some(fault) = tls_fault(error) {
            return LinkError::Tls { peer, fault };
        }
        match error.kind() {
            kind if is_close(kind) => LinkError::closed(&peer, phase),
            kind => LinkError::Io { peer, kind, detail: error.to_string() },
        }
    }

    /// The server ended the connection without saying why: end of file, reset, broken pipe.
    pub(crate) fn closed(peer: &Arc<Peer>, phase: Phase) -> LinkError {
        let peer = Arc::clone(peer);
        match phase {
            Phase::AwaitingConnack => LinkError::ClosedBeforeConnack { peer },
            Phase::Connected { last_sent } => LinkError::ClosedByServer { peer, last_sent },
        }
    }

    /// What was tried, on what, what came back: one line.
    pub(crate) fn message(&self) -> String {
        one_line(&self.to_string())
    }

    /// What tells one failure from another in the log: its code and its advice, which names what it is about; and the rule that a
    /// server has broken, for which the advice is always the same.
    pub(crate) fn kind(&self) -> String {
        let rule = if let LinkError::ProtocolViolation { detail, .. } = self { detail.as_str() } else { "" };
        format!("{} {} {rule}", self.code(), self.advice())
    }

    /// A stable `snake_case` name for status and journal.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            LinkError::InvalidEndpoint(_) => "invalid_endpoint",
            LinkError::Dns { fault: DnsFault::NotFound, .. } => "dns_not_found",
            LinkError::Dns { fault: DnsFault::Temporary, .. } => "dns_no_server",
            LinkError::Dns { fault: DnsFault::Timeout, .. } => "dns_timeout",
            LinkError::Dns { fault: DnsFault::NoThread(_), .. } => "dns_no_thread",
            LinkError::Dns { .. } => "dns_failed",
            LinkError::Tcp { attempts, .. } => TcpFault::of(attempts).code(),
            LinkError::Proxy { fault, .. } => fault.code(),
            LinkError::Tls { fault, .. } => fault.code(),
            LinkError::ClosedBeforeConnack { .. } => "closed_before_connack",
            LinkError::ConnackRefused { reason, .. } => disconnected::refused_code(reason.code),
            LinkError::ConnackTimeout { .. } => "connack_timeout",
            LinkError::ClosedByServer { .. } => "closed_by_server",
            LinkError::TakenOver { .. } => "client_id_taken_over",
            LinkError::Disconnected { reason, .. } => disconnected::code(reason.code),
            LinkError::Unanswered { sent: Sent::Subscribe(_), .. } => "no_suback",
            LinkError::Unanswered { sent: Sent::Unsubscribe(_), .. } => "no_unsuback",
            LinkError::Unanswered { .. } => "no_puback",
            LinkError::KeepAliveLost { .. } => "keep_alive_lost",
            LinkError::AddressLost { .. } => "address_lost",
            LinkError::MalformedPacket { .. } => "malformed_packet",
            LinkError::PacketTooLarge { .. } => "packet_too_large",
            LinkError::PacketUnfinished { .. } => "packet_unfinished",
            LinkError::ProtocolViolation { .. } => "protocol_violation",
            LinkError::Io { kind, .. } if is_network_loss(*kind) => "network_lost",
            LinkError::Io { .. } => "io",
        }
    }
}

/// What the attempts at all addresses come to. A silent address weighs most, since it is what time was lost on; one without
/// a route least, since a host without IPv6 has such beside the one that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TcpFault {
    Silent,
    Refused,
    /// A packet filter of this machine.
    Forbidden,
    Unreachable,
    Other,
}

impl TcpFault {
    fn of(attempts: &[Attempt]) -> TcpFault {
        let any = |wanted: &[Option<ErrorKind>]| attempts.iter().any(|attempt| wanted.contains(&attempt.failure));
        if any(&[None, Some(ErrorKind::TimedOut)]) {
            TcpFault::Silent
        } else if any(&[Some(ErrorKind::ConnectionRefused)]) {
            TcpFault::Refused
        } else if any(&[Some(ErrorKind::PermissionDenied)]) {
            TcpFault::Forbidden
        } else if attempts.iter().all(|attempt| attempt.failure.is_some_and(is_network_loss)) {
            TcpFault::Unreachable
        } else {
            TcpFault::Other
        }
    }

    fn code(self) -> &'static str {
        match self {
            TcpFault::Silent => "tcp_timeout",
            TcpFault::Refused => "tcp_refused",
            TcpFault::Forbidden => "tcp_forbidden",
            TcpFault::Unreachable => "tcp_unreachable",
            TcpFault::Other => "tcp_failed",
        }
    }
}

/// The path to the server is gone, rather than the server.
fn is_network_loss(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::AddrNotAvailable
    )
}

/// The code of a CONNACK that refuses, in the words of its version of MQTT.
struct RefusedConnack<'a>(&'a Reason);

impl fmt::Display for RefusedConnack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // MQTT 3.1.1, table 3.1.
        let meaning = match self.0.code.0 {
            1 => " (unacceptable protocol version)",
            2 => " (client id rejected)",
            3 => " (server unavailable)",
            4 => " (bad user name or password)",
            5 => " (not authorized)",
            0x80.. if self.0.code.name().is_none() => {
                return write!(f, "by a CONNACK with the unknown reason code {}", self.0);
            }
            0x80.. => return write!(f, "with CONNACK reason code {}", self.0),
            code => return write!(f, "by a CONNACK with the unknown return code {code}"),
        };
        write!(f, "with CONNACK return code {}{meaning}", self.0.code.0)
    }
}

fn kind_or(kind: ErrorKind, detail: &str) -> String {
    match kind {
        ErrorKind::TimedOut => "what was sent wasn't acknowledged in time (TCP timeout)".to_owned(),
        kind if is_network_loss(kind) => kind.to_string(),
        _ => detail.to_owned(),
    }
}

struct Attempts<'a>(&'a [Attempt]);

impl fmt::Display for Attempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attempt) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{attempt}")?;
        }
        Ok(())
    }
}
