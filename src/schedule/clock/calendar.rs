//! `cron`: due times by the clock on the wall, which may be set.
//!
//! A clock that is set by up to [`SMALL`] is taken to have been corrected: what that leaves out is made up for by one
//! publication, what it repeats isn't repeated. By more than that it showed nonsense before (a Raspberry Pi boots with the
//! time of its last shutdown, or 1970): what lies between was never due, and the pattern goes on from the new time.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::{Due, Now};
use crate::cron::Cron;

/// Up to here a clock that is set was only corrected. cron(8) draws the line here, too.
const SMALL: SignedDuration = SignedDuration::from_hours(3);

/// Of the due times that passed unnoticed so many are counted, one by one; a week of seconds would take long.
const MAX_SKIPPED: u64 = 1000;

/// Finds out by how much the clock was set.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    seen: Now,
}

impl ClockWatch {
    pub(crate) fn new(now: Now) -> ClockWatch {
        ClockWatch { seen: now }
    }

    /// By how much the clock was set since it was last looked at, if that was by more than [`SMALL`]. What passes while the
    /// machine sleeps or stands still passes on both clocks.
    pub(crate) fn set_by(&mut self, now: &Now) -> Option<SignedDuration> {
        let shown = now.wall.duration_since(self.seen.wall);
        let passed = SignedDuration::try_from(now.since_boot.saturating_sub(self.seen.since_boot)).unwrap_or_default();
        self.seen = *now;
        Some(shown - passed).filter(|step| step.abs() > SMALL)
    }
}

/// The due times of one publication.
#[derive(Debug, Clone)]
pub(super) struct Calendar {
    cron: Cron,
    jitter: Duration,
    /// The publication at the start, until it is made.
    start: Option<Instant>,
    /// The next of the pattern's times; `None` at the end of the calendar.
    point: Option<Timestamp>,
    /// When the publication of that point goes out: on it, or up to `jitter` later.
    due: Timestamp,
}

impl Calendar {
    /// From `now` on. `random` is uniform in `[0, 1)` and places the first publication within `jitter`, or before the
    /// point after it if that comes first.
    pub(super) fn new(cron: Cron, jitter: Duration, at_start: bool, now: &Now, random: f64) -> Calendar {
        let start = at_start.then(|| now.mono + jitter.mul_f64(random));
        let mut calendar = Calendar { cron, jitter, start, point: None, due: now.wall };
        calendar.restart(now, random);
        calendar
    }

    /// The clock was set: the pattern goes on from what it shows now.
    pub(super) fn restart(&mut self, now: &Now, random: f64) {
        self.set_point(self.cron.after(now.wall), random);
    }

    /// When the publication at the start is due, until it is made.
    pub(super) fn start(&self) -> Option<Instant> {
        self.start
    }

    /// What the clock shows when the next publication goes out.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.point.map(|_| self.due)
    }

    /// The publication that is due at `now`, if one is; of several that were missed only the latest. `random` as in
    /// [`Calendar::new`].
    pub(super) fn take(&mut self, now: &Now, random: f64) -> Option<Due> {
        if self.start.is_some_and(|start| start <= now.mono) {
            self.start = None;
            return Some(Due { at: now.wall, skipped: 0 });
        }
        if self.next()? > now.wall {
            return None;
        }
        let mut at = self.point?;
        let mut skipped = self.cron.left_out(at).min(MAX_SKIPPED - 1);
        let mut following = self.cron.after(at);
        while let Some(point) = following.filter(|point| *point <= now.wall) {
            (at, following) = (point, self.cron.after(point));
            skipped += 1;
            if skipped == MAX_SKIPPED {
                (at, following) = (now.wall, self.cron.after(now.wall));
            }
        }
        self.set_point(following, random);
        Some(Due { at, skipped })
    }

    fn set_point(&mut self, point: Option<Timestamp>, random: f64) {
        self.point = point;
        let Some(point) = point else { return };
        self.due = point;
        if self.jitter > Duration::ZERO
            && let Some(following) = self.cron.after(point)
        {
            let room = Duration::try_from(following.duration_since(point)).unwrap_or_default();
            self.due = point.saturating_add(self.jitter.min(room).mul_f64(random)).unwrap_or(point);
        }
    }
}

#[cfg(test)]
mod tests;
