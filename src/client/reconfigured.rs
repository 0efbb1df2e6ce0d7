//! That the configuration of a connection has changed.

use std::cell::Cell;

use crate::notify::LocalNotify;

/// Wakes a connection when it is configured anew.
#[derive(Debug, Default)]
pub(crate) struct Reconfigured {
    announced: LocalNotify,
    is_pending: Cell<bool>,
}

impl Reconfigured {
    /// The configuration has changed.
    pub(crate) fn announce(&self) {
        self.is_pending.set(true);
        self.announced.notify();
    }

    /// What has changed is looked at now.
    pub(crate) fn taken_up(&self) {
        self.is_pending.set(false);
    }

    /// Completes while there is a change that isn't taken up.
    pub(crate) async fn announced(&self) {
        while !self.is_pending.get() {
            self.announced.notified().await;
        }
    }
}
