//! Messages to local programs: the reader sockets.
//!
//! [`queue`] decides who is owed what; [`reader`] is the task of one client; [`mod@line`] is how a message is written;
//! [`mod@keep`] holds what waits for a reader, in memory and on the disk.

#[cfg(any(test, fuzzing))]
pub(crate) use reader::fuzzing;

mod acks;
mod asking;
mod keep;
mod line;
mod queue;
mod reader;
mod recipient;
mod requested;
mod text;
mod word;

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::time::Rfc3339;
use serde::Serialize;
use tokio::sync::Notify;

use crate::config;
use crate::count::count;
use crate::message::{AckToken, Inbound, Topic, TopicFilter};
use crate::socket::{self, For, Listener, Seldom};
use crate::store::durable::DiskQueue;
use crate::store::keeper::{self, Kept};
use crate::store::reminder::Reminder;
use crate::store::{Contents, Failure, QueueId, QueueState, Settling, Store};
use crate::time;
pub(crate) use acks::Acks;
pub(crate) use asking::Requests;
pub(crate) use keep::Keep;
use queue::{Cause, Cut, Queue, Role};
use reader::Reader;
pub(crate) use recipient::Recipient;

/// A `[[forward]]`: its queue, and the tasks that write from it.
#[derive(Debug)]
pub(crate) struct Forward {
    name: String,
    config: RefCell<Rc<config::Forward>>,
    queue: RefCell<Queue>,
    requests: Rc<Requests>,
    acks: Rc<Acks>,
    /// There may be something to write for a client that had been written all.
    changed: Notify,
    /// A client was cut.
    cut: Notify,
    /// Something for the store.
    reminder: Reminder,
    settling: Settling,
    /// Messages dropped when that was last logged.
    drops_logged: Cell<u64>,
    drops: Seldom,
}

/// One of the `forward` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct ForwardStatus {
    pub(crate) name: String,
    pub(crate) socket: String,
    /// What is written for a message. A daemon that doesn't say it doesn't know observers by name, either.
    pub(crate) format: &'static str,
    /// Filters that its readers have asked for, beside those of the configuration.
    pub(crate) subscribed: Vec<String>,
    pub(crate) readers: u32,
    pub(crate) observers: usize,
    /// Messages that wait for a reader, or for a reader's acknowledgement.
    pub(crate) waiting: u64,
    /// Those of them that readers were given and haven't acknowledged, with `ack = "reader"`.
    pub(crate) unacknowledged: usize,
    /// Their topics and payloads, in bytes.
    pub(crate) waiting_bytes: u64,
    /// How many of them are on the disk.
    pub(crate) stored: u64,
    /// When the oldest of them was received.
    pub(crate) oldest: Option<Rfc3339>,
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
    /// Messages that a damaged database took with it.
    pub(crate) damaged: u64,
    /// Lines that a slow reader missed when it was disconnected, and others got.
    pub(crate) slow_reader: u64,
}

impl Forward {
    /// A forward without readers, with what the store holds of it. It reports to `acks` what it is done with.
    pub(crate) fn new(
        config: config::Forward,
        spill_after: Duration,
        acks: Rc<Acks>,
        place: QueueState,
        requests: Rc<Requests>,
    ) -> Rc<Forward> {
        let keep = Keep::new(&config.keep, place);
        Forward::with(config, spill_after, acks, keep, requests)
    }

    fn with(
        config: config::Forward,
        spill_after: Duration,
        acks: Rc<Acks>,
        keep: Keep,
        requests: Rc<Requests>,
    ) -> Rc<Forward> {
        Rc::new(Forward {
            queue: RefCell::new(Queue::new(&config, spill_after, keep)),
            requests,
            name: config.name.clone(),
            config: RefCell::new(Rc::new(config)),
            acks,
            changed: Notify::new(),
            cut: Notify::new(),
            reminder: Reminder::default(),
            settling: Settling::default(),
            drops_logged: Cell::new(0),
            drops: Seldom::default(),
        })
    }

