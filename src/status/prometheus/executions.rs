//! The executions of jobs and commands as metrics.

use std::collections::BTreeMap;

use super::MetricKind::Gauge;
use super::{Metrics, seconds};
use crate::status::document::ExecutionDocument;
use crate::time::Rfc3339;

impl Metrics {
    /// Of the last 100: gauges, as the oldest of them is forgotten for a new one.
    pub(super) fn executions(&mut self, items: &[ExecutionDocument]) {
        let mut by_status: BTreeMap<(&str, &str), (u64, Option<Rfc3339>)> = BTreeMap::new();
        for item in items {
            let (count, last) = by_status.entry((&item.kind, &item.status)).or_default();
            *count += 1;
            *last = (*last).max(item.at);
        }
        if by_status.is_empty() {
            return;
        }
        self.family("executions", Gauge, "The last 100 jobs and commands, by kind and status.");
        for ((kind, status), (count, _)) in &by_status {
            self.sample("executions", &[("kind", kind), ("status", status)], *count as f64);
        }
        let name = "execution_last_timestamp_seconds";
        self.family(name, Gauge, "When a job or command last had this status.");
        for ((kind, status), (_, last)) in &by_status {
            if let Some(last) = last {
                self.sample(name, &[("kind", kind), ("status", status)], seconds(*last));
            }
        }
    }
}
