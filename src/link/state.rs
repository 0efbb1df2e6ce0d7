//! What the link is doing, for those who ask: the status socket and `systemctl status`.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tokio::sync::watch;

use crate::client::{ConnectionState, Failure, LastError};
use crate::config;
use crate::journal::now;
use crate::message::TopicFilter;
use crate::mqtt::session::{Found, SessionCounters};
use crate::net::Endpoint;
use crate::time::{self, Rfc3339};

use super::history::{History, SpanStatus};

/// Shared by the link, which writes it, and those who read.
#[derive(Debug)]
pub(crate) struct LinkState {
    fixed: RefCell<Fixed>,
    current: RefCell<Current>,
    /// Tells those who follow it.
    changes: watch::Sender<ConnectionState>,
    /// With which certificate the last attempt was made, and what has come of it.
    attempt: watch::Sender<Attempt>,
    /// When the last connection ended, or the daemon started: by a clock that nobody sets.
    down_since: Cell<Instant>,
    history: RefCell<History>,
    counters: Cell<SessionCounters>,
    connections: Cell<u64>,
    attempts: Cell<u64>,
    filters_refused: RefCell<Vec<FilterRefused>>,
    birth_refused: RefCell<Option<BirthRefused>>,
    keep_alive: Cell<Option<KeepAliveFound>>,
}

/// An attempt to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// The id at IoT Core of the certificate that it was made with; empty before the first.
    pub(crate) certificate: Arc<str>,
    pub(crate) came: Came,
}

/// What has come of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    /// It is under way.
    Nothing,
    /// CONNACK.
    Connected,
    /// The server was there, and hasn't let us in: why.
    Refused(String),
    /// There was a connection, or the server wasn't reached: nothing is said of the certificate.
    Lost,
}

/// What the configuration says.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Fixed {
    pub(crate) endpoint: String,
    pub(crate) port: u16,
    /// `HOST:PORT`, without the login.
    pub(crate) proxy: Option<String>,
    /// `None` as long as it isn't known. A reader that takes no `null` is served, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_id: Option<String>,
    pub(crate) protocol: &'static str,
}

impl Fixed {
    pub(crate) fn new(connection: &config::Connection) -> Fixed {
        Fixed {
            endpoint: connection.endpoint.clone(),
            port: connection.port,
            proxy: connection.proxy.as_ref().map(|proxy| Endpoint::from(proxy).to_string()),
            client_id: connection.is_named.then(|| connection.client_id.clone()),
            protocol: connection.protocol.as_str(),
        }
    }
}

#[derive(Debug, Clone, Serialize)]
struct Current {
    state: ConnectionState,
    since: Rfc3339,
    /// Since when there has been no connection; `None` while there is one.
    disconnected_since: Option<Rfc3339>,
    session_present: Option<bool>,
    next_attempt: Option<Rfc3339>,
    last_error: Option<LastError>,
}

/// The `link` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct LinkStatus {
    #[serde(flatten)]
    current: Current,
    #[serde(flatten)]
    fixed: Fixed,
    /// Filters that aren't asked for at the moment because the server refuses them.
    filters_refused: Vec<FilterRefused>,
    /// That the server refuses the birth (`connection.birth`), as long as it hasn't taken it.
    birth_refused: Option<BirthRefused>,
    /// What was found, if it is found by trying (`keep_alive = "auto"`).
    keep_alive: Option<KeepAliveFound>,
    /// Left out for those who follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<SpanStatus>>,
}

/// One of `link.filters_refused` of the status document.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FilterRefused {
    #[serde(serialize_with = "as_text")]
    filter: TopicFilter,
    since: Rfc3339,
    /// What the server does, or says.
    reason: String,
    /// What the certificate's policy has to allow, if it is for that.
    missing: Option<String>,
    /// If not, it isn't shown; who asks for it again finds since when.
    #[serde(skip)]
    is_wanted: bool,
}

/// The `link.birth_refused` of the status document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BirthRefused {
    pub(super) topic: String,
    pub(super) since: Rfc3339,
    /// What the server does, or says.
    pub(super) reason: String,
    /// What the certificate's policy has to allow, if it is for that.
    pub(super) missing: Option<String>,
    /// What to do.
    pub(super) advice: String,
    /// Whether it is left out for an hour at a time; else it is sent on each connection, or not as long as a CONNACK rules it out.
    pub(super) left_out: bool,
}

