//! What was carried, by hour, day and month. Pure.

use jiff::Timestamp;

use super::level::Level;
use super::periods::{Periods, Unit, plus};
use crate::config::Budget;
use crate::mqtt::session::Label;
use crate::net::Carried;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) hour: Periods,
    pub(super) day: Periods,
    pub(super) month: Periods,
    /// Something was counted that isn't on the disk.
    is_unsaved: bool,
}

impl Default for Account {
    fn default() -> Account {
        let [hour, day, month] = [Unit::Hour, Unit::Day, Unit::Month].map(Periods::new);
        Account { hour, day, month, is_unsaved: false }
    }
}

impl Account {
    fn all(&mut self) -> [&mut Periods; 3] {
        [&mut self.hour, &mut self.day, &mut self.month]
    }

    /// The clock shows `wall`.
    pub(super) fn turn_to(&mut self, wall: Timestamp) {
        self.all().into_iter().for_each(|periods| periods.turn_to(wall));
    }

    /// Counts what was carried for `label` now, as [`Account::turn_to`] has said last.
    pub(super) fn count(&mut self, label: Label, carried: Carried) {
        if carried == Carried::default() {
            return;
        }
        self.is_unsaved = true;
        for periods in self.all() {
            let period = periods.now_mut();
            period.carried = plus(period.carried, carried);
        }
        let cause = self.month.now_mut().cause(label);
        *cause = plus(*cause, carried);
    }

    /// Both.
    pub(super) fn add(&mut self, label: Label, carried: Carried, wall: Timestamp) {
        if carried != Carried::default() {
            self.turn_to(wall);
            self.count(label, carried);
        }
    }

    /// Where the month stands now, and whether that is to be said: once for each level. A larger budget has it said again.
    pub(super) fn judge(&mut self, budget: Option<Budget>) -> (Level, bool) {
        let month = self.month.now_mut();
        let level = budget.map_or(Level::Within, |budget| Level::of(budget, month.total()));
        let is_news = level > month.said;
        month.said = level;
        self.is_unsaved |= is_news;
        (level, is_news)
    }

    pub(super) fn is_unsaved(&self) -> bool {
        self.is_unsaved
    }

    /// What is counted now is on the disk, or isn't.
    pub(super) fn set_unsaved(&mut self, is_unsaved: bool) {
        self.is_unsaved = is_unsaved;
    }
}
