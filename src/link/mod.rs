//! The one connection to IoT Core: connects, keeps it, says why it ended, waits, and connects again, for ever.
//!
//! [`session`] decides what MQTT has to say and [`pace`] when; [`transport`] opens the way with the [`credentials`];
//! [`connection`] moves bytes for as long as one connection lasts; [`diagnosis`] explains its end to people.

mod connection;
pub(crate) mod credentials;
pub(crate) mod diagnosis;
mod pace;
mod session;
pub(crate) mod state;
#[cfg(test)]
pub(crate) mod test_pki;
pub(crate) mod transport;

use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::config;
use crate::inbox::Inbox;
use crate::limits::{MAX_IN_FLIGHT, MAX_PACKET};
use crate::message::{Qos, TopicFilter};
use crate::observe::journal;
use crate::outbox::Outbox;
use crate::stop::Stop;
use crate::systemd::Notifier;
use connection::{Cause, Connection};
use credentials::Credentials;
use diagnosis::{Failure, LinkError, Peer, Phase, Sent};
use pace::{Backoff, ConnectLimit, Quota};
use session::{End, Malformed, Options, Session};
use state::LinkState;
use transport::Connector;

/// A failure that goes on is explained in full again after this long.
const EXPLAIN_AGAIN: Duration = Duration::from_secs(3600);

/// How many of the packets sent last are named when the server closes the connection.
const SUSPECTS: usize = 5;

/// The link and its neighbours.
pub(crate) struct Link {
    pub(crate) config: config::Connection,
    pub(crate) credentials: Credentials,
    pub(crate) outbox: Rc<Outbox>,
    pub(crate) inbox: Rc<Inbox>,
    pub(crate) notifier: Rc<Notifier>,
    pub(crate) state: Rc<LinkState>,
    pub(crate) stop: Rc<Stop>,
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
            client_id: config.client_id.clone(),
            clean_session: config.session_expiry.is_zero(),
            keep_alive: config.keep_alive,
            ack_timeout: config.ack_timeout,
            max_in_flight: MAX_IN_FLIGHT,
        };
        let mut lasting = Lasting {
            connector: Connector::new(config, &self.credentials),
            session: Session::new(options, filters),
            quota: Quota::new(&config.rate_limit, Instant::now()),
            backoff: Backoff::new(&config.backoff),
            connects: ConnectLimit::new(&config.rate_limit),
            explained: None,
        };
        while !self.stop.is_requested() {
            let ended = self.attempt(&mut lasting).await;
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
    fn connected(&self, session_present: bool) {
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

    fn filter_refused(&self, filter: &TopicFilter) {
        self.state.filter_refused(filter.as_str());
        log::error!(
            GATEWIRE_EVENT = "subscribe_refused", GATEWIRE_FILTER = filter.as_str();
            "the server refused to subscribe us to `{filter}`: nothing arrives for it, the other filters stand. Add \
             iot:Subscribe on topicfilter/{filter} and iot:Receive on its topics to the certificate's policy; it is asked \
             for again at the next connection"
        );
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
    let phase = match session.is_connected() {
        true => Phase::Connected { last_sent: suspects(session) },
        false => Phase::AwaitingConnack,
    };
    match cause {
        Cause::Closed => LinkError::closed(&peer, phase),
        Cause::Io(error) => LinkError::from_io(&error, &peer, phase),
        Cause::NoConnAck => LinkError::ConnackTimeout { peer, waited: began.elapsed() },
        Cause::Session(End::Refused(code)) => LinkError::ConnackRefused { peer, code },
        Cause::Session(End::NoPingResp(waited)) => LinkError::KeepAliveLost { peer, waited },
        Cause::Session(End::Malformed(Malformed::TooLarge(size))) => {
            LinkError::PacketTooLarge { peer, size, limit: MAX_PACKET }
        }
        Cause::Session(End::Malformed(Malformed::Invalid(detail))) => LinkError::MalformedPacket { peer, detail },
        Cause::Session(End::Violation(detail)) => LinkError::ProtocolViolation { peer, detail },
    }
}

/// What the server hasn't answered, the last sent last.
fn suspects(session: &Session) -> Vec<Sent> {
    let (topics, filters) = session.unanswered();
    let subscribes = filters.cloned().map(Sent::Subscribe);
    let mut suspects: Vec<Sent> = subscribes.chain(topics.cloned().map(Sent::Publish)).collect();
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
