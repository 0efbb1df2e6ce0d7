//! How much may wait for the link while it is up. Pure.
//!
//! What was accepted goes out in its order: whatever is let in is in front of everybody who comes later. So local clients together
//! may have what the link takes about a second for between them and the link, whoever they are, at the pace that the quota
//! (`rate_limit` of `[connection]`) allows and the network really has; the rest waits where it is, and
//! has its turn by [`super::shares`]. Each message that the link takes lets others in, one that comes from the disk, too: a
//! backlog doesn't grow while it goes out. Schedules can't wait; they count by themselves, so that neither side can shut the
//! other out.

use std::time::{Duration, Instant};

use crate::config;

/// What clients, and what schedules, may have in front of the link, in ns of its time.
const MOST: u64 = 1_000_000_000;

/// Of the network's time clients may have less: as much again is written and under way.
const MOST_OF_NETWORK: u64 = MOST / 2;

/// A link that takes nothing for so long is stalled: what can be stored is let in again, at the pace of the link.
const STALLED: Duration = Duration::from_secs(1);

/// After so long how fast the network was says nothing any more: it is let in at the pace of the quota. On a slow uplink a second or
/// two may pass between two acknowledgements.
const DEAD: Duration = Duration::from_secs(4);

/// Who hands a message over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Client,
    Schedule,
}

/// A PUBLISH takes so many bytes besides topic and payload, roughly.
const OVERHEAD: u64 = 16;

/// What clients, and what schedules, have handed over and the link hasn't taken.
#[derive(Debug, Default, Clone, Copy)]
struct Load {
    clients: u64,
    schedules: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Admission {
    /// The link's time for a message, at least, in ns.
    per_message: u64,
    bytes_per_second: u64,
    /// What the network takes, in bytes a second; `None`: more than enough.
    network: Option<u64>,
    /// In ns, as the quota counts.
    time: Load,
    bytes: Load,
    /// When the link took something last, or as if it had.
    moved: Instant,
    /// When it really did.
    alive: Instant,
}

impl Load {
    fn accepted(&mut self, by: By, cost: u64, most_of_schedules: u64) {
        match by {
            By::Client => self.clients = self.clients.saturating_add(cost),
            By::Schedule => self.schedules = self.schedules.saturating_add(cost).min(most_of_schedules),
        }
    }

    fn taken(&mut self, cost: u64) {
        let of_schedules = (cost / 2).max(cost.saturating_sub(self.clients)).min(self.schedules);
        self.schedules -= of_schedules;
        self.clients = self.clients.saturating_sub(cost - of_schedules);
    }
}

impl Admission {
    pub(super) fn new(limit: &config::RateLimit, now: Instant) -> Admission {
        Admission {
            per_message: 1_000_000_000 / u64::from(limit.messages_per_second.max(1)),
            bytes_per_second: limit.bytes_per_second.max(1),
            network: None,
            time: Load::default(),
            bytes: Load::default(),
            moved: now,
            alive: now,
        }
    }

    /// Another rate holds from now on.
    pub(super) fn set_limit(&mut self, limit: &config::RateLimit) {
        let Admission { network, time, bytes, moved, alive, .. } = *self;
        *self = Admission { network, time, bytes, alive, ..Admission::new(limit, moved) };
    }

    /// The network takes so many bytes a second, `None` for more than enough; it `has_moved`: some of what was written has arrived.
    pub(super) fn link_moves(&mut self, bytes_per_second: Option<u64>, has_moved: bool, now: Instant) {
        self.settle(now);
        self.network = bytes_per_second.map(|bytes| bytes.max(1));
        if has_moved {
            (self.moved, self.alive) = (now, now);
        }
    }

    /// What a message of so many bytes takes of the link's time, in ns.
    pub(super) fn cost(&self, bytes: usize) -> u64 {
        self.by_quota(bytes).max(self.network.map_or(0, |rate| ns(bytes as u64 + OVERHEAD, rate)))
    }

    fn by_quota(&self, bytes: usize) -> u64 {
        ns(bytes as u64, self.bytes_per_second).max(self.per_message)
    }

    /// A message was accepted.
    pub(super) fn accepted(&mut self, by: By, bytes: usize, now: Instant) {
        self.settle(now);
        self.time.accepted(by, self.by_quota(bytes), MOST);
        self.bytes.accepted(by, bytes as u64 + OVERHEAD, self.network.unwrap_or(self.bytes_per_second));
    }

    /// The link has taken a message, or it is gone in another way; `is_last`: nothing else waits.
    pub(super) fn taken(&mut self, bytes: usize, is_last: bool, now: Instant) {
        self.settle(now);
        (self.moved, self.alive) = (now, now);
        if is_last {
            (self.time, self.bytes) = (Load::default(), Load::default());
            return;
        }
        self.time.taken(self.by_quota(bytes));
        self.bytes.taken(bytes as u64 + OVERHEAD);
    }

    /// The link is new.
    pub(super) fn restart(&mut self, now: Instant) {
        (self.time, self.bytes) = (Load::default(), Load::default());
        (self.moved, self.alive) = (now, now);
    }

