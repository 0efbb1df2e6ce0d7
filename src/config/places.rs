//! Where the values stand that name files: what is found out about a file later is told with the line that names it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::printable::printable;

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The file's number in the order of reading.
    pub(super) order: usize,
    pub(super) file: Rc<Path>,
    /// From 1; 0 is the file as a whole.
    pub(super) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", printable(&self.file.to_string_lossy())),
            line => write!(f, "{}:{line}", printable(&self.file.to_string_lossy())),
        }
    }
}

/// See the module. Not where a value is wrong, for that is told while the configuration is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places(Vec<Named>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    /// As it is written: `forward.socket`.
    key: String,
    path: PathBuf,
    /// `FILE:LINE`, or `FILE` where the value is the default.
    place: String,
}

impl Places {
    pub(super) fn note(&mut self, key: String, path: &Path, place: &Place) {
        self.0.push(Named { key, path: path.to_owned(), place: place.to_string() });
    }

    /// `FILE:LINE: ` of the key that names `path`, to be put in front of what is said about it.
    pub(crate) fn of(&self, key: &str, path: &Path) -> String {
        self.0
            .iter()
            .find(|named| named.key == key && named.path == path)
            .map_or_else(String::new, |named| format!("{}: ", named.place))
    }

    /// The file of that key.
    pub(crate) fn file_of(&self, key: &str, path: &Path) -> Option<PathBuf> {
        let named = self.0.iter().find(|named| named.key == key && named.path == path)?;
        named.place.rsplit_once(':').map(|(file, _)| file.into())
    }

    /// Where `meter.budget` stands, which names no file, with the key.
    pub(crate) fn of_budget(&self) -> String {
        self.with_key("budget", Path::new(""))
    }

    /// Likewise with the key, for one of [`Config::sockets`](super::Config::sockets).
    pub(crate) fn of_socket(&self, path: &Path) -> String {
        let place = self.with_key("socket", path);
        if place.is_empty() { self.with_key("listen", path) } else { place }
    }

    /// Likewise with the key, whose last part is `last`: `FILE:LINE: `KEY`: `.
    pub(crate) fn with_key(&self, last: &str, path: &Path) -> String {
        let is_it = |named: &&Named| named.path == path && named.key.rsplit('.').next() == Some(last);
        self.0.iter().find(is_it).map_or_else(String::new, |named| format!("{}: `{}`: ", named.place, named.key))
    }
}
