//! The bridges as metrics.

use super::MetricKind::{self, Counter, Gauge};
use super::{Metrics, Of, seconds};
use crate::status::document::{BridgeDocument, LinkPhase, RuleDocument};

/// A rule of a bridge, which way it is, and its number among those: two may have the same `from`.
type Rule<'a> = (&'a BridgeDocument, &'static str, String, &'a RuleDocument);

/// What tells it from all others.
fn labels<'a>((bridge, way, number, rule): &'a Rule<'_>) -> [(&'a str, &'a str); 4] {
    [("bridge", &bridge.name), ("way", way), ("rule", number), ("from", &rule.from)]
}

impl Metrics {
    pub(super) fn bridges(&mut self, items: &[BridgeDocument]) {
        let of = Of { items, label: "bridge", name: |bridge: &BridgeDocument| &bridge.name };
        let help = "Whether the bridge is connected to the local broker.";
        self.each(of, "bridge_connected", Gauge, help, |bridge| {
            Some(f64::from(u8::from(bridge.state == LinkPhase::Connected)))
        });
        let help = "Since when that has been so.";
        self.each(of, "bridge_since_timestamp_seconds", Gauge, help, |bridge| bridge.since.map(seconds));
        let help = "Filters that the local broker refuses.";
        self.each(of, "bridge_filters_refused", Gauge, help, |bridge| Some(bridge.filters_refused.len() as f64));
        let all: Vec<Rule<'_>> = items.iter().flat_map(rules_of).collect();
        let help = "Messages that a rule takes.";
        self.rules(&all, "bridge_received_total", Counter, help, |rule| rule.received);
        let help = "Received messages that go to the other side.";
        self.rules(&all, "bridge_accepted_total", Counter, help, |rule| rule.accepted);
        let help = "Messages that the other side has acknowledged.";
        self.rules(&all, "bridge_delivered_total", Counter, help, |rule| rule.delivered);
        let help = "Messages neither delivered nor dropped yet.";
        self.rules(&all, "bridge_waiting_messages", Gauge, help, |rule| rule.waiting);
        if all.iter().all(|(.., rule)| rule.dropped.is_empty()) {
            return;
        }
        self.family("bridge_dropped_total", Counter, "Messages that don't go to the other side, by cause.");
        for rule in &all {
            for (cause, n) in &rule.3.dropped {
                let labels: Vec<(&str, &str)> = labels(rule).into_iter().chain([("cause", cause.as_str())]).collect();
                self.sample("bridge_dropped_total", &labels, *n as f64);
            }
        }
    }

    fn rules(&mut self, rules: &[Rule<'_>], name: &str, kind: MetricKind, help: &str, value: fn(&RuleDocument) -> u64) {
        if rules.is_empty() {
            return;
        }
        self.family(name, kind, help);
        for rule in rules {
            self.sample(name, &labels(rule), value(rule.3) as f64);
        }
    }
}

fn rules_of(bridge: &BridgeDocument) -> impl Iterator<Item = Rule<'_>> {
    let up = (1..).zip(&bridge.up).map(move |(number, rule)| (bridge, "up", u64::to_string(&number), rule));
    up.chain((1..).zip(&bridge.down).map(move |(number, rule)| (bridge, "down", u64::to_string(&number), rule)))
}
