//! When there was a connection in the last 24 hours, and why not. Pure: it is told what happens, by the clock that counts since
//! boot: nobody sets that, and it goes on while the machine is suspended. It is in memory only, and begins with the daemon.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::time::Rfc3339;

/// How far back it goes.
pub(crate) const WINDOW: Duration = Duration::from_secs(24 * 3600);

/// The most spans that are kept. Of more, the two neighbours that are shortest together become one.
pub(crate) const MAX_SPANS: usize = 128;

/// A time in which the link was up, or down, or, once neighbours have become one, both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Since boot, as the end.
    pub(crate) begin: Duration,
    pub(crate) end: Duration,
    /// For how long of it there was a connection.
    pub(crate) connected: Duration,
    /// The longest time without one in it.
    pub(crate) longest_gap: Duration,
    /// The code of the error by which that time began; `None` if nothing had failed: at a start, or a reload.
    pub(crate) cause: Option<&'static str>,
}

impl Span {
    pub(crate) fn length(&self) -> Duration {
        self.end.saturating_sub(self.begin)
    }

    fn new(begin: Duration, end: Duration, is_connected: bool, cause: Option<&'static str>) -> Span {
        let length = end.saturating_sub(begin);
        let (connected, longest_gap) = if is_connected { (length, Duration::ZERO) } else { (Duration::ZERO, length) };
        Span { begin, end, connected, longest_gap, cause: cause.filter(|_| !is_connected) }
    }

    /// The link has changed between the two: no time without a connection goes across.
    fn with(&self, next: &Span) -> Span {
        let longer = if next.longest_gap > self.longest_gap { next } else { self };
        let Span { longest_gap, cause, .. } = *longer;
        Span { begin: self.begin, end: next.end, connected: self.connected + next.connected, longest_gap, cause }
    }

    /// What of it is behind `from`. Of one that is both, it isn't known when it was what: a part has its share.
    fn since(&self, from: Duration) -> Option<Span> {
        if self.begin >= from {
            return Some(*self);
        }
        let length = self.end.checked_sub(from).filter(|length| !length.is_zero())?;
        let connected = match self.length().as_nanos() {
            0 => Duration::ZERO,
            whole => nanoseconds(self.connected.as_nanos() * length.as_nanos() / whole),
        };
        let longest_gap = self.longest_gap.min(length.saturating_sub(connected));
        Some(Span { begin: from, connected, longest_gap, ..*self })
    }
}

/// Of a time within the window, which is far below what it holds.
fn nanoseconds(n: u128) -> Duration {
    Duration::from_nanos(u64::try_from(n).unwrap_or(u64::MAX))
}

/// One of `link.history` of the status document. Times are in seconds.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct SpanStatus {
    since: Rfc3339,
    state: SpanState,
    seconds: f64,
    connected_seconds: f64,
    longest_gap_seconds: f64,
    cause: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum SpanState {
    Connected,
    Disconnected,
    /// Some of each.
    Both,
}

