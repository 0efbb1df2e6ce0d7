//! All of it one after another, at random. AWS lets it run for hours with outages of half an hour and more; here both are
//! shorter.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::FORWARD;
use crate::support::daemon::Setup;
use crate::support::device::{Device, Said, Version, both};
use crate::support::scripted::Broker;

const MS: Duration = Duration::from_millis(1);

/// The longest that a device may take to come back once it can.
const RETRY: Duration = Duration::from_secs(15);

const CONNECTION: &str = "ack_timeout = \"3s\"\nkeep_alive = \"5s\"\nconnect_timeout = \"2s\"\n\
    backoff = { min = \"100ms\", max = \"2s\", stable_after = \"1s\" }\nrate_limit = { connects_per_second = 100 }\n";

const PUBLISH: &str = "[[publish]]\nname = \"p\"\ntopic = \"t\"\nevery = \"20ms\"\npayload = \"{{count}}\"\n";

/// The server, and what it has seen.
struct Server<'a> {
    broker: &'a Broker,
    version: Version,
    random: Rng,
    /// The counts that have arrived, without repetitions.
    arrived: Vec<u64>,
    acked: u16,
}

impl Server<'_> {
    fn accept(&mut self, session_present: bool) -> Device {
        let waiting = Instant::now();
        let device = self.broker.connected_device(self.version, session_present);
        assert!(waiting.elapsed() < RETRY, "{:?}", waiting.elapsed());
        device
    }

    /// Answers everything for a while, or everything but what `ignores` says. Whether the daemon is still there.
    fn serve(&mut self, device: &mut Device, time: Duration, ignores: impl Fn(&Said) -> bool) -> bool {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            match device.next_within(left) {
                Err(()) => return true,
                Ok(None) => return false,
                Ok(Some(said)) => self.answer(device, &said, ignores(&said)),
            }
        }
        true
    }

    fn answer(&mut self, device: &mut Device, said: &Said, ignored: bool) {
        if let Said::Publish(publish) = said {
            let count = publish.payload.parse().unwrap();
            if !self.arrived.contains(&count) {
                self.arrived.push(count);
            }
        }
        match said {
            _ if ignored => {}
            Said::Publish(publish) => device.puback(publish.id),
            Said::Subscribe { id, filters } => device.suback(*id, filters.len()),
            Said::PingReq => device.pingresp(),
            Said::PubAck(id) => self.acked = *id,
            other => panic!("{other:?}"),
        }
    }

    /// Something happens to a connection that works, and is over once it works again.
    fn scenario(&mut self, name: &str, mut device: Device) -> Device {
        let outage = self.random.u32(200..1500) * MS;
        match name {
            "server disconnect" => device.hang_up(),
            "intermittent connectivity" => {
                device.reset();
                let end = Instant::now() + outage;
                while Instant::now() < end {
                    drop(self.broker.accept_tcp());
                }
            }
            "reconnect backoff" => {
                device.reset();
                (0..5).for_each(|_| self.accept(true).hang_up());
            }
            "no puback" => {
                let is_publish = |said: &Said| matches!(said, Said::Publish(_));
                // Up to half as long again as ack_timeout.
                self.serve(&mut device, outage * 3, is_publish);
                if self.version == Version::Mqtt311 && self.serve(&mut device, 1000 * MS, |_| false) {
                    return device;
                }
                // In MQTT 5, or if it was too long: it comes again.
                drop(device);
            }
            "keep alive" => {
                assert!(!self.serve(&mut device, 20_000 * MS, |_| true), "it gives up by itself");
            }
            "large payload" => {
                let id = self.random.u16(1..);
                device.message("commands/x", &"x".repeat(128 * 1024), id);
                let waiting = Instant::now();
                while self.acked != id {
                    assert!(self.serve(&mut device, 20 * MS, |_| false) && waiting.elapsed() < RETRY, "no PUBACK");
                }
                return device;
            }
            other => panic!("{other}"),
        }
        let session_present = self.random.bool();
        self.accept(session_present)
    }
}

#[test]
fn mqtt_long_duration() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    both(|version| {
        let broker = Broker::start();
        let gatewire = Setup::with_connection(broker.port, CONNECTION, &format!("{FORWARD}{PUBLISH}"));
        let gatewire = gatewire.speaking(version.name()).start();
        let random = Rng::with_seed(seed);
        let mut server = Server { broker: &broker, version, random, arrived: Vec::new(), acked: 0 };
        let mut scenarios = [
            "server disconnect",
            "server disconnect",
            "intermittent connectivity",
            "intermittent connectivity",
            "reconnect backoff",
            "no puback",
            "no puback",
            "keep alive",
            "large payload",
            "large payload",
        ];
        server.random.shuffle(&mut scenarios);
        let mut device = server.accept(false);
        for name in scenarios {
            let time = server.random.u32(100..1200) * MS;
            assert!(server.serve(&mut device, time, |_| false), "seed {seed}");
            device = server.scenario(name, device);
        }
        // All that was due until now.
        let due = gatewire.status()["publish"][0]["count"].as_u64().unwrap();
        let patience = Instant::now();
        while server.arrived.len() < due as usize && patience.elapsed() < RETRY {
            assert!(server.serve(&mut device, 100 * MS, |_| false), "seed {seed}");
        }
        let expected: Vec<u64> = (1..=server.arrived.len() as u64).collect();
        assert!(server.arrived.len() >= due as usize, "seed {seed}: {} of {due}", server.arrived.len());
        assert_eq!(server.arrived, expected, "seed {seed}: all of them, in order");
    });
}
