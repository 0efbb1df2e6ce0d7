//! The one connection to IoT Core: connects, keeps it, says why it ended, waits, and connects again, for ever.
//!
//! The MQTT session ([`crate::mqtt`]) decides what is said, [`pace`] when, and [`throughput`] how much of it the network takes;
//! [`connect`] opens the way, [`connection`] moves bytes as long as a connection lasts; [`mod@explain`] finds why it ended, and
//! [`diagnosis`] says so to people.

mod birth;
pub(crate) mod check;
pub(crate) mod connect;
mod connection;
pub(crate) mod diagnosis;
mod explain;
mod history;
mod holding;
mod identified;
mod opening;
pub(crate) mod pace;
mod refusals;
mod reload;
mod requests;
mod said;
pub(crate) mod state;
pub(crate) mod talk;
mod throughput;

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::client::{Backoff, Before, Failure, Reconfigured, Say, SessionMemory, Telling};
use crate::config;
use crate::count::count;
use crate::duration::{told, written};
use crate::inbox::Inbox;
use crate::journal;
use crate::meter::Meter;
use crate::mqtt::session::Session;
use crate::net::credentials::Fingerprint;
use crate::net::{Network, Purpose};
use crate::outbox::Outbox;
use crate::stop::Stop;
use crate::store::Store;
use crate::systemd::Notifier;
use crate::thing_services::ThingServices;
use crate::time;
use connect::LinkConnector;
use connection::Connection;
use diagnosis::{Closes, LinkError};
use explain::{explain, phase};
use pace::{ConnectLimit, Quota};
pub(crate) use reload::{Requested, Setup, options};
pub(crate) use said::SaidOnce;
use state::LinkState;

/// After so many connections in a row that have ended soon the next has a line only once it has lasted for `stable_after`.
const SHORT: u32 = 3;

/// The link and its neighbours.
pub(crate) struct Link<N> {
    pub(crate) network: Rc<N>,
    pub(crate) setup: RefCell<Rc<Setup>>,
    /// [`Link::setup`] has changed, and isn't applied yet.
    pub(crate) changed: Reconfigured,
    /// Not of [`Link::setup`]: no wait for the next attempt ends for it, and no connection.
    pub(crate) requested: Requested,
    pub(crate) outbox: Rc<Outbox>,
    pub(crate) inbox: Rc<Inbox>,
    pub(crate) services: Rc<ThingServices>,
    pub(crate) meter: Rc<Meter>,
    pub(crate) notifier: Rc<Notifier>,
    pub(crate) state: Rc<LinkState>,
    pub(crate) stop: Rc<Stop>,
    pub(crate) store: Rc<Store>,
    pub(crate) memory: RefCell<Option<Rc<SessionMemory>>>,
    /// Credential files that could not be used, so that it isn't said at each attempt.
    pub(crate) refused_credentials: RefCell<Option<Fingerprint>>,
    pub(crate) said: SaidOnce,
}

/// What lasts from one connection to the next.
struct Lasting<N: Network> {
    connector: LinkConnector<N::Connector>,
    session: Session,
    quota: Quota,
    backoff: Backoff,
    connects: ConnectLimit,
    /// What all of this was made for.
    setup: Rc<Setup>,
    telling: Telling,
    closes: Closes,
}

/// Why there is no connection any more, though nothing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The daemon stops.
    Stopped,
    /// The configuration has changed in a way that needs a new connection, or one at once.
    Reconfigured,
    /// The server allows nothing that waits, and may do so on another connection.
    OtherLimits,
}

