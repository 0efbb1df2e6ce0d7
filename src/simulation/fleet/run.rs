//! The run: events in the order of their times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::account::Beyond;
use super::gateway::{ACK_TIMEOUT, Clocks, Gateway, State};
use super::report::Report;
use super::{Account, Happens, MS, Scenario};

/// From the beginning of DNS to CONNECT's arrival, and from a publication to its PUBACK: uniform between these.
const WAY: std::ops::Range<u64> = 100..400;

/// What a gateway does, or what is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// It begins an attempt.
    Attempts,
    /// Its CONNECT arrives, or finds nobody.
    Arrives,
    /// The network is back.
    NetworkCame,
    /// Something is due.
    Publishes,
    Sends,
    /// PUBACKs for so many.
    Acknowledged(u32),
    /// PUBACKs that say "quota exceeded" for so many.
    Refused(u32),
    /// PUBACK is missing.
    GivesUp,
}

/// Ordered by time, then by when it was planned.
type Event = Reverse<(Duration, u64, u32, u32, What)>;

struct Run<'a> {
    scenario: &'a Scenario,
    clocks: Clocks,
    account: Account,
    gateways: Vec<Gateway>,
    /// Connected, and caught up, since the outage.
    done: Vec<(bool, bool)>,
    events: BinaryHeap<Event>,
    planned: u64,
    rng: fastrand::Rng,
    report: Report,
}

/// Runs a fleet: the same seed, the same report.
pub(super) fn run(scenario: &Scenario) -> Report {
    let (clocks, mut rng) = (Clocks::new(), fastrand::Rng::with_seed(scenario.seed));
    let gateways: Vec<_> = (0..scenario.gateways).map(|_| Gateway::new(scenario, &clocks, &mut rng)).collect();
    let over = scenario.happens.is_over();
    let mut run = Run {
        scenario,
        clocks,
        account: scenario.account.clone(),
        done: vec![(false, false); gateways.len()],
        gateways,
        events: BinaryHeap::new(),
        planned: 0,
        rng,
        report: Report::new(scenario.gateways, over),
    };
    for number in 0..scenario.gateways {
        run.begin(number);
    }
    while let Some(Reverse((now, _, number, epoch, what))) = run.events.pop() {
        let all = run.gateways.len();
        if now > over + scenario.patience || run.report.connected.len() == all && run.report.caught_up.len() == all {
            break;
        }
        // What was planned belongs to one connection, or to one time without.
        if run.gateways[number as usize].epoch == epoch {
            run.happens(now, number, what);
        }
    }
    run.report
}

