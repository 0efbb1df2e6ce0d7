//! What comes from the local broker on its way into the outbox: one after another, when it is this bridge's turn and there is room.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::message::{AckToken, Outbound, Qos, Topic};
use crate::notify::LocalNotify;
use crate::outbox::{Outbox, Refusal, Sender, Source};
use crate::stop::Stop;
use crate::time;

/// Bytes of messages that the broker has sent with QoS 0, as it does with what is retained and was published so, and that wait for
/// their turn. It doesn't send them again. Beyond this they don't wait for their turn: what the link doesn't take goes to the disk.
const PRESSING: usize = 1024 * 1024;

/// Beyond this nothing more is read from the broker, for [`PAUSE`] at most: it also has to be heard that it is still there.
const FULL: usize = 2 * PRESSING;

/// The most. What comes beyond is dropped.
const MAX_QOS_0: usize = 4 * PRESSING;

/// See [`FULL`].
const PAUSE: Duration = Duration::from_secs(5);

/// With a full outbox it is looked again after so long, should nothing tell of room.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The rule that a message comes by.
pub(super) trait Origin: Sender {
    /// What was handed over never reached the outbox. Whether the broker sends it again, so that it needn't wait here.
    fn comes_again(&self, pending: &Pending) -> bool;

    /// The outbox has it from now on: the id by which it is told what became of it.
    fn begin(&self, pending: Pending) -> u64;

    /// The outbox didn't take it.
    fn withdraw(&self, id: u64) -> Option<Pending>;

    /// The outbox didn't take it, and won't.
    fn refused(&self, pending: &Pending, refusal: &Refusal);
}

/// What a message that was handed over is made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Pending {
    /// One message; QoS 0 ones have no token.
    Single(Option<AckToken>, Topic),
    /// What waited in the rule.
    Held(Vec<u64>, Topic),
}

impl Pending {
    /// Of how many messages.
    pub(super) fn parts(&self) -> u16 {
        match self {
            Pending::Single(..) => 1,
            Pending::Held(places, _) => u16::try_from(places.len()).unwrap_or(u16::MAX),
        }
    }
}

/// A message on its way.
#[derive(Debug)]
pub(super) struct Handing {
    pub(super) rule: Rc<dyn Origin>,
    pub(super) message: Outbound,
    pub(super) pending: Pending,
}

impl Handing {
    /// Nobody would send it again.
    fn is_qos_0(&self) -> bool {
        matches!(self.pending, Pending::Single(None, _))
    }
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// What is urgent, which goes first, and what isn't.
    urgent: RefCell<VecDeque<Handing>>,
    others: RefCell<VecDeque<Handing>>,
    qos_0: Cell<usize>,
    /// Since when more than [`FULL`] waits.
    full_since: Cell<Option<Instant>>,
    arrived: LocalNotify,
    /// There is room again.
    room: LocalNotify,
}

impl Queue {
    /// Adds a message; gives it back if there is no room.
    pub(super) fn push(&self, handing: Handing) -> Result<(), Handing> {
        if handing.is_qos_0() {
            let bytes = self.qos_0.get() + handing.message.size();
            if bytes > MAX_QOS_0 {
                return Err(handing);
            }
            self.set_qos_0(bytes);
        }
        self.lane(handing.message.urgent).borrow_mut().push_back(handing);
        self.arrived.notify();
        Ok(())
    }

    fn lane(&self, urgent: bool) -> &RefCell<VecDeque<Handing>> {
        if urgent { &self.urgent } else { &self.others }
    }

    fn set_qos_0(&self, bytes: usize) {
        self.qos_0.set(bytes);
        match bytes > FULL {
            true if self.full_since.get().is_some() => {}
            true => self.full_since.set(Some(time::now())),
            false if self.full_since.take().is_some() => self.room.notify(),
            false => {}
        }
    }

    /// Until when nothing more is to be read from the broker, unless there is room before.
    pub(super) fn full_until(&self) -> Option<Instant> {
        self.full_since.get().map(|since| since + PAUSE)
    }

