//! Sections that are called otherwise than what they hold. Of the file only that is told, and never what its label says if that is none
//! of those that are known.

use super::der::{self, Content};
use super::form::{Label, Section};
use super::problems::{Actual, FileFault, Holds, Mislabelled};

/// What a section holds, whatever it is called.
fn actual(der: &[u8]) -> Option<Actual> {
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

/// Finds the first section that is called otherwise than what it holds.
///
/// # Errors
/// That, or a key that is encrypted, and called one that isn't.
pub(super) fn check(sections: &[Section]) -> Result<(), FileFault> {
    let is_usable = |section: &Section| matches!(section.label, Label::Certificate | Label::Key);
    let has_usable = sections.iter().any(is_usable);
    let is_alone = sections.len() == 1;
    for section in sections.iter().filter(|section| is_usable(section) || !has_usable) {
        let Some(holds) = actual(section.der.expose()) else { continue };
        let is_right = match (section.label, holds) {
            (Label::Key, Actual::EncryptedKey) if is_alone => return Err(FileFault::Holds(Holds::EncryptedKey)),
            (Label::Key, Actual::EncryptedKey) => return Err(FileFault::HoldsAmong(Holds::EncryptedKey)),
            (Label::Other(Holds::TrustedCertificate), Actual::Certificate) => true,
            (Label::Other(Holds::Request), Actual::Request) => true,
            (Label::Other(Holds::PublicKey), Actual::PublicKey) => true,
            (Label::Other(Holds::Pkcs7), Actual::Pkcs7) => true,
            _ => holds.label() == section.name,
        };
        if !is_right {
            return Err(FileFault::Mislabelled(Mislabelled { label: section.name, holds, is_alone }));
        }
    }
    Ok(())
}
