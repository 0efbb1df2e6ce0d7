//! What readers of the forwards ask for, and who has to know: the link, which subscribes to it.

use std::cell::RefCell;
use std::time::Instant;

use tokio::sync::Notify;

use super::Forward;
use super::queue::ClientId;
use super::requested::{Denied, Requested};
use crate::config;
use crate::message::{Qos, Topic, TopicFilter};
use crate::time;

/// What the forwards of a daemon share: what their readers ask for, and who is told that this has changed.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    requested: RefCell<Requested>,
    changed: Notify,
}

impl Requests {
    /// Readers may ask for so many filters from now on. What is subscribed to stays, even if that is more.
    pub(crate) fn set_room(&self, room: usize) {
        self.requested.borrow_mut().set_room(room);
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

    /// Goes on with another configuration of a forward.
    pub(super) fn reconfigure(&self, forward: &config::Forward) {
        self.requested.borrow_mut().reconfigure(forward);
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

    /// It isn't configured any more: nothing is subscribed to for it.
    pub(crate) fn give_up_requests(&self) {
        self.requests.requested.borrow_mut().clear(&self.name);
    }

    /// What its readers have asked for.
    pub(crate) fn requested(&self) -> Vec<(TopicFilter, Qos)> {
        let qos = self.config().qos;
        self.requests.filters(&self.name).into_iter().map(|filter| (filter, qos)).collect()
    }
}
