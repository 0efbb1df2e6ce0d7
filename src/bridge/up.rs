//! A rule from the local broker to IoT Core: its messages on their way into the outbox, and what became of them.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Instant;

use super::Bridge;
use super::cause::Cause;
use super::counters::{Counters, RuleStatus};
use super::handing::{Handing, Origin, Pending};
use super::held::{Held, Ready};
use crate::config;
use crate::mapping::Direction;
use crate::message::{AckToken, Inbound, Outbound, Topic};
use crate::outbox::{MessageOutcome, Refusal, Sender, Tally};
use crate::store::durable::DiskQueue;
use crate::store::keeper::Kept;
use crate::store::reminder::Reminder;
use crate::store::{Contents, Failure, QueueId, QueueState, Settling, accepted_now};
use crate::time;

/// A `[[bridge.up]]`.
#[derive(Debug)]
pub(super) struct UpRule {
    bridge: Weak<Bridge>,
    /// Of its queue in the store.
    name: String,
    itself: Weak<UpRule>,
    config: RefCell<config::Up>,
    counters: Counters,
    tally: Tally,
    /// With `every`, `on_change` or `batch`, now or before: what was held back then goes on from here.
    held: Option<RefCell<Held>>,
    reminder: Reminder,
    settling: Settling,
    /// Handed over to the outbox, which hasn't said yet what became of them.
    pending: RefCell<BTreeMap<u64, Pending>>,
    next_id: Cell<u64>,
}

/// Whether something may wait in a rule.
pub(super) fn holds(rule: &config::Up) -> bool {
    rule.every.is_some() || rule.on_change || rule.batch.is_some()
}

impl UpRule {
    /// A rule, with what is at its `place` on the disk if something may wait in it, or does.
    pub(super) fn new(bridge: &Weak<Bridge>, name: &str, config: &config::Up, place: Option<QueueState>) -> Rc<UpRule> {
        let by_clock = u64::try_from(time::wall().as_millisecond()).unwrap_or(0);
        let held = place.map(|place| {
            let first = if place.generation == 0 { QueueId::UNREAD + by_clock } else { by_clock };
            RefCell::new(Held::new(config, place, first))
        });
        Rc::new_cyclic(|itself| UpRule {
            bridge: Weak::clone(bridge),
            name: name.to_owned(),
            itself: Weak::clone(itself),
            config: RefCell::new(config.clone()),
            counters: Counters::default(),
            tally: Tally::default(),
            held,
            reminder: Reminder::default(),
            settling: Settling::default(),
            pending: RefCell::default(),
            next_id: Cell::new(0),
        })
    }

    /// Whether it can go on as `config`, with what waits in it and what it has counted.
    pub(super) fn can_become(&self, name: &str, config: &config::Up) -> bool {
        self.name == name && (self.held.is_some() || !holds(config))
    }

    pub(super) fn reconfigure(&self, config: &config::Up) {
        self.config.replace(config.clone());
        self.change(|held, now| held.reconfigure(config, now));
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn has_disk(&self) -> bool {
        self.held.is_some()
    }

    /// Takes a message over, which is `topic` on the other side.
    pub(super) fn take(&self, message: Outbound, came: &Inbound, token: Option<AckToken>, now: Instant) {
        if self.held.is_some() {
            self.change(|held, _| held.arrive(message, token, came.received_at, accepted_now(), now));
        } else {
            match self.hand_over(message, Pending::Single(token, came.topic.clone())) {
                true => self.counters.accepted(1),
                false => self.overflowed(&came.topic),
            }
        }
    }

    /// Whether there was room for it.
    fn hand_over(&self, message: Outbound, pending: Pending) -> bool {
        let (bridge, rule) = (self.bridge.upgrade(), self.itself.upgrade());
        bridge.zip(rule).is_some_and(|(bridge, rule)| bridge.hand_over(Handing { rule, message, pending }))
    }

    /// Only of what has QoS 0: everything else the broker keeps.
    fn overflowed(&self, topic: &Topic) {
        self.counters.dropped(Cause::KeepFull);
        if let Some(bridge) = self.bridge.upgrade() {
            bridge.name_left_out(Direction::Up, Cause::KeepFull, topic, super::why(Cause::KeepFull));
        }
    }

    /// Does what is due.
    pub(super) fn advance(&self) {
        self.change(Held::advance);
    }

    /// When that is.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.held.as_ref()?.borrow().timeout()
    }

    /// The connection to the local broker is gone.
    pub(super) fn link_down(&self) {
        self.change(Held::link_down);
    }

    /// It is safe, or given up: whoever waits for that is told.
    pub(super) fn finish(&self, pending: &Pending, refused: Option<&Refusal>) {
        let Some(bridge) = self.bridge.upgrade() else { return };
        let (Pending::Single(_, topic) | Pending::Held(_, topic)) = pending;
        if let Some(Refusal::Rejected { reason }) = refused {
            bridge.name_left_out(Direction::Up, Cause::Refused, topic, &format!("IoT Core refuses it: {reason}"));
        }
        match pending {
            Pending::Single(Some(token), _) => bridge.done(*token),
            Pending::Single(None, _) => {}
            Pending::Held(places, topic) => {
                self.change(|held, now| {
                    if refused.is_some() {
                        held.did_not_arrive(topic);
                    }
                    held.settled(places, now);
                });
            }
        }
    }

