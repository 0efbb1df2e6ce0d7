//! The private key: exactly one, of a kind that ring can use and IoT Core accepts.

use std::path::Path;
use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use x509_parser::asn1_rs::{FromDer, Integer, Sequence};
use x509_parser::oid_registry::{self, Oid, asn1_rs::oid};
use x509_parser::x509::AlgorithmIdentifier;

use super::pem;
use super::problems::Fault;

/// A private key, ready to sign.
pub(super) struct Key {
    pub(super) signing: Arc<dyn SigningKey>,
    /// Permission bits of its file.
    pub(super) mode: u32,
}

pub(super) fn read(path: &Path) -> Result<Key, Fault> {
    let mut contents = pem::read(path)?;
    let Some(der) = contents.keys.pop() else {
        return Err(contents.instead_of_key());
    };
    if !contents.keys.is_empty() {
        return Err(Fault::SeveralKeys(contents.keys.len() + 1));
    }
    match any_supported_type(&der) {
        Ok(signing) if signing.algorithm() != SignatureAlgorithm::ED25519 => Ok(Key { signing, mode: contents.mode }),
        Ok(_) => Err(Fault::UnsupportedKey { kind: Some("Ed25519"), reason: None }),
        Err(error) => Err(Fault::UnsupportedKey { kind: kind(&der), reason: Some(error.to_string()) }),
    }
}

/// What kind of key `der` holds, where it says so and it is one that people make.
fn kind(der: &PrivateKeyDer<'_>) -> Option<&'static str> {
    match der {
        PrivateKeyDer::Pkcs1(_) => Some("RSA"),
        PrivateKeyDer::Sec1(_) => Some("EC"),
        PrivateKeyDer::Pkcs8(pkcs8) => {
            // PrivateKeyInfo of RFC 5208: SEQUENCE { version, algorithm, key }.
            let (_, info) = Sequence::from_der(pkcs8.secret_pkcs8_der()).ok()?;
            let (rest, _version) = Integer::from_der(&info.content).ok()?;
            let (_, algorithm) = AlgorithmIdentifier::from_der(rest).ok()?;
            let curve = algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
            kind_of(&algorithm.algorithm, curve.as_ref())
        }
        _ => None,
    }
}

fn kind_of(algorithm: &Oid<'_>, curve: Option<&Oid<'_>>) -> Option<&'static str> {
    let known = [
        (oid_registry::OID_PKCS1_RSAENCRYPTION, "RSA"),
        (oid_registry::OID_PKCS1_RSASSAPSS, "RSA-PSS"),
        (oid_registry::OID_SIG_ED25519, "Ed25519"),
        (oid_registry::OID_SIG_ED448, "Ed448"),
        (oid_registry::OID_NIST_EC_P521, "EC P-521"),
        (oid!(1.3.132.0.10), "EC secp256k1"),
        (oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY, "EC"),
    ];
    let name = |oid: &Oid<'_>| known.iter().find(|(known, _)| known == oid).map(|(_, name)| *name);
    curve.and_then(name).or_else(|| name(algorithm))
}