impl<N: Network> Link<N> {
    /// Keeps the link until the daemon stops; it never gives up.
    pub(crate) async fn run(&self) {
        self.identified().await;
        let setup = self.setup();
        let Some(credentials) = &setup.credentials else { return self.state.stopped() };
        let remembered = self.recall(&setup).await;
        let connection = &setup.connection;
        let mut lasting = Lasting {
            connector: LinkConnector::new(&*self.network, connection, credentials, Purpose::Link),
            session: Session::new(reload::options(connection), setup.filters.clone(), remembered),
            quota: Quota::new(&connection.rate_limit, time::now()),
            backoff: Backoff::new(&connection.backoff),
            connects: ConnectLimit::new(&connection.rate_limit),
            setup: Rc::clone(&setup),
            telling: Telling::default(),
            closes: Closes::default(),
        };
        // What is set aside mustn't be sent, and no id given out twice.
        self.recalled().await;
        while self.identified().await {
            self.apply_changes(&mut lasting).await;
            let ended = self.attempt(&mut lasting).await;
            if let Err(error) = &ended {
                self.judge(error, &mut lasting);
            }
            lasting.session.connection_lost();
            self.note_holding(&mut lasting.session, time::now());
            self.outbox.link_down();
            self.inbox.link_down();
            self.services.connection_lost();
            match ended {
                Ok(Ended::Stopped) => break,
                Ok(Ended::Reconfigured | Ended::OtherLimits) => self.wait_for_the_limit(&lasting.connects).await,
                Err(error) => self.wait(&error, &mut lasting).await,
            }
        }
        // What is asked and not answered may have happened or not: the note isn't sure of it, and stays.
        if let Some(memory) = self.memory().filter(|_| !lasting.session.is_asking()) {
            memory.end().await;
        }
        self.state.stopped();
    }

    /// What is configured now.
    fn setup(&self) -> Rc<Setup> {
        Rc::clone(&self.setup.borrow())
    }

    fn memory(&self) -> Option<Rc<SessionMemory>> {
        self.memory.borrow().clone()
    }

    /// One connection from DNS to its end.
    async fn attempt(&self, lasting: &mut Lasting<N>) -> Result<Ended, LinkError> {
        self.state.connecting(lasting.connector.certificate_id());
        self.notifier.status(&format!("connecting to {}", lasting.connector.endpoint()));
        self.notifier.ready();
        let began = time::now();
        let connected = match self.open(&mut lasting.connector).await {
            Ok(connected) => connected?,
            Err(interrupted) => return Ok(interrupted),
        };
        let peer = Arc::clone(&connected.peer);
        lasting.connects.note(time::now());
        let mut connection = Connection::new(self, lasting, connected.stream, connected.deadline.into());
        let ended = connection.run().await;
        let connected_at = connection.connected_at();
        self.services.heard_until(lasting.session.heard_at());
        if let Some(connected_at) = connected_at {
            self.said.lasted.set(Some(time::since(connected_at)));
            lasting.backoff.link_up(connected_at);
            if time::since(connected_at) < self.setup().connection.backoff.stable_after {
                lasting.connects.note(time::now());
            }
        }
        ended.map_err(|cause| {
            let error = explain(cause, &peer, began, phase(&lasting.session));
            lasting.closes.ended(error, connected_at.map(time::since))
        })
    }

    /// CONNACK has come. Returns whether it was said: not each time if it is for a moment only ([`Link::has_stayed`]).
    fn connected(&self, session_present: bool, session_expiry: Option<Duration>) -> bool {
        let away = self.state.connected(session_present);
        self.services.connected(session_present, away);
        let away = Duration::from_secs(away.as_secs());
        let setup = self.setup();
        let config::Connection { endpoint, client_id, session_expiry: asked, .. } = &setup.connection;
        let session = match (session_present, asked.is_zero()) {
            (true, _) => "its session was kept: subscriptions remain, queued messages follow",
            (false, true) => "a clean session",
            (false, false) => "a new session, without subscriptions and queued messages",
        };
        let is_said = self.said.short.get() < SHORT;
        let level = if is_said { log::Level::Info } else { log::Level::Debug };
        log::log!(
            level, GATEWIRE_EVENT = "link_up", GATEWIRE_ENDPOINT = endpoint.as_str(), GATEWIRE_CLIENT_ID = client_id.as_str();
            "connected to {endpoint} as `{client_id}`{}; {session}",
            if away.is_zero() { String::new() } else { format!(" after {} without a connection", told(away)) }
        );
        self.outbox.link_up();
        if let Some(expiry) = session_expiry {
            let (given, asked) = (told(expiry), written(*asked));
            log::info!(
                "the server keeps the session for {given} after a disconnect, not for the {asked} of session_expiry"
            );
        }
        self.say_status();
        is_said
    }

