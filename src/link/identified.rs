//! Where gatewire is yet to get its identity there is nothing to connect with.

use std::future::pending;

use super::Link;
use crate::net::Network;

impl<N: Network> Link<N> {
    /// Completes when there are credentials to connect with, or the daemon stops. Whether there are.
    pub(super) async fn identified(&self) -> bool {
        while !self.stop.is_requested() {
            if self.setup().credentials.is_some() {
                return true;
            }
            self.changed.taken_up();
            self.state.unidentified();
            // All that can be done without is done, for as long as that may take.
            self.notifier.ready();
            // Whatever ends it is looked at.
            let _ = self.unless_interrupted(pending::<()>()).await;
        }
        false
    }
}