    /// A forward with nothing on a disk; [`Forward::store_at_once`] is its disk.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn in_memory(config: config::Forward, acks: Rc<Acks>) -> Rc<Forward> {
        let keep = Keep::new(&config.keep, QueueState { generation: 1, ..QueueState::default() });
        Forward::with(config, Duration::from_secs(1), acks, keep, Rc::default())
    }

    #[cfg(test)]
    pub(crate) fn store_at_once(&self) {
        while let Some(write) = keeper::begin_write(self) {
            keeper::end_write(self, write.queue, &Ok(()));
        }
    }

    /// Serves readers, for ever. Dropping this future disconnects them.
    pub(crate) async fn serve(self: Rc<Self>, listener: Rc<Listener>) {
        let clients = Rc::default();
        socket::serve((listener, For::Messages), clients, |stream| Reader::new(Rc::clone(&self), stream).run()).await;
    }

    /// Keeps on the disk what has to be there, for ever.
    pub(crate) async fn keep(self: Rc<Self>, store: Rc<Store>) {
        keeper::keep(self, store).await;
    }

    /// Has everything that waits put on the disk, from now on at once: what is there can be acknowledged before the link ends.
    pub(crate) fn stop(&self) {
        self.change(|queue, _| queue.keep_mut().stop());
    }

    /// Completes when no client is left.
    pub(crate) async fn deserted(&self) {
        while self.queue.borrow().has_clients() {
            self.changed.notified().await;
        }
    }

    /// Completes when all is on the disk, for which that may take any time, or when there is no use in trying again.
    pub(crate) async fn stored_or_given_up(&self) {
        self.settling.stored_or_given_up(|| self.queue.borrow().keep().is_stored()).await;
    }

    /// Completes when all is on the disk, for which that may take any time.
    pub(crate) async fn stored(&self) {
        self.settling.stored(|| self.queue.borrow().keep().is_stored()).await;
    }

    /// How many messages wait for a reader, and how many of them are on the disk, as far as is known here.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let queue = self.queue.borrow();
        (queue.keep().len(), queue.keep().stored())
    }

    /// Where they are stored.
    pub(crate) fn queue_id(&self) -> QueueId {
        self.queue.borrow().keep().queue_id()
    }

    /// What a client may say, for one that said something else.
    fn what_it_takes(&self) -> &'static str {
        let config = self.config();
        match (config.ack, &config.allow) {
            (config::Ack::Written, None) => {
                "this socket takes only {\"observe\":true}: its forward has ack = \"written\""
            }
            (config::Ack::Reader, None) => "this socket takes only {\"observe\":true} and {\"ack\":ID}",
            (config::Ack::Written, Some(_)) => {
                "this socket takes only {\"observe\":true}, {\"subscribe\":[FILTERS]} and {\"unsubscribe\":[FILTERS]}: its forward \
                 has ack = \"written\""
            }
            (config::Ack::Reader, Some(_)) => {
                "this socket takes only {\"observe\":true}, {\"ack\":ID}, {\"subscribe\":[FILTERS]} and {\"unsubscribe\":[FILTERS]}"
            }
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn config(&self) -> Rc<config::Forward> {
        Rc::clone(&self.config.borrow())
    }

    /// Goes on as another configuration says. What waits stays; readers are disconnected only if what they are written, or how
    /// they acknowledge it, changes.
    pub(crate) fn reconfigure(&self, config: config::Forward, spill_after: Duration) {
        self.change(|queue, now| queue.reconfigure(&config, spill_after, now));
        *self.config.borrow_mut() = Rc::new(config);
        self.cut.notify_waiters();
        self.changed.notify_waiters();
    }

    pub(crate) fn status(&self) -> ForwardStatus {
        let queue = self.queue.borrow();
        let (keep, counters) = (queue.keep(), queue.counters());
        ForwardStatus {
            name: self.name.clone(),
            socket: self.config().socket.path.display().to_string(),
            format: self.config().format.as_str(),
            subscribed: self.requests.filters(&self.name).iter().map(ToString::to_string).collect(),
            readers: queue.readers(),
            observers: queue.observers(),
            waiting: keep.len(),
            unacknowledged: queue.unacknowledged(),
            waiting_bytes: keep.bytes(),
            stored: keep.stored(),
            oldest: keep.oldest().map(Rfc3339),
            written: counters.written,
            dropped: Dropped { keep_full: keep.dropped(), damaged: keep.missing(), slow_reader: counters.missed },
            disconnected_slow: counters.cut,
        }
    }

    /// Changes the queue, and passes on what has come of it.
    fn change<T>(&self, change: impl FnOnce(&mut Queue, Instant) -> T) -> T {
        let (mut queue, now) = (self.queue.borrow_mut(), time::now());
        let result = change(&mut queue, now);
        for token in queue.take_done() {
            self.acks.done(token);
        }
        let (cut, dropped, assigned) = (queue.take_cut(), queue.keep().dropped(), queue.take_assigned());
        match queue.keep().needs_keeper() {
            true => self.reminder.now(),
            false => self.reminder.at(queue.keep().timeout(), now),
        }
        drop(queue);
        if assigned {
            self.changed.notify_waiters();
        }
        if !cut.is_empty() {
            cut.iter().for_each(|client| self.log_cut(client));
            self.cut.notify_waiters();
            self.changed.notify_waiters();
        }
        if dropped > self.drops_logged.get() && self.drops.is_due(now) {
            self.log_drops(dropped);
        }
        result
    }

    fn log_cut(&self, client: &Cut) {
        let (name, config) = (self.name.as_str(), self.config());
        let path = config.socket.path.display();
        let who = match client.role {
            Role::Observer => "an observer",
            Role::Reader | Role::Undecided => "a reader",
        };
        let why = match client.cause {
            Cause::TooMuch => {
                "has left more than 1 MiB of lines unread, or 4 MiB of memory including all that their messages hold,"
            }
            Cause::TooSlow => "has left lines unread for more than 10 s",
        };
        log::warn!(
            GATEWIRE_EVENT = "reader_disconnected", GATEWIRE_FORWARD = name;
            "forward {name}: {who} of {path} {why} and is disconnected, with {} unwritten; the others go on, and what none of them \
            gets waits in `keep` for the next reader. Find out why that program doesn't read",
            count(client.unwritten, "byte")
        );
    }

    /// Drops that haven't been said yet, at the end.
    pub(crate) fn say_last_drops(&self) {
        let dropped = self.queue.borrow().keep().dropped();
        if dropped > self.drops_logged.get() {
            self.log_drops(dropped);
        }
    }

    fn log_drops(&self, dropped: u64) {
        let new = dropped - self.drops_logged.replace(dropped);
        let (name, config) = (self.name.as_str(), self.config());
        let keep = &config.keep;
        let which = match keep.when_full {
            config::WhenFull::DropOldest => "the oldest",
            config::WhenFull::RejectNew => "the newest",
        };
        log::warn!(
            GATEWIRE_EVENT = "messages_dropped", GATEWIRE_FORWARD = name;
            "forward {name}: no reader has come for its messages and `keep` is full ({}, {}): {new} dropped, {which} first, \
            {dropped} since the start. Start the program that reads {}, or raise `keep`. Logged at most once a minute",
            count(keep.messages, "message"), count(keep.bytes, "byte"), config.socket.path.display()
        );
    }
}

