//! When the next message may be tried alone. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many trials in a row that failed while the server took nothing: it refuses everything.
const EVERYTHING: u32 = 3;

/// The wait after the first of them, doubled with each up to [`MAX_WAIT`].
const MIN_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(300);

/// Trials that fail while the server takes others follow each other without delay, but for these: so many within [`WINDOW`], and
/// the wait from then on.
const SLOWER: [(usize, Duration); 2] = [(60, Duration::from_secs(60)), (30, Duration::from_secs(10))];
const WINDOW: Duration = Duration::from_secs(600);

/// After so many trials in vain, two minutes, each message has its turn, though one may come before older ones then.
const FAIR: u32 = 8;

/// Which message goes first: the oldest, but for these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// The newest that wasn't tried yet.
    pub(super) is_newest: bool,
    /// What was tried least.
    pub(super) is_fair: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Trials that failed in a row while the server took nothing.
    in_vain: u32,
    /// No trial before this.
    next: Option<Instant>,
    /// When trials failed, within [`WINDOW`].
    failed: VecDeque<Instant>,
}

impl Pace {
    /// A message was refused that was tried alone, and the server has taken others.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failed.push_back(now);
        while self.failed.front().is_some_and(|at| now.saturating_duration_since(*at) >= WINDOW)
            || self.failed.len() > SLOWER[0].0 + 1
        {
            self.failed.pop_front();
        }
        let slower = SLOWER.iter().find(|(most, _)| self.failed.len() > *most);
        self.next = slower.map(|(_, wait)| now + *wait);
    }

    /// A message was refused, and the server has taken none. What is refused within the wait for the same was sent before it.
    pub(super) fn failed_in_vain(&mut self, now: Instant) {
        if self.may_try(now) {
            let doubled = 1u32.checked_shl(self.in_vain).and_then(|factor| MIN_WAIT.checked_mul(factor));
            self.next = Some(now + doubled.map_or(MAX_WAIT, |wait| wait.min(MAX_WAIT)));
            self.in_vain = self.in_vain.saturating_add(1);
        }
    }

    /// The server has taken a message.
    pub(super) fn took(&mut self) {
        if self.in_vain > 0 {
            self.in_vain = 0;
            self.next = None;
        }
    }

    pub(super) fn may_try(&self, now: Instant) -> bool {
        self.next.is_none_or(|at| at <= now)
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// What the next trial is of while the server takes nothing: every other is of the oldest, so that all comes in order if
    /// everything was refused.
    pub(super) fn turn(&self) -> Turn {
        let is_even = self.in_vain > 0 && self.in_vain.is_multiple_of(2);
        let is_long = self.in_vain >= FAIR;
        Turn { is_newest: is_even && (!is_long || self.in_vain % 4 == 2), is_fair: is_even && is_long }
    }

    /// Whether nothing that was tried lately was taken.
    pub(super) fn refuses_everything(&self) -> bool {
        self.in_vain >= EVERYTHING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_in_vain_wait_longer_and_longer_until_one_is_taken() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..12 {
            pace.failed_in_vain(now);
            pace.failed_in_vain(now);
            let next = pace.next().unwrap();
            waits.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert!(pace.refuses_everything());
        pace.took();
        assert!(pace.may_try(now) && !pace.refuses_everything());
    }

    #[test]
    fn many_trials_that_fail_come_slower() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let mut now = start;
        let mut trials = 0;
        while now < start + 6 * WINDOW {
            pace.failed(now);
            trials += 1;
            now = pace.next().map_or(now, |next| next.max(now)) + Duration::from_secs(1);
        }
        assert!(trials < 6 * (SLOWER[0].0 + 20), "{trials} in an hour");
        pace.failed(now + WINDOW);
        assert!(pace.may_try(now + WINDOW));
    }
}
