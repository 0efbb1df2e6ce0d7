//! What a start says: six lines at most, and one more without an identity, that tell what this daemon will do.

use std::path::Path;

use log::Level;

use crate::config::{Bridge, Config, Forward, Ingest, Publish};
use crate::count::{count, count_that};
use crate::message::TopicFilter;
use crate::time;

/// So many of a kind are named, the others counted.
const MOST: usize = 5;

/// Says what a daemon with this configuration will do; so many messages wait in its outbox.
pub(super) fn announce(config: &Config, waiting: u64) {
    let connection = &config.connection;
    let (version, protocol) = (env!("CARGO_PKG_VERSION"), connection.protocol.as_str());
    match connection.is_named {
        true => log::info!(
            GATEWIRE_EVENT = "starting", GATEWIRE_ENDPOINT = connection.endpoint.as_str(),
            GATEWIRE_CLIENT_ID = connection.client_id.as_str();
            "gatewire {version} keeps a link to {}:{} as `{}` (MQTT {protocol})",
            connection.endpoint, connection.port, connection.client_id
        ),
        false => log::info!(
            GATEWIRE_EVENT = "starting", GATEWIRE_ENDPOINT = connection.endpoint.as_str();
            "gatewire {version} keeps a link to {}:{} as soon as it has an identity (MQTT {protocol})",
            connection.endpoint, connection.port
        ),
    }
    let kinds = [
        line("publish", config.publications().iter().map(publish)),
        line("forward", config.forward.iter().map(|of| forward(of, connection.is_named))),
        line("ingest", config.ingest.iter().map(ingest)),
        line("bridge", config.bridges().collect::<Vec<_>>().into_iter().map(bridge)),
        line("waiting for an identity:", config.waiting().into_iter()),
    ];
    kinds.into_iter().flatten().for_each(|line| log::info!("{line}"));
    let waiting = match waiting {
        0 => String::new(),
        n => format!("; {} in it", count_that(n, "message", "waits", "wait")),
    };
    log::info!(
        "outbox: messages that IoT Core hasn't acknowledged within {} are kept in {}{waiting}",
        crate::duration::written(config.outbox.spill_after),
        config.outbox.path.display()
    );
    if let Err(error) = time::is_synchronised() {
        let around = Around::of(|path| Path::new(path).exists(), |name| std::env::var_os(name).is_some());
        log::log!(
            around.level(), GATEWIRE_EVENT = "clock_unknown";
            "the kernel doesn't tell whether its clock is synchronised ({error}): time while the machine was off doesn't count \
            for [outbox] max_age. {}", around.advice()
        );
    }
}

/// What gatewire runs in, and what therefore keeps it from asking about the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Around {
    Container,
    Unit,
    /// Nothing that can be recognised.
    Unknown,
}

impl Around {
    /// `exists` says whether there is a file, `set` whether there is a variable of the environment.
    fn of(exists: impl Fn(&str) -> bool, set: impl Fn(&str) -> bool) -> Around {
        // Docker's, Podman's and systemd's own signs of a container.
        if ["/.dockerenv", "/run/.containerenv", "/run/systemd/container"].into_iter().any(exists) || set("container") {
            Around::Container
        } else if set("INVOCATION_ID") {
            Around::Unit
        } else {
            Around::Unknown
        }
    }

    /// A container refuses it by default, so that there is nothing to warn of.
    fn level(self) -> Level {
        if self == Around::Container { Level::Info } else { Level::Warn }
    }

    fn advice(self) -> &'static str {
        match self {
            Around::Container => {
                "Containers refuse that by default: their seccomp profile must allow the system calls adjtimex and \
                clock_adjtime"
            }
            Around::Unit => {
                "Its systemd unit must allow the system calls adjtimex and clock_adjtime (SystemCallFilter=), and not have \
                 ProtectClock=; the unit that comes with gatewire does"
            }
            Around::Unknown => "The environment that it runs in must allow the system calls adjtimex and clock_adjtime",
        }
    }
}

fn publish(publish: &Publish) -> String {
    format!("{}: on {} {}", publish.name, publish.topic, publish.when)
}

/// Without its filters as long as they may hold the name of the thing and AWS is yet to say it.
fn forward(forward: &Forward, is_named: bool) -> String {
    let wants = if is_named { format!("{} ", forward.wants()) } else { String::new() };
    format!("{}: {wants}to {}", forward.name, forward.socket.path.display())
}

fn bridge(bridge: &Bridge) -> String {
    let [up, down] = [bridge.up.len(), bridge.down.len()].map(|n| count(n as u64, "rule"));
    format!("{}: {}, {up} up, {down} down", bridge.name, bridge.broker)
}

fn ingest(ingest: &Ingest) -> String {
    let topics = if ingest.topics.is_empty() { String::new() } else { format!(" to {}", listed(&ingest.topics)) };
    format!("{}: {}{topics}", ingest.name, ingest.socket.path.display())
}

fn listed(filters: &[TopicFilter]) -> String {
    filters.iter().map(TopicFilter::as_str).collect::<Vec<_>>().join(", ")
}

/// One line for all of a kind; `None` if there are none.
fn line(kind: &str, mut items: impl ExactSizeIterator<Item = String>) -> Option<String> {
    let shown: Vec<String> = items.by_ref().take(MOST).collect();
    let more = match items.len() {
        0 => String::new(),
        n => format!("; and {n} more"),
    };
    (!shown.is_empty()).then(|| format!("{kind} {}{more}", shown.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_takes_one_line_however_many_there_are() {
        let of = |n: usize| line("publish", (0..n).map(|i| format!("p{i}: on t")));
        assert_eq!(of(0), None);
        assert_eq!(of(1).unwrap(), "publish p0: on t");
        assert_eq!(of(MOST).unwrap().matches("; ").count(), MOST - 1);
        assert!(of(MOST + 2).unwrap().ends_with("; p4: on t; and 2 more"));
    }

    #[test]
    fn a_container_is_not_told_about_its_unit() {
        let of = |file: &'static str, variable: &'static str| {
            Around::of(move |path| path == file, move |name| name == variable)
        };
        for file in ["/.dockerenv", "/run/.containerenv", "/run/systemd/container"] {
            assert_eq!(of(file, "INVOCATION_ID"), Around::Container);
        }
        assert_eq!(of("", "container"), Around::Container);
        assert_eq!(of("", "INVOCATION_ID"), Around::Unit);
        assert_eq!(of("", ""), Around::Unknown);
        assert!(!Around::Container.advice().contains("unit") && Around::Unit.advice().contains("unit"));
        assert_eq!((Around::Container.level(), Around::Unit.level()), (Level::Info, Level::Warn));
    }
}
