//! What of Jobs is on the disk, so that no execution is begun twice and no result lost, whenever the daemon is killed.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::execution::{Execution, Identity, Outcome};

/// So many executions that have ended are remembered: AWS may still name one that it has just been told the end of.
const MAX_ENDED: usize = 16;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// The execution that was begun, and isn't over for AWS as far as we know.
    pub(crate) current: Option<Begun>,
    /// The last that were, the newest last.
    ended: VecDeque<(Identity, Outcome)>,
}

/// An execution that may have been begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begun {
    pub(crate) execution: Execution,
    /// What it has come to; `None`: it was under way.
    pub(crate) outcome: Option<Outcome>,
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

    /// What an execution has come to, if it was begun and has ended.
    pub(super) fn outcome(&self, identity: &Identity) -> Option<&Outcome> {
        self.ended.iter().rev().find(|(ended, _)| ended == identity).map(|(_, outcome)| outcome)
    }

    /// It is over: nothing more is to be said of it.
    pub(super) fn over(&mut self, identity: Identity, outcome: Outcome) {
        self.current = None;
        self.ended.retain(|(ended, _)| *ended != identity);
        self.ended.push_back((identity, outcome));
        while self.ended.len() > MAX_ENDED {
            self.ended.pop_front();
        }
    }
}
