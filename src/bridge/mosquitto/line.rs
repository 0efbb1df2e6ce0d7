//! Lines of `mosquitto.conf`: an option and what follows it.

use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A line that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) file: Rc<Path>,
    /// From 1.
    pub(crate) number: usize,
    pub(crate) option: String,
    /// What follows, without blanks at its ends.
    pub(crate) value: String,
}

impl Line {
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.value.split([' ', '\t']).filter(|word| !word.is_empty())
    }

    pub(super) fn is_true(&self) -> bool {
        matches!(self.value.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on")
    }

    /// Where it stands, in a comment.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", super::shown(&self.file), self.number)
    }
}

/// The lines of a file that say something. What isn't UTF-8 is replaced, so that the rest can be read.
pub(crate) fn lines(file: &Path, bytes: &[u8]) -> Vec<Line> {
    let file: Rc<Path> = file.into();
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let line = |(number, text): (usize, &str)| {
        let text = text.trim();
        let (option, value) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let says_something = !option.is_empty() && !option.starts_with('#');
        says_something.then(|| Line {
            file: Rc::clone(&file),
            number: number + 1,
            option: option.to_owned(),
            value: value.trim().to_owned(),
        })
    };
    text.lines().enumerate().filter_map(line).collect()
}

/// The directory of an `include_dir`. A relative one is looked for beside the file that names it.
pub(crate) fn included(line: &Line) -> Option<PathBuf> {
    let is_named = line.option == "include_dir" && !line.value.is_empty();
    is_named.then(|| line.file.parent().unwrap_or(Path::new("")).join(&line.value))
}
