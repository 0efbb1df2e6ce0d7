//! The times that a message's age is counted by: since boot, and the clock's only once the kernel vouches for it.

use std::time::Duration;

use jiff::Timestamp;

use crate::time;

/// When a message was accepted, in a way that a clock which is set later can't falsify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// In this boot of the machine: milliseconds since it booted.
    ThisBoot(u64),
    /// In an earlier one. The time is known if that boot's clock was synchronised at some moment.
    Earlier(Option<Timestamp>),
}

/// A moment, as told by the clocks of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Since this machine booted, suspend included.
    pub(crate) since_boot: Duration,
    /// What the clock shows, if the kernel says that it is synchronised.
    pub(crate) synchronised: Option<Timestamp>,
}

impl Moment {
    /// Now.
    pub(crate) fn now() -> Moment {
        let synchronised = time::is_synchronised().is_ok_and(|yes| yes).then(time::wall);
        Moment { since_boot: time::since_boot(), synchronised }
    }

    /// How long ago a message was accepted, as far as is certain: at least so long.
    pub(crate) fn age(&self, accepted: Accepted) -> Duration {
        match (accepted, self.synchronised) {
            (Accepted::ThisBoot(ms), _) => self.since_boot.saturating_sub(Duration::from_millis(ms)),
            // Whenever it was, this machine hadn't booted yet.
            (Accepted::Earlier(_), None) | (Accepted::Earlier(None), _) => self.since_boot,
            (Accepted::Earlier(Some(at)), Some(now)) => {
                Duration::try_from(now.duration_since(at)).unwrap_or(Duration::ZERO).max(self.since_boot)
            }
        }
    }

    /// How far the clock is ahead of the time since boot, in milliseconds, if it is synchronised.
    pub(crate) fn offset(&self) -> Option<i64> {
        let since_boot = i64::try_from(self.since_boot.as_millis()).ok()?;
        self.synchronised.map(|now| now.as_millisecond().saturating_sub(since_boot))
    }
}

/// When a message that comes now was accepted.
pub(crate) fn accepted_now() -> Accepted {
    Accepted::ThisBoot(u64::try_from(time::since_boot().as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn moment(since_boot: Duration, synchronised: Option<&str>) -> Moment {
        Moment { since_boot, synchronised: synchronised.map(at) }
    }

    #[test]
    fn within_a_boot_the_clock_plays_no_part() {
        for clock in [None, Some("1970-01-01T00:00:00Z"), Some("2076-01-01T00:00:00Z")] {
            assert_eq!(moment(3 * HOUR, clock).age(Accepted::ThisBoot(3_600_000)), 2 * HOUR);
        }
        assert_eq!(moment(HOUR, None).age(Accepted::ThisBoot(7_200_000)), Duration::ZERO);
    }

    #[test]
    fn across_boots_the_age_is_what_a_synchronised_clock_says_and_never_less_than_this_boot() {
        let accepted = Accepted::Earlier(Some(at("2026-01-01T00:00:00Z")));
        assert_eq!(moment(HOUR, Some("2026-01-02T00:00:00Z")).age(accepted), 24 * HOUR);
        assert_eq!(moment(HOUR, None).age(accepted), HOUR);
        assert_eq!(moment(HOUR, Some("2025-12-31T00:00:00Z")).age(accepted), HOUR);
        assert_eq!(moment(HOUR, Some("2076-01-01T00:00:00Z")).age(Accepted::Earlier(None)), HOUR);
    }

    #[test]
    fn the_kernel_says_of_its_clock_what_it_said_before() {
        match (time::is_synchronised(), time::is_synchronised()) {
            (Ok(first), Ok(second)) => assert_eq!(first, second),
            (first, second) => assert_eq!(first.unwrap_err().kind(), second.unwrap_err().kind()),
        }
    }

    #[test]
    fn the_machine_tells_its_time_since_boot() {
        let (first, second) = (Moment::now(), Moment::now());
        assert!(second.since_boot >= first.since_boot && first.since_boot > Duration::ZERO);
    }
}
