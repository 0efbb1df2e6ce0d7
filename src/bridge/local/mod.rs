//! The connection to the local broker: connects, keeps it, says why it ended, waits, and connects again, for ever.
//!
//! As the link to IoT Core, with the same session and none of what is AWS's: [`connection`] moves bytes and messages for as long as
//! one connection lasts, [`error`] explains its end to people, [`announcements`] tells the local broker of the link to IoT Core.

mod advice;
mod announcements;
mod check;
mod connection;
mod error;
mod fresh;
mod judging;
mod legs;
mod options;
mod password;
mod reload;
mod retained;
mod said;
mod state;
#[cfg(test)]
mod tests;
mod upstream;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::client::{Backoff, Before, Failure, Reconfigured, Say, SessionMemory, Telling};
use crate::config;
use crate::count::count;
use crate::duration::{told, written};
use crate::journal;
use crate::mqtt::Protocol;
use crate::mqtt::session::Session;
use crate::net::{Brokers, Reach};
use crate::stop::Stop;
use crate::store::Store;
use crate::time;
use announcements::Announcements;
pub(crate) use check::check;
use connection::Connection;
use error::{Cause, LocalError, Phase};
pub(crate) use legs::Legs;
pub(crate) use reload::unusable_files;
use said::Said;
pub(crate) use state::{LocalState, LocalStatus};
pub(crate) use upstream::{Figures, Upstream};

/// How long to wait between attempts. `connection.backoff` is for IoT Core alone: no fleet shares the broker on a gateway.
const BACKOFF: config::Backoff = config::Backoff {
    first: Duration::from_secs(1),
    min: Duration::from_secs(1),
    max: Duration::from_secs(30),
    stable_after: Duration::from_secs(30),
};

/// After so many connections in a row that have ended soon the next has a line only once it has lasted.
const SHORT: u32 = 3;

/// A bridge's connection to its local broker, and its neighbours.
pub(crate) struct Local<N, L> {
    network: N,
    legs: Rc<L>,
    config: RefCell<Rc<config::Bridge>>,
    changed: Reconfigured,
    state: Rc<LocalState>,
    upstream: Upstream,
    stop: Rc<Stop>,
    /// It stops because the bridge isn't configured any more.
    is_removed: Cell<bool>,
    store: Rc<Store>,
    said: Said,
}

/// What lasts from one connection to the next.
struct Lasting<C> {
    connector: C,
    session: Session,
    memory: Rc<SessionMemory>,
    backoff: Backoff,
    telling: Telling,
    announcements: Announcements,
    /// What all of this was made for.
    config: Rc<config::Bridge>,
    /// How the last connection ended, if the broker may have ended it for something that was sent. Should it not even listen
    /// now, it was stopped, and for nothing of ours.
    unjudged: Option<LocalError>,
    /// Connections in a row that the broker has closed soon, with nothing in flight.
    closes: u32,
    /// How long the last connection has lasted, until its end is told.
    lasted: Option<Duration>,
    /// How many connections in a row have ended soon.
    short: u32,
}

/// Why there is no connection any more, though nothing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The daemon stops, or the bridge is there no more.
    Stopped,
    /// The configuration has changed in a way that needs a new connection, or one at once.
    Reconfigured,
}

impl<N: Brokers, L: Legs> Local<N, L> {
    /// For a bridge of this configuration, whose broker is told of `upstream`. `stop` is its own.
    pub(crate) fn new(
        network: N,
        legs: Rc<L>,
        config: &config::Bridge,
        upstream: Upstream,
        stop: Rc<Stop>,
        store: Rc<Store>,
    ) -> Local<N, L> {
        Local {
            network,
            legs,
            state: Rc::new(LocalState::new(config)),
            config: RefCell::new(Rc::new(config.clone())),
            changed: Reconfigured::default(),
            upstream,
            stop,
            is_removed: Cell::new(false),
            store,
            said: Said::default(),
        }
    }

    /// What it is doing, for the status document.
    pub(crate) fn state(&self) -> &Rc<LocalState> {
        &self.state
    }

    /// Another configuration of the bridge, after [`Legs`] have taken it up. It is applied at once; the connection ends only if
    /// it has to.
    pub(crate) fn reconfigure(&self, config: &config::Bridge) {
        *self.config.borrow_mut() = Rc::new(config.clone());
        self.changed.announce();
    }

    /// The bridge isn't configured any more. To be said before its `stop`.
    pub(crate) fn remove(&self) {
        self.is_removed.set(true);
    }

    fn config(&self) -> Rc<config::Bridge> {
        Rc::clone(&self.config.borrow())
    }

    /// Keeps the connection until it is to stop; it never gives up.
    pub(crate) async fn run(&self) {
        let config = self.config();
        let memory = Rc::new(SessionMemory::of_bridge(&config, &self.store));
        let remembered = self.recall(&config, &memory).await;
        let mut lasting = Lasting {
            connector: self.network.connector(options::way(&config)),
            session: Session::new(options::of(&config, None), self.legs.filters(), remembered),
            memory,
            backoff: Backoff::new(&BACKOFF),
            telling: Telling::default(),
            announcements: Announcements::new(&config, self.upstream.clone()),
            config,
            unjudged: None,
            closes: 0,
            lasted: None,
            short: 0,
        };
        while !self.stop.is_requested() {
            self.apply_changes(&mut lasting).await;
            let ended = self.attempt(&mut lasting).await;
            lasting.session.connection_lost_unjudged();
            self.legs.link_down();
            match ended {
                Ok(Ended::Stopped) => break,
                Ok(Ended::Reconfigured) => lasting.session.ended_otherwise(),
                Err(error) => {
                    let error = self.weighed(error, &mut lasting);
                    self.wait(&error, &mut lasting).await;
                }
            }
        }
        self.state.stopped();
    }

