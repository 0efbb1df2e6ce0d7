//! Why there is no connection, as values: the words for people are in `link/diagnosis/`.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::AlertDescription as Alert;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use super::credentials::ServerCertificate;
use super::endpoint::{Endpoint, Route};

use crate::blocking::NoThread;
use crate::pkcs11::TokenFault;
use crate::time;

/// The step at which connecting failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConnectError {
    /// The host is neither a name nor an IP address.
    InvalidHost(Arc<str>),
    Dns {
        endpoint: Endpoint,
        fault: DnsFault,
        took: Duration,
    },
    Tcp {
        endpoint: Endpoint,
        /// One for each address tried, in that order; at least one.
        attempts: Vec<Attempt>,
        took: Duration,
    },
    Proxy {
        proxy: Endpoint,
        endpoint: Endpoint,
        fault: ProxyFault,
        took: Duration,
    },
    Tls {
        route: Route,
        fault: TlsFault,
    },
    /// The network broke during the handshake.
    Io {
        route: Route,
        kind: ErrorKind,
        /// The operating system's own words.
        detail: String,
    },
}

impl ConnectError {
    /// What an I/O error of a handshake means. `seen` is the server's certificate, if it had come.
    pub(crate) fn of_handshake(error: &io::Error, route: Route, seen: Option<ServerCertificate>) -> ConnectError {
        let kind = error.kind();
        let closed = || is_close(kind).then_some(TlsFault::Closed { answered: false });
        match tls_fault(error).or_else(closed) {
            Some(fault) => ConnectError::Tls { route, fault: fault.with_certificate(seen) },
            None => ConnectError::Io { route, kind, detail: error.to_string() },
        }
    }
}

/// Why a name has no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DnsFault {
    NotFound,
    Temporary,
    Timeout,
    NoThread(NoThread),
    Other(String),
}

/// One address that TCP was tried with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) address: SocketAddr,
    /// `None`: it never answered.
    pub(crate) failure: Option<ErrorKind>,
}

/// Why there is no way through the proxy. The text follows "reaching SERVER through the proxy PROXY: ".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProxyFault {
    Dns(DnsFault),
    /// One for each address tried; at least one.
    Tcp(Vec<Attempt>),
    /// 407 or 401: it wants a login, or another one.
    Login {
        /// Whether it was told one.
        sent: bool,
        /// The ways to log in that it offers, as far as it says.
        schemes: Vec<String>,
    },
    /// Another status than success.
    Refused {
        status: u16,
        reason: String,
    },
    /// Its answer isn't one to CONNECT: how it begins.
    NotHttp(String),
    /// The head of its answer doesn't end within so many bytes.
    TooLong(usize),
    /// It closed the connection without an answer.
    Closed,
    /// No answer in time.
    Timeout,
    Io {
        kind: ErrorKind,
        /// The operating system's own words.
        detail: String,
    },
}

impl ProxyFault {
    /// The connection to the proxy broke before it had answered.
    pub(crate) fn from_io(error: &io::Error) -> ProxyFault {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => ProxyFault::Closed,
            kind => ProxyFault::Io { kind, detail: error.to_string() },
        }
    }
}

/// Why TLS failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TlsFault {
    /// The server gave up and said so; mostly its verdict on our certificate.
    Alert(Alert),
    /// The server's certificate descends from no CA of `tls.ca_file`.
    UnknownIssuer {
        certificate: Option<Box<ServerCertificate>>,
    },
    WrongName {
        /// The names that the server's certificate is valid for.
        presented: Vec<String>,
        certificate: Option<Box<ServerCertificate>>,
    },
    ServerExpired {
        not_after: Option<Timestamp>,
        clock: Timestamp,
    },
    ServerNotYetValid {
        not_before: Option<Timestamp>,
        clock: Timestamp,
    },
    /// The server's certificate is bad in another way; one that a device has signed for itself, for instance.
    ServerCertificate {
        reason: String,
        certificate: Option<Box<ServerCertificate>>,
    },
    /// What answers doesn't speak TLS.
    NotTls(String),
    /// No version, cipher suite or protocol in common.
    Incompatible(String),
    /// The connection ended during the handshake without an alert.
    Closed {
        /// The server's certificate had come, so that ours is what it may not like.
        answered: bool,
    },
    Timeout {
        waited: Duration,
    },
    /// The key in a token hasn't signed.
    Token(Box<TokenFault>),
    Other(String),
}

