//! A rule from IoT Core to the local broker: what waits there, in memory and on the disk.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Bridge;
use super::cause::Cause;
use super::counters::{Counters, RuleStatus};
use crate::config;
use crate::forward::{Acks, Keep};
use crate::message::{AckToken, Inbound, Outbound, Qos};
use crate::store::durable::DiskQueue;
use crate::store::keeper::Kept;
use crate::store::reminder::Reminder;
use crate::store::{Contents, Failure, QueueId, QueueState, Settling};
use crate::time;

/// A `[[bridge.down]]`.
#[derive(Debug)]
pub(super) struct DownRule {
    bridge: Weak<Bridge>,
    /// Of its queue in the store.
    name: String,
    config: RefCell<config::Down>,
    /// What IoT Core may be told of: also if the bridge is there no more.
    acks: Rc<Acks>,
    counters: Counters,
    keep: RefCell<Keep>,
    /// A message that the local broker doesn't take for so long is put on the disk.
    spill_after: Cell<Duration>,
    reminder: Reminder,
    settling: Settling,
}

impl DownRule {
    pub(super) fn new(
        bridge: &Weak<Bridge>,
        name: &str,
        acks: &Rc<Acks>,
        config: &config::Down,
        spill_after: Duration,
        place: QueueState,
    ) -> Rc<DownRule> {
        Rc::new(DownRule {
            bridge: Weak::clone(bridge),
            name: name.to_owned(),
            acks: Rc::clone(acks),
            keep: RefCell::new(Keep::new(&config.keep, place)),
            config: RefCell::new(config.clone()),
            counters: Counters::default(),
            spill_after: Cell::new(spill_after),
            reminder: Reminder::default(),
            settling: Settling::default(),
        })
    }

    pub(super) fn can_become(&self, name: &str) -> bool {
        self.name == name
    }

    pub(super) fn reconfigure(&self, config: &config::Down, spill_after: Duration) {
        self.config.replace(config.clone());
        self.spill_after.set(spill_after);
        self.change(|keep, _| keep.set_bounds(&config.keep));
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes a message over, whose topic is that of the local broker.
    pub(super) fn take(&self, id: u64, message: &Inbound, token: Option<AckToken>) {
        self.counters.accepted(1);
        self.change(|keep, now| {
            if !keep.adopts(message, token) {
                keep.insert(id, message, token, now + self.spill_after.get());
            }
        });
    }

    /// The next message for the local broker: its id, and what is sent.
    pub(super) fn front(&self) -> Option<(u64, Outbound)> {
        self.keep.borrow().front().map(|(id, message)| (id, outbound(message)))
    }

    /// The first message that is admitted, with its size. What the session suspects is passed over: others go before it then.
    pub(super) fn first(&self, mut admits: impl FnMut(&Outbound) -> bool) -> Option<(u64, usize)> {
        let keep = self.keep.borrow();
        let mut waiting = keep.visible().map(|(id, message)| (id, outbound(message)));
        waiting.find(|(_, message)| admits(message)).map(|(id, message)| (id, message.size()))
    }

    /// All that can be sent, in order.
    pub(super) fn visible(&self) -> Vec<(u64, Outbound)> {
        self.keep.borrow().visible().map(|(id, message)| (id, outbound(message))).collect()
    }

    /// Gives a message to the session.
    pub(super) fn give(&self, id: u64) -> Option<Outbound> {
        self.change(|keep, _| keep.take_at(id).map(outbound))
    }

    /// Whether it was one that the local broker had been given, and is done now.
    pub(super) fn finish(&self, id: u64, dropped: Option<Cause>) -> bool {
        if self.keep.borrow().taken(id).is_none() {
            return false;
        }
        match dropped {
            Some(cause) => self.counters.dropped(cause),
            None => self.counters.delivered(),
        }
        self.change(|keep, now| keep.finish(id, now));
        true
    }

    /// What the session had waits again, at its old place.
    pub(super) fn put_back(&self, id: u64) {
        self.change(|keep, now| keep.put_back(id, now));
    }

    /// The link to IoT Core is down: what has no PUBACK comes again.
    pub(super) fn link_down(&self) {
        self.change(|keep, _| keep.link_down());
    }

    pub(super) fn hasten(&self, due: Instant) {
        self.change(|keep, _| keep.hasten(due));
    }

    /// Has everything put on the disk, what the session has included: its PUBACK may still come.
    pub(super) fn stop(&self) {
        self.change(|keep, _| keep.stop());
    }

    /// How many messages wait.
    pub(super) fn waiting(&self) -> u64 {
        self.keep.borrow().len()
    }

    fn is_stored(&self) -> bool {
        self.keep.borrow().is_stored()
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

    pub(super) fn last_stored(&self) -> Option<u64> {
        self.keep.borrow().last_stored()
    }

    pub(super) fn status(&self) -> RuleStatus {
        let keep = self.keep.borrow();
        let mut status = self.counters.status(self.config.borrow().from.to_string(), keep.len());
        status.add_dropped(Cause::KeepFull, keep.dropped());
        status
    }

    fn change<T>(&self, change: impl FnOnce(&mut Keep, Instant) -> T) -> T {
        let (mut keep, now) = (self.keep.borrow_mut(), time::now());
        let result = change(&mut keep, now);
        let done: Vec<AckToken> = keep.take_done().collect();
        match keep.needs_keeper() {
            true => self.reminder.now(),
            false => self.reminder.at(keep.timeout(), now),
        }
        let has_more = keep.front().is_some();
        drop(keep);
        done.into_iter().for_each(|token| self.acks.done(token));
        if let Some(bridge) = self.bridge.upgrade().filter(|_| has_more) {
            bridge.something_for_the_local_broker();
        }
        result
    }
}

/// As the session sends it. What has come from the disk counts its time by the clock.
fn outbound(message: &Inbound) -> Outbound {
    let Inbound { topic, payload, retain, mut properties, received_at, .. } = message.clone();
    if let Some(properties) = properties.as_mut().filter(|properties| properties.lacks_its_end()) {
        let age = Duration::try_from(time::wall().duration_since(received_at)).unwrap_or_default();
        Arc::make_mut(properties).count_on(time::now(), age);
    }
    Outbound { topic, payload, qos: Qos::AtLeastOnce, retain, urgent: false, properties }
}

impl Kept for DownRule {
    fn attach(&self, contents: &Contents) {
        self.change(|keep, _| keep.attach(contents));
    }

    fn queue(&self, _: QueueId) -> RefMut<'_, dyn DiskQueue> {
        RefMut::map(self.keep.borrow_mut(), |keep| keep as _)
    }

    fn writers(&self) -> impl IntoIterator<Item = QueueId> {
        [self.keep.borrow().queue_id()]
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
        self.keep.borrow().timeout()
    }

    fn reminder(&self) -> &Reminder {
        &self.reminder
    }

    fn is_stopping(&self) -> bool {
        self.keep.borrow().is_stopping()
    }
}
