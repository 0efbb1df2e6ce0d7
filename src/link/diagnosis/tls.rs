//! What went wrong between two TLS stacks.

use std::fmt;

use jiff::Timestamp;
use rustls::AlertDescription as Alert;

use super::Shown;
use crate::net::TlsFault;
use crate::net::credentials::ServerCertificate;

/// Before this, a clock hasn't been set: a Pi without a clock starts from 1970 or from its image's date.
pub(super) const CLOCK_UNSET_BEFORE: Timestamp = Timestamp::constant(1_577_836_800, 0); // 2020-01-01

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
            TlsFault::Token(fault) => fault.code(),
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
            TlsFault::Token(fault) => fault.fmt(f),
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
