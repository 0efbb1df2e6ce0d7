//! The way to the server once, step by step: what `gatewire check --connect` does.
//!
//! It sends the daemon's own CONNECT, and leaves everything as it was: a DISCONNECT ends it, so that its will isn't published,
//! whatever happens but SIGKILL. Nothing is published or acknowledged, and a session that the server has kept stays, with the
//! filters that it had. A session that the check itself has begun is ended again ([`Check::end_session`]): the daemon would take
//! it for its own and miss its subscriptions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::sleep;

use super::connect::{LinkConnector, Opened};
use super::diagnosis::{FilterRefused, LinkError, Shown};
use super::pace::ConnectLimit;
use super::refusals::terms_remedy;
use super::reload::options;
use super::talk::Talk;
use crate::certificate::Whose;
use crate::client::{Failure, StepOutcome, StepReport};
use crate::config;
use crate::duration::written;
use crate::message::{Outbound, Qos, TopicFilter, needed};
use crate::mqtt::Options;
use crate::mqtt::reason::Reason;
use crate::net::credentials::Credentials;
use crate::net::{Connector, Endpoint, TlsTcpStream};
use crate::time;

/// How often it is tried to end the session that the check has begun.
const ATTEMPTS_TO_END: usize = 3;

/// What to do where an acknowledgement is missing.
const NO_ANSWER: &str = "The network on the way loses packets, or the server is overloaded or doesn't answer what it doesn't allow: its \
    log tells. Run the check again; if this repeats, raise connection.ack_timeout.";
const CHANGED_NETWORK: &str = "The network has changed (DHCP, another Wi-Fi, cable or modem). Run the check again.";

/// Something that the daemon would publish: where it is configured, and a message, of the least size that is known.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) by: String,
    pub(crate) message: Outbound,
}

/// What the daemon would subscribe to.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) configured: BTreeMap<TopicFilter, Qos>,
    /// Within what readers may ask for more.
    pub(crate) allowed: Vec<Allowed>,
    /// What it would subscribe to after that, for services: the server may close the connection on these.
    pub(crate) of_services: BTreeMap<TopicFilter, Qos>,
}

/// A filter of `forward.allow`.
#[derive(Debug, Clone)]
pub(crate) struct Allowed {
    /// The name of the forward.
    pub(crate) forward: String,
    pub(crate) filter: TopicFilter,
    pub(crate) qos: Qos,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Check {
    config: config::Connection,
    wanted: Wanted,
    /// What the daemon would publish.
    publications: Vec<Publication>,
    /// Those that a session which the server has kept may hold, if that is known.
    standing: Option<BTreeSet<TopicFilter>>,
    connector: LinkConnector<Connector>,
    connects: ConnectLimit,
    has_begun_session: bool,
    /// The server has kept one from before.
    has_session: bool,
    /// Whose certificate it connects with.
    whose: Whose,
    /// The connection on which CONNECT was sent, until DISCONNECT is.
    talk: Option<Talk<TlsTcpStream>>,
}

impl Check {
    /// `standing` is what the daemon's session may hold, if it has noted that.
    pub(crate) fn new(
        config: &config::Connection,
        credentials: &Credentials,
        wanted: Wanted,
        publications: Vec<Publication>,
        standing: Option<BTreeSet<TopicFilter>>,
    ) -> Check {
        Check {
            config: config.clone(),
            wanted,
            publications,
            standing,
            connector: LinkConnector::once(config, credentials),
            connects: ConnectLimit::new(&config.rate_limit),
            has_begun_session: false,
            has_session: false,
            whose: credentials.whose().clone(),
            talk: None,
        }
    }

    /// DNS, TCP and TLS. Whether they passed.
    pub(crate) async fn tls(&mut self, report: StepReport<'_>) -> bool {
        self.open(report).await.map_err(|error| report(failed(&error))).is_ok()
    }

    /// All steps, each with its own limit of time. Whether they passed. Should it not be run to its end, [`Check::hang_up`] is due.
    pub(crate) async fn all(&mut self, report: StepReport<'_>) -> bool {
        let passed = self.steps(report).await.unwrap_or_else(|error| {
            report(failed(&error));
            false
        });
        self.hang_up().await;
        passed
    }

    /// Says DISCONNECT, if that is due: without it the server would publish the will.
    pub(crate) async fn hang_up(&mut self) {
        if let Some(talk) = self.talk.take() {
            talk.close().await;
        }
    }

    async fn steps(&mut self, report: StepReport<'_>) -> Result<bool, LinkError> {
        self.connect(report).await?;
        let (mut passed, mut granted_anew) = (self.is_allowed(report), Vec::new());
        let ack_timeout = self.config.ack_timeout;
        let Wanted { configured, allowed, of_services } = std::mem::take(&mut self.wanted);
        passed &= self.subscribe(&configured, &mut granted_anew, report).await?;
        for allowed in each_needed(&allowed, &configured) {
            passed &= self.subscribe_as_a_reader(allowed, report).await?;
        }
        passed &= self.subscribe(&of_services, &mut granted_anew, report).await?;
        for filter in &granted_anew {
            let Some(talk) = &mut self.talk else { break };
            talk.unsubscribe(filter, ack_timeout).await?;
        }
        Ok(passed)
    }

