//! What readers of a forward ask for, and who has to know: the link, which subscribes to it.

use std::time::Instant;

use super::Forward;
use super::queue::ClientId;
use super::requested::Denied;
use crate::message::{Qos, TopicFilter};
use crate::time;

impl Forward {
    /// A reader wants these, too: all of them are subscribed to, or none is.
    pub(super) fn subscribe(&self, client: ClientId, filters: &[String]) -> Result<(), Denied> {
        let (config, mut requested) = (self.config(), self.requested.borrow_mut());
        requested.subscribe(client, filters, &config, &self.requests)?;
        self.requests.announce();
        Ok(())
    }

    pub(super) fn unsubscribe(&self, client: ClientId, filters: &[String]) -> Result<(), Denied> {
        self.requested.borrow_mut().unsubscribe(client, filters, &self.config(), time::now())?;
        self.requests.announce();
        Ok(())
    }

    /// A client has gone.
    pub(super) fn leave(&self, client: ClientId) {
        if self.requested.borrow_mut().leave(client, time::now()) {
            self.requests.announce();
        }
    }

    /// Gives up what no reader has wanted for a while.
    pub(crate) fn expire(&self, now: Instant) {
        self.requested.borrow_mut().expire(&self.requests, now);
    }

    /// It isn't configured any more: nothing is subscribed to for it.
    pub(crate) fn give_up_requests(&self) {
        self.requested.borrow_mut().clear(&self.requests);
    }

    /// When to call [`Forward::expire`].
    pub(crate) fn expires(&self) -> Option<Instant> {
        self.requested.borrow().next()
    }

    /// What its readers have asked for.
    pub(crate) fn requested(&self) -> Vec<(TopicFilter, Qos)> {
        let qos = self.config().qos;
        self.requested.borrow().filters().map(|filter| (filter.clone(), qos)).collect()
    }
}
