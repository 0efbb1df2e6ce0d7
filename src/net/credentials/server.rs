//! The server's certificate: verified by rustls, and told from whom it is, which rustls doesn't say.

use std::fmt;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_parser::parse_x509_certificate;

use super::Validity;
use crate::mqtt::reason::shown;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerCertificate {
    /// The distinguished name of who has signed it.
    pub(crate) issuer: Box<str>,
    pub(crate) not_after: Timestamp,
    /// It is its own issuer.
    pub(crate) is_self_signed: bool,
    /// It has a `subjectAltName`, which alone tells what host it is for.
    pub(crate) has_names: bool,
    /// Where people used to put the host.
    pub(crate) common_name: Option<Box<str>>,
}

impl ServerCertificate {
    /// `None` if it can't be parsed.
    pub(crate) fn of(der: &CertificateDer<'_>) -> Option<ServerCertificate> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let issuer = shown(&certificate.issuer().to_string());
        let common_name = certificate.subject().iter_common_name().find_map(|name| name.as_str().ok());
        Some(ServerCertificate {
            issuer,
            not_after: Validity::of(&certificate).not_after,
            is_self_signed: certificate.subject().as_raw() == certificate.issuer().as_raw(),
            has_names: matches!(certificate.subject_alternative_name(), Ok(Some(_))),
            common_name: common_name.map(shown),
        })
    }
}

impl fmt::Display for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate from \"{}\", valid until {}", self.issuer, self.not_after)
    }
}

/// rustls's own verifier, which decides alone. It remembers the certificate that it saw last.
#[derive(Debug)]
pub(crate) struct Verifier {
    rustls: Arc<WebPkiServerVerifier>,
    seen: Mutex<Option<CertificateDer<'static>>>,
}

impl Verifier {
    pub(super) fn new(rustls: Arc<WebPkiServerVerifier>) -> Verifier {
        Verifier { rustls, seen: Mutex::default() }
    }

    /// The certificate that has come since this was asked last; as it is, since mostly nobody wants to know what it says.
    pub(crate) fn take_seen(&self) -> Option<CertificateDer<'static>> {
        self.seen.lock().ok()?.take()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Ok(mut seen) = self.seen.lock() {
            *seen = Some(end_entity.clone().into_owned());
        }
        self.rustls.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.rustls.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.rustls.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.rustls.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.rustls.root_hint_subjects()
    }
}
