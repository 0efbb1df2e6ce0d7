//! What a command says, and how it ends when it can't do what it was asked for.
//!
//! Nothing else in the command line writes to standard output or standard error, and nothing gets there that a terminal would
//! obey, but for colours and line ends of ours: what comes from the network, a file or an argument is written out
//! ([`printable`]). Whether it is a terminal, and what it says of itself, makes no difference to that; only lines for programs
//! ([`pass_on`]) go into pipes and files as they are.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write as _};

use super::Exit;
use crate::printable::printable;

/// What keeps a command from doing its job: lines for standard error, and the exit code.
#[derive(Debug)]
pub(super) struct Failure {
    lines: Vec<String>,
    exit: Exit,
}

impl Failure {
    /// One line.
    pub(super) fn new(line: impl Into<String>, exit: Exit) -> Failure {
        Failure { lines: vec![line.into()], exit }
    }

    pub(super) fn of_lines(lines: Vec<String>, exit: Exit) -> Failure {
        Failure { lines, exit }
    }

    /// With one more line at the end.
    pub(super) fn and(mut self, line: impl Into<String>) -> Failure {
        self.lines.push(line.into());
        self
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines
    }

    /// Says it, and is the exit code.
    pub(super) fn end(self) -> Exit {
        self.lines.iter().for_each(|line| tell(line));
        self.exit
    }
}

/// A line for standard error, and one whatever it holds.
pub(super) fn tell(line: &str) {
    // When nobody takes it there is nobody to tell; the exit code says all the same.
    let _ = writeln!(io::stderr(), "{}", printable(line));
}

/// StyledText for a terminal: what of it isn't ours is harmless.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StyledText(String);

impl StyledText {
    /// A piece of a line.
    pub(super) fn plain(text: &str) -> StyledText {
        StyledText(printable(text).into_owned())
    }

    /// Each of `lines` as one.
    pub(super) fn of_lines(lines: impl IntoIterator<Item = impl AsRef<str>>) -> StyledText {
        let mut text = StyledText::default();
        lines.into_iter().for_each(|line| text.line(StyledText::plain(line.as_ref())));
        text
    }

    /// Goes on with `more` in the same line.
    pub(super) fn then(mut self, more: StyledText) -> StyledText {
        self.0.push_str(&more.0);
        self
    }

    /// Adds a line.
    pub(super) fn line(&mut self, line: StyledText) {
        self.0.push_str(line.0.trim_end());
        self.0.push('\n');
    }
}

impl Display for StyledText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes an answer to standard output.
///
/// # Errors
/// Half an answer in a file must not pass for a whole one. Who has closed the pipe has seen enough: that is no error.
pub(super) fn answer(text: &StyledText) -> Result<(), Failure> {
    match write(text.0.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(unwritable(&error)),
        _ => Ok(()),
    }
}

/// A line to standard output at once, of something that takes its time or ends with an exit code that tells all the same.
pub(super) fn say(line: &str) {
    // Whoever closed it doesn't want to read.
    let _ = write(format!("{}\n", printable(line)).as_bytes());
}

/// Writes lines for programs to standard output: into a pipe or a file as they are. On a terminal they are `shown`.
pub(super) fn pass_on(lines: &[u8], shown: impl Fn(&str) -> StyledText) -> io::Result<()> {
    match is_terminal() {
        false => write(lines),
        true => {
            let mut text = StyledText::default();
            String::from_utf8_lossy(lines).lines().for_each(|line| text.line(shown(line)));
            write(text.0.as_bytes())
        }
    }
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush())
}

fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Standard output can't be written.
pub(super) fn unwritable(error: &io::Error) -> Failure {
    Failure::new(format!("the answer can't be written to standard output: {error}"), Exit::Internal)
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
        match is_terminal() && !forbidden && !is("TERM", "dumb") {
            true => Style::Colour,
            false => Style::Plain,
        }
    }

    /// `text` in this tone.
    pub(super) fn paint(self, tone: Tone, text: &str) -> StyledText {
        let code = match tone {
            Tone::Good => "32",
            Tone::Doubtful => "33",
            Tone::Bad => "1;31",
            Tone::Heading => "1",
            Tone::Name => "36",
            Tone::Aside => "2",
        };
        match self {
            Style::Plain => StyledText::plain(text),
            Style::Colour => StyledText(format!("\x1b[{code}m{}\x1b[0m", printable(text))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colours_and_line_ends_of_ours_reach_a_terminal() {
        let mut text = StyledText::of_lines(["a\nb", "\u{1b}[2J "]);
        text.line(Style::Colour.paint(Tone::Bad, "x\u{9b}\u{1b}[0m").then(StyledText::plain("\u{202e}y")));
        assert_eq!(text.0, "a\\nb\n\\u001b[2J\n\u{1b}[1;31mx\\u009b\\u001b[0m\u{1b}[0m\\u202ey\n");
    }
}
