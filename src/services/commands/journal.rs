//! What of commands is on the disk, so that no execution is begun twice and no result lost, whenever the daemon is killed.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::execution::{MAX_TIME, Outcome};

/// So many executions are remembered: IoT Core sends a request again that it has no PUBACK for.
pub(super) const MAX_ENTRIES: usize = 64;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// The oldest first.
    entries: VecDeque<Entry>,
    /// When a daemon last noted that it heard the server, in seconds since 1970 by this machine's clock.
    #[serde(default)]
    pub(super) seen: i64,
}

/// An execution that has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) execution: String,
    /// When, in seconds since 1970 by this machine's clock.
    pub(super) came: i64,
    /// How many seconds it had left then, if that was said.
    pub(super) time: Option<u32>,
    pub(crate) stage: Stage,
}

/// What has become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// It has come. Its action wasn't begun.
    Came,
    /// Its action may have been begun.
    Begun {
        /// What it asks for.
        payload: String,
    },
    /// This is to be told.
    Ended(Outcome),
    /// Nothing more is to be said of it.
    Over,
}

impl Journal {
    /// Reads a note. One that can't be read is as good as none.
    pub(crate) fn read(note: &str) -> Journal {
        serde_json::from_str(note).unwrap_or_default()
    }

    /// The note.
    pub(crate) fn text(&self) -> String {
        // Strings and numbers: nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// All that are remembered, the oldest first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(super) fn has(&self, execution: &str) -> bool {
        self.entries.iter().any(|entry| entry.execution == execution)
    }

    /// One more. Of those that are over the ones leave for it whose time has passed, then the oldest; those that aren't over stay, and
    /// whoever calls this has fewer of them than [`MAX_ENTRIES`].
    pub(super) fn add(&mut self, entry: Entry, wall: i64) {
        while self.entries.len() >= MAX_ENTRIES {
            let is_over = |entry: &Entry| entry.stage == Stage::Over;
            let past = self.entries.iter().position(|entry| is_over(entry) && entry.is_past(wall));
            let Some(index) = past.or_else(|| self.entries.iter().position(is_over)) else { break };
            self.entries.remove(index);
        }
        self.entries.push_back(entry);
    }

    pub(super) fn set_stage(&mut self, execution: &str, stage: Stage) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.execution == execution) {
            entry.stage = stage;
        }
    }
}

impl Entry {
    /// How long its time lasts from when it came.
    pub(super) fn time(&self) -> Duration {
        self.time.map_or(MAX_TIME, |seconds| Duration::from_secs(seconds.into())).min(MAX_TIME)
    }

    fn is_past(&self, wall: i64) -> bool {
        self.came.saturating_add(self.time().as_secs().cast_signed()) <= wall
    }
}
