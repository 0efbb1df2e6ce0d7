//! `gatewire check`: every problem of configuration and credentials at once; with `--connect` the way to IoT Core, too.

mod actions;
mod connect;
mod cost;
mod daemon;
mod eyes;
mod preparations;
mod programs;
mod reloadable;
mod sandboxed;
mod token;

use std::path::Path;

use clap::Args;

use super::Exit;
use super::inputs;
use super::output::{say, tell};
use crate::actions::RunsAs;
use crate::config::{self, Config, Environment, Listen};
use crate::cost::Cost;
use crate::count::count;
use crate::net::Endpoint;
use crate::systemd;
use connect::Until;
use preparations::Finding;

pub(super) const LONG_ABOUT: &str = "\
Read the configuration and credentials as `run` would, check that its sockets and its
store can be created and that the files and programs it uses exist, and report every
problem at once. Nothing is changed. Run as root, it checks as the user gatewire, where
there is one, because the service runs as that user. For the configuration that the
systemd unit uses, it tells what the unit's sandbox hides from the service or makes
read-only, and the drop-in that allows it. A key in a token signs something, in a process
of its own. It tells what the configuration costs in a month: messages, AWS's units of 5 KB,
and bytes of MQTT and TLS, as far as that can be known.

With --connect, go on to IoT Core: DNS, TCP, TLS, MQTT CONNECT and a SUBSCRIBE for each
filter, those of `allow` too, which it gives back at once. It prints a line for each step, and what to do about the first that fails. It
connects as the configured client, with the daemon's own CONNECT; another device that is
connected with this client id is disconnected by that. It acknowledges no messages, leaves
the session as it was, and sends DISCONNECT, so that its will isn't published. If a daemon
is running, it doesn't connect, because a second connection would end the daemon's: it
reports the state of that daemon's link.

Then it connects to the local broker of each [[bridge]], with a client id of its own that no
daemon notices, and subscribes to each `from`. It publishes and acknowledges nothing.";

pub(super) const AFTER_HELP: &str = "\
Exit codes: 0 all is well; 1 a step of --connect failed, or the running daemon isn't
connected or lacks a filter, or nothing can be stored, or the key in a token doesn't sign, or with --configured the endpoint is still the placeholder; 64 usage;
78 configuration, credentials or sockets unusable.";

/// The command line of `gatewire check`.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Go on to IoT Core, step by step; if a daemon is running, report its link instead
    #[arg(long)]
    connect: bool,

    /// With --connect: stop after TLS, which doesn't affect a running daemon
    #[arg(long, requires = "connect")]
    tls_only: bool,

    /// Only check whether the shipped configuration has been edited (the systemd unit runs this before it starts the daemon)
    #[arg(long, conflicts_with = "connect")]
    configured: bool,

    /// Only report what would keep a running daemon from accepting the configuration (the systemd unit runs this before a reload)
    #[arg(long, conflicts_with_all = ["connect", "configured"])]
    reloadable: bool,
}

/// Problems and warnings go to standard error, what was found to standard output.
#[inline(never)]
pub(super) fn run(path: &Path, arguments: &CheckArguments) -> Exit {
    if arguments.configured {
        return configured(path);
    }
    if arguments.reloadable {
        return reloadable::run(path);
    }
    eyes::become_service(path);
    let (warnings, errors, inputs, config) = match inputs::read(path, &Environment::of_service()) {
        Ok(mut inputs) => {
            let mut warnings = std::mem::take(&mut inputs.warnings);
            warnings.extend(inputs.means.credentials().warnings().iter().map(|warning| format!("warning: {warning}")));
            (warnings, Vec::new(), Some(inputs), None)
        }
        Err(problems) => (problems.warnings, problems.errors, None, problems.config),
    };
    let mut found = Finding::default();
    // Credentials that can't be used are no reason to keep silent about the rest.
    if let Some(config) = inputs.as_ref().map(|inputs| &inputs.config).or(config.as_deref()) {
        found = preparations::walk(config, daemon::beside(config));
        let place = config.places.with_key("path", &config.outbox.path);
        found.refused.extend(daemon::another_holds_the_store(config, path).map(|held| format!("{place}{held}")));
        let says = |why| format!("{place}the running daemon can store nothing: {why}");
        found.hindered.extend(daemon::store_error(config).map(says));
        found.append(actions::walk(path, config));
        found.append(sandboxed::walk(path, config));
    }
    // Where it can't even be read, that was said.
    if let Some(inputs) = &inputs {
        preparations::walk_identity(&inputs.config, daemon::beside(&inputs.config).is_some(), &mut found);
    }
    let token = inputs.as_ref().and_then(token::try_out);
    found.hindered.extend(token.iter().filter_map(|tried| tried.as_ref().err().cloned()));
    // What has to be mended first comes first.
    let faults = errors.iter().chain(&found.refused).chain(&found.hindered);
    faults.chain(&warnings).chain(&found.warnings).for_each(|line| tell(line));
    let Some(inputs) = inputs else { return Exit::Config };
    if let Some(exit) = found.exit_code() {
        return exit;
    }
    let cost = cost::of(&inputs.config);
    cost.beyond(&inputs.config.connection.rate_limit).iter().for_each(|line| tell(&format!("warning: {line}")));
    if let Some(excess) = cost.excess() {
        tell(&format!("warning: {}{excess}", inputs.config.places.of_budget()));
    }
    summary(&inputs.config, &cost).iter().chain(token.iter().flatten()).for_each(|line| say(line));
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
        "connection.endpoint in {} is still the placeholder: gatewire isn't started. Set your account's endpoint and your \
        client id, install the three certificate files, try them with `sudo -u gatewire gatewire check --connect`, and then \
        `systemctl start gatewire`",
        path.display()
    ));
    // Who may not read the journal sees this in `systemctl status gatewire`.
    systemd::tell_status(&format!("not started: connection.endpoint in {} is still the placeholder", path.display()));
    Exit::No
}

