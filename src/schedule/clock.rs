//! When a scheduled publication is due. Pure: time and randomness come from the caller.
//!
//! Due times lie on a grid that begins with the daemon and has `every` between its points. However late a publication is
//! made, the next one is on the grid again. Time is the monotonic clock: a clock that is set doesn't move the grid, and
//! while the machine sleeps the grid stands still.

use std::time::{Duration, Instant};

/// The times of one publication.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    start: Instant,
    every: Duration,
    jitter: Duration,
    /// How many publications are left; `None`: no end.
    left: Option<u64>,
    /// The number of the next grid point, `start` being 0.
    point: u64,
    /// When the publication of that point goes out: on it, or up to `jitter` later.
    due: Instant,
}

/// A publication that is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// The grid point it belongs to.
    pub(crate) at: Instant,
    /// Grid points that had passed unnoticed before it: the machine slept or stood still.
    pub(crate) skipped: u64,
}

impl Clock {
    /// A grid that begins at `start`. `random` is uniform in `[0, 1)` and places the first publication within `jitter`,
    /// which is shorter than `every`.
    pub(crate) fn new(
        start: Instant,
        every: Duration,
        jitter: Duration,
        count: Option<u64>,
        at_start: bool,
        random: f64,
    ) -> Clock {
        let mut clock = Clock { start, every, jitter, left: count, point: 0, due: start };
        clock.set_point(u64::from(!at_start), random);
        clock
    }

    /// When the next publication goes out; `None` once all are made.
    pub(crate) fn next(&self) -> Option<Instant> {
        (self.left != Some(0)).then_some(self.due)
    }

    /// The publication that is due at `now`, if one is. Of several that were missed only the latest is made: what a person
    /// wants to know after a pause is how things are, not how often they weren't asked. `random` as in [`Clock::new`].
    pub(crate) fn take(&mut self, now: Instant, random: f64) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        let latest = self.point.max(self.latest_point(now));
        let due = Due { at: self.at(latest), skipped: latest - self.point };
        self.left = self.left.map(|left| left - 1);
        self.set_point(latest + 1, random);
        Some(due)
    }

    fn set_point(&mut self, point: u64, random: f64) {
        self.point = point;
        self.due = self.at(point) + self.jitter.mul_f64(random);
    }

    fn at(&self, point: u64) -> Instant {
        let nanos = self.every.as_nanos().saturating_mul(point.into());
        let offset = Duration::from_nanos_u128(nanos.min(FAR.as_nanos()));
        self.start + offset
    }

    /// The last grid point that isn't after `now`.
    fn latest_point(&self, now: Instant) -> u64 {
        let points = now.saturating_duration_since(self.start).as_nanos() / self.every.as_nanos().max(1);
        u64::try_from(points).unwrap_or(u64::MAX)
    }
}

/// No daemon runs longer than this, a hundred years.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_first_publication_comes_at_once_or_after_an_interval() {
        let start = Instant::now();
        let clock = |at_start| Clock::new(start, MINUTE, Duration::ZERO, None, at_start, 0.5);
        assert_eq!(clock(true).next(), Some(start));
        assert_eq!(clock(false).next(), Some(start + MINUTE));
    }

    #[test]
    fn it_stops_after_its_count() {
        let start = Instant::now();
        let mut clock = Clock::new(start, MINUTE, Duration::ZERO, Some(2), true, 0.0);
        assert_eq!(clock.take(start, 0.0), Some(Due { at: start, skipped: 0 }));
        assert_eq!(clock.take(start, 0.0), None);
        assert!(clock.take(start + MINUTE, 0.0).is_some());
        assert_eq!(clock.next(), None);
        assert_eq!(clock.take(start + 9 * MINUTE, 0.0), None);
    }

    #[test]
    fn after_a_pause_one_publication_is_made_and_the_grid_goes_on() {
        let start = Instant::now();
        let mut clock = Clock::new(start, MINUTE, Duration::ZERO, None, true, 0.0);
        clock.take(start, 0.0);
        let late = start + 5 * MINUTE + Duration::from_secs(20);
        assert_eq!(clock.take(late, 0.0), Some(Due { at: start + 5 * MINUTE, skipped: 4 }));
        assert_eq!(clock.take(late, 0.0), None);
        assert_eq!(clock.next(), Some(start + 6 * MINUTE));
    }

    #[test]
    fn a_million_publications_do_not_drift() {
        let start = Instant::now();
        let every = Duration::from_nanos(333_333_333);
        let mut clock = Clock::new(start, every, Duration::ZERO, None, true, 0.0);
        for _ in 0..1_000_000 {
            let due = clock.next().unwrap();
            assert_eq!(clock.take(due, 0.0).unwrap().skipped, 0);
        }
        assert_eq!(clock.next(), Some(start + Duration::from_nanos(333_333_333 * 1_000_000)));
    }

    proptest! {
        #[test]
        fn each_point_of_the_grid_counts_once(
            every in 1..100_000_000u64,
            jitter in 0.0..0.999f64,
            pauses in prop::collection::vec((0..300_000_000u64, 0.0..1.0f64), 1..200),
        ) {
            let start = Instant::now();
            let every = Duration::from_nanos(every);
            let mut clock = Clock::new(start, every, every.mul_f64(jitter), None, true, 0.0);
            let (mut now, mut points) = (start, 0);
            for (pause, random) in pauses {
                now += Duration::from_nanos(pause);
                while let Some(due) = clock.take(now, random) {
                    points += due.skipped;
                    prop_assert_eq!(due.at, start + every * u32::try_from(points).unwrap());
                    prop_assert!(due.at <= now);
                    points += 1;
                }
                let next = clock.next().unwrap();
                prop_assert!(next > now && next <= now + every + every);
            }
        }
    }
}
