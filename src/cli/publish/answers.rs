//! What the daemon answers to the messages of `gatewire publish`, and what comes of it.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::Ordering;

use serde::Deserialize;

use super::patience::{LOOK, Patience};
use super::{Progress, refuse};
use crate::cli::Exit;
use crate::cli::client::Unreachable;
use crate::cli::output::{self, Failure, StyledText};
use crate::time;

/// The longest answer, in bytes: many times what a daemon writes.
const MAX_ANSWER: u64 = 64 * 1024;

/// A line from the daemon.
#[derive(Debug, Deserialize)]
struct PublishAnswer {
    id: Option<u64>,
    result: Option<String>,
    error: Option<String>,
    detail: Option<String>,
}

/// What the daemon has answered.
pub(super) struct Answers<'a> {
    path: &'a Path,
    lines: bool,
    /// How often each result has come.
    results: BTreeMap<String, u64>,
    refused: u64,
    /// Messages that weren't taken because the daemon was stopping.
    shut: u64,
}

impl<'a> Answers<'a> {
    /// None yet, at the socket at `path`; each message is a line of standard input if `lines`.
    pub(super) fn new(path: &'a Path, lines: bool) -> Answers<'a> {
        Answers { path, lines, results: BTreeMap::new(), refused: 0, shut: 0 }
    }

    /// Reads answers until the daemon closes the connection, or gives none for too long.
    pub(super) fn read(
        &mut self,
        stream: UnixStream,
        progress: &Progress,
        mut patience: Patience,
    ) -> Result<(), Failure> {
        stream.set_read_timeout(Some(LOOK)).map_err(|error| Unreachable::new(self.path, error))?;
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            patience.look(progress.sent.load(Ordering::SeqCst).saturating_sub(self.answered()), time::now())?;
            match reader.by_ref().take(MAX_ANSWER).read_until(b'\n', &mut line) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                // It has ended, after all answers or not: that is counted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(Unreachable::new(self.path, error).into()),
                Ok(0) => return Ok(()),
                Ok(_) => {
                    if let Some((id, why)) = self.note(&line)? {
                        refuse(self.lines, id, &why);
                    }
                    line.clear();
                    patience.answered();
                }
            }
        }
    }

    fn answered(&self) -> u64 {
        self.results.values().sum::<u64>() + self.refused + self.shut
    }

    /// Counts an answer. Returns which message is refused, and why.
    fn note(&mut self, line: &[u8]) -> Result<Option<(u64, String)>, Failure> {
        let answer: PublishAnswer = serde_json::from_slice(line).map_err(|error| Unreachable::Strange {
            path: self.path.to_owned(),
            detail: format!("not an answer: {error}"),
        })?;
        let detail = answer.detail.unwrap_or_default();
        match (answer.result, answer.error, answer.id) {
            (Some(result), ..) => {
                *self.results.entry(result).or_default() += 1;
                Ok(None)
            }
            (None, Some(code), Some(id)) => {
                *(if code == "shutting_down" { &mut self.shut } else { &mut self.refused }) += 1;
                Ok(Some((id, format!("{code}: {detail}"))))
            }
            // An [[ingest]] says which message of ours it can't understand.
            (None, code, None) if code.as_deref().is_none_or(|code| code == "bad_line") => {
                Err(Unreachable::Other { path: self.path.to_owned(), wanted: "an [[ingest]]" }.into())
            }
            // A message for the readers of a forward.
            (None, None, Some(_)) => {
                Err(Unreachable::Other { path: self.path.to_owned(), wanted: "an [[ingest]]" }.into())
            }
            // Not about a message of ours.
            (None, ..) => Err(Unreachable::Refused { path: self.path.to_owned(), detail }.into()),
        }
    }

    /// Says what has become of all, once the daemon has closed the connection.
    pub(super) fn end(self, progress: &Progress) -> Result<Exit, Failure> {
        let answered = self.answered();
        // In this order: what is sent after `done` was looked at isn't missed.
        let (done, sent) = (progress.done.load(Ordering::SeqCst), progress.sent.load(Ordering::SeqCst));
        let results: Vec<String> = match self.lines {
            true => self.results.iter().map(|(result, n)| format!("{n} {result}")).collect(),
            false => self.results.into_keys().collect(),
        };
        if !results.is_empty() {
            output::answer(&StyledText::of_lines([results.join(", ")]))?;
        }
        let unanswered = sent.saturating_sub(answered);
        if !done || unanswered > 0 {
            let text = match unanswered {
                0 => String::new(),
                1 => ": the last message has no answer. It may or may not be published".to_owned(),
                n => format!(": the last {n} messages have no answer. They may or may not be published"),
            };
            return Err(Failure::new(format!("gatewire has stopped{text}"), Exit::Unavailable));
        }
        let refused = self.refused + progress.refused.load(Ordering::SeqCst);
        Ok(match (self.shut, progress.broken.load(Ordering::SeqCst), refused) {
            (1.., ..) => Exit::Unavailable,
            (_, true, _) => Exit::Internal,
            (_, _, 1..) => Exit::No,
            (0, false, 0) => Exit::Done,
        })
    }
}
