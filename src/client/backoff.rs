//! How long to wait between attempts to connect. Pure: time and randomness come from the caller.

use std::time::{Duration, Instant};

use crate::config;

/// The jittered exponential wait between attempts to connect.
///
/// After a link that has been up for `stable_after` the first wait is uniform in `[0, first]`: what ended it may have ended those
/// of a whole fleet, which must not come back all at once. Wait n of those that follow is uniform in `[0, ceiling]`,
/// ceiling = `min(max, min × 2^n)`, but never under `min / 2`. They start again from `min` only after another stable link: a
/// server that accepts and hangs up isn't a success.
#[derive(Debug)]
pub(crate) struct Backoff {
    config: config::Backoff,
    attempts: u32,
    up_since: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new(config: &config::Backoff) -> Backoff {
        Backoff { config: config.clone(), attempts: 0, up_since: None }
    }

    /// CONNACK has come.
    pub(crate) fn link_up(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// The connection has ended, or the attempt to make one has failed: how long to wait. `random` is uniform in `[0, 1)`.
    pub(crate) fn next_wait(&mut self, now: Instant, random: f64) -> Duration {
        let stable = self.up_since.take().is_some_and(|since| now.duration_since(since) >= self.config.stable_after);
        if stable {
            return self.anew(random);
        }
        let doubled = 1u32.checked_shl(self.attempts).and_then(|factor| self.config.min.checked_mul(factor));
        let ceiling = doubled.unwrap_or(self.config.max).min(self.config.max);
        self.attempts = self.attempts.saturating_add(1);
        ceiling.mul_f64(random.clamp(0.0, 1.0)).max(self.config.min / 2)
    }

    /// The connection that has ended was worth it: its end doesn't make the wait longer.
    pub(crate) fn forgive(&mut self) {
        self.attempts = self.attempts.saturating_sub(1);
    }

    /// The network has changed, which is as good as a stable link: how long to wait before the first attempt. `random` as in
    /// [`Backoff::next_wait`].
    pub(crate) fn anew(&mut self, random: f64) -> Duration {
        self.restart();
        self.config.first.mul_f64(random.clamp(0.0, 1.0))
    }

    /// What the failures so far were for is over: the next wait starts from `min`.
    pub(crate) fn restart(&mut self) {
        self.attempts = 0;
        self.up_since = None;
    }

    /// Failures since the link was last stable.
    #[cfg(test)]
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn backoff() -> Backoff {
        Backoff::new(&config::Backoff {
            first: Duration::from_secs(10),
            min: Duration::from_secs(1),
            max: Duration::from_secs(120),
            stable_after: Duration::from_secs(60),
        })
    }

    #[test]
    fn waits_double_up_to_the_maximum_and_stay_above_half_the_minimum() {
        let now = Instant::now();
        let mut high = backoff();
        let waits: Vec<u64> = (0..9).map(|_| high.next_wait(now, 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        let mut low = backoff();
        assert!((0..100).all(|_| low.next_wait(now, 0.0) == Duration::from_millis(500)));
        assert_eq!(low.attempts(), 100);
    }

    #[test]
    fn only_a_link_that_lasted_resets_the_wait() {
        let start = Instant::now();
        let mut backoff = backoff();
        for _ in 0..5 {
            backoff.next_wait(start, 1.0);
        }
        backoff.link_up(start);
        assert_eq!(backoff.next_wait(start + Duration::from_secs(59), 1.0), Duration::from_secs(32));
        backoff.link_up(start);
        let end = start + Duration::from_secs(60);
        let waits: Vec<u64> = (0..4).map(|_| backoff.next_wait(end, 1.0).as_secs()).collect();
        assert_eq!(waits, [10, 1, 2, 4], "the first, then as ever");
    }

    #[test]
    fn without_a_first_wait_a_stable_link_is_followed_by_an_attempt_at_once() {
        let (start, mut backoff) = (Instant::now(), backoff());
        backoff.config.first = Duration::ZERO;
        backoff.link_up(start);
        let end = start + Duration::from_secs(60);
        assert_eq!(backoff.next_wait(end, 1.0), Duration::ZERO);
        assert_eq!(backoff.next_wait(end, 0.0), Duration::from_millis(500), "once");
    }

    #[test]
    fn another_network_begins_anew() {
        let (now, mut backoff) = (Instant::now(), backoff());
        let waits =
            |backoff: &mut Backoff, n| -> Vec<_> { (0..n).map(|_| backoff.next_wait(now, 1.0).as_secs()).collect() };
        assert_eq!(waits(&mut backoff, 3), [1, 2, 4]);
        assert_eq!(backoff.anew(0.5), Duration::from_secs(5));
        assert_eq!(waits(&mut backoff, 2), [1, 2]);
        backoff.restart();
        assert_eq!((waits(&mut backoff, 1), backoff.attempts()), (vec![1], 1));
    }

    #[test]
    fn the_longest_waits_do_not_overflow() {
        let longest = config::Backoff {
            first: Duration::MAX,
            min: Duration::from_nanos(1),
            max: Duration::MAX,
            stable_after: Duration::MAX,
        };
        let (now, mut backoff) = (Instant::now(), Backoff::new(&longest));
        let waits: Vec<Duration> = (0..200).map(|_| backoff.next_wait(now, 1.0 - f64::EPSILON)).collect();
        assert!(waits.is_sorted() && waits[199] > Duration::MAX / 2);
    }

    proptest! {
        #[test]
        fn waits_stay_between_half_the_minimum_and_the_ceiling(
            min in 1..10_000u64,
            more in 0..1_000_000u64,
            randoms in prop::collection::vec(0.0..1.0f64, 1..80),
        ) {
            let (min, max) = (Duration::from_millis(min), Duration::from_millis(min + more));
            let stable_after = Duration::from_secs(60);
            let mut backoff = Backoff::new(&config::Backoff { first: max, min, max, stable_after });
            let now = Instant::now();
            for (n, random) in randoms.into_iter().enumerate() {
                // A link that comes up and goes down again at once changes nothing.
                if random > 0.5 {
                    backoff.link_up(now);
                }
                let ceiling = min.as_nanos().checked_shl(n as u32).filter(|_| n < 60).unwrap_or(u128::MAX).min(max.as_nanos());
                let wait = backoff.next_wait(now, random);
                prop_assert!(wait >= min / 2 && wait.as_nanos() <= ceiling.max((min / 2).as_nanos()), "wait {n} is {wait:?}");
            }
        }

        /// Whatever came before, each stable link is followed by one wait up to `first`, and by those of a new daemon.
        #[test]
        fn after_a_stable_link_nothing_before_it_counts(
            first in 0..600_000u64,
            failures in 0..40usize,
            stable in 60_000..10_000_000u64,
            randoms in prop::collection::vec(0.0..1.0f64, 12),
        ) {
            let (first, start) = (Duration::from_millis(first), Instant::now());
            let config = config::Backoff { first, ..backoff().config };
            let (mut used, mut new) = (Backoff::new(&config), Backoff::new(&config));
            (0..failures).for_each(|_| { used.next_wait(start, 0.5); });
            used.link_up(start);
            let end = start + Duration::from_millis(stable);
            let wait = used.next_wait(end, randoms[0]);
            prop_assert!(wait <= first && wait.abs_diff(first.mul_f64(randoms[0])) < Duration::from_millis(1));
            for random in randoms {
                prop_assert_eq!(used.next_wait(end, random), new.next_wait(end, random));
            }
        }
    }
}
