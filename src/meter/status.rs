//! The `meter` of the status document.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::account::Account;
use super::causes::Causes;
use super::level::{Level, used_percent};
use super::periods::Periods;
use crate::config::Budget;
use crate::mqtt::session::Label;
use crate::net::Carried;

/// Bytes to and from the network in this hour, day and month (UTC).
#[derive(Debug, Serialize)]
pub(crate) struct MeterStatus {
    hour: PeriodStatus,
    day: PeriodStatus,
    month: PeriodStatus,
    /// What those of the month were for.
    causes: BTreeMap<String, CauseStatus>,
    /// Left out unless there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<BudgetStatus>,
}

/// `meter.budget` of the status document.
#[derive(Debug, Serialize)]
struct BudgetStatus {
    /// Bytes a month.
    month: u64,
    used_percent: u64,
    warn_at: u8,
    then: &'static str,
    /// `within`, `near` (from `warn_at` on), or `past`.
    state: &'static str,
}

#[derive(Debug, Serialize)]
struct PeriodStatus {
    sent: u64,
    received: u64,
    /// Both together at its end, if it goes on like this; `None` as long as that can't be told.
    forecast: Option<u64>,
}

#[derive(Debug, Serialize)]
struct CauseStatus {
    sent: u64,
    received: u64,
}

pub(super) fn of(account: &Account, causes: &Causes, budget: Option<Budget>, wall: Timestamp) -> MeterStatus {
    let budget = budget.map(|budget| {
        let bytes = account.month.now().total();
        let Budget { month, warn_at, then } = budget;
        let state = Level::of(budget, bytes).as_str();
        BudgetStatus { month, used_percent: used_percent(budget, bytes), warn_at, then: then.as_str(), state }
    });
    let period = |periods: &Periods| {
        let Carried { sent, received } = periods.now().carried;
        PeriodStatus { sent, received, forecast: periods.now().forecast(wall) }
    };
    let by_cause = (0..).map(Label).zip(&account.month.now().by_cause);
    let counted = by_cause.filter(|(_, carried)| **carried != Carried::default());
    let causes = counted.map(|(label, Carried { sent, received })| {
        (causes.name(label), CauseStatus { sent: *sent, received: *received })
    });
    MeterStatus {
        hour: period(&account.hour),
        day: period(&account.day),
        month: period(&account.month),
        causes: causes.collect(),
        budget,
    }
}
