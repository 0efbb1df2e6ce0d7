//! What the connection to the local broker is doing, for those who ask.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::client::{ConnectionState, Failure, LastError};
use crate::config;
use crate::journal::now;
use crate::message::TopicFilter;
use crate::time::{self, Rfc3339};

/// Shared by the connection, which writes it, and those who read.
#[derive(Debug)]
pub(crate) struct LocalState {
    current: RefCell<LocalStatus>,
    /// When the last connection ended, or the daemon started.
    down_since: Cell<Instant>,
}

/// What `bridge[]` of the status document says of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LocalStatus {
    name: String,
    state: ConnectionState,
    since: Rfc3339,
    last_error: Option<LastError>,
    /// Filters that the broker refuses, and how: nothing goes up for them.
    filters_refused: Vec<FilterRefused>,
}

/// One of `filters_refused`.
#[derive(Debug, Clone, Serialize)]
struct FilterRefused {
    filter: String,
    since: Rfc3339,
    reason: String,
}

impl LocalState {
    pub(super) fn new(config: &config::Bridge) -> LocalState {
        let current = LocalStatus {
            name: config.name.clone(),
            state: ConnectionState::Connecting,
            since: now().into(),
            last_error: None,
            filters_refused: Vec::new(),
        };
        LocalState { current: RefCell::new(current), down_since: Cell::new(time::now()) }
    }

    fn change(&self, state: ConnectionState) {
        let mut current = self.current.borrow_mut();
        if current.state != state {
            if current.state == ConnectionState::Connected {
                self.down_since.set(time::now());
            }
            current.state = state;
            current.since = now().into();
        }
    }

    /// The broker refuses a filter.
    pub(super) fn filter_refused(&self, filter: &TopicFilter, reason: String) {
        let refused = &mut self.current.borrow_mut().filters_refused;
        let filter = filter.as_str().to_owned();
        match refused.iter_mut().find(|known| known.filter == filter) {
            Some(known) => known.reason = reason,
            None => refused.push(FilterRefused { filter, since: now().into(), reason }),
        }
    }

    /// Forgets those that aren't refused any more.
    pub(super) fn keep_refused(&self, is_refused: impl Fn(&str) -> bool) {
        self.current.borrow_mut().filters_refused.retain(|refused| is_refused(&refused.filter));
    }

    pub(super) fn connecting(&self) {
        self.change(ConnectionState::Connecting);
    }

    /// CONNACK has come; returns how long there was no connection.
    pub(super) fn connected(&self) -> Duration {
        self.change(ConnectionState::Connected);
        time::since(self.down_since.get())
    }

    pub(super) fn failed(&self, failure: Failure) {
        self.change(ConnectionState::Waiting);
        self.current.borrow_mut().last_error = Some(LastError { failure, at: now().into() });
    }

    pub(super) fn stopped(&self) {
        self.change(ConnectionState::Stopped);
    }

    pub(crate) fn status(&self) -> LocalStatus {
        self.current.borrow().clone()
    }
}
