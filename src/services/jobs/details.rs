//! What is said of an execution beside its status: `statusDetails`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::printable::printable;

/// The most pairs.
const MAX_PAIRS: usize = 10;

/// The most characters of a key, and of a value ("statusDetails", AWS IoT API reference).
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 1024;

/// The key that the certificate rotator wants in each update of its jobs: it gives no certificate without.
pub(crate) const CERTIFICATE_ROTATOR: &str = "CertificateRotator";

/// Pairs that AWS takes: at most 10, keys of `[a-zA-Z0-9:_-]{1,128}`, values of 1 to 1024 characters that can be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Details(BTreeMap<String, String>);

impl Details {
    /// Adds or replaces a pair, as far as AWS takes it: a value is cut to its first characters, those that can't be shown are written
    /// as JSON would, and an empty one is left out, as is a pair that is one too many.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-');
        let has_room = self.0.len() < MAX_PAIRS || self.0.contains_key(key);
        if value.is_empty() || key.is_empty() || key.len() > MAX_KEY || !key.chars().all(is_key) || !has_room {
            return;
        }
        self.0.insert(key.to_owned(), taken_text(value));
    }

    /// The same with a pair.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Details {
        self.set(key, value);
        self
    }

    /// What can't be left out, where AWS refuses them.
    pub(super) fn bare(mut self) -> Details {
        self.0.retain(|key, _| key == CERTIFICATE_ROTATOR);
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

/// The first 1024 characters of a text, without any of Unicode's category C: AWS refuses those, here and in the reason of a command's
/// status.
pub(crate) fn taken_text(text: &str) -> String {
    printable(text).chars().take(MAX_VALUE).map(|c| if is_other(c) { '\u{fffd}' } else { c }).collect()
}

/// Whether a character is of Unicode's category C: also what is for private use, and what isn't assigned to anything.
fn is_other(c: char) -> bool {
    use unicode_general_category::{GeneralCategory, get_general_category};
    matches!(
        get_general_category(c),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::PrivateUse
            | GeneralCategory::Surrogate
            | GeneralCategory::Unassigned
    )
}
