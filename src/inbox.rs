//! From the link to the forwards, and back: who gets a message, and when the server may forget it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde::Serialize;
use tokio::sync::Notify;

use crate::forward::Forward;
use crate::message::Inbound;

/// Names a QoS 1 message from the server until it is acknowledged. Grows with each message of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AckToken(u64);

impl AckToken {
    pub(crate) fn new(n: u64) -> AckToken {
        AckToken(n)
    }

    #[cfg(test)]
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// Messages that are done and wait for the link to acknowledge them.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    done: RefCell<Vec<AckToken>>,
    changed: Notify,
}

impl Acks {
    fn push(&self, token: AckToken) {
        let mut done = self.done.borrow_mut();
        if done.is_empty() {
            self.changed.notify_one();
        }
        done.push(token);
    }

    /// Moves what is done to the end of `into`.
    pub(crate) fn drain(&self, into: &mut Vec<AckToken>) {
        into.append(&mut self.done.borrow_mut());
    }

    /// Completes once something is done.
    pub(crate) async fn ready(&self) {
        self.changed.notified().await;
    }
}

/// What a forward owes for a message. It must be said: a receipt that is merely dropped acknowledges nothing, so that what a
/// failing part has let go of comes again.
#[derive(Debug)]
pub(crate) struct Receipt {
    acks: Rc<Acks>,
    token: AckToken,
    /// Shared by the forwards of the message: how many still owe. `None`: there is just one.
    owing: Option<Rc<Cell<usize>>>,
}

impl Receipt {
    /// The message is written to all who should get it, or kept for them.
    pub(crate) fn done(self) {
        let last = match &self.owing {
            None => true,
            Some(owing) => {
                owing.set(owing.get() - 1);
                owing.get() == 0
            }
        };
        if last {
            self.acks.push(self.token);
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(acks: &Rc<Acks>, n: u64) -> Receipt {
        Receipt { acks: Rc::clone(acks), token: AckToken(n), owing: None }
    }
}

/// The way from the link to the forwards.
#[derive(Debug)]
pub(crate) struct Inbox {
    forwards: Vec<Rc<Forward>>,
    acks: Rc<Acks>,
    received: Cell<u64>,
    unmatched: Cell<u64>,
}

/// The `inbox` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct InboxStatus {
    /// Messages from the server.
    received: u64,
    /// Those that no forward wanted: a filter was removed, and the server's session still holds it.
    unmatched: u64,
}

impl Inbox {
    pub(crate) fn new(forwards: Vec<Rc<Forward>>) -> Inbox {
        Inbox { forwards, acks: Rc::default(), received: Cell::new(0), unmatched: Cell::new(0) }
    }

    /// Gives a message to every forward that wants it. With QoS 1, `token` is acknowledged once all of them are done.
    pub(crate) fn deliver(&self, message: &Inbound, token: Option<AckToken>) {
        self.received.set(self.received.get() + 1);
        let wanted = |forward: &&Rc<Forward>| forward.wants(&message.topic);
        let wanting = self.forwards.iter().filter(wanted).count();
        if wanting == 0 {
            self.unmatched.set(self.unmatched.get() + 1);
            if let Some(token) = token {
                self.acks.push(token);
            }
            return;
        }
        let owing = (wanting > 1).then(|| Rc::new(Cell::new(wanting)));
        for forward in self.forwards.iter().filter(wanted) {
            let receipt = token.map(|token| Receipt { acks: Rc::clone(&self.acks), token, owing: owing.clone() });
            forward.deliver(message, receipt);
        }
    }

    pub(crate) fn acks(&self) -> &Acks {
        &self.acks
    }

    pub(crate) fn status(&self) -> InboxStatus {
        InboxStatus { received: self.received.get(), unmatched: self.unmatched.get() }
    }
}
