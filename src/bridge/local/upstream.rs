//! What local brokers are told of the way to IoT Core.

use std::fmt;
use std::rc::Rc;

use tokio::sync::watch;

use crate::client::ConnectionState;

/// See the module.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) link: watch::Receiver<ConnectionState>,
    /// What they are at the moment.
    pub(crate) figures: Rc<dyn Fn() -> Figures>,
}

/// Numbers that Home Assistant shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Messages that wait for IoT Core.
    pub(crate) waiting: u64,
    /// Whole days until the certificate ends, below 0 once it has; `None` without one, or by a clock before its beginning.
    pub(crate) certificate_days: Option<i64>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("link", &self.link).finish_non_exhaustive()
    }
}
