//! What is known of a command's execution, and what is said of it.
//!
//! What AWS's documentation doesn't say, and is known from AWS's SDKs or from memory, is only here:
//! - an answer's members ([`Outcome::body`]), and that those of the rejections are `error` and `errorMessage` (the SDK for Java);
//! - how many pairs a `result` may have, and how long they may be: nothing says so, so they are as short as a job's `statusDetails`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::message::Topic;
use crate::services::jobs::{Details, taken_text};

/// The longest time that a command may have ("executionTimeoutSeconds", AWS IoT developer guide).
pub(super) const MAX_TIME: Duration = Duration::from_secs(12 * 3600);

/// The longest execution id ("GetCommandExecution", AWS IoT API reference), and the longest reason code ("StatusReason").
const MAX_ID: usize = 64;
const MAX_CODE: usize = 64;

/// A command for this thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Execution {
    /// 1 to 64 of `[a-zA-Z0-9_-]`.
    pub(crate) id: String,
    /// JSON, as it came. Of any form: who made the command has written it.
    pub(crate) payload: String,
}

/// How an execution ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Status {
    Succeeded,
    Failed,
    /// It wasn't begun, for what it is.
    Rejected,
    /// It wasn't begun in its time.
    TimedOut,
}

impl Status {
    /// As AWS writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Status::Succeeded => "SUCCEEDED",
            Status::Failed => "FAILED",
            Status::Rejected => "REJECTED",
            Status::TimedOut => "TIMED_OUT",
        }
    }
}

/// Why it ends so: a code of 1 to 64 of `[A-Z0-9_-]`, and up to 1024 characters for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reason {
    code: String,
    description: String,
}

impl Reason {
    /// As far as AWS takes it: letters of the code become capitals, other characters `_`; both are cut. A character of the description
    /// that can't be shown is written as JSON would.
    pub(crate) fn new(code: &str, description: &str) -> Reason {
        let fit = |c: char| match c.to_ascii_uppercase() {
            c if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') => c,
            _ => '_',
        };
        let code: String = code.chars().take(MAX_CODE).map(fit).collect();
        Reason { code: if code.is_empty() { "UNKNOWN".to_owned() } else { code }, description: taken_text(description) }
    }

    /// The daemon ended in the middle of it: that isn't told once its time has passed.
    pub(crate) fn interrupted(description: &str) -> Reason {
        Reason::new(INTERRUPTED, description)
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    pub(crate) fn description(&self) -> &str {
        &self.description
    }
}

/// The reason codes that come from here; actions have others.
const INTERRUPTED: &str = "INTERRUPTED";
const NOT_RECORDED: &str = "NOT_RECORDED";
pub(super) const TOO_MANY: &str = "TOO_MANY";
const TOO_OLD: &str = "TOO_OLD";
pub(super) const UNSUPPORTED_FORMAT: &str = "UNSUPPORTED_FORMAT";
pub(super) const WAITED_TOO_LONG: &str = "WAITED_TOO_LONG";

/// The result of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) status: Status,
    /// None of one that has succeeded.
    pub(crate) reason: Option<Reason>,
    /// What a job says in its `statusDetails`.
    pub(crate) details: Details,
}

impl Outcome {
    pub(crate) fn succeeded(details: Details) -> Outcome {
        Outcome { status: Status::Succeeded, reason: None, details }
    }

    pub(crate) fn failed(reason: Reason, details: Details) -> Outcome {
        Outcome { status: Status::Failed, reason: Some(reason), details }
    }

    pub(crate) fn rejected(reason: Reason) -> Outcome {
        Outcome { status: Status::Rejected, reason: Some(reason), details: Details::default() }
    }

    pub(super) fn timed_out(reason: Reason) -> Outcome {
        Outcome { status: Status::TimedOut, reason: Some(reason), details: Details::default() }
    }

    /// The disk doesn't take it.
    pub(super) fn not_recorded(description: &str) -> Outcome {
        Outcome::failed(Reason::new(NOT_RECORDED, description), Details::default())
    }

    pub(super) fn too_old() -> Outcome {
        Outcome::failed(Reason::new(TOO_OLD, "it is older than commands.max_age"), Details::default())
    }

    /// The daemon ended in the middle of it: such a one isn't told once its time has passed.
    pub(crate) fn interrupted(description: &str) -> Outcome {
        Outcome::failed(Reason::interrupted(description), Details::default())
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.reason.as_ref().is_some_and(|reason| reason.code == INTERRUPTED)
    }

    /// What is published of it; if it `is_bare`, without all that AWS might not take.
    pub(super) fn body(&self, is_bare: bool) -> Map<String, Value> {
        let mut body = status(self.status.as_str());
        if let Some(reason) = &self.reason {
            let mut said = json!({"reasonCode": reason.code});
            if !(reason.description.is_empty() || is_bare) {
                said["reasonDescription"] = Value::from(&*reason.description);
            }
            body.insert("statusReason".to_owned(), said);
        }
        if !(self.details.is_empty() || is_bare) {
            let result: Map<String, Value> =
                self.details.iter().map(|(key, value)| (key.to_owned(), json!({"s": value}))).collect();
            body.insert("result".to_owned(), Value::Object(result));
        }
        body
    }
}

/// A body that says no more than a status.
pub(super) fn status(status: &str) -> Map<String, Value> {
    Map::from_iter([("status".to_owned(), Value::from(status))])
}

/// What comes on a topic below a thing's executions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Requested<'a> {
    /// A request for this execution, and the format of its payload: none is said where AWS wasn't told.
    Execution(&'a str, Option<&'a str>),
    /// A request that names no execution that could be answered.
    Unreadable,
}

/// What a topic says; `None`: it isn't one for requests to this thing.
pub(super) fn requested<'a>(topic: &'a Topic, thing: &str) -> Option<Requested<'a>> {
    let below = topic.as_str().strip_prefix("$aws/commands/things/")?.strip_prefix(thing)?;
    let (id, rest) = below.strip_prefix("/executions/")?.split_once('/')?;
    let format = match rest.strip_prefix("request")? {
        "" => None,
        rest => Some(rest.strip_prefix('/')?),
    };
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    // It becomes a part of topics.
    match (1..=MAX_ID).contains(&id.len()) && id.chars().all(is_fit) {
        true => Some(Requested::Execution(id, format)),
        false => Some(Requested::Unreadable),
    }
}
