use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A machine with a clock that can be set, and what the schedule does on it: it is woken when it asked to be, and when the
/// clock is set.
struct Machine {
    now: Now,
    watch: ClockWatch,
    calendar: Calendar,
    made: Vec<Due>,
}

impl Machine {
    fn boots_at(wall: &str, pattern: &str, zone: &str) -> Machine {
        Machine::with(wall, pattern, zone, Duration::ZERO, 0.0)
    }

    fn with(wall: &str, pattern: &str, zone: &str, jitter: Duration, random: f64) -> Machine {
        let now = Now { mono: Instant::now(), wall: at(wall), since_boot: Duration::from_secs(20) };
        let cron = Cron::new(pattern, TimeZone::get(zone).unwrap()).unwrap();
        let calendar = Calendar::new(cron, jitter, false, &now, random);
        Machine { now, watch: ClockWatch::new(now), calendar, made: Vec::new() }
    }

    fn look(&mut self) {
        if self.watch.set_by(&self.now).is_some() {
            self.calendar.restart(&self.now, 0.0);
        }
        self.made.extend(self.calendar.take(&self.now, 0.0));
    }

    fn advance(&mut self, by: Duration) {
        self.now.mono += by;
        self.now.since_boot += by;
        self.now.wall += by;
    }

    /// Time passes, and the schedule is woken when it asked to be.
    fn passes(&mut self, time: Duration) {
        let end = self.now.wall + time;
        while let Some(next) = self.calendar.next().filter(|next| *next <= end) {
            self.advance(Duration::try_from(next.duration_since(self.now.wall)).unwrap_or_default());
            self.look();
        }
        self.advance(Duration::try_from(end.duration_since(self.now.wall)).unwrap());
    }

    /// Time passes, and nobody is woken.
    fn stands_still(&mut self, time: Duration) {
        self.advance(time);
        self.look();
    }

    fn is_set_to(&mut self, wall: &str) {
        self.now.wall = at(wall);
        self.look();
    }

    fn made(&self) -> Vec<(String, u64)> {
        self.made.iter().map(|due| (due.at.to_string(), due.skipped)).collect()
    }
}