impl From<&rustls::Error> for TlsFault {
    fn from(error: &rustls::Error) -> TlsFault {
        match error {
            rustls::Error::AlertReceived(alert) => TlsFault::Alert(*alert),
            rustls::Error::InvalidCertificate(error) => TlsFault::from(error),
            rustls::Error::InvalidMessage(error) => TlsFault::NotTls(format!("{error:?}")),
            rustls::Error::PeerIncompatible(error) => TlsFault::Incompatible(format!("{error:?}")),
            rustls::Error::Other(other) if let Some(fault) = other.0.downcast_ref::<TokenFault>() => {
                TlsFault::Token(Box::new(fault.clone()))
            }
            rustls::Error::NoApplicationProtocol => TlsFault::Alert(Alert::NoApplicationProtocol),
            other => TlsFault::Other(other.to_string()),
        }
    }
}

impl From<&CertificateError> for TlsFault {
    fn from(error: &CertificateError) -> TlsFault {
        match error {
            // A CA of the same name and another key makes a bad signature.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                TlsFault::UnknownIssuer { certificate: None }
            }
            CertificateError::NotValidForName => TlsFault::WrongName { presented: Vec::new(), certificate: None },
            CertificateError::NotValidForNameContext { presented, .. } => {
                let presented = presented.iter().take(MAX_NAMES).map(|name| plain(name)).collect();
                TlsFault::WrongName { presented, certificate: None }
            }
            CertificateError::Expired => TlsFault::ServerExpired { not_after: None, clock: time::wall() },
            CertificateError::ExpiredContext { time, not_after } => {
                TlsFault::ServerExpired { not_after: Some(timestamp(*not_after)), clock: timestamp(*time) }
            }
            CertificateError::NotValidYet => TlsFault::ServerNotYetValid { not_before: None, clock: time::wall() },
            CertificateError::NotValidYetContext { time, not_before } => {
                TlsFault::ServerNotYetValid { not_before: Some(timestamp(*not_before)), clock: timestamp(*time) }
            }
            other => TlsFault::ServerCertificate { reason: flaw(other), certificate: None },
        }
    }
}

/// What is wrong with a certificate, in words: the verifier gives the names of its own error values, in a text.
fn flaw(error: &CertificateError) -> String {
    let text = match error {
        CertificateError::Other(other) => other.to_string(),
        other => other.to_string(),
    };
    let known = [
        ("CaUsedAsEndEntity", "it is a CA's certificate, usually a self-signed one, and not a server's"),
        ("UnsupportedCertVersion", "it is of X.509 version 1, which has no place for the server's name"),
        ("RequiredEkuNotFound", "its extended key usage doesn't have serverAuth"),
        ("EndEntityUsedAsCa", "it was signed by a certificate that isn't a CA's"),
        ("PathLenConstraintViolated", "there are more CAs between it and the root than the root allows"),
        (
            "UnsupportedSignatureAlgorithm",
            "its signature algorithm is too old or too new: SHA-256 with RSA or ECDSA is common",
        ),
        ("BadDer", "it can't be read"),
    ];
    known.iter().find(|(name, _)| text.contains(name)).map_or(text, |(_, words)| (*words).to_owned())
}

/// How much of the names in a server's certificate is shown.
const MAX_NAMES: usize = 4;
const MAX_NAME_CHARS: usize = 100;

fn timestamp(time: UnixTime) -> Timestamp {
    i64::try_from(time.as_secs()).ok().and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(Timestamp::MAX)
}

/// rustls gives a name as the debug text of its parser's type: `DnsName("a.b")` becomes `a.b`.
fn plain(name: &str) -> String {
    let address = name.strip_prefix("IpAddress(").and_then(|rest| rest.strip_suffix(')'));
    address.or_else(|| name.split('"').nth(1)).unwrap_or(name).chars().take(MAX_NAME_CHARS).collect()
}

impl TlsFault {
    /// Adds the server's certificate to a fault of the handshake that it explains; `None` if none had come.
    fn with_certificate(mut self, seen: Option<ServerCertificate>) -> TlsFault {
        match &mut self {
            TlsFault::UnknownIssuer { certificate }
            | TlsFault::WrongName { certificate, .. }
            | TlsFault::ServerCertificate { certificate, .. } => *certificate = seen.map(Box::new),
            TlsFault::Closed { answered } => *answered = seen.is_some(),
            _ => {}
        }
        self
    }
}

/// rustls' own error, if an I/O error of a TLS stream holds one: with TLS 1.3 the server's verdict on the client's certificate comes
/// with the first read after the handshake (RFC 8446, 4.4.2.4).
pub(crate) fn tls_fault(error: &io::Error) -> Option<TlsFault> {
    error.get_ref()?.downcast_ref::<rustls::Error>().map(TlsFault::from)
}

/// Whether the other end has ended the connection without saying why: end of file, reset, broken pipe.
pub(crate) fn is_close(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
    )
}
