//! Private keys made here, and requests for certificates (CSR, RFC 2986).

use std::fmt;

use base64::Engine as _;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SigningKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use rsa::rand_core::{TryCryptoRng, TryRng};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use x509_parser::parse_x509_certificate;

use crate::certificate::id_of;
use crate::message::BASE64;
use crate::secret::Secret;

/// What kind of key is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum KeyKind {
    /// On the curve NIST P-256.
    #[default]
    #[serde(rename = "ec-p256")]
    EcP256,
    /// RSA with 2048 bits; to make one takes seconds on a small machine.
    #[serde(rename = "rsa-2048")]
    Rsa2048,
}

/// What signs a request: a key from a file, or one in a token. It may take seconds.
pub(crate) type Signer = dyn SigningKey + Send + Sync;

/// Why there is no key or no request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum KeyError {
    #[error("making a key: the system's random numbers failed")]
    Random,
    /// What the library says of it is for programmers.
    #[error("making a key: the numbers that were drawn don't make one")]
    Numbers,
    #[error("the key that was made here can't be read")]
    Unreadable,
    #[error("signing the request for a certificate: {0}")]
    Signing(String),
}

/// What is wrong with a certificate that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum CertificateError {
    #[error("it isn't a certificate in PEM")]
    NotPem,
    #[error("it can't be read: no X.509 certificate")]
    NotX509,
    #[error("it is for another key than the one of the request")]
    OtherKey,
}

/// A private key of this kind: PKCS #8 as PEM. Takes seconds of the processor for RSA.
pub(crate) fn generate(kind: KeyKind) -> Result<Secret<String>, KeyError> {
    match kind {
        KeyKind::EcP256 => {
            let key = KeyPair::generate().map_err(|_| KeyError::Random)?;
            Ok(Secret::new(key.serialize_pem()))
        }
        KeyKind::Rsa2048 => {
            let key = rsa::PrivateKey::new(&mut OfTheSystem, 2048).map_err(|error| match error {
                rsa::Error::Rng => KeyError::Random,
                _ => KeyError::Numbers,
            })?;
            let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Numbers)?;
            Ok(Secret::new(pem.as_str().to_owned()))
        }
    }
}

/// A key that [`generate`] has made.
pub(crate) fn parse(pem: &Secret<String>) -> Result<KeyPair, KeyError> {
    KeyPair::from_pem(pem.expose()).map_err(|_| KeyError::Unreadable)
}

/// A request for a certificate of `key`, as PEM. Takes as long as the key takes to sign.
pub(crate) fn csr(key: &Signer, common_name: &str) -> Result<String, KeyError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let signing = |error: rcgen::Error| KeyError::Signing(error.to_string());
    params.serialize_request(&key).and_then(|request| request.pem()).map_err(signing)
}

/// The certificates in `pem`, as it has to be stored: what else is around them is left out.
///
/// # Errors
/// One of them can't be used, or the first isn't one of `key`.
pub(crate) fn certificates_alone(key: &Signer, pem: &str) -> Result<String, CertificateError> {
    certificate_of(key, pem)?;
    let mut alone = String::new();
    for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let der = der.map_err(|_| CertificateError::NotPem)?;
        let Ok(([], _)) = parse_x509_certificate(&der) else { return Err(CertificateError::NotX509) };
        let base64 = BASE64.encode(&der);
        alone.push_str("-----BEGIN CERTIFICATE-----\n");
        // Lines of 64 characters (RFC 7468).
        let mut rest = base64.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            alone.push_str(line);
            alone.push('\n');
            rest = after;
        }
        alone.push_str("-----END CERTIFICATE-----\n");
    }
    Ok(alone)
}

/// The id of the certificate in `pem`, if it is one of `key`: the first, where there are several.
pub(crate) fn certificate_of(key: &Signer, pem: &str) -> Result<String, CertificateError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| CertificateError::NotPem)?;
    let Ok(([], certificate)) = parse_x509_certificate(&der) else { return Err(CertificateError::NotX509) };
    match certificate.public_key().raw == key.subject_public_key_info() {
        true => Ok(id_of(&der)),
        false => Err(CertificateError::OtherKey),
    }
}

/// The system's random numbers, by ring.
struct OfTheSystem;

/// There are none.
#[derive(Debug)]
struct NoRandom;

impl fmt::Display for NoRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system has no random numbers")
    }
}

impl std::error::Error for NoRandom {}

impl OfTheSystem {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], NoRandom> {
        let mut bytes = [0; N];
        self.try_fill_bytes(&mut bytes).map(|()| bytes)
    }
}

impl TryRng for OfTheSystem {
    type Error = NoRandom;

    fn try_next_u32(&mut self) -> Result<u32, NoRandom> {
        self.bytes().map(u32::from_ne_bytes)
    }

    fn try_next_u64(&mut self) -> Result<u64, NoRandom> {
        self.bytes().map(u64::from_ne_bytes)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), NoRandom> {
        SystemRandom::new().fill(bytes).map_err(|_| NoRandom)
    }
}

impl TryCryptoRng for OfTheSystem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_signs_its_request_and_knows_its_certificate() {
        for kind in [KeyKind::EcP256, KeyKind::Rsa2048] {
            let key = parse(&generate(kind).unwrap()).unwrap();
            let request = csr(&key, "claim-0123").unwrap();
            assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"), "{request}");
            let own = CertificateParams::default().self_signed(&key).unwrap();
            assert_eq!(certificate_of(&key, &own.pem()), Ok(id_of(own.der())));
            let of_another = CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
            assert_eq!(certificate_of(&key, &of_another), Err(CertificateError::OtherKey));
            for bad in ["", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", &request] {
                assert_eq!(certificate_of(&key, bad), Err(CertificateError::NotPem));
            }
            let no_certificate = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
            assert_eq!(certificate_of(&key, no_certificate), Err(CertificateError::NotX509));
        }
    }

    #[test]
    fn nothing_but_certificates_is_stored() {
        let key = parse(&generate(KeyKind::EcP256).unwrap()).unwrap();
        let own = CertificateParams::default().self_signed(&key).unwrap();
        let of_ca = CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap();
        let both = format!("{}{}", own.pem(), of_ca.pem()).replace("\r\n", "\n");
        let around = format!("Bag\n{}\x1b[2J\r\n{}{}", own.pem(), key.serialize_pem(), of_ca.pem());
        assert_eq!(certificates_alone(&key, &around), Ok(both.clone()));
        assert_eq!(certificates_alone(&key, &both), Ok(both.clone()));
        let bad = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
        assert_eq!(certificates_alone(&key, &format!("{both}{bad}")), Err(CertificateError::NotX509));
        let cut_off = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n";
        assert_eq!(certificates_alone(&key, &format!("{both}{cut_off}")), Err(CertificateError::NotPem));
        assert_eq!(certificates_alone(&key, &of_ca.pem()), Err(CertificateError::OtherKey));
    }

    #[test]
    fn no_two_keys_are_the_same() {
        let keys = [KeyKind::EcP256; 3].map(|kind| generate(kind).unwrap().expose().clone());
        assert!(keys[0] != keys[1] && keys[1] != keys[2]);
    }
}
