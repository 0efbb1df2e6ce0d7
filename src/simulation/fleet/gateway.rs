//! One gateway: the product's pace, and as much of the rest as it needs.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{HOUR, SECOND, Scenario};
use crate::client::Backoff;
use crate::config::When;
use crate::limits::MAX_IN_FLIGHT;
use crate::link::pace::{ConnectLimit, Quota};
use crate::mqtt::reason::{Reason, ReasonCode};
use crate::mqtt::session::Throttle;
use crate::schedule::clock::{Clock, Now};

/// Without PUBACK for so long the connection is given up: `connection.ack_timeout`, in MQTT 5.
pub(super) const ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// A message's topic and payload.
const MESSAGE: usize = 100;

/// What `now` is on the clocks of the product.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    start: Instant,
    wall: Timestamp,
}

impl Clocks {
    /// They begin a day before the run does.
    pub(super) fn new() -> Clocks {
        Clocks { start: Instant::now(), wall: "2026-06-09T10:00:00Z".parse().unwrap() }
    }

    pub(super) fn at(&self, now: Duration) -> Instant {
        self.start + BEFORE + now
    }

    fn now(&self, now: Duration) -> Now {
        self.earlier(now, Duration::ZERO)
    }

    fn earlier(&self, now: Duration, by: Duration) -> Now {
        let since = BEFORE + now - by;
        Now { mono: self.start + since, wall: self.wall + since, since_boot: since }
    }

    fn back(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start + BEFORE)
    }
}

const BEFORE: Duration = Duration::from_secs(24 * 3600);

/// What it is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Down,
    Up,
}

#[derive(Debug)]
pub(super) struct Gateway {
    backoff: Backoff,
    connects: ConnectLimit,
    quota: Quota,
    throttle: Throttle,
    clock: Option<Clock>,
    pub(super) state: State,
    up_since: Duration,
    /// Accepted and not acknowledged, in flight or not.
    pub(super) waiting: u32,
    in_flight: u32,
    /// Changes with each connection: what was planned for another is void.
    pub(super) epoch: u32,
    /// A turn to send is planned.
    pub(super) will_send: bool,
    /// IoT Core has discarded one that is in flight.
    is_missing: bool,
}

/// What came of a turn to send.
pub(super) struct Turn {
    pub(super) acknowledged: u32,
    pub(super) beyond: u32,
    pub(super) again_at: Option<Duration>,
}

impl Gateway {
    /// Connected for an hour at the time 0, with nothing due yet.
    pub(super) fn new(scenario: &Scenario, clocks: &Clocks, rng: &mut fastrand::Rng) -> Gateway {
        let begun = clocks.now(Duration::ZERO);
        let clock = scenario.publish.as_ref().map(|publish| {
            let before = match &publish.when {
                When::Every(every) if !scenario.began_together => every.mul_f64(rng.f64()),
                _ => Duration::ZERO,
            };
            Clock::new(publish, &clocks.earlier(Duration::ZERO, before), rng.f64())
        });
        Gateway {
            backoff: Backoff::new(&scenario.backoff),
            connects: ConnectLimit::new(&scenario.rate_limit),
            quota: Quota::new(&scenario.rate_limit, begun.mono),
            throttle: Throttle::default(),
            clock,
            state: State::Up,
            up_since: Duration::ZERO,
            waiting: 0,
            in_flight: 0,
            epoch: 0,
            will_send: false,
            is_missing: false,
        }
    }

    /// CONNECT goes out.
    pub(super) fn connecting(&mut self, clocks: &Clocks, now: Duration) {
        self.connects.note(clocks.at(now));
    }

    pub(super) fn connected(&mut self, now: Duration) {
        (self.state, self.up_since, self.will_send) = (State::Up, now, false);
        self.throttle = Throttle::default();
        self.epoch += 1;
    }

    /// The connection has ended: what was in flight waits again.
    pub(super) fn lost(&mut self, clocks: &Clocks, was_long: bool) {
        let since = clocks.at(self.up_since);
        self.backoff.link_up(if was_long { since - HOUR } else { since });
        (self.state, self.in_flight, self.is_missing) = (State::Down, 0, false);
        self.epoch += 1;
    }

    /// There is no connection: how long to wait, as the link does. The network came, or the address is lost: as it does then.
    pub(super) fn wait(&mut self, clocks: &Clocks, now: Duration, is_anew: bool, random: f64) -> Duration {
        let at = clocks.at(now);
        let backoff = if is_anew { self.backoff.anew(random) } else { self.backoff.next_wait(at, random) };
        backoff.max(self.connects.wait(at))
    }

    /// Makes what was due up to `now`, and says when there is more.
    pub(super) fn publish(&mut self, clocks: &Clocks, now: Duration, rng: &mut fastrand::Rng) -> Option<Duration> {
        let clock = self.clock.as_mut()?;
        loop {
            let wake = clock.wake();
            let mono = wake.mono.map(|at| clocks.back(at));
            let wall =
                wake.wall.map(|at| Duration::try_from(at.duration_since(clocks.now(Duration::ZERO).wall)).unwrap());
            let due = mono.into_iter().chain(wall).min()?;
            if due > now {
                return Some(due);
            }
            if clock.take(&clocks.now(due), rng.f64()).is_some() {
                self.waiting += 1;
            }
        }
    }

    /// Sends what window and quota allow. `publishes` is told of each, and says whether IoT Core takes it.
    pub(super) fn send(&mut self, clocks: &Clocks, now: Duration, mut publishes: impl FnMut() -> bool) -> Turn {
        let mut turn = Turn { acknowledged: 0, beyond: 0, again_at: None };
        self.throttle.look(clocks.at(now));
        if let Some(until) = self.throttle.until() {
            turn.again_at = Some(clocks.back(until));
            self.will_send = true;
            return turn;
        }
        while self.state == State::Up && self.waiting > self.in_flight && (self.in_flight as usize) < MAX_IN_FLIGHT {
            if let Err(at) = self.quota.try_take(clocks.at(now), MESSAGE) {
                // Not more often than each tenth of a second, or a large fleet takes long to simulate.
                turn.again_at = Some(clocks.back(at).max(now + SECOND / 10));
                self.will_send = true;
                break;
            }
            self.in_flight += 1;
            match publishes() {
                true => turn.acknowledged += 1,
                false => turn.beyond += 1,
            }
        }
        turn
    }

    /// Some are discarded. Whether they are the first on this connection.
    pub(super) fn discarded(&mut self) -> bool {
        !std::mem::replace(&mut self.is_missing, true)
    }

    /// PUBACKs say "quota exceeded".
    pub(super) fn refused(&mut self, clocks: &Clocks, now: Duration, messages: u32) {
        self.in_flight -= messages;
        self.throttle.hit(Reason::new(ReasonCode::QUOTA_EXCEEDED.0, None), clocks.at(now));
    }

    pub(super) fn acknowledged(&mut self, messages: u32) {
        self.in_flight -= messages;
        self.waiting -= messages;
        self.throttle.passed();
    }
}
