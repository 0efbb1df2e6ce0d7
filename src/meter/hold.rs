//! Whether what isn't urgent is held back, and until when. Pure.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::level::Level;
use super::periods::{Periods, Span};
use crate::config::{Budget, Then};
use crate::cost;
use crate::duration::written;

/// What isn't urgent waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) budget: Budget,
    /// `None` as long as the clock wasn't set.
    pub(super) until: Option<Timestamp>,
}

/// How long after the month what waits goes out, for this client: always the same, and another one for each. A fleet whose budgets were
/// all used up would send what waited in the same second, more than an account takes.
pub(super) fn delay(client_id: &str) -> SignedDuration {
    let within = Budget::SENT_WITHIN.as_millis();
    SignedDuration::from_millis((u128::from(crc32fast::hash(client_id.as_bytes())) % within) as i64)
}

impl Held {
    /// While `then` says so: in a month whose budget is used up, and `delay` longer, also for a process that has begun since.
    pub(super) fn of(months: &Periods, budget: Option<Budget>, delay: SignedDuration, wall: Timestamp) -> Option<Held> {
        let budget = budget.filter(|budget| budget.then == Then::UrgentOnly)?;
        let is_past = |bytes| Level::of(budget, bytes) == Level::Past;
        let until = |span: Span| span.end.checked_add(delay).ok();
        let now = months.now();
        if is_past(now.total()) {
            return Some(Held { budget, until: now.span.and_then(until) });
        }
        let begun = now.span?.start;
        let before = months.all().iter().find(|month| month.span.is_some_and(|span| span.end == begun))?;
        let until = until(before.span?)?;
        (is_past(before.total()) && begun <= wall && wall < until).then_some(Held { budget, until: Some(until) })
    }

    /// For people: what becomes of what is accepted now and doesn't live to see that, if it may be so.
    pub(super) fn loss(self, max_age: Duration, wall: Timestamp) -> Option<String> {
        let left =
            self.until.map_or(Budget::LONGEST_WAIT, |until| until.duration_since(wall).try_into().unwrap_or_default());
        (max_age < left)
            .then(|| format!("What has waited for [outbox] max_age ({}) by then is dropped", written(max_age)))
    }

    /// Why it waits no longer, with this budget.
    pub(super) fn lifted(self, budget: Option<Budget>) -> Lifted {
        match budget {
            None => Lifted::Removed,
            Some(Budget { then: Then::Warn, .. }) => Lifted::OnlyWarns,
            Some(Budget { month, .. }) if month > self.budget.month => Lifted::Larger(month),
            Some(_) => Lifted::AnotherMonth,
        }
    }
}

/// Why what waited may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifted {
    AnotherMonth,
    /// To so many bytes.
    Larger(u64),
    OnlyWarns,
    Removed,
}

impl fmt::Display for Lifted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lifted::AnotherMonth => f.write_str("another month has begun"),
            Lifted::Larger(month) => write!(f, "the month's budget is {} now and isn't used up", cost::bytes(*month)),
            Lifted::OnlyWarns => f.write_str("the month's budget only warns now"),
            Lifted::Removed => f.write_str("the month has no budget any more"),
        }
    }
}
