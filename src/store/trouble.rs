//! Why nothing can be stored or read at the moment, and when to say so: once for each cause, and once when all is well again.

use jiff::Timestamp;

use super::{Failure, QueueId};

/// What was done with the database. Each trouble ends when the same is done without: on a card with a bad sector writes may
/// succeed while reads fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Opening it, which whatever else succeeds has done, too.
    Open,
    /// Putting its files back, which each write sees to first.
    Restore,
    Write,
    Read(QueueId),
}

impl Action {
    /// Whether one of these succeeds only if the other would.
    fn includes(self, other: Action) -> bool {
        match other {
            Action::Open => self != Action::Restore,
            Action::Restore => matches!(self, Action::Restore | Action::Write),
            Action::Write | Action::Read(_) => self == other,
        }
    }
}

/// What to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    Failing,
    Recovered,
}

#[derive(Debug, Default)]
pub(super) struct Trouble {
    failing: Vec<(Action, Failure)>,
    since: Option<Timestamp>,
}

impl Trouble {
    pub(super) fn note(&mut self, action: Action, failure: Option<&Failure>, now: Timestamp) -> Option<News> {
        let Some(failure) = failure else { return self.end(action) };
        let is_known = self.failing.iter().any(|(_, known)| known == failure);
        self.failing.retain(|(known, _)| *known != action);
        self.failing.push((action, failure.clone()));
        self.since.get_or_insert(now);
        (!is_known).then_some(News::Failing)
    }

    fn end(&mut self, action: Action) -> Option<News> {
        self.failing.retain(|(known, _)| !action.includes(*known));
        (self.failing.is_empty() && self.since.take().is_some()).then_some(News::Recovered)
    }

    /// The newest failure, and since when something fails.
    pub(super) fn now(&self) -> Option<(&Failure, Timestamp)> {
        Some((&self.failing.last()?.1, self.since?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const READ: Action = Action::Read(QueueId::OUTBOX);

    fn io() -> Failure {
        Failure::Io { path: "gatewire.db".to_owned(), detail: "Input/output error".to_owned() }
    }

    fn full() -> Failure {
        Failure::Full { path: "gatewire.db".to_owned() }
    }

    #[test]
    fn a_write_that_succeeds_between_reads_that_fail_says_nothing() {
        let mut trouble = Trouble::default();
        assert_eq!(trouble.note(READ, Some(&io()), NOW), Some(News::Failing));
        for _ in 0..3 {
            assert_eq!(trouble.note(Action::Write, None, NOW), None);
            assert_eq!(trouble.note(READ, Some(&io()), NOW), None);
        }
        assert_eq!(trouble.now(), Some((&io(), NOW)));
        assert_eq!(trouble.note(READ, None, NOW), Some(News::Recovered));
        assert_eq!(trouble.now(), None);
        assert_eq!(trouble.note(READ, None, NOW), None);
    }

    #[test]
    fn reads_that_succeed_do_not_end_the_trouble_of_writes_and_each_cause_is_said_once() {
        let mut trouble = Trouble::default();
        assert_eq!(trouble.note(Action::Write, Some(&full()), NOW), Some(News::Failing));
        assert_eq!(trouble.note(READ, None, NOW), None);
        assert_eq!(trouble.note(READ, Some(&io()), NOW), Some(News::Failing));
        for _ in 0..3 {
            assert_eq!(trouble.note(Action::Write, Some(&full()), NOW), None);
            assert_eq!(trouble.note(READ, Some(&io()), NOW), None);
        }
        assert_eq!(trouble.note(READ, None, NOW), None);
        assert_eq!(trouble.note(Action::Write, None, NOW), Some(News::Recovered));
    }

    #[test]
    fn a_database_that_is_written_is_open_and_in_its_place() {
        let mut trouble = Trouble::default();
        assert_eq!(trouble.note(Action::Open, Some(&io()), NOW), Some(News::Failing));
        assert_eq!(trouble.note(Action::Restore, None, NOW), None);
        assert_eq!(trouble.note(READ, None, NOW), Some(News::Recovered));
        assert_eq!(trouble.note(Action::Restore, Some(&full()), NOW), Some(News::Failing));
        assert_eq!(trouble.note(READ, None, NOW), None);
        assert_eq!(trouble.note(Action::Write, None, NOW), Some(News::Recovered));
        assert_eq!(trouble.note(Action::Write, Some(&full()), NOW), Some(News::Failing));
        assert_eq!(trouble.note(Action::Restore, None, NOW), None);
    }
}
