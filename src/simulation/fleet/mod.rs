//! Very many gateways and one account's limits: how a fleet comes back after an outage, and how its schedules meet.
//!
//! What decides when a gateway does something is the product's own code: [`Backoff`], [`ConnectLimit`], [`Quota`] and [`Clock`]. The
//! rest is as simple as may be: a gateway has a way to IoT Core that takes a part of a second, a number of messages that wait, and a
//! window; IoT Core lets in what its limits allow, refuses the CONNECTs beyond them, and discards the publications.
//! docs/fleet.md says what follows, `make fleet` makes its figures.

mod account;
mod figures;
mod gateway;
mod report;
mod run;
mod tests;

use std::time::Duration;

use tempfile::TempDir;

use crate::config::{self, Config, Environment, When};
use account::Account;
use report::Report;
use run::run;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// What happens at the time 0. Until then every gateway has been connected for an hour.
#[derive(Debug, Clone, Copy)]
enum Happens {
    /// Nothing: the fleet goes on publishing.
    Nothing,
    /// IoT Core closes all connections at once, and refuses new ones for so long.
    Outage(Duration),
    /// The carrier of all gateways is gone for so long.
    NoNetwork(Duration),
}

impl Happens {
    /// When gateways can connect again.
    fn is_over(self) -> Duration {
        match self {
            Happens::Nothing => Duration::ZERO,
            Happens::Outage(lasts) | Happens::NoNetwork(lasts) => lasts,
        }
    }
}

/// A fleet, and what it goes through.
#[derive(Debug, Clone)]
struct Scenario {
    gateways: u32,
    happens: Happens,
    backoff: config::Backoff,
    rate_limit: config::RateLimit,
    /// What each gateway publishes; `None`: nothing.
    publish: Option<config::Publish>,
    account: Account,
    /// The run ends once every gateway was connected and had nothing left to send, at the latest this long after the outage.
    patience: Duration,
    /// All gateways were switched on in one moment, as after a power cut: what is due `every` so often is due at once.
    began_together: bool,
    seed: u64,
}

/// A configuration that is as shipped but for `rest`.
fn shipped(rest: &str) -> Config {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gatewire.toml");
    let connection = "[connection]\nendpoint = \"localhost\"\nclient_id = \"g\"\n";
    std::fs::write(&path, format!("{connection}{rest}")).unwrap();
    config::read(&path, &Environment::of_service()).unwrap().config
}

impl Scenario {
    /// With the shipped configuration, but for what is published.
    fn new(gateways: u32, happens: Happens) -> Scenario {
        let connection = shipped("").connection;
        Scenario {
            gateways,
            happens,
            backoff: connection.backoff,
            rate_limit: connection.rate_limit,
            publish: None,
            account: Account::default(),
            patience: HOUR,
            began_together: false,
            seed: 1,
        }
    }

    /// As docs/fleet.md recommends for a fleet of so many: a second of `first` for each 400, and of `max` for each 200.
    fn recommended(self) -> Scenario {
        let gateways = self.gateways;
        self.waits(SECOND * gateways.div_ceil(400), (SECOND * gateways.div_ceil(200)).max(2 * MINUTE))
    }

    /// With these waits.
    fn waits(mut self, first: Duration, max: Duration) -> Scenario {
        (self.backoff.first, self.backoff.max) = (first, max);
        self
    }

    fn publishing(mut self, when: When, jitter: Duration) -> Scenario {
        let text = "[[publish]]\nname = \"p\"\ntopic = \"t\"\nevery = \"1m\"\npayload = \"21.5\"\n";
        let publish = shipped(text).publish.remove(0);
        self.publish = Some(config::Publish { when, jitter, at_start: false, ..publish });
        self
    }

    fn run(&self) -> Report {
        run(self)
    }
}
