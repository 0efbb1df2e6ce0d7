//! Runs a program for an execution, to its end: no shell, a process group of its own, nothing on standard input, and no more time
//! than it may take.
//!
//! Whatever it writes is read, so that it never waits for us, and the end of it is kept. It is started in `/`, with what a program
//! needs of our environment (`PATH`, `HOME`, `LANG` and a few more) and two variables of ours, `GATEWIRE_EXECUTION` ([`ExecutionId`]) and
//! `GATEWIRE_JOB_ID`. When it has ended by itself, what it has left running stays, and gets SIGPIPE if it still writes to our pipes.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use super::ended::MAX_KEPT;
use super::leftover::Ending;
use super::{ExecutionId, How, ProgramEnd};
use crate::program::{self, Ends, Group, environment};

/// For what stands in the pipes when the program has ended. Something that it has left running may hold them open.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// For the kernel to hand over the exit status of what is dead.
const UNTIL_REAPED: Duration = Duration::from_secs(5);

/// What is to be run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program<'a> {
    /// The program, by its path or as it is found in `PATH`, and its arguments.
    pub(crate) argv: &'a [String],
    pub(crate) execution: &'a ExecutionId,
    /// From its start.
    pub(crate) timeout: Duration,
}

/// Runs it until it ends, its time is over, or `cancelled` completes: then everything that belongs to it gets SIGTERM, and after 10 s
/// SIGKILL. Nothing is started if `cancelled` has completed before. Dropping this future kills the process group at once.
pub(crate) async fn run(program: Program<'_>, cancelled: impl Future<Output = ()>) -> ProgramEnd {
    let mut cancelled = std::pin::pin!(cancelled);
    tokio::select! {
        biased;
        () = &mut cancelled => return ProgramEnd::silently(How::Cancelled),
        () = std::future::ready(()) => {}
    }
    match Running::start(program) {
        Ok(mut running) => running.until_the_end(cancelled, &Ending::default()).await,
        Err(why) => ProgramEnd::silently(How::NotStarted(why)),
    }
}

/// A program that has been started. Dropping this kills its process group.
pub(crate) struct Running {
    execution: ExecutionId,
    timeout: Duration,
    // Before the child: a group is killed only while the id of its leader can't have become another's.
    group: Group,
    child: Child,
    streams: Streams,
}

impl Running {
    /// Starts it, or says why not.
    pub(crate) fn start(program: Program<'_>) -> Result<Running, String> {
        let mut child = start(program)?;
        let (group, streams) = (Group::of(&child), Streams::of(&mut child));
        Ok(Running { execution: program.execution.clone(), timeout: program.timeout, group, child, streams })
    }

    /// It is left alone, and goes on.
    pub(crate) fn leave(mut self) {
        self.group.release();
    }

    /// As [`run`]. To be called once.
    pub(crate) async fn until_the_end(&mut self, cancelled: impl Future<Output = ()>, ending: &Ending) -> ProgramEnd {
        let Running { execution, timeout: limit, group, child, streams } = self;
        let end = async {
            let why = tokio::select! {
                biased;
                status = child.wait() => {
                    group.release();
                    return status.map_or_else(|error| How::Lost(error.to_string()), of_status);
                }
                () = cancelled => How::Cancelled,
                () = sleep(*limit) => How::TimedOut,
            };
            // Its leader isn't waited for before all of it is gone.
            if let Err(left) = ending.of_group(execution, group.id()).await {
                log::warn!(
                    GATEWIRE_EVENT = "action_hangs";
                    "what execution {execution} has started can't be ended: {left}"
                );
            }
            let _ = timeout(UNTIL_REAPED, child.wait()).await;
            group.release();
            why
        };
        let how = tokio::select! {
            biased;
            how = end => how,
            // It never completes.
            () = streams.read() => How::Lost("internal error: nobody waits for it".to_owned()),
        };
        let _ = timeout(LAST_WORDS, streams.read_to_end()).await;
        ProgramEnd::with(how, &streams.out, &streams.err)
    }
}

fn of_status(status: ExitStatus) -> How {
    match (status.code(), status.signal()) {
        (Some(code), _) => How::Exit(code),
        (None, Some(signal)) => How::Signal(signal),
        (None, None) => How::Lost(status.to_string()),
    }
}

/// Starts it, or says why not.
fn start(program: Program<'_>) -> Result<Child, String> {
    let (name, arguments) = program.argv.split_first().ok_or("no program is named")?;
    let environment = environment::of_action();
    let path = environment.iter().find(|(name, _)| name == "PATH").map_or(OsStr::new(""), |(_, path)| path);
    let file = program::find(name, path).ok_or_else(|| {
        format!("there is no program {name} in PATH ({}); name it by its absolute path", path.to_string_lossy())
    })?;
    if let Some(doubt) = program::doubt(&file) {
        return Err(doubt);
    }
    spawn(&file, arguments, program.execution, environment).map_err(|error| program::why_not(&file, &error))
}

fn spawn(
    file: &Path,
    arguments: &[String],
    execution: &ExecutionId,
    environment: Vec<(OsString, OsString)>,
) -> io::Result<Child> {
    let mut command = Command::new(file);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_clear().envs(environment);
    command.env(environment::EXECUTION, execution.to_string()).env(environment::JOB_ID, execution.job());
    command.current_dir("/").process_group(0).spawn()
}

/// Both streams of a program.
struct Streams {
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    out: Ends,
    err: Ends,
}

impl Streams {
    fn of(child: &mut Child) -> Streams {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Streams { stdout, stderr, out: Ends::of(MAX_KEPT), err: Ends::of(MAX_KEPT) }
    }

    /// Reads what comes, of neither to the other's cost, to the end of both.
    async fn read_to_end(&mut self) {
        tokio::join!(self.out.read_to_end(&mut self.stdout), self.err.read_to_end(&mut self.stderr));
    }

    /// The same, and never completes: the program may go on without them.
    async fn read(&mut self) {
        self.read_to_end().await;
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests;
