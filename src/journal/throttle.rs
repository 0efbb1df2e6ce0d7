//! A bound on how often a line is logged, whoever has it repeated: a client, the server, a source, the disk, the network.
//!
//! Lines are of one kind if they are about the same event (`GATEWIRE_EVENT`) of the same subject (their other fields, or their
//! text). A kind may have a few lines at once and then one now and then; so may all kinds of an event together, so that a new
//! topic each time makes no difference. What is left out is counted, and told with the last of it: at the next line that is
//! written, or a while after it has ended. Pure: it is given the time.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::time::{Duration, Instant};

use log::Level;

/// The bound on the kinds that are remembered, and on the events.
const MAX_KINDS: usize = 128;

/// So many characters of a line that was left out are kept, to be told.
const MAX_LAST: usize = 400;

/// What was left out is told once nothing more has been for so long.
const QUIET: Duration = Duration::from_secs(60);

/// How many lines may be written: at once, and then one a while.
#[derive(Debug, Clone, Copy)]
struct Rate {
    burst: u32,
    each: Duration,
}

const KIND: Rate = Rate { burst: 6, each: Duration::from_secs(15 * 60) };
const EVENT: Rate = Rate { burst: 30, each: Duration::from_secs(5 * 60) };

/// Of the link there is one, and its coming and going is what people look for first.
const LINK: Rate = Rate { burst: 30, each: Duration::from_secs(2 * 60) };

/// What becomes of jobs and commands is what their owner looks for: a fleet's busy day is written whole. What went wrong has a bound of
/// its own, so that what went well doesn't take its place.
const ACTION: Rate = Rate { burst: 120, each: Duration::from_secs(30) };

/// See [`ACTION`].
const ACTIONS: [&str; 6] =
    ["job_begun", "job_ended", "job_rejected", "command_begun", "command_ended", "command_rejected"];

/// Events that only a person at this machine can repeat, by a start, a stop or a reload (which has a limit of its own); and what
/// tells of the limit.
const UNLIMITED: [&str; 9] =
    ["lines_left_out", "starting", "stopping", "stopped", "stored", "lost", "config", "reloaded", "reload_refused"];

/// Events that alternate when something comes and goes: one kind, so that each line is seen beside its opposite.
const STATES: [(&str, &str); 7] = [
    ("link_up", "link"),
    ("link_down", "link"),
    ("publish_failed", "publish"),
    ("publish_lacks", "publish"),
    ("publish_refused", "publish"),
    ("publish_recovered", "publish"),
    ("publish_overlap", "publish"),
];

/// A line, as far as its limit goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogLine<'a> {
    /// `GATEWIRE_EVENT`, or where in the source it is written.
    pub(super) event: &'a str,
    /// The values of its other fields; empty: its text tells.
    pub(super) subject: &'a str,
    pub(super) level: Level,
    pub(super) text: &'a str,
}

/// Lines that weren't written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) count: u64,
    /// That of the gravest.
    pub(super) level: Level,
    /// The text of the last.
    pub(super) last: String,
    /// When the last was.
    at: Instant,
}

/// What is to become of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is written, after these.
    Write(Vec<LeftOut>),
    LeaveOut,
}

/// What was logged lately.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    hasher: RandomState,
    events: HashMap<u64, Allowance>,
    kinds: HashMap<u64, Allowance>,
}

/// How many lines of one kind or event may be written now, and what wasn't.
#[derive(Debug)]
struct Allowance {
    rate: Rate,
    left: u32,
    /// From when the next one counts.
    since: Instant,
    left_out: Option<LeftOut>,
}

impl Throttle {
    /// Decides on a line at `now`.
    pub(super) fn admit(&mut self, line: LogLine<'_>, now: Instant) -> Decision {
        if line.level > Level::Info || UNLIMITED.contains(&line.event) {
            return Decision::Write(Vec::new());
        }
        let state = STATES.iter().find(|(event, _)| *event == line.event).map(|(_, state)| *state);
        let is_action = ACTIONS.contains(&line.event);
        let event = match is_action {
            true => self.hasher.hash_one((line.event, line.level)),
            false => self.hasher.hash_one(state.unwrap_or(line.event)),
        };
        let (of_kind, of_event) = match state {
            Some("link") => (LINK, LINK),
            _ if is_action => (KIND, ACTION),
            _ => (KIND, EVENT),
        };
        let kind = self.kind(event, state, line);
        if let Some(known) = self.kinds.get_mut(&kind)
            && !known.may(now)
        {
            known.leave_out(line, now);
            return Decision::LeaveOut;
        }
        let whole = entry(&mut self.events, event, of_event, now);
        if !whole.may(now) {
            whole.leave_out(line, now);
            return Decision::LeaveOut;
        }
        let mut told: Vec<LeftOut> = whole.take().into_iter().collect();
        told.extend(entry(&mut self.kinds, kind, of_kind, now).take());
        Decision::Write(told)
    }

