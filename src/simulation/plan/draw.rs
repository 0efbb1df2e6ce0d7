//! A plan is drawn.

use std::time::Duration;

use fastrand::Rng;

use super::{Event, HOUR, Kinds, MINUTE, Plan, SECOND, What, bridge, ideal, identity, orders};
use crate::simulation::clients::{Habit, Publishes, Reads};
use crate::simulation::cloud::behaviour::{Behaviour, Delay, Refusal, Refuses, Reply};
use crate::simulation::configuration::CONFIGURATIONS;
use crate::simulation::network::Weather;
use crate::store::simulated;

/// Short times are as likely as long ones.
pub(super) fn between(rng: &mut Rng, least: Duration, most: Duration) -> Duration {
    let (low, high) = (least.as_secs_f64().max(1e-3).ln(), most.as_secs_f64().max(1e-3).ln());
    Duration::from_secs_f64((low + (high - low) * rng.f64()).exp())
}

/// Small numbers are as likely as large ones.
pub(super) fn up_to(rng: &mut Rng, most: u64) -> u32 {
    between(rng, SECOND, most as u32 * SECOND).as_secs() as u32
}

impl Plan {
    /// The run of a seed.
    pub(in crate::simulation) fn draw(seed: u64, lasts: Duration) -> Plan {
        let rng = &mut Rng::with_seed(seed);
        let is_mqtt5 = rng.bool();
        let mut kinds = Kinds { refusals: rng.bool(), closes: rng.u8(..4) == 0, wild: rng.u8(..4) == 0 };
        let claimed = identity::draw(seed);
        let lasts = if claimed.is_some() { lasts.min(identity::LASTS) } else { lasts };
        if claimed.is_some() {
            kinds = identity::kinds(kinds);
        }
        // Some runs are quiet, some wild.
        let mean = between(rng, 10 * SECOND, 30 * MINUTE);
        let (mut events, mut at) = (Vec::new(), Duration::ZERO);
        loop {
            at += mean.mul_f64(-(1.0 - rng.f64()).ln());
            if at >= lasts || events.len() >= 300 {
                break;
            }
            let what = What::draw(rng, kinds);
            events.extend(what.company(rng).into_iter().map(|(after, what)| Event { at: at + after, what }));
            events.push(Event { at, what });
        }
        let bridge = bridge::draw(seed);
        if let Some(bridge) = bridge {
            events.extend(bridge::events(seed, bridge, lasts));
        }
        let orders = orders::draw(seed);
        if let Some(orders) = orders {
            events.extend(orders::events(seed, orders, lasts));
        }
        if claimed.is_some() {
            events.extend(identity::events(seed, lasts));
        }
        events.sort_by_key(|event| event.at);
        events.retain(|event| event.at < lasts);
        Plan { seed, is_mqtt5, kinds, bridge, orders, claimed, lasts, events }
    }
}

impl What {
    fn draw(rng: &mut Rng, kinds: Kinds) -> What {
        match rng.u8(..36) {
            0..=2 => What::Weather(weather(rng), between(rng, SECOND, 20 * MINUTE)),
            3..=6 => What::Cloud(Box::new(cloud(rng, kinds)), between(rng, 10 * SECOND, HOUR)),
            7..=9 => What::Disk(disk(rng), between(rng, SECOND, 20 * MINUTE)),
            10..=11 => What::Cut,
            12 => What::AddressChanges,
            13..=14 => kill(rng),
            15 => power_cut(rng),
            16 => What::Stop(between(rng, SECOND, 10 * MINUTE)),
            17..=18 => What::Reload(rng.usize(..CONFIGURATIONS)),
            19 => What::SetClock(rng.i64(-100_000..100_000)),
            20 => What::Suspend(between(rng, SECOND, 10 * HOUR)),
            21..=25 => What::Publish(publishes(rng)),
            26..=29 => What::Read(reads(rng)),
            30..=33 => What::Downlink {
                count: up_to(rng, 300),
                every: if rng.bool() { Duration::ZERO } else { between(rng, SECOND / 100, SECOND) },
                qos: u8::from(rng.u8(..5) > 0),
                size: 1 << rng.u8(..13),
            },
            34 if rng.u8(..4) == 0 => What::StoreEnds,
            _ => What::AskStatus,
        }
    }

