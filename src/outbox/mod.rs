//! What waits for IoT Core: every message that a schedule or a local client has handed over, until the link has delivered it.
//!
//! The decisions are in [`ledger`]; this file gives them to the tasks: who accepted a message may wait for its [`Outcome`],
//! the link is woken when there is something to send, and the store is given what has to outlive the daemon.

mod admission;
mod bounds;
mod drain;
mod dropping;
mod keeping;
mod ledger;
mod quarantine;
mod refusing;
mod shares;
mod source;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::{Notify, oneshot};

use crate::config;
use crate::count::{count, count_that};
use crate::message::{Outbound, Qos, Sequence};
use crate::socket::Seldom;
use crate::store::{Moment, QueueId, Store, Totals, accepted_now};
use admission::By;
use bounds::Bounds;
use drain::{Drain, DrainStatus};
use dropping::Dropped;
use keeping::Turns;
use ledger::{Cause, Full, Ledger, Link};
use quarantine::{Place, Quarantine, QuarantineStatus};

use source::Gate;

/// That a backlog goes out is said again after so long, if it isn't out.
const SAY_AGAIN: Duration = Duration::from_secs(3600);

pub(crate) use source::Source;

/// Once nothing is accepted any more, what waits is sent for so long before it is written to the disk.
const SENT_BEFORE: Duration = Duration::from_millis(500);

/// What became of an accepted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// QoS 1: IoT Core has acknowledged it.
    Delivered,
    /// QoS 1: it is on the disk, synced, and goes to IoT Core from there.
    Stored,
    /// QoS 0: it was written to the link.
    Sent,
    /// It was given up.
    Refused(Refusal),
}

/// Why a message isn't taken, or was given up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error(
        "the outbox is full: more waits for IoT Core than [outbox] max_size allows, or than fits into memory while the disk \
        can't be written; see `gatewire status`"
    )]
    OutboxFull,
    #[error("it has expired: it waited for IoT Core for longer than its `expires_in`, or [outbox] max_age")]
    Expired,
    #[error("the link is down, and a QoS 0 message isn't kept; send it with QoS 1 to have it kept")]
    NotConnected,
    #[error("gatewire is shutting down; send it again when it is back")]
    ShuttingDown,
    #[error("IoT Core refuses it: {reason}")]
    Rejected { reason: String },
}

/// Who has to be told what became of a message.
#[derive(Debug)]
enum Waiter {
    Client(oneshot::Sender<Outcome>),
    /// It was refused before and is tried anew; until then it lies in the quarantine.
    Quarantine(Place),
}

impl Waiter {
    /// Somebody hears what becomes of it.
    fn is_client(&self) -> bool {
        matches!(self, Waiter::Client(client) if !client.is_closed())
    }
}

/// The outbox as the tasks see it.
#[derive(Debug)]
pub(crate) struct Outbox {
    config: RefCell<config::Outbox>,
    ledger: RefCell<Ledger<Waiter>>,
    quarantine: RefCell<Quarantine>,
    /// What an earlier process has noted of the quarantine is known, or can't be.
    recalled: Cell<bool>,
    /// Who waits to hand a message over.
    gate: RefCell<Gate>,
    /// Whose turn it is with the store.
    turns: Turns,
    drain: RefCell<Option<Drain>>,
    /// Something for the link.
    arrived: Notify,
    /// Something for the store.
    changed: Notify,
    /// Memory has room again, or everything is stored.
    eased: Notify,
    /// The link is up.
    connected: Notify,
    closed: Cell<bool>,
    counters: Counters,
    drops: Seldom,
    drops_said: Cell<Dropped>,
    held: RefCell<Option<HeldStatus>>,
    /// The backlog of which it was said last that it goes out, and isn't out: how many messages, and when that was.
    backlog_said: Cell<Option<(u64, Instant)>>,
}

/// `outbox.held` of the status document: nothing is sent, but for a trial now and then, because the server refuses everything.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HeldStatus {
    /// `refused`: the server refuses everything; `throttled`: it takes no more for now; `unanswered`: it doesn't acknowledge messages;
    /// `subscribing`: it hasn't answered a SUBSCRIBE.
    pub(crate) cause: &'static str,
    pub(crate) since: Timestamp,
    /// What the server does on a message, or doesn't.
    pub(crate) reason: String,
    pub(crate) advice: String,
    /// When the next message is tried.
    pub(crate) next_attempt: Option<Timestamp>,
}