    /// Numbers in a text differ where nothing else does.
    fn kind(&self, event: u64, state: Option<&str>, line: LogLine<'_>) -> u64 {
        match (state, line.subject) {
            (Some("link"), _) => event,
            (_, "") => {
                let text: String = line.text.chars().filter(|c| !c.is_ascii_digit()).collect();
                self.hasher.hash_one((event, false, text))
            }
            (_, subject) => self.hasher.hash_one((event, true, subject)),
        }
    }

    /// When [`Throttle::due`] has something to tell, if no line comes until then.
    pub(super) fn next(&self) -> Option<Instant> {
        self.events.values().chain(self.kinds.values()).filter_map(Allowance::due_at).min()
    }

    /// What was left out of what has ended. Each counts as a line.
    pub(super) fn due(&mut self, now: Instant) -> Vec<LeftOut> {
        let all = self.events.values_mut().chain(self.kinds.values_mut());
        let due = all.filter(|allowance| allowance.due_at().is_some_and(|at| at <= now));
        due.filter_map(|allowance| if allowance.may(now) { allowance.take() } else { None }).collect()
    }

    /// Everything that was left out and isn't told yet: at the end.
    pub(super) fn rest(&mut self) -> Vec<LeftOut> {
        let all = self.events.values_mut().chain(self.kinds.values_mut());
        all.filter_map(|allowance| allowance.left_out.take()).collect()
    }
}

/// That of `key`. Where there are too many, the one that was used longest ago makes room, one with nothing to tell first.
fn entry<K: Hash + Eq + Copy>(
    allowances: &mut HashMap<K, Allowance>,
    key: K,
    rate: Rate,
    now: Instant,
) -> &mut Allowance {
    if allowances.len() >= MAX_KINDS && !allowances.contains_key(&key) {
        let oldest = allowances.iter().min_by_key(|(_, known)| (known.left_out.is_some(), known.since));
        let oldest = oldest.map(|(key, _)| *key);
        oldest.map(|key| allowances.remove(&key));
    }
    allowances.entry(key).or_insert(Allowance { rate, left: rate.burst, since: now, left_out: None })
}

impl Allowance {
    /// Whether a line may be written at `now`.
    fn may(&mut self, now: Instant) -> bool {
        let (passed, each) = (now.saturating_duration_since(self.since), self.rate.each);
        let more = u32::try_from(passed.as_secs() / each.as_secs()).unwrap_or(u32::MAX);
        match self.left.saturating_add(more) {
            left if left >= self.rate.burst => (self.left, self.since) = (self.rate.burst, now),
            left => (self.left, self.since) = (left, self.since + each * more),
        }
        self.left > 0
    }

    /// A line is written: with it, what wasn't.
    fn take(&mut self) -> Option<LeftOut> {
        self.left = self.left.saturating_sub(1);
        self.left_out.take()
    }

    fn leave_out(&mut self, line: LogLine<'_>, now: Instant) {
        let known = self.left_out.take().map_or((0, line.level), |known| (known.count, known.level));
        let mut last: String = line.text.chars().take(MAX_LAST).collect();
        if last.len() < line.text.len() {
            last.push('…');
        }
        self.left_out = Some(LeftOut { count: known.0 + 1, level: known.1.min(line.level), last, at: now });
    }

