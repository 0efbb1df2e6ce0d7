//! How fast: the wait between attempts to connect, and what one connection may send. Pure: time and randomness come from
//! the caller.

use std::time::{Duration, Instant};

use crate::config;
use crate::limits::{MAX_PAYLOAD, MAX_TOPIC_BYTES};

/// The jittered exponential wait between attempts to connect.
///
/// Wait n is uniform in `[0, ceiling]`, ceiling = `min(max, min × 2^n)`, but never under `min / 2`. It starts again from
/// `min` only after the link has been up for `stable_after`: a server that accepts and hangs up isn't a success.
#[derive(Debug)]
pub(super) struct Backoff {
    config: config::Backoff,
    attempts: u32,
    up_since: Option<Instant>,
}

impl Backoff {
    pub(super) fn new(config: &config::Backoff) -> Backoff {
        Backoff { config: config.clone(), attempts: 0, up_since: None }
    }

    /// CONNACK has come.
    pub(super) fn link_up(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// The connection has ended, or the attempt to make one has failed: how long to wait. `random` is uniform in `[0, 1)`.
    pub(super) fn next_wait(&mut self, now: Instant, random: f64) -> Duration {
        let stable = self.up_since.take().is_some_and(|since| now.duration_since(since) >= self.config.stable_after);
        if stable {
            self.attempts = 0;
        }
        let doubled = 1u32.checked_shl(self.attempts).and_then(|factor| self.config.min.checked_mul(factor));
        let ceiling = doubled.unwrap_or(self.config.max).min(self.config.max);
        self.attempts = self.attempts.saturating_add(1);
        ceiling.mul_f64(random.clamp(0.0, 1.0)).max(self.config.min / 2)
    }

    /// Failures since the link was last stable.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// At most so many CONNECTs a second.
#[derive(Debug)]
pub(super) struct ConnectLimit {
    interval: Duration,
    next: Option<Instant>,
}

impl ConnectLimit {
    pub(super) fn new(config: &config::RateLimit) -> ConnectLimit {
        ConnectLimit { interval: Duration::from_secs(1) / config.connects_per_second.max(1), next: None }
    }

    /// An attempt begins.
    pub(super) fn attempted(&mut self, now: Instant) {
        self.next = Some(now + self.interval);
    }

    /// How long the next attempt has to wait at least.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }
}

/// What one connection may send: token buckets for messages and for bytes, each refilled a second at a time's worth.
#[derive(Debug)]
pub(super) struct Quota {
    messages: Bucket,
    bytes: Bucket,
}

impl Quota {
    /// Full buckets: `burst` messages may go at once, and bytes for a message of the largest size or a tenth of a second,
    /// whichever is more.
    pub(super) fn new(config: &config::RateLimit, now: Instant) -> Quota {
        let bytes_at_once = (config.bytes_per_second / 10).max(MAX_PAYLOAD as u64 + MAX_TOPIC_BYTES as u64);
        Quota {
            messages: Bucket::new(u64::from(config.messages_per_second), u64::from(config.burst), now),
            bytes: Bucket::new(config.bytes_per_second, bytes_at_once, now),
        }
    }

    /// Takes a message of so many bytes out of both buckets, or says when that will be possible.
    pub(super) fn try_take(&mut self, now: Instant, bytes: usize) -> Result<(), Instant> {
        let bytes = bytes as u64;
        let at = self.messages.available_at(now, 1).max(self.bytes.available_at(now, bytes));
        if at > now {
            return Err(at);
        }
        self.messages.take(1);
        self.bytes.take(bytes);
        Ok(())
    }

    /// A message came in: IoT Core counts both directions together. Incoming messages can't be held back, but neither may
    /// they stop what goes out: they take no more than the bucket holds.
    pub(super) fn note_received(&mut self, now: Instant, bytes: usize) {
        self.messages.take_what_is_there(now, 1);
        self.bytes.take_what_is_there(now, bytes as u64);
    }
}

/// A token bucket in exact integers. A token is `SECOND` units; each nanosecond adds `rate` units.
#[derive(Debug)]
struct Bucket {
    rate: u64,
    capacity: u128,
    level: u128,
    updated: Instant,
}

/// Units of a token: with these, the rate a second is the units a nanosecond.
const SECOND: u128 = 1_000_000_000;

impl Bucket {
    fn new(rate: u64, burst: u64, now: Instant) -> Bucket {
        let capacity = u128::from(burst.max(1)) * SECOND;
        Bucket { rate: rate.max(1), capacity, level: capacity, updated: now }
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.updated).as_nanos();
        self.level = self.capacity.min(self.level.saturating_add(elapsed.saturating_mul(self.rate.into())));
        self.updated = self.updated.max(now);
    }

    /// When `tokens` can be taken. More than the bucket can hold may be taken once it is full.
    fn available_at(&mut self, now: Instant, tokens: u64) -> Instant {
        self.refill(now);
        let needed = (u128::from(tokens) * SECOND).min(self.capacity);
        let missing = needed.saturating_sub(self.level);
        let wait = missing.div_ceil(self.rate.into());
        now + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
    }

    /// Only after [`Bucket::available_at`] has said now.
    fn take(&mut self, tokens: u64) {
        self.level = self.level.saturating_sub(u128::from(tokens) * SECOND);
    }

    fn take_what_is_there(&mut self, now: Instant, tokens: u64) {
        self.refill(now);
        self.take(tokens);
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

    fn rate_limit(messages_per_second: u32, bytes_per_second: u64, burst: u32) -> config::RateLimit {
        config::RateLimit { messages_per_second, bytes_per_second, burst, connects_per_second: 1 }
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
    fn connects_keep_their_distance() {
        let start = Instant::now();
        let mut limit = ConnectLimit::new(&rate_limit(100, 1000, 10));
        assert_eq!(limit.wait(start), Duration::ZERO);
        limit.attempted(start);
        assert_eq!(limit.wait(start + Duration::from_millis(300)), Duration::from_millis(700));
        assert_eq!(limit.wait(start + Duration::from_secs(2)), Duration::ZERO);
    }

    #[test]
    fn a_message_larger_than_the_bucket_goes_once_it_is_full() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1000, 2000, start);
        assert_eq!(bucket.available_at(start, 5000), start);
        bucket.take(5000);
        let full = start + Duration::from_secs(2);
        assert_eq!(bucket.available_at(start, 5000), full);
        assert_eq!(bucket.available_at(full, 5000), full);
    }

    #[test]
    fn a_flood_from_the_server_does_not_stop_what_goes_out() {
        let start = Instant::now();
        let mut quota = Quota::new(&rate_limit(100, 1_000_000, 10), start);
        for _ in 0..100_000 {
            quota.note_received(start, 100);
        }
        assert_eq!(quota.try_take(start, 100), Err(start + Duration::from_millis(10)));
    }

    proptest! {
        #[test]
        fn no_window_sees_more_than_rate_and_burst_and_nothing_starves(
            rate in 1..2000u32,
            burst in 1..50u32,
            pauses in prop::collection::vec(0..50_000_000u64, 1..300),
        ) {
            let start = Instant::now();
            let mut quota = Quota::new(&rate_limit(rate, u64::MAX, burst), start);
            let mut now = start;
            let mut taken: Vec<Instant> = Vec::new();
            for pause in pauses {
                now += Duration::from_nanos(pause);
                if let Err(at) = quota.try_take(now, 1) {
                    prop_assert!(at > now && at <= now + Duration::from_secs(1) / rate + Duration::from_nanos(1));
                    now = at;
                    prop_assert_eq!(quota.try_take(now, 1), Ok(()));
                }
                taken.push(now);
            }
            for (i, from) in taken.iter().enumerate() {
                for (j, to) in taken.iter().enumerate().skip(i) {
                    let window = (*to - *from).as_nanos() * u128::from(rate) / SECOND;
                    prop_assert!((j - i + 1) as u128 <= window + u128::from(burst) + 1);
                }
            }
        }
    }
}
