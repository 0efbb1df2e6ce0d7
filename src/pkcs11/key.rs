//! A private key in a token, as TLS and requests for certificates use one.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{OtherError, SignatureAlgorithm, SignatureScheme};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::fault::{Pkcs11Fault, TokenFault};
use super::uri::Uri;
use super::wire::{Done, Hash, Padding, Request, Sign, TokenNames};
use super::{child, refused, words};

/// What kind of key it is: those that both IoT Core and tokens have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKeyKind {
    Rsa,
    P256,
    P384,
}

/// The sizes of RSA keys that are used, in bits: those of keys in files, too.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Curves by the text of their OIDs.
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";

/// The private key that belongs to a public one. Each signature blocks until the token has made it, for 12 s at most, and is
/// verified before it is used.
#[derive(Debug)]
pub(crate) struct TokenKey {
    uri: Arc<Uri>,
    kind: TokenKeyKind,
    /// SubjectPublicKeyInfo in DER, and the key in it alone.
    public_key: Vec<u8>,
    bits: Vec<u8>,
    /// What [`rcgen::SigningKey`] has no words for.
    fault: Mutex<Option<TokenFault>>,
}

/// One module is asked after the other: a device without a resource manager can't be shared.
static TURN: Mutex<()> = Mutex::new(());

/// Asks the token, and notes what becomes of the PIN.
fn ask(uri: &Arc<Uri>, sign: Option<Sign>) -> Result<Done, TokenFault> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (refused, accepted) = (refused::refused(uri), refused::accepted(uri));
    let request = Request { refused, accepted, ..Request::of(uri, sign) };
    let outcome = child::ask(Path::new(child::OWN), &request, child::LIMIT);
    let failed = |fault, written: &[u8]| TokenFault {
        uri: Arc::clone(uri),
        fault,
        module_said: words::shown(written, uri.pin_file.as_deref()),
    };
    match outcome.answer {
        Ok(done) => {
            if let Some(mark) = &done.accepted {
                refused::note_accepted(uri, mark.clone());
            }
            Ok(done)
        }
        Err(Pkcs11Fault::PinRefused(mark)) => {
            if let Some(mark) = mark {
                refused::note_refused(uri, mark);
            }
            Err(failed(Pkcs11Fault::PinRefused(None), &[]))
        }
        Err(fault) => Err(failed(fault, &outcome.written)),
    }
}

impl TokenKey {
    /// The key of `public_key`, which is SubjectPublicKeyInfo in DER: a certificate's. The token isn't asked.
    ///
    /// # Errors
    /// What kind of key it is, where no such can be used.
    pub(crate) fn of(uri: Arc<Uri>, public_key: &[u8]) -> Result<TokenKey, String> {
        let unknown = || "a key that can't be read".to_owned();
        let ([], info) = SubjectPublicKeyInfo::from_der(public_key).map_err(|_| unknown())? else {
            return Err(unknown());
        };
        let curve =
            || info.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok()).map(|oid| oid.to_string());
        let kind = match info.parsed().map_err(|_| unknown())? {
            PublicKey::RSA(key) if RSA_BITS.contains(&key.key_size()) => TokenKeyKind::Rsa,
            PublicKey::RSA(key) => return Err(format!("an RSA key of {} bits", key.key_size())),
            PublicKey::EC(_) => match curve().as_deref() {
                Some(P256) => TokenKeyKind::P256,
                Some(P384) => TokenKeyKind::P384,
                _ => return Err("a key on another curve than P-256 and P-384".to_owned()),
            },
            _ => return Err("neither an RSA key nor one on an elliptic curve".to_owned()),
        };
        let (public_key, bits) = (public_key.to_vec(), info.subject_public_key.data.to_vec());
        Ok(TokenKey { uri, kind, public_key, bits, fault: Mutex::default() })
    }

    /// The key that the token has: for a request for a certificate. Blocks for 12 s at most.
    ///
    /// # Errors
    /// What keeps it from being found, or that the token doesn't tell its public key, or that no such key can be used.
    pub(crate) fn find(uri: &Arc<Uri>) -> Result<TokenKey, TokenFault> {
        let fault = |fault| TokenFault { uri: Arc::clone(uri), fault, module_said: String::new() };
        let done = ask(uri, None)?;
        let unable = || fault(Pkcs11Fault::Unable("tell the public key of this private key".to_owned()));
        let public_key = done.public_key.ok_or_else(unable)?;
        TokenKey::of(Arc::clone(uri), &public_key).map_err(|kind| fault(Pkcs11Fault::KindOfKey(kind)))
    }

    /// Where the key is.
    pub(crate) fn uri(&self) -> &Arc<Uri> {
        &self.uri
    }

    /// SubjectPublicKeyInfo in DER.
    pub(crate) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Signs something, as `check` does: what module, token and key call themselves. Blocks for 12 s at most.
    ///
    /// # Errors
    /// Why it doesn't sign.
    pub(crate) fn try_out(&self) -> Result<TokenNames, TokenFault> {
        let scheme = self.schemes()[0];
        self.done(scheme, b"gatewire").map(|(done, _)| done.found)
    }

    /// What rcgen's error stands for that came last.
    pub(crate) fn last_fault(&self) -> Option<TokenFault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The schemes of TLS that it signs with, the best first. Small tokens know SHA-256 alone.
    fn schemes(&self) -> &'static [SignatureScheme] {
        match self.kind {
            TokenKeyKind::Rsa => &[
                SignatureScheme::RSA_PSS_SHA256,
                SignatureScheme::RSA_PSS_SHA384,
                SignatureScheme::RSA_PSS_SHA512,
                SignatureScheme::RSA_PKCS1_SHA256,
                SignatureScheme::RSA_PKCS1_SHA384,
                SignatureScheme::RSA_PKCS1_SHA512,
            ],
            TokenKeyKind::P256 => &[SignatureScheme::ECDSA_NISTP256_SHA256],
            TokenKeyKind::P384 => &[SignatureScheme::ECDSA_NISTP384_SHA384],
        }
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, TokenFault> {
        self.done(scheme, message).map(|(_, signature)| signature)
    }

    /// A signature that is right.
    fn done(&self, scheme: SignatureScheme, message: &[u8]) -> Result<(Done, Vec<u8>), TokenFault> {
        let (padding, hash, algorithm) = parts(scheme);
        let mut done = ask(&self.uri, Some(Sign { padding, hash, digest: hash.of(message) }))?;
        let signature = done.signature.take().unwrap_or_default();
        if UnparsedPublicKey::new(algorithm, &self.bits).verify(message, &signature).is_ok() {
            return Ok((done, signature));
        }
        let fault = match done.public_key.as_ref().is_some_and(|found| *found == self.public_key) {
            true => Pkcs11Fault::WrongSignature,
            false => Pkcs11Fault::OtherKey,
        };
        Err(TokenFault { uri: Arc::clone(&self.uri), fault, module_said: String::new() })
    }
}

