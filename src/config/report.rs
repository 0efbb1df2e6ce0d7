//! Everything that is wrong with a configuration, each with its place.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use thiserror::Error;

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Its number in the order of reading.
    pub(super) order: usize,
    pub(super) file: Rc<Path>,
    /// From 1.
    pub(super) line: usize,
}

#[cfg(test)]
impl Place {
    /// For tests that make by hand what is read from a file.
    pub(crate) fn nowhere() -> Place {
        Place { order: 0, file: Path::new("test").into(), line: 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Something to be said about a place: `FILE:LINE: text`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Error)]
#[error("{place}: {text}")]
pub(crate) struct Remark {
    place: Place,
    text: String,
}

/// Why there is no configuration.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum ConfigError {
    /// A file or directory that can't be read.
    #[error("{}: {text}", path.display())]
    Unreadable { path: PathBuf, text: String },
    /// Errors, in the order of files and lines.
    #[error("{}", lines(.0))]
    Invalid(Vec<Remark>),
}

fn lines(remarks: &[Remark]) -> String {
    remarks.iter().map(Remark::to_string).collect::<Vec<_>>().join("\n")
}

/// Collects remarks while a configuration is read.
#[derive(Debug, Default)]
pub(super) struct Report {
    errors: RefCell<Vec<Remark>>,
    warnings: RefCell<Vec<Remark>>,
    /// Some of it isn't TOML, and who knows what it holds.
    incomplete: Cell<bool>,
}

impl Report {
    pub(super) fn error(&self, place: &Place, text: impl Into<String>) {
        self.errors.borrow_mut().push(Remark { place: place.clone(), text: text.into() });
    }

    /// Text that isn't TOML. What seems to be missing afterwards may stand in it.
    pub(super) fn not_toml(&self, place: &Place, text: impl Into<String>) {
        self.incomplete.set(true);
        self.error(place, text);
    }

    /// A key that should be there isn't.
    pub(super) fn missing(&self, place: &Place, text: impl Into<String>) {
        if !self.incomplete.get() {
            self.error(place, text);
        }
    }

    pub(super) fn warning(&self, place: &Place, text: &str) {
        let text = format!("warning: {text}");
        self.warnings.borrow_mut().push(Remark { place: place.clone(), text });
    }

    /// The warnings, if there are no errors.
    pub(super) fn finish(self) -> Result<Vec<Remark>, ConfigError> {
        let (mut errors, mut warnings) = (self.errors.into_inner(), self.warnings.into_inner());
        errors.sort();
        errors.dedup();
        warnings.sort();
        if errors.is_empty() { Ok(warnings) } else { Err(ConfigError::Invalid(errors)) }
    }
}

/// The name among `known` that is most like `name`, if one is like it at all.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|candidate| (strsim::jaro_winkler(candidate, name), candidate));
    scored.filter(|(score, _)| *score > 0.75).max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, candidate)| candidate)
}