/// The `link.keep_alive` of the status document.
#[derive(Debug, Clone, Copy, Serialize)]
struct KeepAliveFound {
    /// Seconds without a packet, after which a PINGREQ is sent.
    interval: u64,
    /// Seconds without a packet, after which the network had forgotten the connection; `None`: that wasn't seen yet.
    forgotten_after: Option<u64>,
}

fn as_text<S: Serializer>(filter: &TopicFilter, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(filter.as_str())
}

/// The link's part of the `counters` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct LinkCounters {
    /// Attempts to connect.
    attempts: u64,
    /// Those that got as far as CONNACK.
    connections: u64,
    /// PUBLISH packets sent, `resent` included.
    published: u64,
    resent: u64,
    /// PUBLISH packets received.
    received: u64,
    /// Of those, copies of a message that came for another subscription, too: no reader gets them.
    copies: u64,
}

impl LinkState {
    pub(crate) fn new(fixed: Fixed) -> LinkState {
        let start = Rfc3339(now());
        let current = Current {
            state: ConnectionState::Connecting,
            since: start,
            disconnected_since: Some(start),
            session_present: None,
            next_attempt: None,
            last_error: None,
        };
        LinkState {
            fixed: RefCell::new(fixed),
            current: RefCell::new(current),
            changes: watch::Sender::new(ConnectionState::Connecting),
            attempt: watch::Sender::new(Attempt { certificate: "".into(), came: Came::Nothing }),
            down_since: Cell::new(time::now()),
            history: RefCell::new(History::new(time::since_boot())),
            counters: Cell::default(),
            connections: Cell::new(0),
            attempts: Cell::new(0),
            filters_refused: RefCell::default(),
            birth_refused: RefCell::default(),
            keep_alive: Cell::default(),
        }
    }

    fn change(&self, state: ConnectionState, session_present: Option<bool>, next_attempt: Option<Rfc3339>) {
        let mut current = self.current.borrow_mut();
        if current.state != state {
            let at = Rfc3339(now());
            match (current.state, state) {
                (_, ConnectionState::Connected) => current.disconnected_since = None,
                (ConnectionState::Connected, _) => {
                    current.disconnected_since = Some(at);
                    self.down_since.set(time::now());
                }
                _ => {}
            }
            current.state = state;
            current.since = at;
            self.history.borrow_mut().changed(state == ConnectionState::Connected, time::since_boot());
            self.changes.send_replace(state);
        }
        current.session_present = session_present;
        current.next_attempt = next_attempt;
    }

    pub(super) fn connecting(&self, certificate: &Arc<str>) {
        self.attempt.send_replace(Attempt { certificate: Arc::clone(certificate), came: Came::Nothing });
        self.attempts.set(self.attempts.get() + 1);
        self.change(ConnectionState::Connecting, None, None);
    }

    /// CONNACK has come; returns how long there was no connection.
    pub(super) fn connected(&self, session_present: bool) -> Duration {
        self.connections.set(self.connections.get() + 1);
        self.attempt.send_modify(|attempt| attempt.came = Came::Connected);
        self.change(ConnectionState::Connected, Some(session_present), None);
        time::since(self.down_since.get())
    }

    /// What the link is doing, now and whenever that changes.
    pub(crate) fn changes(&self) -> watch::Receiver<ConnectionState> {
        self.changes.subscribe()
    }

    /// The last attempt, now and whenever there is news of it.
    pub(crate) fn attempts(&self) -> watch::Receiver<Attempt> {
        self.attempt.subscribe()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.current.borrow().state == ConnectionState::Connected
    }

    /// `is_refusal`: the server was there and hasn't let us in.
    pub(super) fn failed(&self, failure: Failure, is_refusal: bool, next_attempt: Timestamp) {
        let came = if is_refusal { Came::Refused(failure.message.clone()) } else { Came::Lost };
        self.attempt.send_modify(|attempt| attempt.came = came);
        self.change(ConnectionState::Waiting, None, Some(next_attempt.into()));
        self.history.borrow_mut().failed(failure.code);
        self.current.borrow_mut().last_error = Some(LastError { failure, at: now().into() });
    }

    /// The next attempt comes sooner than was said.
    pub(super) fn waits_until(&self, next_attempt: Timestamp) {
        self.change(ConnectionState::Waiting, None, Some(next_attempt.into()));
    }

