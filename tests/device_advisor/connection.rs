//! CONNECT, and how it is tried again.

use std::time::{Duration, Instant};

use crate::QUICK;
use crate::support::daemon::Setup;
use crate::support::device::{Device, Said, Version, both};
use crate::support::scripted::Broker;

const MS: Duration = Duration::from_millis(1);

/// What a loaded machine may add to a wait.
const SLACK: Duration = Duration::from_millis(700);

#[test]
fn mqtt_connect() {
    both(|version| {
        let broker = Broker::start();
        let _gatewire = Setup::new(broker.port, "").speaking(version.name()).start();
        let mut device = broker.accept_device(version);
        let connect = Said::Connect { client_id: "thing-1".to_owned(), keep_alive: 60, clean: false };
        assert_eq!(device.next(), Some(connect));
    });
}

/// The law that waits follow: the nth is at most `min × 2ⁿ`, or `max`, and at least half of `min`.
struct Law {
    min: Duration,
    max: Duration,
}

impl Law {
    fn setup(&self, port: u16, version: Version, stable_after: &str) -> Setup {
        let (min, max) = (self.min.as_millis(), self.max.as_millis());
        let connection = format!(
            "backoff = {{ min = \"{min}ms\", max = \"{max}ms\", stable_after = \"{stable_after}\" }}\n\
             connect_timeout = \"2s\"\nrate_limit = {{ connects_per_second = 1000 }}\n"
        );
        Setup::with_connection(port, &connection, "").speaking(version.name())
    }

    fn ceiling(&self, n: usize) -> Duration {
        self.max.min(self.min * (1 << n))
    }

    fn allows(&self, n: usize, gap: Duration) -> bool {
        // The server saw the end a little later than the daemon.
        (self.min / 4..=self.ceiling(n) + SLACK).contains(&gap)
    }

    /// What `measure` finds keeps to the law. A machine under load may hold up the daemon for longer than [`SLACK`], or the server, which
    /// then sees the end of a connection hardly before the next one; but not each time.
    fn check(&self, measure: impl Fn() -> Vec<Vec<Duration>>) {
        let is_off = |(n, gap): (usize, &Duration)| !self.allows(n, *gap);
        let is_held_up = |rounds: &[Vec<Duration>]| rounds.iter().any(|gaps| gaps.iter().enumerate().any(is_off));
        let mut rounds = measure();
        for _ in 0..2 {
            if is_held_up(&rounds) {
                eprintln!("measured again: {rounds:?}");
                rounds = measure();
            }
        }
        self.is_kept(&rounds);
    }

    /// Keeps to the law, grows, and isn't the ceiling itself. By chance none of five is clearly above `min` in one of two
    /// hundred rounds, and all are within a tenth of their ceilings in one of ten thousand; so a test looks at two rounds
    /// together, or at more than five waits.
    fn is_kept(&self, rounds: &[Vec<Duration>]) {
        for gaps in rounds {
            for (n, gap) in gaps.iter().enumerate() {
                assert!(self.allows(n, *gap), "wait {n} of {rounds:?}");
            }
        }
        let mut later = rounds.iter().flat_map(|gaps| gaps.iter().enumerate().skip(1));
        assert!(later.clone().any(|(_, gap)| *gap > self.min + 50 * MS), "they don't grow: {rounds:?}");
        assert!(later.any(|(n, gap)| *gap < self.ceiling(n).mul_f64(0.9)), "without jitter: {rounds:?}");
    }
}

/// Waits for the next connection and its CONNECT: how long after `end`, and the connection.
fn reconnected(broker: &Broker, version: Version, end: Instant) -> (Duration, Device) {
    let mut device = broker.accept_device(version);
    let gap = end.elapsed();
    device.connect();
    (gap, device)
}

/// Withholds CONNACK five times: the waits between.
fn without_connack(broker: &Broker, version: Version, mut end: Instant) -> Vec<Duration> {
    let withheld = |_| {
        let (gap, mut device) = reconnected(broker, version, end);
        assert_eq!(device.next(), None, "it gives up by itself");
        end = Instant::now();
        gap
    };
    // The first of them isn't a wait yet, and the wait after the fifth is seen by who accepts the sixth.
    let gaps: Vec<Duration> = (0..5).map(withheld).collect();
    let (last, mut device) = reconnected(broker, version, end);
    device.connack(false);
    assert!(device.is_silent(300 * MS));
    device.hang_up();
    [&gaps[1..], &[last]].concat()
}

