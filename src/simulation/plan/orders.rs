//! What is asked for by jobs and commands: drawn beside everything else, so that a run without is what it was.

mod asked;

use std::time::Duration;

use fastrand::Rng;

use super::draw::{between, up_to};
use super::{Event, HOUR, MINUTE, SECOND, What};
use crate::simulation::actions::WITHOUT_AN_ACTION;
use crate::simulation::cloud::services::manners::{Lack, Manners};
use crate::simulation::network::Weather;
use crate::simulation::server::behaviour::{Delay, FilterAnswer, Refuses};
use crate::store::simulated;
pub(in crate::simulation) use asked::{Asked, Expected};

/// Of so many runs one has jobs and commands: none of those with a bridge.
const ONE_OF: u64 = 3;

/// What a run with jobs and commands is, beside what is asked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::simulation) struct Orders {
    /// The policy lacks something for a time.
    pub(in crate::simulation) lacks: bool,
}

#[derive(Debug, Clone)]
pub(in crate::simulation) enum Order {
    /// Jobs are created.
    Jobs {
        asked: Vec<Asked>,
        /// How often AWS tries each again.
        retries: u32,
        /// How long each may be in progress.
        minutes: Option<u32>,
    },
    /// One of those that aren't over is cancelled, or deleted.
    Cancel,
    Delete,
    /// Commands are sent, each with this time.
    Commands {
        asked: Vec<Asked>,
        time: Duration,
        twice: bool,
    },
    /// Jobs and Commands are like this for so long.
    Manners(Box<Manners>, Duration),
}

/// Those of a seed, if it has any.
pub(super) fn draw(seed: u64) -> Option<Orders> {
    let rng = &mut Rng::with_seed(!seed ^ 0x10b5);
    (seed % ONE_OF == 1).then_some(Orders { lacks: rng.u8(..4) == 0 })
}

pub(super) fn events(seed: u64, orders: Orders, lasts: Duration) -> Vec<Event> {
    let rng = &mut Rng::with_seed(!seed ^ 0x0de5);
    let mean = between(rng, 6 * MINUTE, 30 * MINUTE);
    let (mut events, mut at) = (Vec::new(), Duration::ZERO);
    while events.len() < 400 {
        at += mean.mul_f64(-(1.0 - rng.f64()).ln());
        if at >= lasts {
            break;
        }
        let what = order(rng, orders);
        for (after, what) in company(rng, &what) {
            events.push(Event { at: at + after, what });
        }
        events.push(Event { at, what: What::Order(what) });
    }
    events
}

fn order(rng: &mut Rng, orders: Orders) -> Order {
    match rng.u8(..16) {
        0..=5 => Order::Jobs {
            asked: some(rng),
            retries: if rng.u8(..4) == 0 { rng.u32(1..3) } else { 0 },
            minutes: (rng.u8(..4) == 0).then(|| rng.u32(1..10)),
        },
        6..=9 => Order::Commands {
            asked: some(rng),
            time: if rng.bool() { 10 * SECOND } else { between(rng, SECOND, 12 * HOUR) },
            twice: rng.u8(..4) == 0,
        },
        10 | 11 => Order::Cancel,
        12 => Order::Delete,
        _ => Order::Manners(Box::new(manners(rng, orders)), between(rng, 10 * SECOND, HOUR)),
    }
}

/// One, mostly.
fn some(rng: &mut Rng) -> Vec<Asked> {
    let count = if rng.bool() { 1 } else { up_to(rng, 24) };
    // Many are short.
    let longest = if count > 4 { SECOND } else { 100 * SECOND };
    (0..count).map(|_| Asked::draw(rng, longest)).collect()
}

fn manners(rng: &mut Rng, orders: Orders) -> Manners {
    let mut manners = Manners::default();
    for _ in 0..rng.u8(1..4) {
        match rng.u8(..8) {
            0 | 1 => manners.delay = Delay::between(Duration::ZERO, between(rng, SECOND, 40 * SECOND)),
            2 => manners.lost = rng.f64(),
            3 => manners.dead = rng.f64(),
            4 => manners.twice = 0.5,
            5 => manners.throttles = rng.f64(),
            6 => manners.refuses = rng.f64(),
            _ if orders.lacks => manners.lacks = Some(lack(rng)),
            _ => {}
        }
    }
    manners
}

