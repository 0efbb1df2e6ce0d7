//! What Jobs says of an execution, and what is said to Jobs.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::details::Details;
use crate::json;

/// The longest job id.
const MAX_JOB_ID: usize = 64;

/// One execution of a job on this thing. A job that AWS tries again has a new number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// 1 to 64 of `[a-zA-Z0-9_-]`.
    pub(crate) job: String,
    pub(crate) number: i64,
}

/// An execution as AWS has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Execution {
    pub(crate) identity: Identity,
    /// Grows with each update; an update that expects another is refused.
    pub(crate) version: i64,
    /// JSON, as it came. Of any form: who made the job has written it.
    pub(crate) document: String,
    /// Its `statusDetails` name an action, as this gateway tells before it begins one.
    #[serde(default)]
    pub(crate) was_announced: bool,
    /// When AWS calls it timed out, in seconds since 1970, if it says that.
    #[serde(default)]
    pub(crate) times_out_at: Option<i64>,
}

/// Where AWS says that an execution is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Queued,
    InProgress,
    /// Succeeded, failed, rejected, timed out, cancelled, removed, or a name that we don't know: nothing comes after it.
    Terminal,
}

/// How an execution ends, if we end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Status {
    Succeeded,
    Failed,
    /// It wasn't begun.
    Rejected,
}

/// The result of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) status: Status,
    pub(crate) details: Details,
}

impl Outcome {
    /// Why it is so, for people: the reason that was told, or what the program has failed with.
    pub(crate) fn why(&self) -> Option<String> {
        let exit_code = || self.details.get("exit_code").filter(|_| self.status == Status::Failed);
        let reason = self.details.get("reason").map(str::to_owned);
        reason.or_else(|| exit_code().map(|code| format!("ended with exit code {code}")))
    }
}

impl Status {
    /// As AWS writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Status::Succeeded => "SUCCEEDED",
            Status::Failed => "FAILED",
            Status::Rejected => "REJECTED",
        }
    }
}

impl Stage {
    fn of(status: &str) -> Stage {
        match status {
            "QUEUED" => Stage::Queued,
            "IN_PROGRESS" => Stage::InProgress,
            _ => Stage::Terminal,
        }
    }
}

/// Where an execution is, with its version: what an answer says of the state that AWS has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// As AWS writes it.
    pub(super) status: String,
    pub(super) stage: Stage,
    pub(super) version: Option<i64>,
    /// Where it is said.
    pub(super) number: Option<i64>,
}

impl Known {
    /// Reads an `executionState`, or an `execution`.
    pub(super) fn read(json: &str) -> Option<Known> {
        let status = member(json, "status")?;
        let stage = Stage::of(&status);
        Some(Known {
            status: status.into_owned(),
            stage,
            version: number(json, "versionNumber"),
            number: number(json, "executionNumber"),
        })
    }
}

/// What stands in an answer under a name.
pub(super) fn part<'a>(payload: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(payload).ok()?;
    // Without the white space around it, or nothing in it would be found.
    json::child(json::parse(text)?, name)
}

/// The execution in an answer to start-next. `None`: there is none. `Some(None)`: there is one that can't be read, so that nothing
/// can be answered to it.
pub(super) fn started(payload: &[u8]) -> Option<Option<Execution>> {
    let json =
        part(payload, "execution").filter(|json| json.starts_with('{') && json::child(json, "jobId").is_some())?;
    Some(read(json, part(payload, "timestamp").and_then(|at| at.parse().ok())))
}

/// Of an answer that was made at this time, in seconds since 1970.
fn read(json: &str, answered_at: Option<i64>) -> Option<Execution> {
    let job = member(json, "jobId").filter(|job| is_job_id(job))?.into_owned();
    Some(Execution {
        identity: Identity { job, number: number(json, "executionNumber").unwrap_or(1) },
        version: number(json, "versionNumber")?,
        document: json::child(json, "jobDocument").unwrap_or("null").to_owned(),
        was_announced: json::child(json, "statusDetails")
            .is_some_and(|details| json::child(details, "action").is_some()),
        times_out_at: number(json, "approximateSecondsBeforeTimedOut").and_then(|left| answered_at?.checked_add(left)),
    })
}

/// The job that a notify-next names, and the number of its execution, if it says that.
pub(super) fn named(payload: &[u8]) -> Option<(Cow<'_, str>, Option<i64>)> {
    let json = part(payload, "execution")?;
    Some((member(json, "jobId")?, number(json, "executionNumber")))
}

/// It becomes a part of topics.
fn is_job_id(job: &str) -> bool {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (1..=MAX_JOB_ID).contains(&job.len()) && job.chars().all(is_fit)
}

fn member<'a>(json: &'a str, name: &str) -> Option<Cow<'a, str>> {
    json::child(json, name).and_then(json::string)
}

fn number(json: &str, name: &str) -> Option<i64> {
    json::child(json, name)?.parse().ok()
}