    /// What happens with it more often than by chance: where there is one fault, another is soon to come, and somebody is there
    /// whom it hits.
    fn company(&self, rng: &mut Rng) -> Vec<(Duration, What)> {
        if rng.bool() {
            return Vec::new();
        }
        match self {
            What::Disk(_, lasts) => {
                let end = if rng.bool() { kill(rng) } else { power_cut(rng) };
                vec![(Duration::ZERO, What::Publish(publishes(rng))), (lasts.mul_f64(2.0 * rng.f64()), end)]
            }
            What::Cloud(_, lasts) => {
                let cut = (lasts.mul_f64(rng.f64()), What::Cut);
                vec![(Duration::ZERO, What::Publish(publishes(rng))), cut.clone(), (cut.0 + SECOND, What::Cut)]
            }
            What::Weather(_, lasts) => {
                vec![(Duration::ZERO, What::Publish(publishes(rng))), (lasts.mul_f64(rng.f64()), downlink(rng))]
            }
            What::Stop(_) | What::Kill(..) | What::Reload(_) => {
                vec![(Duration::ZERO, What::Publish(publishes(rng))), (Duration::ZERO, downlink(rng))]
            }
            What::Read(_) => vec![(Duration::ZERO, downlink(rng)), (SECOND.mul_f64(rng.f64()), What::Read(reads(rng)))],
            What::Publish(_) => vec![(SECOND.mul_f64(3.0 * rng.f64()), What::Publish(publishes(rng)))],
            _ => Vec::new(),
        }
    }
}

fn kill(rng: &mut Rng) -> What {
    let turns = between(rng, SECOND / 1000, 1000 * SECOND).as_millis() as u64 / 10;
    What::Kill(turns, between(rng, SECOND / 10, MINUTE))
}

fn power_cut(rng: &mut Rng) -> What {
    What::PowerCut { off: between(rng, SECOND, HOUR), in_1970: rng.bool() }
}

fn downlink(rng: &mut Rng) -> What {
    What::Downlink { count: up_to(rng, 200), every: SECOND / 50, qos: 1, size: 1 << rng.u8(..12) }
}

fn weather(rng: &mut Rng) -> Weather {
    let mut weather = Weather::default();
    match rng.u8(..5) {
        0 => weather.is_silent = true,
        1 => weather.dns_fails = true,
        2 => weather.connects_fail = Some(rng.bool()),
        3 => weather.bandwidth = rng.u64(300..20_000),
        _ => weather.latency = (SECOND / 2, between(rng, SECOND, 5 * SECOND)),
    }
    weather
}

fn cloud(rng: &mut Rng, kinds: Kinds) -> Behaviour {
    if kinds.wild && rng.bool() {
        let Behaviour { expected, downlink, .. } = ideal();
        let mut cloud = Behaviour::random(rng, &["up/0", "up/1"], &["down/#"]);
        (cloud.expected, cloud.downlink.echoes, cloud.flood) = (expected, downlink.echoes, None);
        return cloud;
    }
    let mut cloud = ideal();
    trait_of(&mut cloud, rng, kinds);
    if rng.u8(..3) == 0 {
        trait_of(&mut cloud, rng, kinds);
    }
    cloud
}