/// What has happened since the start.
#[derive(Debug, Default)]
struct Counters {
    accepted: Cell<u64>,
    delivered: Cell<u64>,
    sent: Cell<u64>,
    dropped: Cell<Dropped>,
}

fn add(counter: &Cell<u64>, n: u64) {
    counter.set(counter.get() + n);
}

/// The `outbox` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct OutboxStatus {
    /// Messages not yet handed to the link.
    pub(crate) waiting: u64,
    /// QoS 1 messages handed to the link and not yet acknowledged.
    pub(crate) in_flight: usize,
    /// Topics and payloads of both.
    pub(crate) bytes: u64,
    /// When the oldest of them was accepted.
    pub(crate) oldest: Option<Timestamp>,
    /// How many of them are on the disk.
    pub(crate) stored: u64,
    pub(crate) dropped: Dropped,
    /// What holds messages back though there is a connection.
    pub(crate) held: Option<HeldStatus>,
    /// Messages set aside because IoT Core refuses them.
    pub(crate) quarantined: u64,
    /// What these have in common.
    pub(crate) quarantine: Vec<QuarantineStatus>,
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) sent: u64,
    /// The backlog of the last outage, while it goes out.
    pub(crate) drain: Option<DrainStatus>,
}

impl Outbox {
    /// The outbox, with what the store holds of it.
    pub(crate) fn new(config: &config::Outbox, limit: &config::RateLimit, store: &Store) -> Rc<Outbox> {
        let contents = store.contents();
        let contents = contents.borrow();
        let [outbox, quarantine] = [QueueId::OUTBOX, QueueId::QUARANTINE].map(|queue| contents.totals(queue));
        // Places grow from one start to the next by the clock, too: what is deleted and comes to light when a damaged database
        // is read is never taken for another message.
        let by_clock = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        let first = if contents.generation == 0 { QueueId::UNREAD + by_clock } else { by_clock };
        Outbox::with(config, limit, [outbox, quarantine], contents.generation, first)
    }

    fn with(
        config: &config::Outbox,
        limit: &config::RateLimit,
        [outbox, quarantine]: [Totals; 2],
        generation: u64,
        first: u64,
    ) -> Rc<Outbox> {
        let bounds = Bounds::new(config);
        let quarantine = Quarantine::new(&bounds, quarantine, generation, first, Instant::now());
        Rc::new(Outbox {
            config: RefCell::new(config.clone()),
            ledger: RefCell::new(Ledger::new(bounds, outbox, generation, first)),
            quarantine: RefCell::new(quarantine),
            recalled: Cell::new(false),
            gate: RefCell::new(Gate::new(limit)),
            turns: Turns::default(),
            drain: RefCell::default(),
            arrived: Notify::new(),
            changed: Notify::new(),
            eased: Notify::new(),
            connected: Notify::new(),
            closed: Cell::new(false),
            counters: Counters::default(),
            drops: Seldom::default(),
            drops_said: Cell::default(),
            held: RefCell::default(),
            backlog_said: Cell::default(),
        })
    }

    /// An outbox that nothing keeps on a disk.
    #[cfg(test)]
    pub(crate) fn in_memory(config: &config::Outbox) -> Rc<Outbox> {
        let limit = config::RateLimit {
            messages_per_second: 1_000_000,
            bytes_per_second: 1 << 30,
            burst: 1000,
            connects_per_second: 1,
        };
        Outbox::with(config, &limit, [Totals::default(); 2], 0, 0)
    }

    /// Other bounds hold from now on.
    pub(crate) fn reconfigure(&self, config: &config::Outbox, limit: &config::RateLimit) {
        self.gate.borrow_mut().admission.set_limit(limit);
        self.config.borrow_mut().clone_from(config);
        let bounds = Bounds::new(config);
        self.quarantine.borrow_mut().set_bounds(&bounds);
        self.ledger.borrow_mut().set_bounds(bounds);
        self.share_room();
        self.settle_dropped();
        self.tell_keeper();
    }

