//! `gatewire jobs`: what AWS IoT had this gateway do.

use std::io::ErrorKind;
use std::path::Path;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::client::Unreachable;
use super::output::{self, Failure, Style, StyledText, Tone};
use super::status::{self, ExecutionDocument, clock};
use super::{DEFAULT_CONFIG, Exit, inputs};
use crate::owner;
use crate::printable::printable;
use crate::services::history::NOTE;
use crate::store::{self, NoteError};

pub(super) const LONG_ABOUT: &str = "\
List the last 100 executions of jobs and commands that AWS IoT had this gateway do, the
newest last: when each ended (or began, while it is IN_PROGRESS), the id of the job and the
number of its execution (of a command the id of its execution), the action, the status, and
the reason if there is one.

It asks the socket of [status] in the configuration. While the daemon isn't running it reads
the database of [outbox] instead, which only root and the user gatewire may.";

pub(super) const AFTER_HELP: &str = "\
Examples:
  gatewire jobs
  gatewire jobs --json | jq '.executions[-1].status'
  sudo gatewire jobs                         also while the daemon is stopped

Exit codes: 0 done, also if there is none; 64 usage; 69 neither the daemon nor its database
can be asked; 78 configuration unusable.";

/// The command line of `gatewire jobs`.
#[derive(Debug, Args)]
pub(super) struct JobsArguments {
    /// Print a JSON document, for programs: `executions`, an array, each with at, kind, id, execution, action, status, reason
    #[arg(long)]
    json: bool,
}

/// As the store has it, and as it is printed for programs.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct List {
    executions: Vec<ExecutionDocument>,
}

/// The answer goes to standard output, all else to standard error.
#[inline(never)]
pub(super) fn run(config: &Path, arguments: &JobsArguments) -> Exit {
    let listed = list(config).and_then(|list| match (arguments.json, list.executions.is_empty()) {
        (true, _) => show_programs(&list),
        (false, true) => output::answer(&StyledText::of_lines([nothing(config)])),
        (false, false) => output::answer(&table(&list, Style::of_stdout())),
    });
    listed.map_or_else(Failure::end, |()| Exit::Done)
}

/// What the daemon knows; what is in its database if it isn't running.
fn list(config: &Path) -> Result<List, Failure> {
    let (socket, problem) = inputs::status_socket(config)?;
    match (status::executions(&socket), problem) {
        (Ok(Ok(executions)), problem) => {
            if let Some(problem) = problem {
                problem.and("The daemon runs with the configuration that it had before:").end();
            }
            Ok(List { executions })
        }
        (Ok(Err(version)), _) => {
            let text = format!(
                "the running gatewire is version {version}, which knows no jobs. Restart it: `sudo systemctl restart gatewire`"
            );
            Err(Failure::new(text, Exit::Unavailable))
        }
        (Err(_), Some(problem)) => Err(problem),
        (Err(Unreachable::Absent { .. }), None) => of_database(config, &socket),
        (Err(unreachable), None) => Err(unreachable.into()),
    }
}

/// What is in the database that no daemon has open.
fn of_database(config: &Path, socket: &Path) -> Result<List, Failure> {
    let path = inputs::of_client(config)?.outbox.path;
    let failure = |text: String| Failure::new(text, Exit::Unavailable);
    if matches!(store::is_held(&path), Ok(true)) {
        return Err(failure(format!(
            "a gatewire uses the database {}, but nothing answers at {}: it starts or stops just now, or the [status] socket in the \
             configuration has changed since it started. Try again, or restart it: `sudo systemctl restart gatewire`",
            path.display(),
            socket.display()
        )));
    }
    let note = store::note_at(&path, NOTE).map_err(|error| match error {
        NoteError::Denied => failure(format!(
            "gatewire isn't running, and the user {} may not read its database {}. `{}` lists what is in it",
            owner::own_name(),
            path.display(),
            with_sudo(config)
        )),
        NoteError::Unreadable(why) => failure(format!("gatewire isn't running, and its database can't be read: {why}")),
    })?;
    // A note in another form is another version's.
    Ok(note.and_then(|note| serde_json::from_str(&note).ok()).unwrap_or_default())
}

/// This command, as root.
fn with_sudo(config: &Path) -> String {
    match config == Path::new(DEFAULT_CONFIG) {
        true => "sudo gatewire jobs".to_owned(),
        false => format!("sudo gatewire --config {} jobs", owner::quoted(config)),
    }
}

