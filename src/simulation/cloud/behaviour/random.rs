//! A server with faults of its own, each now and then.

use std::time::Duration;

use fastrand::Rng;

use super::{Announced, Behaviour, Closes, Delay, FilterAnswer, Flood, Overlap, Refusal, Refuses, Reply, happens};

impl Behaviour {
    /// Any behaviour that the client has to live with. Each single trait is as ideal as not in most of them, so that the client
    /// gets somewhere. It refuses some of these `topics` and `filters`.
    pub(crate) fn random(random: &mut Rng, topics: &[&str], filters: &[&str]) -> Behaviour {
        let mut behaviour = Behaviour {
            connack: reply(random, 3.0, 0.3),
            refuses_connect: sometimes(random, 0.05).then_some((3, 0x88)),
            announced: announced(random),
            puback: reply(random, 12.0, 0.3),
            acknowledges_in_any_order: sometimes(random, 0.5),
            acknowledges_twice: if sometimes(random, 0.2) { random.f64() } else { 0.0 },
            suback: reply(random, 12.0, 0.3),
            pingresp: reply(random, 5.0, 0.2),
            discards_over: sometimes(random, 0.1).then(|| random.u32(1..100)),
            ..Behaviour::default()
        };
        behaviour.sessions.forgotten = if sometimes(random, 0.3) { random.f64() } else { 0.0 };
        for filter in filters {
            if sometimes(random, 0.1) {
                let answers = [
                    FilterAnswer::Downgraded,
                    FilterAnswer::Fails(0x87),
                    FilterAnswer::Closes,
                    FilterAnswer::Disconnects(0x87),
                ];
                behaviour.filters.insert((*filter).to_owned(), answers[random.usize(..answers.len())]);
            }
        }
        for topic in topics {
            if sometimes(random, 0.1) {
                let how = refuses(random);
                behaviour.refusals.push(Refusal::topic(topic, how));
            }
        }
        if sometimes(random, 0.05) {
            let how = refuses(random);
            behaviour.refusals.push(Refusal::everything(how));
        }
        if sometimes(random, 0.3) {
            behaviour.closes = Closes {
                after: sometimes(random, 0.5).then(|| Delay { min: Duration::ZERO, max: seconds(random, 60.0) }),
                after_packets: sometimes(random, 0.5).then(|| (1, random.u32(1..50))),
                reason: sometimes(random, 0.5).then_some(0x8b),
            };
        }
        let downlink = &mut behaviour.downlink;
        let overlaps = [Overlap::ForEach, Overlap::WithAll, Overlap::WithFirst];
        downlink.overlap = overlaps[random.usize(..overlaps.len())];
        downlink.resends_with_dup = sometimes(random, 0.5);
        downlink.repeats_after = sometimes(random, 0.2).then(|| Duration::from_secs(1) + seconds(random, 20.0));
        downlink.gives_up_after = sometimes(random, 0.8).then(|| Duration::from_secs(60) + seconds(random, 3600.0));
        downlink.stored_per_second = sometimes(random, 0.5).then(|| random.u32(1..100));
        downlink.hash_matches_parent = sometimes(random, 0.5);
        downlink.retained_for_wildcards = sometimes(random, 0.5);
        if let Some(topic) = topics.first().filter(|_| sometimes(random, 0.1)) {
            let every = Duration::from_millis(random.u64(5..1000));
            behaviour.flood =
                Some(Flood { topic: (*topic).to_owned(), size: random.usize(..2000), qos: random.u8(..2), every });
        }
        behaviour
    }
}

fn sometimes(random: &mut Rng, probability: f64) -> bool {
    happens(random, probability)
}

/// Up to so many seconds.
fn seconds(random: &mut Rng, most: f64) -> Duration {
    Duration::from_secs_f64(random.f64() * most)
}

/// Late in half of all cases, lost in a few.
fn reply(random: &mut Rng, most: f64, lost: f64) -> Reply {
    let max = if sometimes(random, 0.5) { seconds(random, most) } else { Duration::ZERO };
    let lost = if sometimes(random, 0.2) { random.f64() * lost } else { 0.0 };
    Reply { delay: Delay { min: Duration::ZERO, max }, lost }
}

fn refuses(random: &mut Rng) -> Refuses {
    let all =
        [Refuses::Closes, Refuses::Disconnects(0x87), Refuses::Fails(0x87), Refuses::Fails(0x97), Refuses::Silently];
    all[random.usize(..all.len())]
}

fn announced(random: &mut Rng) -> Announced {
    let ideal = Announced::default();
    if sometimes(random, 0.5) {
        return ideal;
    }
    Announced {
        receive_maximum: if sometimes(random, 0.3) { random.u16(1..100) } else { ideal.receive_maximum },
        maximum_packet_size: if sometimes(random, 0.3) {
            Some(random.u32(200..2000))
        } else {
            ideal.maximum_packet_size
        },
        maximum_qos: u8::from(!sometimes(random, 0.1)),
        retain: !sometimes(random, 0.1),
        wildcards: !sometimes(random, 0.1),
        subscription_identifiers: sometimes(random, 0.5),
        shared_subscriptions: sometimes(random, 0.5),
        topic_alias_maximum: random.u16(..10),
        keep_alive: (random.u16(5..100), random.u16(100..2000)),
    }
}