    /// One connection to its end.
    async fn attempt(&self, lasting: &mut Lasting<N::Connector>) -> Result<Ended, LocalError> {
        self.state.connecting();
        let began = time::now();
        self.prepare(lasting).map_err(|error| *error)?;
        let name = &lasting.config.name;
        let mut progress = |step| log::debug!("bridge {name}: {step}");
        let reached = match self.unless_interrupted(lasting.connector.reach(&mut progress)).await {
            Ok(Ok(reached)) => reached,
            Ok(Err(error)) => return Err(LocalError::Reach(error)),
            Err(interrupted) => return Ok(interrupted),
        };
        self.judge(lasting);
        if lasting.config.protocol == Protocol::Mqtt311 || lasting.memory.is_of_other() {
            // With MQTT 5 all filters are asked for again in any case.
            lasting.memory.doubt().await;
        }
        let mut connection = Connection::new(self, lasting, reached.stream, reached.deadline.into());
        let ended = connection.run().await;
        let connected_at = connection.connected_at();
        lasting.lasted = connected_at.map(time::since);
        if let Some(connected_at) = connected_at {
            lasting.backoff.link_up(connected_at);
        }
        ended.map_err(|cause| explain(cause, Phase::of(&lasting.session), began))
    }

    /// CONNACK has come. Returns whether it was said: not each time if it is for a moment only ([`Local::has_stayed`]).
    fn connected(&self, config: &config::Bridge, session_present: bool, short: u32) -> bool {
        let away = Duration::from_secs(self.state.connected().as_secs());
        let (name, broker, client_id) = (config.name.as_str(), config.broker.to_string(), config.client_id.as_str());
        let session = match session_present {
            true => "its session was kept",
            false => "a new session: retained messages follow",
        };
        let is_said = short < SHORT;
        let level = if is_said { log::Level::Info } else { log::Level::Debug };
        log::log!(
            level, GATEWIRE_EVENT = "bridge_up", GATEWIRE_BRIDGE = name, GATEWIRE_ENDPOINT = broker.as_str(),
            GATEWIRE_CLIENT_ID = client_id;
            "bridge {name}: connected to {broker} as `{client_id}`{}; {session}",
            if away.is_zero() { String::new() } else { format!(" after {} without a connection", told(away)) }
        );
        self.legs.link_up(session_present);
        is_said
    }

    /// A connection has lasted for so long, and wasn't told of because those before it had ended soon.
    fn has_stayed(&self, config: &config::Bridge, short: u32) {
        let (name, broker, client_id) = (config.name.as_str(), config.broker.to_string(), config.client_id.as_str());
        log::info!(
            GATEWIRE_EVENT = "bridge_up", GATEWIRE_BRIDGE = name, GATEWIRE_ENDPOINT = broker.as_str(),
            GATEWIRE_CLIENT_ID = client_id;
            "bridge {name}: connected to {broker} as `{client_id}` for {}, after {} that ended sooner",
            written(BACKOFF.stable_after), count(u64::from(short), "connection")
        );
    }

    /// Says why there is no connection, and waits for the next attempt.
    async fn wait(&self, error: &LocalError, lasting: &mut Lasting<N::Connector>) {
        let now = time::now();
        let wait = lasting.backoff.next_wait(now, fastrand::f64());
        let before = match lasting.lasted.take() {
            Some(lasted) if lasted >= BACKOFF.stable_after => Before::Stable,
            Some(_) if lasting.short < SHORT => Before::UpAndSaid,
            Some(_) => Before::Up,
            None => Before::Down,
        };
        match before {
            Before::Stable => lasting.short = 0,
            Before::Up | Before::UpAndSaid => lasting.short = lasting.short.saturating_add(1),
            Before::Down => {}
        }
        let failure = error.failure(&lasting.config);
        let kind = format!("{} {}", failure.code, lasting.config.broker);
        report(&lasting.config.name, &failure, wait, lasting.telling.failed(&kind, before, now, journal::now()));
        self.state.failed(failure);
        let _ = self.unless_interrupted(tokio::time::sleep(wait)).await;
    }

    async fn unless_interrupted<T>(&self, work: impl Future<Output = T>) -> Result<T, Ended> {
        tokio::select! {
            biased;
            () = self.stop.requested() => Err(Ended::Stopped),
            () = self.changed.announced() => Err(Ended::Reconfigured),
            done = work => Ok(done),
        }
    }
}

/// Says a failure, in full, in short, or not any more.
fn report(name: &str, failure: &Failure, wait: Duration, say: Say) {
    let Failure { code, message, advice } = failure;
    let wait = wait.as_secs_f64();
    match say {
        Say::InFull(row) => log::warn!(
            GATEWIRE_EVENT = "bridge_down", GATEWIRE_BRIDGE = name, GATEWIRE_ERROR = *code;
            "bridge {name}: {message}{row}; next attempt in {wait:.1} s. {advice}"
        ),
        Say::Briefly(row) => log::warn!(
            GATEWIRE_EVENT = "bridge_down", GATEWIRE_BRIDGE = name, GATEWIRE_ERROR = *code;
            "bridge {name}: {message}{row}; next attempt in {wait:.1} s"
        ),
        Say::Nothing => log::debug!("bridge {name}: {message}; next attempt in {wait:.1} s"),
    }
}

/// What a connection's end means. `phase` is how far it had come.
fn explain(cause: Cause, phase: Phase, began: Instant) -> LocalError {
    match cause {
        Cause::Closed => LocalError::Closed(phase),
        Cause::Io(error) => LocalError::of_io(&error, phase),
        Cause::NoConnAck => LocalError::NoConnAck(time::since(began)),
        Cause::Session(end) => LocalError::Session(end, phase),
    }
}
