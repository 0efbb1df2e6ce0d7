//! What went wrong between two TLS stacks.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use rustls::AlertDescription as Alert;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use super::Shown;
use crate::link::credentials::ServerCertificate;

/// Before this, a clock hasn't been set: a Pi without a clock starts from 1970 or from its image's date.
pub(super) const CLOCK_UNSET_BEFORE: Timestamp = Timestamp::constant(1_577_836_800, 0); // 2020-01-01

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
    Other(String),
}

impl From<&rustls::Error> for TlsFault {
    fn from(error: &rustls::Error) -> TlsFault {
        match error {
            rustls::Error::AlertReceived(alert) => TlsFault::Alert(*alert),
            rustls::Error::InvalidCertificate(error) => TlsFault::from(error),
            rustls::Error::InvalidMessage(error) => TlsFault::NotTls(format!("{error:?}")),
            rustls::Error::PeerIncompatible(error) => TlsFault::Incompatible(format!("{error:?}")),
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
            CertificateError::Expired => TlsFault::ServerExpired { not_after: None, clock: Timestamp::now() },
            CertificateError::ExpiredContext { time, not_after } => {
                TlsFault::ServerExpired { not_after: Some(timestamp(*not_after)), clock: timestamp(*time) }
            }
            CertificateError::NotValidYet => TlsFault::ServerNotYetValid { not_before: None, clock: Timestamp::now() },
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
    pub(super) fn code(&self) -> &'static str {
        match self {
            TlsFault::Alert(alert) => alert_code(*alert),
            TlsFault::UnknownIssuer { .. } => "tls_unknown_ca",
            TlsFault::WrongName { .. } => "tls_wrong_name",
            TlsFault::ServerExpired { .. } => "tls_server_expired",
            TlsFault::ServerNotYetValid { .. } => "tls_server_not_yet_valid",
            TlsFault::ServerCertificate { .. } => "tls_server_certificate",
            TlsFault::NotTls(_) => "tls_not_spoken",
            TlsFault::Incompatible(_) => "tls_incompatible",
            TlsFault::Closed { .. } => "tls_closed",
            TlsFault::Timeout { .. } => "tls_timeout",
            TlsFault::Other(_) => "tls_failed",
        }
    }
}

fn alert_code(alert: Alert) -> &'static str {
    match alert {
        Alert::BadCertificate => "tls_alert_bad_certificate",
        Alert::UnsupportedCertificate => "tls_alert_unsupported_certificate",
        Alert::CertificateRevoked => "tls_alert_certificate_revoked",
        Alert::CertificateExpired => "tls_alert_certificate_expired",
        Alert::CertificateUnknown => "tls_alert_certificate_unknown",
        Alert::UnknownCA => "tls_alert_unknown_ca",
        Alert::AccessDenied => "tls_alert_access_denied",
        Alert::DecryptError => "tls_alert_decrypt_error",
        Alert::CertificateRequired => "tls_alert_certificate_required",
        Alert::HandshakeFailure => "tls_alert_handshake_failure",
        Alert::ProtocolVersion => "tls_alert_protocol_version",
        Alert::UnrecognisedName => "tls_alert_unrecognized_name",
        Alert::NoApplicationProtocol => "tls_alert_no_application_protocol",
        _ => "tls_alert",
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsFault::Alert(alert) => write!(f, "the server refused with the alert {alert:?}"),
            TlsFault::UnknownIssuer { certificate } => {
                write!(f, "the server's certificate isn't from a CA in tls.ca_file{}", SignedBy(certificate))
            }
            TlsFault::WrongName { certificate: Some(certificate), .. } if !certificate.has_names => {
                write!(f, "the server's certificate names no host: it has no subjectAltName")?;
                match &certificate.common_name {
                    Some(name) => write!(f, ", only the common name \"{name}\""),
                    None => Ok(()),
                }
            }
            TlsFault::WrongName { presented, .. } if presented.is_empty() => {
                f.write_str("the server's certificate is for another name")
            }
            TlsFault::WrongName { presented, .. } => {
                write!(f, "the server's certificate is for another name: {}", presented.join(", "))
            }
            TlsFault::ServerExpired { not_after: Some(end), clock } => {
                write!(f, "the server's certificate expired on {end}; this machine's clock says {clock}")
            }
            TlsFault::ServerExpired { not_after: None, clock } => {
                write!(f, "the server's certificate has expired; this machine's clock says {clock}")
            }
            TlsFault::ServerNotYetValid { not_before: Some(start), clock } => {
                write!(f, "the server's certificate is valid from {start}; this machine's clock says {clock}")
            }
            TlsFault::ServerNotYetValid { not_before: None, clock } => {
                write!(f, "the server's certificate isn't valid yet; this machine's clock says {clock}")
            }
            TlsFault::ServerCertificate { reason, certificate } => {
                write!(f, "the server's certificate can't be trusted: {reason}{}", SignedBy(certificate))
            }
            TlsFault::NotTls(reason) => write!(f, "what came back isn't TLS ({reason})"),
            TlsFault::Incompatible(reason) => write!(f, "nothing in common with the server ({reason})"),
            TlsFault::Closed { answered: false } => {
                f.write_str("the connection was closed during the handshake, before the server answered in TLS")
            }
            TlsFault::Closed { answered: true } => f.write_str("the connection was closed during the handshake"),
            TlsFault::Timeout { waited } => write!(f, "the handshake timed out (after {})", Shown(*waited)),
            TlsFault::Other(reason) => f.write_str(reason),
        }
    }
}

/// Goes behind what is wrong with a certificate.
struct SignedBy<'a>(&'a Option<Box<ServerCertificate>>);

impl fmt::Display for SignedBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(certificate) if certificate.is_self_signed => {
                write!(f, "; \"{}\" has signed it itself", certificate.issuer)
            }
            Some(certificate) => write!(f, "; it says that \"{}\" has signed it", certificate.issuer),
            None => Ok(()),
        }
    }
}
