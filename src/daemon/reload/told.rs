//! How much is said of reloads that come to the same: a timer or a script that reloads every second must not fill the journal, and
//! what has changed is always told.

use std::fmt;
use std::time::{Duration, Instant};

/// So many reloads that come to the same are told, each of them: a person reloads more than once.
const FREE: u32 = 6;

/// One that goes on is told again after this long.
const TELL_AGAIN: Duration = Duration::from_secs(15 * 60);

/// What the last reload came to, and what was said of it. Pure.
#[derive(Debug)]
pub(super) struct Told<T> {
    last: Option<T>,
    /// In a row.
    times: u32,
    /// When the last was told.
    said: Option<Instant>,
    left_out: LeftOut,
}

/// Reloads before this one that had no line, as each came to the same as the one before it. Displayed behind what is said of this one;
/// empty if there were none.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeftOut(u32);

impl<T> Default for Told<T> {
    fn default() -> Told<T> {
        Told { last: None, times: 0, said: None, left_out: LeftOut(0) }
    }
}

impl<T: PartialEq> Told<T> {
    /// A reload has come to `outcome` at `now`. `None`: nothing is said of it.
    pub(super) fn note(&mut self, outcome: T, now: Instant) -> Option<LeftOut> {
        let is_same = self.last.as_ref() == Some(&outcome);
        self.times = if is_same { self.times.saturating_add(1) } else { 1 };
        self.last = Some(outcome);
        let is_due = self.said.is_none_or(|said| now.saturating_duration_since(said) >= TELL_AGAIN);
        if self.times > FREE && !is_due {
            self.left_out.0 = self.left_out.0.saturating_add(1);
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str(" (one reload before this one came to the same as those before it, and had no line)"),
            count => {
                write!(f, " ({count} reloads before this one came to the same as those before them, and had no line)")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_each_second_has_few_lines_and_a_change_is_told_at_once() {
        let (mut told, start) = (Told::default(), Instant::now());
        let (mut lines, mut left_out) = (0, 0);
        for second in 0..86_400 {
            if let Some(LeftOut(count)) = told.note("the same", start + Duration::from_secs(second)) {
                (lines, left_out) = (lines + 1, left_out + u64::from(count));
            }
        }
        assert_eq!(lines, u64::from(FREE) + 86_400 / TELL_AGAIN.as_secs() - 1);
        let changed = told.note("another", start + Duration::from_secs(86_400)).unwrap();
        assert_eq!(lines + left_out + u64::from(changed.0), 86_400, "each is told of");
        assert_eq!(told.note("the same", start + Duration::from_secs(86_401)), Some(LeftOut(0)));
    }

    #[test]
    fn a_reload_now_and_then_is_told_each_time() {
        let (mut told, start) = (Told::default(), Instant::now());
        for hour in 0..100 {
            assert_eq!(told.note(1, start + Duration::from_secs(3600 * hour)), Some(LeftOut(0)));
        }
        assert_eq!(LeftOut(0).to_string(), "");
    }
}
