//! How an action's program has ended.

use std::fmt;

use crate::printable::printable;
use crate::program::{self, Ends};

/// Bytes that are kept of the end of each stream: what 1024 characters may take.
pub(super) const MAX_KEPT: usize = 4096;

/// The most characters of it that are told (a value of `statusDetails`).
const MAX_TOLD: usize = 1024;

/// How it has ended, and the last that it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProgramEnd {
    pub(crate) how: How,
    /// At most 1024 characters each, the last; raw, as the program wrote them.
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// How many lines it wrote on standard error in all; one without a newline counts.
    pub(crate) stderr_lines: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    Exit(i32),
    /// A signal that wasn't ours has ended it.
    Signal(i32),
    /// It took longer than it may, and was ended with all that belongs to it.
    TimedOut,
    /// It was ended because nobody wants it any more; or it wasn't begun.
    Cancelled,
    /// Nothing of it has run. Why, for a person.
    NotStarted(String),
    /// It may have run, and still run; what it came to isn't known. Why, for a person.
    Lost(String),
}

impl ProgramEnd {
    /// Without having written anything.
    pub(crate) fn silently(how: How) -> ProgramEnd {
        ProgramEnd { how, stdout: String::new(), stderr: String::new(), stderr_lines: 0 }
    }

    pub(super) fn with(how: How, stdout: &Ends, stderr: &Ends) -> ProgramEnd {
        ProgramEnd { how, stdout: told(&stdout.text()), stderr: told(&stderr.text()), stderr_lines: stderr.lines() }
    }

    pub(crate) fn is_success(&self) -> bool {
        self.how == How::Exit(0)
    }
}

/// The last characters of a text.
pub(super) fn told(text: &str) -> String {
    // As AWS is told them: what can't be shown is written with several.
    let mut left = MAX_TOLD;
    let fits = |(_, c): &(usize, char)| {
        let shown = printable(c.encode_utf8(&mut [0; 4])).chars().count();
        left.checked_sub(shown).map(|rest| left = rest).is_some()
    };
    let start = text.char_indices().rev().take_while(fits).last().map_or(text.len(), |(start, _)| start);
    text[start..].to_owned()
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            How::Exit(code) => write!(f, "ended with exit code {code}"),
            How::Signal(signal) => write!(f, "was ended by signal {}", program::signal_name(*signal)),
            How::TimedOut => f.write_str("timed out, and was ended with everything that it had started"),
            How::Cancelled => f.write_str("was cancelled"),
            How::NotStarted(why) => write!(f, "can't be started: {why}"),
            How::Lost(why) => write!(f, "isn't known to have ended: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_in_characters() {
        let text = "ä".repeat(2000) + "end";
        assert_eq!(told(&text).chars().count(), MAX_TOLD);
        assert!(told(&text).ends_with("end"));
        let lines = "line\n".repeat(1000);
        assert!(printable(&told(&lines)).chars().count() <= MAX_TOLD && told(&lines).ends_with("line\n"));
        assert_eq!((told(""), told("short")), (String::new(), "short".to_owned()));
    }
}
