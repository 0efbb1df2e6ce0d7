//! `[jobs]` and `[commands]`: who may ask for actions.

use std::time::Duration;

use super::SocketFile;

/// `[jobs]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Jobs {
    /// Where a local program takes the jobs that no action takes. `None`: they are rejected.
    pub(crate) socket: Option<SocketFile>,
}

/// `[commands]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Commands {
    /// Older ones are refused.
    pub(crate) max_age: Duration,
}