    /// Whether a client may hand a message over.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.clients_at(now) < MOST
    }

    /// When it may, if nothing happens until then.
    pub(super) fn opens_at(&self) -> Instant {
        let less = |clients: u64| self.moved + STALLED + Duration::from_nanos(clients.saturating_sub(MOST) + 1);
        less(self.clients()).min(less(self.time.clients).max(self.alive + DEAD))
    }

    /// What clients have in front of the link, as a part of [`MOST`]: of the quota's time or the network's, whichever is more.
    fn clients(&self) -> u64 {
        let of_network = self.network.map_or(0, |rate| ns(self.bytes.clients, rate));
        self.time.clients.max(of_network.saturating_mul(MOST / MOST_OF_NETWORK))
    }

    fn clients_at(&self, now: Instant) -> u64 {
        let clients = if now >= self.alive + DEAD { self.time.clients } else { self.clients() };
        clients.saturating_sub(self.stalled(now))
    }

    /// For how long the link has been stalled, in ns.
    fn stalled(&self, now: Instant) -> u64 {
        let stalled = now.saturating_duration_since(self.moved + STALLED);
        u64::try_from(stalled.as_nanos()).unwrap_or(u64::MAX)
    }

    fn settle(&mut self, now: Instant) {
        let stalled = self.stalled(now);
        let rate = self.network.unwrap_or(self.bytes_per_second);
        let bytes = u128::from(stalled) * u128::from(rate) / 1_000_000_000;
        self.time.clients = self.time.clients.saturating_sub(stalled);
        self.bytes.clients = self.bytes.clients.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
        if let Some(since) = now.checked_sub(STALLED) {
            self.moved = self.moved.max(since);
        }
    }
}

