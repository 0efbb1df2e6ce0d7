//! `gatewire check --connect`: the way to IoT Core, and to the local brokers of bridges, a line a step.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use signal_hook_tokio::Signals;
use tokio_stream::StreamExt as _;

use super::daemon::{self, Daemon};
use crate::bridge::local;
use crate::cli::Exit;
use crate::cli::inputs::{Inputs, Means};
use crate::cli::output;
use crate::client::{Failure, StepOutcome, noted_at};
use crate::config::{self, Config, Publish};
use crate::link::check::{Allowed, Check, Publication, Wanted};
use crate::message::{Outbound, Qos, Topic, TopicFilter};
use crate::net::credentials::Credentials;
use crate::provisioning::wire;
use crate::services::Service;

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    Tls,
    Subscribed,
}

/// Goes to IoT Core, or asks the daemon that is there already; then to the local broker of each bridge.
pub(super) fn run(inputs: &Inputs, until: Until) -> Exit {
    let beside = match until {
        Until::Tls => None,
        Until::Subscribed => beside_daemon(inputs),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            failed(&format!("the runtime can't be started: {error}"), "Free memory or file descriptors.");
            return Exit::Internal;
        }
    };
    let passed = runtime.block_on(async {
        let link = match beside {
            Some(passed) => Some(passed),
            None => go(inputs, until).await,
        };
        match (link, until) {
            (Some(passed), Until::Subscribed) => bridges(inputs).await && passed,
            (passed, _) => passed == Some(true),
        }
    });
    // A look-up in DNS that hangs in the C library mustn't hold us.
    runtime.shutdown_background();
    if passed { Exit::Done } else { Exit::No }
}

/// What a daemon says that runs, or may run: nothing is tried beside its link. `None`: there is none.
fn beside_daemon(inputs: &Inputs) -> Option<bool> {
    match daemon::find(&inputs.config) {
        Daemon::Absent => None,
        Daemon::Runs(status) => Some(report_daemon(inputs, &status)),
        Daemon::Unknown(why) => {
            failed(
                &format!("a gatewire may be running, and a second connection would end its own: {why}"),
                "Run this as root or as gatewire's user, or with --tls-only, which stops before MQTT.",
            );
            Some(false)
        }
    }
}

/// Whether the local broker of each bridge takes us: a running daemon's connections don't notice.
async fn bridges(inputs: &Inputs) -> bool {
    let mut all = true;
    for bridge in &inputs.config.bridge {
        match unless_interrupted(local::check(bridge, &mut report)).await {
            Some(passed) => all &= passed,
            None => return false,
        }
    }
    all
}

/// `None` if a signal has ended it.
async fn go(inputs: &Inputs, until: Until) -> Option<bool> {
    let Inputs { config, means, .. } = inputs;
    let credentials = match means {
        Means::Own(credentials, _) => credentials,
        Means::Claim(claim) => return with_claim(config, claim, until).await,
    };
    let standing = noted_at(&config.outbox.path, &config.connection);
    // Not every account has the rotator.
    let at_times = config.services_at_times().into_iter().filter(|service| *service != Service::Rotator);
    let services = config.services().into_iter().chain(at_times);
    let services = services.filter_map(|service| service.filters(config.names()).ok());
    let of_services = services.flatten().map(|filter| (filter, Qos::AtLeastOnce)).collect();
    let wanted = Wanted { configured: config.filters(), allowed: allowed(config), of_services };
    let mut check = Check::new(&config.connection, credentials, wanted, publications(config), standing);
    if until == Until::Tls {
        return Some(check.tls(&mut report).await);
    }
    let passed = unless_interrupted(check.all(&mut report)).await;
    // Where it was interrupted.
    check.hang_up().await;
    if !check.has_begun_session() {
        return passed;
    }
    match daemon::find(config) {
        // Whoever interrupts this, too, gets what he asks for.
        Daemon::Absent => {
            let ended = unless_interrupted(check.end_session(&mut report)).await;
            check.hang_up().await;
            Some(ended? && passed?)
        }
        Daemon::Runs(_) | Daemon::Unknown(_) => {
            failed(
                "gatewire was started meanwhile: this check leaves it the session that it began",
                "The session may lack subscriptions: restart gatewire once with session_expiry = \"0s\".",
            );
            passed.map(|_| false)
        }
    }
}

/// With the claim, as the daemon would ask for an identity: nothing is asked for.
async fn with_claim(config: &Config, claim: &Credentials, until: Until) -> Option<bool> {
    let provisioning = config.provisioning.as_ref()?;
    let told = provisioning.told.as_ref().ok()?;
    // Nothing is left of it at the server.
    let connection = config::Connection {
        client_id: told.client_id.clone(),
        session_expiry: Duration::ZERO,
        will: None,
        birth: None,
        ..config.connection.clone()
    };
    say("note", "there is no identity yet: this connects with the claim, and asks for nothing");
    let wanted = Wanted { of_services: filters_of_claim(&provisioning.template), ..Wanted::default() };
    let mut check = Check::new(&connection, claim, wanted, Vec::new(), None);
    if until == Until::Tls {
        return Some(check.tls(&mut report).await);
    }
    let passed = unless_interrupted(check.all(&mut report)).await;
    // Where it was interrupted.
    check.hang_up().await;
    passed
}

/// What the daemon would subscribe to with the claim.
fn filters_of_claim(template: &str) -> BTreeMap<TopicFilter, Qos> {
    let filters = wire::filters(template).into_iter();
    filters.filter_map(|filter| Some((TopicFilter::new(&filter).ok()?, Qos::AtLeastOnce))).collect()
}

