//! Sections that are called otherwise than what they hold. Of the file only that is told, and never what its label says if that is none
//! of those that are known.

use std::fmt;
use std::path::Path;

use super::der::{self, Content};
use super::form::{Label, Section};
use super::mend::in_place;
use super::problems::{Fault, Holds, Role};
use crate::owner::quoted;

/// Its label isn't that of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mislabelled {
    /// `None`: nothing that is known.
    label: Option<&'static str>,
    holds: Actual,
    /// There is nothing else in the file.
    is_alone: bool,
}

/// What a section holds, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Actual {
    Certificate,
    Pkcs8,
    Pkcs1,
    Sec1,
    EncryptedKey,
    PublicKey,
    Request,
    Pkcs7,
    Pkcs12,
}

impl Actual {
    fn of(der: &[u8]) -> Option<Actual> {
        Some(match der::content(der)? {
            Content::Certificate => Actual::Certificate,
            Content::Key(_) => match der::form_of_key(der)? {
                der::KeyForm::Pkcs8 => Actual::Pkcs8,
                der::KeyForm::Pkcs1 => Actual::Pkcs1,
                der::KeyForm::Sec1 => Actual::Sec1,
            },
            Content::EncryptedKey => Actual::EncryptedKey,
            Content::PublicKey => Actual::PublicKey,
            Content::Request => Actual::Request,
            Content::Pkcs7 => Actual::Pkcs7,
            Content::Pkcs12 => Actual::Pkcs12,
        })
    }

    /// What it should be called; PKCS#12 isn't in PEM.
    fn label(self) -> Option<&'static str> {
        match self {
            Actual::Certificate => Some("CERTIFICATE"),
            Actual::Pkcs8 => Some("PRIVATE KEY"),
            Actual::Pkcs1 => Some("RSA PRIVATE KEY"),
            Actual::Sec1 => Some("EC PRIVATE KEY"),
            Actual::EncryptedKey => Some("ENCRYPTED PRIVATE KEY"),
            Actual::PublicKey => Some("PUBLIC KEY"),
            Actual::Request => Some("CERTIFICATE REQUEST"),
            Actual::Pkcs7 => Some("PKCS7"),
            Actual::Pkcs12 => None,
        }
    }

    fn article(self) -> &'static str {
        match self {
            Actual::Certificate => Holds::Certificate.article(),
            Actual::Pkcs8 => "a private key in PKCS#8",
            Actual::Pkcs1 => "an RSA private key in PKCS#1",
            Actual::Sec1 => "an EC private key in SEC1",
            Actual::EncryptedKey => Holds::EncryptedKey.article(),
            Actual::PublicKey => Holds::PublicKey.article(),
            Actual::Request => Holds::Request.article(),
            Actual::Pkcs7 => Holds::Pkcs7.article(),
            Actual::Pkcs12 => "PKCS#12",
        }
    }

    /// Whether what it holds is right there, or becomes it once it is called so and read again.
    fn is_wanted(self, role: Role) -> bool {
        match role {
            Role::Key => matches!(self, Actual::Pkcs8 | Actual::Pkcs1 | Actual::Sec1 | Actual::EncryptedKey),
            Role::Ca | Role::Certificate => matches!(self, Actual::Certificate | Actual::Pkcs7),
        }
    }
}

/// Finds the first section that is called otherwise than what it holds.
///
/// # Errors
/// That, or a key that is encrypted, and called one that isn't.
pub(super) fn check(sections: &[Section]) -> Result<(), Fault> {
    let is_usable = |section: &Section| matches!(section.label, Label::Certificate | Label::Key);
    let has_usable = sections.iter().any(is_usable);
    let is_alone = sections.len() == 1;
    for section in sections.iter().filter(|section| is_usable(section) || !has_usable) {
        let Some(holds) = Actual::of(section.der.expose()) else { continue };
        let is_right = match (section.label, holds) {
            (Label::Key, Actual::EncryptedKey) if is_alone => return Err(Fault::Holds(Holds::EncryptedKey)),
            (Label::Key, Actual::EncryptedKey) => return Err(Fault::HoldsAmong(Holds::EncryptedKey)),
            (Label::Other(Holds::TrustedCertificate), Actual::Certificate) => true,
            (Label::Other(Holds::Request), Actual::Request) => true,
            (Label::Other(Holds::PublicKey), Actual::PublicKey) => true,
            (Label::Other(Holds::Pkcs7), Actual::Pkcs7) => true,
            _ => holds.label() == section.name,
        };
        if !is_right {
            return Err(Fault::Mislabelled(Mislabelled { label: section.name, holds, is_alone }));
        }
    }
    Ok(())
}

impl Mislabelled {
    pub(super) fn explain(self, role: Role, path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holds = self.holds.article();
        match self.label {
            Some(label) => write!(f, "a section in it is called {label}, but holds {holds}. ")?,
            None => write!(f, "a section in it has a label that isn't known, and holds {holds}. ")?,
        }
        match (self.label, self.holds.label().filter(|_| self.holds.is_wanted(role))) {
            (Some(wrong), Some(right)) if self.is_alone => {
                let script = quoted(Path::new(&format!("s/ {wrong}-----/ {right}-----/")));
                let command = in_place(&format!("sed {script} {}", quoted(path)), path);
                write!(f, "Correct the label in both lines: {command}")
            }
            (_, Some(right)) => write!(f, "Call it {right} in its lines BEGIN and END"),
            (_, None) => f.write_str(&role.elsewhere()),
        }
    }
}
