//! What happens in a run: drawn from its seed before it begins, so that a run can be repeated with less of it.

use std::time::Duration;

use fastrand::Rng;

use super::clients::{Habit, Publishes, Reads};
use super::cloud::behaviour::{Behaviour, Delay, Refusal, Refuses, Reply};
use super::network::Weather;
use crate::store::simulated;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// Something that happens, and when.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) at: Duration,
    pub(super) what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    /// The network, the cloud or the disk is like this for so long, and then as it should be.
    Weather(Weather, Duration),
    Cloud(Box<Behaviour>, Duration),
    Disk(simulated::Behaviour, Duration),
    /// All connections break.
    Cut,
    AddressChanges,
    /// The daemon is killed after so many turns, and started again after so long.
    Kill(u64, Duration),
    /// The machine loses its power, and boots; with its clock in 1970 until it is set, or right.
    PowerCut {
        off: Duration,
        in_1970: bool,
    },
    /// SIGTERM, and a start after so long.
    Stop(Duration),
    /// SIGHUP, with the configuration of this number.
    Reload(usize),
    /// The clock is set by so many seconds.
    SetClock(i64),
    Suspend(Duration),
    Publish(Publishes),
    Read(Reads),
    /// Other devices publish so many messages for the daemon, at once.
    Downlink {
        count: u32,
        qos: u8,
        size: usize,
    },
    /// Somebody asks for the status.
    AskStatus,
}

/// A whole run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) is_mqtt5: bool,
    pub(super) lasts: Duration,
    pub(super) events: Vec<Event>,
}

/// Whether it ends connections for no reason.
fn closes(cloud: &Behaviour) -> bool {
    cloud.closes.after.is_some() || cloud.closes.after_packets.is_some()
}

/// Without what the network between would make of it.
pub(super) fn ideal() -> Behaviour {
    let mut cloud = Behaviour::default();
    cloud.expected.publishes = None;
    cloud.expected.connects_apart = None;
    cloud.expected.keep_alive = false;
    cloud.downlink.echoes = false;
    cloud
}

fn between(rng: &mut Rng, least: Duration, most: Duration) -> Duration {
    // Short times are as likely as long ones.
    let (low, high) = (least.as_secs_f64().max(1e-3).ln(), most.as_secs_f64().max(1e-3).ln());
    Duration::from_secs_f64((low + (high - low) * rng.f64()).exp())
}

impl Plan {
    /// The run of a seed.
    pub(super) fn draw(seed: u64, lasts: Duration) -> Plan {
        let rng = &mut Rng::with_seed(seed);
        let is_mqtt5 = rng.bool();
        // Some runs are quiet, some wild.
        let mean = between(rng, 10 * SECOND, 30 * MINUTE);
        let (mut events, mut at) = (Vec::new(), Duration::ZERO);
        loop {
            at += mean.mul_f64(-(1.0 - rng.f64()).ln());
            if at >= lasts || events.len() >= 300 {
                break;
            }
            events.push(Event { at, what: What::draw(rng) });
        }
        Plan { seed, is_mqtt5, lasts, events }
    }

    /// Whether the cloud takes everything, sooner or later, and in order.
    pub(super) fn refuses_nothing(&self) -> bool {
        !self.events.iter().any(|event| {
            matches!(&event.what, What::Cloud(behaviour, _)
                if !behaviour.refusals.is_empty() || closes(behaviour) || behaviour.discards_over.is_some())
        })
    }

    /// Whether a message to this topic may have been refused for good.
    pub(super) fn may_refuse(&self, topic: &str) -> bool {
        self.events.iter().any(|event| match &event.what {
            What::Cloud(behaviour, _) => {
                closes(behaviour)
                    || behaviour.refusals.iter().any(|refusal| {
                        refusal.topics.as_ref().is_none_or(|topics| topics.contains(topic))
                            && refusal.prefix.as_ref().is_none_or(|prefix| topic.starts_with(prefix))
                    })
            }
            _ => false,
        })
    }
}

