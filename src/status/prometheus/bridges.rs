//! The bridges as metrics.

use std::collections::BTreeMap;

use super::MetricKind::{self, Counter, Gauge};
use super::{Metrics, Of, seconds};
use crate::bridge::cause::Cause;
use crate::status::document::{BridgeDocument, LinkPhase, RuleDocument};

/// The rules of a bridge that have one `from`, one way, as one: a number would be another's once a rule is put in front of others.
struct Rules<'a> {
    labels: [(&'a str, &'a str); 3],
    received: u64,
    accepted: u64,
    delivered: u64,
    waiting: u64,
    /// By cause; those that nothing was dropped for, too, as a counter that begins with 1 shows no increase.
    dropped: BTreeMap<&'a str, u64>,
}

impl<'a> Rules<'a> {
    fn new(bridge: &'a str, way: &'a str, from: &'a str) -> Rules<'a> {
        Rules {
            labels: [("bridge", bridge), ("way", way), ("from", from)],
            received: 0,
            accepted: 0,
            delivered: 0,
            waiting: 0,
            dropped: Cause::ALL.iter().map(|cause| (cause.as_str(), 0)).collect(),
        }
    }

    fn add(&mut self, rule: &'a RuleDocument) {
        let add = |sum: &mut u64, n: u64| *sum = sum.saturating_add(n);
        add(&mut self.received, rule.received);
        add(&mut self.accepted, rule.accepted);
        add(&mut self.delivered, rule.delivered);
        add(&mut self.waiting, rule.waiting);
        for (cause, n) in &rule.dropped {
            add(self.dropped.entry(cause).or_default(), *n);
        }
    }
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
        let all: Vec<Rules<'_>> = items.iter().flat_map(rules_of).collect();
        let help = "Messages that rules with this `from` take.";
        self.rules(&all, "bridge_received_total", Counter, help, |rules| rules.received);
        let help = "Received messages that go to the other side.";
        self.rules(&all, "bridge_accepted_total", Counter, help, |rules| rules.accepted);
        let help = "Messages that the other side has acknowledged.";
        self.rules(&all, "bridge_delivered_total", Counter, help, |rules| rules.delivered);
        let help = "Messages neither delivered nor dropped yet.";
        self.rules(&all, "bridge_waiting_messages", Gauge, help, |rules| rules.waiting);
        if all.is_empty() {
            return;
        }
        self.family("bridge_dropped_total", Counter, "Messages that don't go to the other side, by cause.");
        for Rules { labels, dropped, .. } in &all {
            for (cause, n) in dropped {
                let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("cause", *cause)]).collect();
                self.sample("bridge_dropped_total", &labels, *n as f64);
            }
        }
    }

    fn rules(&mut self, all: &[Rules<'_>], name: &str, kind: MetricKind, help: &str, value: fn(&Rules<'_>) -> u64) {
        if all.is_empty() {
            return;
        }
        self.family(name, kind, help);
        for rules in all {
            self.sample(name, &rules.labels, value(rules) as f64);
        }
    }
}

fn rules_of(bridge: &BridgeDocument) -> impl Iterator<Item = Rules<'_>> {
    let mut sums = BTreeMap::new();
    let ways = [(false, "up", &bridge.up), (true, "down", &bridge.down)];
    for (order, way, rules) in ways {
        for rule in rules {
            let sum = sums.entry((order, &rule.from)).or_insert_with(|| Rules::new(&bridge.name, way, &rule.from));
            sum.add(rule);
        }
    }
    sums.into_values()
}
