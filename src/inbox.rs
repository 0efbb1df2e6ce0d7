//! Messages from IoT Core, given to every forward and bridge that wants them; and when IoT Core may be told so.

mod ids;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use serde::Serialize;
use tokio::sync::Notify;

use crate::forward::{Acks, Recipient};
use crate::message::{AckToken, Inbound};
use ids::Ids;

/// Between the link and the forwards and bridges.
#[derive(Debug)]
pub(crate) struct Inbox {
    recipients: RefCell<Vec<Rc<dyn Recipient>>>,
    acks: Rc<Acks>,
    ids: RefCell<Ids>,
    /// What earlier processes may have given out is known, as far as it will be.
    recalled: Cell<bool>,
    /// That is so now, or ids run out of what is reserved.
    ids_news: Notify,
    received: Cell<u64>,
    unmatched: Cell<u64>,
    too_large: Cell<u64>,
    unreadable: Cell<u64>,
}

/// The `inbox` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct InboxStatus {
    /// Messages that came since the start.
    pub(crate) received: u64,
    /// Those that no forward wanted.
    pub(crate) unmatched: u64,
    /// Those that were larger than [`MAX_PACKET`](crate::limits::MAX_PACKET), and dropped.
    pub(crate) too_large: u64,
    /// Those that break the rules of MQTT, and are dropped.
    pub(crate) unreadable: u64,
    /// QoS 1 messages that aren't done for every forward, so that IoT Core isn't told yet.
    pub(crate) unacknowledged: u64,
}

impl Inbox {
    /// An inbox for `recipients`, which report to `acks` what they are done with. `random` makes the ids of this start of the
    /// daemon its own; unless the database `is_read`, they are greater than those of all starts that could read it.
    pub(crate) fn new(recipients: Vec<Rc<dyn Recipient>>, acks: Rc<Acks>, is_read: bool, random: u64) -> Rc<Inbox> {
        let last = recipients.iter().filter_map(|recipient| recipient.last_stored()).max();
        Rc::new(Inbox {
            recipients: RefCell::new(recipients),
            acks,
            ids: RefCell::new(Ids::new(last.unwrap_or(0), is_read, random)),
            recalled: Cell::new(false),
            ids_news: Notify::new(),
            received: Cell::new(0),
            unmatched: Cell::new(0),
            too_large: Cell::new(0),
            unreadable: Cell::new(0),
        })
    }

    /// From now on messages go to these.
    pub(crate) fn set_recipients(&self, recipients: Vec<Rc<dyn Recipient>>) {
        let last = recipients.iter().filter_map(|recipient| recipient.last_stored()).max().unwrap_or(0);
        self.ids.borrow_mut().skip(last);
        *self.recipients.borrow_mut() = recipients;
    }

    /// Gives a message to everyone with a filter that matches. `token`, which QoS 1 messages have, comes back through
    /// [`Acks`] once it is done for all of them; at once if there is none.
    pub(crate) fn deliver(&self, message: &Inbound, token: Option<AckToken>) {
        self.received.set(self.received.get() + 1);
        let recipients = self.recipients.borrow();
        let matching = || recipients.iter().filter(|recipient| recipient.wants(&message.topic));
        let count = matching().count();
        if let Some(token) = token {
            self.acks.owe(token, count);
        }
        if count == 0 {
            self.unmatched.set(self.unmatched.get() + 1);
            if let Some(token) = token {
                self.acks.done(token);
            }
            return;
        }
        let id = self.next_id(message.received_at);
        for recipient in matching() {
            recipient.deliver(id, message, token);
        }
    }

    /// The connection is gone: the server sends again what it has no PUBACK for, if it keeps the session.
    pub(crate) fn link_down(&self) {
        self.recipients.borrow().iter().for_each(|recipient| recipient.link_down());
    }

    /// The server can send nothing more before something is acknowledged: what no reader has acknowledged by `due` goes to the
    /// disk, so that a reader that is slow to acknowledge doesn't hold up the messages of the others.
    pub(crate) fn hasten(&self, due: Instant) {
        self.recipients.borrow().iter().for_each(|recipient| recipient.hasten(due));
    }

    /// A message was too large, and is dropped.
    pub(crate) fn too_large(&self) {
        self.too_large.set(self.too_large.get() + 1);
    }

    /// A message can't be passed on, and is dropped.
    pub(crate) fn unreadable(&self) {
        self.unreadable.set(self.unreadable.get() + 1);
    }

    pub(crate) fn acks(&self) -> &Acks {
        &self.acks
    }

    pub(crate) fn status(&self) -> InboxStatus {
        InboxStatus {
            received: self.received.get(),
            unmatched: self.unmatched.get(),
            too_large: self.too_large.get(),
            unreadable: self.unreadable.get(),
            unacknowledged: self.acks.owed(),
        }
    }
}

#[cfg(test)]
mod tests;
