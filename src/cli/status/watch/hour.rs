//! The last hour of the link, in columns. Pure.

use crate::status::document::SpanDocument;

/// In seconds.
const HOUR: f64 = 3600.0;

/// What is shorter is the rounding of the document, which is to the millisecond.
const ROUNDING: f64 = 0.002;

/// A piece of the hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// gatewire didn't run, or wasn't this one.
    Unknown,
    Connected,
    /// Some of it, however little is missing.
    Partly,
    Disconnected,
}

/// The last hour in so many columns, the oldest first. `history` ends now.
pub(super) fn columns(history: &[SpanDocument], width: usize) -> Vec<Column> {
    let length = HOUR / width.max(1) as f64;
    // Of each column, counted back from now: for how long it is known what was, and how long of that there was a connection.
    let mut sums = vec![(0.0, 0.0); width];
    let mut end = 0.0;
    for span in history.iter().rev() {
        let whole = positive(span.seconds);
        let share = if whole > 0.0 { (positive(span.connected_seconds) / whole).min(1.0) } else { 0.0 };
        let begin = end + whole;
        for (i, (known, connected)) in sums.iter_mut().enumerate() {
            let from = i as f64 * length;
            let common = (begin.min(from + length) - end.max(from)).max(0.0);
            *known += common;
            *connected += common * share;
        }
        end = begin;
        if end >= HOUR {
            break;
        }
    }
    sums.iter().rev().map(|(known, connected)| column(*known, *connected)).collect()
}

fn column(known: f64, connected: f64) -> Column {
    match () {
        () if known < ROUNDING => Column::Unknown,
        () if known - connected < ROUNDING => Column::Connected,
        () if connected < ROUNDING => Column::Disconnected,
        () => Column::Partly,
    }
}

fn positive(seconds: f64) -> f64 {
    if seconds.is_finite() { seconds.max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(seconds: f64, connected_seconds: f64) -> SpanDocument {
        SpanDocument { seconds, connected_seconds, ..SpanDocument::default() }
    }

    fn drawn(history: &[SpanDocument], width: usize) -> String {
        let glyph = |column| match column {
            Column::Unknown => ' ',
            Column::Connected => '#',
            Column::Partly => '+',
            Column::Disconnected => '.',
        };
        columns(history, width).into_iter().map(glyph).collect()
    }

    #[test]
    fn the_hour_ends_now_and_what_was_before_the_start_is_unknown() {
        assert_eq!(drawn(&[span(1800.0, 0.0), span(600.0, 600.0)], 6), "  ...#");
        assert_eq!(drawn(&[span(80_000.0, 80_000.0), span(1200.0, 0.0), span(600.0, 600.0)], 6), "###..#");
        assert_eq!(drawn(&[], 4), "    ");
        assert_eq!(drawn(&[span(1.0, 1.0)], 0), "");
    }

    #[test]
    fn no_gap_is_too_short_to_be_seen() {
        assert_eq!(drawn(&[span(9000.0, 9000.0), span(0.2, 0.0), span(1000.0, 1000.0)], 6), "####+#");
        // One that is both, and was united of several.
        assert_eq!(drawn(&[span(3600.0, 3599.0)], 3), "+++");
    }

    proptest! {
        #[test]
        fn whatever_a_document_says_there_are_so_many_columns(
            spans in proptest::collection::vec((any::<f64>(), any::<f64>()), 0..20), width in 0usize..300,
        ) {
            let history: Vec<_> = spans.into_iter().map(|(seconds, connected)| span(seconds, connected)).collect();
            prop_assert_eq!(columns(&history, width).len(), width);
        }
    }
}