    /// A connection has lasted for so long, and wasn't told of because those before it had ended soon.
    fn has_stayed(&self, lasted: Duration) {
        let (setup, short) = (self.setup(), u64::from(self.said.short.take()));
        let config::Connection { endpoint, client_id, .. } = &setup.connection;
        log::info!(
            GATEWIRE_EVENT = "link_up", GATEWIRE_ENDPOINT = endpoint.as_str(), GATEWIRE_CLIENT_ID = client_id.as_str();
            "connected to {endpoint} as `{client_id}` for {}, after {} that ended sooner", told(lasted), count(short, "connection")
        );
    }

    /// Says why there is no link, and waits for the next attempt; for less long if the network changes that was to blame.
    async fn wait(&self, error: &LinkError, lasting: &mut Lasting<N>) {
        let now = time::now();
        let backoff = match error {
            // There is another address already, or one comes soon.
            LinkError::AddressLost { .. } => lasting.backoff.anew(fastrand::f64()),
            _ => lasting.backoff.next_wait(now, fastrand::f64()),
        };
        let wait = backoff.max(lasting.connects.wait(now));
        let failure = Failure::from(error);
        self.notifier.status(&format!("not connected: {}; next attempt {}", failure.message, When(wait)));
        let before = match self.said.lasted.take() {
            Some(lasted) if lasted >= self.setup().connection.backoff.stable_after => Before::Stable,
            Some(_) if self.said.short.get() < SHORT => Before::UpAndSaid,
            Some(_) => Before::Up,
            None => Before::Down,
        };
        match before {
            Before::Stable => self.said.short.set(0),
            Before::Up | Before::UpAndSaid => self.said.short.set(self.said.short.get().saturating_add(1)),
            Before::Down => {}
        }
        report(&failure, wait, lasting.telling.failed(&error.kind(), before, now, journal::now()));
        let is_refusal = matches!(before, Before::Down) && !error.is_of_the_network();
        self.state.failed(failure, is_refusal, after(wait));
        let Lasting { backoff, connects, .. } = lasting;
        let until = now + wait;
        let waited = async {
            tokio::select! {
                biased;
                () = self.network.came(), if error.is_of_the_network() => {
                    // It may have come for a whole fleet.
                    let wait = backoff.anew(fastrand::f64()).min(until.saturating_duration_since(time::now()));
                    self.state.waits_until(after(wait));
                    tokio::time::sleep(wait).await;
                }
                () = tokio::time::sleep(wait) => {}
            }
        };
        // If there is a reason to try at once, the next attempt does.
        let _ = self.unless_interrupted(waited).await;
        self.wait_for_the_limit(connects).await;
    }

    /// IoT Core takes only so many attempts a second, whatever the reason for another.
    async fn wait_for_the_limit(&self, connects: &ConnectLimit) {
        let wait = connects.wait(time::now());
        tokio::select! {
            biased;
            () = self.stop.requested() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    /// Runs something that may take long, with signs of life for the watchdog.
    async fn unless_interrupted<T>(&self, work: impl Future<Output = T>) -> Result<T, Ended> {
        tokio::pin!(work);
        loop {
            let deadline = self.notifier.deadline();
            tokio::select! {
                biased;
                () = self.stop.requested() => return Err(Ended::Stopped),
                () = self.changed.announced() => return Err(Ended::Reconfigured),
                done = &mut work => return Ok(done),
                () = until(deadline) => self.notifier.alive(time::now()),
            }
        }
    }
}

/// `in 1.5 s`, or `at once`.
struct When(Duration);

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_zero() {
            true => f.write_str("at once"),
            false => write!(f, "in {:.1} s", self.0.as_secs_f64()),
        }
    }
}

/// Says a failure, in full, in short, or not any more.
fn report(failure: &Failure, wait: Duration, say: Say) {
    let Failure { code, message, advice } = failure;
    match say {
        Say::InFull(row) => log::warn!(
            GATEWIRE_EVENT = "link_down", GATEWIRE_ERROR = *code;
            "{message}{row}; next attempt {}. {advice}", When(wait)
        ),
        Say::Briefly(row) => log::warn!(
            GATEWIRE_EVENT = "link_down", GATEWIRE_ERROR = *code;
            "{message}{row}; next attempt {}", When(wait)
        ),
        Say::Nothing => log::debug!("{message}; next attempt {}", When(wait)),
    }
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
