//! How fast a connection gets rid of what it is given, and how much it may be given. Pure: it is told what was written and, at the
//! times that it asks for, how much of that hasn't arrived.
//!
//! What was written and hasn't arrived, be it with the kernel or in a modem, goes out before all that comes later. On a fast link
//! that is no matter. On a slow one it would be half a minute; there no more is written than what has gone out in about
//! [`DEPTH`], so that the rest waits where turns are taken ([`crate::outbox`]).

use std::time::{Duration, Instant};

/// What a connection may be given takes it about so long: twice as long as the answer by a satellite, or it would have nothing to do
/// until that comes.
const DEPTH: Duration = Duration::from_millis(1200);

/// It may always be given so many bytes, and a message beyond. More would be too long on the slowest links, less would have the
/// others wait for the next look.
const MIN_DEPTH: u64 = 4 * 1024;

/// A link of so many bytes a second isn't measured any more, until it takes no more.
const FAST: u64 = 64 * 1024;

/// The time between two looks: the first, and the longest that it doubles to.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const MAX_LOOK: Duration = Duration::from_millis(200);

/// Over so long a link is measured that has something to do all the time: longer than most answers take.
const WINDOW: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Throughput {
    /// Bytes that were written, and of those the ones that are known to have arrived.
    given: u64,
    gone: u64,
    /// Bytes a second.
    rate: u64,
    is_fast: bool,
    /// It can't be measured.
    is_unknown: bool,
    /// The transport took no more.
    is_blocked: bool,
    /// Since when it has had something to do, as far as is known, and what was gone then.
    window: Option<(Instant, u64)>,
    look_at: Instant,
    interval: Duration,
}

impl Throughput {
    /// Of a connection that is new: how fast it is has to be seen.
    pub(super) fn new(now: Instant) -> Throughput {
        Throughput {
            given: 0,
            gone: 0,
            rate: MIN_DEPTH,
            is_fast: false,
            is_unknown: false,
            is_blocked: false,
            window: None,
            look_at: now,
            interval: FIRST_LOOK,
        }
    }

    /// Bytes a second; `None`: it is fast.
    pub(super) fn rate(&self) -> Option<u64> {
        (!self.is_fast && !self.is_unknown).then_some(self.rate)
    }

    fn not_gone(&self) -> u64 {
        self.given - self.gone
    }

    /// So many bytes were written.
    pub(super) fn wrote(&mut self, bytes: usize, now: Instant) {
        if self.not_gone() == 0 {
            self.window = Some((now, self.gone));
            self.interval = FIRST_LOOK;
            self.look_at = now + self.interval;
        }
        self.given += bytes as u64;
        self.is_blocked = false;
    }

    /// The transport takes no more.
    pub(super) fn blocked(&mut self, now: Instant) {
        if self.is_fast {
            // It was. What had gone wasn't looked at.
            self.is_fast = false;
            self.rate = FAST - 1;
            self.window = None;
            self.look_at = now;
        }
        self.is_blocked = true;
    }

    /// Whether another message may be added to so many bytes that aren't written yet.
    pub(super) fn has_room(&self, unwritten: usize) -> bool {
        let depth = u64::try_from(DEPTH.as_millis()).unwrap_or(u64::MAX).saturating_mul(self.rate) / 1000;
        self.rate().is_none() || self.not_gone() + (unwritten as u64) < depth.max(MIN_DEPTH)
    }

    /// When [`Throughput::looked`] has to be called, with so many bytes that aren't written yet.
    pub(super) fn look_at(&self, unwritten: usize) -> Option<Instant> {
        let is_of_use = self.rate().is_some() && self.not_gone() > 0;
        (is_of_use && (self.is_blocked || !self.has_room(unwritten))).then_some(self.look_at)
    }

