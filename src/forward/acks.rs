//! Which messages the forwards still owe an acknowledgement for, and which are done.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::message::AckToken;
use crate::notify::LocalNotify;

/// The messages that are done, on their way to the link.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    /// Done for every forward.
    done: RefCell<Vec<AckToken>>,
    /// For messages of more than one forward: how many still owe.
    shared: RefCell<HashMap<AckToken, usize>>,
    owed: Cell<u64>,
    ready: LocalNotify,
}

impl Acks {
    /// A message has come that `forwards` of them have to be done with.
    pub(crate) fn owe(&self, token: AckToken, forwards: usize) {
        self.owed.set(self.owed.get() + 1);
        if forwards > 1 {
            self.shared.borrow_mut().insert(token, forwards);
        }
    }

    /// How many messages the server hasn't been told of yet that they are done.
    pub(crate) fn owed(&self) -> u64 {
        self.owed.get()
    }

    /// One forward is done with the message.
    pub(crate) fn done(&self, token: AckToken) {
        let mut shared = self.shared.borrow_mut();
        if let Some(owing) = shared.get_mut(&token) {
            *owing -= 1;
            if *owing > 0 {
                return;
            }
            shared.remove(&token);
        }
        self.owed.set(self.owed.get().saturating_sub(1));
        let mut done = self.done.borrow_mut();
        if done.is_empty() {
            self.ready.notify();
        }
        done.push(token);
    }

    /// Moves the tokens of messages that are done for every forward into `into`.
    pub(crate) fn drain(&self, into: &mut Vec<AckToken>) {
        into.append(&mut self.done.borrow_mut());
    }

    /// Completes when there is something to drain; one call wakes for all of it.
    pub(crate) async fn ready(&self) {
        while self.done.borrow().is_empty() {
            self.ready.notified().await;
        }
    }
}

#[cfg(test)]
impl Acks {
    /// How many messages are done and not drained yet, and whether some wait for more than one forward.
    pub(crate) fn pending(&self) -> (usize, bool) {
        (self.done.borrow().len(), !self.shared.borrow().is_empty())
    }
}
