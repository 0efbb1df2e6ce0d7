//! The counts on the disk: one small note in the store, soon after the start, once an hour if something was counted, and at the end.

use std::time::{Duration, Instant};

use super::judging::Hold;
use super::{Meter, note};
use crate::net::Network;
use crate::store::{Store, Write};
use crate::time;

/// How often they are written at most. What was counted since is lost with the power.
const INTERVAL: Duration = Duration::from_secs(3600);

/// When they are written first: a gateway that is never powered for an hour counts, too.
const FIRST: Duration = Duration::from_secs(300);

/// When the counts are written next. Pure.
#[derive(Debug)]
pub(super) struct Due(Instant);

impl Due {
    /// For a daemon that starts now.
    pub(super) fn from_start(now: Instant) -> Due {
        Due(now + FIRST)
    }

    /// Whether it is time, which it is only once.
    pub(super) fn is_now(&mut self, now: Instant) -> bool {
        let is_now = now >= self.0;
        if is_now {
            self.0 = now + INTERVAL;
        }
        is_now
    }
}

/// The end of a month isn't looked for more often.
const SOON: Duration = Duration::from_secs(1);

/// The disk isn't waited for longer than this before the link begins.
const PATIENCE: Duration = Duration::from_secs(2);

impl Meter {
    /// Counts in what an earlier process has noted, unless the disk takes too long for that: then it is done later.
    pub(crate) async fn recall_in_time(&self, store: &Store, network: &impl Network, hold: Hold<'_>) {
        if tokio::time::timeout(PATIENCE, self.recall(store)).await.is_ok() {
            self.judge(store, network, hold).await;
        }
    }

    async fn recall(&self, store: &Store) {
        if self.is_recalled.get() || self.running.borrow().is_none() {
            return;
        }
        let text = store.note_in_time(note::NAME, |_| {}).await;
        if let Some(running) = &mut *self.running.borrow_mut()
            && !self.is_recalled.replace(true)
        {
            note::recall(&text.unwrap_or_default(), &mut running.account, &running.causes);
        }
    }

    /// Keeps them for ever, and the month's budget. Without `[meter]` it waits for nothing but that.
    pub(crate) async fn keep(&self, store: &Store, network: &impl Network, hold: Hold<'_>) {
        let mut due = Due::from_start(time::now());
        loop {
            self.recall(store).await;
            self.judge(store, network, hold).await;
            let is_on = self.running.borrow().is_some();
            tokio::select! {
                biased;
                () = self.changed.notified() => continue,
                () = tokio::time::sleep_until(self.wake_at(&due).into()), if is_on => {}
            }
            if due.is_now(time::now()) {
                self.save(store, network).await;
            }
        }
    }

    /// When the counts are due, or what waits for the next month may go.
    fn wake_at(&self, due: &Due) -> Instant {
        let left = self.waits_until().map(|until| until.duration_since(time::wall()));
        let left = left.and_then(|left| Duration::try_from(left).ok());
        // A clock that is set back by a little is looked at again.
        left.map_or(due.0, |left| due.0.min(time::now() + left.max(SOON)))
    }

    /// Writes what isn't on the disk yet. Nothing, as long as it isn't known what is there.
    pub(crate) async fn save(&self, store: &Store, network: &impl Network) {
        self.collect(network, time::wall());
        let text = match &mut *self.running.borrow_mut() {
            Some(running) if running.account.is_unsaved() && self.is_recalled.get() => {
                running.account.set_unsaved(false);
                note::text(&running.account, &running.causes)
            }
            _ => return,
        };
        let written = store.write(Write::of_notes(vec![(note::NAME.into(), text)])).await;
        if written.is_err()
            && let Some(running) = &mut *self.running.borrow_mut()
        {
            // The store says what is wrong with the disk.
            running.account.set_unsaved(true);
        }
    }
}
