//! `gatewire status`: what the running daemon is doing.

mod follow;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod history;
mod said;
mod table;
mod textfile;
mod watch;
mod words;

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::client::{PATIENCE, Unreachable, connect};
use super::output::{self, Failure, Style, StyledText};
use super::{Exit, inputs};

use crate::status::document::Document;
pub(super) use crate::status::document::ExecutionDocument;
use crate::status::prometheus;
use crate::time;
pub(super) use words::clock;

/// The longest document that is read, in bytes: many times what a daemon writes.
const MAX_DOCUMENT: usize = 16 << 20;

/// How long what was silent may take to answer when it is spoken to.
const SECOND_ANSWER: Duration = Duration::from_secs(1);

pub(super) const LONG_ABOUT: &str = "\
Show what the running daemon is doing: whether it is connected, and if not why and since
when; what waits; when each schedule last published; when the certificate expires.

It asks the socket of [status] in the configuration. The daemon answers in any state of the
link and the outbox. With --watch it is asked each second, and the terminal shows the link and
its last hour, messages a second, what waits and what is wrong; `q` ends it. It waits for a
daemon that doesn't answer, and shows less where the terminal is small.

If the daemon doesn't answer, --prometheus prints `gatewire_up 0`. With --output FILE that is
written to a file, which is replaced as a whole: for Prometheus' node exporter.";

pub(super) const AFTER_HELP: &str = "\
Examples:
  gatewire status
  gatewire status --json | jq .outbox.waiting
  gatewire status --prometheus
  gatewire status --prometheus --output /run/gatewire-textfile/gatewire.prom
  gatewire status --follow | jq --unbuffered -r .link.state
  gatewire status --watch
  ssh -t pi@gateway gatewire status --watch

Exit codes: 0 the daemon has answered, connected or not, --output FILE is written, --watch was
ended, or --follow was interrupted or nothing reads it any more; 64 usage, or no terminal for
--watch; 69 the daemon can't be reached, or has stopped while it was followed; 70 FILE can't
be written; 78 configuration unusable.";

/// The command line of `gatewire status`.
#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    /// Print the JSON document, for programs
    #[arg(long, conflicts_with = "prometheus")]
    json: bool,

    /// Print metrics in Prometheus' exposition format
    #[arg(long)]
    prometheus: bool,

    /// Write them to this file, for the textfile collector of the node exporter
    #[arg(long, value_name = "FILE", requires = "prometheus", conflicts_with_all = ["json", "follow"])]
    output: Option<PathBuf>,

    /// Print a line of JSON now and at each change of the link, until it is interrupted
    #[arg(long, conflicts_with_all = ["json", "prometheus"])]
    follow: bool,

    /// Show it on the whole terminal, anew each second, until `q` is pressed
    #[arg(long, conflicts_with_all = ["json", "prometheus", "follow"])]
    watch: bool,

    /// Ask this socket; the configuration isn't read
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// The answer goes to standard output, all else to standard error.
#[inline(never)]
pub(super) fn run(config: &Path, arguments: &StatusArguments) -> Exit {
    let done = match &arguments.output {
        Some(output) => write(config, arguments, output),
        None if arguments.follow => at_the_socket(config, arguments, follow::follow),
        None if arguments.watch => watch(config, arguments),
        None => ask(config, arguments).and_then(|answer| show(answer, arguments)),
    };
    done.map_or_else(Failure::end, |()| Exit::Done)
}

/// Puts the metrics into a file. That there is no daemon is one of them, and no failure.
fn write(config: &Path, arguments: &StatusArguments, output: &Path) -> Result<(), Failure> {
    let (text, absent) = match fetch_configured(config, arguments) {
        Ok((_, document)) => (prometheus::exposition(&document), None),
        Err(failure) => (prometheus::down(), Some(failure)),
    };
    textfile::write(output, &text)?;
    match absent.map(Failure::end) {
        None | Some(Exit::Unavailable) => Ok(()),
        Some(exit) => Err(Failure::of_lines(Vec::new(), exit)),
    }
}

/// What the daemon answers. Without one the metrics say so, as its absence would fire no alert; the reason goes to standard
/// error all the same.
fn ask(config: &Path, arguments: &StatusArguments) -> Result<(Vec<u8>, Document), Failure> {
    let answer = fetch_configured(config, arguments);
    if answer.is_err() && arguments.prometheus {
        output::answer(&StyledText::of_lines(prometheus::down().lines()))?;
    }
    answer
}

fn fetch_configured(config: &Path, arguments: &StatusArguments) -> Result<(Vec<u8>, Document), Failure> {
    at_the_socket(config, arguments, |path| fetch(path).map_err(Failure::from))
}

/// Asks at the status socket, also if the configuration has become one that can't be used.
fn at_the_socket<T>(
    config: &Path,
    arguments: &StatusArguments,
    ask: impl Fn(&Path) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (path, problem) = socket(config, arguments)?;
    match (ask(&path), problem) {
        (answer, None) => answer,
        (Err(_), Some(problem)) => Err(problem),
        (Ok(answer), Some(problem)) => {
            problem.and("The daemon runs with the configuration that it had before:").end();
            Ok(answer)
        }
    }
}

