//! Both brokers and gatewire are ended at random moments, again and again, with messages of a bridge on their way both ways: what a
//! device or IoT Core was told is safe arrives on the other side, in order.
//!
//! gatewire ends with SIGKILL. The brokers end with SIGTERM: mosquitto acknowledges what it has in memory alone, so that what it
//! loses with SIGKILL is its own. The seed is printed, and `GATEWIRE_SEED` repeats the random choices. `GATEWIRE_BRIDGE_ENDS` is how
//! often something is ended.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::env;
use std::thread::sleep;
use std::time::Duration;

use fastrand::Rng;
use support::daemon::{Gatewire, Setup};
use support::local_broker::LocalBroker;
use support::mosquitto::Mosquitto;
use support::patiently;

const ENDS: usize = 24;

const RULES: &str = "[[bridge]]\nname = \"house\"\nbroker = \"127.0.0.1:PORT\"\n\
    [[bridge.up]]\nfrom = \"dev/#\"\nto = \"gw/\"\n[[bridge.down]]\nfrom = \"set/#\"\nto = \"dev-\"\n";

/// Each topic once, where it came first.
fn firsts(topics: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    topics.into_iter().filter(|topic| seen.insert(topic.clone())).collect()
}

struct Run {
    random: Rng,
    cloud: Mosquitto,
    local: LocalBroker,
    setup: Setup,
    gatewire: Option<Gatewire>,
    up: u32,
    down: u32,
}

impl Run {
    /// Messages of devices and of the cloud, each acknowledged by the broker it was given to.
    fn publish(&mut self) {
        for _ in 0..self.random.u32(1..8) {
            if self.random.bool() {
                self.local.publish(&format!("dev/{}", self.up), b"x");
                self.up += 1;
            } else {
                self.cloud.publish(&format!("set/{}", self.down), b"x");
                self.down += 1;
            }
        }
    }

    /// What synchronises nothing: which moment it is, is what is tested.
    fn pause(&mut self) {
        sleep(Duration::from_millis(self.random.u64(0..150)));
    }

    fn end_something(&mut self) {
        match self.random.u32(0..4) {
            0 => {
                self.local.stop();
                self.pause();
                self.local.restart();
            }
            1 => {
                self.cloud.stop();
                self.pause();
                self.local.publish(&format!("dev/{}", self.up), b"x");
                self.up += 1;
                self.cloud.restart();
            }
            _ => {
                self.gatewire.take().unwrap().kill();
                self.pause();
                self.gatewire = Some(self.setup.start());
            }
        }
    }
}

#[test]
fn nothing_that_is_safe_is_lost_and_order_is_kept_whatever_ends() {
    let seed = env::var("GATEWIRE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    let ends = env::var("GATEWIRE_BRIDGE_ENDS").map_or(ENDS, |ends| ends.parse().unwrap());
    eprintln!("GATEWIRE_SEED={seed}");
    let cloud = Mosquitto::with_options("persistence true\npersistence_location DIR/\n");
    let local = LocalBroker::start();
    let setup = Setup::new(cloud.port, &RULES.replace("PORT", &local.port.to_string()));
    let gatewire = setup.connect();
    // From then on the brokers keep what comes while it isn't there.
    gatewire.wait_for("bridge house: connected to ");
    cloud.wait_for("Sending SUBACK to thing-1");
    local.wait_for("Sending SUBACK to gatewire-thing-1");
    let mut run = Run { random: Rng::with_seed(seed), cloud, local, setup, gatewire: Some(gatewire), up: 0, down: 0 };
    for _ in 0..ends {
        run.publish();
        run.pause();
        run.end_something();
    }
    run.publish();
    let (up, down) = (run.up, run.down);
    let up: Vec<String> = (0..up).map(|n| format!("gw/dev/{n}")).collect();
    let down: Vec<String> = (0..down).map(|n| format!("dev-set/{n}")).collect();
    // The local broker may have been away so often that half a minute passes until it is tried again.
    let came = patiently("everything on the other side", || {
        let came = (firsts(run.cloud.received("thing-1")), firsts(run.local.received("gatewire-thing-1")));
        (came.0.len() >= up.len() && came.1.len() >= down.len()).then_some(came)
    });
    assert_eq!(came, (up, down));
}
