//! A packet that comes in pieces. Nothing behind it can be read until it is there: an answer that is waited for may be swallowed by
//! it, and every byte would make a dead connection look alive. So it has to come at a pace that lets it end. Pure.

use std::time::{Duration, Instant};

/// The least that has to come of it in a second, in bytes.
const SLOWEST: u32 = 1024;

/// And however large it is, it has to be there after so long.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// The packet at the front of the input, as long as it isn't there as a whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arriving {
    since: Instant,
    /// Bytes that have come of it, and all that it has.
    come: usize,
    size: usize,
}

impl Arriving {
    pub(super) fn new(since: Instant, (come, size): (usize, usize)) -> Arriving {
        Arriving { since, come, size }
    }

    /// When it is given up, unless more of it comes: `patience` after what has come should have been there.
    pub(super) fn due_at(&self, patience: Duration) -> Instant {
        let size = u32::try_from(self.size).unwrap_or(u32::MAX).max(1);
        let whole = (Duration::from_secs(1) * size / SLOWEST).min(LONGEST);
        let come = u32::try_from(self.come).unwrap_or(u32::MAX).min(size);
        let part = whole.as_nanos() * u128::from(come) / u128::from(size);
        self.since + patience + Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn come(&self) -> usize {
        self.come
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However it comes: it isn't given up at the pace that it must have, and nothing is waited for longer than that.
        #[test]
        fn what_comes_at_the_pace_is_waited_for_and_for_nothing_else(
            size in 1..268_435_455usize,
            come in 0.0..1.0f64,
        ) {
            let (since, patience) = (Instant::now(), Duration::from_secs(10));
            let come = (size as f64 * come) as usize;
            let waited = Arriving::new(since, (come, size)).due_at(patience) - since;
            prop_assert!(waited >= patience && waited <= patience + LONGEST);
            prop_assert!(waited <= patience + Duration::from_secs(1 + come as u64 / u64::from(SLOWEST)));
            let steady = Duration::from_secs(come as u64 / u64::from(SLOWEST)).min(LONGEST * come as u32 / size as u32);
            prop_assert!(waited + Duration::from_millis(1) >= steady);
        }
    }
}
