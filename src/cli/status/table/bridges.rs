//! The bridges on the page.

use super::{Page, TableRow};
use crate::cli::output::Tone;
use crate::cli::status::said;
use crate::cli::status::words::causes;
use crate::status::document::{BridgeDocument, LinkPhase, RuleDocument};

impl Page {
    pub(super) fn bridges(&mut self, bridges: &[BridgeDocument]) {
        if bridges.is_empty() {
            return;
        }
        self.text.line(crate::cli::output::StyledText::default());
        bridges.iter().for_each(|bridge| self.bridge(bridge));
        let rows: Vec<TableRow> = bridges.iter().flat_map(rows).collect();
        self.rows(&["BRIDGE", "WAY", "RECEIVED", "ACCEPTED", "DELIVERED", "WAITING", "FROM"], &rows);
    }

    /// Its connection to the local broker.
    fn bridge(&mut self, bridge: &BridgeDocument) {
        let (tone, state) = self.words.bridge(bridge);
        self.entry("bridge", Some(tone), &format!("{}: {state}", bridge.name));
        if bridge.state != LinkPhase::Connected
            && let Some(error) = &bridge.last_error
        {
            self.more(Some(Tone::Bad), &format!("{}: {}", self.ago(error.at), said::error(error)));
            self.more(None, &error.advice);
        }
        for text in self.words.filters_refused(&bridge.filters_refused) {
            self.more(Some(Tone::Bad), &text);
        }
    }
}

fn rows(bridge: &BridgeDocument) -> impl Iterator<Item = TableRow> {
    let of = |way: &'static str, rules: &[RuleDocument]| {
        let row = |rule: &RuleDocument| TableRow {
            cells: vec![
                bridge.name.clone(),
                way.to_owned(),
                rule.received.to_string(),
                rule.accepted.to_string(),
                rule.delivered.to_string(),
                rule.waiting.to_string(),
                format!("{}{}", rule.from, if rule.urgent { " (urgent)" } else { "" }),
            ],
            below: causes(&rule.dropped).map(|dropped| (Tone::Doubtful, format!("dropped: {dropped}"))),
        };
        rules.iter().map(row).collect::<Vec<_>>()
    };
    of("up", &bridge.up).into_iter().chain(of("down", &bridge.down))
}
