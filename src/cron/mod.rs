//! The times of a cron pattern in a time zone, whatever the zone does to its clocks.
//!
//! A pattern for any hour (`*/5 * * * *`) goes by real time: each minute that a clock on the wall shows counts, in an hour that
//! comes twice both times, and an hour that is left out has none. A pattern that names hours (`30 2 * * *`) means times of the
//! day, each of which comes once: at its first time if it comes twice, and at the end of the gap if it is left out.

mod fields;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::fmt;

use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::{DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan as _};

/// A pattern of five fields, or of six with seconds in front, and the zone of its clock.
#[derive(Debug, Clone)]
pub(crate) struct Cron {
    pattern: croner::Cron,
    zone: TimeZone,
}

/// More than twice a year until 2100, should a file of tzdata name so many.
const MOST_CHANGES: usize = 400;

impl PartialEq for Cron {
    fn eq(&self, other: &Cron) -> bool {
        self.pattern == other.pattern && is_same(&self.zone, &other.zone)
    }
}

/// Whether they have one name and one history: tzdata may be another by now. That is what jiff's own `==` says, which also knows that
/// some zones have several names, from a list of 600 that takes 40 KiB of memory in every daemon.
fn is_same(one: &TimeZone, other: &TimeZone) -> bool {
    let since = Timestamp::UNIX_EPOCH;
    let changes = |zone: &TimeZone| -> Vec<_> {
        let changes = zone.following(since).take(MOST_CHANGES);
        changes.map(|change| (change.timestamp(), change.offset())).collect()
    };
    one.iana_name() == other.iana_name()
        && one.to_offset(since) == other.to_offset(since)
        && changes(one) == changes(other)
}

impl Cron {
    /// # Errors
    /// Why `pattern` isn't one, or that none of its times ever comes (30 February).
    pub(crate) fn new(pattern: &str, zone: TimeZone) -> Result<Cron, String> {
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let pattern = parser.parse(pattern).map_err(|_| fields::fault(pattern))?;
        let cron = Cron { pattern, zone };
        // The days of the week repeat after 28 years, 40 across a year without a leap day.
        match cron.after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(cron),
            None => Err("there is no such day".to_owned()),
        }
    }

    /// The first of its times after `time`; `None` at the end of the calendar.
    pub(crate) fn after(&self, time: Timestamp) -> Option<Timestamp> {
        if self.goes_by_real_time() {
            let shown = time.to_zoned(self.zone.clone());
            return Some(self.pattern.find_next_occurrence(&shown, false).ok()?.timestamp());
        }
        let mut shown = self.zone.to_datetime(time);
        loop {
            shown = self.pattern.find_next_occurrence(&shown, false).ok()?;
            let at = self.when(shown)?;
            // In the second pass of an hour that comes twice its times have been.
            if at > time {
                return Some(at);
            }
        }
    }

    /// How many times of the day come at `time` beside the one it was made for: those that the zone has just left out.
    pub(super) fn left_out(&self, time: Timestamp) -> u64 {
        let before = time.saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(time);
        let change = self.zone.following(before).next().filter(|change| change.timestamp() == time);
        if self.goes_by_real_time() || change.is_none() {
            return 0;
        }
        let (mut shown, end) = (self.zone.to_datetime(before), self.zone.to_datetime(time));
        let mut due = 0;
        while let Ok(next) = self.pattern.find_next_occurrence(&shown, false)
            && next <= end
        {
            (shown, due) = (next, due + 1);
        }
        u64::saturating_sub(due, 1)
    }

    /// How many times it has in the 365 days after `time`: days that have any, each with as many. What a zone does to its clocks
    /// isn't counted.
    pub(crate) fn in_a_year(&self, time: Timestamp) -> u64 {
        let fields = &self.pattern.pattern;
        let a_day = [&fields.hours, &fields.minutes, &fields.seconds].map(|field| field.values().len() as u64);
        let mut shown = self.zone.to_datetime(time).date().to_datetime(Time::midnight());
        let end = shown.saturating_add(365.days());
        let mut days = 0;
        while let Ok(next) = self.pattern.find_next_occurrence(&shown, true)
            && next < end
        {
            shown = next.date().saturating_add(1.day()).to_datetime(Time::midnight());
            days += 1;
        }
        days * a_day.iter().product::<u64>()
    }

    /// Any hour will do.
    fn goes_by_real_time(&self) -> bool {
        self.pattern.pattern.hours.values().len() == 24
    }

    /// When a clock on the wall first shows `shown`, or has just skipped it.
    fn when(&self, shown: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(shown);
        match ambiguous.offset() {
            AmbiguousOffset::Gap { .. } => {
                let before = ambiguous.earlier().ok()?;
                Some(self.zone.following(before).next()?.timestamp())
            }
            _ => ambiguous.earlier().ok(),
        }
    }
}

