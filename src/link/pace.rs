//! How fast: how often to connect, and what one connection may send. Pure: time and randomness come from the caller.

use std::time::{Duration, Instant};

use crate::config;
use crate::limits::{MAX_PAYLOAD, MAX_TOPIC_BYTES};

/// At most so many CONNECTs a second.
#[derive(Debug)]
pub(crate) struct ConnectLimit {
    interval: Duration,
    next: Option<Instant>,
}

impl ConnectLimit {
    pub(crate) fn new(config: &config::RateLimit) -> ConnectLimit {
        ConnectLimit { interval: Duration::from_secs(1) / config.connects_per_second.max(1), next: None }
    }

    /// CONNECT is about to be said, or a connection that didn't last has ended: from there, too, AWS's device test counts the
    /// second that it wants to see.
    pub(crate) fn note(&mut self, now: Instant) {
        self.next = Some(now + self.interval);
    }

    /// How long the next attempt to connect has to wait at least.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        self.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }
}

/// What one connection may send: token buckets for messages and for bytes, shared with what it receives.
///
/// IoT Core counts both directions together, and what comes in can't be held back: it becomes a debt, paid with at most half
/// of what flows into a bucket, so that the other half is left for what goes out, whatever comes in. A debt grows to one
/// bucket: what comes in beyond that is IoT Core's to discard and to send again. So out alone keeps to `rate × time + burst`,
/// always; in and out together to `rate × time + 2 × burst`, while no more than half of the rate comes in.
#[derive(Debug)]
pub(crate) struct Quota {
    messages: Bucket,
    bytes: Bucket,
}

impl Quota {
    /// Full buckets: `burst` messages may go at once, and bytes for a message of the largest size or a tenth of a second,
    /// whichever is more.
    pub(crate) fn new(config: &config::RateLimit, now: Instant) -> Quota {
        let bytes_at_once = (config.bytes_per_second / 10).max(MAX_PAYLOAD as u64 + MAX_TOPIC_BYTES as u64);
        Quota {
            messages: Bucket::new(u64::from(config.messages_per_second), u64::from(config.burst), now),
            bytes: Bucket::new(config.bytes_per_second, bytes_at_once, now),
        }
    }

    /// Takes a message of so many bytes out of both buckets, or says when that will be possible if nothing comes in.
    pub(crate) fn try_take(&mut self, now: Instant, bytes: usize) -> Result<(), Instant> {
        let bytes = bytes as u64;
        let at = self.messages.available_at(now, 1).max(self.bytes.available_at(now, bytes));
        if at > now {
            return Err(at);
        }
        self.messages.take(1);
        self.bytes.take(bytes);
        Ok(())
    }

    /// A message of so many bytes has gone out that asked nobody.
    pub(crate) fn note_sent(&mut self, now: Instant, bytes: usize) {
        for (bucket, tokens) in [(&mut self.messages, 1), (&mut self.bytes, bytes as u64)] {
            bucket.refill(now);
            bucket.take(tokens);
        }
    }

    /// A message of so many bytes came in.
    pub(crate) fn note_received(&mut self, now: Instant, bytes: usize) {
        self.messages.owe(now, 1);
        self.bytes.owe(now, bytes as u64);
    }
}

/// A token bucket in exact integers. A token is [`TOKEN`] units, so that the rate and half of it are whole units a nanosecond.
#[derive(Debug)]
struct Bucket {
    /// Tokens a second.
    rate: u64,
    /// In units, as the two below.
    capacity: i128,
    /// What may be taken. Below zero only after a message larger than the bucket.
    level: i128,
    /// What was received and isn't paid for yet; at most the capacity.
    debt: i128,
    updated: Instant,
}

/// Units of a token: `rate` tokens a second are `2 × rate` units a nanosecond.
const TOKEN: i128 = 2_000_000_000;

impl Bucket {
    fn new(rate: u64, burst: u64, now: Instant) -> Bucket {
        let capacity = units(burst.max(1));
        Bucket { rate: rate.max(1), capacity, level: capacity, debt: 0, updated: now }
    }

    /// Half of what flows in pays the debt, as does what the full bucket can't hold.
    fn refill(&mut self, now: Instant) {
        let elapsed = i128::try_from(now.saturating_duration_since(self.updated).as_nanos()).unwrap_or(i128::MAX);
        let half = elapsed.saturating_mul(self.rate.into());
        let paid = half.min(self.debt);
        let level = self.level.saturating_add(half).saturating_add(half - paid);
        self.level = level.min(self.capacity);
        self.debt = (self.debt - paid - (level - self.level)).max(0);
        self.updated = self.updated.max(now);
    }

    /// When `tokens` can be taken. More than the bucket can hold may be taken once it is full; the rest then flows in first.
    fn available_at(&mut self, now: Instant, tokens: u64) -> Instant {
        self.refill(now);
        let missing = units(tokens).min(self.capacity) - self.level;
        if missing <= 0 {
            return now;
        }
        let inflow = (missing + missing.min(self.debt)).unsigned_abs();
        let wait = inflow.div_ceil(2 * u128::from(self.rate));
        now + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
    }

    /// After [`Bucket::available_at`] has said now, or what is gone already.
    fn take(&mut self, tokens: u64) {
        self.level -= units(tokens);
    }

    /// Notes `tokens` that are gone already.
    fn owe(&mut self, now: Instant, tokens: u64) {
        self.refill(now);
        self.debt = self.capacity.min(self.debt + units(tokens));
    }
}

/// Below 2^95: a few of them can be added up.
fn units(tokens: u64) -> i128 {
    i128::from(tokens) * TOKEN
}

#[cfg(test)]
mod tests;