    /// Changes what waits, and passes on what has come of it.
    fn change<T>(&self, change: impl FnOnce(&mut Held, Instant) -> T) -> Option<T> {
        let held = self.held.as_ref()?;
        let (mut borrowed, now) = (held.borrow_mut(), time::now());
        let before = borrowed.timeout();
        let result = change(&mut borrowed, now);
        let is_another_time = borrowed.timeout() != before;
        let (ready, done, dropped) = (borrowed.take_ready(), borrowed.take_done(), borrowed.take_dropped());
        let early = borrowed.take_early();
        self.counters.accepted(borrowed.take_accepted());
        match borrowed.needs_keeper(now) {
            true => self.reminder.now(),
            false => self.reminder.at(borrowed.disk_timeout(), now),
        }
        drop(borrowed);
        dropped.into_iter().for_each(|cause| self.counters.dropped(cause));
        let bridge = self.bridge.upgrade()?;
        done.into_iter().for_each(|token| bridge.done(token));
        if early > 0 {
            bridge.went_early(&self.config.borrow().from);
        }
        for Ready { message, places } in ready {
            let topic = message.topic.clone();
            self.hand_over(message, Pending::Held(places, topic));
        }
        if is_another_time {
            bridge.look_at_the_time();
        }
        Some(result)
    }

    pub(super) fn status(&self, in_hand: u64) -> RuleStatus {
        // What waits here is all that is in hand, and what was handed over is in both.
        let handed: u64 = self
            .pending
            .borrow()
            .values()
            .filter(|pending| matches!(pending, Pending::Held(..)))
            .map(|pending| u64::from(pending.parts()))
            .sum();
        let here = self.held.as_ref().map_or(in_hand, |held| held.borrow().len().saturating_sub(handed));
        let waiting = self.tally.waiting() + here;
        let config = self.config.borrow();
        let mut status = self.counters.status(config.from.to_string(), waiting);
        status.urgent = Some(config.urgent);
        status.delivered += self.tally.delivered();
        status.add_dropped(Cause::Refused, self.tally.refused());
        status.add_dropped(Cause::Expired, self.tally.expired());
        status.add_dropped(Cause::KeepFull, self.tally.dropped());
        status
    }

    /// Has everything that waits put on the disk.
    pub(super) fn stop(&self) {
        self.change(|held, _| held.stop());
    }

    fn is_stored(&self) -> bool {
        self.held.as_ref().is_none_or(|held| held.borrow().is_stored())
    }

    /// How many messages wait in it.
    pub(super) fn waiting(&self) -> u64 {
        self.held.as_ref().map_or(0, |held| held.borrow().len())
    }

    /// The name of its queue in the store.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Completes when everything is on the disk, for which that may take any time.
    pub(super) async fn stored(&self) {
        self.settling.stored(|| self.is_stored()).await;
    }

    /// Likewise, or when there is no use in trying again.
    pub(super) async fn stored_or_given_up(&self) {
        self.settling.stored_or_given_up(|| self.is_stored()).await;
    }
}

impl Origin for UpRule {
    fn comes_again(&self, pending: &Pending) -> bool {
        match pending {
            Pending::Single(token, _) => token.is_some(),
            Pending::Held(places, _) => {
                let Some(held) = &self.held else { return false };
                let comes_again = held.borrow().come_again(places);
                if comes_again {
                    self.change(|held, now| held.settled(places, now));
                }
                comes_again
            }
        }
    }

    fn begin(&self, pending: Pending) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        self.pending.borrow_mut().insert(id, pending);
        id
    }

    fn withdraw(&self, id: u64) -> Option<Pending> {
        self.pending.borrow_mut().remove(&id)
    }

    fn refused(&self, pending: &Pending, refusal: &Refusal) {
        let cause = match refusal {
            Refusal::Rejected { .. } => Cause::Refused,
            Refusal::Expired => Cause::Expired,
            Refusal::OutboxFull
            | Refusal::ReservedForUrgent
            | Refusal::NotConnected
            | Refusal::PastBudget
            | Refusal::ShuttingDown => Cause::KeepFull,
        };
        (0..pending.parts()).for_each(|_| self.counters.dropped(cause));
        self.finish(pending, Some(refusal));
    }
}

impl Sender for UpRule {
    fn settled(&self, id: u64, outcome: &MessageOutcome) {
        let pending = match outcome {
            // The broker sends it again.
            MessageOutcome::Refused(Refusal::ShuttingDown) => return drop(self.withdraw(id)),
            _ => self.withdraw(id),
        };
        if let Some(pending) = pending {
            let refused = if let MessageOutcome::Refused(refusal) = outcome { Some(refusal) } else { None };
            self.finish(&pending, refused);
        }
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// Only for a rule in which something may wait.
impl Kept for UpRule {
    fn attach(&self, contents: &Contents) {
        self.change(|held, _| held.attach(contents));
    }

    fn queue(&self, _: QueueId) -> RefMut<'_, dyn DiskQueue> {
        match &self.held {
            Some(held) => RefMut::map(held.borrow_mut(), |held| held as _),
            None => unreachable!("a rule in which nothing waits has no keeper"),
        }
    }

    fn writers(&self) -> impl IntoIterator<Item = QueueId> {
        self.held.as_ref().map(|held| held.borrow().queue_id())
    }

    fn readers(&self) -> impl IntoIterator<Item = QueueId> {
        self.writers()
    }

    fn written(&self, _: QueueId, outcome: &Result<(), Failure>) {
        self.change(|_, _| ());
        self.settling.written(outcome);
    }

    fn loaded(&self) {
        self.change(|_, _| ());
    }

    fn timeout(&self) -> Option<Instant> {
        self.held.as_ref()?.borrow().disk_timeout()
    }

    fn reminder(&self) -> &Reminder {
        &self.reminder
    }

    fn is_stopping(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.borrow().is_stopping())
    }
}