/// Where the daemon answers, and what is wrong with a configuration that says so and can't be used.
fn socket(config: &Path, arguments: &StatusArguments) -> Result<(PathBuf, Option<Failure>), Failure> {
    match &arguments.socket {
        Some(path) => Ok((path.clone(), None)),
        None => inputs::status_socket(config),
    }
}

/// Whatever is wrong is shown there, as long as it is known whom to ask.
fn watch(config: &Path, arguments: &StatusArguments) -> Result<(), Failure> {
    watch::watch(match &arguments.socket {
        Some(path) => watch::Whom::at(path),
        None => watch::Whom::of(config)?,
    })
}

fn show((text, document): (Vec<u8>, Document), arguments: &StatusArguments) -> Result<(), Failure> {
    match (arguments.json, arguments.prometheus) {
        (true, _) => match output::pass_on(&text, StyledText::plain) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(output::unwritable(&error)),
            _ => Ok(()),
        },
        (_, true) => output::answer(&StyledText::of_lines(prometheus::exposition(&document).lines())),
        _ => output::answer(&table::table(&document, time::wall(), Style::of_stdout())),
    }
}

/// The version of the daemon at `path` if it could take an observer for a reader: it knows none by name.
/// `None` also where nobody answers, or not us.
pub(super) fn too_old_for_observers(path: &Path) -> Option<String> {
    let (_, document) = fetch(path).ok()?;
    document.forward.iter().any(|forward| forward.format.is_none()).then_some(document.version)
}

/// The last executions of jobs and commands that the daemon at `path` knows of; or its version, which knows of none.
pub(super) fn executions(path: &Path) -> Result<Result<Vec<ExecutionDocument>, String>, Unreachable> {
    let (_, document) = fetch(path)?;
    Ok(document.executions.ok_or(document.version))
}

/// The document that the daemon at `path` gives, as it is and understood.
fn fetch(path: &Path) -> Result<(Vec<u8>, Document), Unreachable> {
    let text = read(path)?;
    let document = understood(&text, path)?;
    Ok((text, document))
}

/// `text` as the document that it should be.
fn understood(text: &[u8], path: &Path) -> Result<Document, Unreachable> {
    let strange = |detail: String| Unreachable::Strange { path: path.to_owned(), detail };
    let value: Value = serde_json::from_slice(text).map_err(|error| strange(format!("not JSON: {error}")))?;
    if let Some(refusal) = refusal(&value, path) {
        return Err(refusal);
    }
    if !value.is_object() {
        return Err(strange("not a status document: not an object".to_owned()));
    }
    serde_json::from_value(value).map_err(|error| strange(format!("not a status document: {error}")))
}

/// What is answered instead of a document, if that says why.
fn refusal(value: &Value, path: &Path) -> Option<Unreachable> {
    let error = value.get("error").filter(|_| value.get("version").is_none())?;
    let detail = value.get("detail").unwrap_or(error).as_str().unwrap_or("of no known kind").to_owned();
    Some(Unreachable::Refused { path: path.to_owned(), detail })
}

fn read(path: &Path) -> Result<Vec<u8>, Unreachable> {
    let stream = connect(path)?;
    let mut text = Vec::new();
    // So the daemon needn't wait for what may be asked. One that has closed the connection has mostly said why.
    let _ = (&stream).write_all(b"{}\n");
    match read_to_end(&stream, &mut text, PATIENCE) {
        Ok(()) if text.is_empty() => Err(Unreachable::Absent { path: path.to_owned() }),
        Ok(()) => Ok(text),
        // It has closed without reading what we sent: what it said before that counts.
        Err(error) if error.kind() == ErrorKind::ConnectionReset && !text.is_empty() => Ok(text),
        Err(error) if is_timeout(&error) && is_of_another_kind(stream, &text) => {
            Err(Unreachable::Other { path: path.to_owned(), wanted: "[status]" })
        }
        Err(error) => Err(Unreachable::new(path, error)),
    }
}

/// All that comes in this time, as far as a document may be long: what never stops talking is no status socket.
fn read_to_end(mut stream: &UnixStream, text: &mut Vec<u8>, within: Duration) -> io::Result<()> {
    let until = time::now() + within;
    let mut piece = [0; 16 * 1024];
    while text.len() < MAX_DOCUMENT {
        let left = until.saturating_duration_since(time::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => text.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Whether what is silent, or has given `text` and no end, answers what makes no sense to it: only the status socket doesn't
/// listen.
fn is_of_another_kind(mut stream: UnixStream, text: &[u8]) -> bool {
    let mut answer = text.to_owned();
    let asked = stream.write_all(b"{}\n").and_then(|()| stream.shutdown(Shutdown::Write));
    // What came before a time-out is there all the same.
    let _ = asked.and_then(|()| read_to_end(&stream, &mut answer, SECOND_ANSWER));
    let lines = answer.split(|byte| *byte == b'\n');
    lines.into_iter().any(|line| line.starts_with(b"{\"error\":\"bad_line\""))
}

#[cfg(test)]
mod tests;
