//! When a scheduled publication is due. Pure: time and randomness come from the caller.

mod calendar;
mod grid;

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::config::{self, When};
use crate::cron::Cron;
use crate::timestamp::to_milliseconds;
use calendar::Calendar;
use grid::Grid;

pub(crate) use calendar::ClockWatch;

/// The clocks of this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) mono: Instant,
    /// What people read, and may set.
    pub(crate) wall: Timestamp,
    /// Nobody can set it. Unlike `mono` it goes on while the machine sleeps.
    pub(crate) since_boot: Duration,
}

/// When to look at a clock again: whichever comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wake {
    pub(crate) mono: Option<Instant>,
    /// Or as soon as the clock on the wall is set.
    pub(crate) wall: Option<Timestamp>,
}

impl Wake {
    /// The earlier of both.
    pub(crate) fn or(self, other: Wake) -> Wake {
        let earlier = |a: Option<Timestamp>, b| a.into_iter().chain(b).min();
        Wake { mono: self.mono.into_iter().chain(other.mono).min(), wall: earlier(self.wall, other.wall) }
    }
}

/// A publication that is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) at: Timestamp,
    /// Due times that had passed unnoticed before it: the machine slept or stood still, or its clock was put forward.
    pub(crate) skipped: u64,
}

/// The due times of one publication.
#[derive(Debug, Clone)]
pub(crate) struct Clock(Timing);

#[derive(Debug, Clone)]
enum Timing {
    Every(Grid),
    Cron(Box<Calendar>),
}

impl Clock {
    /// From `start` on. `random` is uniform in `[0, 1)`, here and below, and places the publication within its jitter.
    pub(crate) fn new(config: &config::Publish, start: &Now, random: f64) -> Clock {
        let config::Publish { when, jitter, at_start, .. } = config;
        Clock(match when {
            When::Every(every) => Timing::Every(Grid::new(start.mono, *every, *jitter, *at_start, random)),
            When::Cron(cron) => {
                Timing::Cron(Box::new(Calendar::new(Cron::clone(cron), *jitter, *at_start, start, random)))
            }
        })
    }

    pub(crate) fn wake(&self) -> Wake {
        match &self.0 {
            Timing::Every(grid) => Wake { mono: Some(grid.next()), wall: None },
            Timing::Cron(calendar) => Wake { mono: calendar.start(), wall: calendar.next() },
        }
    }

    /// What the clock on the wall will show at the next publication, as far as can be known.
    pub(crate) fn next(&self, now: &Now) -> Option<Timestamp> {
        let Wake { mono, wall } = self.wake();
        mono.map(|at| shown(at, now)).into_iter().chain(wall).min()
    }

    /// The publication that is due at `now`, if one is. Of several that were missed only the latest is made.
    pub(crate) fn take(&mut self, now: &Now, random: f64) -> Option<Due> {
        match &mut self.0 {
            Timing::Every(grid) => {
                grid.take(now.mono, random).map(|point| Due { at: shown(point.at, now), skipped: point.skipped })
            }
            Timing::Cron(calendar) => calendar.take(now, random),
        }
    }

    /// The clock on the wall showed nonsense until `now`.
    pub(crate) fn restart(&mut self, now: &Now, random: f64) {
        if let Timing::Cron(calendar) = &mut self.0 {
            calendar.restart(now, random);
        }
    }
}

/// What the clock on the wall shows at `at`.
fn shown(at: Instant, now: &Now) -> Timestamp {
    let ahead = SignedDuration::try_from(at.saturating_duration_since(now.mono)).unwrap_or(SignedDuration::ZERO);
    let behind = SignedDuration::try_from(now.mono.saturating_duration_since(at)).unwrap_or(SignedDuration::ZERO);
    to_milliseconds(now.wall.saturating_add(ahead - behind).unwrap_or(now.wall))
}
