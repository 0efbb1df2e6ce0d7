//! What was carried in an hour, a day or a month, by a clock that may be wrong and may be set. Pure.
//!
//! Bytes belong to the period that the clock shows when they are counted, and the last few periods are remembered: a clock that is
//! set back adds to the one that it comes back to, and one that is set right again goes on where it was. So nothing is lost, nothing
//! is counted twice, and no period begins anew because a clock went to and fro. A clock that shows a year before
//! [`FIRST_YEAR`] was never set: what is counted then belongs to the period known last, or to the first that comes.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use super::level::Level;
use crate::mqtt::session::Label;
use crate::net::Carried;

/// Of so many periods of a kind the counts are remembered.
pub(super) const KEPT: usize = 3;

/// No clock of a gateway that is right shows an earlier year.
const FIRST_YEAR: i16 = 2020;

/// A forecast needs this part of its period.
const LEAST_SHARE: i128 = 20;

/// A kind of period, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Hour,
    Day,
    Month,
}

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: Timestamp,
    /// The first moment that isn't in it.
    pub(super) end: Timestamp,
}

impl Unit {
    /// The one that `wall` is in; `None` if the clock wasn't set, or is beyond all bounds.
    pub(super) fn span(self, wall: Timestamp) -> Option<Span> {
        let shown = TimeZone::UTC.to_datetime(wall);
        if shown.year() < FIRST_YEAR {
            return None;
        }
        let date = shown.date();
        let (start, end) = match self {
            Unit::Hour => {
                let start = date.at(shown.hour(), 0, 0, 0);
                (start, start.checked_add(1.hour()).ok()?)
            }
            Unit::Day => (midnight(date), midnight(date.tomorrow().ok()?)),
            Unit::Month => {
                let first = date.first_of_month();
                (midnight(first), midnight(first.checked_add(1.month()).ok()?))
            }
        };
        let instant = |at| TimeZone::UTC.to_timestamp(at).ok();
        Some(Span { start: instant(start)?, end: instant(end)? })
    }
}

fn midnight(date: Date) -> jiff::civil::DateTime {
    date.at(0, 0, 0, 0)
}

/// What was carried in one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Period {
    /// `None`: the clock wasn't set yet.
    pub(super) span: Option<Span>,
    /// Since when it is counted: later than its beginning in the first one that there is.
    pub(super) since: Option<Timestamp>,
    pub(super) carried: Carried,
    /// By label; of months alone.
    pub(super) by_cause: Vec<Carried>,
    /// What was said of the budget; of months alone.
    pub(super) said: Level,
}

pub(super) fn plus(one: Carried, other: Carried) -> Carried {
    Carried { sent: one.sent.saturating_add(other.sent), received: one.received.saturating_add(other.received) }
}

impl Period {
    pub(super) fn total(&self) -> u64 {
        self.carried.sent.saturating_add(self.carried.received)
    }

    pub(super) fn cause(&mut self, label: Label) -> &mut Carried {
        let index = usize::from(label.0);
        if self.by_cause.len() <= index {
            self.by_cause.resize(index + 1, Carried::default());
        }
        &mut self.by_cause[index]
    }

    /// Adds what `other` has of the same period.
    fn add(&mut self, other: &Period) {
        self.carried = plus(self.carried, other.carried);
        for (label, carried) in (0..).map(Label).zip(&other.by_cause) {
            let own = self.cause(label);
            *own = plus(*own, *carried);
        }
        self.said = self.said.max(other.said);
        self.since = match (self.since, other.since) {
            (Some(own), Some(others)) => Some(own.min(others)),
            (own, others) => own.or(others),
        };
    }

    /// Bytes both ways at its end, if it goes on as it did since it is counted. `None` before a twentieth of it has passed, or while
    /// the clock shows another time.
    pub(super) fn forecast(&self, wall: Timestamp) -> Option<u64> {
        let (Span { start, end }, since) = (self.span?, self.since?);
        if wall < start || wall >= end {
            return None;
        }
        let passed = wall.duration_since(since.max(start)).as_nanos();
        if passed * LEAST_SHARE < end.duration_since(start).as_nanos() || passed <= 0 {
            return None;
        }
        let left = end.duration_since(wall).as_nanos();
        let more = i128::from(self.total()).checked_mul(left / 1_000_000)? / (passed / 1_000_000).max(1);
        Some(self.total().saturating_add(u64::try_from(more).unwrap_or(u64::MAX)))
    }
}

/// The last of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Periods {
    unit: Unit,
    /// At least one; the first is the one that is counted in now, and the others follow by when they were that.
    kept: Vec<Period>,
}

impl Periods {
    pub(super) fn new(unit: Unit) -> Periods {
        Periods { unit, kept: vec![Period::default()] }
    }

    pub(super) fn unit(&self) -> Unit {
        self.unit
    }

    pub(super) fn all(&self) -> &[Period] {
        &self.kept
    }

    pub(super) fn now(&self) -> &Period {
        &self.kept[0]
    }

    pub(super) fn now_mut(&mut self) -> &mut Period {
        &mut self.kept[0]
    }

    /// The clock shows `wall`: what comes is counted there.
    pub(super) fn turn_to(&mut self, wall: Timestamp) {
        if self.now().span.is_some_and(|span| span.start <= wall && wall < span.end) {
            return;
        }
        let Some(span) = self.unit.span(wall) else { return };
        let nameless = self.now().span.is_none().then(|| self.kept.remove(0));
        let known = self.kept.iter().position(|period| period.span == Some(span));
        let mut period = match known {
            Some(known) => self.kept.remove(known),
            None => {
                // Of the first one the beginning wasn't counted.
                let follows =
                    self.kept.iter().any(|before| before.span.is_some_and(|before| before.start < span.start));
                Period { span: Some(span), since: Some(if follows { span.start } else { wall }), ..Period::default() }
            }
        };
        if let Some(nameless) = nameless {
            period.add(&nameless);
        }
        self.kept.insert(0, period);
        self.kept.truncate(KEPT);
    }

    /// Adds what an earlier process has counted, the last one first.
    pub(super) fn recall(&mut self, noted: Vec<Period>) {
        if self.now().span.is_none()
            && let Some(last) = noted.first().and_then(|last| last.span)
        {
            // The clock isn't set: it goes on with the one known last.
            self.now_mut().span = Some(last);
        }
        for period in noted.into_iter().filter(|period| period.span.is_some()) {
            match self.kept.iter_mut().find(|own| own.span == period.span) {
                Some(own) => own.add(&period),
                None => self.kept.push(period),
            }
        }
        let first = self.kept.iter().skip(1).filter_map(|period| period.span).map(|span| span.start).min();
        let now = self.now_mut();
        // It isn't the first any more.
        if let (Some(span), Some(first)) = (now.span, first)
            && first < span.start
        {
            now.since = Some(span.start);
        }
        self.kept.truncate(KEPT);
    }
}