/// How long so many bytes take, in ns.
fn ns(bytes: u64, bytes_per_second: u64) -> u64 {
    let time = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_second);
    u64::try_from(time).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::super::shares::{Need, Path, Shares};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limit(messages_per_second: u32, bytes_per_second: u64) -> config::RateLimit {
        config::RateLimit { messages_per_second, bytes_per_second, burst: 10, connects_per_second: 1 }
    }

    #[test]
    fn about_a_second_of_the_links_time_is_let_in_and_what_it_takes_lets_in_more() {
        let now = Instant::now();
        let mut admission = Admission::new(&limit(100, 1 << 20), now);
        let mut let_in = 0;
        while admission.has_room(now) {
            admission.accepted(By::Client, 10, now);
            let_in += 1;
        }
        assert_eq!(let_in, 100);
        admission.taken(10, false, now);
        assert!(admission.has_room(now));
        // By bytes where that is more: 256 KiB are a quarter of a second.
        let mut admission = Admission::new(&limit(100, 1 << 20), now);
        (0..4).for_each(|_| admission.accepted(By::Client, 1 << 18, now));
        assert!(!admission.has_room(now));
        admission.taken(10, true, now);
        assert!(admission.has_room(now), "nothing waits");
    }

    #[test]
    fn a_stalled_link_lets_in_what_it_would_have_taken() {
        let now = Instant::now();
        let mut admission = Admission::new(&limit(100, 1 << 20), now);
        (0..100).for_each(|_| admission.accepted(By::Client, 10, now));
        assert!(!admission.has_room(now + STALLED));
        let (mut at, mut let_in) = (now, 0);
        while at <= now + STALLED + SECOND {
            assert!(!admission.has_room(at));
            at = admission.opens_at();
            assert!(admission.has_room(at));
            admission.accepted(By::Client, 10, at);
            let_in += 1;
        }
        assert!((100..=102).contains(&let_in), "{let_in}");
    }

    #[test]
    fn a_link_that_takes_no_byte_any_more_lets_in_what_the_quota_allows() {
        let now = Instant::now();
        let mut admission = Admission::new(&limit(100, 1 << 20), now);
        // The server reads no more: each look finds it slower.
        admission.link_moves(Some(4096), true, now);
        while admission.has_room(now) {
            admission.accepted(By::Client, 500, now);
        }
        let (mut at, mut let_in) = (now, 0);
        while let_in < 300 {
            admission.link_moves(Some(1), false, at);
            at = admission.opens_at();
            assert!(admission.has_room(at), "{let_in}");
            admission.accepted(By::Client, 500, at);
            let_in += 1;
        }
        assert!(at <= now + DEAD + 3 * SECOND, "{:?}", at - now);
    }

    #[test]
    fn schedules_that_are_too_much_for_the_link_leave_clients_half_of_it() {
        let now = Instant::now();
        let mut admission = Admission::new(&limit(100, 1 << 20), now);
        let mut let_in = 0;
        for _ in 0..1000 {
            (0..3).for_each(|_| admission.accepted(By::Schedule, 10, now));
            while admission.has_room(now) {
                admission.accepted(By::Client, 10, now);
                let_in += 1;
            }
            admission.taken(10, false, now);
        }
        assert!((500..700).contains(&let_in), "{let_in}");
    }

    /// What a client does: how often it wants to hand over a message of how many bytes.
    #[derive(Debug, Clone)]
    struct Habit {
        every: u64,
        bytes: usize,
    }

    /// Milliseconds that the messages of the last of `habits` waited, at the longest, for being let in and for the link.
    fn longest_wait(habits: &[Habit], backlog: usize, network: Option<u64>) -> (u64, u64) {
        let start = Instant::now();
        let limit = limit(100, 1 << 20);
        let (mut admission, mut shares) = (Admission::new(&limit, start), Shares::default());
        let path = |n: usize| -> Path { [1, 0, 0, n as u64] };
        admission.link_moves(network, true, start);
        let mut wanted: Vec<VecDeque<u64>> = vec![VecDeque::new(); habits.len()];
        let mut queue: VecDeque<(usize, usize, u64)> = (0..backlog).map(|_| (usize::MAX / 2, 100, 0)).collect();
        let (mut free_at, mut longest) = (0u64, (0, 0));
        let last = habits.last().map_or(0, |habit| 2 * habit.every + 4000);
        for ms in 0..last.max(10_000) {
            let now = start + Duration::from_millis(ms);
            for (n, habit) in habits.iter().enumerate() {
                if ms % habit.every == 0 && wanted[n].len() < 100 {
                    if wanted[n].is_empty() {
                        shares.wait(&path(n), Need::Any);
                    }
                    wanted[n].push_back(ms);
                }
            }
            while admission.has_room(now)
                && let Some(n) = shares.first(|_| true)
            {
                let n = n as usize;
                shares.leave(&path(n), Need::Any);
                let at = wanted[n].pop_front().unwrap();
                // At the beginning all are new.
                if n + 1 == habits.len() && (at > 0 || network.is_none()) {
                    longest.0 = longest.0.max(ms - at);
                }
                shares.charge(&path(n), admission.cost(habits[n].bytes));
                admission.accepted(By::Client, habits[n].bytes, now);
                queue.push_back((n, habits[n].bytes, ms));
                if !wanted[n].is_empty() {
                    shares.wait(&path(n), Need::Any);
                }
            }
            admission.link_moves(network, true, now);
            while free_at <= ms * 1_000_000
                && let Some((n, bytes, at)) = queue.pop_front()
            {
                admission.taken(bytes, queue.is_empty(), now);
                free_at = free_at.max(ms * 1_000_000) + admission.cost(bytes);
                if n + 1 == habits.len() {
                    longest.1 = longest.1.max(ms - at);
                }
            }
        }
        longest
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn who_sends_little_waits_for_a_turn_of_each_other_and_a_second(
            floods in prop::collection::vec((1..20u64, 1..131_072usize), 0..20),
            bytes in 1..1000usize,
        ) {
            let mut habits: Vec<Habit> = floods.iter().map(|(every, bytes)| Habit { every: *every, bytes: *bytes }).collect();
            habits.push(Habit { every: 3000, bytes });
            let admission = Admission::new(&limit(100, 1 << 20), Instant::now());
            let round: u64 = habits.iter().map(|habit| admission.cost(habit.bytes) / 1_000_000 + 1).sum();
            let (turn, link) = longest_wait(&habits, 0, None);
            prop_assert!(turn <= 2 * round + 130, "{turn} ms for a turn, a round is {round} ms");
            prop_assert!(link <= 1000 + 2 * 130, "{link} ms for the link");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// However many flood, and whatever the quota would allow: half a second of what the network takes, and a turn.
        #[test]
        fn on_a_slow_network_who_sends_little_waits_for_half_a_second_of_it(
            floods in prop::collection::vec((1..20u64, 100..1000usize), 1..20),
            bytes in 1..200usize,
            // With such messages less than the quota allows.
            network in 2000..8000u64,
        ) {
            let mut habits: Vec<Habit> = floods.iter().map(|(every, bytes)| Habit { every: *every, bytes: *bytes }).collect();
            // Who has had nothing yet comes first, so that each has had a turn before it comes again.
            let round: u64 = habits.iter().map(|habit| (habit.bytes as u64 + OVERHEAD) * 1000 / network + 1).sum();
            habits.push(Habit { every: round.max(3000), bytes });
            let largest = habits.iter().map(|habit| habit.bytes as u64 + OVERHEAD).max().unwrap_or(0) * 1000 / network + 10;
            let (turn, link) = longest_wait(&habits, 0, Some(network));
            prop_assert!(turn <= 2 * largest + 50, "{turn} ms for a turn, a message takes {largest} ms");
            prop_assert!(link <= 500 + 2 * largest + 30, "{link} ms for the link, a message takes {largest} ms");
        }
    }

    #[test]
    fn a_backlog_does_not_keep_clients_from_handing_over() {
        let habits = [Habit { every: 1, bytes: 10 }, Habit { every: 1000, bytes: 10 }];
        let (turn, _) = longest_wait(&habits, 700, None);
        assert!(turn <= 60, "{turn} ms");
    }
}
