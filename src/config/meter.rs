//! `[meter]`: what is carried over the network is counted.

use std::time::Duration;

/// `[meter]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meter {
    /// `None`: it may be as much as it is.
    pub(crate) budget: Option<Budget>,
}

/// `meter.budget`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Bytes a month, both ways together.
    pub(crate) month: u64,
    /// Percent of them that are said.
    pub(crate) warn_at: u8,
    pub(crate) then: Then,
}

impl Budget {
    /// What waits for the next month is sent in its first hour.
    pub(crate) const SENT_WITHIN: Duration = Duration::from_secs(3600);

    /// No message waits for longer than this for that.
    pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(31 * 86_400 + 3600);
}

/// `meter.budget.then`: what happens past it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is said.
    Warn,
    /// And only what is urgent is published, until the next month.
    UrgentOnly,
}

impl Then {
    /// As the configuration has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Then::Warn => "warn",
            Then::UrgentOnly => "urgent-only",
        }
    }
}
