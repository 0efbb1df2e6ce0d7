//! Which execution a process belongs to.

use std::fmt;
use std::str::FromStr;

/// The longest id of a job or a command's execution, in bytes.
const MAX_ID: usize = 64;

/// Names an execution of a job, or of a command, in the environment of everything that is started for it: `JOBID:NUMBER`, or
/// `JOBID:NUMBER:DAEMON`, as several daemons on one machine may have an execution of the same job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExecutionId {
    /// 1 to 64 of `[a-zA-Z0-9_-]`.
    job: String,
    /// A command's is 1.
    number: i64,
    /// Which daemon's it is, if that is said.
    daemon: Option<u32>,
}

/// It isn't `JOBID:NUMBER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an execution is named JOBID:NUMBER or JOBID:NUMBER:DAEMON, with 1 to 64 letters, digits, `_` and `-` before the colon"
)]
pub(crate) struct BadExecutionId;

impl ExecutionId {
    /// # Errors
    /// `job` isn't the id of one.
    pub(crate) fn new(job: &str, number: i64) -> Result<ExecutionId, BadExecutionId> {
        let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        match (1..=MAX_ID).contains(&job.len()) && job.chars().all(is_fit) {
            true => Ok(ExecutionId { job: job.to_owned(), number, daemon: None }),
            false => Err(BadExecutionId),
        }
    }

    /// The same, of the daemon of which this is the number.
    pub(crate) fn of(self, daemon: u32) -> ExecutionId {
        ExecutionId { daemon: Some(daemon), ..self }
    }

    pub(crate) fn job(&self) -> &str {
        &self.job
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.job, self.number)?;
        self.daemon.map_or(Ok(()), |daemon| write!(f, ":{daemon:08x}"))
    }
}

impl FromStr for ExecutionId {
    type Err = BadExecutionId;

    fn from_str(text: &str) -> Result<ExecutionId, BadExecutionId> {
        let (job, rest) = text.split_once(':').ok_or(BadExecutionId)?;
        let (number, daemon) = rest.split_once(':').map_or((rest, None), |(number, daemon)| (number, Some(daemon)));
        let daemon = daemon.map(|daemon| u32::from_str_radix(daemon, 16)).transpose().map_err(|_| BadExecutionId)?;
        let id = ExecutionId::new(job, number.parse().map_err(|_| BadExecutionId)?)?;
        let id = ExecutionId { daemon, ..id };
        // One text each: it is compared as one.
        (id.to_string() == text).then_some(id).ok_or(BadExecutionId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_has_one_text() {
        for text in ["a:1", "Restart_2-b:12", "5f0c8a3e-0000-4000-8000-000000000000:1", "x:-1", "a:1:0badcafe"] {
            assert_eq!(text.parse::<ExecutionId>().map(|id| id.to_string()).as_deref(), Ok(text));
        }
        let long = format!("{}:1", "a".repeat(65));
        for text in [
            "",
            ":1",
            "a",
            "a:",
            "a:x",
            "a:+1",
            "a:01",
            "a b:1",
            "a:1:1",
            "a:1:",
            "a:1:0BADCAFE",
            "a:1:0badcafe:1",
            "a\n:1",
            "a=b:1",
            long.as_str(),
        ] {
            assert_eq!(text.parse::<ExecutionId>(), Err(BadExecutionId), "{text:?}");
        }
    }
}
