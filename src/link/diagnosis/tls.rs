//! What went wrong between two TLS stacks.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use rustls::AlertDescription as Alert;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use super::Shown;

/// Before this, a clock hasn't been set: a Pi without a clock starts from 1970 or from its image's date.
pub(super) const CLOCK_UNSET_BEFORE: Timestamp = Timestamp::constant(1_577_836_800, 0); // 2020-01-01

/// Why TLS failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TlsFault {
    /// The server gave up and said so; mostly its verdict on our certificate.
    Alert(Alert),
    /// The server's certificate descends from no CA of `tls.ca_file`.
    UnknownIssuer {
        /// Who has signed it, by its own words.
        issuer: Option<Box<str>>,
    },
    WrongName {
        /// The names that the server's certificate is valid for.
        presented: Vec<String>,
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
        /// Who has signed it, by its own words.
        issuer: Option<Box<str>>,
    },
    /// What answers doesn't speak TLS.
    NotTls(String),
    /// No version, cipher suite or protocol in common.
    Incompatible(String),
    /// The connection ended during the handshake without an alert.
    Closed,
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
                TlsFault::UnknownIssuer { issuer: None }
            }
            CertificateError::NotValidForName => TlsFault::WrongName { presented: Vec::new() },
            CertificateError::NotValidForNameContext { presented, .. } => {
                TlsFault::WrongName { presented: presented.iter().take(MAX_NAMES).map(|name| plain(name)).collect() }
            }
            CertificateError::Expired => TlsFault::ServerExpired { not_after: None, clock: Timestamp::now() },
            CertificateError::ExpiredContext { time, not_after } => {
                TlsFault::ServerExpired { not_after: Some(timestamp(*not_after)), clock: timestamp(*time) }
            }
            CertificateError::NotValidYet => TlsFault::ServerNotYetValid { not_before: None, clock: Timestamp::now() },
            CertificateError::NotValidYetContext { time, not_before } => {
                TlsFault::ServerNotYetValid { not_before: Some(timestamp(*not_before)), clock: timestamp(*time) }
            }
            CertificateError::Other(other) => TlsFault::ServerCertificate { reason: other.to_string(), issuer: None },
            other => TlsFault::ServerCertificate { reason: other.to_string(), issuer: None },
        }
    }
}

/// How much of the names in a server's certificate is shown.
const MAX_NAMES: usize = 4;
const MAX_NAME_CHARS: usize = 100;

fn timestamp(time: UnixTime) -> Timestamp {
    i64::try_from(time.as_secs()).ok().and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(Timestamp::MAX)
}

/// rustls gives a name as the debug text of its parser's type: `DnsName("a.b")` becomes `a.b`.
fn plain(name: &str) -> String {
    name.split('"').nth(1).unwrap_or(name).chars().take(MAX_NAME_CHARS).collect()
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
            TlsFault::Closed => "tls_closed",
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
            TlsFault::UnknownIssuer { issuer } => {
                write!(f, "the server's certificate isn't from a CA in tls.ca_file{}", SignedBy(issuer))
            }
            TlsFault::WrongName { presented } if presented.is_empty() => {
                f.write_str("the server's certificate is for another name")
            }
            TlsFault::WrongName { presented } => {
                write!(f, "the server's certificate is for another name: {}", presented.join(", "))
            }
            TlsFault::ServerExpired { not_after: Some(end), clock } => {
                write!(f, "the server's certificate ended on {end}; this machine's clock says {clock}")
            }
            TlsFault::ServerExpired { not_after: None, clock } => {
                write!(f, "the server's certificate has ended; this machine's clock says {clock}")
            }
            TlsFault::ServerNotYetValid { not_before: Some(start), clock } => {
                write!(f, "the server's certificate is valid from {start}; this machine's clock says {clock}")
            }
            TlsFault::ServerNotYetValid { not_before: None, clock } => {
                write!(f, "the server's certificate isn't valid yet; this machine's clock says {clock}")
            }
            TlsFault::ServerCertificate { reason, issuer } => {
                write!(f, "the server's certificate can't be trusted ({reason}){}", SignedBy(issuer))
            }
            TlsFault::NotTls(reason) => write!(f, "what came back isn't TLS ({reason})"),
            TlsFault::Incompatible(reason) => write!(f, "nothing in common with the server ({reason})"),
            TlsFault::Closed => f.write_str("the connection was closed during the handshake"),
            TlsFault::Timeout { waited } => write!(f, "the handshake didn't end (after {})", Shown(*waited)),
            TlsFault::Other(reason) => f.write_str(reason),
        }
    }
}

/// Goes behind what is wrong with a certificate.
struct SignedBy<'a>(&'a Option<Box<str>>);

impl fmt::Display for SignedBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(issuer) => write!(f, "; it says that \"{issuer}\" has signed it"),
            None => Ok(()),
        }
    }
}
