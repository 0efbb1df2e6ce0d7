//! `gatewire check`: every problem of configuration and credentials at once; with `--connect` the way to IoT Core, too.

mod connect;
mod daemon;
mod eyes;
mod preparations;
mod reloadable;

use std::path::Path;

use clap::Args;

use super::Exit;
use super::inputs;
use super::output::{say, tell};
use crate::config::{self, Config, Environment};
use crate::link::transport::Endpoint;
use crate::systemd;
use connect::Until;

pub(super) const LONG_ABOUT: &str = "\
Read the configuration and credentials as `run` would, look whether its sockets and its
store could be made and whether what it reads and runs is there, and report every problem
at once. Nothing is changed. Root has the user gatewire look, where there is one: it is
who runs the service.

With --connect, go on to IoT Core: DNS, TCP, TLS, MQTT CONNECT and a SUBSCRIBE a filter, a
line a step, and what to do about the first that fails. It connects as the configured
client, with the daemon's own CONNECT; another device that is connected with this client
id is disconnected by that. It acknowledges nothing, leaves the session as it was, and
says DISCONNECT, so that its will isn't published. Where a
daemon is running it connects to nothing, a second connection would end the daemon's: it
reports that daemon's link.";

pub(super) const AFTER_HELP: &str = "\
Exit codes: 0 all is well; 1 a step of --connect failed, or the running daemon isn't
connected or lacks a filter, or nothing could be stored, or with --configured the endpoint is still the placeholder; 64 usage;
78 configuration, credentials or sockets unusable.";

/// The command line of `gatewire check`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Go on to IoT Core, step by step; with a daemon running, report its link
    #[arg(long)]
    connect: bool,

    /// With --connect: no further than TLS, which does a running daemon no harm
    #[arg(long, requires = "connect")]
    tls_only: bool,

    /// Only look whether the shipped configuration has been edited (what the systemd unit asks before it starts the daemon)
    #[arg(long, conflicts_with = "connect")]
    configured: bool,

    /// Only tell what would keep a running daemon from taking the configuration (what the systemd unit asks before a reload)
    #[arg(long, conflicts_with_all = ["connect", "configured"])]
    reloadable: bool,
}

/// Problems and warnings go to standard error, what was found to standard output.
pub(super) fn run(path: &Path, arguments: &Arguments) -> Exit {
    if arguments.configured {
        return configured(path);
    }
    if arguments.reloadable {
        return reloadable::run(path);
    }
    eyes::become_service(path);
    let (warnings, errors, inputs) = match inputs::read(path, &Environment::of_service()) {
        Ok(mut inputs) => {
            let mut warnings = std::mem::take(&mut inputs.warnings);
            warnings.extend(inputs.credentials.warnings().iter().map(|warning| format!("warning: {warning}")));
            (warnings, Vec::new(), Some(inputs))
        }
        Err(problems) => (problems.warnings, problems.errors, None),
    };
    warnings.iter().chain(&errors).for_each(|line| tell(line));
    let Some(inputs) = inputs else { return Exit::Config };
    let is_running = daemon::runs(&inputs.config);
    let found = preparations::walk(&inputs.config, is_running);
    found.warnings.iter().chain(&found.hindered).chain(&found.refused).for_each(|line| tell(line));
    if let Some(exit) = found.exit() {
        return exit;
    }
    summary(&inputs.config).iter().for_each(|line| say(line));
    // What only systemd sets: the service has it.
    let by_hand = config::read(path, &Environment::of_process()).err();
    for error in by_hand.iter().flat_map(|found| &found.errors) {
        say(&format!("  note     `gatewire run` started by hand ends with: {error}"));
    }
    if !arguments.connect {
        return Exit::Done;
    }
    connect::run(&inputs, if arguments.tls_only { Until::Tls } else { Until::Subscribed })
}

/// Whatever else may be wrong is for `run` to say.
fn configured(path: &Path) -> Exit {
    if !config::is_unconfigured(path) {
        return Exit::Done;
    }
    tell(&format!(
        "connection.endpoint in {} is still the placeholder: gatewire isn't started. Put your account's endpoint, your client id \
         and the three files of the certificate in place, try them with `sudo -u gatewire gatewire check --connect`, and then \
         `systemctl start gatewire`",
        path.display()
    ));
    // Who may not read the journal sees this in `systemctl status gatewire`.
    systemd::tell_status(&format!("not started: connection.endpoint in {} is still the placeholder", path.display()));
    Exit::No
}

fn summary(config: &Config) -> Vec<String> {
    let connection = &config.connection;
    let mut summary = vec!["configuration and credentials can be used".to_owned()];
    let mut line = |kind: &str, text: String| summary.push(format!("  {kind:<8} {text}"));
    let proxy = connection.proxy.as_ref().map(Endpoint::from);
    let through = proxy.map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"));
    line("link", format!("{}:{}{through} as {}", connection.endpoint, connection.port, connection.client_id));
    for publish in &config.publish {
        line("publish", format!("{}: on {} {}", publish.name, publish.topic, publish.when));
    }
    for forward in &config.forward {
        let filters: Vec<&str> = forward.filters.iter().map(|filter| filter.as_str()).collect();
        line("forward", format!("{}: {} to {}", forward.name, filters.join(", "), forward.socket.path.display()));
    }
    for ingest in &config.ingest {
        let topics: Vec<&str> = ingest.topics.iter().map(|topic| topic.as_str()).collect();
        line("ingest", format!("{}: {} to {}", ingest.name, ingest.socket.path.display(), topics.join(", ")));
    }
    summary
}
