//! Times, sizes and counts as people read them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use ratatui::text::Span;

use crate::count::count_that;
use crate::time::Rfc3339;

/// Of an outbox with nothing in it; while messages are held, those of programs may still be with these.
pub(super) fn nothing_waits(is_held: bool) -> &'static str {
    if is_held { "empty; what programs send now waits with them" } else { "nothing waits for IoT Core" }
}

/// A duration with its two largest units: `3d 4h`, `12m 3s`, `0s`.
pub(super) fn span(duration: SignedDuration) -> String {
    let seconds = duration.unsigned_abs().as_secs();
    let units = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let first = units.iter().position(|(n, _)| *n > 0).unwrap_or(units.len() - 1);
    let shown = units[first..].iter().take(2).enumerate().filter(|(i, (n, _))| *i == 0 || *n > 0);
    shown.map(|(_, (n, unit))| format!("{n}{unit}")).collect::<Vec<_>>().join(" ")
}

/// How long ago, or in how long: `5s ago`, `just now`, `in 55s`.
pub(super) fn relative(at: Rfc3339, now: Timestamp) -> String {
    let passed = now.duration_since(*at);
    match passed.is_negative() {
        // A begun second counts: what is due in 0.9 s isn't due now.
        true => format!("in {}", span(passed - SignedDuration::from_millis(999))),
        false if passed.as_secs() == 0 => "just now".to_owned(),
        false => format!("{} ago", span(passed)),
    }
}

/// In how long something is to happen that does as soon as it is due: `in 55s`, `now`.
pub(super) fn due(at: Rfc3339, now: Timestamp) -> String {
    if *at > now { relative(at, now) } else { "now".to_owned() }
}

/// How long something has been so: `12m 3s`, `less than 1s`.
pub(super) fn lasting(duration: SignedDuration) -> String {
    if duration.unsigned_abs().as_secs() == 0 { "less than 1s".to_owned() } else { span(duration) }
}

/// A time, to the second.
pub(crate) fn clock(at: Rfc3339) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Bytes: `512 B`, `5.2 MiB`.
pub(super) fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "KiB", "MiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} GiB")
}

/// Those that aren't zero, with their causes: `2 full, 1 expired`. `None` if all are.
pub(super) fn causes(counts: &BTreeMap<String, u64>) -> Option<String> {
    let shown: Vec<String> =
        counts.iter().filter(|(_, n)| **n > 0).map(|(cause, n)| format!("{n} {}", cause.replace('_', " "))).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// All of them: whatever a document says, there is a number to show.
pub(super) fn total(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// `1 message waits`, `2 messages wait`
pub(super) fn waits(n: u64) -> String {
    count_that(n, "message", "waits", "wait")
}

/// How many columns of a terminal `text` takes: some characters take two, and some none.
pub(super) fn columns_of(text: &str) -> usize {
    Span::raw(text).width()
}

/// `text` in lines of at most `width` columns, unless a word is wider.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = columns_of(word);
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_their_two_largest_units() {
        let span = |seconds| span(SignedDuration::from_secs(seconds));
        assert_eq!([0, 59, 60, 61, 3600, 3661].map(span), ["0s", "59s", "1m", "1m 1s", "1h", "1h 1m"]);
        assert_eq!([86_399, 86_401, -90_000].map(span), ["23h 59m", "1d", "1d 1h"]);
    }

    #[test]
    fn times_are_told_from_now() {
        let now = Timestamp::from_millisecond(10_000).unwrap();
        let at = |ms| relative(Rfc3339(Timestamp::from_millisecond(ms).unwrap()), now);
        assert_eq!(
            [9_001, 9_000, 10_000, 10_001, 11_000].map(at),
            ["just now", "1s ago", "just now", "in 1s", "in 1s"]
        );
        assert_eq!(clock(now.into()), "1970-01-01 00:00:10 UTC");
        let due = |ms| due(Rfc3339(Timestamp::from_millisecond(ms).unwrap()), now);
        assert_eq!([9_001, 10_000, 10_001, 12_000].map(due), ["now", "now", "in 1s", "in 2s"]);
        assert_eq!(
            [0, 999, 1000].map(|ms| lasting(SignedDuration::from_millis(ms))),
            ["less than 1s", "less than 1s", "1s"]
        );
    }

    #[test]
    fn sizes_and_counts_have_their_units() {
        assert_eq!([0, 1023, 1024, 5_452_595].map(bytes), ["0 B", "1023 B", "1.0 KiB", "5.2 MiB"]);
        assert_eq!(bytes(3 << 30), "3.0 GiB");
        let dropped =
            BTreeMap::from([("full".to_owned(), 2), ("expired".to_owned(), 0), ("not_connected".to_owned(), 1)]);
        assert_eq!(causes(&dropped).unwrap(), "2 full, 1 not connected");
        assert_eq!(causes(&BTreeMap::from([("full".to_owned(), 0)])), None);
    }

    #[test]
    fn long_texts_are_wrapped_between_words() {
        assert_eq!(wrapped("a bb ccc dddd  eeeeeeee f", 6), ["a bb", "ccc", "dddd", "eeeeeeee", "f"]);
        assert_eq!(wrapped("", 6), [""]);
        assert_eq!(wrapped("家庭 温度 a", 6), ["家庭", "温度 a"]);
    }
}