/// What a scheme of [`TokenKey::schemes`] is made of, and how it is verified.
fn parts(scheme: SignatureScheme) -> (Padding, Hash, &'static dyn VerificationAlgorithm) {
    match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => (Padding::Ecdsa, Hash::Sha256, &signature::ECDSA_P256_SHA256_ASN1),
        SignatureScheme::ECDSA_NISTP384_SHA384 => (Padding::Ecdsa, Hash::Sha384, &signature::ECDSA_P384_SHA384_ASN1),
        SignatureScheme::RSA_PKCS1_SHA256 => (Padding::Pkcs1, Hash::Sha256, &signature::RSA_PKCS1_2048_8192_SHA256),
        SignatureScheme::RSA_PKCS1_SHA384 => (Padding::Pkcs1, Hash::Sha384, &signature::RSA_PKCS1_2048_8192_SHA384),
        SignatureScheme::RSA_PKCS1_SHA512 => (Padding::Pkcs1, Hash::Sha512, &signature::RSA_PKCS1_2048_8192_SHA512),
        SignatureScheme::RSA_PSS_SHA384 => (Padding::Pss, Hash::Sha384, &signature::RSA_PSS_2048_8192_SHA384),
        SignatureScheme::RSA_PSS_SHA512 => (Padding::Pss, Hash::Sha512, &signature::RSA_PSS_2048_8192_SHA512),
        _ => (Padding::Pss, Hash::Sha256, &signature::RSA_PSS_2048_8192_SHA256),
    }
}

/// For rustls, which wants its own handle.
#[derive(Debug)]
pub(crate) struct TlsKey(pub(crate) Arc<TokenKey>);

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = *self.0.schemes().iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(TlsSigner { key: Arc::clone(&self.0), scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.0.public_key().into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.kind {
            TokenKeyKind::Rsa => SignatureAlgorithm::RSA,
            TokenKeyKind::P256 | TokenKeyKind::P384 => SignatureAlgorithm::ECDSA,
        }
    }
}

#[derive(Debug)]
struct TlsSigner {
    key: Arc<TokenKey>,
    scheme: SignatureScheme,
}

impl Signer for TlsSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signed = self.key.sign(self.scheme, message);
        signed.map_err(|fault| rustls::Error::Other(OtherError(Arc::new(fault))))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

impl rcgen::PublicKeyData for TokenKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.kind {
            TokenKeyKind::Rsa => &rcgen::PKCS_RSA_SHA256,
            TokenKeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            TokenKeyKind::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        }
    }
}

impl rcgen::SigningKey for TokenKey {
    /// Blocks for 12 s at most. Of an error [`TokenKey::last_fault`] says what it is.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let scheme = match self.kind {
            TokenKeyKind::Rsa => SignatureScheme::RSA_PKCS1_SHA256,
            TokenKeyKind::P256 | TokenKeyKind::P384 => self.schemes()[0],
        };
        TokenKey::sign(self, scheme, message).map_err(|fault| {
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
            rcgen::Error::RemoteKeyError
        })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::PublicKeyData as _;

    use super::*;

    #[test]
    fn a_public_key_says_how_the_private_one_signs() {
        let uri = Arc::new(Uri::parse("pkcs11:?module-path=/m.so", |path| Ok(path.into())).unwrap());
        for (algorithm, kind) in
            [(&rcgen::PKCS_ECDSA_P256_SHA256, TokenKeyKind::P256), (&rcgen::PKCS_ECDSA_P384_SHA384, TokenKeyKind::P384)]
        {
            let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let key = Arc::new(TokenKey::of(Arc::clone(&uri), &pair.subject_public_key_info()).unwrap());
            assert_eq!((key.kind, key.subject_public_key_info()), (kind, pair.subject_public_key_info()));
            let offered = [SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ECDSA_NISTP384_SHA384];
            let chosen = TlsKey(key).choose_scheme(&offered).map(|signer| signer.scheme());
            assert_eq!(chosen, (kind == TokenKeyKind::P384).then_some(SignatureScheme::ECDSA_NISTP384_SHA384));
        }
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        assert!(TokenKey::of(Arc::clone(&uri), &pair.subject_public_key_info()).unwrap_err().contains("neither"));
        let small = super::super::der::rsa_public_key(&[0xff; 128], &[1, 0, 1]);
        assert_eq!(TokenKey::of(Arc::clone(&uri), &small).unwrap_err(), "an RSA key of 1024 bits");
        assert!(TokenKey::of(uri, b"\x30\x00").is_err());
    }
}
