//! A PEM file: read within bounds and sorted by what it holds.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_pemfile::{Error, Item, read_one_from_slice};

use super::problems::{Denied, Der, Fault, Holds};
use crate::regular::{self, Other, Unread};

/// Past this many bytes a file is no credential file: a bundle of every public CA is a quarter of it.
const MAX_FILE: u64 = 1024 * 1024;

/// What was found in a file.
pub(super) struct Contents {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) keys: Vec<PrivateKeyDer<'static>>,
    /// Permission bits.
    pub(super) mode: u32,
    /// The first section that is neither certificate nor plain key.
    other: Option<Holds>,
}

impl Contents {
    /// Why there is no certificate.
    pub(super) fn instead_of_certificates(&self) -> Fault {
        match (self.keys.is_empty(), self.other) {
            (false, _) => Fault::Holds(Holds::Key),
            (true, Some(other)) => Fault::Holds(other),
            (true, None) => Fault::NoPem,
        }
    }

    /// Why there is no private key.
    pub(super) fn instead_of_key(&self) -> Fault {
        match (self.other, self.certificates.is_empty()) {
            (Some(other), _) => Fault::Holds(other),
            (None, false) => Fault::Holds(Holds::Certificate),
            (None, true) => Fault::NoPem,
        }
    }
}

/// Reads `path` and takes it apart.
pub(super) fn read(path: &Path) -> Result<Contents, Fault> {
    let (bytes, mode) = read_bounded(path).map_err(|error| unreadable(path, error))??;
    if bytes.is_empty() {
        return Err(Fault::Empty);
    }
    sections(&bytes, mode)
}

/// The bytes of a regular file and its mode; the outer error is the operating system's.
fn read_bounded(path: &Path) -> io::Result<Result<(Vec<u8>, u32), Fault>> {
    let mode = path.metadata()?.permissions().mode() & 0o7777;
    Ok(match regular::read(path, MAX_FILE) {
        Ok(bytes) => Ok((bytes, mode)),
        Err(Unread::Io(error)) => return Err(error),
        Err(Unread::Other(Other::Directory)) => Err(Fault::Directory),
        Err(Unread::Other(_)) => Err(Fault::NotRegular),
        Err(Unread::TooLarge) => Err(Fault::TooLarge { limit: MAX_FILE }),
    })
}

fn unreadable(path: &Path, error: io::Error) -> Fault {
    match error.kind() {
        ErrorKind::NotFound => {
            let gone = path.ancestors().skip(1).take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).last();
            Fault::Missing { directory: gone.map(Path::to_owned) }
        }
        ErrorKind::PermissionDenied => denied(path).map_or(Fault::Io(error.kind()), Fault::Denied),
        kind => Fault::Io(kind),
    }
}

/// The file, or the first directory on the way to it that this process may not pass.
fn denied(path: &Path) -> Option<Denied> {
    let (blocked, metadata) = path.ancestors().find_map(|part| Some((part, part.metadata().ok()?)))?;
    let user = nix::unistd::geteuid();
    Some(Denied {
        directory: (blocked != path).then(|| blocked.to_owned()),
        user: user_name(user.as_raw()),
        owner: user_name(metadata.uid()),
        group: group_name(metadata.gid()),
        mode: metadata.mode() & 0o7777,
    })
}

fn user_name(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(uid.into());
    user.ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

fn group_name(gid: u32) -> String {
    let group = nix::unistd::Group::from_gid(gid.into());
    group.ok().flatten().map_or_else(|| gid.to_string(), |group| group.name)
}

fn sections(bytes: &[u8], mode: u32) -> Result<Contents, Fault> {
    let labels = || bytes.split(|byte| *byte == b'\n').filter_map(label);
    if labels().next().is_none() {
        return Err(der(bytes).map_or(Fault::NoPem, Fault::Der));
    }
    // The body of such a key isn't base64 alone, so look before it is taken for damaged.
    if bytes.windows(OLD_ENCRYPTION.len()).any(|window| window == OLD_ENCRYPTION) {
        return Err(Fault::Holds(Holds::EncryptedKey));
    }
    let mut contents =
        Contents { certificates: Vec::new(), keys: Vec::new(), mode, other: labels().find_map(other_than_plain) };
    let mut rest = bytes;
    while let Some((item, after)) = read_one_from_slice(rest).map_err(damage)? {
        rest = after;
        match item {
            Item::X509Certificate(certificate) => contents.certificates.push(certificate),
            Item::Pkcs1Key(key) => contents.keys.push(key.into()),
            Item::Pkcs8Key(key) => contents.keys.push(key.into()),
            Item::Sec1Key(key) => contents.keys.push(key.into()),
            _ => {}
        }
    }
    Ok(contents)
}

/// How openssl encrypted PKCS#1 and SEC1 keys (RFC 1421).
const OLD_ENCRYPTION: &[u8] = b"Proc-Type: 4,ENCRYPTED";

/// The label of a line that begins a PEM section.
fn label(line: &[u8]) -> Option<&[u8]> {
    line.trim_ascii().strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")
}

fn other_than_plain(label: &[u8]) -> Option<Holds> {
    match label {
        b"ENCRYPTED PRIVATE KEY" => Some(Holds::EncryptedKey),
        b"PUBLIC KEY" | b"RSA PUBLIC KEY" => Some(Holds::PublicKey),
        b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST" => Some(Holds::Request),
        b"OPENSSH PRIVATE KEY" => Some(Holds::OpenSshKey),
        b"TRUSTED CERTIFICATE" => Some(Holds::TrustedCertificate),
        b"PKCS7" => Some(Holds::Pkcs7),
        _ => None,
    }
}

/// Tells binary DER from other files by its first bytes: a SEQUENCE with a long length (X.690, 8.1), and in it an INTEGER
/// (a key's version 0 or 1, PKCS#12's version 3) or a SEQUENCE (a certificate's body).
fn der(bytes: &[u8]) -> Option<Der> {
    let content = match bytes {
        [0x30, 0x82, _, _, content @ ..] | [0x30, 0x81, _, content @ ..] => content,
        // Short keys: the length is below 128.
        [0x30, length, content @ ..] if usize::from(*length) == content.len() => content,
        _ => return None,
    };
    match content {
        [0x02, 0x01, 0x03, ..] => Some(Der::Pkcs12),
        [0x02, 0x01, 0x00 | 0x01, ..] => Some(Der::Key),
        [0x30, ..] => Some(Der::Certificate),
        _ => None,
    }
}

fn damage(error: Error) -> Fault {
    Fault::Damaged(match error {
        Error::MissingSectionEnd { end_marker } => {
            format!("the line -----END {}----- is missing", String::from_utf8_lossy(&end_marker))
        }
        Error::IllegalSectionStart { line } => format!("the line {:?} is malformed", String::from_utf8_lossy(&line)),
        Error::Base64Decode(_) => "what is between BEGIN and END isn't base64".to_owned(),
    })
}
