//! The way to a local broker once, step by step: what `gatewire check --connect` does.
//!
//! As a client of its own, with a clean session, so that neither a running daemon nor what the broker keeps for it notices. Nothing
//! is acknowledged, and nothing published, but for `discovery`: two empty messages that aren't retained, on topics of their own, which
//! Home Assistant ignores.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{timeout, timeout_at};

use super::error::{Cause, LocalError, Phase};
use super::said::{discovery_refused, refused_filter};
use super::{explain, options, password};
use crate::client::{StepOutcome, StepReport, hang_up};
use crate::config;
use crate::home_assistant::Device;
use crate::message::{Outbound, Qos, TopicFilter, needed};
use crate::mqtt::reason::Reason;
use crate::mqtt::session::End;
use crate::mqtt::session::dialogue::{Dialogue, Reply};
use crate::mqtt::{Options, Protocol};
use crate::net::credentials::load_for_broker;
use crate::net::{BrokerStream, Brokers as _, MachineBrokers, Reach as _, Reached};
use crate::time;

/// For each answer.
const ACK_TIMEOUT: Duration = Duration::from_secs(20);

/// mosquitto looks at its ACL file when there is a message, not when it is asked for a filter.
const GRANTS_ALL: &str =
    "mosquitto grants every filter, whatever its ACL file says: if nothing comes for one, look there";

/// Goes to the broker of `config`, a line a step. Whether everything passed.
pub(crate) async fn check(config: &config::Bridge, report: StepReport<'_>) -> bool {
    let mut named = |outcome| {
        report(match outcome {
            StepOutcome::Passed(line) => StepOutcome::Passed(format!("bridge {}: {line}", config.name)),
            StepOutcome::Note(line) => StepOutcome::Note(format!("bridge {}: {line}", config.name)),
            StepOutcome::Failed(mut failure) => {
                failure.message = format!("bridge {}: {}", config.name, failure.message);
                StepOutcome::Failed(failure)
            }
        });
    };
    match steps(config, &mut named).await {
        Ok(passed) => passed,
        Err(error) => {
            named(StepOutcome::Failed(error.failure(config)));
            false
        }
    }
}

async fn steps(config: &config::Bridge, report: StepReport<'_>) -> Result<bool, LocalError> {
    let login = config.login.as_ref().map(password::login).transpose().map_err(LocalError::Password)?;
    let tls = config.tls.as_ref().map(load_for_broker).transpose().map_err(LocalError::Credentials)?;
    let mut connector = MachineBrokers.connector(options::way(config));
    connector.set_tls(tls);
    let reached = connector.reach(&mut |step| report(StepOutcome::Passed(step.to_string()))).await;
    let Reached { stream, deadline } = reached.map_err(LocalError::Reach)?;
    let client_id = format!("{}-check-{}", config.client_id, std::process::id());
    let options = Options {
        client_id: client_id.clone(),
        session_expiry: Duration::ZERO,
        will: None,
        ..options::of(config, login)
    };
    let mut talk = Talk { stream, input: BytesMut::new(), dialogue: Dialogue::connect(&options) };
    let (began, connack) = (time::now(), talk.reply(|reply| matches!(reply, Reply::Connected { .. }).then_some(())));
    let connected = timeout_at(deadline, connack).await.unwrap_or(Err(Cause::NoConnAck));
    connected.map_err(|cause| explain(cause, Phase::AwaitingConnack, began))?;
    report(StepOutcome::Passed(format!(
        "MQTT {}: accepted as `{client_id}`, the client id of this check",
        config.protocol.as_str()
    )));
    let mut passed = talk.subscribe_to_all(config, report).await;
    if let (Ok(passed), Some(device)) = (&mut passed, &config.discovery) {
        *passed &= talk.announce(config, device, report).await?;
    }
    talk.close().await;
    passed
}

/// A connection on which CONNECT is said.
struct Talk {
    stream: BrokerStream,
    input: BytesMut,
    dialogue: Dialogue,
}

impl Talk {
    /// As the daemon does: what another filter covers isn't asked for, unless that one is refused.
    async fn subscribe_to_all(&mut self, config: &config::Bridge, report: StepReport<'_>) -> Result<bool, LocalError> {
        let filters = config.filters();
        let (mut asked, mut refused) = (BTreeSet::new(), BTreeSet::new());
        loop {
            let next = needed(&filters, |filter| refused.contains(filter)).find(|(filter, _)| !asked.contains(*filter));
            let Some((filter, qos)) = next.map(|(filter, qos)| (filter.clone(), qos)) else { break };
            asked.insert(filter.clone());
            match self.subscribe(&filter, qos).await? {
                Ok(Qos::AtLeastOnce) => {
                    report(StepOutcome::Passed(format!("SUBSCRIBE: `{filter}` granted with QoS 1")))
                }
                Ok(Qos::AtMostOnce) => report(StepOutcome::Passed(format!(
                    "SUBSCRIBE: `{filter}` granted with QoS 0, not 1: messages for it may be lost while gatewire is away"
                ))),
                Err(reason) => {
                    report(StepOutcome::Failed(refused_filter(config, &filter, &reason)));
                    refused.insert(filter);
                }
            }
        }
        if asked.len() > refused.len() {
            report(StepOutcome::Note(GRANTS_ALL.to_owned()));
        }
        Ok(refused.is_empty())
    }

