//! The one connection to IoT Core: connects, keeps it, says why it ended, waits, and connects again, for ever.
//!
//! [`session`] decides what MQTT has to say and [`pace`] when; [`transport`] opens the way with the [`credentials`];
//! [`connection`] moves bytes for as long as one connection lasts; [`diagnosis`] explains its end to people.

mod connection;
pub(crate) mod credentials;
pub(crate) mod diagnosis;
mod memory;
mod pace;
pub(crate) mod reason;
mod refusals;
mod session;
pub(crate) mod state;
mod suspects;
#[cfg(test)]
pub(crate) mod test_pki;
pub(crate) mod transport;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use humantime::format_duration;
use jiff::{SignedDuration, Timestamp};

use crate::config::{self, Protocol};
use crate::inbox::Inbox;
use crate::limits::{MAX_IN_FLIGHT, MAX_PACKET, MAX_PROPERTIES};
use crate::message::{Qos, Topic, TopicFilter};
use crate::observe::journal;
use crate::outbox::Outbox;
use crate::stop::Stop;
use crate::systemd::Notifier;
use connection::{Cause, Connection};
use credentials::Credentials;
use diagnosis::{Failure, LinkError, Peer, Phase, Sent};
pub(crate) use memory::Memory;
use pace::{Backoff, ConnectLimit, Quota};
use reason::{Reason, ReasonCode};
use session::{End, Malformed, Options, Remembered, Session};
use state::LinkState;
use transport::Connector;

/// A failure that goes on is explained in full again after this long.
const EXPLAIN_AGAIN: Duration = Duration::from_secs(3600);

/// How many of the packets sent last are named when the server closes the connection.
const SUSPECTS: usize = 5;

/// The bound on the topics that are named when IoT Core refuses messages.
const MAX_TOPICS_SAID: usize = 256;

/// The link and its neighbours.
pub(crate) struct Link {
    pub(crate) config: config::Connection,
    pub(crate) credentials: Credentials,
    pub(crate) outbox: Rc<Outbox>,
    pub(crate) inbox: Rc<Inbox>,
    pub(crate) notifier: Rc<Notifier>,
    pub(crate) state: Rc<LinkState>,
    pub(crate) stop: Rc<Stop>,
    pub(crate) memory: Option<Rc<Memory>>,
    /// The topics of messages that were refused or cut.
    pub(crate) said: SaidOnce,
}

/// Topics about which something was said, so that it isn't said again.
#[derive(Debug, Default)]
pub(crate) struct SaidOnce(RefCell<HashSet<Topic>>);

impl SaidOnce {
    /// Whether `topic` is new. Once there are [`MAX_TOPICS_SAID`], none is.
    fn first(&self, topic: &Topic) -> bool {
        let mut said = self.0.borrow_mut();
        said.len() < MAX_TOPICS_SAID && said.insert(topic.clone())
    }
}

/// What lasts from one connection to the next.
struct Lasting {
    connector: Connector,
    session: Session,
    quota: Quota,
    backoff: Backoff,
    connects: ConnectLimit,
    /// The last failure explained in full, and when.
    explained: Option<(&'static str, Instant)>,
}

impl Link {
    /// Keeps the link until the daemon stops; it never gives up. `filters` is what the session is to be subscribed to.
    pub(crate) async fn run(&self, filters: BTreeMap<TopicFilter, Qos>) {
        let config = &self.config;
        let options = Options {
            protocol: config.protocol,
            client_id: config.client_id.clone(),
            session_expiry: config.session_expiry,
            keep_alive: config.keep_alive,
            ack_timeout: config.ack_timeout,
            max_in_flight: MAX_IN_FLIGHT,
        };
        let remembered = match &self.memory {
            Some(memory) => memory.recall().await,
            None => Remembered::default(),
        };
        let mut lasting = Lasting {
            connector: Connector::new(config, &self.credentials),
            session: Session::new(options, filters, remembered),
            quota: Quota::new(&config.rate_limit, Instant::now()),
            backoff: Backoff::new(&config.backoff),
            connects: ConnectLimit::new(&config.rate_limit),
            explained: None,
        };
        // What is set aside mustn't be sent.
        self.unless_stopped(self.outbox.recalled()).await;
        while !self.stop.is_requested() {
            let ended = self.attempt(&mut lasting).await;
            if let Err(error) = &ended {
                self.judge(error, &mut lasting);
            }
            lasting.session.connection_lost();
            self.outbox.link_down();
            match ended {
                Ok(()) => break,
                Err(error) => self.wait(&error, &mut lasting).await,
            }
        }
        self.state.stopped();
    }

