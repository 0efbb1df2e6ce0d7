//! What the daemon and `gatewire act` say to each other: a line of JSON each.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::actions::{BadExecutionId, ExecutionId, How, ProgramEnd};

/// The longest line, in bytes without its newline.
pub(crate) const MAX_LINE: usize = 64 * 1024;

/// What the daemon asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Run(RunRequest),
    /// What is left of an execution whose helper is gone is to be ended.
    EndLeftover(ExecutionId),
    /// What was asked for on this connection is to be ended.
    Cancel,
}

/// An action is to be run. What that is, root's configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunRequest {
    pub(crate) action: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) execution: ExecutionId,
    /// The file that was downloaded for it.
    pub(crate) download: Option<PathBuf>,
}

/// A line of the daemon's.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RequestLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    arguments: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    download: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_leftover: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    cancel: bool,
}

/// Why a line is no request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error("it is no JSON object")]
    NoObject,
    #[error("it is no JSON object of a request: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Execution(#[from] BadExecutionId),
    #[error("it is none of the requests there are: `action` with `execution`, `end_leftover`, `cancel`")]
    None,
}

impl Request {
    pub(crate) fn read(line: &str) -> Result<Request, BadRequest> {
        // An array would be taken for one, by the order of the names.
        if !line.trim_ascii_start().starts_with('{') {
            return Err(BadRequest::NoObject);
        }
        match serde_json::from_str(line)? {
            RequestLine {
                action: Some(action),
                arguments,
                execution: Some(execution),
                download,
                end_leftover: None,
                cancel: false,
            } => Ok(Request::Run(RunRequest { action, arguments, execution: execution.parse()?, download })),
            RequestLine {
                action: None,
                execution: None,
                download: None,
                end_leftover: Some(execution),
                cancel: false,
                ..
            } => Ok(Request::EndLeftover(execution.parse()?)),
            RequestLine { action: None, execution: None, download: None, end_leftover: None, cancel: true, .. } => {
                Ok(Request::Cancel)
            }
            _ => Err(BadRequest::None),
        }
    }

    /// With its newline.
    pub(crate) fn line(&self) -> String {
        line(&match self.clone() {
            Request::Run(RunRequest { action, arguments, execution, download }) => RequestLine {
                action: Some(action),
                arguments,
                execution: Some(execution.to_string()),
                download,
                ..RequestLine::default()
            },
            Request::EndLeftover(execution) => {
                RequestLine { end_leftover: Some(execution.to_string()), ..RequestLine::default() }
            }
            Request::Cancel => RequestLine { cancel: true, ..RequestLine::default() },
        })
    }
}

/// What the helper answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Another action is being run; this one comes next.
    Waiting,
    /// The program has been started.
    Started,
    /// The last answer to a request to run something.
    Ended(ProgramEnd),
    /// Nothing is left of the execution.
    Gone,
    /// The last answer to a request that can't be fulfilled.
    Refused(String),
}

/// A line of the helper's.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct AnswerLine {
    #[serde(skip_serializing_if = "is_false")]
    waiting: bool,
    #[serde(skip_serializing_if = "is_false")]
    started: bool,
    #[serde(skip_serializing_if = "is_false")]
    gone: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    #[serde(skip_serializing_if = "is_false")]
    timed_out: bool,
    #[serde(skip_serializing_if = "is_false")]
    cancelled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<String>,
    /// Nothing was run, or is to be ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    stdout: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    stderr: String,
    #[serde(skip_serializing_if = "is_zero")]
    stderr_lines: u64,
}

impl Answer {
    /// `None`: it is no answer.
    pub(crate) fn read(line: &str) -> Option<Answer> {
        let line: AnswerLine = serde_json::from_str(line).ok()?;
        let how = match line {
            AnswerLine { waiting: true, .. } => return Some(Answer::Waiting),
            AnswerLine { started: true, .. } => return Some(Answer::Started),
            AnswerLine { gone: true, .. } => return Some(Answer::Gone),
            AnswerLine { error: Some(error), .. } => return Some(Answer::Refused(error)),
            AnswerLine { exit_code: Some(code), .. } => How::Exit(code),
            AnswerLine { signal: Some(signal), .. } => How::Signal(signal),
            AnswerLine { timed_out: true, .. } => How::TimedOut,
            AnswerLine { cancelled: true, .. } => How::Cancelled,
            AnswerLine { lost: Some(why), .. } => How::Lost(why),
            _ => return None,
        };
        Some(Answer::Ended(ProgramEnd {
            how,
            stdout: line.stdout,
            stderr: line.stderr,
            stderr_lines: line.stderr_lines,
        }))
    }

