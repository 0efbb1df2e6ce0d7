//! The private key: exactly one, of a kind that ring can use and IoT Core accepts.

use std::path::Path;
use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::crypto::ring::{self, sign::any_supported_type};
use rustls::sign::SigningKey;

use super::der::{self, KeyKind};
use super::pem;
use super::problems::{Damage, FileFault, Unsupported};
use super::{Chain, parsed};
use crate::pkcs11::{TlsKey, TokenKey, Uri};

/// A private key, ready to sign.
pub(super) struct Key {
    pub(super) signing: Arc<dyn SigningKey>,
    /// Permission bits of its file.
    pub(super) mode: u32,
}

pub(super) fn read(path: &Path) -> Result<Key, FileFault> {
    of(pem::read(path)?)
}

/// The key of a chain's first certificate, where `uri` says that it is in a token. The token isn't asked.
pub(super) fn in_token(uri: &Arc<Uri>, chain: &Chain) -> Result<(Key, Arc<TokenKey>), FileFault> {
    let certificate = parsed(0, &chain.certificates[0])?;
    let key = TokenKey::of(Arc::clone(uri), certificate.public_key().raw).map_err(FileFault::NotForToken)?;
    let key = Arc::new(key);
    Ok((Key { signing: Arc::new(TlsKey(Arc::clone(&key))), mode: 0 }, key))
}

/// The one key among `contents`.
pub(super) fn of(mut contents: pem::Contents) -> Result<Key, FileFault> {
    let Some(der) = contents.keys.pop() else {
        return Err(contents.instead_of_key());
    };
    if !contents.keys.is_empty() {
        return Err(FileFault::SeveralKeys(contents.keys.len() + 1));
    }
    match any_supported_type(&der) {
        Ok(signing) if signing.algorithm() != SignatureAlgorithm::ED25519 => match can_sign(&*signing) {
            true => Ok(Key { signing, mode: contents.mode }),
            false => Err(FileFault::Damaged(Damage::Numbers)),
        },
        // What they say of it is for programmers, and nobody has promised that it holds nothing of the key.
        Ok(_) | Err(_) => Err(why_not(der::key(der.secret_der()), contents.is_alone())),
    }
}

/// Whether the key signs: some of its numbers aren't looked at before, and a server would only say that the signature is wrong.
fn can_sign(key: &dyn SigningKey) -> bool {
    let schemes = ring::default_provider().signature_verification_algorithms.supported_schemes();
    key.choose_scheme(&schemes).is_some_and(|signer| signer.sign(b"gatewire").is_ok())
}

/// The sizes of RSA keys that ring signs with.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Why a key of this kind can't be used.
fn why_not(kind: KeyKind, is_alone: bool) -> FileFault {
    match kind {
        KeyKind::Rsa { bits, .. } if !RSA_BITS.contains(&bits) => {
            FileFault::UnsupportedKey(Unsupported::RsaSize { bits })
        }
        KeyKind::Rsa { is_exponent_small: true, .. } => FileFault::UnsupportedKey(Unsupported::RsaExponent),
        KeyKind::Ec { has_public_half: false } => FileFault::UnsupportedKey(Unsupported::NoPublicHalf { is_alone }),
        KeyKind::OtherCurve => FileFault::UnsupportedKey(Unsupported::Curve),
        KeyKind::Other(name) => FileFault::UnsupportedKey(Unsupported::Kind(name)),
        KeyKind::Rsa { .. } | KeyKind::Ec { .. } => FileFault::Damaged(Damage::Numbers),
        KeyKind::Unknown => FileFault::Damaged(Damage::Key),
    }
}
