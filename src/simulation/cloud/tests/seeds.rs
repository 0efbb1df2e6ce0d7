//! Any server, any network: the session keeps MQTT's rules, and gets everything through once they are good again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;

use super::bench::{BOTH, Bench, downlink, filters, outbound};
use crate::message::{Outbound, Properties, Qos, Topic, TopicFilter};
use crate::mqtt::{KeepAlive, Protocol, Will};
use crate::simulation::cloud::behaviour::{Behaviour, Delay};
use crate::simulation::cloud::message::Downlink;

const TOPICS: [&str; 5] = ["up/a", "up/b", "both/a", "up/c/d", "up/e"];
const DOWN: [&str; 6] = ["down/a", "down/b/x", "both/a", "other", "nobody", "down"];
const FILTERS: [&str; 5] = ["down/#", "down/a", "both/+", "down/+/x", "other"];

fn play(seed: u64) {
    let mut random = Rng::with_seed(seed);
    let protocol = BOTH[random.usize(..2)];
    let latency = Delay::between(Duration::from_millis(1), Duration::from_millis(random.u64(1..500)));
    let first = behave(&mut random, latency.max);
    let mut bench = Bench::new(protocol, &FILTERS[..random.usize(..=5)], first, seed);
    bench.options(|options| {
        options.session_expiry = Duration::from_secs([0, 30, 3600, 3600][random.usize(..4)]);
        options.keep_alive = KeepAlive::Fixed(Duration::from_secs(random.u64(5..120)));
        options.ack_timeout = Duration::from_secs(random.u64(2..20));
        options.max_in_flight = random.usize(1..=100);
        let topic = Topic::new("up/will").unwrap();
        let will = || Will { topic, payload: Bytes::from_static(b"will"), qos: Qos::AtLeastOnce, retain: true };
        options.will = random.bool().then(will);
    });
    bench.latency = latency;
    bench.reading = Delay::between(Duration::ZERO, Duration::from_millis(random.u64(..3000)));
    for n in 0..random.u32(..200) {
        match random.u8(..40) {
            0 => bench.restart(some_filters(&mut random)),
            1 => bench.want(some_filters(&mut random)),
            2..4 => bench.cut(Duration::from_millis(random.u64(..20_000))),
            4..6 => {
                let next = behave(&mut random, latency.max);
                bench.set_behaviour(|behaviour| *behaviour = next);
            }
            6 if random.bool() => bench.change_protocol(),
            6 => bench.cloud.forget_sessions(bench.now),
            7..18 => {
                let message = downlink(DOWN[random.usize(..6)], &format!("down {n}"), random.u8(..2));
                bench.offer(Downlink { retain: random.u8(..8) == 0, ..message });
            }
            _ => publish(&mut bench, n, &mut random),
        }
        bench.run(Duration::from_millis(random.u64(..4000)));
    }
    bench.set_behaviour(|behaviour| *behaviour = judged(Behaviour::default(), latency.max));
    bench.run(Duration::from_secs(2 * 3600));
    check(&bench, protocol);
    // And it goes on, both ways.
    let before = bench.delivered.len();
    let places: Vec<usize> = (0..100).map(|n| bench.offer(downlink(DOWN[n % 6], &format!("last {n}"), 1))).collect();
    (0..100).for_each(|n| _ = bench.publish(outbound("up/last", &format!("last {n}"), Qos::AtLeastOnce)));
    bench.run(Duration::from_secs(600));
    let is_stuck = |place: &&usize| {
        let offered = &bench.cloud.offered()[**place];
        offered.owed > 0 && !offered.is_acknowledged()
    };
    assert_eq!(places.iter().find(is_stuck), None);
    assert_eq!(bench.delivered.len(), before + 100);
    check(&bench, protocol);
}

/// An ideal server in one of four.
fn behave(random: &mut Rng, latency: Duration) -> Behaviour {
    let behaviour = match random.u8(..4) {
        0 => Behaviour::default(),
        _ => Behaviour::random(random, &TOPICS, &FILTERS),
    };
    judged(behaviour, latency)
}

/// By what a client can do on a network with such a latency.
fn judged(mut behaviour: Behaviour, latency: Duration) -> Behaviour {
    behaviour.expected.jitter = latency;
    behaviour
}

fn some_filters(random: &mut Rng) -> BTreeMap<TopicFilter, Qos> {
    let mut wanted = filters(&FILTERS);
    wanted.retain(|_, _| random.bool());
    wanted.values_mut().filter(|_| random.u8(..4) == 0).for_each(|qos| *qos = Qos::AtMostOnce);
    wanted
}

fn publish(bench: &mut Bench, n: u32, random: &mut Rng) {
    for m in 0..random.u32(..20) {
        let qos = if random.u8(..4) > 0 { Qos::AtLeastOnce } else { Qos::AtMostOnce };
        let payload = format!("up {n} {m}{}", " ".repeat(random.usize(..3).pow(9)));
        let message = outbound(TOPICS[random.usize(..5)], &payload, qos);
        let properties = (random.u8(..4) == 0).then(|| {
            let expires_in = random.bool().then(|| random.u32(1..60));
            let user_properties = vec![("n".to_owned(), n.to_string()); random.usize(..3)];
            let mut properties = Properties { expires_in, user_properties, ..Properties::default() };
            properties.count_from(bench.now);
            Arc::new(properties)
        });
        bench.publish(Outbound { retain: random.u8(..8) == 0, properties, ..message });
    }
}

fn check(bench: &Bench, protocol: Protocol) {
    bench.assert_faultless();
    assert!(bench.is_idle(), "{protocol:?}: {:?}", bench.ends.last());
    bench.assert_nothing_lost();
    let open = bench.cloud.offered().iter().find(|offered| offered.is_open());
    assert_eq!(open, None);
}

/// More than here with `SEEDS=FIRST..END`.
#[test]
fn the_session_is_at_fault_with_no_server() {
    let seeds = std::env::var("SEEDS").unwrap_or_else(|_| "0..50".to_owned());
    let (first, end) = seeds.split_once("..").expect("SEEDS is FIRST..END");
    for seed in first.parse::<u64>().unwrap()..end.parse().unwrap() {
        println!("seed {seed}");
        play(seed);
    }
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let mut random = Rng::with_seed(seed);
        let behaviour = Behaviour::random(&mut random, &TOPICS, &FILTERS);
        let mut bench = Bench::new(Protocol::Mqtt5, &FILTERS, behaviour, seed);
        for n in 0..100 {
            bench.publish(outbound(TOPICS[n % 5], &n.to_string(), Qos::AtLeastOnce));
            bench.offer(downlink("down/a", &n.to_string(), 1));
            bench.run(Duration::from_secs(1));
        }
        (bench.taken(), bench.received(), bench.connected.clone(), format!("{:?}", bench.ends))
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
}
