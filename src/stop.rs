//! The order to stop, given once and heard by every task.

use std::cell::Cell;

use tokio::sync::Notify;

/// Starts as not requested.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    requested: Cell<bool>,
    changed: Notify,
}

impl Stop {
    pub(crate) fn request(&self) {
        self.requested.set(true);
        self.changed.notify_waiters();
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.requested.get()
    }

    /// Completes once the stop is requested, at once if it was before.
    pub(crate) async fn requested(&self) {
        // On one thread nothing can come between the look at the flag and the wait.
        while !self.requested.get() {
            self.changed.notified().await;
        }
    }
}