    /// Takes a message; the receiver gets what became of it. Dropping the receiver doesn't take the message back. QoS 0 is
    /// taken only while the link is up: somebody waits for the answer.
    pub(crate) fn accept(&self, message: Outbound) -> Result<oneshot::Receiver<Outcome>, Refusal> {
        self.admit(&message, self.ledger.borrow().link() == Link::Up)?;
        self.is_not_refused(&message)?;
        let (waiter, outcome) = oneshot::channel();
        self.take_in(message, Some(Waiter::Client(waiter)), By::Client)?;
        Ok(outcome)
    }

    /// Takes a message whose outcome nobody waits for. QoS 0 is taken before the first attempt to connect has ended, too:
    /// what is scheduled for the start isn't lost to the milliseconds that connecting takes.
    pub(crate) fn submit(&self, message: Outbound) -> Result<(), Refusal> {
        self.admit(&message, self.ledger.borrow().link() != Link::Down)?;
        let refused = self.is_not_refused(&message);
        match refused {
            Err(refusal) if message.qos == Qos::AtMostOnce => Err(refusal),
            Err(_) if !self.ledger.borrow().has_room_by_rule(message.size() as u64) => Err(Refusal::OutboxFull),
            Err(_) => {
                self.quarantine_at_once(message);
                Ok(())
            }
            Ok(()) => self.take_in(message, None, By::Schedule),
        }
    }

    /// Whether there is room in memory.
    pub(crate) fn has_room(&self) -> bool {
        self.ledger.borrow().has_room()
    }

    /// There may be room again.
    fn ease(&self) {
        self.eased.notify_waiters();
        self.let_in();
    }

    fn admit(&self, message: &Outbound, takes_qos_0: bool) -> Result<(), Refusal> {
        if self.closed.get() {
            return Err(Refusal::ShuttingDown);
        }
        if message.qos == Qos::AtMostOnce && !takes_qos_0 {
            self.count_dropped(Cause::NotConnected);
            return Err(Refusal::NotConnected);
        }
        Ok(())
    }

    fn take_in(&self, message: Outbound, waiter: Option<Waiter>, by: By) -> Result<(), Refusal> {
        let size = message.size();
        self.share_room();
        let mut ledger = self.ledger.borrow_mut();
        let accepted = ledger.accept(message, waiter, Instant::now(), Timestamp::now(), accepted_now());
        drop(ledger);
        accepted.map_err(|Full| Refusal::OutboxFull)?;
        self.gate.borrow_mut().admission.accepted(by, size, source::now());
        add(&self.counters.accepted, 1);
        self.share_room();
        self.settle_dropped();
        self.arrived.notify_one();
        self.tell_keeper();
        Ok(())
    }

    /// The keeper knows when the first message is due; it has to be told of what comes before that.
    fn tell_keeper(&self) {
        let needs_keeper = self.ledger.borrow_mut().needs_keeper();
        let mut quarantine = self.quarantine.borrow_mut();
        if quarantine.needs_keeper() || quarantine.is_releasing() || needs_keeper {
            self.changed.notify_one();
        }
    }

    fn count(&self, outcome: &Outcome) {
        let mut dropped = self.counters.dropped.get();
        match outcome {
            Outcome::Delivered => add(&self.counters.delivered, 1),
            Outcome::Sent => add(&self.counters.sent, 1),
            Outcome::Refused(Refusal::Rejected { .. }) => dropped.rejected += 1,
            Outcome::Refused(Refusal::Expired) => dropped.expired += 1,
            Outcome::Stored | Outcome::Refused(_) => {}
        }
        self.counters.dropped.set(dropped);
    }

    fn count_dropped(&self, cause: Cause) {
        let mut dropped = self.counters.dropped.get();
        match cause {
            Cause::Full => dropped.full += 1,
            Cause::Expired => dropped.expired += 1,
            Cause::NotConnected => dropped.not_connected += 1,
        }
        self.counters.dropped.set(dropped);
    }

    /// Gives up what has waited for too long, if it is time to look.
    fn expire(&self) {
        let now = Instant::now();
        if self.ledger.borrow().expiry_is_due(now) {
            self.ledger.borrow_mut().expire(now, &Moment::now());
            self.settle_dropped();
            self.look_at_drain(None);
        }
    }