    /// Whether the broker takes what `discovery` publishes, as far as it says so.
    async fn announce(
        &mut self,
        config: &config::Bridge,
        device: &Device,
        report: StepReport<'_>,
    ) -> Result<bool, LocalError> {
        let [configs, states] = device.published();
        if config.protocol == Protocol::Mqtt311 {
            report(StepOutcome::Note(format!(
                "in MQTT 3.1.1 a broker doesn't say whether it takes what is published: for `discovery` it must take `{configs}` and \
                 `{states}`"
            )));
            return Ok(true);
        }
        for topic in device.trials() {
            let shown = topic.to_string();
            let message = Outbound::trial(topic);
            let refused = match self.dialogue.refuses(&message, time::now()) {
                Some(rejection) => Some(rejection.to_string()),
                None => self.publish(&message, &shown).await?.err().map(|reason| format!("reason code {reason}")),
            };
            let Some(why) = refused else {
                report(StepOutcome::Passed(format!("PUBLISH: `{shown}` accepted, as `discovery` needs it")));
                continue;
            };
            report(StepOutcome::Failed(discovery_refused(config, device, &shown, &why)));
            return Ok(false);
        }
        Ok(true)
    }

    /// What the broker says of a message.
    async fn publish(&mut self, message: &Outbound, topic: &str) -> Result<Result<(), Reason>, LocalError> {
        let began = time::now();
        self.dialogue.publish(message, began);
        let phase = || Phase::Connected { last_sent: vec![format!("PUBLISH to `{topic}`")] };
        let puback = self.reply(|reply| match reply {
            Reply::Published(answer) => Some(answer),
            _ => None,
        });
        match timeout(ACK_TIMEOUT, puback).await {
            Ok(answer) => answer.map_err(|cause| explain(cause, phase(), began)),
            Err(_) => Err(LocalError::Session(End::NoPubAck(message.topic.clone(), ACK_TIMEOUT), phase())),
        }
    }

    /// What the broker grants for one filter. Only that filter is unanswered, so that there is one suspect if it closes.
    async fn subscribe(&mut self, filter: &TopicFilter, qos: Qos) -> Result<Result<Qos, Reason>, LocalError> {
        let began: Instant = time::now();
        if let Some(Reply::Subscription(ruled_out)) = self.dialogue.subscribe(filter, qos) {
            return Ok(ruled_out);
        }
        let phase = || Phase::Connected { last_sent: vec![format!("SUBSCRIBE to `{filter}`")] };
        let suback = self.reply(|reply| match reply {
            Reply::Subscription(answer) => Some(answer),
            _ => None,
        });
        match timeout(ACK_TIMEOUT, suback).await {
            Ok(answer) => answer.map_err(|cause| explain(cause, phase(), began)),
            Err(_) => Err(LocalError::Session(End::NoSubAck(filter.clone(), ACK_TIMEOUT), phase())),
        }
    }

    /// Writes what there is to say and reads until `take` has found its answer.
    async fn reply<T>(&mut self, take: impl Fn(Reply) -> Option<T>) -> Result<T, Cause> {
        let output = self.dialogue.output().split();
        let written = async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        };
        let unwritten = written.await.err();
        loop {
            // A broker that has closed while we wrote may have said why.
            let read = self.stream.read_buf(&mut self.input).await;
            match (read, &unwritten) {
                (Err(error), _) => return Err(Cause::Io(error)),
                (Ok(0), None) => return Err(Cause::Closed),
                (Ok(0), Some(error)) => return Err(Cause::Io(io::Error::from(error.kind()))),
                (Ok(_), _) => {}
            }
            while let Some(reply) = self.dialogue.receive(&mut self.input).map_err(Cause::Session)? {
                if let Some(answer) = take(reply) {
                    return Ok(answer);
                }
            }
        }
    }

    /// Says DISCONNECT and lets the broker close.
    async fn close(mut self) {
        self.dialogue.disconnect();
        // There is nothing to lose.
        let _ = hang_up(&mut self.stream, &self.dialogue.output().split(), &mut self.input).await;
    }
}