    /// One connection from DNS to its end. `Ok`: the daemon stops.
    async fn attempt(&self, lasting: &mut Lasting) -> Result<(), LinkError> {
        self.state.connecting();
        self.notifier.status(&format!("connecting to {}", lasting.connector.endpoint()));
        self.notifier.ready();
        let began = Instant::now();
        lasting.connects.attempted(began);
        let mut progress = |step| log::debug!("{step}");
        let Some(connected) = self.unless_stopped(lasting.connector.connect(&mut progress)).await else {
            return Ok(());
        };
        let connected = connected?;
        if let Some(memory) = &self.memory {
            memory.doubt().await;
        }
        let peer = Arc::clone(&connected.peer);
        let Lasting { session, quota, .. } = lasting;
        let mut connection = Connection::new(self, session, quota, connected.stream, connected.deadline.into());
        let ended = connection.run().await;
        if let Some(connected_at) = connection.connected_at() {
            lasting.backoff.link_up(connected_at);
        }
        ended.map_err(|cause| explain(cause, &peer, began, &lasting.session))
    }

    /// CONNACK has come.
    fn connected(&self, session_present: bool, session_expiry: Option<Duration>) {
        self.state.connected(session_present);
        self.outbox.link_up();
        let (endpoint, client_id) = (&self.config.endpoint, &self.config.client_id);
        let session = match (session_present, self.config.session_expiry.is_zero()) {
            (true, _) => "its session was kept: subscriptions stand, queued messages follow",
            (false, true) => "a clean session",
            (false, false) => "a new session, without subscriptions and queued messages",
        };
        log::info!(
            GATEWIRE_EVENT = "link_up", GATEWIRE_ENDPOINT = endpoint.as_str(), GATEWIRE_CLIENT_ID = client_id.as_str();
            "connected to {endpoint} as `{client_id}`; {session}"
        );
        if let Some(expiry) = session_expiry {
            let (given, asked) = (format_duration(expiry), format_duration(self.config.session_expiry));
            log::info!(
                "the server keeps the session for {given} after a disconnect, not for the {asked} of session_expiry"
            );
        }
        self.notifier.status(&format!("connected to {endpoint} as {client_id}"));
    }

    /// Says why there is no link, and waits for the next attempt.
    async fn wait(&self, error: &LinkError, lasting: &mut Lasting) {
        let now = Instant::now();
        let wait = lasting.backoff.next_wait(now, fastrand::f64()).max(lasting.connects.wait(now));
        let failure = Failure::from(error);
        self.notifier.status(&format!("not connected: {}; next attempt in {wait:.1?}", failure.message));
        report(&failure, wait, lasting);
        self.state.failed(failure, after(wait));
        self.unless_stopped(tokio::time::sleep(wait)).await;
    }

