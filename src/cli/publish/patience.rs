//! How long `gatewire publish` waits for an answer, and what it says meanwhile.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::Exit;
use crate::cli::client::connect;
use crate::cli::output::{Failure, tell};
use crate::count::count;

/// How often it is looked whether that was too long.
pub(super) const LOOK: Duration = Duration::from_millis(200);

/// After so long it says what it waits for.
const SILENCE: Duration = Duration::from_secs(5);

/// The longest status document that is read, in bytes.
const MAX_STATUS: u64 = 16 << 20;

/// The wait for an answer.
#[derive(Debug)]
pub(super) struct Patience {
    pub(super) timeout: Duration,
    /// The socket of the daemon that knows why.
    pub(super) status: Option<PathBuf>,
    /// Since when messages have no answer.
    since: Option<Instant>,
    is_said: bool,
}

impl Patience {
    pub(super) fn new(timeout: Duration) -> Patience {
        Patience { timeout, status: None, since: None, is_said: false }
    }

    /// An answer has come.
    pub(super) fn answered(&mut self) {
        self.since = None;
    }

    /// So many messages have no answer.
    ///
    /// # Errors
    /// That has been so for too long.
    pub(super) fn look(&mut self, unanswered: u64, now: Instant) -> Result<(), Failure> {
        if unanswered == 0 {
            self.since = None;
            return Ok(());
        }
        let waited = now.duration_since(*self.since.get_or_insert(now));
        let (timeout, what) = (crate::duration::written(self.timeout), count(unanswered, "message"));
        if waited >= self.timeout {
            let text = format!(
                "no answer within {timeout} for {what}, which may be published all the same. {}",
                why(self.status.as_deref())
            );
            return Err(Failure::new(text, Exit::Unavailable));
        }
        if waited >= SILENCE && !std::mem::replace(&mut self.is_said, true) {
            let why = why(self.status.as_deref());
            tell(&format!("waiting for the answer to {what}, for up to {timeout} (--timeout). {why}"));
        }
        Ok(())
    }
}

/// What is in the way, as far as the daemon says so.
fn why(status: Option<&Path>) -> String {
    let document = status.and_then(document).unwrap_or_default();
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
    let link = match text("/link/state") {
        Some("connected") => Some("IoT Core hasn't acknowledged it yet".to_owned()),
        Some(_) => Some(match text("/link/last_error/message") {
            Some(error) => format!("there is no link to IoT Core ({error})"),
            None => "there is no link to IoT Core yet".to_owned(),
        }),
        None => None,
    };
    let store = text("/store/error").map(|error| format!("nothing can be stored ({error})"));
    let reasons: Vec<String> = link.into_iter().chain(store).collect();
    match reasons.is_empty() {
        true => "Neither IoT Core nor the disk has accepted it; `gatewire status` may show why".to_owned(),
        false => format!("Why: {}", reasons.join("; ")),
    }
}

fn document(path: &Path) -> Option<Value> {
    let stream = connect(path).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    let mut text = Vec::new();
    stream.take(MAX_STATUS).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wait_without_any_answer_is_too_long() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut patience = Patience::new(10 * second);
        assert!(patience.look(0, start).is_ok());
        assert!(patience.look(1, start + 100 * second).is_ok());
        assert!(patience.look(1, start + 109 * second).is_ok());
        patience.answered();
        assert!(patience.look(5, start + 110 * second).is_ok());
        assert!(patience.look(0, start + 150 * second).is_ok(), "nothing is owed");
        assert!(patience.look(2, start + 151 * second).is_ok());
        let failure = patience.look(2, start + 161 * second).unwrap_err();
        let text = failure.into_lines().concat();
        assert!(text.starts_with("no answer within 10s for 2 messages, which may be published all the same"), "{text}");
    }
}