impl Recipient for Forward {
    fn wants(&self, topic: &Topic) -> bool {
        self.config.borrow().filters.iter().any(|filter: &TopicFilter| filter.matches(topic))
            || self.requests.matches(&self.name, topic)
    }

    fn deliver(&self, id: u64, message: &Inbound, token: Option<AckToken>) {
        self.change(|queue, now| queue.arrive(id, message, token, now));
        self.changed.notify_waiters();
    }

    fn link_down(&self) {
        self.change(|queue, _| queue.keep_mut().link_down());
    }

    fn hasten(&self, due: Instant) {
        self.change(|queue, _| queue.keep_mut().hasten(due));
    }

    fn last_stored(&self) -> Option<u64> {
        self.queue.borrow().keep().last_stored()
    }
}

impl Kept for Forward {
    fn attach(&self, contents: &Contents) {
        self.change(|queue, now| {
            queue.keep_mut().attach(contents);
            queue.kept(now);
        });
    }

    fn queue(&self, _: QueueId) -> RefMut<'_, dyn DiskQueue> {
        RefMut::map(self.queue.borrow_mut(), |queue| queue.keep_mut() as _)
    }

    fn writers(&self) -> impl IntoIterator<Item = QueueId> {
        [self.queue_id()]
    }

    fn readers(&self) -> impl IntoIterator<Item = QueueId> {
        [self.queue_id()]
    }

    fn written(&self, _: QueueId, outcome: &Result<(), Failure>) {
        self.change(|queue, now| queue.kept(now));
        self.settling.written(outcome);
    }

    fn loaded(&self) {
        self.change(|queue, now| queue.kept(now));
    }

    fn timeout(&self) -> Option<Instant> {
        self.queue.borrow().keep().timeout()
    }

    fn reminder(&self) -> &Reminder {
        &self.reminder
    }

    fn is_stopping(&self) -> bool {
        self.queue.borrow().keep().is_stopping()
    }
}

#[cfg(test)]
mod tests;
