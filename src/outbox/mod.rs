//! What waits for IoT Core: every message that a schedule or a local client has handed over, until the link has delivered it.
//!
//! The decisions are in [`ledger`]; this file gives them to the tasks: who accepted a message may wait for its [`MessageOutcome`],
//! the link is woken when there is something to send, and the store is given what has to outlive the daemon.

mod admission;
mod bounds;
mod drain;
mod dropping;
mod keeping;
mod latency;
mod ledger;
mod outcome;
mod quarantine;
mod refusing;
mod senders;
mod sending;
mod shares;
#[cfg(test)]
mod simulated;
mod source;
mod status;
mod waiter;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use crate::config;
use crate::message::{Outbound, Qos};
use crate::notify::LocalNotify;
use crate::socket::Seldom;
#[cfg(test)]
use crate::store::Contents;
use crate::store::keeper::Kept as _;
use crate::store::reminder::Reminder;
use crate::store::{Moment, QueueId, Store, Totals, accepted_now};
use crate::time;
use admission::By;
use bounds::Bounds;
use drain::Drain;
use dropping::Dropped;
use keeping::Turns;
use latency::Latency;
use ledger::{Cause, Full, Ledger, LinkState, Stored};
pub(crate) use outcome::{MessageOutcome, Refusal};
use quarantine::Quarantine;
use senders::Senders;
pub(crate) use senders::{Sender, Tally};
use source::Gate;
pub(crate) use source::Source;
pub(crate) use status::{HeldStatus, OutboxStatus};
use waiter::Waiter;

/// Once nothing is accepted any more, what waits is sent for so long before it is written to the disk.
const SENT_BEFORE: Duration = Duration::from_millis(500);

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
    /// Whose messages are counted.
    senders: RefCell<Senders>,
    /// Whose turn it is with the store.
    turns: Turns,
    drain: RefCell<Option<Drain>>,
    /// Something for the link.
    arrived: LocalNotify,
    /// Something for the store.
    reminder: Reminder,
    /// Memory has room again, or everything is stored.
    eased: Notify,
    /// The link is up.
    connected: LocalNotify,
    closed: Cell<bool>,
    counters: OutboxCounters,
    latency: Latency,
    drops: Seldom,
    drops_said: Cell<Dropped>,
    held: RefCell<Option<HeldStatus>>,
    /// What isn't urgent waits, whatever the link takes: why.
    held_back: RefCell<Option<HeldStatus>>,
    /// The backlog of which it was said last that it goes out, and isn't out: how many messages, and when that was.
    backlog_said: Cell<Option<(u64, Instant)>>,
}

/// What has happened since the start.
#[derive(Debug, Default)]
struct OutboxCounters {
    accepted: Cell<u64>,
    delivered: Cell<u64>,
    sent: Cell<u64>,
    dropped: Cell<Dropped>,
}

fn add(counter: &Cell<u64>, n: u64) {
    counter.set(counter.get() + n);
}

impl Outbox {
    /// The outbox, with what the store holds of it.
    pub(crate) fn new(config: &config::Outbox, limit: &config::RateLimit, store: &Store) -> Rc<Outbox> {
        let contents = store.contents();
        let contents = contents.borrow();
        let (stored, quarantine) = (Stored::of(&contents), contents.totals(QueueId::QUARANTINE));
        // Places grow from one start to the next by the clock, too: what is deleted and comes to light when a damaged database
        // is read is never taken for another message.
        let by_clock = u64::try_from(time::wall().as_millisecond()).unwrap_or(0);
        let first = if contents.generation == 0 { QueueId::UNREAD + by_clock } else { by_clock };
        Outbox::with(config, limit, (stored, quarantine), contents.generation, first)
    }