    /// Of what was written so many bytes haven't arrived; `None`: that can't be told. Returns whether some have since the last time.
    pub(super) fn looked(&mut self, not_arrived: Option<usize>, now: Instant) -> bool {
        let Some(not_arrived) = not_arrived else {
            self.is_unknown = true;
            return true;
        };
        let gone = self.gone.max(self.given.saturating_sub(not_arrived as u64));
        let has_moved = gone > std::mem::replace(&mut self.gone, gone);
        let is_idle = self.not_gone() == 0;
        if let Some((since, before)) = self.window {
            let took = now.saturating_duration_since(since);
            let rate = u128::from(gone - before) * 1_000_000 / took.as_micros().max(1000);
            let rate = u64::try_from(rate).unwrap_or(u64::MAX);
            if is_idle {
                // It may have had nothing to do for a part of that time; or the way takes a little at once, and then no more of it.
                self.rate = self.rate.max(rate.min(self.rate.saturating_mul(2)));
            } else if took >= WINDOW {
                self.rate = self.rate.min(rate.saturating_mul(2)).midpoint(rate);
                self.window = None;
            }
        }
        self.window = if is_idle { None } else { self.window.or(Some((now, gone))) };
        self.interval = if is_idle { FIRST_LOOK } else { (self.interval * 2).min(MAX_LOOK) };
        self.look_at = now + self.interval;
        self.is_fast = self.rate >= FAST;
        self.is_blocked = false;
        has_moved
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A link that takes so many bytes a second, and whose acknowledgements take so long; it never says that it takes no more.
    struct Link {
        rate: u64,
        round_trip: Duration,
        queue: f64,
        acknowledged: f64,
        coming: VecDeque<(Instant, f64)>,
    }

    impl Link {
        fn step(&mut self, now: Instant) {
            let sent = (self.rate as f64 / 1000.0).min(self.queue);
            self.queue -= sent;
            self.coming.push_back((now + self.round_trip, sent));
            while let Some((_, bytes)) = self.coming.pop_front_if(|(at, _)| *at <= now) {
                self.acknowledged += bytes;
            }
        }
    }

    /// Has more to send than the link takes for 20 s. Returns the longest time, in s, that a message was on the way to the link's end
    /// after the first two seconds, and what part of its rate was used in the last ten.
    fn flood(rate: u64, round_trip: Duration, message: usize) -> (f64, f64) {
        let start = Instant::now();
        let mut link = Link { rate, round_trip, queue: 0.0, acknowledged: 0.0, coming: VecDeque::new() };
        let mut throughput = Throughput::new(start);
        let (mut given, mut longest, mut at_half) = (0, 0.0, 0.0);
        for ms in 0..20_000u32 {
            let now = start + ms * MS;
            link.step(now);
            if throughput.look_at(0).is_some_and(|at| at <= now) {
                throughput.looked(Some((given as f64 - link.acknowledged).round() as usize), now);
            }
            // Here a fast link is one that is never full.
            while throughput.has_room(0) && (throughput.rate().is_some() || link.queue < rate as f64) {
                throughput.wrote(message, now);
                given += message;
                link.queue += message as f64;
            }
            if ms >= 2000 {
                longest = f64::max(longest, link.queue / rate as f64);
            }
            if ms == 10_000 {
                at_half = link.acknowledged;
            }
        }
        (longest, (link.acknowledged - at_half) / (10.0 * rate as f64))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_a_slow_link_is_given_is_soon_gone_and_it_always_has_something_to_do(
            rate in 2000..60_000u64,
            round_trip in 1..600u32,
            message in 20..1000usize,
        ) {
            let (longest, used) = flood(rate, round_trip * MS, message);
            prop_assert!(longest <= 2.7, "{longest} s");
            prop_assert!(used >= 0.8, "{used} of the link");
        }
    }

    #[test]
    fn a_fast_link_is_soon_known_for_one_and_a_slow_one_too() {
        let start = Instant::now();
        let mut throughput = Throughput::new(start);
        throughput.wrote(5000, start);
        assert!(!throughput.has_room(0) && throughput.look_at(0) == Some(start + FIRST_LOOK));
        for n in 1..=4 {
            throughput.looked(Some(0), start + n * FIRST_LOOK);
            throughput.wrote(100_000, start + n * FIRST_LOOK);
        }
        assert!(throughput.rate().is_none() && throughput.has_room(1 << 20));
        // An hour later it takes no more.
        let mut now = start + Duration::from_secs(3600);
        throughput.blocked(now);
        assert_eq!(throughput.look_at(0), Some(now));
        let mut left = 100_000;
        while left > 80_000 {
            throughput.looked(Some(left), now);
            left -= 600;
            now += 200 * MS;
        }
        assert!(throughput.rate().is_some_and(|rate| (2500..4500).contains(&rate)), "{throughput:?}");
        assert!(!throughput.has_room(0));
    }

    #[test]
    fn who_sends_little_is_no_proof_of_a_fast_link_and_costs_no_looks() {
        let mut now = Instant::now();
        let (mut throughput, mut looks) = (Throughput::new(now), 0);
        for _ in 0..1000 {
            throughput.wrote(100, now);
            now += Duration::from_secs(10);
            if throughput.look_at(0).is_some_and(|at| at <= now) {
                throughput.looked(Some(0), now);
                looks += 1;
            }
        }
        assert_eq!(throughput.rate(), Some(MIN_DEPTH));
        assert!(looks <= 25, "{looks}");
        throughput.looked(None, now);
        assert!(throughput.rate().is_none(), "where nothing can be seen");
    }
}
