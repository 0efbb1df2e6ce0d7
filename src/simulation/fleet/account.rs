//! The limits of an account.

use std::time::Duration;

use super::SECOND;

/// What IoT Core lets all gateways of an account do together, as token buckets of one second.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) connects: Limit,
    pub(super) publishes: Limit,
    pub(super) beyond: Beyond,
}

/// What becomes of publications beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beyond {
    /// They are discarded without a word, as AWS documents it.
    Discarded,
    /// Their PUBACK says "quota exceeded" (0x97).
    Refused,
}

impl Default for Account {
    /// AWS's defaults in its large regions ("AWS IoT Core message broker and protocol limits and quotas"); both can be raised there.
    fn default() -> Account {
        Account { connects: Limit::new(500), publishes: Limit::new(20_000), beyond: Beyond::Discarded }
    }
}

/// At most so many a second.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    interval: Duration,
    /// When the bucket will be full again.
    full: Duration,
}

impl Limit {
    pub(super) fn new(per_second: u32) -> Limit {
        Limit { interval: SECOND / per_second, full: Duration::ZERO }
    }

    /// Whether another is let in.
    pub(super) fn takes(&mut self, now: Duration) -> bool {
        let full = self.full.max(now) + self.interval;
        let is_taken = full <= now + SECOND;
        if is_taken {
            self.full = full;
        }
        is_taken
    }
}
