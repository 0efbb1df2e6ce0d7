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

use std::collections::VecDeque;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config;
use crate::limits::MAX_PAYLOAD;

/// The most that is read of standard output: a newline at the end, `\r\n` at most, isn't part of the value.
const MAX_OUTPUT: usize = MAX_PAYLOAD + 2;

/// Of standard error so many bytes are kept, its end: what went wrong mostly stands there.
const MAX_COMPLAINT: usize = 400;

/// For what stands in the pipes when the program has ended. Something that has left its group may hold them open.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What systemd tells us isn't meant for a command: how to speak in our name, and where our secrets and our state are.
const OURS: [&str; 20] = [
    "CACHE_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "FDSTORE",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LOGS_DIRECTORY",
    "MAINPID",
    "MANAGERPID",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "NOTIFY_SOCKET",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "SYSTEMD_EXEC_PID",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

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
        Err(error) => return Err(CommandError::Start { command, reason: reason(&error) }),
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
        false => Err(CommandError::Failed { command, status: how(status), complaint: output.complaint() }),
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
    OURS.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.process_group(0).kill_on_drop(true).spawn()
}

/// The process group of a command. Dropping this kills what is left of it.
struct Group(Option<Pid>);

impl Group {
    /// Of a child that hasn't been waited for: its id can't be another's yet.
    fn of(child: &Child) -> Group {
        Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may be gone, which is as well.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// What a command prints, as far as it is kept.
struct Output {
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    printed: Vec<u8>,
    complained: VecDeque<u8>,
}

impl Output {
    fn of(child: &mut Child) -> Output {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Output { stdout, stderr, printed: Vec::new(), complained: VecDeque::new() }
    }

    /// Reads something; never completes once there is nothing more to read.
    async fn read(&mut self) {
        let (mut printed, mut complained) = ([0; 4096], [0; 512]);
        tokio::select! {
            biased;
            n = read_some(&mut self.stdout, &mut printed) => self.printed.extend_from_slice(&printed[..n]),
            n = read_some(&mut self.stderr, &mut complained) => {
                self.complained.extend(&complained[..n]);
                let surplus = self.complained.len().saturating_sub(MAX_COMPLAINT);
                self.complained.drain(..surplus);
            }
        }
    }

    /// Reads what is left, as far as it is kept.
    async fn read_to_end(&mut self) {
        while (self.stdout.is_some() || self.stderr.is_some()) && self.printed.len() <= MAX_OUTPUT {
            self.read().await;
        }
    }

    /// One line, without what would act on a terminal.
    fn complaint(&mut self) -> Complaint {
        let text = String::from_utf8_lossy(self.complained.make_contiguous());
        let words: Vec<String> =
            text.split_whitespace().map(|word| word.chars().filter(|c| !c.is_control()).collect()).collect();
        Complaint(words.join(" "))
    }
}

/// Reads from what is still open; at its end, or when it fails, it is closed and 0 returned.
async fn read_some(pipe: &mut Option<impl AsyncRead + Unpin>, into: &mut [u8]) -> usize {
    let Some(open) = pipe else { return std::future::pending().await };
    let n = open.read(into).await.unwrap_or(0);
    if n == 0 {
        *pipe = None;
    }
    n
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

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such program in gatewire's PATH; name it by its absolute path".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "gatewire may not execute it: its mode, or a sandbox of the systemd unit, forbids it".to_owned()
        }
        _ => error.to_string(),
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(name) => format!("signal {name}"),
            Err(_) => format!("signal {signal}"),
        },
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests;
