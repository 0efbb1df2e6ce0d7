//! What the disk knows of what readers may have been given. Pure: no I/O, no clock.
//!
//! A message that waits on the disk is removed from it some time after a reader was given it. Should the daemon be killed in
//! between, it comes again at the next start, and has to be marked as a duplicate. So before any of them is given, a note goes to
//! the disk: up to which id they may have been. One note is for all that is in memory at the time, and what a reader is given
//! from memory alone needs none.

use std::time::{Duration, Instant};

/// A disk that takes longer for the note isn't waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Of what was on the disk at the start, earlier processes may have given all up to this id.
    before: u64,
    /// The disk knows that all up to this id may have been given.
    noted: u64,
    /// What it is to know.
    wanted: u64,
    /// What is being written.
    writing: Option<u64>,
    /// Since when a reader waits for it.
    since: Option<Instant>,
}

impl Ahead {
    /// `before` is what an earlier process has noted.
    pub(super) fn new(before: u64) -> Ahead {
        Ahead { before, noted: before, wanted: before, ..Ahead::default() }
    }

    /// What lies on the disk up to this id was found only now, and without a note.
    pub(super) fn found(&mut self, last: u64) {
        self.before = self.before.max(last);
    }

    /// Whether an earlier process may have given a message that was on the disk at the start.
    pub(super) fn may_have_been_given(&self, id: u64) -> bool {
        id <= self.before
    }

    /// Whether a message that may be on the disk can be given now. If not, the disk is to know that all up to `last` may be.
    pub(super) fn allows(&mut self, id: u64, last: u64, now: Instant) -> bool {
        if id <= self.noted {
            return true;
        }
        self.wanted = self.wanted.max(last).max(id);
        let since = *self.since.get_or_insert(now);
        now >= since + PATIENCE
    }

    /// When a message may be given though the disk hasn't answered, if one waits for that.
    pub(super) fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.since.map(|since| since + PATIENCE).filter(|until| *until > now)
    }

    /// Whether there is something to write.
    pub(super) fn is_behind(&self) -> bool {
        self.wanted > self.noted && self.writing.is_none()
    }

    /// What to write now, with whatever else is written.
    pub(super) fn begin_write(&mut self) -> Option<u64> {
        self.writing = self.is_behind().then_some(self.wanted);
        self.writing
    }

    pub(super) fn write_ended(&mut self, successful: bool) {
        let Some(written) = self.writing.take().filter(|_| successful) else { return };
        self.noted = written;
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_stored_is_given_before_the_disk_knows_unless_it_takes_too_long() {
        let (mut ahead, start) = (Ahead::new(3), Instant::now());
        assert!(ahead.may_have_been_given(3) && !ahead.may_have_been_given(4));
        assert!(ahead.allows(3, 5, start) && !ahead.is_behind());
        assert!(!ahead.allows(4, 5, start) && ahead.is_behind());
        assert_eq!((ahead.begin_write(), ahead.is_behind()), (Some(5), false));
        ahead.write_ended(false);
        assert!(!ahead.allows(4, 6, start) && ahead.waits_until(start) == Some(start + PATIENCE));
        assert!(ahead.allows(4, 6, start + PATIENCE) && ahead.waits_until(start + PATIENCE).is_none());
        assert_eq!(ahead.begin_write(), Some(6));
        ahead.write_ended(true);
        assert!(ahead.allows(6, 6, start) && !ahead.allows(7, 7, start) && !ahead.may_have_been_given(4));
    }
}