impl What {
    fn draw(rng: &mut Rng) -> What {
        match rng.u8(..32) {
            0..=2 => What::Weather(weather(rng), between(rng, SECOND, 20 * MINUTE)),
            3..=6 => What::Cloud(Box::new(cloud(rng)), between(rng, 10 * SECOND, HOUR)),
            7..=9 => What::Disk(disk(rng), between(rng, SECOND, 20 * MINUTE)),
            10..=11 => What::Cut,
            12 => What::AddressChanges,
            13..=14 => What::Kill(
                between(rng, SECOND / 1000, 1000 * SECOND).as_millis() as u64 / 10,
                between(rng, SECOND / 10, MINUTE),
            ),
            15 => What::PowerCut { off: between(rng, SECOND, HOUR), in_1970: rng.bool() },
            16 => What::Stop(between(rng, SECOND, 10 * MINUTE)),
            17 => What::Reload(rng.usize(..4)),
            18 => What::SetClock(rng.i64(-100_000..100_000)),
            19 => What::Suspend(between(rng, SECOND, 10 * HOUR)),
            20..=24 => What::Publish(publishes(rng)),
            25..=27 => What::Read(reads(rng)),
            28..=30 => What::Downlink {
                count: between(rng, SECOND, 300 * SECOND).as_secs() as u32,
                qos: u8::from(rng.u8(..5) > 0),
                size: 1 << rng.u8(..13),
            },
            _ => What::AskStatus,
        }
    }
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

fn cloud(rng: &mut Rng) -> Behaviour {
    let mut cloud = ideal();
    let how =
        [Refuses::Closes, Refuses::Disconnects(0x87), Refuses::Fails(0x87), Refuses::Fails(0x97), Refuses::Silently];
    match rng.u8(..12) {
        10 => cloud.closes.after_packets = Some((1, rng.u32(2..300))),
        0 => cloud.sessions.forgotten = 1.0,
        1 => {
            cloud.puback = Reply { delay: Delay::between(Duration::ZERO, between(rng, SECOND, 20 * SECOND)), lost: 0.0 }
        }
        2 => cloud.puback.lost = rng.f64() / 3.0,
        3 => cloud.refuses_connect = Some((rng.u8(1..6), 0x88)),
        4 => cloud.connack = Reply::NEVER,
        5 => cloud.suback = if rng.bool() { Reply::NEVER } else { Reply::after(SECOND, 10 * SECOND) },
        6 => cloud.pingresp = Reply::NEVER,
        7 => cloud.refusals.push(Refusal::everything(how[rng.usize(..4)])),
        8 => cloud.refusals.push(Refusal::topic(&topic(rng), how[rng.usize(..4)])),
        9 => cloud.acknowledges_twice = 0.3,
        _ => {
            cloud.acknowledges_in_any_order = true;
            cloud.announced.receive_maximum = rng.u16(1..100);
        }
    }
    cloud
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
    Publishes {
        lines: between(rng, SECOND, 500 * SECOND).as_secs() as u32,
        at_once: between(rng, SECOND, 100 * SECOND).as_secs() as u32,
        pause: between(rng, SECOND / 100, MINUTE),
        topic: topic(rng),
        qos: u8::from(rng.u8(..6) > 0),
        size: 1 << rng.u8(..12),
        habit,
    }
}

fn reads(rng: &mut Rng) -> Reads {
    let acknowledges = rng.bool();
    Reads {
        forward: if acknowledges { "acknowledged" } else { "written" },
        acknowledges,
        observes: rng.u8(..6) == 0,
        pause: if rng.u8(..4) == 0 { between(rng, SECOND / 100, 30 * SECOND) } else { Duration::ZERO },
        lines: if rng.u8(..4) == 0 { rng.u32(1..50) } else { u32::MAX },
        stays: between(rng, SECOND, 2 * HOUR),
    }
}