/// As in ``cron `*/5 * * * *` (Europe/Berlin)``.
impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cron `{}` ({})", self.pattern.as_str(), self.zone.iana_name().unwrap_or("local time"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn cron(pattern: &str, zone: &str) -> Cron {
        Cron::new(pattern, TimeZone::get(zone).unwrap()).unwrap()
    }

    /// The times after `from` up to and with `to`, as the zone's clock shows them.
    fn times(cron: &Cron, from: &str, to: &str) -> Vec<String> {
        let (mut time, to) = (from.parse::<Timestamp>().unwrap(), to.parse::<Timestamp>().unwrap());
        let mut times = Vec::new();
        while let Some(next) = cron.after(time).filter(|next| *next <= to) {
            times.push(next.to_zoned(cron.zone.clone()).strftime("%H:%M %:z").to_string());
            time = next;
        }
        times
    }

    #[test]
    fn two_are_the_same_if_pattern_and_zone_are() {
        let (berlin, pattern) = (|| cron("30 2 * * *", "Europe/Berlin"), "30 2 * * *");
        assert_eq!(berlin(), berlin());
        assert_ne!(berlin(), cron("31 2 * * *", "Europe/Berlin"));
        assert_ne!(berlin(), cron(pattern, "Europe/Paris"));
        assert_ne!(berlin(), cron(pattern, "UTC"));
        // Zones without a name: as tzdata may change one of the machine's.
        let posix = |rule| Cron::new(pattern, TimeZone::posix(rule).unwrap()).unwrap();
        let changing = "CET-1CEST,M3.5.0,M10.5.0/3";
        assert_eq!(posix(changing), posix(changing));
        assert_ne!(posix(changing), posix("CET-1CEST,M3.5.0,M10.4.0/3"));
        assert_ne!(posix(changing), posix("CET-1"));
    }

    #[test]
    fn fields_are_five_or_six() {
        assert_eq!(times(&cron("*/20 * * * *", "UTC"), "2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z").len(), 3);
        assert_eq!(times(&cron("*/20 * * * * *", "UTC"), "2026-01-31T12:00:00.5Z", "2026-01-31T12:01:00Z").len(), 3);
        let error = |pattern| Cron::new(pattern, TimeZone::UTC).unwrap_err();
        assert!(error("* * * *").starts_with("it has 4 fields, there must be five"));
        assert!(error("* * * * * * 2030").starts_with("it has 7 fields"));
        assert!(error("").starts_with("it has 0 fields"));
        assert_eq!(error("61 * * * *"), "the minute 61 is out of range, it must be from 0 to 59");
        assert_eq!(error("0 24 * * *"), "the hour 24 is out of range, it must be from 0 to 23");
        assert_eq!(error("0 0 0 * *"), "the day of the month 0 is out of range, it must be from 1 to 31");
        assert_eq!(error("0 0 * 13 *"), "the month 13 is out of range, it must be from 1 to 12");
        assert_eq!(error("0 0 * * 8"), "the day of the week 8 is out of range, it must be from 0 to 7");
        assert!(
            error("0 0 * * noday")
                .starts_with("the day of the week `noday` can't be read; it is `*`, or numbers from 0 to 7, or")
        );
        assert!(error("0/10 * * * *").ends_with("write `*/10` or `0-59/10`"));
        assert!(error("*/0 * * * *").starts_with("the minute `*/0` has no step"));
        assert_eq!(error("0 22-6 * * *"), "the hour `22-6` goes backwards; write `22-23,0-6`");
        assert_eq!(error("* * * * * 99"), "the day of the week 99 is out of range, it must be from 0 to 7");
        assert!(error("*").starts_with("it has 1 field, "));
        assert_eq!(error("0 0 30 2 *"), "there is no such day");
        assert!(Cron::new("0 0 29 2 *", TimeZone::UTC).is_ok());
    }

    #[test]
    fn a_year_has_as_many_times_as_there_are_one_by_one() {
        let from = "2025-12-31T23:00:00Z".parse::<Timestamp>().unwrap();
        for (pattern, expected) in [
            ("0 3 * * *", 365),
            ("*/5 * * * *", 105_120),
            ("* * * * * *", 31_536_000),
            ("30 8-17 * * 1-5", 2610),
            ("0 0 1 * *", 12),
            ("0 0 29 2 *", 0),
            ("*/20 30 6 L * *", 36),
        ] {
            let cron = cron(pattern, "Europe/Berlin");
            assert_eq!(cron.in_a_year(from), expected, "{pattern}");
            if expected < 3000 {
                let (mut time, mut counted) = (from - SignedDuration::from_secs(1), 0);
                while let Some(next) =
                    cron.after(time).filter(|next| *next < from + SignedDuration::from_hours(365 * 24))
                {
                    (time, counted) = (next, counted + 1);
                }
                assert_eq!(counted, expected, "{pattern}");
            }
        }
    }

    #[test]
    fn a_time_of_the_day_that_is_left_out_comes_at_the_end_of_the_gap() {
        // 29 March 2026, 01:00 UTC: from 02:00 to 03:00.
        let night = ("2026-03-28T23:30:00Z", "2026-03-29T02:00:00Z");
        assert_eq!(times(&cron("30 2 * * *", "Europe/Berlin"), night.0, night.1), ["03:00 +02:00"]);
        // Several, and one that is due then anyway: all in one.
        let several = cron("*/10 2,3 * * *", "Europe/Berlin");
        assert_eq!(times(&several, night.0, night.1)[..2], ["03:00 +02:00", "03:10 +02:00"]);
        assert_eq!(several.left_out("2026-03-29T01:00:00Z".parse().unwrap()), 6);
        assert_eq!(several.left_out("2026-03-29T01:10:00Z".parse().unwrap()), 0);
        assert_eq!(several.left_out("2026-10-25T01:00:00Z".parse().unwrap()), 0);
        // A whole day: 30 December 2011 never was in Samoa.
        let day = ("2011-12-30T09:00:00Z", "2011-12-31T09:00:00Z");
        assert_eq!(times(&cron("0 12 * * *", "Pacific/Apia"), day.0, day.1), ["00:00 +14:00", "12:00 +14:00"]);
    }

    #[test]
    fn a_time_of_the_day_that_comes_twice_counts_once() {
        // 25 October 2026, 01:00 UTC: from 03:00 back to 02:00.
        let night = ("2026-10-24T23:30:00Z", "2026-10-25T03:00:00Z");
        assert_eq!(times(&cron("30 2 * * *", "Europe/Berlin"), night.0, night.1), ["02:30 +02:00"]);
        assert_eq!(
            times(&cron("0,30 2,3 * * *", "Europe/Berlin"), night.0, night.1),
            ["02:00 +02:00", "02:30 +02:00", "03:00 +01:00", "03:30 +01:00"]
        );
        // From within the second pass.
        assert_eq!(times(&cron("30 2 * * *", "Europe/Berlin"), "2026-10-25T01:10:00Z", night.1), [""; 0]);
    }

    #[test]
    fn every_so_many_minutes_goes_by_real_time() {
        let pattern = cron("*/30 * * * *", "Europe/Berlin");
        assert_eq!(
            times(&pattern, "2026-03-29T00:15:00Z", "2026-03-29T01:45:00Z"),
            ["01:30 +01:00", "03:00 +02:00", "03:30 +02:00"]
        );
        assert_eq!(
            times(&pattern, "2026-10-24T23:45:00Z", "2026-10-25T02:15:00Z"),
            ["02:00 +02:00", "02:30 +02:00", "02:00 +01:00", "02:30 +01:00", "03:00 +01:00"]
        );
    }

    /// Days on which clocks are put forward or back, each in the middle of the days that are looked at.
    const CHANGES: [(&str, &str); 8] = [
        ("Europe/Berlin", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-10-25T01:00:00Z"),
        ("America/New_York", "2026-11-01T06:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
        ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),
        ("Pacific/Apia", "2011-12-30T10:00:00Z"),
        ("UTC", "2026-06-15T00:00:00Z"),
    ];

    proptest! {
        /// Against a calendar that is gone through minute by minute.
        #[test]
        fn no_time_is_lost_and_none_comes_twice(
            (zone, change) in select(CHANGES.to_vec()),
            minute in select(vec!["*", "*/7", "0", "30", "0,15,59", "10-20"]),
            hour in select(vec!["*", "*/2", "2", "0", "1-3", "0,2,23", "12"]),
            day in select(vec!["*", "29-31", "1,4,25"]),
            start in -90_000..3_600_i64,
        ) {
            let cron = cron(&format!("{minute} {hour} {day} * *"), zone);
            let from = change.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(start);
            let to = from + SignedDuration::from_hours(80);
            let mut expected = BTreeSet::new();
            if hour == "*" {
                let mut time = Timestamp::from_second(from.as_second().div_euclid(60) * 60).unwrap();
                while time <= to {
                    if cron.pattern.is_time_matching(&time.to_zoned(cron.zone.clone())).unwrap() {
                        expected.insert(time);
                    }
                    time += SignedDuration::from_mins(1);
                }
            } else {
                let mut shown = cron.zone.to_datetime(from).date().saturating_sub(3.days()).to_datetime(jiff::civil::Time::midnight());
                let end = cron.zone.to_datetime(to).saturating_add(2.days());
                while shown <= end {
                    if cron.pattern.is_time_matching(&shown).unwrap() {
                        expected.insert(cron.when(shown).unwrap());
                    }
                    shown = shown.saturating_add(1.minute());
                }
            }
            expected.retain(|time| *time > from && *time <= to);
            let mut found = Vec::new();
            let mut time = from;
            while let Some(next) = cron.after(time).filter(|next| *next <= to) {
                prop_assert!(next > time);
                found.push(next);
                time = next;
            }
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
