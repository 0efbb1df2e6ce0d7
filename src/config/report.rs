//! Everything that is wrong with a configuration, each with its place.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use thiserror::Error;

use super::Tls;
use super::places::{Place, Places};
use super::redact::without_secrets;
use crate::printable::printable;

/// Something to be said about a place: `FILE:LINE: text`, one line whatever the file holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Remark {
    place: Place,
    text: String,
}

impl Remark {
    fn new(place: &Place, text: &str) -> Remark {
        // Names and values come from the file.
        Remark { place: place.clone(), text: shortened(&printable(&without_secrets(text))) }
    }
}

/// Without the middle of a word, or of it all, that is too long to be read.
fn shortened(text: &str) -> String {
    const WORD: usize = 300;
    const ALL: usize = 2000;
    let cut = |text: &str, most: usize| {
        let length = text.chars().count();
        if length <= most {
            return text.to_owned();
        }
        let start: String = text.chars().take(most / 2).collect();
        let end: String = text.chars().skip(length - most / 3).collect();
        format!("{start}[...]{end}")
    };
    let words: Vec<String> = text.split(' ').map(|word| cut(word, WORD)).collect();
    cut(&words.join(" "), ALL)
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Why there is no configuration: everything that is wrong with it.
#[derive(Debug, Error)]
#[error("{}", lines(errors))]
pub(crate) struct ConfigErrors {
    /// In the order of files and lines.
    pub(crate) errors: Vec<Remark>,
    pub(crate) warnings: Vec<Remark>,
    /// `[tls]`, if nothing is wrong there, and where its keys stand: its files can be looked at all the same.
    pub(crate) tls: Option<Box<(Tls, Places)>>,
    /// The socket of `[status]`, if nothing is wrong there: the daemon that runs can be asked all the same.
    pub(crate) status_socket: Option<PathBuf>,
}

fn lines(remarks: &[Remark]) -> String {
    remarks.iter().map(Remark::to_string).collect::<Vec<_>>().join("\n")
}

/// Collects remarks while a configuration is read.
#[derive(Debug, Default)]
pub(super) struct Report {
    errors: RefCell<Vec<Remark>>,
    warnings: RefCell<Vec<Remark>>,
    /// What couldn't be read, and who knows what it holds: lines of the file with that number.
    unread: RefCell<Vec<(usize, Range<usize>)>>,
    /// Keys that are there, but not in their section.
    misplaced: RefCell<BTreeSet<String>>,
}

impl Report {
    /// What seems to be wrong on a line that couldn't be read follows from that, and isn't told.
    pub(super) fn error(&self, place: &Place, text: &str) {
        if !self.is_unread(place) {
            self.errors.borrow_mut().push(Remark::new(place, text));
        }
    }

    fn is_unread(&self, place: &Place) -> bool {
        self.unread.borrow().iter().any(|(order, lines)| *order == place.order && lines.contains(&place.line))
    }

    /// A file that can't be read, or text that isn't TOML, and the lines whose meaning nobody knows because of it. What seems to
    /// be missing afterwards may stand in them.
    /// Nothing is said with no words: then it was said elsewhere.
    pub(super) fn unread(&self, place: &Place, text: &str, lines: Range<usize>) {
        if !text.is_empty() {
            self.errors.borrow_mut().push(Remark::new(place, text));
        }
        self.unread.borrow_mut().push((place.order, lines));
    }

    /// A key that stands where it doesn't belong.
    pub(super) fn misplaced(&self, place: &Place, key: &str, text: &str) {
        self.error(place, text);
        self.misplaced.borrow_mut().insert(key.to_owned());
    }

    /// Keys of a section whose name is wrong.
    pub(super) fn meant_elsewhere<'a>(&self, keys: impl IntoIterator<Item = &'a str>) {
        self.misplaced.borrow_mut().extend(keys.into_iter().map(str::to_owned));
    }

    /// Whether this key stands where it doesn't belong.
    pub(super) fn is_misplaced(&self, key: &str) -> bool {
        self.misplaced.borrow().contains(key)
    }

    /// A key that should be there isn't.
    pub(super) fn missing(&self, place: &Place, key: &str, text: &str) {
        if self.is_complete() && !self.is_misplaced(key) {
            self.error(place, text);
        }
    }

    pub(super) fn warning(&self, place: &Place, text: &str) {
        if !self.is_unread(place) {
            self.warnings.borrow_mut().push(Remark::new(place, &format!("warning: {text}")));
        }
    }

    /// Whether everything could be read.
    pub(super) fn is_complete(&self) -> bool {
        self.unread.borrow().is_empty()
    }

    /// How many errors there are so far.
    pub(super) fn error_count(&self) -> usize {
        self.errors.borrow().len()
    }

    /// Errors and warnings, each in the order of files and lines.
    pub(super) fn finish(self) -> (Vec<Remark>, Vec<Remark>) {
        let (mut errors, mut warnings) = (self.errors.into_inner(), self.warnings.into_inner());
        errors.sort();
        errors.dedup();
        warnings.sort();
        (errors, warnings)
    }
}
