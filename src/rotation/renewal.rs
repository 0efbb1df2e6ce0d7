//! When a certificate is to be renewed. Pure.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::effect::Now;

/// At most one new certificate in this time.
pub(super) const PERIOD: Duration = Duration::from_secs(24 * 3600);

/// Whether a certificate that ends then is to be renewed, so long before that.
pub(crate) fn is_due(not_after: Timestamp, renew_before: Duration, wall: Timestamp) -> bool {
    // What can't be reckoned with is farther away than any end.
    let before = SignedDuration::try_from(renew_before).unwrap_or(SignedDuration::MAX);
    not_after.duration_since(wall) <= before
}

/// From when on the next renewal may begin, by the clock that nobody sets, if the last began then by the one on the wall. What seems
/// to lie ahead doesn't count: the clock was ahead then, and how long ago that was nobody knows.
pub(super) fn allowed_at(renewed_at: Option<Timestamp>, now: Now) -> Instant {
    let Some(renewed_at) = renewed_at else { return now.at };
    match Duration::try_from(now.wall.duration_since(renewed_at)) {
        Ok(since) => now.at + PERIOD.saturating_sub(since),
        Err(_) => now.at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_due_so_long_before_its_end_and_after_it() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (end, month) = (at("2027-03-31T00:00:00Z"), 30 * PERIOD);
        for (wall, due) in [
            ("2027-02-28T23:59:59Z", false),
            ("2027-03-01T00:00:00Z", true),
            ("2027-04-01T00:00:00Z", true),
            ("1970-01-01T00:00:00Z", false),
        ] {
            assert_eq!(is_due(end, month, at(wall)), due, "{wall}");
        }
        assert!(is_due(at("2049-12-31T23:59:59Z"), Duration::MAX, at("2027-01-01T00:00:00Z")));
    }

    #[test]
    fn the_next_comes_a_day_after_the_last_and_one_that_is_noted_in_the_future_doesnt_count() {
        let (at, wall) = (Instant::now(), "2027-02-28T12:00:00Z".parse::<Timestamp>().unwrap());
        let now = Now { at, wall };
        let hours = |hours: i64| wall.checked_add(SignedDuration::from_hours(hours)).unwrap();
        assert_eq!(allowed_at(None, now), at);
        assert_eq!(allowed_at(Some(hours(-25)), now), at);
        assert_eq!(allowed_at(Some(hours(-23)), now), at + PERIOD / 24);
        assert_eq!(allowed_at(Some(wall), now), at + PERIOD);
        assert_eq!(allowed_at(Some(hours(1)), now), at);
        assert_eq!(allowed_at(Some(hours(9000)), now), at);
    }
}
