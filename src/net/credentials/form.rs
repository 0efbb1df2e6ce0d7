//! The form of a PEM file (RFC 7468): what people and programs do to it on the way here, told before it is parsed.
//!
//! What is said of it has no room for what the file holds.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::der;
use super::problems::{Damage, FileFault, Holds, Layout};
use crate::secret::Secret;

/// Base64 as openssl writes it, with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a section is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    Certificate,
    Key,
    /// Neither a certificate nor a key as it is needed.
    Other(Holds),
    /// Beside the point, as the parameters of a curve are.
    Unknown,
}

/// A section that is as it should be.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) label: Label,
    /// The label as it stands there, if it is one that is known.
    pub(super) name: Option<&'static str>,
    /// Empty where it isn't Base64, and needn't be.
    pub(super) der: Secret<Vec<u8>>,
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

/// The sections of `text`, which holds at least one begin or end.
///
/// # Errors
/// The first thing that is wrong with its form.
pub(super) fn sections(text: &[u8]) -> Result<Vec<Section>, FileFault> {
    let mut sections = Vec::new();
    let mut open: Option<OpenSection> = None;
    for (index, line) in lines(text).enumerate() {
        let number = index + 1;
        match (marker(line)?, &mut open) {
            (None, Some(section)) => section.add(line, number)?,
            (None, None) => {}
            (Some(Marker::Begin(_)), Some(_)) => return Err(FileFault::Damaged(Damage::NoEnd)),
            (Some(Marker::Begin(name)), open @ None) => *open = Some(OpenSection::new(name)),
            (Some(Marker::End(_)), None) => return Err(FileFault::Damaged(Damage::NoBegin)),
            (Some(Marker::End(name)), Some(section)) if name != section.name => {
                return Err(FileFault::Damaged(Damage::OtherEnd));
            }
            (Some(Marker::End(_)), open) => sections.extend(open.take().map(OpenSection::close).transpose()?),
        }
    }
    if open.is_some() {
        return Err(FileFault::Damaged(Damage::NoEnd));
    }
    Ok(sections)
}

/// Whether there is a begin or an end of a section, in whatever state.
pub(super) fn has_marker(text: &[u8]) -> bool {
    holds(text, b"-----BEGIN") || holds(text, b"-----END")
}

/// A begin whose dashes went lost on the way, or were made into others.
pub(super) fn has_broken_marker(text: &[u8]) -> bool {
    let text = text.to_ascii_uppercase();
    let begin = |what: &[u8]| holds(&text, &[b"BEGIN ", what].concat());
    [&b"CERTIFICATE"[..], b"PRIVATE KEY", b"RSA PRIVATE", b"EC PRIVATE"].into_iter().any(begin)
}

/// Base64 without the lines around it, as DER.
pub(super) fn bare_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(text).ok().filter(|der| der.len() > 30)
}

/// Whether a section begins in a comment.
pub(super) fn is_commented_out(text: &[u8]) -> bool {
    let without = |line: &'_ [u8]| -> bool {
        let line = line.trim_ascii();
        let signs = line.iter().take_while(|byte| **byte == b'#').count();
        signs > 0 && line[signs..].trim_ascii().starts_with(BEGIN)
    };
    lines(text).any(without)
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    // CR LF makes an empty line more, which nothing counts but the number of lines.
    let has_lf = text.contains(&b'\n');
    text.split(move |byte| *byte == b'\n' || (*byte == b'\r' && !has_lf))
}

enum Marker<'a> {
    Begin(&'a [u8]),
    End(&'a [u8]),
}

/// `line` as the begin or the end of a section; `None` if it is neither.
fn marker(line: &[u8]) -> Result<Option<Marker<'_>>, FileFault> {
    let text = line.trim_ascii();
    if text.starts_with(b"#") || !has_marker(text) {
        return Ok(None);
    }
    let name = |start: &[u8]| {
        let name = text.strip_prefix(start)?.strip_suffix(b"-----")?;
        name.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ').then_some(name)
    };
    match (name(BEGIN), name(END)) {
        (Some(_), _) | (_, Some(_)) if line[0].is_ascii_whitespace() => Err(FileFault::Layout(Layout::Indented)),
        (Some(name), _) => Ok(Some(Marker::Begin(name))),
        (_, Some(name)) => Ok(Some(Marker::End(name))),
        (None, None) => Err(crowded(text)),
    }
}