    fn with(
        config: &config::Outbox,
        limit: &config::RateLimit,
        (stored, quarantine): (Stored, Totals),
        generation: u64,
        first: u64,
    ) -> Rc<Outbox> {
        let bounds = Bounds::new(config);
        let quarantine = Quarantine::new(&bounds, quarantine, generation, first, time::now());
        Rc::new(Outbox {
            config: RefCell::new(config.clone()),
            ledger: RefCell::new(Ledger::new(bounds, stored, generation, first)),
            quarantine: RefCell::new(quarantine),
            recalled: Cell::new(false),
            gate: RefCell::new(Gate::new(limit)),
            senders: RefCell::default(),
            turns: Turns::default(),
            drain: RefCell::default(),
            arrived: LocalNotify::default(),
            reminder: Reminder::default(),
            eased: Notify::new(),
            connected: LocalNotify::default(),
            closed: Cell::new(false),
            counters: OutboxCounters::default(),
            latency: Latency::default(),
            drops: Seldom::default(),
            drops_said: Cell::default(),
            held: RefCell::default(),
            held_back: RefCell::default(),
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
        Outbox::with(config, &limit, (Stored::of(&Contents::default()), Totals::default()), 0, 0)
    }

    /// Other bounds hold from now on.
    pub(crate) fn reconfigure(&self, config: &config::Outbox, limit: &config::RateLimit) {
        self.gate.borrow_mut().change_link(|link| link.set_limit(limit));
        self.config.borrow_mut().clone_from(config);
        let bounds = Bounds::new(config);
        self.quarantine.borrow_mut().set_bounds(&bounds);
        self.ledger.borrow_mut().set_bounds(bounds);
        self.share_room();
        self.settle_dropped();
        self.tell_keeper(time::now());
    }

    /// Takes a message; the receiver gets what became of it. Dropping the receiver doesn't take the message back. QoS 0 is
    /// taken only while the link is up: somebody waits for the answer.
    pub(crate) fn accept(&self, message: Outbound) -> Result<oneshot::Receiver<MessageOutcome>, Refusal> {
        self.admit(&message, self.ledger.borrow().link_for(message.urgent) == LinkState::Up)?;
        self.is_not_refused(&message)?;
        let (waiter, outcome) = oneshot::channel();
        self.take_in(message, Some(Waiter::Client(waiter)), By::Client)?;
        Ok(outcome)
    }

    /// Takes a QoS 1 message of `sender`, which is told what becomes of it by the `id` that it has there. `parts` of its own
    /// messages are in it, which are counted for it for as long as the daemon runs.
    pub(crate) fn accept_from(
        &self,
        sender: &Rc<dyn Sender>,
        id: u64,
        message: Outbound,
        parts: u16,
    ) -> Result<(), Refusal> {
        self.admit(&message, self.ledger.borrow().link_for(message.urgent) == LinkState::Up)?;
        self.is_not_refused(&message)?;
        let place = self.ledger.borrow().next_sequence().get();
        self.senders.borrow_mut().note(place, sender, parts);
        let taken = self.take_in(message, Some(Waiter::Sender(Rc::clone(sender), id)), By::Client);
        if taken.is_err() {
            self.senders.borrow_mut().take_back(place);
        }
        taken
    }

    /// Has what was given up meanwhile counted for who sent it.
    pub(crate) fn count_given_up(&self) {
        self.senders.borrow_mut().forget_before(self.ledger.borrow().first());
    }

    /// Completes when there may be room again for what was refused because there was none.
    pub(crate) async fn has_eased(&self) {
        self.eased.notified().await;
    }

    /// Takes a message whose outcome nobody waits for. QoS 0 is taken before the first attempt to connect has ended, too:
    /// what is scheduled for the start isn't lost to the milliseconds that connecting takes.
    pub(crate) fn submit(&self, message: Outbound) -> Result<(), Refusal> {
        self.admit(&message, self.ledger.borrow().link_for(message.urgent) != LinkState::Down)?;
        let refused = self.is_not_refused(&message);
        match refused {
            Err(refusal) if message.qos == Qos::AtMostOnce => Err(refusal),
            Err(_) if !self.ledger.borrow().has_room_by_rule(message.size() as u64, message.urgent) => {
                Err(self.why_full(message.urgent))
            }
            Err(_) => {
                self.quarantine_at_once(message);
                Ok(())
            }
            Ok(()) => self.take_in(message, None, By::Schedule),
        }
    }

    /// Whether there is room in memory.
    pub(crate) fn has_room(&self) -> bool {
        self.ledger.borrow().has_room(false)
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
            let why = self.ledger.borrow().why_not_qos_0(message.urgent);
            self.count_dropped(why);
            return Err(why.into());
        }
        Ok(())
    }

    fn take_in(&self, message: Outbound, waiter: Option<Waiter>, by: By) -> Result<(), Refusal> {
        let (size, urgent, now) = (message.size(), message.urgent, time::now());
        self.share_room();
        let mut ledger = self.ledger.borrow_mut();
        let accepted = ledger.accept(message, waiter, now, time::wall(), accepted_now());
        drop(ledger);
        accepted.map_err(|Full| self.why_full(urgent))?;
        self.gate.borrow_mut().admission(urgent).accepted(by, size, source::now());
        add(&self.counters.accepted, 1);
        self.share_room();
        self.settle_dropped();
        self.arrived.notify();
        self.tell_keeper(now);
        Ok(())
    }

    /// Why there is no room for a message of this kind.
    fn why_full(&self, urgent: bool) -> Refusal {
        match self.ledger.borrow().keeps_reserve() && !urgent {
            true => Refusal::ReservedForUrgent,
            false => Refusal::OutboxFull,
        }
    }

    /// The keeper knows when the first message is due; it has to be told of what comes before that.
    fn tell_keeper(&self, now: Instant) {
        let (ledger, quarantine) = (self.ledger.borrow(), self.quarantine.borrow());
        if quarantine.needs_keeper() || quarantine.is_releasing() || ledger.needs_keeper() {
            self.reminder.now();
        } else {
            self.reminder.at(self.timeout(), now);
        }
    }

    fn count(&self, outcome: &MessageOutcome) {
        let mut dropped = self.counters.dropped.get();
        match outcome {
            MessageOutcome::Delivered => add(&self.counters.delivered, 1),
            MessageOutcome::Sent => add(&self.counters.sent, 1),
            MessageOutcome::Refused(Refusal::Rejected { .. }) => dropped.rejected += 1,
            MessageOutcome::Refused(Refusal::Expired) => dropped.expired += 1,
            MessageOutcome::Stored | MessageOutcome::Refused(_) => {}
        }
        self.counters.dropped.set(dropped);
    }

    fn count_dropped(&self, cause: Cause) {
        let mut dropped = self.counters.dropped.get();
        match cause {
            Cause::Full => dropped.full += 1,
            Cause::Expired => dropped.expired += 1,
            Cause::NotConnected | Cause::HeldBack => dropped.not_connected += 1,
        }
        self.counters.dropped.set(dropped);
    }

    /// Gives up what has waited for too long, if it is time to look.
    fn expire(&self) {
        let now = time::now();
        if self.ledger.borrow().expiry_is_due(now) {
            self.ledger.borrow_mut().expire(now, &Moment::now());
            self.settle_dropped();
            self.look_at_drain(None, now);
        }
    }

    /// Accepts nothing from now on. What isn't sent soon goes to the disk.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.let_all_in();
        self.ledger.borrow_mut().hasten(time::now() + SENT_BEFORE);
        self.reminder.now();
        self.arrived.notify();
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

    /// Tells who waits. One who has gone away doesn't mind.
    fn settle(&self, waiter: Option<Waiter>, outcome: &MessageOutcome) {
        match waiter {
            Some(Waiter::Client(client)) => drop(client.send(outcome.clone())),
            Some(Waiter::Sender(sender, id)) => sender.settled(id, outcome),
            // Until it is safe or has ended it stays in the quarantine, also when the daemon stops.
            Some(Waiter::Quarantine(_)) if *outcome == MessageOutcome::Refused(Refusal::ShuttingDown) => {}
            Some(Waiter::Quarantine(place)) => self.quarantine.borrow_mut().finish(place, time::now()),
            None => {}
        }
    }
}
