//! The counts as they are written into the store.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::causes::Causes;
use super::level::Level;
use super::periods::{Period, Periods, plus};
use crate::mqtt::session::Label;
use crate::net::Carried;
use crate::time::Rfc3339;

/// The name of the note.
pub(super) const NAME: &str = "meter";

/// The last periods of each kind, the one that is counted in first.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Note {
    hour: Vec<PeriodNote>,
    day: Vec<PeriodNote>,
    month: Vec<PeriodNote>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PeriodNote {
    start: Rfc3339,
    since: Rfc3339,
    sent: u64,
    received: u64,
    /// Bytes sent and received.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    causes: BTreeMap<String, (u64, u64)>,
    /// What was said of the budget: the number of its level.
    #[serde(default)]
    said: u8,
}

/// What is to be noted.
pub(super) fn text(account: &Account, causes: &Causes) -> String {
    let of = |periods: &Periods| periods.all().iter().filter_map(|period| written(period, causes)).collect();
    let note = Note { hour: of(&account.hour), day: of(&account.day), month: of(&account.month) };
    serde_json::to_string(&note).unwrap_or_default()
}

/// What was counted before the clock was set isn't of any period yet.
fn written(period: &Period, causes: &Causes) -> Option<PeriodNote> {
    let Carried { sent, received } = period.carried;
    let by_cause = (0..).map(Label).zip(&period.by_cause).filter(|(_, carried)| **carried != Carried::default());
    Some(PeriodNote {
        start: period.span?.start.into(),
        since: period.since?.into(),
        sent,
        received,
        said: period.said as u8,
        causes: by_cause.map(|(label, Carried { sent, received })| (causes.name(label), (*sent, *received))).collect(),
    })
}

/// Adds what was noted to what was counted since. A note that can't be read is as none.
pub(super) fn recall(text: &str, account: &mut Account, causes: &Causes) {
    let note: Note = serde_json::from_str(text).unwrap_or_default();
    for (periods, noted) in
        [(&mut account.hour, note.hour), (&mut account.day, note.day), (&mut account.month, note.month)]
    {
        let unit = periods.unit();
        let read = noted.into_iter().map(|noted| {
            let mut period = Period {
                span: unit.span(*noted.start),
                since: Some(*noted.since),
                carried: Carried { sent: noted.sent, received: noted.received },
                by_cause: Vec::new(),
                said: Level::ALL.get(usize::from(noted.said)).copied().unwrap_or_default(),
            };
            for (name, (sent, received)) in noted.causes {
                let cause = period.cause(causes.label(&name));
                // Several may have become one.
                *cause = plus(*cause, Carried { sent, received });
            }
            period
        });
        let read = read.collect();
        periods.recall(read);
    }
}
