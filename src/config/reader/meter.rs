//! `[meter]`: its keys, defaults and bounds.

use std::path::Path;

use super::Reader;
use crate::config::document::Value;
use crate::config::section::Section;
use crate::config::values::{KIB, MIB, integer, size, string, word};
use crate::config::{Bridge, Budget, Ingest, Meter, Publish, Then};

/// The words of `then`.
const THEN: &[(&str, Then)] = &[("warn", Then::Warn), ("urgent-only", Then::UrgentOnly)];

/// What is sold in a month, and what a meter can count: from a message a day to a TiB.
const LEAST: u64 = KIB;
const MOST: u64 = 1024 * 1024 * MIB;

impl Reader<'_> {
    /// `None` without it.
    pub(in crate::config) fn meter(&self) -> Option<Meter> {
        self.root.get("meter")?;
        let section = Section::of(self.root, "meter", self.report);
        let budget = section.optional_section("budget").and_then(budget);
        if budget.is_some() {
            self.note(&section, "budget", Path::new(""));
        }
        section.finish();
        Some(Meter { budget })
    }

    /// Past the budget nothing might be left that is sent.
    pub(in crate::config) fn check_budget(
        &self,
        meter: Option<&Meter>,
        publish: &[Publish],
        bridge: &[Bridge],
        ingest: &[Ingest],
    ) {
        let Some(Budget { then: Then::UrgentOnly, .. }) = meter.and_then(|meter| meter.budget) else { return };
        let section = Section::of(self.root, "meter", self.report);
        let is_any_urgent = publish.iter().any(|publish| publish.urgent)
            || bridge.iter().flat_map(|bridge| &bridge.up).any(|rule| rule.urgent)
            // Its lines say so themselves.
            || ingest.iter().any(|ingest| ingest.urgent);
        if !is_any_urgent {
            section.warning(
                "budget",
                "nothing here is urgent, so that past the budget nothing at all is published until the next month. Write `urgent = true` \
                 below a [[publish]], [[bridge.up]] or [[ingest]] that has to go all the same, or choose \"warn\"",
            );
        }
        // Who has written `urgent = true` knows it.
        let is_said = self.tables_with("ingest", "urgent");
        let open = ingest.iter().filter(|ingest| ingest.urgent && !is_said.contains(&ingest.name.as_str()));
        let open: Vec<&str> = open.map(|ingest| ingest.name.as_str()).collect();
        if !open.is_empty() {
            section.warning(
                "budget",
                &format!(
                    "any program that writes to the [[ingest]] {} may say that its lines are urgent, and these go on past the budget \
                     without a bound. Write `urgent = false` below it to have them wait, or `urgent = true` if that is as it should be",
                    open.join(", ")
                ),
            );
        }
    }

    /// The names of the tables of an array that have this key.
    fn tables_with(&self, array: &str, key: &str) -> Vec<&str> {
        let Some(Value::Array(tables)) = self.root.get(array).map(|entry| &entry.node.value) else { return Vec::new() };
        let tables = tables.iter().filter_map(|node| match &node.value {
            Value::Table(table) => table.get(key).and(table.get("name")),
            _ => None,
        });
        tables.filter_map(|name| string(&name.node).ok()).collect()
    }
}

/// `None` if anything is wrong with it, which is reported.
fn budget(section: Section<'_>) -> Option<Budget> {
    let month = section.require("month", "\"50 MB\"", size(LEAST..=MOST));
    let warn_at = section.get_or("warn_at", 80, integer(1..=100));
    let then = section.get_or("then", Then::Warn, word(THEN));
    section.finish();
    Some(Budget { month: month?, warn_at: u8::try_from(warn_at).unwrap_or(100), then })
}
