//! Ends what belongs to an execution: on a time-out, when it is cancelled, and what a daemon that was killed has left running.
//!
//! What belongs to it is its process group and whatever has its name in its environment (`GATEWIRE_EXECUTION`), which a program
//! that leaves the group keeps, unless it takes pains not to: only a control group would hold that, and the daemon, which has no
//! privilege, can't make one. What the daemon's own unit runs is ended by systemd with the unit.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep, timeout};

use super::ExecutionId;
use crate::blocking;
use crate::program::environment;

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// From SIGKILL until it counts as something that can't be killed: it waits in the kernel, mostly for a disk or a network.
const UNTIL_DEAD: Duration = Duration::from_secs(10);

/// Between two looks; at first they are quicker.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// A look waits for processes whose memory is locked, which a hanging disk may do.
const MAX_LOOK: Duration = Duration::from_secs(3);

/// The most of an environment that is read: what the kernel allows one at a start (`MAX_ARG_STRLEN` and `ARG_MAX`, execve(2)).
const MAX_ENVIRONMENT: u64 = 6 << 20;

/// Where processes are looked for, and how long they have.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    /// A directory like /proc.
    pub(crate) proc: PathBuf,
    pub(crate) grace: Duration,
}

impl Default for Ending {
    fn default() -> Ending {
        Ending { proc: "/proc".into(), grace: GRACE }
    }
}

/// What can't be ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StillThere {
    /// SIGKILL didn't end them.
    Processes(Vec<i32>),
    /// They couldn't be looked for.
    Unknown,
}

impl fmt::Display for StillThere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StillThere::Processes(ids) => {
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                let (noun, verb) = if ids.len() == 1 { ("process", "doesn't") } else { ("processes", "don't") };
                let ids = ids.join(", ");
                write!(
                    f,
                    "the {noun} {ids} {verb} end, not even by SIGKILL: probably a disk or a network hangs; see `dmesg`"
                )
            }
            StillThere::Unknown => {
                f.write_str("which processes belong to it can't be seen: /proc hangs or isn't there")
            }
        }
    }
}

/// A process that belongs to the execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    pid: Pid,
    in_group: bool,
}

impl Ending {
    /// Ends what runs of `execution`: SIGTERM, the grace, SIGKILL. Returns when it is gone.
    ///
    /// # Errors
    /// Something of it is still there 10 s after SIGKILL.
    pub(crate) async fn of(&self, execution: &ExecutionId) -> Result<(), StillThere> {
        self.of_group(execution, None).await
    }

    /// The same with a process group. Whoever calls this hasn't waited for its leader: so the group's id can't become another's.
    pub(super) async fn of_group(&self, execution: &ExecutionId, group: Option<Pid>) -> Result<(), StillThere> {
        let mut look = Look::new(&self.proc, execution, group);
        signal_group(group, Signal::SIGTERM);
        let mut told = BTreeSet::new();
        let terminate = |found: &[Found]| {
            for process in found.iter().filter(|process| !process.in_group) {
                if told.insert(process.pid) {
                    signal(process.pid, Signal::SIGTERM);
                }
            }
        };
        if look.until_gone(self.grace, terminate).await.is_ok() {
            return Ok(());
        }
        signal_group(group, Signal::SIGKILL);
        // What has forked meanwhile is found by the next look.
        let end = |found: &[Found]| found.iter().for_each(|process| signal(process.pid, Signal::SIGKILL));
        look.until_gone(UNTIL_DEAD, end).await
    }
}

fn signal_group(group: Option<Pid>, what: Signal) {
    if let Some(group) = group {
        // It may be gone, which is as well. One that is stopped takes SIGTERM only when it goes on.
        let _ = killpg(group, what).and_then(|()| killpg(group, Signal::SIGCONT));
    }
}

fn signal(process: Pid, what: Signal) {
    let _ = kill(process, what).and_then(|()| kill(process, Signal::SIGCONT));
}

/// Looks for processes, on a thread of its own.
struct Look {
    proc: PathBuf,
    marker: Vec<u8>,
    group: Option<Pid>,
    /// The last one has hung: another would, too.
    hangs: bool,
}

impl Look {
    fn new(proc: &Path, execution: &ExecutionId, group: Option<Pid>) -> Look {
        let marker = format!("{}={execution}", environment::EXECUTION).into_bytes();
        Look { proc: proc.to_owned(), marker, group, hangs: false }
    }

    /// What is there; `None` if that can't be seen.
    async fn once(&mut self) -> Option<Vec<Found>> {
        if self.hangs {
            return None;
        }
        let (proc, marker, group) = (self.proc.clone(), self.marker.clone(), self.group);
        let found = match blocking::begin("processes", move || find(&proc, &marker, group)) {
            Ok(look) => timeout(MAX_LOOK, look).await.ok().and_then(Result::ok),
            // Better than not to end it.
            Err(_) => Some(find(&self.proc, &self.marker, self.group)),
        };
        self.hangs = found.is_none();
        found?.ok()
    }

    /// Looks again and again until nothing is there, and has `act` do something with what is.
    async fn until_gone(&mut self, limit: Duration, mut act: impl FnMut(&[Found])) -> Result<(), StillThere> {
        let deadline = Instant::now() + limit;
        let mut wait = Duration::from_millis(5);
        loop {
            let found = self.once().await;
            match &found {
                Some(found) if found.is_empty() => return Ok(()),
                Some(found) => act(found),
                None => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let ids = found.map(|found| found.iter().map(|process| process.pid.as_raw()).collect());
                return Err(ids.map_or(StillThere::Unknown, StillThere::Processes));
            }
            sleep(wait.min(left)).await;
            wait = (2 * wait).min(BETWEEN_LOOKS);
        }
    }
}

/// Everything that is in the group or has the marker in its environment, as far as it may be seen. Not this process, which an action
/// may have started; and not the dead that nobody has waited for.
fn find(proc: &Path, marker: &[u8], group: Option<Pid>) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(proc)? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid::from_raw) else {
            continue;
        };
        // It may end while it is looked at.
        let Some((state, its_group)) = fs::read(entry.path().join("stat")).ok().as_deref().and_then(state_and_group)
        else {
            continue;
        };
        if pid == Pid::this() || matches!(state, b'Z' | b'X') {
            continue;
        }
        let in_group = group.is_some_and(|group| group.as_raw() == its_group);
        if in_group || has_marker(&entry.path().join("environ"), marker) {
            found.push(Found { pid, in_group });
        }
    }
    Ok(found)
}

/// From /proc/PID/stat: the third field and the fifth. The second is a name in parentheses, which may hold anything.
fn state_and_group(stat: &[u8]) -> Option<(u8, i32)> {
    let rest = &stat[memchr::memrchr(b')', stat)? + 1..];
    let mut fields = rest.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let state = *fields.next()?.first()?;
    let group = std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
    Some((state, group))
}

fn has_marker(environ: &Path, marker: &[u8]) -> bool {
    let mut content = Vec::new();
    let read = File::open(environ).and_then(|file| file.take(MAX_ENVIRONMENT).read_to_end(&mut content));
    read.is_ok() && content.split(|byte| *byte == 0).any(|variable| variable == marker)
}

#[cfg(test)]
pub(super) mod tests;