impl Run<'_> {
    fn plan(&mut self, at: Duration, number: u32, what: What) {
        self.planned += 1;
        let epoch = self.gateways[number as usize].epoch;
        self.events.push(Reverse((at, self.planned, number, epoch, what)));
    }

    fn way(&mut self) -> Duration {
        MS * u32::try_from(self.rng.u64(WAY)).unwrap()
    }

    /// At the time 0.
    fn begin(&mut self, number: u32) {
        match self.scenario.happens {
            Happens::Nothing => {
                self.done[number as usize].0 = true;
                self.report.is_connected(Duration::ZERO);
                self.publish(Duration::ZERO, number);
            }
            Happens::Outage(_) | Happens::NoNetwork(_) => {
                self.gateways[number as usize].lost(&self.clocks, true);
                let no_network = match self.scenario.happens {
                    Happens::NoNetwork(lasts) => Some(lasts),
                    _ => None,
                };
                // Without a network its address is lost.
                self.wait(Duration::ZERO, number, no_network.is_some());
                if let Some(lasts) = no_network {
                    self.plan(lasts, number, What::NetworkCame);
                }
            }
        }
    }

    fn happens(&mut self, now: Duration, number: u32, what: What) {
        match what {
            What::Attempts => self.attempts(now, number),
            What::Arrives => self.arrives(now, number),
            What::NetworkCame => {
                // What was planned is void.
                self.gateways[number as usize].epoch += 1;
                self.wait(now, number, true);
            }
            What::Publishes => self.publish(now, number),
            What::Sends => {
                self.gateways[number as usize].will_send = false;
                self.send(now, number);
            }
            What::Acknowledged(messages) => {
                self.gateways[number as usize].acknowledged(messages);
                self.send(now, number);
            }
            What::Refused(messages) => {
                self.gateways[number as usize].refused(&self.clocks, now, messages);
                self.send(now, number);
            }
            What::GivesUp => {
                self.report.given_up += 1;
                self.gateways[number as usize].lost(&self.clocks, false);
                self.wait(now, number, false);
            }
        }
    }

    fn wait(&mut self, now: Duration, number: u32, is_anew: bool) {
        let random = self.rng.f64();
        let wait = self.gateways[number as usize].wait(&self.clocks, now, is_anew, random);
        self.plan(now + wait, number, What::Attempts);
    }

    /// Attempts that are in vain have nothing to do with anybody else: they are made in one go.
    fn attempts(&mut self, mut now: Duration, number: u32) {
        let over = self.scenario.happens.is_over();
        while now < over {
            // Without a network an attempt fails at once.
            if matches!(self.scenario.happens, Happens::Outage(_)) {
                let arrives = now + self.way();
                if arrives >= over {
                    return self.plan(arrives, number, What::Arrives);
                }
                now = arrives;
                let second = self.report.second(now);
                second.connects += 1;
                second.refused += 1;
                self.gateways[number as usize].connecting(&self.clocks, now);
            }
            let random = self.rng.f64();
            now += self.gateways[number as usize].wait(&self.clocks, now, false, random);
        }
        let way = self.way();
        self.plan(now + way, number, What::Arrives);
    }

    fn arrives(&mut self, now: Duration, number: u32) {
        self.report.second(now).connects += 1;
        self.gateways[number as usize].connecting(&self.clocks, now);
        if !self.account.connects.takes(now) {
            self.report.second(now).refused += 1;
            return self.wait(now, number, false);
        }
        self.gateways[number as usize].connected(now);
        if !std::mem::replace(&mut self.done[number as usize].0, true) {
            self.report.is_connected(now);
        }
        self.publish(now, number);
        self.send(now, number);
    }

    /// Something was due: now, or while there was no connection.
    fn publish(&mut self, now: Duration, number: u32) {
        let gateway = &mut self.gateways[number as usize];
        let next = gateway.publish(&self.clocks, now, &mut self.rng);
        if let Some(next) = next {
            self.plan(next, number, What::Publishes);
        }
        self.send(now, number);
    }

    fn send(&mut self, now: Duration, number: u32) {
        let gateway = &mut self.gateways[number as usize];
        if gateway.state != State::Up || gateway.will_send {
            return;
        }
        let publishes = &mut self.account.publishes;
        let turn = gateway.send(&self.clocks, now, || publishes.takes(now));
        let has_nothing_left = gateway.waiting == 0;
        let second = self.report.second(now);
        second.publishes += turn.acknowledged + turn.beyond;
        second.beyond += turn.beyond;
        if turn.acknowledged > 0 {
            let way = self.way();
            self.plan(now + way, number, What::Acknowledged(turn.acknowledged));
        }
        if let Some(at) = turn.again_at {
            self.plan(at, number, What::Sends);
        }
        match self.account.beyond {
            _ if turn.beyond == 0 => {}
            Beyond::Discarded if self.gateways[number as usize].discarded() => {
                self.plan(now + ACK_TIMEOUT, number, What::GivesUp);
            }
            Beyond::Discarded => {}
            Beyond::Refused => {
                let way = self.way();
                self.plan(now + way, number, What::Refused(turn.beyond));
            }
        }
        let has_published = !matches!(self.scenario.happens, Happens::Nothing) || now > Duration::ZERO;
        if has_nothing_left && has_published && !std::mem::replace(&mut self.done[number as usize].1, true) {
            self.report.has_caught_up(now);
        }
    }
}