#[test]
fn mqtt_connect_jitter_backoff_retries() {
    both(|version| {
        let law = Law { min: 100 * MS, max: 5000 * MS };
        law.check(|| {
            let broker = Broker::start();
            let _gatewire = law.setup(broker.port, version, "0s").start();
            // CONNACK lets the waits begin anew, since the connection counts as stable at once. Each round's first connection comes
            // without a wait, or after the wait that follows a success.
            let first = without_connack(&broker, version, Instant::now());
            let second = without_connack(&broker, version, Instant::now());
            // That wait has counted as the first.
            let second = [vec![law.min], second].concat();
            vec![first, second]
        });
    });
}

#[test]
fn mqtt_connect_exponential_backoff_retries() {
    both(|version| {
        let law = Law { min: 100 * MS, max: 2000 * MS };
        law.check(|| {
            let broker = Broker::start();
            let _gatewire = law.setup(broker.port, version, "1m").start();
            let mut gaps = Vec::new();
            let mut end = None;
            for _ in 0..8 {
                let (gap, mut device) = reconnected(&broker, version, end.unwrap_or_else(Instant::now));
                gaps.extend(end.map(|_| gap));
                assert_eq!(device.next(), None, "it gives up by itself");
                end = Some(Instant::now());
            }
            vec![gaps]
        });
    });
}

#[test]
fn mqtt_reconnection_after_successful_connection() {
    both(|version| {
        let broker = Broker::start();
        let _gatewire = Setup::with_connection(broker.port, "", "").speaking(version.name()).start();
        for _ in 0..3 {
            let mut device = broker.connected_device(version, false);
            assert!(device.is_silent(400 * MS));
            let end = Instant::now();
            device.hang_up();
            let (gap, device) = reconnected(&broker, version, end);
            assert!(gap >= 1000 * MS, "{gap:?}");
            device.hang_up();
        }
    });
}

#[test]
fn mqtt_reconnect_backoff_retries_on_server_disconnect() {
    both(|version| {
        let law = Law { min: 100 * MS, max: 5000 * MS };
        law.check(|| {
            let broker = Broker::start();
            let _gatewire = law.setup(broker.port, version, "1m").start();
            broker.connected_device(version, false).hang_up();
            let mut end = Instant::now();
            let disconnected = |_| {
                let (gap, device) = reconnected(&broker, version, end);
                device.hang_up();
                end = Instant::now();
                gap
            };
            vec![(0..7).map(disconnected).collect()]
        });
    });
}

#[test]
fn mqtt_reconnect_backoff_retries_on_unstable_connection() {
    both(|version| {
        let law = Law { min: 100 * MS, max: 2000 * MS };
        law.check(|| {
            let broker = Broker::start();
            let _gatewire = law.setup(broker.port, version, "1m").start();
            let mut end = None;
            let mut gaps = Vec::new();
            for _ in 0..=8 {
                let (gap, mut device) = reconnected(&broker, version, end.unwrap_or_else(Instant::now));
                gaps.extend(end.map(|_| gap));
                device.connack(false);
                assert!(device.is_silent(50 * MS));
                device.reset();
                end = Some(Instant::now());
            }
            vec![gaps]
        });
    });
}

#[test]
fn mqtt_no_ack_pingresp() {
    both(|version| {
        let broker = Broker::start();
        let connection = format!("keep_alive = \"5s\"\n{QUICK}");
        let gatewire = Setup::with_connection(broker.port, &connection, "").speaking(version.name()).start();
        let mut device = broker.accept_device(version);
        device.connect();
        let connected = Instant::now();
        device.connack(false);
        assert_eq!(device.next(), Some(Said::PingReq));
        device.pingresp();
        assert_eq!(device.next(), Some(Said::PingReq));
        let asked = Instant::now();
        assert_eq!(device.next(), None, "it disconnects");
        // The last answer came with the first PINGREQ, a keep alive after CONNACK.
        assert!(asked - connected >= 9 * Duration::from_secs(1), "{:?}", asked - connected);
        // It waits for half a keep alive, and not for a whole one.
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        let _device = broker.connected_device(version, true);
        gatewire.wait_for_failure("keep_alive_lost");
    });
}