    /// Completes when there may be room again.
    pub(super) async fn has_room(&self) {
        self.room.notified().await;
    }

    /// How many messages of a rule wait.
    pub(super) fn of(&self, rule: &Rc<dyn Origin>) -> u64 {
        let (urgent, others) = (self.urgent.borrow(), self.others.borrow());
        let of_rule = urgent.iter().chain(&*others).filter(|handing| Rc::ptr_eq(&handing.rule, rule));
        of_rule.map(|handing| u64::from(handing.pending.parts())).sum()
    }

    /// The connection to the broker is gone: what it sends again needn't wait here, too.
    pub(super) fn link_down(&self) {
        for lane in [&self.urgent, &self.others] {
            // What it gives back may tell others, who mustn't find this borrowed.
            let waiting = lane.take();
            let left = waiting.into_iter().filter(|handing| !handing.rule.comes_again(&handing.pending)).collect();
            lane.replace(left);
        }
    }

    /// Hands messages over, until the daemon stops.
    pub(super) async fn run(&self, outbox: &Rc<Outbox>, source: &Source, stop: &Stop) {
        loop {
            let Some((rule, message, pending)) = self.first() else {
                source.rest(false);
                tokio::select! {
                    biased;
                    () = stop.requested() => return,
                    () = self.arrived.notified() => continue,
                }
            };
            let is_pressing = self.qos_0.get() > PRESSING && outbox.has_room();
            if !is_pressing && !source.may_hand_over(Qos::AtLeastOnce, message.urgent) {
                source.rest(true);
                tokio::select! {
                    biased;
                    () = stop.requested() => return,
                    () = source.turn() => {}
                    () = self.arrived.notified() => {}
                    () = outbox.has_eased(), if self.qos_0.get() > PRESSING => {}
                }
                continue;
            }
            let (size, urgent, parts) = (message.size(), message.urgent, pending.parts());
            let id = rule.begin(pending.clone());
            let sender: Rc<dyn Sender> = Rc::clone(&rule) as _;
            match outbox.accept_from(&sender, id, message, parts) {
                Ok(()) => {
                    self.pop(urgent, &rule, &pending);
                    source.handed_over(size);
                }
                Err(Refusal::OutboxFull | Refusal::ReservedForUrgent | Refusal::NotConnected | Refusal::PastBudget) => {
                    drop(rule.withdraw(id));
                    source.rest(false);
                    tokio::select! {
                        biased;
                        () = stop.requested() => return,
                        () = outbox.has_eased() => {}
                        () = tokio::time::sleep(LOOK_AGAIN) => {}
                    }
                }
                // The broker sends it again.
                Err(Refusal::ShuttingDown) => return drop(rule.withdraw(id)),
                Err(refusal @ (Refusal::Rejected { .. } | Refusal::Expired)) => {
                    drop(rule.withdraw(id));
                    self.pop(urgent, &rule, &pending);
                    rule.refused(&pending, &refusal);
                }
            }
        }
    }

    fn first(&self) -> Option<(Rc<dyn Origin>, Outbound, Pending)> {
        let (urgent, others) = (self.urgent.borrow(), self.others.borrow());
        let Handing { rule, message, pending } = urgent.front().or_else(|| others.front())?;
        Some((Rc::clone(rule), message.clone(), pending.clone()))
    }

    /// The first of a lane is somebody else's now. It may have gone with the connection.
    fn pop(&self, urgent: bool, rule: &Rc<dyn Origin>, pending: &Pending) {
        let mut waiting = self.lane(urgent).borrow_mut();
        let gone = waiting.pop_front_if(|first| Rc::ptr_eq(&first.rule, rule) && first.pending == *pending);
        if let Some(gone) = gone.filter(Handing::is_qos_0) {
            self.set_qos_0(self.qos_0.get().saturating_sub(gone.message.size()));
        }
    }
}
