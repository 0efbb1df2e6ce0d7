//! What happens at the local broker: drawn beside everything else, so that a run without a bridge is what it was.

use std::time::Duration;

use fastrand::Rng;

use super::draw::{between, up_to};
use super::{Event, HOUR, MINUTE, SECOND, What};
use crate::simulation::bridge::{Bridge, DOWN, FILTERS, WITHOUT_SOME};
use crate::simulation::broker::behaviour::Behaviour;
use crate::simulation::network::Weather;
use crate::simulation::server::behaviour::{Delay, FilterAnswer, Refusal, Refuses, Reply};

/// Of so many runs one has a bridge.
const ONE_OF: u64 = 3;

#[derive(Debug, Clone)]
pub(in crate::simulation) enum Local {
    /// The broker, or what lies before it, is like this for so long, and then as it should be.
    Broker(Box<Behaviour>, Duration),
    Weather(Weather, Duration),
    /// It stops, and is there again after so long: with all that it had, or with nothing.
    Restart {
        keeps: bool,
        off: Duration,
    },
    /// Its connections break.
    Cut,
    /// A device publishes.
    Device(Device),
    /// Somebody at IoT Core publishes so many messages for the rule down of this number, one each `every`.
    Commands {
        count: u32,
        every: Duration,
        rule: usize,
        qos: u8,
        size: usize,
    },
}

#[derive(Debug, Clone)]
pub(in crate::simulation) struct Device {
    pub(in crate::simulation) topic: String,
    pub(in crate::simulation) count: u32,
    pub(in crate::simulation) every: Duration,
    pub(in crate::simulation) qos: u8,
    pub(in crate::simulation) size: usize,
    pub(in crate::simulation) retain: bool,
}

/// The bridge of a seed, if it has one.
pub(super) fn draw(seed: u64) -> Option<Bridge> {
    let rng = &mut Rng::with_seed(!seed);
    let (is_mqtt5, refuses, closes) = (rng.u8(..3) > 0, rng.bool(), rng.u8(..4) == 0);
    (seed % ONE_OF == 2).then_some(Bridge { is_mqtt5, refuses, closes, limits: rng.bool() })
}

pub(super) fn events(seed: u64, bridge: Bridge, lasts: Duration) -> Vec<Event> {
    let rng = &mut Rng::with_seed(!seed ^ 0xb41d);
    let mean = between(rng, 30 * SECOND, 20 * MINUTE);
    let (mut events, mut at) = (Vec::new(), Duration::ZERO);
    while events.len() < 200 {
        at += mean.mul_f64(-(1.0 - rng.f64()).ln());
        if at >= lasts {
            break;
        }
        let what = local(rng, bridge);
        for (after, what) in company(rng, &what) {
            events.push(Event { at: at + after, what });
        }
        events.push(Event { at, what: What::Local(what) });
    }
    events
}

/// What happens with it more often than by chance: where there is a fault, somebody is there whom it hits, and the daemon ends while
/// it has something in its hands.
fn company(rng: &mut Rng, what: &Local) -> Vec<(Duration, What)> {
    match what {
        Local::Device(_) | Local::Commands { .. } if rng.bool() => {
            let ends = match rng.u8(..4) {
                0 => What::PowerCut { off: between(rng, SECOND, MINUTE), in_1970: false },
                _ => What::Kill(rng.u64(..200), between(rng, SECOND / 10, MINUTE)),
            };
            vec![(between(rng, SECOND / 50, 3 * SECOND), ends)]
        }
        Local::Device(_) | Local::Commands { .. } => Vec::new(),
        Local::Restart { off, .. } if rng.bool() => {
            // A rule is removed while messages wait in it, and comes back.
            let rule = DOWN.len() - 1;
            let waits = Local::Commands { count: up_to(rng, 20), every: Duration::ZERO, rule, qos: 1, size: 10 };
            let (begins, lasts) = (off.mul_f64(rng.f64()), between(rng, 10 * SECOND, 10 * MINUTE));
            vec![
                (begins, What::Local(waits)),
                (begins + 10 * SECOND, What::Reload(WITHOUT_SOME)),
                (begins + 10 * SECOND + lasts, What::Reload(0)),
            ]
        }
        _ => {
            let company = [Local::Device(device(rng)), commands(rng), Local::Cut];
            let company = company.into_iter().take(rng.usize(..4)).map(What::Local);
            company.map(|what| (between(rng, SECOND / 100, MINUTE), what)).collect()
        }
    }
}