    /// Runs something that may take long, with signs of life for the watchdog. `None`: the daemon stops.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            let deadline = self.notifier.deadline();
            tokio::select! {
                biased;
                () = self.stop.requested() => return None,
                done = &mut work => return Some(done),
                () = until(deadline) => self.notifier.alive(Instant::now()),
            }
        }
    }

    fn filter_refused(&self, filter: &TopicFilter, reason: &Reason) {
        let (said, missing) = refusals::suback_failure(filter, reason);
        self.state.filter_refused(filter, said, missing, journal::now());
        let said = match self.config.protocol {
            Protocol::Mqtt311 => String::new(),
            Protocol::Mqtt5 => format!(" with reason code {reason}"),
        };
        let advice = match (self.config.protocol, reason.code) {
            (Protocol::Mqtt311, _) | (_, ReasonCode::NOT_AUTHORIZED | ReasonCode::UNSPECIFIED) => format!(
                " Add iot:Subscribe on topicfilter/{filter} and iot:Receive on its topics to the certificate's policy;"
            ),
            (Protocol::Mqtt5, _) => " Change it in `filters` of its [[forward]];".to_owned(),
        };
        log::error!(
            GATEWIRE_EVENT = "subscribe_refused", GATEWIRE_FILTER = filter.as_str();
            "the server refused to subscribe us to `{filter}`{said}: nothing arrives for it, the other filters stand.{advice} \
             it is asked for again in an hour"
        );
    }

    /// A message from the server comes without its properties: said once a topic.
    fn properties_left_out(&self, topic: &Topic) {
        if self.said.first(topic) {
            log::warn!(
                GATEWIRE_EVENT = "properties_left_out", GATEWIRE_TOPIC = topic.as_str();
                "a message on `{topic}` carries more than {} KiB of properties: it is passed on without them",
                MAX_PROPERTIES / 1024
            );
        }
    }

    fn filter_downgraded(&self, filter: &TopicFilter) {
        log::warn!(
            GATEWIRE_EVENT = "subscribe_downgraded", GATEWIRE_FILTER = filter.as_str();
            "the server granted `{filter}` with QoS 0 only: messages for it may be lost on the way here"
        );
    }
}

/// A line a failure: in full when it is new or an hour has passed, else a short one.
fn report(failure: &Failure, wait: Duration, lasting: &mut Lasting) {
    let now = Instant::now();
    let Failure { code, message, advice } = failure;
    let known = lasting.explained.is_some_and(|(last, at)| last == *code && now.duration_since(at) < EXPLAIN_AGAIN);
    if known {
        let attempts = lasting.backoff.attempts();
        log::warn!(
            GATEWIRE_EVENT = "link_down", GATEWIRE_ERROR = *code;
            "{message}; attempt {} in {wait:.1?}", attempts + 1
        );
        return;
    }
    lasting.explained = Some((code, now));
    log::warn!(
        GATEWIRE_EVENT = "link_down", GATEWIRE_ERROR = *code;
        "{message}; next attempt in {wait:.1?}. {advice}"
    );
}

/// What a connection's end means, with all that is known about it.
fn explain(cause: Cause, peer: &Arc<Peer>, began: Instant, session: &Session) -> LinkError {
    let peer = Arc::clone(peer);
    let end = match cause {
        Cause::Closed => return LinkError::closed(&peer, phase(session)),
        Cause::Io(error) => return LinkError::from_io(&error, &peer, phase(session)),
        Cause::NoConnAck => return LinkError::ConnackTimeout { peer, waited: began.elapsed() },
        Cause::Session(end) => end,
    };
    match end {
        End::Refused(reason) => LinkError::ConnackRefused { peer, reason },
        End::Disconnected(reason) => LinkError::Disconnected { peer, reason, last_sent: suspects(session) },
        End::NoPingResp(waited) => LinkError::KeepAliveLost { peer, waited },
        End::NoPubAck(topic, waited) => LinkError::Unanswered { peer, sent: Sent::Publish(topic), waited },
        End::NoUnsubAck(filter, waited) => LinkError::Unanswered { peer, sent: Sent::Unsubscribe(filter), waited },
        End::NoSubAck(filter, waited) => LinkError::Unanswered { peer, sent: Sent::Subscribe(filter), waited },
        End::Malformed(Malformed::TooLarge(size)) => LinkError::PacketTooLarge { peer, size, limit: MAX_PACKET },
        End::Malformed(Malformed::Invalid(detail)) => LinkError::MalformedPacket { peer, detail },
        End::Violation(detail) => LinkError::ProtocolViolation { peer, detail },
    }
}

fn phase(session: &Session) -> Phase {
    match session.is_connected() {
        true => Phase::Connected { last_sent: suspects(session) },
        false => Phase::AwaitingConnack,
    }
}

/// What the server hasn't answered, the last sent last.
fn suspects(session: &Session) -> Vec<Sent> {
    let mut suspects: Vec<Sent> = session.last_sent(Instant::now()).map(Sent::from).collect();
    suspects.dedup();
    suspects.split_off(suspects.len().saturating_sub(SUSPECTS))
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// What the clock will show then.
fn after(wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO);
    journal::now().saturating_add(wait).unwrap_or(Timestamp::MAX)
}