    fn due_at(&self) -> Option<Instant> {
        let quiet = self.left_out.as_ref()?.at + QUIET;
        let next = if self.left > 0 { self.since } else { self.since + self.rate.each };
        Some(quiet.max(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn line<'a>(event: &'a str, subject: &'a str, text: &'a str) -> LogLine<'a> {
        LogLine { event, subject, level: Level::Warn, text }
    }

    /// How many of these lines are written, and how many others are told of.
    fn written<'a>(limit: &mut Throttle, now: Instant, lines: impl Iterator<Item = LogLine<'a>>) -> (u64, u64) {
        lines.fold((0, 0), |(written, told), line| match limit.admit(line, now) {
            Decision::Write(left_out) => {
                (written + 1, told + left_out.iter().map(|left_out| left_out.count).sum::<u64>())
            }
            Decision::LeaveOut => (written, told),
        })
    }

    #[test]
    fn a_source_that_comes_and_goes_every_second_has_a_few_lines_and_each_other_is_counted() {
        let (mut limit, start) = (Throttle::default(), Instant::now());
        let (mut lines, mut told) = (0, 0);
        for second in 0..86_400 {
            for event in ["publish_failed", "publish_recovered"] {
                let one = std::iter::once(line(event, "temperature", "no value"));
                let (now, left_out) = written(&mut limit, start + second * SECOND, one);
                (lines, told) = (lines + now, told + left_out);
            }
        }
        assert!((90..=110).contains(&lines), "{lines}");
        told += limit.rest().iter().map(|left_out| left_out.count).sum::<u64>();
        assert_eq!(lines + told, 2 * 86_400);
    }

    #[test]
    fn a_busy_day_of_jobs_is_written_and_what_fails_has_a_bound_of_its_own() {
        let (mut limit, start) = (Throttle::default(), Instant::now());
        let names: Vec<String> = (0..1000).map(|n| format!("job-{n}")).collect();
        let of = |level| names.iter().map(move |name| LogLine { level, ..line("job_ended", name, "ended") });
        let (well, _) = written(&mut limit, start, of(Level::Info));
        let (badly, _) = written(&mut limit, start, of(Level::Warn));
        assert_eq!((well, badly), (120, 120));
    }

    #[test]
    fn what_was_left_out_is_told_with_the_last_of_it_after_a_while() {
        let (mut limit, start) = (Throttle::default(), Instant::now());
        assert_eq!(limit.next(), None);
        assert_eq!(written(&mut limit, start, (0..10).map(|_| line("e", "s", "again"))), (6, 0));
        let recovered = LogLine { level: Level::Info, ..line("e", "s", "well") };
        assert_eq!(limit.admit(recovered, start), Decision::LeaveOut);
        let at = limit.next().unwrap();
        assert_eq!(at, start + KIND.each);
        assert_eq!(limit.due(at - SECOND), []);
        let told = limit.due(at);
        assert_eq!((told[0].count, told[0].level, &*told[0].last), (5, Level::Warn, "well"));
        assert_eq!((limit.next(), limit.due(at)), (None, vec![]));
        // That was its line.
        assert_eq!(limit.admit(line("e", "s", "again"), at), Decision::LeaveOut);
    }

    #[test]
    fn a_new_subject_each_time_makes_no_difference_and_memory_is_bounded() {
        let (mut limit, start) = (Throttle::default(), Instant::now());
        let topics: Vec<String> = (0..20_000).map(|n| format!("events/{n}")).collect();
        let lines = topics.iter().map(|topic| line("quarantined", topic, "refused"));
        assert_eq!(written(&mut limit, start, lines).0, 30);
        assert_eq!(limit.rest()[0].count, 20_000 - 30);
        // Others are as free as before.
        assert_eq!(written(&mut limit, start, std::iter::once(line("store_failing", "", "full"))).0, 1);
        for event in &topics {
            limit.admit(line(event, event, ""), start);
            limit.admit(line("no event", "", event), start);
        }
        assert!(limit.kinds.len() <= MAX_KINDS && limit.events.len() <= MAX_KINDS);
    }

    #[test]
    fn texts_that_differ_in_numbers_alone_are_one_kind_and_a_person_sees_all() {
        let (mut limit, start) = (Throttle::default(), Instant::now());
        let texts: Vec<String> = (0..20).map(|n| format!("client {n} has gone")).collect();
        assert_eq!(written(&mut limit, start, texts.iter().map(|text| line("gone", "", text))).0, 6);
        assert_eq!(written(&mut limit, start, texts.iter().map(|text| line("config", "", text))).0, 20);
    }
}
