//! A bound on how often something is logged.

use std::cell::Cell;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(60);

/// Lets a log line through at most once a minute.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    last: Cell<Option<Instant>>,
}

impl Seldom {
    /// The next line may be written, whenever the last was.
    pub(crate) fn reset(&self) {
        self.last.set(None);
    }

    /// Whether the line may be written now; if so it counts as written.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let due = self.last.get().is_none_or(|last| now >= last + INTERVAL);
        if due {
            self.last.set(Some(now));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_at_most_once_a_minute() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        assert!(seldom.is_due(start));
        assert!(!seldom.is_due(start + Duration::from_secs(59)));
        assert!(seldom.is_due(start + Duration::from_secs(60)));
        assert!(!seldom.is_due(start + Duration::from_secs(61)));
    }
}
