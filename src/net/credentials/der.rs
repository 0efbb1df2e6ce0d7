//! What a DER file or section is, whatever it is called: enough of X.690 to tell certificates and kinds of keys apart.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::FromDer as _;

/// Whether bytes are one element of DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    Yes,
    TooShort,
    TooLong,
    NotDer,
}

/// What a DER element is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Certificate,
    Request,
    PublicKey,
    Key(KeyKind),
    EncryptedKey,
    Pkcs12,
    Pkcs7,
}

/// What kind of private key it is, as far as it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Rsa {
        /// Of the modulus.
        bits: usize,
        /// The public exponent is less than 65537.
        is_exponent_small: bool,
    },
    /// One that gatewire takes.
    Ec {
        /// Some programs leave it out.
        has_public_half: bool,
    },
    /// Of a curve that isn't known here.
    OtherCurve,
    /// One that it doesn't take, or not for TLS.
    Other(&'static str),
    /// It can't be understood.
    Unknown,
}

/// How a private key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyForm {
    Pkcs8,
    Pkcs1,
    Sec1,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;

const PKCS7: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x07];
const PKCS5: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x05];
const PKCS12_ENCRYPTION: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x0C, 0x01];
const RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
const P256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2B, 0x81, 0x04, 0x00, 0x22];

/// Algorithms and curves of keys that people make and gatewire doesn't take.
const OTHERS: [(&[u8], &str); 11] = [
    (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0A], "an RSA-PSS key"),
    (&[0x2B, 0x65, 0x70], "an Ed25519 key"),
    (&[0x2B, 0x65, 0x71], "an Ed448 key"),
    (&[0x2B, 0x65, 0x6E], "an X25519 key"),
    (&[0x2A, 0x86, 0x48, 0xCE, 0x38, 0x04, 0x01], "a DSA key"),
    (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x03, 0x01], "a Diffie-Hellman key"),
    (&[0x2B, 0x81, 0x04, 0x00, 0x23], "an EC P-521 key"),
    (&[0x2B, 0x81, 0x04, 0x00, 0x0A], "an EC secp256k1 key"),
    (&[0x2B, 0x81, 0x04, 0x00, 0x21], "an EC P-224 key"),
    (&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x01], "an EC P-192 key"),
    (&[0x2A, 0x81, 0x1C, 0xCF, 0x55, 0x01, 0x82, 0x2D], "an SM2 key"),
];

/// An element, and what follows it.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

/// The element at the begin of `der`; `Err`: whether only the end of it is missing.
fn element(der: &[u8]) -> Result<Element<'_>, Whole> {
    let [tag, first, rest @ ..] = der else { return Err(Whole::TooShort) };
    let (length, rest) = match *first {
        short @ 0..=0x7F => (usize::from(short), rest),
        count @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(count & 0x7F)).ok_or(Whole::TooShort)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return Err(Whole::NotDer),
    };
    let (content, rest) = rest.split_at_checked(length).ok_or(Whole::TooShort)?;
    Ok(Element { tag: *tag, content, rest })
}

/// The elements one after another, as far as they can be read.
fn elements(mut der: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let Ok(Element { tag, content, rest }) = element(der) {
        found.push((tag, content));
        der = rest;
        if der.is_empty() {
            break;
        }
    }
    found
}

/// Whether `der` is one SEQUENCE from its first byte to its last.
pub(super) fn whole(der: &[u8]) -> Whole {
    match element(der) {
        _ if der.first() != Some(&SEQUENCE) => Whole::NotDer,
        Ok(Element { rest: [], .. }) => Whole::Yes,
        Ok(_) => Whole::TooLong,
        Err(why) => why,
    }
}

