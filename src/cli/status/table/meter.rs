//! What the network has carried, on the page.

use super::Page;
use crate::cli::output::Tone;
use crate::cost;
use crate::status::document::{BudgetDocument, CarriedDocument, MeterDocument};

/// So many causes are named, those with the most bytes.
const MOST: usize = 8;

impl Page {
    pub(super) fn meter(&mut self, meter: Option<&MeterDocument>) {
        let Some(meter) = meter else { return };
        let periods = [("this hour", &meter.hour), ("today (UTC)", &meter.day), ("this month", &meter.month)];
        for (i, (name, carried)) in periods.into_iter().enumerate() {
            self.entry(if i == 0 { "meter" } else { "" }, None, &period(name, carried));
        }
        if let Some((tone, text)) = meter.budget.as_ref().map(budget) {
            self.more(tone, &text);
        }
        if let Some(causes) = causes(meter) {
            self.more(None, &causes);
        }
    }
}

/// `this month: 4.1 MB sent, 2.2 MB received, 12.6 MB by its end`
pub(in crate::cli::status) fn period(name: &str, carried: &CarriedDocument) -> String {
    let CarriedDocument { sent, received, forecast } = carried;
    let forecast = forecast.map_or_else(String::new, |bytes| format!(", {} by its end", cost::bytes(bytes)));
    format!("{name}: {} sent, {} received{forecast}", cost::bytes(*sent), cost::bytes(*received))
}

/// `82 % of the month's budget of 50.0 MB are used`
pub(in crate::cli::status) fn budget(budget: &BudgetDocument) -> (Option<Tone>, String) {
    let BudgetDocument { month, used_percent, then, state } = budget;
    let (tone, after) = match (state.as_str(), then.as_str()) {
        ("past", "urgent-only") => (Some(Tone::Bad), "; only what is urgent is sent until the next month"),
        ("past", _) => (Some(Tone::Bad), ""),
        ("near", _) => (Some(Tone::Doubtful), ""),
        _ => (None, ""),
    };
    (tone, format!("{used_percent} % of the month's budget of {} are used{after}", cost::bytes(*month)))
}

/// What most of the month's were for.
fn causes(meter: &MeterDocument) -> Option<String> {
    let total = |carried: &CarriedDocument| carried.sent.saturating_add(carried.received);
    let mut causes: Vec<(&String, u64)> = meter.causes.iter().map(|(name, carried)| (name, total(carried))).collect();
    causes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let shown =
        causes.iter().take(MOST).map(|(name, bytes)| format!("{} {}", name.replace('_', " "), cost::bytes(*bytes)));
    let shown = shown.collect::<Vec<_>>().join(", ");
    (!causes.is_empty()).then(|| format!("of the month: {shown}{}", if causes.len() > MOST { ", .." } else { "" }))
}
