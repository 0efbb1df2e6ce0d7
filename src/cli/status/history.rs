//! The last 24 hours of the link, in a line.

use jiff::{SignedDuration, Timestamp};

use super::words::{relative, span};
use crate::status::document::SpanDocument;

/// What the daemon remembers at most, in seconds; less since it started.
const WINDOW: f64 = 24.0 * 3600.0;

/// `connected 99.2 % of the last 24 h, longest gap 4m (keep_alive_lost), 3h ago`. `None`: nothing is known.
pub(super) fn summary(history: &[SpanDocument], now: Timestamp) -> Option<String> {
    let sum = |of: fn(&SpanDocument) -> f64| history.iter().map(of).filter(|n| n.is_finite()).sum::<f64>();
    let (known, connected) = (sum(|span| span.seconds), sum(|span| span.connected_seconds));
    if known < 1.0 {
        return None;
    }
    let of = match known >= WINDOW - 1.0 {
        true => "the last 24 h".to_owned(),
        false => format!("the {} since gatewire started", written(known)),
    };
    let longest = history.iter().max_by(|one, other| one.longest_gap_seconds.total_cmp(&other.longest_gap_seconds));
    let gap = longest.filter(|longest| longest.longest_gap_seconds > 0.0).map_or_else(String::new, |longest| {
        let cause = longest.cause.as_ref().map_or_else(String::new, |cause| format!(" ({cause})"));
        // Of several it isn't known when the longest was.
        let at = longest.since.filter(|_| longest.state == "disconnected");
        let ago = at.map_or_else(String::new, |at| format!(", {}", relative(at, now)));
        format!(", longest gap {}{cause}{ago}", written(longest.longest_gap_seconds))
    });
    Some(format!("connected {} of {of}{gap}", percent(connected, known)))
}

/// `99.2 %`. It is 100 only if nothing is missing, and 0 only if there is nothing.
fn percent(part: f64, whole: f64) -> String {
    let tenths = (part / whole * 1000.0).floor();
    match tenths {
        1000.0.. => "100 %".to_owned(),
        tenths if tenths < 1.0 && part > 0.0 => "0.1 %".to_owned(),
        tenths if tenths < 1.0 => "0 %".to_owned(),
        tenths => format!("{:.1} %", tenths / 10.0),
    }
}

/// A time, of less than a second in milliseconds.
pub(super) fn written(seconds: f64) -> String {
    match SignedDuration::try_from_secs_f64(seconds) {
        Ok(time) if seconds < 1.0 => format!("{} ms", time.as_millis()),
        Ok(time) => span(time),
        Err(_) => "an unknown time".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_whole_is_100_percent_and_only_nothing_is_0() {
        let percent = |part| percent(part, 86_400.0);
        assert_eq!([86_400.0, 86_399.9, 85_716.0].map(percent), ["100 %", "99.9 %", "99.2 %"]);
        assert_eq!([0.0, 0.1, 87.0].map(percent), ["0 %", "0.1 %", "0.1 %"]);
    }
}
