//! What the daemon and its `gatewire signer` say to each other over pipes: frames, each a length (4 bytes, the most significant
//! first) and as many bytes of JSON.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fault::Pkcs11Fault;
use super::mark::PinMark;
use super::refused::Notes;
use super::step::Step;
use super::uri::{Key, Library, Slot, Token, Uri};

/// No frame has more bytes: what is longer isn't one.
pub(super) const MAX_FRAME: usize = 64 * 1024;

/// Bytes of the length.
const HEAD: usize = 4;

/// What the signer is asked; the only frame that it gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) module: PathBuf,
    pub(super) pin_file: Option<PathBuf>,
    pub(super) library: Library,
    pub(super) slot: Slot,
    pub(super) token: Token,
    pub(super) key: Key,
    /// Where tries of PINs are noted.
    pub(super) notes: Notes,
    /// What the token has refused: that PIN isn't tried.
    pub(super) refused: Option<PinMark>,
    /// What the token has taken: that PIN is tried even if there is only one try left.
    pub(super) accepted: Option<PinMark>,
    /// What is to be signed; `None`: the key is only looked for.
    pub(super) sign: Option<Sign>,
}

/// A digest to sign, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sign {
    pub(super) padding: Padding,
    pub(super) hash: Hash,
    pub(super) digest: Vec<u8>,
}

/// What becomes of a digest before it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Padding {
    /// Nothing: a key on an elliptic curve signs it as it is.
    Ecdsa,
    /// RSASSA-PKCS1-v1_5 (RFC 8017, 8.2).
    Pkcs1,
    /// RSASSA-PSS (RFC 8017, 8.1) with a salt as long as the digest, as TLS 1.3 has it.
    Pss,
}

/// How the digest was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// What the signer answers: a step at a time, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// What it is about to do.
    At(Step),
    Done(Box<Done>),
    Failed(Pkcs11Fault),
}

/// The key was found, and has signed if that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) found: TokenNames,
    /// SubjectPublicKeyInfo of RFC 5280 in DER, as far as the token tells.
    pub(super) public_key: Option<Vec<u8>>,
    /// As TLS has it.
    pub(super) signature: Option<Vec<u8>>,
    /// The PIN that the token has taken.
    pub(super) accepted: Option<PinMark>,
}

/// What module, token and key call themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenNames {
    pub(crate) library: String,
    pub(crate) token: String,
    pub(crate) key: String,
}

impl Request {
    pub(super) fn of(uri: &Uri, sign: Option<Sign>) -> Request {
        let Uri { module, pin_file, library, slot, token, key, .. } = uri.clone();
        let notes = Notes::of(uri);
        Request { module, pin_file, library, slot, token, key, notes, refused: None, accepted: None, sign }
    }
}

/// A frame of it.
pub(super) fn frame(content: &impl Serialize) -> Vec<u8> {
    let mut frame = vec![0; HEAD];
    serde_json::to_writer(&mut frame, content).expect("its keys are texts, and writing to memory can't fail");
    let length = u32::try_from(frame.len() - HEAD).expect("a URI has at most 4096 bytes, a signature fewer");
    frame[..HEAD].copy_from_slice(&length.to_be_bytes());
    frame
}

/// What isn't a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Garbage;

/// Takes the first whole frame out of `bytes`; `None`: more must come.
pub(super) fn take<T: DeserializeOwned>(bytes: &mut Vec<u8>) -> Result<Option<T>, Garbage> {
    let Some(length) = bytes.first_chunk::<HEAD>() else { return Ok(None) };
    let end = HEAD + u32::from_be_bytes(*length) as usize;
    if end > MAX_FRAME {
        return Err(Garbage);
    }
    if bytes.len() < end {
        return Ok(None);
    }
    let content = serde_json::from_slice(&bytes[HEAD..end]).map_err(|_| Garbage)?;
    bytes.drain(..end);
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        let uri = Uri::parse("pkcs11:token=a%20b;object=k;id=%00%FF?module-path=/m.so&pin-source=/pin", |path| {
            Ok(path.into())
        });
        let sign = Sign { padding: Padding::Pss, hash: Hash::Sha384, digest: vec![0; 48] };
        Request::of(&uri.unwrap(), Some(sign))
    }

    #[test]
    fn what_goes_in_comes_out_however_it_is_cut() {
        let found = TokenNames { token: "ü\n".to_owned(), ..TokenNames::default() };
        let done = Done { found, public_key: Some(vec![0, 255]), signature: None, accepted: None };
        let answers = [Answer::At(Step::Login), Answer::Done(Box::new(done)), Answer::Failed(Pkcs11Fault::PinLocked)];
        let bytes: Vec<u8> = answers.iter().flat_map(frame).collect();
        for cut in 0..bytes.len() {
            let (mut there, mut found) = (bytes[..cut].to_vec(), Vec::new());
            while let Some(answer) = take::<Answer>(&mut there).unwrap() {
                found.push(answer);
            }
            there.extend(&bytes[cut..]);
            while let Some(answer) = take::<Answer>(&mut there).unwrap() {
                found.push(answer);
            }
            assert_eq!((found.as_slice(), there.len()), (&answers[..], 0), "cut at {cut}");
        }
        let mut bytes = frame(&request());
        assert_eq!(take(&mut bytes), Ok(Some(request())));
    }

    #[test]
    fn garbage_is_told_before_much_is_read() {
        for garbage in [&b"module says hello\n"[..], &[0xff; 4], &[0, 0, 0, 2, b'{', b'x'], &[0, 0, 0, 0]] {
            assert_eq!(take::<Answer>(&mut garbage.to_vec()), Err(Garbage), "{garbage:?}");
        }
        assert_eq!(take::<Answer>(&mut vec![0, 0, 0]), Ok(None));
    }

    #[test]
    fn no_bytes_panic() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let whole = frame(&Answer::Failed(Pkcs11Fault::PinLocked));
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            let _ = (take::<Answer>(&mut bytes.clone()), take::<Request>(&mut bytes));
        }
        println!("seed {seed}");
    }
}
