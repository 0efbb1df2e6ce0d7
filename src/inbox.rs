//! Messages from IoT Core, given to every forward that wants them; and when IoT Core may be told so.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Notify;

use crate::forward::Forward;
use crate::message::Inbound;

/// Names a QoS 1 message from the server until it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AckToken(u64);

impl AckToken {
    pub(crate) fn new(n: u64) -> AckToken {
        AckToken(n)
    }
}

/// The messages that are done, on their way to the link.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    /// Done for every forward.
    done: RefCell<Vec<AckToken>>,
    /// For messages of more than one forward: how many still owe.
    shared: RefCell<HashMap<AckToken, usize>>,
    owed: Cell<u64>,
    ready: Notify,
}

impl Acks {
    /// A message has come that `forwards` of them have to be done with.
    fn owe(&self, token: AckToken, forwards: usize) {
        self.owed.set(self.owed.get() + 1);
        if forwards > 1 {
            self.shared.borrow_mut().insert(token, forwards);
        }
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
            self.ready.notify_one();
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

/// Gives out the `id`s of messages.
///
/// An id is the time of arrival in milliseconds since 2020, times 1024, plus a part that is random for each start of the
/// daemon; or one more than the id before it, if that is greater. So ids cost no disk write and stay below 2^53 (until
/// 2298), and what holds is: within a process they always grow. Across restarts they grow and are unique as long as the
/// clock doesn't go back, and where it does they are still greater than those of all messages that wait on the disk. On a
/// machine without a clock that starts in the past, two messages have the same id only if they
/// come in the same millisecond of the repeated time and the random parts (1 in 1024) agree.
#[derive(Debug)]
struct Ids {
    last: u64,
    random: u64,
}

impl Ids {
    const EPOCH: i64 = 1_577_836_800_000;
    const RANDOM_BITS: u32 = 10;
    /// Leaves room below 2^53 for 2^30 more, should the clock be far in the future.
    const MAX: u64 = (1 << 53) - (1 << 30);

    /// Ids greater than `last`.
    fn new(last: u64, random: u64) -> Ids {
        Ids { last, random: random % (1 << Ids::RANDOM_BITS) }
    }

    /// Ids after this are greater than `last`.
    fn skip(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    fn next(&mut self, received_at: Timestamp) -> u64 {
        let elapsed = u64::try_from(received_at.as_millisecond() - Ids::EPOCH).unwrap_or(0);
        let by_clock = ((elapsed << Ids::RANDOM_BITS) | self.random).min(Ids::MAX);
        self.last = by_clock.max(self.last + 1);
        self.last
    }
}

/// Between the link and the forwards.
#[derive(Debug)]
pub(crate) struct Inbox {
    forwards: RefCell<Vec<Rc<Forward>>>,
    acks: Rc<Acks>,
    ids: RefCell<Ids>,
    received: Cell<u64>,
    unmatched: Cell<u64>,
}

/// The `inbox` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct InboxStatus {
    /// Messages that came since the start.
    pub(crate) received: u64,
    /// Those that no forward wanted.
    pub(crate) unmatched: u64,
    /// QoS 1 messages that aren't done for every forward, so that IoT Core isn't told yet.
    pub(crate) unacknowledged: u64,
}

impl Inbox {
    /// An inbox for `forwards`, which report to `acks` what they are done with. `random` makes the ids of this start of the
    /// daemon its own.
    pub(crate) fn new(forwards: Vec<Rc<Forward>>, acks: Rc<Acks>, random: u64) -> Rc<Inbox> {
        let last = forwards.iter().filter_map(|forward| forward.last_stored()).max();
        Rc::new(Inbox {
            forwards: RefCell::new(forwards),
            acks,
            ids: RefCell::new(Ids::new(last.unwrap_or(0), random)),
            received: Cell::new(0),
            unmatched: Cell::new(0),
        })
    }

    /// From now on messages go to these.
    pub(crate) fn set_forwards(&self, forwards: Vec<Rc<Forward>>) {
        let last = forwards.iter().filter_map(|forward| forward.last_stored()).max().unwrap_or(0);
        self.ids.borrow_mut().skip(last);
        *self.forwards.borrow_mut() = forwards;
    }

    /// Gives a message to every forward with a filter that matches. `token`, which QoS 1 messages have, comes back through
    /// [`Acks`] once it is done for all of them; at once if there is none.
    pub(crate) fn deliver(&self, message: &Inbound, token: Option<AckToken>) {
        self.received.set(self.received.get() + 1);
        let forwards = self.forwards.borrow();
        let matching = || forwards.iter().filter(|forward| forward.wants(&message.topic));
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
        let (id, now) = (self.ids.borrow_mut().next(message.received_at), Instant::now());
        for forward in matching() {
            forward.deliver(id, message, token, now);
        }
    }

    pub(crate) fn acks(&self) -> &Acks {
        &self.acks
    }

    pub(crate) fn status(&self) -> InboxStatus {
        InboxStatus {
            received: self.received.get(),
            unmatched: self.unmatched.get(),
            unacknowledged: self.acks.owed.get(),
        }
    }
}

#[cfg(test)]
mod tests;
