//! What readers of the forwards ask for, and who has to know: the link, which subscribes to it.

use std::cell::RefCell;
use std::time::Instant;

use tokio::sync::Notify;

use super::Forward;
use super::queue::ClientId;
use super::requested::{Change, Denied, Notice, Requested};
use crate::config;
use crate::message::{Qos, Topic, TopicFilter};
use crate::time;

/// So many filters a line in the journal names.
const MOST_SHOWN: usize = 5;

/// What the forwards of a daemon share: what their readers ask for, and who is told that this has changed.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    requested: RefCell<Requested>,
    changed: Notify,
}

impl Requests {
    /// Goes on with this configuration, in which readers may ask for `room` filters beside those that it has.
    pub(crate) fn configure(&self, room: usize, forwards: &[config::Forward]) {
        self.requested.borrow_mut().configure(room, forwards).iter().for_each(log);
    }

    /// Completes when there are other filters than at the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What readers had asked for before a restart, by what is noted of the server's session: it is given up in a moment unless
    /// readers of these forwards ask for it again.
    pub(crate) fn resume(&self, forwards: &[config::Forward], noted: &[TopicFilter], now: Instant) {
        self.requested.borrow_mut().resume(forwards, noted, now);
    }

    /// The link has come up, or has gone.
    pub(crate) fn link_changed(&self, is_up: bool, now: Instant) {
        self.requested.borrow_mut().link_changed(is_up, now);
    }

    /// Gives up what no reader has wanted for a while.
    pub(crate) fn expire(&self, now: Instant) {
        self.requested.borrow_mut().expire(now);
    }

    /// When to call [`Requests::expire`].
    pub(crate) fn expires(&self) -> Option<Instant> {
        self.requested.borrow().next()
    }

    /// Whether readers of a forward want messages on this topic.
    pub(super) fn matches(&self, forward: &str, topic: &Topic) -> bool {
        self.requested.borrow().matches(forward, topic)
    }

    /// What readers of a forward have asked for.
    pub(super) fn filters(&self, forward: &str) -> Vec<TopicFilter> {
        self.requested.borrow().filters(forward).cloned().collect()
    }
}

impl Forward {
    /// A reader wants these, too: all of them are subscribed to, or none is.
    pub(super) fn subscribe(&self, client: ClientId, filters: &[String]) -> Result<(), Denied> {
        self.requests.requested.borrow_mut().subscribe(client, filters, &self.config())?;
        self.requests.changed.notify_one();
        Ok(())
    }

    pub(super) fn unsubscribe(&self, client: ClientId, filters: &[String]) -> Result<(), Denied> {
        self.requests.requested.borrow_mut().unsubscribe(client, filters, &self.config(), time::now())?;
        self.requests.changed.notify_one();
        Ok(())
    }

    /// A client has gone.
    pub(super) fn leave(&self, client: ClientId) {
        if self.requests.requested.borrow_mut().leave(&self.name, client, time::now()) {
            self.requests.changed.notify_one();
        }
    }

    /// What a client has to be told, once.
    pub(super) fn take_told(&self, client: ClientId) -> Vec<Denied> {
        self.requests.requested.borrow_mut().take_told(&self.name, client)
    }

    /// What its readers have asked for.
    pub(crate) fn requested(&self) -> Vec<(TopicFilter, Qos)> {
        let qos = self.config().qos;
        self.requests.filters(&self.name).into_iter().map(|filter| (filter, qos)).collect()
    }
}

fn log(notice: &Notice) {
    let Notice { forward, change, filters } = notice;
    let shown: Vec<String> = filters.iter().take(MOST_SHOWN).map(|filter| format!("`{}`", filter.as_str())).collect();
    let more = match filters.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown = format!("{}{more}", shown.join(", "));
    match change {
        Change::NotAllowed => log::warn!(
            GATEWIRE_EVENT = "filters_given_up", GATEWIRE_FORWARD = forward.as_str();
            "forward {forward}: `allow` doesn't cover any more what its readers have asked for: {shown}. They are told. Who stays \
            connected gets it again once `allow` covers it"
        ),
        Change::NoRoom => log::warn!(
            GATEWIRE_EVENT = "filters_given_up", GATEWIRE_FORWARD = forward.as_str();
            "forward {forward}: connection.max_subscriptions has no room any more for all that its readers have asked for, and the \
            newest are given up: {shown}. They are told. Who stays connected gets it again when a reload makes room"
        ),
        Change::Back => log::info!(
            GATEWIRE_EVENT = "filters_back", GATEWIRE_FORWARD = forward.as_str();
            "forward {forward}: what its readers have asked for is subscribed to again: {shown}"
        ),
    }
}
