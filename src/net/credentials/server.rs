//! The server's certificate: verified by rustls, and told from whom it is, which rustls doesn't say.

use std::fmt;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::Validity;
use super::name::text_of;
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
    /// Who is at the top of it; `None` if it came without a verifier.
    pub(crate) descent: Option<Box<Descent>>,
}

/// From whom a server's certificate descends, as far as it has sent that, beside what `tls.ca_file` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Descent {
    /// Who has signed the last certificate that leads up from the server's.
    pub(crate) top: Box<str>,
    /// A CA of that name is in `tls.ca_file`.
    pub(crate) is_named: bool,
    /// The CAs of `tls.ca_file`, the first few.
    pub(crate) trusted: Vec<Box<str>>,
}

impl ServerCertificate {
    /// `None` if it can't be parsed.
    pub(crate) fn of(der: &CertificateDer<'_>) -> Option<ServerCertificate> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let issuer = text_of(certificate.issuer());
        let common_name = certificate.subject().iter_common_name().find_map(|name| name.as_str().ok());
        Some(ServerCertificate {
            issuer,
            not_after: Validity::of(&certificate).not_after,
            is_self_signed: certificate.subject().as_raw() == certificate.issuer().as_raw(),
            has_names: matches!(certificate.subject_alternative_name(), Ok(Some(_))),
            common_name: common_name.map(shown),
            descent: None,
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
    /// From whom one descends that wasn't trusted.
    untrusted: Mutex<Option<Box<Descent>>>,
    /// The names of the CAs, in DER.
    trusted: Vec<DistinguishedName>,
}

/// How many CAs of a file are named.
pub(super) const MAX_NAMED: usize = 3;

impl Verifier {
    pub(super) fn new(rustls: Arc<WebPkiServerVerifier>, trusted: Vec<DistinguishedName>) -> Verifier {
        Verifier { rustls, seen: Mutex::default(), untrusted: Mutex::default(), trusted }
    }

    /// The names of the CAs.
    pub(super) fn names(&self) -> impl Iterator<Item = Box<str>> {
        let name = |der: &DistinguishedName| X509Name::from_der(der.as_ref()).ok().map(|(_, name)| text_of(&name));
        self.trusted.iter().filter_map(name)
    }

    /// Goes up from the server's certificate through those that came with it.
    fn descent(&self, end_entity: &CertificateDer<'_>, sent: &[CertificateDer<'_>]) -> Option<Box<Descent>> {
        let (_, mut last) = parse_x509_certificate(end_entity).ok()?;
        let mut others: Vec<X509Certificate<'_>> = sent
            .iter()
            .filter_map(|der| parse_x509_certificate(der).ok())
            .map(|(_, certificate)| certificate)
            .collect();
        let is_trusted = |name: &[u8]| self.trusted.iter().any(|trusted| trusted.as_ref() == name);
        while !is_trusted(last.issuer().as_raw())
            && let Some(at) = others.iter().position(|other| other.subject().as_raw() == last.issuer().as_raw())
        {
            last = others.swap_remove(at);
        }
        Some(Box::new(Descent {
            top: text_of(last.issuer()),
            is_named: is_trusted(last.issuer().as_raw()),
            trusted: self.names().take(MAX_NAMED).collect(),
        }))
    }

    /// What it says, and from whom it descends, of a certificate that wasn't trusted.
    pub(crate) fn read_untrusted(&self, der: &CertificateDer<'_>) -> Option<ServerCertificate> {
        let descent = self.untrusted.lock().ok()?.take();
        ServerCertificate::of(der).map(|certificate| ServerCertificate { descent, ..certificate })
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
        let verdict = self.rustls.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if let Ok(mut untrusted) = self.untrusted.lock() {
            *untrusted = if verdict.is_ok() { None } else { self.descent(end_entity, intermediates) };
        }
        verdict
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
