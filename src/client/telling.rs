//! How much is said of a failure that repeats: a night without network must not fill the journal, and yet not be silent.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::time::Rfc3339;

/// A failure that goes on is explained in full again after this long.
const EXPLAIN_AGAIN: Duration = Duration::from_secs(3600);

/// The bound on the failures that are remembered: the one explained longest ago makes room.
const MAX_KNOWN: usize = 64;

/// What was said of failures, each with what tells it from others, its kind: one about another
/// topic is new. Pure.
#[derive(Debug, Default)]
pub(crate) struct Telling(BTreeMap<u64, ToldFailure>);

#[derive(Debug)]
struct ToldFailure {
    explained: Instant,
    /// In the present row of failures.
    times: u32,
    since: Rfc3339,
}

/// What was before a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// Another failure.
    Down,
    /// The link had come, for a short time.
    Up,
    /// Likewise, and it was said that it had.
    UpAndSaid,
    /// The link had been well for long: a new row begins.
    Stable,
}

/// What to say of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Say {
    /// With its advice.
    InFull(Repeats),
    /// What happened alone.
    Briefly(Repeats),
    Nothing,
}

/// Failures of one kind in a row, with others between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Repeats {
    /// At least 1.
    pub(crate) times: u32,
    /// When the first was.
    pub(crate) since: Rfc3339,
}

impl Telling {
    /// A failure of this kind has happened at `now`, which is `clock` for people. The end of a link that was well, or of which it
    /// was said that it had come, is a change, of which at least something is said. Of one that doesn't come, or goes as soon as it has come, each failure that doubles their
    /// number is; and one is explained each hour.
    pub(crate) fn failed(&mut self, kind: &str, before: Before, now: Instant, clock: Timestamp) -> Say {
        if before == Before::Stable {
            self.0.values_mut().for_each(|known| known.times = 0);
        }
        let mut hasher = DefaultHasher::new();
        kind.hash(&mut hasher);
        let key = hasher.finish();
        let is_new = !self.0.contains_key(&key);
        if is_new && self.0.len() == MAX_KNOWN {
            let oldest = self.0.iter().min_by_key(|(_, known)| known.explained).map(|(key, _)| *key);
            oldest.map(|key| self.0.remove(&key));
        }
        let known = self.0.entry(key).or_insert(ToldFailure { explained: now, times: 0, since: clock.into() });
        if known.times == 0 {
            known.since = clock.into();
        }
        known.times = known.times.saturating_add(1);
        let row = Repeats { times: known.times, since: known.since };
        if is_new || now.duration_since(known.explained) >= EXPLAIN_AGAIN {
            known.explained = now;
            Say::InFull(row)
        } else if matches!(before, Before::Stable | Before::UpAndSaid) || known.times.is_power_of_two() {
            Say::Briefly(row)
        } else {
            Say::Nothing
        }
    }
}

impl std::fmt::Display for Repeats {
    /// Goes behind what happened; empty for a single failure.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.times {
            1 => Ok(()),
            times => write!(f, ", {times} times since {}", self.since),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn row(times: u32, since: i64) -> Repeats {
        Repeats { times, since: Timestamp::from_second(since).unwrap().into() }
    }

    #[test]
    fn a_failure_that_repeats_is_said_less_and_less_and_explained_each_hour() {
        let (mut telling, start) = (Telling::default(), Instant::now());
        // Every two minutes for a day.
        let said: Vec<Say> = (0..720)
            .map(|i| {
                let clock = Timestamp::from_second(i64::from(i) * 120).unwrap();
                telling.failed("dns_no_server", Before::Down, start + i * 120 * SECOND, clock)
            })
            .filter(|say| *say != Say::Nothing)
            .collect();
        assert_eq!(
            said[..4],
            [Say::InFull(row(1, 0)), Say::Briefly(row(2, 0)), Say::Briefly(row(4, 0)), Say::Briefly(row(8, 0))]
        );
        assert_eq!(said[5], Say::InFull(row(31, 0)), "an hour later");
        let full = said.iter().filter(|say| matches!(say, Say::InFull(_))).count();
        assert_eq!((full, said.len()), (24, 24 + 9));
    }

    #[test]
    fn failures_that_alternate_are_known_both() {
        let (mut telling, now) = (Telling::default(), Instant::now());
        let mut say = |code| telling.failed(code, Before::Down, now, Timestamp::UNIX_EPOCH);
        assert!(matches!(say("a"), Say::InFull(_)) && matches!(say("b"), Say::InFull(_)));
        assert_eq!([say("a"), say("b")], [Say::Briefly(row(2, 0)); 2]);
        assert_eq!([say("a"), say("b")], [Say::Nothing; 2]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut telling, start) = (Telling::default(), Instant::now());
        for i in 0..1000 {
            telling.failed(&i.to_string(), Before::Down, start + i * SECOND, Timestamp::UNIX_EPOCH);
        }
        assert_eq!(telling.0.len(), MAX_KNOWN);
        assert!(matches!(
            telling.failed("999", Before::Down, start + 1000 * SECOND, Timestamp::UNIX_EPOCH),
            Say::Briefly(_)
        ));
    }

    #[test]
    fn the_end_of_a_link_that_was_well_is_always_said_and_of_one_that_goes_at_once_as_of_one_that_does_not_come() {
        let (mut telling, now) = (Telling::default(), Instant::now());
        let mut say = |i| telling.failed("closed", Before::Stable, now, Timestamp::from_second(i).unwrap());
        assert_eq!(say(0), Say::InFull(row(1, 0)));
        (1..9).for_each(|i| assert_eq!(say(i), Say::Briefly(row(1, i))));
        let (mut telling, now) = (Telling::default(), Instant::now());
        let mut say = |i| telling.failed("closed", Before::Up, now, Timestamp::from_second(i).unwrap());
        let said = (0..100).filter(|i| say(*i) != Say::Nothing).count();
        assert_eq!(said, 7, "of the first, and of 2, 4, ... 64");
        assert_eq!(row(1, 0).to_string(), "");
        assert_eq!(row(3, 60).to_string(), ", 3 times since 1970-01-01T00:01:00.000Z");
    }
    #[test]
    fn where_it_was_said_that_the_link_has_come_it_is_said_that_it_has_gone() {
        let (mut telling, now) = (Telling::default(), Instant::now());
        let mut say = |before| telling.failed("closed", before, now, Timestamp::UNIX_EPOCH);
        assert_eq!(say(Before::Stable), Say::InFull(row(1, 0)));
        assert_eq!([2, 3].map(|_| say(Before::UpAndSaid)), [2, 3].map(|times| Say::Briefly(row(times, 0))));
        assert_eq!([say(Before::Up), say(Before::Up)], [Say::Briefly(row(4, 0)), Say::Nothing]);
    }
}