/// Why the list may be empty.
fn nothing(config: &Path) -> &'static str {
    match inputs::of_client(config) {
        Ok(config) if config.services().is_empty() => {
            "no job or command of AWS IoT has come to this gateway, and none can: the configuration has neither [jobs] nor [commands]"
        }
        _ => "no job or command of AWS IoT has come to this gateway yet",
    }
}

fn show_programs(list: &List) -> Result<(), Failure> {
    // Strings and numbers: nothing in it can fail to be written.
    let mut json = serde_json::to_vec(list).unwrap_or_default();
    json.push(b'\n');
    match output::pass_on(&json, StyledText::plain) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(output::unwritable(&error)),
        _ => Ok(()),
    }
}

const HEADS: [&str; 5] = ["TIME", "JOB", "EXECUTION", "ACTION", "STATUS"];

/// A line each, in columns as wide as they need to be, and behind them the reason.
fn table(list: &List, style: Style) -> StyledText {
    let rows: Vec<[String; 5]> = list.executions.iter().map(cells).collect();
    let width = |column: usize| {
        let longest = rows.iter().map(|row| row[column].chars().count()).max();
        longest.unwrap_or(0).max(HEADS[column].len())
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    let pad = |cell: &str, column: usize| format!("{cell}{:1$}", "", widths[column] - cell.chars().count());
    let mut text = StyledText::default();
    let heads: Vec<String> = (0..5).map(|column| pad(HEADS[column], column)).collect();
    text.line(style.paint(Tone::Heading, heads.join("  ").trim_end()));
    for (row, execution) in rows.iter().zip(&list.executions) {
        let padded: Vec<String> = row.iter().enumerate().map(|(column, cell)| pad(cell, column)).collect();
        let status = style.paint(tone(&execution.status), &padded[4]);
        let reason = execution.reason.as_ref().map_or_else(String::new, |reason| format!("  {reason}"));
        let line = StyledText::plain(&format!("{}  ", padded[..4].join("  "))).then(status);
        text.line(line.then(StyledText::plain(&reason)));
    }
    text
}

fn cells(execution: &ExecutionDocument) -> [String; 5] {
    let ExecutionDocument { at, kind, id, execution, action, status, .. } = execution;
    let number = execution.map_or_else(|| kind.clone(), |number| number.to_string());
    let at = at.map_or_else(|| "-".to_owned(), clock);
    let action = action.clone().unwrap_or_else(|| "-".to_owned());
    [at, id.clone(), number, action, status.clone()].map(|cell| printable(&cell).into_owned())
}

fn tone(status: &str) -> Tone {
    match status {
        "SUCCEEDED" => Tone::Good,
        "IN_PROGRESS" | "CANCELED" | "REMOVED" => Tone::Doubtful,
        _ => Tone::Bad,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::services::history::{History, Subject};
    use crate::services::jobs::Identity;

    fn history() -> History {
        let at = |second: i64| Timestamp::from_second(1_769_860_800 + second).unwrap().into();
        let job = |number| Subject::job(&Identity { job: "restart-\u{1b}[2J".to_owned(), number });
        let mut history = History::default();
        history.over(job(1), Some("restart"), "FAILED", Some("exit code 3"), at(0));
        history.over(Subject::command("0b71-4c"), None, "REJECTED", Some("no action takes it"), at(61));
        history.begun(job(12), "restart", at(3600));
        history
    }

    #[test]
    fn the_table_has_a_line_for_each_execution() {
        let list: List = serde_json::from_str(&history().text()).unwrap();
        let expected = "\
TIME                     JOB                EXECUTION  ACTION   STATUS
2026-01-31 12:00:00 UTC  restart-\\u001b[2J  1          restart  FAILED       exit code 3
2026-01-31 12:01:01 UTC  0b71-4c            command    -        REJECTED     no action takes it
2026-01-31 13:00:00 UTC  restart-\\u001b[2J  12         restart  IN_PROGRESS
";
        assert_eq!(table(&list, Style::Plain).to_string(), expected);
    }

    #[test]
    fn what_is_printed_for_programs_is_what_the_daemon_notes() {
        let list: List = serde_json::from_str(&history().text()).unwrap();
        assert_eq!(serde_json::to_string(&list).unwrap(), history().text());
        for other in ["{}", r#"{"executions":[{"at":null,"more":1}]}"#] {
            let list: List = serde_json::from_str(other).unwrap();
            assert!(!table(&list, Style::Colour).to_string().is_empty());
        }
    }
}
