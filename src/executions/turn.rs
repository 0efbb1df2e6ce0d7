//! Whose turn it is: one action at a time, in the order in which they were asked for. Pure.

use std::collections::VecDeque;

use crate::services::jobs::Execution;

/// Something that waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Waiting {
    /// The action of a job.
    Job(Execution),
    /// That of a command: whether it still wants to begin, it says when its turn comes.
    Command(String),
    /// That of a command that an earlier process may have begun, and whether it may begin again.
    ResumedCommand(crate::services::commands::Execution, bool),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Somebody has it.
    is_taken: bool,
    waiting: VecDeque<Waiting>,
}

impl Turn {
    /// Whether it is free, and nobody waits for it.
    pub(super) fn is_free(&self) -> bool {
        !self.is_taken && self.waiting.is_empty()
    }

    /// Somebody takes it who needn't wait.
    pub(super) fn take(&mut self) {
        self.is_taken = true;
    }

    /// Somebody waits.
    pub(super) fn wait(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
    }

    /// It is free again.
    pub(super) fn free(&mut self) {
        self.is_taken = false;
    }

    /// The next, if it is free: it has it then.
    pub(super) fn next(&mut self) -> Option<Waiting> {
        if self.is_taken {
            return None;
        }
        let next = self.waiting.pop_front();
        self.is_taken = next.is_some();
        next
    }

    /// A job that waits doesn't any more. Whether it did.
    pub(super) fn forget_job(&mut self) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| !matches!(waiting, Waiting::Job(_)));
        self.waiting.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::jobs::Identity;

    #[test]
    fn one_after_the_other_in_the_order_of_asking() {
        let job = || {
            let identity = Identity { job: "job".to_owned(), number: 1 };
            Waiting::Job(Execution {
                identity,
                version: 1,
                document: "{}".to_owned(),
                was_announced: false,
                times_out_at: None,
            })
        };
        let command = |id: &str| Waiting::Command(id.to_owned());
        let mut turn = Turn::default();
        assert!(turn.is_free() && turn.next().is_none());
        turn.take();
        turn.wait(command("a"));
        turn.wait(job());
        turn.wait(command("b"));
        assert!(!turn.is_free() && turn.next().is_none(), "it is taken");
        turn.free();
        assert!(!turn.is_free(), "others wait");
        assert_eq!((turn.next(), turn.next()), (Some(command("a")), None));
        assert!(turn.forget_job() && !turn.forget_job());
        turn.free();
        assert_eq!(turn.next(), Some(command("b")));
        turn.free();
        assert!(turn.is_free());
    }
}