/// What `der` is; `None` if it is nothing that is known here.
pub(super) fn content(der: &[u8]) -> Option<Content> {
    if whole(der.trim_ascii_end()) != Whole::Yes && whole(der) != Whole::Yes {
        return None;
    }
    let Element { content: inner, .. } = element(der).ok()?;
    let parts = elements(inner);
    match parts[..] {
        [(INTEGER, [3]), (SEQUENCE, info), ..] if oid_of(info)?.starts_with(PKCS7) => Some(Content::Pkcs12),
        [(INTEGER, [0 | 1]), (SEQUENCE, _) | (OCTET_STRING, _), ..] => Some(Content::Key(key(der))),
        [(INTEGER, [0 | 1]), (INTEGER, _), ..] => Some(Content::Key(key(der))),
        [(OID, oid), ..] if oid.starts_with(PKCS7) => Some(Content::Pkcs7),
        [(SEQUENCE, algorithm), (OCTET_STRING, _)]
            if oid_of(algorithm)?.starts_with(PKCS5) || oid_of(algorithm)?.starts_with(PKCS12_ENCRYPTION) =>
        {
            Some(Content::EncryptedKey)
        }
        [(SEQUENCE, algorithm), (BIT_STRING, _)] if oid_of(algorithm).is_some() => Some(Content::PublicKey),
        [(SEQUENCE, _), (SEQUENCE, _), (BIT_STRING, _)] if parse_x509_certificate(der).is_ok() => {
            Some(Content::Certificate)
        }
        [(SEQUENCE, _), (SEQUENCE, _), (BIT_STRING, _)] => {
            X509CertificationRequest::from_der(der).is_ok().then_some(Content::Request)
        }
        _ => None,
    }
}

/// The object identifier at the begin of a SEQUENCE's content.
fn oid_of(content: &[u8]) -> Option<&[u8]> {
    element(content).ok().filter(|first| first.tag == OID).map(|first| first.content)
}

/// How the private key `der` is written; `None` for forms that aren't known, as that of DSA.
pub(super) fn form_of_key(der: &[u8]) -> Option<KeyForm> {
    let parts = elements(element(der).ok()?.content);
    match parts[..] {
        [(INTEGER, _), (SEQUENCE, _), (OCTET_STRING, _), ..] => Some(KeyForm::Pkcs8),
        [(INTEGER, _), (OCTET_STRING, _), ..] => Some(KeyForm::Sec1),
        [(INTEGER, _), (INTEGER, _), ..] if parts.len() == 9 => Some(KeyForm::Pkcs1),
        _ => None,
    }
}

/// What kind of key `der` is: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017) or SEC1 (RFC 5915).
pub(super) fn key(der: &[u8]) -> KeyKind {
    let parts = element(der).map(|whole| elements(whole.content)).unwrap_or_default();
    match parts[..] {
        [(INTEGER, _), (SEQUENCE, algorithm), (OCTET_STRING, key), ..] => pkcs8(&elements(algorithm), key),
        [(INTEGER, _), (OCTET_STRING, _), ..] => {
            let part = |tag| parts.iter().find(|(found, _)| *found == tag).map(|(_, content)| *content);
            ec(part(0xA0).and_then(oid_of), part(0xA1).is_some())
        }
        [(INTEGER, _), (INTEGER, modulus), (INTEGER, exponent), ..] if parts.len() == 9 => rsa(modulus, exponent),
        [(INTEGER, _), (INTEGER, _), ..] if parts.len() == 6 => KeyKind::Other("a DSA key"),
        _ => KeyKind::Unknown,
    }
}

fn pkcs8(algorithm: &[(u8, &[u8])], key_of_it: &[u8]) -> KeyKind {
    match *algorithm {
        [(OID, RSA), ..] => match key(key_of_it) {
            found @ KeyKind::Rsa { .. } => found,
            _ => KeyKind::Unknown,
        },
        [(OID, EC), (OID, curve), ..] => {
            let parts = element(key_of_it).map(|whole| elements(whole.content)).unwrap_or_default();
            match parts[..] {
                [(INTEGER, _), (OCTET_STRING, _), ..] => ec(Some(curve), parts.iter().any(|(tag, _)| *tag == 0xA1)),
                _ => KeyKind::Unknown,
            }
        }
        [(OID, EC), ..] => KeyKind::Other("an EC key whose curve has no name"),
        [(OID, oid), ..] => other(oid).unwrap_or(KeyKind::Unknown),
        _ => KeyKind::Unknown,
    }
}

fn other(oid: &[u8]) -> Option<KeyKind> {
    OTHERS.iter().find(|(known, _)| *known == oid).map(|(_, name)| KeyKind::Other(name))
}

fn ec(curve: Option<&[u8]>, has_public_half: bool) -> KeyKind {
    match curve {
        None | Some(P256 | P384) => KeyKind::Ec { has_public_half },
        Some(curve) => other(curve).unwrap_or(KeyKind::OtherCurve),
    }
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> KeyKind {
    let significant = |number: &[u8]| number.iter().skip_while(|byte| **byte == 0).count();
    let is_exponent_small = significant(exponent) < 3;
    KeyKind::Rsa { bits: significant(modulus) * 8, is_exponent_small }
}
