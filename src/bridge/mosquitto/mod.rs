//! A bridge of mosquitto's as `[[bridge]]`: reads `mosquitto.conf` and says what of it gatewire does otherwise. Pure.
//!
//! [`listener`] finds where mosquitto listens, [`connection`] what a `connection` says, [`rules`] makes rules of its topics,
//! [`written`] writes tables. What can't be translated is a [`Problem`] with its line; what is for `[connection]` and `[tls]`
//! becomes a comment.

mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod line;
mod listener;
mod quoted;
mod rules;
#[cfg(test)]
mod tests;
mod written;

use std::path::Path;
use std::rc::Rc;

pub(crate) use line::{Line, included, lines};

use connection::Connection;
use rules::Rules;

/// Something that can't be translated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) file: Rc<Path>,
    pub(crate) line: usize,
    /// It repeats no value that may be a secret.
    pub(crate) text: String,
}

/// What becomes of the files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Translation {
    /// Tables and comments that `gatewire check` accepts behind `[connection]`; empty: there is no bridge.
    pub(crate) toml: String,
    /// In the order of the lines.
    pub(crate) problems: Vec<Problem>,
}

/// Collects problems.
#[derive(Debug, Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn at(&mut self, line: &Line, text: impl Into<String>) {
        self.0.push(Problem { file: Rc::clone(&line.file), line: line.number, text: text.into() });
    }
}

/// The bridges in `lines`: those of all files, in the order in which mosquitto reads them. `main` is the file that was asked
/// for.
pub(crate) fn translate(main: &Path, lines: &[Line]) -> Translation {
    let mut problems = Problems::default();
    let broker = listener::local(lines, &mut problems);
    let connections: Vec<Connection> = connection::all(lines, &mut problems);
    if connections.is_empty() {
        let text =
            "there is no `connection` in it or in the files that it includes, so no bridge to translate. A bridge of \
                    mosquitto's begins with `connection NAME`"
                .to_owned();
        problems.0.push(Problem { file: main.into(), line: 0, text });
    }
    let mut all: Vec<Rules> = connections.iter().map(|connection| rules::of(connection, &mut problems)).collect();
    rules::without_loops(&mut all, &mut problems);
    if let Some(line) = broker.wants_login.as_ref().filter(|_| connections.iter().any(|found| found.username.is_none()))
    {
        let text = "mosquitto lets nobody in without a user: make one for gatewire with `mosquitto_passwd`, and write `username` and \
                    `password_file` below `broker`";
        problems.at(line, text);
    }
    for (connection, _) in connections.iter().zip(&all).filter(|(_, rules)| rules.are_none()) {
        let (name, what) = (&connection.name, if connection.topics.is_empty() { "has no" } else { "is left with no" });
        if let Some(line) = &connection.begin {
            let text = format!(
                "the connection \"{name}\" {what} `topic` that gatewire can carry, so no [[bridge]] is printed for it"
            );
            problems.at(line, text);
        }
    }
    let written = connections.iter().zip(&all).filter(|(_, rules)| !rules.are_none()).enumerate();
    let toml =
        written.map(|(number, (connection, rules))| written::bridge(connection, rules, &broker, number)).collect();
    // That of the whole is told first, then those of the listener, whatever their place.
    let place = |problem: &Problem| {
        if problem.line == 0 {
            return 0;
        }
        lines
            .iter()
            .position(|line| line.file == problem.file && line.number == problem.line)
            .map_or(usize::MAX, |at| at + 1)
    };
    problems.0.sort_by_key(place);
    Translation { toml, problems: problems.0 }
}

/// A path in a message, as it is.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
