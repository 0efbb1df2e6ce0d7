//! How long to wait between attempts. Pure.

use std::time::Duration;

use super::trouble::Blame;

const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3600);

/// A wait is uniform between half of its ceiling and the whole of it: a minute, which doubles up to an hour with each attempt that
/// failed at somebody's hands. Where nobody was reached, it stays a minute: when the network is back, so is the gateway.
#[derive(Debug, Default)]
pub(super) struct Waits {
    failures: u32,
}

impl Waits {
    /// After an attempt that failed. `random` is uniform in `[0, 1)`.
    pub(super) fn next(&mut self, blame: Blame, random: f64) -> Duration {
        if blame == Blame::Network {
            return Waits::again(random);
        }
        let doubled = 1u32.checked_shl(self.failures).and_then(|factor| FIRST.checked_mul(factor));
        self.failures = self.failures.saturating_add(1);
        between_half_and_whole(doubled.unwrap_or(LONGEST).min(LONGEST), random)
    }

    /// Where the next attempt isn't put off any further.
    pub(super) fn again(random: f64) -> Duration {
        between_half_and_whole(FIRST, random)
    }
}

fn between_half_and_whole(ceiling: Duration, random: f64) -> Duration {
    ceiling.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_a_minute_to_an_hour_and_are_never_under_thirty_seconds() {
        let seconds = |blame, random| {
            let mut waits = Waits::default();
            (0..40).map(|_| waits.next(blame, random).as_secs()).collect::<Vec<_>>()
        };
        assert_eq!(seconds(Blame::Server, 1.0)[..8], [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(seconds(Blame::Answer, 0.0)[..8], [30, 60, 120, 240, 480, 960, 1800, 1800]);
        assert_eq!(seconds(Blame::Here, 1.0)[39], 3600);
        assert!(seconds(Blame::Network, 0.0).iter().all(|wait| *wait == 30));
        assert!(seconds(Blame::Network, 1.0).iter().all(|wait| *wait == 60));
    }
}
