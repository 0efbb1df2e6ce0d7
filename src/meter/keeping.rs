//! The counts on the disk: one small note in the store, once an hour if something was counted, and at the end.

use std::time::Duration;

use super::{Meter, note};
use crate::net::Network;
use crate::store::{Store, Write};
use crate::time;

/// How often they are written at most. What was counted since is lost with the power.
const INTERVAL: Duration = Duration::from_secs(3600);

/// The disk isn't waited for longer than this before the link begins.
const PATIENCE: Duration = Duration::from_secs(2);

impl Meter {
    /// Counts in what an earlier process has noted, unless the disk takes too long for that: then it is done later.
    pub(crate) async fn recall_in_time(&self, store: &Store) {
        let _ = tokio::time::timeout(PATIENCE, self.recall(store)).await;
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

    /// Keeps them for ever. Without `[meter]` it waits for nothing but that.
    pub(crate) async fn keep(&self, store: &Store, network: &impl Network) {
        let mut due = time::now() + INTERVAL;
        loop {
            let is_on = self.running.borrow().is_some();
            let is_due = async {
                self.recall(store).await;
                tokio::time::sleep_until(due.into()).await;
            };
            tokio::select! {
                biased;
                () = self.changed.notified() => continue,
                () = is_due, if is_on => {}
            }
            self.save(store, network).await;
            due = time::now() + INTERVAL;
        }
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