fn trait_of(cloud: &mut Behaviour, rng: &mut Rng, kinds: Kinds) {
    let how = [Refuses::Closes, Refuses::Disconnects(0x87), Refuses::Fails(0x87), Refuses::Fails(0x97)];
    match rng.u8(..18) {
        0 | 1 => cloud.sessions.forgotten = 1.0,
        2 => {
            let late = between(rng, SECOND, 20 * SECOND);
            cloud.puback = Reply { delay: Delay::between(Duration::ZERO, late), lost: cloud.puback.lost };
        }
        3 => cloud.puback.lost = rng.f64() / 3.0,
        4 => cloud.refuses_connect = Some((rng.u8(1..6), 0x88)),
        5 => cloud.connack = Reply::NEVER,
        6 => cloud.suback = if rng.bool() { Reply::NEVER } else { Reply::after(SECOND, 10 * SECOND) },
        7 => cloud.pingresp = Reply::NEVER,
        8 | 14 | 15 if kinds.refusals => cloud.refusals = vec![Refusal::everything(how[rng.usize(..4)])],
        9 | 16 if kinds.refusals => cloud.refusals = vec![Refusal::topic(&topic(rng), how[rng.usize(..4)])],
        10 if kinds.closes => cloud.closes.after_packets = Some((1, rng.u32(2..300))),
        11 => cloud.acknowledges_twice = 0.3,
        12 => {
            cloud.downlink.resends_with_dup = rng.bool();
            cloud.downlink.repeats_after = rng.bool().then(|| between(rng, 2 * SECOND, MINUTE));
            cloud.downlink.stored_per_second = rng.bool().then(|| rng.u32(1..100));
        }
        _ => {
            // A window that is soon full.
            cloud.acknowledges_in_any_order = rng.bool();
            cloud.announced.receive_maximum = up_to(rng, 100) as u16;
            cloud.puback.delay = Delay::between(SECOND / 10, between(rng, SECOND, 8 * SECOND));
        }
    }
}

fn disk(rng: &mut Rng) -> simulated::Behaviour {
    let mut disk = simulated::Behaviour::default();
    match rng.u8(..5) {
        0 => disk.hangs = true,
        1 => disk.writes_fail = Some("No space left on device"),
        2 => disk.writes_fail = Some("Read-only file system"),
        3 => {
            disk.writes_fail = Some("Input/output error");
            disk.reads_fail = Some("Input/output error");
        }
        _ => disk.latency = (SECOND / 100, between(rng, SECOND / 10, 10 * SECOND)),
    }
    disk
}

fn topic(rng: &mut Rng) -> String {
    format!("up/{}", rng.u8(..6))
}

fn publishes(rng: &mut Rng) -> Publishes {
    let habit = match rng.u8(..8) {
        0 => Habit::Deaf(between(rng, SECOND / 10, 20 * SECOND)),
        1 => Habit::Leaves,
        2 => Habit::HalfCloses,
        3 => Habit::Babbles,
        _ => Habit::Good,
    };
    // Some lines take more memory than a client has without asking.
    let (most, size) = if rng.u8(..8) == 0 { (20, 1 << rng.u8(12..17)) } else { (500, 1 << rng.u8(..12)) };
    Publishes {
        lines: up_to(rng, most),
        at_once: up_to(rng, 100),
        pause: between(rng, SECOND / 100, MINUTE),
        topic: topic(rng),
        qos: u8::from(rng.u8(..6) > 0),
        size,
        habit,
    }
}

fn reads(rng: &mut Rng) -> Reads {
    let acknowledges = rng.bool();
    // Some are there for moments, again and again.
    let (stays, times) = match rng.u8(..4) {
        0 => (between(rng, SECOND / 100, SECOND), up_to(rng, 60)),
        _ => (between(rng, SECOND, 2 * HOUR), 1),
    };
    Reads {
        forward: if acknowledges { "acknowledged" } else { "written" },
        acknowledges,
        observes: (rng.u8(..3) == 0)
            .then(|| if rng.bool() { Duration::ZERO } else { between(rng, SECOND / 5, 2 * SECOND) }),
        pause: if rng.u8(..4) == 0 { between(rng, SECOND / 100, 30 * SECOND) } else { Duration::ZERO },
        forgets: if rng.u8(..3) == 0 { rng.u8(1..100) } else { 0 },
        lines: if rng.u8(..4) == 0 { rng.u32(1..50) } else { u32::MAX },
        stays,
        times,
    }
}
