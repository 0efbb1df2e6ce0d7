//! A PEM file: read within bounds and sorted by what it holds.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_pemfile::{Item, read_one_from_slice};

use super::der::{self, Content};
use super::form::{self, Label};
use super::label;
use super::problems::{Damage, Denied, Der, Encoding, FileFault, Foreign, Holds, Layout};
use crate::regular::{self, Other, Unread};
use crate::secret::Secret;

/// Past this many bytes a file is no credential file: a bundle of every public CA is a quarter of it.
const MAX_FILE: u64 = 1024 * 1024;

/// What was found in a file.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) keys: Vec<PrivateKeyDer<'static>>,
    /// Permission bits.
    pub(super) mode: u32,
    /// The first section that is neither certificate nor plain key.
    other: Option<Holds>,
    /// How many sections there are that aren't beside the point.
    pub(super) sections: usize,
}

impl Contents {
    /// Whether the file holds one thing only.
    pub(super) fn is_alone(&self) -> bool {
        self.sections == 1
    }

    /// What else it holds, for advice that costs nothing of the file.
    fn holds(&self, other: Holds) -> FileFault {
        if self.is_alone() { FileFault::Holds(other) } else { FileFault::HoldsAmong(other) }
    }

    /// The permission bits of the file if a private key is in it.
    pub(super) fn key_mode(&self) -> Option<u32> {
        (!self.keys.is_empty()).then_some(self.mode)
    }

    /// Why there is no certificate.
    pub(super) fn instead_of_certificates(&self) -> FileFault {
        match (self.keys.is_empty(), self.other) {
            (false, _) => FileFault::Holds(Holds::Key),
            (true, Some(other)) => self.holds(other),
            (true, None) => FileFault::Foreign(Foreign::Text),
        }
    }

    /// Why there is no private key.
    pub(super) fn instead_of_key(&self) -> FileFault {
        match (self.other, self.certificates.is_empty()) {
            (Some(other), _) => self.holds(other),
            (None, false) => FileFault::Holds(Holds::Certificate),
            (None, true) => FileFault::Foreign(Foreign::Text),
        }
    }
}

/// Reads `path` and takes it apart.
pub(super) fn read(path: &Path) -> Result<Contents, FileFault> {
    let (bytes, mode) = read_bounded(path).map_err(|error| unreadable(path, error))??;
    contents(bytes.expose(), mode)
}

/// What a file holds, and its permission bits.
type Bytes = (Secret<Vec<u8>>, u32);

/// The bytes of a regular file and its mode; the outer error is the operating system's.
fn read_bounded(path: &Path) -> io::Result<Result<Bytes, FileFault>> {
    let mode = path.metadata()?.permissions().mode() & 0o7777;
    Ok(match regular::read(path, MAX_FILE) {
        Ok(bytes) => Ok((Secret::new(bytes), mode)),
        Err(Unread::Io(error)) => return Err(error),
        Err(Unread::Other(Other::Directory)) => Err(FileFault::Directory),
        Err(Unread::Other(_)) => Err(FileFault::NotRegular),
        Err(Unread::TooLarge) => Err(FileFault::TooLarge { limit: MAX_FILE }),
    })
}