/// What is wrong with a line that holds more than a begin or an end, or less.
fn crowded(text: &[u8]) -> FileFault {
    let is_dashes_alone = |start: &[u8]| {
        let Some(rest) = text.strip_prefix(start).map(<[u8]>::trim_ascii_end) else { return false };
        let name = rest.iter().rposition(|byte| *byte != b'-').map_or(rest, |end| &rest[..=end]);
        name.len() <= 30 && name.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b' ')
    };
    if holds(text, b"\\n") || holds(text, b"\\r") {
        return FileFault::Layout(Layout::Escaped);
    }
    if text.iter().any(|byte| b"\"'`,;>|".contains(byte)) {
        return FileFault::Layout(Layout::Quoted);
    }
    if is_dashes_alone(b"-----BEGIN") || is_dashes_alone(b"-----END") {
        return FileFault::Damaged(Damage::Dashes);
    }
    let is_spaced = text.windows(6).any(|window| window == b"----- " || window == b" -----")
        || text.windows(6).any(|window| window == b"-----\t" || window == b"\t-----");
    FileFault::Layout(if is_spaced { Layout::Spaces } else { Layout::Glued })
}

/// A section whose end hasn't come yet.
struct OpenSection<'a> {
    name: &'a [u8],
    base64: Secret<Vec<u8>>,
    is_encrypted: bool,
}

impl<'a> OpenSection<'a> {
    fn new(name: &'a [u8]) -> OpenSection<'a> {
        OpenSection { name, base64: Secret::new(Vec::new()), is_encrypted: false }
    }

    /// One more line of it, the `number`th of the file.
    fn add(&mut self, line: &[u8], number: usize) -> Result<(), FileFault> {
        // Of openssl's own way to encrypt (RFC 1421).
        if line.starts_with(b"Proc-Type:") || line.starts_with(b"DEK-Info:") {
            self.is_encrypted = true;
            return Ok(());
        }
        let known = label(self.name);
        for byte in line.iter().copied().filter(|byte| !byte.is_ascii_whitespace()) {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'=' => self.base64.expose_mut().push(byte),
                _ if known == Label::Unknown || self.is_encrypted => {}
                b'\\' => return Err(FileFault::Layout(Layout::Escaped)),
                b'"' | b'\'' | b',' | b'`' | b'>' | b'|' => return Err(FileFault::Layout(Layout::Quoted)),
                _ => return Err(FileFault::Damaged(Damage::NotBase64 { line: number })),
            }
        }
        Ok(())
    }

    fn close(self) -> Result<Section, FileFault> {
        let (label, name) = (label(self.name), known(self.name));
        let section = |label, der| Ok(Section { label, name, der: Secret::new(der) });
        if self.is_encrypted {
            return section(Label::Other(Holds::EncryptedKey), Vec::new());
        }
        let base64 = self.base64.expose();
        if !matches!(label, Label::Certificate | Label::Key) {
            return section(label, BASE64.decode(base64).unwrap_or_default());
        }
        if base64.is_empty() {
            return Err(FileFault::Damaged(Damage::Nothing));
        }
        let decoded = BASE64.decode(base64).map_err(|_| FileFault::Damaged(Damage::Incomplete))?;
        match der::whole(&decoded) {
            der::Whole::Yes => section(label, decoded),
            der::Whole::TooShort => Err(FileFault::Damaged(Damage::Incomplete)),
            der::Whole::TooLong => Err(FileFault::Damaged(Damage::TooLong)),
            der::Whole::NotDer => Err(FileFault::Damaged(Damage::NotDer)),
        }
    }
}

/// The name of a section, if it is one that programs write.
fn known(name: &[u8]) -> Option<&'static str> {
    const NAMES: [&str; 16] = [
        "CERTIFICATE",
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "EC PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "PUBLIC KEY",
        "RSA PUBLIC KEY",
        "CERTIFICATE REQUEST",
        "NEW CERTIFICATE REQUEST",
        "OPENSSH PRIVATE KEY",
        "DSA PRIVATE KEY",
        "TRUSTED CERTIFICATE",
        "X509 CERTIFICATE",
        "PKCS7",
        "CMS",
        "X509 CRL",
    ];
    NAMES.into_iter().find(|known| known.as_bytes() == name.trim_ascii())
}

/// What the name of a section means.
fn label(name: &[u8]) -> Label {
    match name.trim_ascii() {
        b"CERTIFICATE" => Label::Certificate,
        b"PRIVATE KEY" | b"RSA PRIVATE KEY" | b"EC PRIVATE KEY" => Label::Key,
        b"ENCRYPTED PRIVATE KEY" => Label::Other(Holds::EncryptedKey),
        b"PUBLIC KEY" | b"RSA PUBLIC KEY" => Label::Other(Holds::PublicKey),
        b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST" => Label::Other(Holds::Request),
        b"OPENSSH PRIVATE KEY" => Label::Other(Holds::OpenSshKey),
        b"DSA PRIVATE KEY" => Label::Other(Holds::DsaKey),
        b"TRUSTED CERTIFICATE" | b"X509 CERTIFICATE" => Label::Other(Holds::TrustedCertificate),
        b"PKCS7" | b"CMS" => Label::Other(Holds::Pkcs7),
        b"X509 CRL" => Label::Other(Holds::RevocationList),
        name if name.starts_with(b"PGP") => Label::Other(Holds::Pgp),
        _ => Label::Unknown,
    }
}