    /// Subscribes to each of these, and notes what is granted that the session didn't hold. Whether all are.
    async fn subscribe(
        &mut self,
        filters: &BTreeMap<TopicFilter, Qos>,
        granted_anew: &mut Vec<TopicFilter>,
        report: StepReport<'_>,
    ) -> Result<bool, LinkError> {
        // As the daemon does: what another filter covers isn't asked for, unless that one is refused.
        let (mut asked, mut refused) = (BTreeSet::new(), BTreeSet::new());
        loop {
            let next = needed(filters, |filter| refused.contains(filter)).find(|(filter, _)| !asked.contains(*filter));
            let Some((filter, qos)) = next.map(|(filter, qos)| (filter.clone(), qos)) else { break };
            asked.insert(filter.clone());
            let Some(talk) = &mut self.talk else { break };
            match talk.subscribe(&filter, qos, self.config.ack_timeout).await? {
                Ok(granted) => {
                    report(StepOutcome::Passed(subscribed(&filter, qos, granted)));
                    granted_anew.extend(Some(filter).filter(|filter| self.is_new(filter)));
                }
                Err(reason) => {
                    refused.insert(filter.clone());
                    report(StepOutcome::Failed(self.refused(filter, reason)));
                }
            }
        }
        Ok(refused.is_empty())
    }

    /// Subscribes to all that readers may ask for within `allowed`, and gives it back at once. Whether it is granted.
    async fn subscribe_as_a_reader(&mut self, allowed: &Allowed, report: StepReport<'_>) -> Result<bool, LinkError> {
        let Allowed { forward, filter, qos } = allowed;
        // In a session of somebody else it might be theirs.
        if !self.has_begun_session && self.has_session && self.standing.is_none() {
            report(StepOutcome::Note(format!(
                "`{filter}`, which forward {forward} lets its readers ask for, isn't tried"
            )));
            return Ok(true);
        }
        let Some(talk) = &mut self.talk else { return Ok(true) };
        let resources = filter.as_str().replace(['+', '#'], "*");
        let needs = format!("iot:Subscribe on topicfilter/{resources} and iot:Receive on topic/{resources}");
        let answer = talk.subscribe(filter, *qos, self.config.ack_timeout).await;
        let answer = answer.inspect_err(|_| {
            report(StepOutcome::Note(format!(
                "readers of forward {forward} may ask for what is within `{filter}`: at AWS the policy needs {needs}"
            )));
        });
        match answer? {
            Ok(granted) => {
                let granted = subscribed(filter, *qos, granted);
                report(StepOutcome::Passed(format!("{granted}, for readers of forward {forward}")));
                if !self.standing.as_ref().is_some_and(|standing| standing.contains(filter))
                    && let Some(talk) = &mut self.talk
                {
                    talk.unsubscribe(filter, self.config.ack_timeout).await?;
                }
                Ok(true)
            }
            Err(reason) => {
                let mut failure = self.refused(filter.clone(), reason);
                failure
                    .message
                    .push_str(&format!(", within which readers of forward {forward} may ask for filters (`allow`)"));
                failure.advice = format!(
                    "The policy lacks {needs}: add what `gatewire policy` prints, or let `allow` cover only what the policy does."
                );
                report(StepOutcome::Failed(failure));
                Ok(false)
            }
        }
    }

    fn refused(&self, filter: TopicFilter, reason: Reason) -> Failure {
        let (protocol, whose) = (self.config.protocol, self.whose.clone());
        let is_iot_core = Endpoint::from(&self.config).is_iot_core();
        Failure::from(&FilterRefused { protocol, filter, reason, is_iot_core, whose })
    }

    /// Whether the CONNACK allows what is configured.
    fn is_allowed(&self, report: StepReport<'_>) -> bool {
        let Some(talk) = &self.talk else { return true };
        let mut is_allowed = true;
        for Publication { by, message } in &self.publications {
            let Some(rejection) = talk.dialogue.refuses(message, time::now()) else { continue };
            is_allowed = false;
            report(StepOutcome::Failed(Failure {
                code: "not_allowed",
                message: format!("{by}: the server doesn't accept its messages: {rejection}"),
                advice: terms_remedy(&rejection).to_owned(),
            }));
        }
        is_allowed
    }

    /// Whether the session that the server has kept didn't hold this filter before the check.
    fn is_new(&self, filter: &TopicFilter) -> bool {
        !self.has_begun_session && self.standing.as_ref().is_some_and(|standing| !standing.contains(filter))
    }

    /// Whether the server holds a session now because of the check.
    pub(crate) fn has_begun_session(&self) -> bool {
        self.has_begun_session
    }