fn summary(config: &Config, cost: &Cost) -> Vec<String> {
    let connection = &config.connection;
    let mut summary = vec!["configuration and credentials can be used".to_owned()];
    let mut line = |kind: &str, text: String| summary.push(format!("  {kind:<8} {text}"));
    let proxy = connection.proxy.as_ref().map(Endpoint::from);
    let through = proxy.map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"));
    let whom = match connection.is_named {
        true => connection.client_id.clone(),
        false => "whom AWS says: there is no identity yet".to_owned(),
    };
    line("link", format!("{}:{}{through} as {whom}", connection.endpoint, connection.port));
    let retained = |retain| if retain { ", retained" } else { "" };
    if let Some(will) = &connection.will {
        line("will", format!("to {}{}", will.topic, retained(will.retain)));
    }
    if let Some(birth) = &connection.birth {
        let stays = match birth.retain {
            true => {
                ": `systemctl stop` leaves it there; docs/recipes.md, Whether a gateway is there, has a drop-in that replaces it"
            }
            false => "",
        };
        line("birth", format!("to {}{}{stays}", birth.topic, retained(birth.retain)));
    }
    if let Some(provisioning) = &config.provisioning {
        let identity = match connection.is_named {
            true => format!("the thing {}, in {}", connection.thing, provisioning.state.display()),
            false => format!("by the template {} and the claim", provisioning.template),
        };
        line("identity", identity);
    }
    match config.metrics.as_ref().map(|metrics| &metrics.listen) {
        Some(Listen::Tcp(address)) => line("metrics", format!("at http://{address}/metrics")),
        Some(Listen::Unix(socket)) => line("metrics", format!("at {}", socket.path.display())),
        None => {}
    }
    for publish in &config.publications() {
        let urgent = if publish.urgent { ", urgent" } else { "" };
        line("publish", format!("{}: on {} {}{urgent}", publish.name, publish.topic, publish.when));
    }
    for forward in &config.forward {
        line("forward", format!("{}: {} to {}", forward.name, forward.wants(), forward.socket.path.display()));
    }
    for ingest in &config.ingest {
        let topics: Vec<&str> = ingest.topics.iter().map(|topic| topic.as_str()).collect();
        line("ingest", format!("{}: {} to {}", ingest.name, ingest.socket.path.display(), topics.join(", ")));
    }
    for bridge in config.bridges() {
        let rules = |n: usize, way: &str| format!("{} {way}", count(n as u64, "rule"));
        let urgent = match bridge.up.iter().filter(|up| up.urgent).count() {
            0 => String::new(),
            n => format!(" ({n} urgent)"),
        };
        let (up, down) = (rules(bridge.up.len(), "up") + &urgent, rules(bridge.down.len(), "down"));
        line("bridge", format!("{}: {} at {}, {up}, {down}", bridge.name, bridge.client_id, bridge.broker));
    }
    let waits = config.waiting();
    if !waits.is_empty() {
        line("waits", format!("for the name of the thing: {}", waits.join(", ")));
    }
    for service in config.services() {
        line(service.name(), format!("of the thing {}", connection.thing));
    }
    for action in config.actions.iter() {
        let user = if action.runs_as == RunsAs::Root { " as root" } else { "" };
        line("action", format!("{}: {}{user}", action.name, action.run.program));
    }
    for line_of_cost in cost.lines() {
        line("cost", line_of_cost);
    }
    summary
}