/// What readers may ask for, as long as there is room for a filter.
fn allowed(config: &Config) -> Vec<Allowed> {
    let forwards = config.forward.iter().filter(|_| config.spare_subscriptions > 0);
    let allowed = forwards.flat_map(|forward| {
        let filters = forward.allow.iter().flat_map(|allow| &allow.filters);
        let of =
            |filter: &TopicFilter| Allowed { forward: forward.name.clone(), filter: filter.clone(), qos: forward.qos };
        filters.map(of).collect::<Vec<_>>()
    });
    allowed.collect()
}

/// A message of each publication and each ingest socket, as small as it may be.
fn publications(config: &Config) -> Vec<Publication> {
    let scheduled = config.publish.iter().map(|publish| {
        let payload = publish.payload.constant().unwrap_or_default();
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let Publish { name, topic, qos, retain, .. } = publish;
        let message =
            Outbound { topic: topic.clone(), payload, qos: *qos, retain: *retain, urgent: false, properties: None };
        Publication { by: format!("publish {name}, on {topic}"), message }
    });
    let lines = config.ingest.iter().filter_map(|ingest| {
        // What a filter matches isn't shorter than this by much.
        let topics = ingest.topics.iter().map(|filter| filter.as_str().replace(['+', '#'], "x"));
        let topic = Topic::new(topics.min_by_key(String::len)?.as_str()).ok()?;
        let message = Outbound::trial(topic);
        Some(Publication { by: format!("ingest {}, lines without `qos` (QoS 1)", ingest.name), message })
    });
    scheduled.chain(lines).collect()
}

/// `None` if a signal ends it.
async fn unless_interrupted(work: impl Future<Output = bool>) -> Option<bool> {
    let Ok(mut signals) = Signals::new([nix::libc::SIGINT, nix::libc::SIGTERM, nix::libc::SIGHUP]) else {
        return Some(work.await);
    };
    tokio::select! {
        biased;
        passed = work => Some(passed),
        _ = signals.next() => {
            say("failed", "interrupted");
            None
        }
    }
}

fn report(outcome: StepOutcome) {
    match outcome {
        StepOutcome::Passed(line) => say("ok", &line),
        StepOutcome::Note(line) => say("note", &line),
        StepOutcome::Failed(Failure { message, advice, .. }) => failed(&message, &advice),
    }
}

/// What a running daemon says of its link. Whether all is well.
fn report_daemon(inputs: &Inputs, status: &Value) -> bool {
    let link = &status["link"];
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let (state, since) = (text(&link["state"]), text(&link["since"]));
    let (endpoint, client_id) = (text(&link["endpoint"]), text(&link["client_id"]));
    let connection = &inputs.config.connection;
    if let "none" | "provisioning" = status["identity"]["state"].as_str().unwrap_or_default() {
        let identity = &status["identity"];
        let step = identity["step"].as_str().map_or_else(String::new, |step| format!(", at {step}"));
        let error = &identity["last_error"];
        let because = error["message"].as_str().map_or_else(String::new, |message| format!(": {message}"));
        failed(
            &format!("gatewire is running, and has no identity yet{step}{because}"),
            error["advice"].as_str().unwrap_or("Try again in a moment."),
        );
        return false;
    }
    if endpoint != connection.endpoint || client_id != connection.client_id {
        say("note", "it runs with a different configuration: `systemctl restart gatewire` applies the new one");
    }
    let lacks = |refused: &Value| {
        refused["missing"].as_str().map_or_else(String::new, |missing| format!("The policy lacks {missing}."))
    };
    let refused = link["filters_refused"].as_array().map_or(&[][..], |refused| &refused[..]);
    for refused in refused {
        let (filter, reason) = (text(&refused["filter"]), text(&refused["reason"]));
        failed(&format!("the server refuses the filter `{filter}`: {reason}"), &lacks(refused));
    }
    let services = status["services"].as_object();
    let refused_services: Vec<_> =
        services.into_iter().flatten().filter(|(_, service)| service["state"] == "refused").collect();
    for (name, service) in &refused_services {
        failed(
            &format!("[{name}] is left out, because the server refuses it: {}", text(&service["reason"])),
            "Allow what `gatewire policy` prints, or remove the table if the account doesn't have the service.",
        );
    }
    for aside in status["outbox"]["quarantine"].as_array().into_iter().flatten() {
        let (topic, reason) = (text(&aside["topic"]), text(&aside["reason"]));
        say("note", &format!("messages on `{topic}` are set aside, the server refuses them: {reason}"));
        say("", &lacks(aside));
    }
    // What is held because nothing is accepted.
    let held = &status["outbox"]["held"];
    let is_refused = held["cause"] == "refused";
    if is_refused {
        failed(&format!("the server accepts no message: {}", text(&held["reason"])), &text(&held["advice"]));
    }
    let running = "gatewire is running; nothing is tried beside it, because a second connection would end its own";
    if state == "connected" {
        say("ok", &format!("{running}. It is connected to {endpoint} as `{client_id}` since {since}"));
        return refused.is_empty() && refused_services.is_empty() && !is_refused;
    }
    let error = &link["last_error"];
    match error["message"].as_str() {
        Some(message) => failed(
            &format!("{running}. It isn't connected ({state} since {since}): {message}"),
            error["advice"].as_str().unwrap_or_default(),
        ),
        None => failed(&format!("{running}. It isn't connected yet ({state} since {since})"), "Try again in a moment."),
    }
    false
}

fn failed(message: &str, advice: &str) {
    say("failed", message);
    say("", advice);
}

fn say(kind: &str, text: &str) {
    if kind.is_empty() && text.is_empty() {
        return;
    }
    output::say(&format!("  {kind:<8} {text}"));
}