    /// With its newline.
    pub(crate) fn line(&self) -> String {
        let mut answer = AnswerLine::default();
        match self.clone() {
            Answer::Waiting => answer.waiting = true,
            Answer::Started => answer.started = true,
            Answer::Gone => answer.gone = true,
            Answer::Refused(why) => answer.error = Some(why),
            Answer::Ended(ended) => {
                (answer.stdout, answer.stderr, answer.stderr_lines) = (ended.stdout, ended.stderr, ended.stderr_lines);
                match ended.how {
                    How::Exit(code) => answer.exit_code = Some(code),
                    How::Signal(signal) => answer.signal = Some(signal),
                    How::TimedOut => answer.timed_out = true,
                    How::Cancelled => answer.cancelled = true,
                    How::NotStarted(why) => answer.error = Some(why),
                    How::Lost(why) => answer.lost = Some(why),
                }
            }
        }
        line(&answer)
    }
}

fn line(of: &impl Serialize) -> String {
    // Texts, numbers and a path that is one: nothing in it can fail to be written.
    serde_json::to_string(of).unwrap_or_default() + "\n"
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_back_and_what_is_none_is_refused() {
        let execution: ExecutionId = "job:1".parse().unwrap();
        let run = |arguments: &[&str], download: Option<&str>| {
            Request::Run(RunRequest {
                action: "restart".to_owned(),
                arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
                execution: execution.clone(),
                download: download.map(PathBuf::from),
            })
        };
        for request in [
            run(&[], None),
            run(&["a\n\"b", ""], Some("/var/lib/gatewire/downloads/a b")),
            Request::EndLeftover(execution.clone()),
            Request::Cancel,
        ] {
            let line = request.line();
            assert_eq!(line.matches('\n').count(), 1);
            assert_eq!(Request::read(line.trim_end()).unwrap(), request);
        }
        assert_eq!(run(&[], None).line(), "{\"action\":\"restart\",\"execution\":\"job:1\"}\n");
        for line in [
            "",
            "{}",
            "[]",
            "[\"restart\",[],\"job:1\"]",
            "null",
            "{\"action\":\"restart\"}",
            "{\"action\":\"restart\",\"execution\":\"job\"}",
            "{\"action\":\"restart\",\"execution\":\"job:1\",\"argv\":[\"/bin/sh\"]}",
            "{\"action\":\"restart\",\"execution\":\"job:1\",\"cancel\":true}",
            "{\"action\":\"restart\",\"execution\":\"job:1\",\"arguments\":\"a\"}",
            "{\"end_leftover\":\"*\"}",
            "{\"end_leftover\":\"job:1\",\"cancel\":true}",
            "{\"cancel\":false}",
        ] {
            assert!(Request::read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn an_answer_reads_back() {
        let ended =
            |how| Answer::Ended(ProgramEnd { how, stdout: "o\n\u{1b}".into(), stderr: "é".into(), stderr_lines: 3 });
        for answer in [
            Answer::Waiting,
            Answer::Started,
            Answer::Gone,
            Answer::Refused("no".to_owned()),
            ended(How::Exit(0)),
            ended(How::Exit(255)),
            ended(How::Signal(9)),
            ended(How::TimedOut),
            ended(How::Cancelled),
            ended(How::Lost("why".to_owned())),
        ] {
            assert_eq!(Answer::read(answer.line().trim_end()), Some(answer));
        }
        assert_eq!(Answer::Ended(ProgramEnd::silently(How::Exit(0))).line(), "{\"exit_code\":0}\n");
        let not_started = Answer::Ended(ProgramEnd::silently(How::NotStarted("why".to_owned())));
        assert_eq!(Answer::read(not_started.line().trim_end()), Some(Answer::Refused("why".to_owned())));
        for line in ["", "{}", "[1]", "{\"exit_code\":\"0\"}"] {
            assert_eq!(Answer::read(line), None, "{line}");
        }
        // What a later version adds is passed over.
        assert_eq!(Answer::read("{\"started\":true,\"pid\":1}"), Some(Answer::Started));
        let longest =
            ProgramEnd { how: How::Exit(0), stdout: "\0".repeat(1024), stderr: "\0".repeat(1024), stderr_lines: 1 };
        assert!(Answer::Ended(longest).line().len() < MAX_LINE);
    }
}