    /// Ends the session that the check has begun: a clean one takes its place, and ends with its connection. Whether that
    /// worked. The caller has made sure that no daemon runs: it would lose its session.
    pub(crate) async fn end_session(&mut self, report: StepReport<'_>) -> bool {
        let mut attempts = 1;
        loop {
            match self.clean_session().await {
                Ok(()) => {
                    report(StepOutcome::Passed("session: the one that this check began is ended again".to_owned()));
                    return true;
                }
                Err(error) if attempts == ATTEMPTS_TO_END => {
                    report(StepOutcome::Failed(left_behind(&error, self.config.session_expiry)));
                    return false;
                }
                Err(_) => attempts += 1,
            }
        }
    }

    async fn clean_session(&mut self) -> Result<(), LinkError> {
        let connection = self.open(&mut |_| {}).await?;
        let begun = self.begin(connection, Duration::ZERO).await.map(|_| self.has_begun_session = false);
        self.hang_up().await;
        begun
    }

    /// Says CONNECT; whether the server had the session.
    async fn begin(&mut self, connection: Opened<TlsTcpStream>, expiry: Duration) -> Result<bool, LinkError> {
        let deadline = connection.deadline;
        let options = Options { session_expiry: expiry, ..options(&self.config) };
        let connected = self.talk.insert(Talk::new(connection, &options)).connected(deadline).await;
        // To one that has refused or closed there is nothing more to say.
        if connected.as_ref().is_err_and(|error| !matches!(error, LinkError::ConnackTimeout { .. })) {
            self.talk = None;
        }
        connected
    }

    async fn open(&mut self, report: StepReport<'_>) -> Result<Opened<TlsTcpStream>, LinkError> {
        sleep(self.connects.wait(time::now())).await;
        self.connects.note(time::now());
        self.connector.connect(&mut |step| report(StepOutcome::Passed(step.to_string()))).await
    }

    async fn connect(&mut self, report: StepReport<'_>) -> Result<(), LinkError> {
        let connection = self.open(report).await?;
        let began = time::now();
        let expiry = self.config.session_expiry;
        let client_id = self.config.client_id.clone();
        report(StepOutcome::Note(format!(
            "MQTT: another device that is connected as `{client_id}` is disconnected by this; a client id is for one device \
            alone"
        )));
        let session_present = self.begin(connection, expiry).await?;
        self.has_begun_session = !session_present && !expiry.is_zero();
        self.has_session = session_present;
        let session = match (session_present, expiry.is_zero()) {
            (true, _) => "its session was kept, and stays",
            (false, true) => "a clean session",
            (false, false) => "a new session",
        };
        let version = self.config.protocol.as_str();
        let will =
            self.config.will.as_ref().map_or_else(String::new, |will| format!(", with its will on {}", will.topic));
        report(StepOutcome::Passed(format!(
            "MQTT {version}: accepted as `{client_id}`{will}; {session} ({})",
            Shown(time::since(began))
        )));
        if session_present && self.standing.is_none() {
            report(StepOutcome::Note(format!(
                "the session of `{client_id}` isn't from gatewire on this machine, according to its database: look for another \
                device or a test client with this client id"
            )));
        }
        Ok(())
    }
}

fn failed(error: &LinkError) -> StepOutcome {
    let mut failure = Failure::from(error);
    match error {
        // Unlike the daemon, a check does nothing again.
        LinkError::Unanswered { .. } => NO_ANSWER.clone_into(&mut failure.advice),
        LinkError::AddressLost { .. } => CHANGED_NETWORK.clone_into(&mut failure.advice),
        _ => {}
    }
    StepOutcome::Failed(failure)
}

/// Of what readers may ask for each filter that neither the configuration nor another of them covers.
fn each_needed<'a>(
    allowed: &'a [Allowed],
    configured: &BTreeMap<TopicFilter, Qos>,
) -> impl Iterator<Item = &'a Allowed> {
    let covers = |filter: &TopicFilter, other: &TopicFilter| filter == other || filter.covers(other);
    allowed.iter().enumerate().filter_map(move |(index, one)| {
        let by_earlier = allowed[..index].iter().any(|other| covers(&other.filter, &one.filter));
        let by_later =
            allowed[index + 1..].iter().any(|other| other.filter != one.filter && covers(&other.filter, &one.filter));
        let is_configured = configured.keys().any(|filter| covers(filter, &one.filter));
        (!by_earlier && !by_later && !is_configured).then_some(one)
    })
}

fn subscribed(filter: &TopicFilter, asked: Qos, granted: Qos) -> String {
    let lower = if granted < asked { ", not 1: messages for it may be lost on the way here" } else { "" };
    format!("SUBSCRIBE: `{filter}` granted with QoS {}{lower}", granted.level())
}

fn left_behind(error: &LinkError, session_expiry: Duration) -> Failure {
    Failure {
        code: "session_left_behind",
        message: format!("ending the session that this check began: {error}"),
        advice: format!(
            "The server keeps it until it expires ({}), and gatewire would take it for its own, with the filters that it \
            remembers: start it after that, or once with session_expiry = \"0s\".",
            written(session_expiry)
        ),
    }
}
