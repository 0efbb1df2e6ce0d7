//! How far a month's budget is used. Pure.

use crate::config::Budget;

/// Where a month stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    #[default]
    Within,
    /// `warn_at` percent of it are used.
    Near,
    /// All of it is.
    Past,
}

impl Level {
    pub(super) const ALL: [Level; 3] = [Level::Within, Level::Near, Level::Past];

    pub(super) fn of(budget: Budget, bytes: u64) -> Level {
        match used_percent(budget, bytes) {
            _ if bytes >= budget.month => Level::Past,
            percent if percent >= u64::from(budget.warn_at) => Level::Near,
            _ => Level::Within,
        }
    }

    /// As the status document has it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Level::Within => "within",
            Level::Near => "near",
            Level::Past => "past",
        }
    }
}

/// Whole percents.
pub(super) fn used_percent(budget: Budget, bytes: u64) -> u64 {
    u64::try_from(u128::from(bytes) * 100 / u128::from(budget.month.max(1))).unwrap_or(u64::MAX)
}