fn made(times: &[(&str, u64)]) -> Vec<(String, u64)> {
    times.iter().map(|(at, skipped)| ((*at).to_owned(), *skipped)).collect()
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn each_time_of_the_pattern_is_due_once() {
    let mut machine = Machine::boots_at("2026-01-31T12:00:00.3Z", "*/5 * * * *", "UTC");
    machine.passes(12 * MINUTE);
    assert_eq!(machine.made(), made(&[("2026-01-31T12:05:00Z", 0), ("2026-01-31T12:10:00Z", 0)]));
}

#[test]
fn a_pi_that_boots_years_in_the_past_neither_floods_nor_sleeps() {
    let mut machine = Machine::boots_at("1970-01-01T00:00:20Z", "0 * * * *", "UTC");
    machine.passes(MINUTE);
    machine.is_set_to("2026-01-31T12:59:00Z");
    assert_eq!(machine.made(), made(&[]));
    machine.passes(2 * MINUTE);
    assert_eq!(machine.made(), made(&[("2026-01-31T13:00:00Z", 0)]));
}

#[test]
fn a_clock_that_was_years_ahead_does_not_keep_the_schedule_waiting() {
    let mut machine = Machine::boots_at("2031-05-05T00:00:20Z", "0 * * * *", "UTC");
    machine.is_set_to("2026-01-31T12:59:00Z");
    machine.passes(2 * MINUTE);
    assert_eq!(machine.made(), made(&[("2026-01-31T13:00:00Z", 0)]));
}

#[test]
fn a_correction_makes_up_for_what_it_leaves_out_and_repeats_nothing() {
    let mut machine = Machine::boots_at("2026-01-31T12:00:30Z", "* * * * *", "UTC");
    machine.is_set_to("2026-01-31T12:03:10Z");
    assert_eq!(machine.made(), made(&[("2026-01-31T12:03:00Z", 2)]));
    machine.is_set_to("2026-01-31T12:01:00Z");
    machine.passes(3 * MINUTE);
    assert_eq!(machine.made(), made(&[("2026-01-31T12:03:00Z", 2), ("2026-01-31T12:04:00Z", 0)]));
}

#[test]
fn after_a_standstill_one_publication_is_made_and_the_others_are_counted() {
    let mut machine = Machine::boots_at("2026-01-31T12:00:30Z", "0 * * * *", "UTC");
    machine.stands_still(Duration::from_secs(26 * 3600));
    assert_eq!(machine.made(), made(&[("2026-02-01T14:00:00Z", 25)]));
    let mut machine = Machine::boots_at("2026-01-31T12:00:30Z", "* * * * * *", "UTC");
    machine.stands_still(Duration::from_secs(30 * 24 * 3600));
    assert_eq!(machine.made(), made(&[("2026-03-02T12:00:30Z", MAX_SKIPPED)]));
}

#[test]
fn what_a_zone_leaves_out_is_made_up_for_once_and_counted() {
    let mut machine = Machine::boots_at("2026-03-29T00:59:00Z", "*/20 2 * * *", "Europe/Berlin");
    machine.passes(120 * MINUTE);
    assert_eq!(machine.made(), made(&[("2026-03-29T01:00:00Z", 2)]));
}

#[test]
fn jitter_ends_before_the_next_time() {
    let day = Duration::from_secs(24 * 3600);
    let machine = Machine::with("2026-01-31T12:00:00Z", "0 * * * *", "UTC", MINUTE, 0.5);
    assert_eq!(machine.calendar.next(), Some(at("2026-01-31T13:00:30Z")));
    let machine = Machine::with("2026-01-31T12:00:00Z", "0 * * * *", "UTC", day, 0.5);
    assert_eq!(machine.calendar.next(), Some(at("2026-01-31T13:30:00Z")));
}

#[test]
fn at_the_start_is_once_more() {
    let now = Now { mono: Instant::now(), wall: at("2026-01-31T12:00:30Z"), since_boot: Duration::ZERO };
    let cron = Cron::new("0 * * * *", TimeZone::UTC).unwrap();
    let mut calendar = Calendar::new(cron, Duration::ZERO, true, &now, 0.0);
    assert_eq!(calendar.start(), Some(now.mono));
    assert_eq!(calendar.take(&now, 0.0), Some(Due { at: now.wall, skipped: 0 }));
    assert_eq!((calendar.start(), calendar.take(&now, 0.0)), (None, None));
    assert_eq!(calendar.next(), Some(at("2026-01-31T13:00:00Z")));
}

proptest! {
    /// However the clock is set: never more than one publication a look, never one of the same time twice, and never more
    /// than one that time alone would have made, plus one for each correction.
    #[test]
    fn however_the_clock_is_set_there_is_no_flood_and_no_silence(
        events in prop::collection::vec((0..600_u64, prop::option::of(-20_000_000..20_000_000_i64)), 1..40),
    ) {
        let mut machine = Machine::boots_at("2026-01-31T12:00:30Z", "* * * * *", "Europe/Berlin");
        let (mut passed, mut steps) = (0, 0);
        for (seconds, step) in events {
            machine.passes(Duration::from_secs(seconds));
            passed += seconds;
            if let Some(step) = step {
                steps += 1;
                machine.now.wall += SignedDuration::from_secs(step);
                machine.look();
                if SignedDuration::from_secs(step).abs() > SMALL {
                    let wait = machine.calendar.next().unwrap().duration_since(machine.now.wall);
                    prop_assert!(wait > SignedDuration::ZERO && wait <= SignedDuration::from_mins(1));
                }
            }
            let wait = machine.calendar.next().unwrap().duration_since(machine.now.wall);
            prop_assert!(wait <= SMALL * i32::try_from(steps + 1).unwrap());
        }
        prop_assert!(machine.made.len() as u64 <= passed / 60 + 1 + 2 * steps);
        // Between corrections times only grow.
        let repeated = machine.made.windows(2).filter(|pair| pair[0].at >= pair[1].at).count();
        prop_assert!(repeated as u64 <= steps);
    }
}
