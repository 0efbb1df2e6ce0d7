//! The order to stop, given once.

use std::cell::Cell;

use crate::notify::LocalNotify;

/// Starts as not requested. One task, the link, waits for it.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    requested: Cell<bool>,
    changed: LocalNotify,
}

impl Stop {
    pub(crate) fn request(&self) {
        self.requested.set(true);
        self.changed.notify();
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
