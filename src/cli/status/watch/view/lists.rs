//! Schedules, forwards, clients, bridges and jobs in the view. Pure.

use super::table::TableRow;
use super::{View, rank};
use crate::cli::output::Tone;
use crate::cli::status::table::ingests;
use crate::cli::status::table::meter::{budget, period};
use crate::cli::status::words::{relative, total};
use crate::status::document::{
    BridgeDocument, Document, ExecutionDocument, ForwardDocument, IngestDocument, LinkPhase, MeterDocument, Publish,
    RuleDocument,
};

impl View {
    pub(super) fn meter(&mut self, meter: Option<&MeterDocument>) {
        let Some(meter) = meter else { return };
        let text = format!("{}; {}", period("today (UTC)", &meter.day), period("this month", &meter.month));
        self.entry(rank::MORE, "meter", None, &text);
        if let Some((tone, text)) = meter.budget.as_ref().map(budget) {
            self.entry(rank::MORE, "", tone, &text);
        }
    }

    pub(super) fn lists(&mut self, document: &Document) {
        self.publishes(&document.publish);
        self.forwards(&document.forward);
        self.ingests(&document.ingest);
        self.bridges(&document.bridge);
        if !document.services.is_empty() {
            self.rows.blank();
        }
        for (name, service) in &document.services {
            let (tone, state) = self.words.service(service);
            let waiting = match service.waiting {
                0 => String::new(),
                n => format!("; {n} more {}", if n == 1 { "waits" } else { "wait" }),
            };
            self.entry(rank::MORE, name, Some(tone), &format!("{state}{waiting}"));
        }
        self.executions(document.executions.as_deref().unwrap_or_default());
    }

    fn publishes(&mut self, publishes: &[Publish]) {
        let row = |publish: &Publish| TableRow {
            cells: vec![
                publish.name.clone(),
                self.words.ago(publish.last_published),
                publish.next_run.map_or_else(|| "none".to_owned(), |at| relative(at, self.now.wall)),
                publish.count.to_string(),
                total([publish.skipped, publish.failed, publish.refused]).to_string(),
                publish.topic.clone(),
            ],
            tone: publish.failing.then_some(Tone::Bad),
        };
        let rows = publishes.iter().map(row).collect();
        self.table(rank::LIST, &["PUBLISH", "PUBLISHED", "NEXT RUN", "RUNS", "LOST", "TOPIC"], rows);
    }

    fn forwards(&mut self, forwards: &[ForwardDocument]) {
        let row = |forward: &ForwardDocument| TableRow {
            cells: vec![
                forward.name.clone(),
                forward.readers.to_string(),
                forward.waiting.to_string(),
                forward.oldest.map_or_else(|| "-".to_owned(), |at| relative(at, self.now.wall)),
                forward.written.to_string(),
                total(forward.dropped.values().copied()).to_string(),
            ],
            tone: (forward.waiting > 0 && forward.readers == 0).then_some(Tone::Doubtful),
        };
        let rows = forwards.iter().map(row).collect();
        self.table(rank::LIST, &["FORWARD", "READERS", "WAITING", "OLDEST", "WRITTEN", "DROPPED"], rows);
    }

    fn ingests(&mut self, ingests: &[IngestDocument]) {
        let row = |ingest: &IngestDocument| TableRow { cells: ingests::cells(ingest).into(), tone: None };
        let rows = ingests.iter().map(row).collect();
        self.table(rank::LIST + 1, &ingests::HEADS, rows);
    }

    fn bridges(&mut self, bridges: &[BridgeDocument]) {
        let row = |bridge: &BridgeDocument| {
            let of = |rules: &[RuleDocument], n: fn(&RuleDocument) -> u64| total(rules.iter().map(n));
            let (tone, state) = match bridge.state {
                LinkPhase::Connected => (None, "connected"),
                LinkPhase::Connecting => (Some(Tone::Doubtful), "connecting"),
                LinkPhase::Waiting => (Some(Tone::Bad), "not connected"),
                LinkPhase::Stopped => (Some(Tone::Bad), "stopped"),
                LinkPhase::Unknown => (Some(Tone::Doubtful), "unknown"),
            };
            let waiting = of(&bridge.up, |rule| rule.waiting).saturating_add(of(&bridge.down, |rule| rule.waiting));
            let cells = vec![
                bridge.name.clone(),
                state.to_owned(),
                of(&bridge.up, |rule| rule.delivered).to_string(),
                of(&bridge.down, |rule| rule.delivered).to_string(),
                waiting.to_string(),
                bridge.broker.clone(),
            ];
            TableRow { cells, tone }
        };
        let rows = bridges.iter().map(row).collect();
        self.table(rank::LIST, &["BRIDGE", "STATE", "UP", "DOWN", "WAITING", "BROKER"], rows);
    }

    /// The newest first.
    fn executions(&mut self, executions: &[ExecutionDocument]) {
        let row = |execution: &ExecutionDocument| {
            let number = execution.execution.map_or_else(String::new, |number| format!(" ({number})"));
            let cells = vec![
                format!("{}{number}", execution.id),
                execution.kind.clone(),
                self.words.ago(execution.at),
                execution.status.clone(),
                execution.action.clone().unwrap_or_default(),
            ];
            let tone = match execution.status.as_str() {
                "IN_PROGRESS" => Some(Tone::Name),
                "SUCCEEDED" => None,
                _ => Some(Tone::Doubtful),
            };
            TableRow { cells, tone }
        };
        let rows = executions.iter().rev().map(row).collect();
        self.table(rank::LIST, &["EXECUTION", "KIND", "WHEN", "STATUS", "ACTION"], rows);
    }
}
