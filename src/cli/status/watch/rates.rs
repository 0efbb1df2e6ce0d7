//! Messages a second, both ways, from how the counters of the link grow. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use crate::status::document::Document;
use crate::time::Rfc3339;

/// So many seconds are kept: more than a terminal is wide.
const KEPT: usize = 600;

/// What a rate in words is the mean of, in seconds.
const MEAN_OF: usize = 10;

/// Which way messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Out,
    In,
}

/// The counters at a time since boot.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Count {
    at: Duration,
    /// Which daemon's they are.
    started: Option<Rfc3339>,
    /// PUBLISH packets sent and received.
    out: u64,
    received: u64,
}

/// One entry a second, the newest last.
#[derive(Debug, Default)]
pub(super) struct Rates {
    before: Option<Count>,
    /// Up to when there are entries, in whole seconds since boot.
    until: Option<u64>,
    /// Out and in; `None` where it isn't known.
    seconds: VecDeque<Option<[f64; 2]>>,
}

impl Rates {
    /// A daemon has answered at `at`, which is since boot.
    pub(super) fn answered(&mut self, document: &Document, at: Duration) {
        let counters = &document.counters;
        let now = Count { at, started: document.started, out: counters.published, received: counters.received };
        // Of less than a second too little is known: it counts with the next one.
        if self.until == Some(at.as_secs()) && self.before.is_some_and(|before| before.started == now.started) {
            return;
        }
        let rate = self.before.and_then(|before| before.rate_until(&now));
        self.fill(rate, at);
        self.before = Some(now);
    }

    /// No daemon has answered.
    pub(super) fn unanswered(&mut self, at: Duration) {
        self.before = None;
        self.fill(None, at);
    }

    fn fill(&mut self, rate: Option<[f64; 2]>, at: Duration) {
        let until = at.as_secs();
        let passed = self.until.map_or(0, |before| until.saturating_sub(before));
        let passed = usize::try_from(passed).map_or(KEPT, |passed| passed.min(KEPT));
        self.seconds.extend(std::iter::repeat_n(rate, passed));
        self.seconds.drain(..self.seconds.len().saturating_sub(KEPT));
        self.until = Some(until);
    }

    /// Each of the last `n` seconds, the newest last; fewer if there were fewer.
    pub(super) fn last(&self, way: Way, n: usize) -> impl DoubleEndedIterator<Item = Option<f64>> + Clone {
        let skipped = self.seconds.len().saturating_sub(n);
        self.seconds.iter().skip(skipped).map(move |rate| rate.map(|rate| rate[way as usize]))
    }

    /// Whether there was a daemon in the time that is kept.
    pub(super) fn are_known(&self) -> bool {
        self.seconds.iter().any(Option::is_some)
    }

    /// The mean of the last 10 seconds, as far as they are known.
    pub(super) fn mean(&self, way: Way) -> Option<f64> {
        let known: Vec<f64> = self.last(way, MEAN_OF).flatten().collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    }
}

impl Count {
    /// `None`: it is another daemon's, or time hasn't passed.
    fn rate_until(&self, now: &Count) -> Option<[f64; 2]> {
        let seconds = now.at.checked_sub(self.at)?.as_secs_f64();
        if self.started != now.started || seconds <= 0.0 {
            return None;
        }
        let grown = [now.out.checked_sub(self.out)?, now.received.checked_sub(self.received)?];
        Some(grown.map(|n| n as f64 / seconds))
    }
}

/// `0.3/s`, `12/s`, `34k/s`
pub(super) fn written(rate: f64) -> String {
    match rate {
        ..9.95 => format!("{rate:.1}/s"),
        ..9999.5 => format!("{rate:.0}/s"),
        ..9_999_500.0 => format!("{:.0}k/s", rate / 1e3),
        _ => format!("{:.0}M/s", rate / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(started: &str, out: u64, received: u64) -> Document {
        let mut document = Document { started: Some(Rfc3339(started.parse().unwrap())), ..Document::default() };
        (document.counters.published, document.counters.received) = (out, received);
        document
    }

    fn of(rates: &Rates, way: Way) -> Vec<Option<f64>> {
        rates.last(way, KEPT).collect()
    }

    const FIRST: &str = "2026-01-31T12:00:00Z";
    const SECOND: &str = "2026-01-31T12:00:09Z";

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn each_second_has_its_rate_whatever_the_answers_are_late() {
        let mut rates = Rates::default();
        rates.answered(&document(FIRST, 100, 7), at(10_000));
        assert_eq!((rates.mean(Way::Out), of(&rates, Way::In)), (None, vec![]));
        rates.answered(&document(FIRST, 110, 7), at(11_000));
        // Three seconds without an answer: what was sent in them is spread over them.
        rates.answered(&document(FIRST, 116, 10), at(14_000));
        // One that is early counts with the next.
        rates.answered(&document(FIRST, 118, 10), at(14_900));
        rates.answered(&document(FIRST, 120, 10), at(16_000));
        assert_eq!(of(&rates, Way::Out), [10.0, 2.0, 2.0, 2.0, 2.0, 2.0].map(Some));
        assert_eq!(of(&rates, Way::In), [0.0, 1.0, 1.0, 1.0, 0.0, 0.0].map(Some));
        assert_eq!(rates.mean(Way::In), Some(0.5));
    }

    #[test]
    fn a_restart_and_an_absence_are_gaps_and_no_rates() {
        let mut rates = Rates::default();
        rates.answered(&document(FIRST, 1000, 0), at(1_000));
        rates.answered(&document(FIRST, 1001, 0), at(2_000));
        rates.answered(&document(SECOND, 5000, 0), at(3_000));
        rates.answered(&document(SECOND, 5002, 0), at(4_000));
        rates.unanswered(at(6_500));
        rates.answered(&document(SECOND, 9000, 0), at(7_000));
        rates.answered(&document(SECOND, 9001, 0), at(8_000));
        // Counters that go back are another daemon's, too.
        rates.answered(&document(SECOND, 0, 0), at(9_000));
        assert_eq!(of(&rates, Way::Out), [Some(1.0), None, Some(2.0), None, None, None, Some(1.0), None],);
    }

    #[test]
    fn it_is_bounded_whatever_time_does() {
        let mut rates = Rates::default();
        for ms in [0, 5_000, 1_000, u64::MAX, 3, 2_000_000, 4_000_000_000] {
            rates.answered(&document(FIRST, ms, ms), at(ms));
            rates.unanswered(at(ms / 2));
            assert!(rates.seconds.len() <= KEPT);
        }
    }

    #[test]
    fn rates_are_short() {
        let texts = [0.0, 0.34, 9.94, 9.96, 999.6, 9999.6, 123_456.0, 2e7].map(written);
        assert_eq!(texts, ["0.0/s", "0.3/s", "9.9/s", "10/s", "1000/s", "10k/s", "123k/s", "20M/s"]);
    }
}
