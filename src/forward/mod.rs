//! Messages to local programs: the reader sockets.
//!
//! [`queue`] decides who is owed what; [`reader`] is the task of one client; [`mod@line`] is how a message is written;
//! [`keep`] holds what waits for a reader.

#[cfg(any(test, fuzzing))]
pub(crate) use reader::fuzzing;

mod keep;
mod line;
mod queue;
mod reader;
mod text;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Notify;

use crate::config;
use crate::inbox::{AckToken, Acks};
use crate::message::{Inbound, Topic, TopicFilter};
use crate::socket::{self, Listener, Seldom};
use queue::{Cause, Cut, Queue, Role};
use reader::Reader;

/// A `[[forward]]`: its queue, and the tasks that write from it.
#[derive(Debug)]
pub(crate) struct Forward {
    config: config::Forward,
    queue: RefCell<Queue>,
    acks: Rc<Acks>,
    /// There may be something to write for a client that had been written all.
    changed: Notify,
    /// A client was cut.
    cut: Notify,
    /// Messages dropped when that was last logged.
    drops_logged: Cell<u64>,
    drops: Seldom,
}

/// One of the `forward` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct ForwardStatus {
    pub(crate) name: String,
    pub(crate) socket: String,
    pub(crate) readers: u32,
    pub(crate) observers: usize,
    /// Messages that wait for a reader.
    pub(crate) waiting: usize,
    /// The memory they take, in bytes.
    pub(crate) waiting_bytes: u64,
    /// When the oldest of them was received.
    pub(crate) oldest: Option<Timestamp>,
    /// Messages written to at least one reader.
    pub(crate) written: u64,
    pub(crate) dropped: Dropped,
    /// Readers and observers that were disconnected because they didn't read.
    pub(crate) disconnected_slow: u64,
}

/// What didn't reach a reader, by cause.
#[derive(Debug, Serialize)]
pub(crate) struct Dropped {
    /// Messages for which `keep` had no room: no reader gets them.
    pub(crate) keep_full: u64,
    /// Lines that a slow reader missed when it was disconnected, and others got.
    pub(crate) slow_reader: u64,
}

impl Forward {
    /// A forward without readers. It reports to `acks` what it is done with.
    pub(crate) fn new(config: config::Forward, acks: Rc<Acks>) -> Rc<Forward> {
        Rc::new(Forward {
            queue: RefCell::new(Queue::new(config.format, &config.keep)),
            config,
            acks,
            changed: Notify::new(),
            cut: Notify::new(),
            drops_logged: Cell::new(0),
            drops: Seldom::default(),
        })
    }

    /// Whether a filter of this forward matches.
    pub(crate) fn wants(&self, topic: &Topic) -> bool {
        self.config.filters.iter().any(|filter: &TopicFilter| filter.matches(topic))
    }

    /// Takes a message: writes it to every reader, or keeps it. Its token goes to the [`Acks`] once that is done.
    pub(crate) fn deliver(&self, id: u64, message: &Inbound, token: Option<AckToken>, now: Instant) {
        self.change(|queue| queue.arrive(id, message, token, now));
        self.changed.notify_waiters();
    }

    /// Serves readers, for ever. Dropping this future disconnects them and removes the socket.
    pub(crate) async fn serve(self: Rc<Self>, listener: Listener) {
        let clients = Rc::default();
        socket::serve(listener, clients, |stream| Reader::new(Rc::clone(&self), stream).run()).await;
    }

    /// How many messages wait for a reader, in memory only: what is lost if the daemon ends now.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.borrow().keep().len()
    }

    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    pub(crate) fn status(&self) -> ForwardStatus {
        let queue = self.queue.borrow();
        let (keep, counters) = (queue.keep(), queue.counters());
        ForwardStatus {
            name: self.config.name.clone(),
            socket: self.config.socket.path.display().to_string(),
            readers: queue.readers(),
            observers: queue.observers(),
            waiting: keep.len(),
            waiting_bytes: keep.bytes(),
            oldest: keep.oldest(),
            written: counters.written,
            dropped: Dropped { keep_full: keep.dropped(), slow_reader: counters.missed },
            disconnected_slow: counters.cut,
        }
    }

    /// Changes the queue, and passes on what has come of it.
    fn change<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queue = self.queue.borrow_mut();
        let result = change(&mut queue);
        for token in queue.take_done() {
            self.acks.done(token);
        }
        let (cut, dropped) = (queue.take_cut(), queue.keep().dropped());
        drop(queue);
        if !cut.is_empty() {
            cut.iter().for_each(|client| self.log_cut(client));
            self.cut.notify_waiters();
            self.changed.notify_waiters();
        }
        if dropped > self.drops_logged.get() && self.drops.is_due(Instant::now()) {
            self.log_drops(dropped);
        }
        result
    }

    fn log_cut(&self, client: &Cut) {
        let (name, path) = (self.config.name.as_str(), self.config.socket.path.display());
        let who = match client.role {
            Role::Observer => "an observer",
            Role::Reader | Role::Undecided => "a reader",
        };
        let why = match client.cause {
            Cause::TooMuch => "has left more than 1 MiB of lines unread",
            Cause::TooSlow => "has left lines unread for more than 10 s",
        };
        log::warn!(
            GATEWIRE_EVENT = "reader_disconnected", GATEWIRE_FORWARD = name;
            "forward {name}: {who} of {path} {why} and is disconnected, with {} bytes unwritten; the others go on, and what \
             no other gets waits in `keep` for the next. See why that program doesn't read",
            client.unwritten
        );
    }

    fn log_drops(&self, dropped: u64) {
        let new = dropped - self.drops_logged.replace(dropped);
        let (name, keep) = (self.config.name.as_str(), &self.config.keep);
        let which = match keep.when_full {
            config::WhenFull::DropOldest => "the oldest",
            config::WhenFull::RejectNew => "the newest",
        };
        log::warn!(
            GATEWIRE_EVENT = "messages_dropped", GATEWIRE_FORWARD = name;
            "forward {name}: no reader has come for its messages and `keep` is full ({} messages, {} bytes): {new} dropped, \
             {which} first, {dropped} since the start. Start the program that reads {}, or give `keep` more; said at most \
             once a minute",
            keep.messages, keep.bytes, self.config.socket.path.display()
        );
    }
}

#[cfg(test)]
mod tests;
