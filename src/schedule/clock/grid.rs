//! `every`: due times on a grid.
//!
//! The grid begins with the daemon and has `every` between its points. However late a publication is
//! made, the next one is on the grid again. Time is the monotonic clock: a clock that is set doesn't move the grid, and
//! while the machine sleeps the grid stands still.

use std::time::{Duration, Instant};

/// The due times of one publication.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    start: Instant,
    every: Duration,
    jitter: Duration,
    /// The number of the next grid point, `start` being 0.
    point: u64,
    /// When the publication of that point goes out: on it, or up to `jitter` later.
    due: Instant,
}

/// A point of the grid that has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) at: Instant,
    /// Points that had passed unnoticed before it.
    pub(super) skipped: u64,
}

impl Grid {
    /// A grid that begins at `start`. `random` is uniform in `[0, 1)` and places the first publication within `jitter`,
    /// which is shorter than `every`.
    pub(super) fn new(start: Instant, every: Duration, jitter: Duration, at_start: bool, random: f64) -> Grid {
        let mut grid = Grid { start, every, jitter, point: 0, due: start };
        grid.set_point(u64::from(!at_start), random);
        grid
    }

    /// When the next publication goes out.
    pub(super) fn next(&self) -> Instant {
        self.due
    }

    /// The publication that is due at `now`, if one is. Of several that were missed only the latest is made: what a person
    /// wants to know after a pause is how things are, not how often they weren't asked. `random` as in [`Grid::new`].
    pub(super) fn take(&mut self, now: Instant, random: f64) -> Option<Point> {
        if self.due > now {
            return None;
        }
        let latest = self.point.max(self.latest_point(now));
        let point = Point { at: self.at(latest), skipped: latest - self.point };
        self.set_point(latest + 1, random);
        Some(point)
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
        let grid = |at_start| Grid::new(start, MINUTE, Duration::ZERO, at_start, 0.5);
        assert_eq!(grid(true).next(), start);
        assert_eq!(grid(false).next(), start + MINUTE);
    }

    #[test]
    fn after_a_pause_one_publication_is_made_and_the_grid_goes_on() {
        let start = Instant::now();
        let mut grid = Grid::new(start, MINUTE, Duration::ZERO, true, 0.0);
        grid.take(start, 0.0);
        let late = start + 5 * MINUTE + Duration::from_secs(20);
        assert_eq!(grid.take(late, 0.0), Some(Point { at: start + 5 * MINUTE, skipped: 4 }));
        assert_eq!(grid.take(late, 0.0), None);
        assert_eq!(grid.next(), start + 6 * MINUTE);
    }

    #[test]
    fn a_million_publications_do_not_drift() {
        let start = Instant::now();
        let every = Duration::from_nanos(333_333_333);
        let mut grid = Grid::new(start, every, Duration::ZERO, true, 0.0);
        for _ in 0..1_000_000 {
            let due = grid.next();
            assert_eq!(grid.take(due, 0.0).unwrap().skipped, 0);
        }
        assert_eq!(grid.next(), start + Duration::from_nanos(333_333_333 * 1_000_000));
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
            let mut grid = Grid::new(start, every, every.mul_f64(jitter), true, 0.0);
            let (mut now, mut points) = (start, 0);
            for (pause, random) in pauses {
                now += Duration::from_nanos(pause);
                while let Some(due) = grid.take(now, random) {
                    points += due.skipped;
                    prop_assert_eq!(due.at, start + every * u32::try_from(points).unwrap());
                    prop_assert!(due.at <= now);
                    points += 1;
                }
                let next = grid.next();
                prop_assert!(next > now && next <= now + every + every);
            }
        }
    }
}
