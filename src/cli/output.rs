//! What a command says, and how it ends when it can't do what it was asked for.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, IsTerminal, Write as _};

use super::Exit;

/// What keeps a command from doing its job: lines for standard error, and the exit code.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String, pub(super) Exit);

impl Failure {
    /// Says it, and is the exit code.
    pub(super) fn end(self) -> Exit {
        tell(&self.0);
        self.1
    }
}

/// A line for standard error.
pub(super) fn tell(text: &str) {
    // When nobody takes it there is nobody to tell; the exit code says all the same.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes an answer to standard output.
///
/// # Errors
/// Half an answer in a file must not pass for a whole one. Who has closed the pipe has seen enough: that is no error.
pub(super) fn answer(text: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(unwritable(&error)),
        _ => Ok(()),
    }
}

/// Standard output can't be written.
pub(super) fn unwritable(error: &io::Error) -> Failure {
    Failure(format!("the answer can't be written to standard output: {error}"), Exit::Internal)
}

/// How text is emphasised: on a terminal by colours, elsewhere not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Colour,
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Doubtful,
    Bad,
    Heading,
    Name,
    Aside,
}

impl Style {
    /// That of standard output. <https://no-color.org>: any `NO_COLOR` that isn't empty forbids colours.
    pub(super) fn of_stdout() -> Style {
        let is = |name, word: &str| std::env::var_os(name).is_some_and(|value| value == word);
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match io::stdout().is_terminal() && !forbidden && !is("TERM", "dumb") {
            true => Style::Colour,
            false => Style::Plain,
        }
    }

    /// `text` in this tone.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Doubtful => "33",
            Tone::Bad => "1;31",
            Tone::Heading => "1",
            Tone::Name => "36",
            Tone::Aside => "2",
        };
        match self {
            Style::Plain => text.to_owned(),
            Style::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// `text` as a terminal may be given it: with the control characters that it would obey written out. What comes from the
/// network mustn't move the cursor of who looks at it.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c.is_control() {
            // Writing to memory can't fail.
            true => drop(write!(shown, "\\u{:04x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(printable("a\u{1b}[2J\u{9b}b\u{7f}\n"), "a\\u001b[2J\\u009bb\\u007f\\u000a");
        assert!(matches!(printable("Grüße 🦀"), Cow::Borrowed("Grüße 🦀")));
    }
}
