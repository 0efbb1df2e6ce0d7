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
use crate::link::reason::shown;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerCertificate {
    /// The distinguished name of who has signed it.
    pub(crate) issuer: Box<str>,
    pub(crate) not_after: Timestamp,
}

impl ServerCertificate {
    /// `None` if it can't be parsed.
    pub(crate) fn of(der: &CertificateDer<'_>) -> Option<ServerCertificate> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let issuer = shown(&certificate.issuer().to_string());
        Some(ServerCertificate { issuer, not_after: Validity::of(&certificate).not_after })
    }
}

impl fmt::Display for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate from \"{}\", valid until {}", self.issuer, self.not_after)
    }
}

/// rustls's own verifier, which decides alone. It remembers the certificate that it refused last.
#[derive(Debug)]
pub(crate) struct Verifier {
    rustls: Arc<WebPkiServerVerifier>,
    refused: Mutex<Option<ServerCertificate>>,
}

impl Verifier {
    pub(super) fn new(rustls: Arc<WebPkiServerVerifier>) -> Verifier {
        Verifier { rustls, refused: Mutex::default() }
    }

    /// The certificate that was refused since this was asked last.
    pub(crate) fn take_refused(&self) -> Option<ServerCertificate> {
        self.refused.lock().ok()?.take()
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
        let verified = self.rustls.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if verified.is_err()
            && let Ok(mut refused) = self.refused.lock()
        {
            *refused = ServerCertificate::of(end_entity);
        }
        verified
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