    /// There is nothing to connect with yet.
    pub(super) fn unidentified(&self) {
        self.change(ConnectionState::Waiting, None, None);
    }

    pub(super) fn stopped(&self) {
        self.change(ConnectionState::Stopped, None, None);
    }

    /// The server refuses a filter: `reason` says how, `missing` what the policy has to allow.
    pub(super) fn filter_refused(&self, filter: &TopicFilter, reason: String, missing: Option<String>, at: Timestamp) {
        let mut refused = self.filters_refused.borrow_mut();
        let known = refused.iter().position(|known| known.filter == *filter).map(|index| refused.remove(index));
        let is_new = known.as_ref().is_none_or(|known| (&known.reason, &known.missing) != (&reason, &missing));
        let since = known.map_or(at.into(), |known| known.since);
        refused.push(FilterRefused { filter: filter.clone(), since, reason, missing, is_wanted: true });
        refused.sort_by(|one, other| one.filter.cmp(&other.filter));
        drop(refused);
        self.tell_if(is_new);
    }

    /// Tells those who follow it of something that isn't its state.
    fn tell_if(&self, has_changed: bool) {
        self.changes.send_if_modified(|_| has_changed);
    }

    /// The server doesn't take the birth. Since when is kept.
    pub(super) fn birth_refused(&self, refused: BirthRefused) {
        let mut known = self.birth_refused.borrow_mut();
        let since =
            known.as_ref().filter(|known| known.topic == refused.topic).map_or(refused.since, |known| known.since);
        let refused = BirthRefused { since, ..refused };
        let is_new = known.as_ref() != Some(&refused);
        *known = Some(refused);
        drop(known);
        self.tell_if(is_new);
    }

    /// The server takes it, or it is another one.
    pub(super) fn birth_not_refused(&self) {
        let was_refused = self.birth_refused.take().is_some();
        self.tell_if(was_refused);
    }

    /// Forgets those that aren't any more. Of one that is, `refusal` says whether it is wanted.
    pub(super) fn keep_refused(&self, refusal: impl Fn(&TopicFilter) -> Option<bool>) {
        let mut refused = self.filters_refused.borrow_mut();
        let shown = |refused: &[FilterRefused]| refused.iter().filter(|refused| refused.is_wanted).count();
        let before = shown(&refused);
        refused.retain_mut(|refused| {
            let known = refusal(&refused.filter);
            refused.is_wanted = known.unwrap_or_default();
            known.is_some()
        });
        let has_changed = shown(&refused) != before;
        drop(refused);
        self.tell_if(has_changed);
    }

    /// How long the network bears silence. Whether it has borne less than was known.
    pub(super) fn bears_silence(&self, found: &Found) -> bool {
        let forgotten_after = found.forgotten_after.map(|after| after.as_secs());
        let known =
            self.keep_alive.replace(Some(KeepAliveFound { interval: found.interval.as_secs(), forgotten_after }));
        let known = known.and_then(|known| known.forgotten_after);
        forgotten_after.is_some_and(|after| known.is_none_or(|known| after < known))
    }

    pub(super) fn reconfigured(&self, connection: &config::Connection) {
        if !connection.keep_alive.is_adaptive() {
            self.keep_alive.set(None);
        }
        *self.fixed.borrow_mut() = Fixed::new(connection);
    }

    pub(super) fn count(&self, counters: SessionCounters) {
        self.counters.set(counters);
    }

    pub(crate) fn status(&self) -> LinkStatus {
        let history = self.history.borrow().status(time::since_boot(), now());
        LinkStatus { history: Some(history), ..self.brief() }
    }

    /// The same without the history.
    pub(crate) fn brief(&self) -> LinkStatus {
        LinkStatus {
            current: self.current.borrow().clone(),
            fixed: self.fixed.borrow().clone(),
            filters_refused: self
                .filters_refused
                .borrow()
                .iter()
                .filter(|refused| refused.is_wanted)
                .cloned()
                .collect(),
            birth_refused: self.birth_refused.borrow().clone(),
            keep_alive: self.keep_alive.get(),
            history: None,
        }
    }

    pub(crate) fn counters(&self) -> LinkCounters {
        let SessionCounters { published, resent, received, copies } = self.counters.get();
        let (attempts, connections) = (self.attempts.get(), self.connections.get());
        LinkCounters { attempts, connections, published, resent, received, copies }
    }
}