    /// Accepts nothing from now on. What isn't sent soon goes to the disk.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.let_all_in();
        self.ledger.borrow_mut().hasten(Instant::now() + SENT_BEFORE);
        self.changed.notify_one();
        self.arrived.notify_one();
    }

    /// Completes when there may be something new for the link.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Nothing is in flight, and sending more would gain nothing.
    pub(crate) fn is_settled(&self) -> bool {
        self.ledger.borrow().in_flight() == 0 && !self.gains_by_sending()
    }

    /// Once nothing is accepted any more: whether something waits that only the link can save, or could as soon as the disk. What
    /// is on the disk is as safe there, and so is what comes behind it, once it is there, too. With a disk that takes nothing, and
    /// for QoS 0, all before it has to be sent.
    pub(crate) fn gains_by_sending(&self) -> bool {
        self.ledger.borrow().has_waiting_unconfirmed()
    }

    /// The first message that the link `admits`, told whether a client waits to be told of it: its place, and bytes of topic and
    /// payload.
    pub(crate) fn next(&self, admits: impl FnMut(&Outbound, bool) -> bool) -> Option<(Sequence, usize)> {
        self.find(admits)
    }

    /// Of the messages that may only be sent alone, the one of the lowest rank. That is told the place of each.
    pub(crate) fn next_alone<R: Ord>(&self, rank: impl Fn(&Outbound, u32) -> Option<R>) -> Option<(Sequence, usize)> {
        let may_be_sent = |message: &Outbound| self.why_not(message).is_none();
        self.ledger
            .borrow()
            .find_least(|entry, place| rank(&entry.message, place).filter(|_| may_be_sent(&entry.message)))
    }

    /// Hands a message to the link.
    pub(crate) fn take_at(&self, sequence: Sequence) -> Option<Outbound> {
        let taken = self.ledger.borrow_mut().take(sequence);
        if let Some(message) = &taken {
            let is_last = self.ledger.borrow().waiting() == 0;
            self.gate.borrow_mut().admission.taken(message.size(), is_last, source::now());
            self.let_in();
        }
        if self.ledger.borrow().needs_load() {
            self.changed.notify_one();
        }
        taken
    }

    /// Hands the next message to the link.
    #[cfg(test)]
    pub(crate) fn take(&self) -> Option<(Sequence, Outbound)> {
        let (sequence, _) = self.next(|_, _| true)?;
        Some((sequence, self.take_at(sequence)?))
    }

    /// IoT Core has acknowledged a QoS 1 message.
    pub(crate) fn delivered(&self, sequence: Sequence) {
        self.finish(sequence, &Outcome::Delivered);
    }

    /// A QoS 0 message has been written to the link.
    pub(crate) fn sent(&self, sequence: Sequence) {
        self.finish(sequence, &Outcome::Sent);
    }

    /// The time of a message had passed before it could be sent.
    pub(crate) fn expired(&self, sequence: Sequence) {
        self.finish(sequence, &Outcome::Refused(Refusal::Expired));
    }

    fn finish(&self, sequence: Sequence, outcome: &Outcome) {
        let had_room = self.has_room();
        let Some(entry) = self.ledger.borrow_mut().remove(sequence, Instant::now()) else { return };
        self.count(outcome);
        self.settle(entry.waiter, outcome);
        self.after_removal(sequence, had_room);
    }

    /// A message has left the ledger.
    fn after_removal(&self, sequence: Sequence, had_room: bool) {
        if !had_room {
            self.ease();
        }
        self.tell_keeper();
        self.look_at_drain(Some(sequence));
    }

    /// Whether a backlog is worth a line: not while none of it is sent, nor each time that the link comes back for a moment.
    fn is_news(&self, drain: &Drain) -> bool {
        let now = Instant::now();
        let is_known = self.backlog_said.get().is_some_and(|(messages, at)| {
            drain.messages() < messages.saturating_mul(2) && now.saturating_duration_since(at) < SAY_AGAIN
        });
        let is_news = self.held.borrow().is_none() && !is_known;
        if is_news {
            self.backlog_said.set(Some((drain.messages(), now)));
        }
        is_news
    }

    /// Says when the backlog is out.
    fn look_at_drain(&self, gone: Option<Sequence>) {
        let is_empty = self.ledger.borrow().is_empty();
        let mut drain = self.drain.borrow_mut();
        if let Some(drained) = drain.as_mut().and_then(|drain| drain.look(gone, is_empty, Instant::now())) {
            *drain = None;
            self.backlog_said.set(None);
            log::info!(
                GATEWIRE_EVENT = "backlog_sent", GATEWIRE_COUNT = drained.messages;
                "the backlog is out: {} in {:.0?}", count(drained.messages, "message"), drained.took
            );
        }
    }

    /// Tells who waits. One who has gone away doesn't mind.
    fn settle(&self, waiter: Option<Waiter>, outcome: &Outcome) {
        match waiter {
            Some(Waiter::Client(client)) => drop(client.send(outcome.clone())),
            // Until it is safe or has ended it stays in the quarantine, also when the daemon stops.
            Some(Waiter::Quarantine(_)) if *outcome == Outcome::Refused(Refusal::ShuttingDown) => {}
            Some(Waiter::Quarantine(place)) => self.quarantine.borrow_mut().finish(place, Instant::now()),
            None => {}
        }
    }

    /// The session is established: QoS 0 messages are taken too, and what waited goes out.
    pub(crate) fn link_up(&self) {
        let mut ledger = self.ledger.borrow_mut();
        ledger.link_up();
        let waiting = ledger.waiting() + ledger.in_flight() as u64;
        let drain = Drain::begin(ledger.next_sequence(), waiting, Instant::now());
        if let Some(drain) = drain.as_ref().filter(|drain| self.is_news(drain)) {
            let oldest = ledger.oldest().map_or_else(String::new, |at| format!(", the oldest from {at:.0}"));
            log::info!(
                GATEWIRE_EVENT = "backlog", GATEWIRE_COUNT = drain.messages();
                "{} for IoT Core{oldest}: they are sent first, in order, at the rate of [connection] rate_limit",
                count_that(drain.messages(), "message", "waits", "wait")
            );
        }
        drop(ledger);
        *self.drain.borrow_mut() = drain;
        self.gate.borrow_mut().admission.restart(source::now());
        self.let_in();
        self.connected.notify_one();
    }

    /// The network takes so many bytes a second, `None` for more than enough; it `has_moved`: some of what was written has arrived.
    pub(crate) fn link_moves(&self, bytes_per_second: Option<u64>, has_moved: bool) {
        self.gate.borrow_mut().admission.link_moves(bytes_per_second, has_moved, source::now());
        self.let_in();
    }

    /// The connection is gone: QoS 0 messages that weren't written are given up, QoS 1 messages stay.
    pub(crate) fn link_down(&self) {
        self.ledger.borrow_mut().link_down();
        *self.drain.borrow_mut() = None;
        self.settle_dropped();
        self.let_in();
        self.changed.notify_one();
    }

    /// Something holds messages back, or does no longer.
    pub(crate) fn set_held(&self, held: Option<HeldStatus>) {
        *self.held.borrow_mut() = held;
    }

    pub(crate) fn held(&self) -> Option<HeldStatus> {
        self.held.borrow().clone()
    }

    /// When the server is asked again.
    pub(crate) fn held_until(&self, at: Option<Timestamp>) {
        if let Some(held) = &mut *self.held.borrow_mut() {
            held.next_attempt = at;
        }
    }

    pub(crate) fn status(&self) -> OutboxStatus {
        let (ledger, quarantine) = (self.ledger.borrow(), self.quarantine.borrow());
        OutboxStatus {
            waiting: ledger.waiting(),
            in_flight: ledger.in_flight(),
            bytes: ledger.bytes(),
            oldest: ledger.oldest(),
            stored: ledger.stored(),
            dropped: self.dropped(),
            held: self.held.borrow().clone(),
            quarantined: quarantine.len(),
            quarantine: quarantine.status(),
            accepted: self.counters.accepted.get(),
            delivered: self.counters.delivered.get(),
            sent: self.counters.sent.get(),
            // While messages are held back it isn't going out.
            drain: self
                .drain
                .borrow()
                .as_ref()
                .filter(|_| self.held.borrow().is_none())
                .map(|drain| drain.status(Instant::now())),
        }
    }
}