fn unreadable(path: &Path, error: io::Error) -> FileFault {
    match error.kind() {
        ErrorKind::NotFound => {
            let gone = path.ancestors().skip(1).take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).last();
            FileFault::Missing { directory: gone.map(Path::to_owned) }
        }
        ErrorKind::PermissionDenied => denied(path).map_or(FileFault::Io(error.kind()), FileFault::Denied),
        kind => FileFault::Io(kind),
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

/// Takes the bytes of a file apart.
pub(super) fn contents(bytes: &[u8], mode: u32) -> Result<Contents, FileFault> {
    // Windows' editors begin a file with it; it is no part of the text.
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if text.trim_ascii().is_empty() {
        return Err(FileFault::Empty);
    }
    if let Some(encoding) = utf16(text) {
        return Err(FileFault::Utf16(encoding));
    }
    // JSON is text whose lines can't be mended in place: other parts of it are needed, too.
    if text.trim_ascii_start().starts_with(b"{") {
        return Err(FileFault::Foreign(Foreign::Json));
    }
    if !form::has_marker(text) {
        return Err(without_sections(text));
    }
    let sections = form::sections(text)?;
    if sections.is_empty() && form::is_commented_out(text) {
        return Err(FileFault::Layout(Layout::CommentedOut));
    }
    let other = sections.iter().find_map(|section| match section.label {
        Label::Other(holds) => Some(holds),
        _ => None,
    });
    label::check(&sections)?;
    let count = sections.iter().filter(|section| section.label != Label::Unknown).count();
    let mut contents = Contents { certificates: Vec::new(), keys: Vec::new(), mode, other, sections: count };
    let mut rest = text;
    // What was looked at above has nothing left that this could complain about, but for a key that is encrypted in place.
    let unparsed = other.map_or(FileFault::Damaged(Damage::NotDer), |other| contents.holds(other));
    while let Some((item, after)) = read_one_from_slice(rest).map_err(|_| unparsed.clone())? {
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

/// Text in UTF-16, as `>` in Windows PowerShell writes it: every other byte is zero.
fn utf16(bytes: &[u8]) -> Option<Encoding> {
    match bytes {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Some(Encoding::Utf16),
        [b'-', 0, b'-', 0, ..] => Some(Encoding::Utf16Le),
        [0, b'-', 0, b'-', ..] => Some(Encoding::Utf16Be),
        _ => None,
    }
}

/// What a file is in which no section begins or ends.
fn without_sections(bytes: &[u8]) -> FileFault {
    let begins = |start: &[u8]| bytes.trim_ascii_start().starts_with(start);
    let lower = bytes[..bytes.len().min(512)].to_ascii_lowercase();
    let has = |part: &[u8]| memchr::memmem::find(&lower, part).is_some();
    if let Some(content) = der::content(bytes) {
        return of_der(content, FileFault::Der);
    }
    let foreign = match () {
        () if bytes.starts_with(b"\xFE\xED\xFE\xED") || bytes.starts_with(b"\xCE\xCE\xCE\xCE") => Foreign::JavaKeyStore,
        () if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\x1F\x8B") => Foreign::Archive,
        () if has(b"<html") || has(b"<!doctype") || has(b"<?xml") || has(b"<head") => Foreign::WebPage,
        () if begins(b"PuTTY-User-Key-File") => return FileFault::Holds(Holds::OpenSshKey),
        () if begins(b"ssh-") || begins(b"ecdsa-sha2-") => return FileFault::Holds(Holds::PublicKey),
        () if form::has_broken_marker(bytes) => return FileFault::Damaged(Damage::Dashes),
        () if begins(b"[") => Foreign::Json,
        () if bytes.first() == Some(&0x30) && bytes.contains(&0) => return FileFault::Damaged(Damage::Binary),
        () if begins(b"LS0tLS1") && form::bare_base64(bytes).is_some() => Foreign::Base64OfPem,
        () => match form::bare_base64(bytes).and_then(|der| der::content(&der)) {
            Some(content) => return of_der(content, FileFault::BareBase64),
            None => Foreign::Text,
        },
    };
    FileFault::Foreign(foreign)
}

/// What is right but for its form is that, all else is in the wrong place.
fn of_der(content: Content, form: fn(Der) -> FileFault) -> FileFault {
    match content {
        Content::Certificate => form(Der::Certificate),
        Content::Key(_) => form(Der::Key),
        Content::EncryptedKey => form(Der::EncryptedKey),
        Content::Pkcs12 => form(Der::Pkcs12),
        Content::Pkcs7 => form(Der::Pkcs7),
        Content::Request => FileFault::Holds(Holds::Request),
        Content::PublicKey => FileFault::Holds(Holds::PublicKey),
    }
}
