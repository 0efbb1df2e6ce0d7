//! How long messages take from acceptance to PUBACK, as Prometheus counts it: in a few buckets.

use std::cell::Cell;
use std::time::Duration;

use serde::Serialize;

use crate::store::Accepted;

/// The upper bounds of the buckets, in milliseconds: a round trip, a slow uplink, an outage.
const BOUNDS: [u64; 15] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000, 21_600_000, 86_400_000,
];

/// Since the start of the daemon.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// One more than there are bounds, for what took longer than all of them.
    counts: [Cell<u64>; BOUNDS.len() + 1],
    milliseconds: Cell<u64>,
}

/// `outbox.delivery` of the status document.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct DeliveryStatus {
    count: u64,
    /// Of all of them together.
    seconds: f64,
    buckets: Vec<Bucket>,
}

/// Those that took at most so many seconds.
#[derive(Debug, PartialEq, Serialize)]
struct Bucket {
    le: f64,
    count: u64,
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

impl Latency {
    /// IoT Core has acknowledged a message. One of an earlier boot has waited since this one began, at least.
    pub(super) fn delivered(&self, accepted: Accepted, since_boot: Duration) {
        let now = u64::try_from(since_boot.as_millis()).unwrap_or(u64::MAX);
        let took = match accepted {
            Accepted::ThisBoot(at) => now.saturating_sub(at),
            Accepted::Earlier(_) => now,
        };
        let bucket = &self.counts[BOUNDS.partition_point(|bound| *bound < took)];
        bucket.set(bucket.get().saturating_add(1));
        self.milliseconds.set(self.milliseconds.get().saturating_add(took));
    }

    pub(super) fn status(&self) -> DeliveryStatus {
        let mut count = 0;
        let mut up_to = |bucket: &Cell<u64>| {
            count += bucket.get();
            count
        };
        let buckets = BOUNDS.iter().zip(&self.counts);
        let buckets = buckets.map(|(bound, bucket)| Bucket { le: seconds(*bound), count: up_to(bucket) }).collect();
        let longer = self.counts.last().map_or(0, &mut up_to);
        DeliveryStatus { count: longer, seconds: seconds(self.milliseconds.get()), buckets }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_is_in_all_buckets_that_it_is_not_longer_than(
            took in proptest::collection::vec(prop_oneof![0u64..2_000, 0u64..200_000_000], 0..50),
        ) {
            let latency = Latency::default();
            for took in &took {
                latency.delivered(Accepted::ThisBoot(1_000), Duration::from_millis(1_000 + took));
            }
            let status = latency.status();
            prop_assert_eq!(status.count, took.len() as u64);
            prop_assert!((status.seconds - seconds(took.iter().sum())).abs() < 0.001);
            for Bucket { le, count } in status.buckets {
                prop_assert_eq!(count, took.iter().filter(|took| seconds(**took) <= le).count() as u64);
            }
        }
    }

    #[test]
    fn one_of_an_earlier_boot_counts_since_this_one() {
        let latency = Latency::default();
        latency.delivered(Accepted::Earlier(None), Duration::from_secs(7));
        assert_eq!(latency.status().seconds, 7.0);
        // A clock that goes back is none of ours.
        latency.delivered(Accepted::ThisBoot(9_000), Duration::from_secs(7));
        assert_eq!((latency.status().count, latency.status().seconds), (2, 7.0));
    }
}