fn lack(rng: &mut Rng) -> Lack {
    let prefix = ["$aws/things/", "$aws/commands/"][rng.usize(..2)];
    let filters = [FilterAnswer::Closes, FilterAnswer::Disconnects(0x87), FilterAnswer::Fails(0x87)];
    let publications = [Refuses::Closes, Refuses::Disconnects(0x87), Refuses::Fails(0x87)];
    match rng.bool() {
        true => Lack { prefix, filter: Some(filters[rng.usize(..3)]), publish: None },
        false => Lack { prefix, filter: None, publish: Some(publications[rng.usize(..3)]) },
    }
}

/// What happens with it more often than by chance: something comes in between while a program runs, or what it came to is told.
fn company(rng: &mut Rng, order: &Order) -> Vec<(Duration, What)> {
    match order {
        Order::Jobs { .. } | Order::Commands { .. } if rng.bool() => {
            let count = rng.usize(1..4);
            (0..count).flat_map(|_| disturbances(rng)).collect()
        }
        Order::Manners(..) => {
            let order = What::Order(small_order(rng));
            vec![(between(rng, SECOND, 10 * SECOND), order), (soon(rng), What::Cut)]
        }
        _ => Vec::new(),
    }
}

fn soon(rng: &mut Rng) -> Duration {
    between(rng, SECOND / 50, 2 * MINUTE)
}

fn small_order(rng: &mut Rng) -> Order {
    let asked = some(rng);
    match rng.bool() {
        true => Order::Jobs { asked, retries: 0, minutes: None },
        false => Order::Commands { asked, time: between(rng, 10 * SECOND, HOUR), twice: rng.bool() },
    }
}

/// One, with what it hits: something is asked for meanwhile, and the daemon ends while the disk doesn't do what it should, and perhaps
/// begins so.
fn disturbances(rng: &mut Rng) -> Vec<(Duration, What)> {
    let (at, what) = (soon(rng), disturbance(rng));
    let mut all = Vec::new();
    if rng.u8(..3) == 0 {
        all.push((at + between(rng, SECOND / 50, 10 * SECOND), What::Order(small_order(rng))));
    }
    if matches!(what, What::Disk(..)) && rng.bool() {
        let off = between(rng, SECOND / 10, MINUTE);
        all.push((at + between(rng, SECOND / 50, 30 * SECOND), What::Kill(rng.u64(..50), off)));
    }
    all.push((at, what));
    all
}

fn disturbance(rng: &mut Rng) -> What {
    let off = between(rng, SECOND / 10, 2 * MINUTE);
    match rng.u8(..14) {
        0..=2 => What::Kill(rng.u64(..200), off),
        3 => What::PowerCut { off, in_1970: rng.u8(..4) == 0 },
        4 => What::Stop(off),
        5 | 6 => What::Cut,
        7 | 8 => What::Order(Order::Cancel),
        9 => What::Reload([0, WITHOUT_AN_ACTION, 3, 4, 5][rng.usize(..5)]),
        10 => What::Weather(Weather { is_silent: true, ..Weather::default() }, between(rng, SECOND, 20 * MINUTE)),
        11 => {
            let disk = simulated::Behaviour { hangs: true, ..simulated::Behaviour::default() };
            What::Disk(disk, between(rng, SECOND, 5 * MINUTE))
        }
        12 => {
            let writes_fail = Some("No space left on device");
            let disk = simulated::Behaviour { writes_fail, ..simulated::Behaviour::default() };
            What::Disk(disk, between(rng, SECOND, 5 * MINUTE))
        }
        _ => {
            let fails = Some("Input/output error");
            let disk =
                simulated::Behaviour { writes_fail: fails, reads_fail: fails, ..simulated::Behaviour::default() };
            What::Disk(disk, between(rng, SECOND, 5 * MINUTE))
        }
    }
}
