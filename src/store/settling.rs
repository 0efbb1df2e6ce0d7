//! Waits until all of a queue is on the disk.

use std::cell::Cell;

use tokio::sync::Notify;

use super::Failure;

/// Between a queue and who waits for its messages to be on the disk.
#[derive(Debug, Default)]
pub(crate) struct Settling {
    /// A write has ended.
    written: Notify,
    /// The last has failed for a reason that lasts.
    gave_up: Cell<bool>,
}

impl Settling {
    /// A write has ended.
    pub(crate) fn written(&self, outcome: &Result<(), Failure>) {
        self.gave_up.set(outcome.as_ref().is_err_and(Failure::lasts));
        self.written.notify_waiters();
    }

    /// Completes when `is_stored`, for which the disk may take any time.
    pub(crate) async fn stored(&self, is_stored: impl Fn() -> bool) {
        while !is_stored() {
            self.written.notified().await;
        }
    }

    /// Likewise, or when there is no use in trying again.
    pub(crate) async fn stored_or_given_up(&self, is_stored: impl Fn() -> bool) {
        self.gave_up.set(false);
        self.stored(|| is_stored() || self.gave_up.get()).await;
    }
}