fn local(rng: &mut Rng, bridge: Bridge) -> Local {
    match rng.u8(..20) {
        0..=6 => Local::Device(device(rng)),
        7..=10 => commands(rng),
        11..=14 => Local::Broker(Box::new(behaviour(rng, bridge)), between(rng, SECOND, HOUR)),
        15 => Local::Weather(weather(rng), between(rng, SECOND, 20 * MINUTE)),
        16 | 17 => Local::Restart { keeps: rng.u8(..3) > 0, off: between(rng, SECOND / 10, HOUR) },
        _ => Local::Cut,
    }
}

fn device(rng: &mut Rng) -> Device {
    let topic = match rng.u8(..16) {
        0 | 1 => format!("every/{}", rng.u8(..4)),
        2 | 3 => format!("change/{}", rng.u8(..4)),
        4 | 5 => format!("batch/{}", rng.u8(..3)),
        6 | 7 => format!("keep/{}/state", rng.u8(..3)),
        8..=11 => ["z/lamp", "z/a/b", "z/c", "z"][rng.usize(..4)].to_owned(),
        12 => "z/private/x".to_owned(),
        13 => "other/x".to_owned(),
        14 => "z/1/2/3/4/5/6/7/8/9".to_owned(),
        _ => "z/large".to_owned(),
    };
    let is_large = topic == "z/large";
    Device {
        count: if is_large { 1 } else { up_to(rng, 200) },
        every: if rng.bool() { Duration::ZERO } else { between(rng, SECOND / 100, 5 * SECOND) },
        qos: [0, 1, 1, 1, 2][rng.usize(..5)],
        size: if is_large { 140_000 } else { 1 << rng.u8(..12) },
        retain: topic.starts_with("keep/") && rng.bool(),
        topic,
    }
}

fn commands(rng: &mut Rng) -> Local {
    Local::Commands {
        count: up_to(rng, 100),
        every: if rng.bool() { Duration::ZERO } else { between(rng, SECOND / 100, SECOND) },
        rule: rng.usize(..DOWN.len()),
        qos: u8::from(rng.u8(..5) > 0),
        size: 1 << rng.u8(..12),
    }
}

fn weather(rng: &mut Rng) -> Weather {
    let mut weather = Weather::default();
    match rng.u8(..3) {
        0 => weather.is_silent = true,
        1 => weather.bandwidth = rng.u64(1000..50_000),
        _ => weather.latency = (SECOND / 10, between(rng, SECOND / 5, 5 * SECOND)),
    }
    weather
}

fn behaviour(rng: &mut Rng, bridge: Bridge) -> Behaviour {
    let mut broker = Behaviour::default();
    one_trait(&mut broker, rng, bridge);
    if rng.u8(..3) == 0 {
        one_trait(&mut broker, rng, bridge);
    }
    broker
}

fn one_trait(broker: &mut Behaviour, rng: &mut Rng, bridge: Bridge) {
    let soon = Delay::between(Duration::ZERO, between(rng, SECOND / 100, 10 * SECOND));
    match rng.u8(..14) {
        0 => broker.hangs = true,
        1 => broker.refuses_connect = Some([(5, 0x87), (4, 0x86), (3, 0x88), (2, 0x85)][rng.usize(..4)]),
        2 => broker.connack = if rng.bool() { Reply::NEVER } else { Reply::after(SECOND, 15 * SECOND) },
        3 | 4 => broker.puback = Reply::after(SECOND / 100, between(rng, SECOND / 10, 15 * SECOND)),
        5 => broker.puback.lost = rng.f64() / 3.0,
        6 => broker.suback = if rng.bool() { Reply::NEVER } else { Reply::after(SECOND, 10 * SECOND) },
        7 => {
            let answer = if rng.bool() { FilterAnswer::Fails(0x87) } else { FilterAnswer::Downgraded };
            broker.filters.insert(FILTERS[rng.usize(..FILTERS.len())].to_owned(), answer);
        }
        8 | 9 if bridge.refuses => {
            let how = [0x87, 0x97, 0x83, 0x90][rng.usize(..4)];
            broker.refusals = vec![Refusal::topic(DOWN[rng.usize(..DOWN.len())].1, Refuses::Fails(how))];
        }
        10 if bridge.closes => broker.ends = Some((soon, [None, Some(0x8e), Some(0x8b)][rng.usize(..3)])),
        11 if bridge.limits => {
            broker.announced.maximum_packet_size = Some(1 << rng.u32(8..16));
            broker.announced.retain = rng.bool();
        }
        _ => {
            broker.window = rng.usize(1..30);
            broker.announced.receive_maximum = up_to(rng, 50) as u16;
            broker.puback.delay = soon;
        }
    }
}
