//! The outbox and the store: what is written and read, and in which order.
//!
//! The ledger and the quarantine are two queues of one keeper. A message that moves from the one to the other is on the disk in
//! its new place before it leaves the old one, whatever happens in between: what the quarantine has to write goes first, and it
//! lets go of what it gives back only when that is safe in the ledger.

use std::cell::{Cell, RefMut};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::ledger::Stored;
use super::{MessageOutcome, Outbox, Refusal, Waiter};
use crate::store::durable::DiskQueue;
use crate::store::keeper::{Kept, keep};
use crate::store::reminder::Reminder;
use crate::store::{Contents, Failure, QueueId, Store};
use crate::time;

/// The note about the quarantine isn't waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which queue writes first, and which has given up.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The quarantine couldn't write: the ledger may try, unless a message would be lost between the two.
    ledger_first: Cell<bool>,
    /// What is written was asked for after everything is to be on the disk.
    is_last_try: Cell<bool>,
    /// Which has failed then for a reason that lasts.
    ledger_gave_up: Cell<bool>,
    quarantine_gave_up: Cell<bool>,
}

impl Outbox {
    /// Keeps on the disk what has to be there, for ever. Once the link is up there is time to look at the whole database.
    pub(crate) async fn keep(self: Rc<Self>, store: Rc<Store>) {
        self.recall(&store).await;
        let check = async {
            self.connected.notified().await;
            store.check_in_background();
        };
        tokio::join!(keep(Rc::clone(&self), Rc::clone(&store)), store.opened(), check);
    }

    async fn recall(&self, store: &Store) {
        let note = tokio::time::timeout(PATIENCE, store.note(super::quarantine::NOTE)).await;
        if let Some(note) = note.ok().and_then(Result::ok).flatten() {
            self.quarantine.borrow_mut().recall(&note, time::now(), time::wall());
        }
        self.recalled.set(true);
        self.eased.notify_waiters();
    }

    /// Completes when it is known which topics are set aside.
    pub(crate) async fn recalled(&self) {
        while !self.recalled.get() {
            self.eased.notified().await;
        }
    }

    /// Has everything that is left put on the disk, once the link has stopped. Completes when it is, for which the disk may
    /// take any time, or when there is no use in trying again.
    pub(crate) async fn store_the_rest(&self) {
        self.ledger.borrow_mut().stop();
        self.quarantine.borrow_mut().stop();
        self.reminder.now();
        while !self.is_stored_or_given_up() {
            self.eased.notified().await;
        }
    }

    fn is_stored_or_given_up(&self) -> bool {
        let (ledger, quarantine, turns) = (self.ledger.borrow(), self.quarantine.borrow(), &self.turns);
        let quarantine_gave_up = turns.quarantine_gave_up.get();
        // What has to go first can't.
        let is_held_up = quarantine_gave_up && quarantine.must_write_first();
        (ledger.is_stored() || turns.ledger_gave_up.get() || is_held_up)
            && (quarantine.is_stored() || quarantine_gave_up)
    }

    /// The disk has had its time; returns how many QoS 1 messages aren't known to be on it. Who waits for them is told.
    pub(crate) fn abandon(&self) -> usize {
        let (mut unconfirmed, waiters) = self.ledger.borrow_mut().abandon();
        for waiter in waiters {
            // It lies in the quarantine, too.
            unconfirmed -= usize::from(matches!(waiter, Waiter::Quarantine(_)));
            self.settle(Some(waiter), &MessageOutcome::Refused(Refusal::ShuttingDown));
        }
        unconfirmed + self.quarantine.borrow_mut().unconfirmed()
    }

    /// How many messages are on the disk, on their way to IoT Core, in each of their queues.
    pub(crate) fn stored(&self) -> [(QueueId, u64); 2] {
        self.ledger.borrow().stored_by_queue()
    }
}

impl Kept for Outbox {
    fn attach(&self, contents: &Contents) {
        self.ledger.borrow_mut().attach(Stored::of(contents), contents.generation);
        self.quarantine.borrow_mut().attach(contents.totals(QueueId::QUARANTINE), contents.generation, time::now());
    }

    fn queue(&self, queue: QueueId) -> RefMut<'_, dyn DiskQueue> {
        match queue {
            QueueId::QUARANTINE => self.quarantine.borrow_mut(),
            _ => RefMut::map(self.ledger.borrow_mut(), |ledger| ledger.lane(queue) as _),
        }
    }

    fn writers(&self) -> impl IntoIterator<Item = QueueId> {
        self.expire();
        self.try_anew();
        self.turns.is_last_try.set(self.ledger.borrow().is_stopping());
        let urgent = self.ledger.borrow().urgent_queue();
        match self.turns.ledger_first.take() && !self.quarantine.borrow().must_write_first() {
            true => [urgent, QueueId::OUTBOX, QueueId::QUARANTINE],
            false => [QueueId::QUARANTINE, urgent, QueueId::OUTBOX],
        }
    }

    fn readers(&self) -> impl IntoIterator<Item = QueueId> {
        [self.ledger.borrow().urgent_queue(), QueueId::OUTBOX, QueueId::QUARANTINE]
    }

    fn written(&self, queue: QueueId, outcome: &Result<(), Failure>) {
        let is_quarantine = queue == QueueId::QUARANTINE;
        if self.turns.is_last_try.get() {
            let gave_up = if is_quarantine { &self.turns.quarantine_gave_up } else { &self.turns.ledger_gave_up };
            gave_up.set(outcome.as_ref().is_err_and(Failure::lasts));
        }
        if is_quarantine {
            self.turns.ledger_first.set(outcome.is_err());
            // What waits for room there goes on.
            self.arrived.notify();
        } else {
            let stored = self.ledger.borrow_mut().take_stored();
            stored.into_iter().for_each(|waiter| self.settle(Some(waiter), &MessageOutcome::Stored));
            if self.closed.get() {
                // There may be nothing left to send.
                self.arrived.notify();
            }
        }
        self.ease();
    }

    fn loaded(&self) {
        self.ledger.borrow_mut().loaded();
        self.settle_dropped();
        self.expire();
        self.arrived.notify();
    }

    fn timeout(&self) -> Option<Instant> {
        let timeouts = [self.ledger.borrow().timeout(), self.quarantine.borrow().timeout()];
        timeouts.into_iter().flatten().min()
    }

    fn reminder(&self) -> &Reminder {
        &self.reminder
    }

    fn is_stopping(&self) -> bool {
        self.closed.get()
    }
}

#[cfg(test)]
mod tests;
