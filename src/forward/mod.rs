//! A forward: messages from IoT Core, written as lines to the readers of a local socket.

mod line;
mod queue;
#[cfg(test)]
mod queue_tests;
mod reader;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use crate::config;
use crate::inbox::Receipt;
use crate::message::{Inbound, Topic};
use crate::socket::Listener;
use queue::{Counters, Queue, ReaderId};
use reader::Reader;

/// Dropped lines are logged no more often than this, with totals.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// A forward and its readers.
#[derive(Debug)]
pub(crate) struct Forward {
    config: config::Forward,
    ids: Rc<Ids>,
    queue: RefCell<Queue>,
    /// Tasks of readers that wait for something to write.
    wakers: RefCell<BTreeMap<ReaderId, Waker>>,
    drops: Cell<Drops>,
}

/// What has been said about dropped lines.
#[derive(Debug, Clone, Copy, Default)]
struct Drops {
    logged: u64,
    logged_at: Option<Instant>,
}

/// The ids of lines, for all forwards: they grow and are unique across restarts without being written anywhere, as long as
/// the clock doesn't go back by more than the daemon was away. Within one run of the daemon they grow whatever the clock
/// does.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    last: Cell<u64>,
}

/// 2020-01-01 in milliseconds since 1970: with it, and 4096 ids a millisecond, ids stay below 2^53 until 2089.
const IDS_EPOCH: i64 = 1_577_836_800_000;

impl Ids {
    fn next(&self, clock: Timestamp) -> u64 {
        let milliseconds = u64::try_from(clock.as_millisecond() - IDS_EPOCH).unwrap_or(0);
        let id = (milliseconds << 12).max(self.last.get() + 1);
        self.last.set(id);
        id
    }
}

/// One of the `forward` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct ForwardStatus {
    name: String,
    socket: String,
    readers: usize,
    observers: usize,
    /// Lines that wait for a reader.
    waiting: usize,
    waiting_bytes: u64,
    /// When the oldest of them came.
    oldest: Option<Timestamp>,
    /// Lines written, once a reader.
    written: u64,
    dropped: Dropped,
    /// Readers disconnected because they didn't read.
    readers_dismissed: u64,
}

/// Lines dropped because `keep` was full, by what `when_full` says.
#[derive(Debug, Serialize)]
struct Dropped {
    oldest: u64,
    newest: u64,
}

impl Forward {
    pub(crate) fn new(config: &config::Forward, ids: &Rc<Ids>) -> Rc<Forward> {
        Rc::new(Forward {
            config: config.clone(),
            ids: Rc::clone(ids),
            queue: RefCell::new(Queue::new(&config.keep)),
            wakers: RefCell::default(),
            drops: Cell::default(),
        })
    }

    /// Serves the socket's clients, each in a task of its own, for as long as it is polled.
    pub(crate) async fn serve(self: Rc<Self>, mut listener: Listener) {
        loop {
            let (client, seat) = listener.accept().await;
            let reader = Reader::new(Rc::clone(&self), client);
            tokio::task::spawn_local(async move {
                reader.run().await;
                drop(seat);
            });
        }
    }

    /// Whether this forward asked for messages on `topic`.
    pub(crate) fn wants(&self, topic: &Topic) -> bool {
        self.config.filters.iter().any(|filter| filter.matches(topic))
    }

    /// Takes a message for the readers there are, or will be.
    pub(crate) fn deliver(&self, message: &Inbound, receipt: Option<Receipt>) {
        let now = Instant::now();
        let id = self.ids.next(message.received_at);
        let line = line::write(message, id, self.config.format);
        let wake = self.queue.borrow_mut().arrive(id, line, message.received_at, receipt, now);
        self.wake(wake);
        self.report_drops(now);
    }

    /// These readers have something to write.
    fn wake(&self, readers: impl IntoIterator<Item = ReaderId>) {
        let mut wakers = self.wakers.borrow_mut();
        for waker in readers.into_iter().filter_map(|reader| wakers.remove(&reader)) {
            waker.wake();
        }
    }

    fn report_drops(&self, now: Instant) {
        let Counters { dropped_oldest, dropped_newest, .. } = self.queue.borrow().counters();
        let (total, drops) = (dropped_oldest + dropped_newest, self.drops.get());
        let quiet = drops.logged_at.is_some_and(|last| now.duration_since(last) < LOG_INTERVAL);
        if total == drops.logged || quiet {
            return;
        }
        self.drops.set(Drops { logged: total, logged_at: Some(now) });
        let name = self.config.name.as_str();
        log::warn!(
            GATEWIRE_EVENT = "forward_dropped", GATEWIRE_FORWARD = name;
            "forward {name}: no reader has come for its messages and `keep` is full: {} dropped, {total} since the start. \
             Start the program that reads {}, or raise `keep`",
            total - drops.logged,
            self.config.socket.path.display()
        );
    }

    pub(crate) fn status(&self) -> ForwardStatus {
        let queue = self.queue.borrow();
        let (readers, observers) = queue.present();
        let (waiting, waiting_bytes, oldest) = queue.waiting();
        let Counters { written, dropped_oldest, dropped_newest, dismissed } = queue.counters();
        ForwardStatus {
            name: self.config.name.clone(),
            socket: self.config.socket.path.display().to_string(),
            readers,
            observers,
            waiting,
            waiting_bytes,
            oldest,
            written,
            dropped: Dropped { oldest: dropped_oldest, newest: dropped_newest },
            readers_dismissed: dismissed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_whatever_the_clock_does_and_fit_a_double() {
        let ids = Ids::default();
        let times = ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z", "1970-01-01T00:00:00Z", "2088-12-31T23:59:59Z"];
        let given: Vec<u64> = times.iter().map(|time| ids.next(time.parse().unwrap())).collect();
        assert!(given.is_sorted_by(|a, b| a < b), "{given:?}");
        assert!(given.iter().all(|id| *id < 1 << 53), "{given:?}");
    }
}
