//! `command`: what a program prints.
//!
//! It is the same user as the daemon, and what that may do, it may: a program that is trusted less gets a unit of its own
//! (docs/sources.md). The kernel's sandbox for a process (Landlock) doesn't help: it takes away no sockets, and it would have to be
//! put on between fork and exec, which only unsafe code can do. What systemd tells the daemon isn't told to it, and it inherits no
//! file.
//!
//! It runs in a process group of its own, so that whatever it starts can be ended with it. Nothing of the group outlives the
//! run: not when it takes too long or prints too much, not when it is given up, and not when it ends and leaves something
//! behind.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use thiserror::Error;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config;
use crate::limits::MAX_PAYLOAD;
use crate::program::{self, Ends, Group, environment, read_some};

/// The most that is read of standard output: a newline at the end, `\r\n` at most, isn't part of the value.
const MAX_OUTPUT: usize = MAX_PAYLOAD + 2;

/// Of standard error so many bytes are kept, its end: what went wrong mostly stands there.
const MAX_COMPLAINT: usize = 400;

/// For what stands in the pipes when the program has ended. Something that has left its group may hold them open.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Why a command has no value.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum CommandError {
    #[error("`{command}` can't be started: {reason}")]
    Start { command: String, reason: String },
    #[error("`{command}` ended with {status}{complaint}")]
    Failed { command: String, status: String, complaint: Complaint },
    #[error("`{command}` timed out: it took longer than its timeout of {}; it was killed with its children{complaint}", crate::duration::written(*.limit))]
    TooLong { command: String, limit: Duration, complaint: Complaint },
    #[error("`{0}` printed more than the {MAX_PAYLOAD} bytes that IoT Core takes; it was killed with its children")]
    TooMuch(String),
    #[error("`{0}` ended with exit code 0 and printed nothing on standard output: there is no value to publish")]
    Nothing(String),
    #[error("`{command}` can't be followed: {reason}")]
    Lost { command: String, reason: String },
}

/// The end of what a command said on standard error; it may be empty. Two that differ in digits only are equal: a command
/// that fails may print the time or its process id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Complaint(String);

impl PartialEq for Complaint {
    fn eq(&self, other: &Complaint) -> bool {
        let plain = |text: &str| {
            text.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("0")
        };
        plain(&self.0) == plain(&other.0)
    }
}

impl Eq for Complaint {}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

/// Runs `argv`, of which there is at least one, and returns what it prints. Dropping this future kills it.
pub(super) async fn run(argv: &[String], limit: Duration) -> Result<Vec<u8>, CommandError> {
    let command = shown(argv);
    let mut child = match start(argv) {
        Ok(child) => child,
        Err(error) => return Err(CommandError::Start { command, reason: reason(argv, &error) }),
    };
    let group = Group::of(&child);
    let mut output = Output::of(&mut child);
    let deadline = Instant::now() + limit;
    let ended = timeout_at(deadline, until_the_end(&mut child, &mut output)).await;
    // Before anything else: what it has left behind may hold the pipes.
    drop(group);
    let status = match ended {
        Ok(Ok(Ended::With(status))) => status,
        Ok(Ok(Ended::TooMuch)) => return Err(CommandError::TooMuch(command)),
        Ok(Err(error)) => return Err(CommandError::Lost { command, reason: error.to_string() }),
        Err(_) => return Err(CommandError::TooLong { command, limit, complaint: output.complaint() }),
    };
    let _ = timeout(LAST_WORDS, output.read_to_end()).await;
    match status.success() {
        true if output.printed.len() > MAX_OUTPUT => Err(CommandError::TooMuch(command)),
        true => Ok(output.printed),
        false => {
            Err(CommandError::Failed { command, status: program::ended_with(status), complaint: output.complaint() })
        }
    }
}

enum Ended {
    With(ExitStatus),
    TooMuch,
}

/// Reads what the command prints until it ends, or has printed too much.
async fn until_the_end(child: &mut Child, output: &mut Output) -> io::Result<Ended> {
    loop {
        tokio::select! {
            biased;
            status = child.wait() => return Ok(Ended::With(status?)),
            () = output.read() => if output.printed.len() > MAX_OUTPUT {
                return Ok(Ended::TooMuch);
            }
        }
    }
}

fn start(argv: &[String]) -> io::Result<Child> {
    let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    environment::OURS.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.process_group(0).kill_on_drop(true).spawn()
}

/// What a command prints, as far as it is kept.
struct Output {
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    printed: Vec<u8>,
    complained: Ends,
}

impl Output {
    fn of(child: &mut Child) -> Output {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Output { stdout, stderr, printed: Vec::new(), complained: Ends::of(MAX_COMPLAINT) }
    }

    /// Reads something; never completes once there is nothing more to read.
    async fn read(&mut self) {
        let (mut printed, mut complained) = ([0; 4096], [0; 512]);
        tokio::select! {
            biased;
            n = read_some(&mut self.stdout, &mut printed) => self.printed.extend_from_slice(&printed[..n]),
            n = read_some(&mut self.stderr, &mut complained) => self.complained.push(&complained[..n]),
        }
    }

    /// Reads what is left, as far as it is kept.
    async fn read_to_end(&mut self) {
        while (self.stdout.is_some() || self.stderr.is_some()) && self.printed.len() <= MAX_OUTPUT {
            self.read().await;
        }
    }

    /// One line, without what would act on a terminal.
    fn complaint(&self) -> Complaint {
        let text = self.complained.text();
        let words: Vec<String> =
            text.split_whitespace().map(|word| word.chars().filter(|c| !c.is_control()).collect()).collect();
        Complaint(words.join(" "))
    }
}

/// The program alone, cut where it gets long: its arguments may hold a password, and so may a URL in its place; the log has more
/// readers than the configuration.
pub(super) fn shown(argv: &[String]) -> String {
    let line = argv.first().map_or("", String::as_str).replace(char::is_control, " ");
    let line = config::without_secrets(&line);
    match line.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn reason(argv: &[String], error: &io::Error) -> String {
    let name = argv.first().map_or("", String::as_str);
    match program::find(name, &std::env::var_os("PATH").unwrap_or_default()) {
        Some(file) => program::why_not(&file, error),
        None => "there is no such program in gatewire's PATH; name it by its absolute path".to_owned(),
    }
}

#[cfg(test)]
mod tests;
