//! How long to wait between attempts to connect. Pure: time and randomness come from the caller.

use std::time::{Duration, Instant};

use crate::config;

/// The jittered exponential wait between attempts to connect.
///
/// Wait n is uniform in `[0, ceiling]`, ceiling = `min(max, min × 2^n)`, but never under `min / 2`. It starts again from
/// `min` only after the link has been up for `stable_after`: a server that accepts and hangs up isn't a success.
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
            self.attempts = 0;
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

    /// The network has changed: what it was like before says nothing of it.
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
        assert_eq!(backoff.next_wait(start + Duration::from_secs(60), 1.0), Duration::from_secs(1));
    }

    #[test]
    fn another_network_begins_anew() {
        let (now, mut backoff) = (Instant::now(), backoff());
        let mut waits = |n| (0..n).map(|_| backoff.next_wait(now, 1.0).as_secs()).collect::<Vec<_>>();
        assert_eq!(waits(3), [1, 2, 4]);
        backoff.restart();
        assert_eq!((backoff.next_wait(now, 1.0).as_secs(), backoff.attempts()), (1, 1));
    }

    #[test]
    fn the_longest_waits_do_not_overflow() {
        let longest = config::Backoff { min: Duration::from_nanos(1), max: Duration::MAX, stable_after: Duration::MAX };
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
            let mut backoff = Backoff::new(&config::Backoff { min, max, stable_after: Duration::from_secs(60) });
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
    }
}