impl SpanStatus {
    fn new(span: &Span, since: Rfc3339) -> SpanStatus {
        let state = match (span.connected.is_zero(), span.longest_gap.is_zero()) {
            (true, _) => SpanState::Disconnected,
            (false, true) => SpanState::Connected,
            (false, false) => SpanState::Both,
        };
        // To the millisecond.
        let seconds = |time: Duration| time.as_millis() as f64 / 1000.0;
        SpanStatus {
            since,
            state,
            seconds: seconds(span.length()),
            connected_seconds: seconds(span.connected),
            longest_gap_seconds: seconds(span.longest_gap),
            cause: span.cause,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct History {
    /// Those that are over, the oldest first; each begins where the one before ends.
    over: VecDeque<Span>,
    /// Of what the link is now: since when, and why.
    begin: Duration,
    is_connected: bool,
    cause: Option<&'static str>,
}

impl History {
    /// The daemon starts: there is no connection.
    pub(crate) fn new(now: Duration) -> History {
        History { over: VecDeque::new(), begin: now, is_connected: false, cause: None }
    }

    /// There is a connection from now on, or none any more.
    pub(crate) fn changed(&mut self, is_connected: bool, now: Duration) {
        if is_connected == self.is_connected {
            return;
        }
        let span = Span::new(self.begin, now, self.is_connected, self.cause.take());
        (self.begin, self.is_connected) = (span.end, is_connected);
        let oldest = now.saturating_sub(WINDOW);
        while self.over.front().is_some_and(|span| span.end <= oldest) {
            self.over.pop_front();
        }
        // One more is what the link is now.
        if self.over.len() + 1 >= MAX_SPANS {
            self.unite_the_shortest();
        }
        self.over.push_back(span);
    }

    /// An attempt has failed, or the connection has ended, for this. What came first has begun the time without one.
    pub(crate) fn failed(&mut self, cause: &'static str) {
        if !self.is_connected {
            self.cause.get_or_insert(cause);
        }
    }

    /// All of the window, from the start of the daemon if that was later; the oldest first.
    pub(crate) fn spans(&self, now: Duration) -> Vec<Span> {
        let oldest = now.saturating_sub(WINDOW);
        let current = Span::new(self.begin, now, self.is_connected, self.cause);
        self.over.iter().chain([&current]).filter_map(|span| span.since(oldest)).collect()
    }

    /// The same for the status document, where `wall` is what the clock shows now.
    pub(crate) fn status(&self, now: Duration, wall: Timestamp) -> Vec<SpanStatus> {
        let since = |begin: Duration| {
            let ago = SignedDuration::try_from(now.saturating_sub(begin)).unwrap_or(SignedDuration::ZERO);
            wall.saturating_sub(ago).unwrap_or(Timestamp::MIN).into()
        };
        self.spans(now).iter().map(|span| SpanStatus::new(span, since(span.begin))).collect()
    }

    fn unite_the_shortest(&mut self) {
        let lengths = (1..self.over.len()).map(|i| (self.over[i].end.saturating_sub(self.over[i - 1].begin), i));
        let Some((_, i)) = lengths.min() else { return };
        if let Some(next) = self.over.remove(i) {
            self.over[i - 1] = self.over[i - 1].with(&next);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const SECOND: Duration = Duration::from_secs(1);

    fn connected(spans: &[Span]) -> Duration {
        spans.iter().map(|span| span.connected).sum()
    }

    fn longest(spans: &[Span]) -> Duration {
        spans.iter().map(|span| span.longest_gap).max().unwrap()
    }

    #[test]
    fn a_gap_counts_from_its_first_failure_to_the_next_connection() {
        let mut history = History::new(100 * SECOND);
        history.failed("dns_failed");
        history.changed(true, 102 * SECOND);
        history.changed(false, HOUR);
        history.failed("closed_by_server");
        history.failed("dns_failed");
        history.changed(false, HOUR + 2 * SECOND);
        history.changed(true, HOUR + 240 * SECOND);
        let spans = history.spans(2 * HOUR);
        let causes: Vec<_> = spans.iter().map(|span| (span.length().as_secs(), span.cause)).collect();
        assert_eq!(causes, [(2, Some("dns_failed")), (3498, None), (240, Some("closed_by_server")), (3360, None)]);
        assert_eq!((connected(&spans), longest(&spans)), ((3498 + 3360) * SECOND, 240 * SECOND));
    }

    #[test]
    fn the_status_tells_times_by_the_clock_as_it_is_set_now() {
        let mut history = History::new(100 * SECOND);
        history.changed(true, 102 * SECOND);
        history.changed(false, 103 * SECOND);
        let wall = "2026-01-31T12:00:10Z".parse().unwrap();
        let status = serde_json::to_value(history.status(110 * SECOND, wall)).unwrap();
        let span = |since: &str, state: &str, [seconds, connected, gap]: [f64; 3]| {
            serde_json::json!({
                "since": since, "state": state, "seconds": seconds, "connected_seconds": connected,
                "longest_gap_seconds": gap, "cause": null,
            })
        };
        assert_eq!(
            status,
            serde_json::json!([
                span("2026-01-31T12:00:00.000Z", "disconnected", [2.0, 0.0, 2.0]),
                span("2026-01-31T12:00:02.000Z", "connected", [1.0, 1.0, 0.0]),
                span("2026-01-31T12:00:03.000Z", "disconnected", [7.0, 0.0, 7.0]),
            ])
        );
    }

    #[test]
    fn a_day_later_it_is_forgotten() {
        let mut history = History::new(Duration::ZERO);
        history.changed(true, HOUR);
        history.changed(false, 2 * HOUR);
        history.changed(true, 3 * HOUR);
        let of = |now| history.spans(now).iter().map(|span| span.length() / 3600).collect::<Vec<_>>();
        assert_eq!(of(24 * HOUR), [SECOND, SECOND, SECOND, 21 * SECOND]);
        assert_eq!(of(26 * HOUR), [SECOND, 23 * SECOND]);
        assert_eq!(of(200 * HOUR), [24 * SECOND]);
    }

    /// What is, with nothing forgotten: when the link came and went.
    struct Model(Vec<(bool, Duration, Duration)>);

    impl Model {
        fn since(&self, from: Duration) -> (Duration, Duration) {
            let length = |begin: Duration, end: Duration| end.saturating_sub(begin.max(from));
            let of = |wanted: bool| {
                self.0.iter().filter(move |(up, ..)| *up == wanted).map(move |(_, begin, end)| length(*begin, *end))
            };
            (of(true).sum(), of(false).max().unwrap_or_default())
        }
    }

    proptest! {
        /// However often the link comes and goes, what it was in all is right, and what is kept is bounded.
        #[test]
        fn sums_are_right_whatever_is_united(
            start in 0u64..10_000_000,
            lengths in proptest::collection::vec(prop_oneof![9 => 0u64..3_000, 2 => 0u64..600_000, 1 => 0u64..20_000_000], 1..600),
        ) {
            let (mut history, mut model) = (History::new(Duration::from_millis(start)), Model(Vec::new()));
            let (mut begin, mut up) = (Duration::from_millis(start), false);
            for length in lengths {
                let end = begin + Duration::from_millis(length);
                model.0.push((up, begin, end));
                history.failed("dns_failed");
                let oldest = end.saturating_sub(WINDOW).max(Duration::from_millis(start));
                let spans = history.spans(end);
                prop_assert!(spans.len() <= MAX_SPANS);
                prop_assert_eq!(spans.iter().map(Span::length).sum::<Duration>(), end - oldest);
                prop_assert!(spans.windows(2).all(|two| two[0].end == two[1].begin));
                prop_assert!(spans.iter().all(|span| span.connected + span.longest_gap <= span.length()));
                // Of the oldest, only a share may be known.
                let is_share = history.over.iter().any(|span| {
                    span.begin < oldest && span.end > oldest && !span.connected.is_zero() && span.connected < span.length()
                });
                let slack = if is_share { spans[0].length() } else { Duration::ZERO };
                let (was_connected, gap) = model.since(oldest);
                prop_assert!(connected(&spans).abs_diff(was_connected) <= slack);
                prop_assert!(longest(&spans).abs_diff(gap) <= slack);
                up = !up;
                history.changed(up, end);
                begin = end;
            }
        }
    }
}
