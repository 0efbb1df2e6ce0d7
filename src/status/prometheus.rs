//! The status as metrics, in version 0.0.4 of Prometheus' text format:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>
//!
//! Times are points in time, in seconds since 1970: how old something is, a query computes at its own time.

mod bridges;
mod executions;
mod identity;
mod meter;
mod outbox;
mod services;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::document::{Document, ForwardDocument, IngestDocument, LinkPhase, Publish};
use crate::ingest::Code;
use crate::printable::printable;
use crate::time::Rfc3339;

/// What a metric is; a counter's name ends with `_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetricKind {
    Gauge,
    Counter,
    Histogram,
}

use MetricKind::{Counter, Gauge, Histogram};

/// A document as metrics.
pub(crate) fn exposition(document: &Document) -> String {
    let mut metrics = Metrics(String::new());
    metrics.up(true);
    metrics.process(document);
    metrics.link(document);
    metrics.meter(document.meter.as_ref());
    metrics.outbox(document);
    metrics.inbox(document);
    metrics.publishes(&document.publish);
    metrics.forwards(&document.forward);
    metrics.ingests(&document.ingest);
    metrics.bridges(&document.bridge);
    metrics.services(&document.services);
    metrics.executions(document.executions.as_deref().unwrap_or_default());
    metrics.0
}

/// Likewise of a document as it is written.
pub(crate) fn of_json(document: &[u8]) -> String {
    serde_json::from_slice(document).map_or_else(|_| down(), |document| exposition(&document))
}

/// What there is to say when the daemon doesn't answer: a metric that is gone fires no alert.
pub(crate) fn down() -> String {
    let mut metrics = Metrics(String::new());
    metrics.up(false);
    metrics.0
}

struct Metrics(String);

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Metrics {
    /// The head of a metric; its samples follow.
    fn family(&mut self, name: &str, kind: MetricKind, help: &str) {
        let word = match kind {
            Gauge => "gauge",
            Counter => "counter",
            Histogram => "histogram",
        };
        // Writing to memory can't fail; so below.
        let _ = writeln!(self.0, "# HELP gatewire_{name} {help}\n# TYPE gatewire_{name} {word}");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        let _ = write!(self.0, "gatewire_{name}");
        for (i, (label, value)) in labels.iter().enumerate() {
            let open = if i == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{}\"", escaped(value));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    fn one(&mut self, name: &str, kind: MetricKind, help: &str, value: u64) {
        self.family(name, kind, help);
        self.sample(name, &[], value as f64);
    }

    /// A point in time; nothing if there is none.
    fn time(&mut self, name: &str, help: &str, at: Option<Rfc3339>) {
        if let Some(at) = at {
            self.family(name, Gauge, help);
            self.sample(name, &[], seconds(at));
        }
    }

    /// A sample for each of several.
    fn each<T>(&mut self, of: Of<'_, T>, name: &str, kind: MetricKind, help: &str, value: impl Fn(&T) -> Option<f64>) {
        let samples: Vec<(&str, f64)> =
            of.items.iter().filter_map(|item| Some(((of.name)(item), value(item)?))).collect();
        if samples.is_empty() {
            return;
        }
        self.family(name, kind, help);
        for (named, value) in samples {
            self.sample(name, &[(of.label, named)], value);
        }
    }

    /// Likewise, each with several counts, by what is `known` to be counted and by what else there is.
    fn each_by<T>(
        &mut self,
        of: Of<'_, T>,
        name: &str,
        help: &str,
        (by, known): (&str, &[&str]),
        counts: fn(&T) -> &BTreeMap<String, u64>,
    ) {
        if known.is_empty() && of.items.iter().all(|item| counts(item).is_empty()) || of.items.is_empty() {
            return;
        }
        self.family(name, Counter, help);
        for item in of.items {
            let counts = counts(item);
            // A counter that begins with 1 shows no increase.
            let zero = known.iter().filter(|cause| !counts.contains_key(**cause)).map(|cause| (*cause, 0));
            for (cause, n) in zero.chain(counts.iter().map(|(cause, n)| (cause.as_str(), *n))) {
                self.sample(name, &[(of.label, (of.name)(item)), (by, cause)], n as f64);
            }
        }
    }

    fn up(&mut self, up: bool) {
        self.one("up", Gauge, "Whether the daemon answers; if not, this is the only metric.", up.into());
    }

    fn process(&mut self, document: &Document) {
        self.family("build_info", Gauge, "The version of gatewire; always 1.");
        self.sample("build_info", &[("version", &document.version)], 1.0);
        self.time("start_timestamp_seconds", "When gatewire started.", document.started);
        if let Some(memory) = &document.memory {
            self.one("memory_resident_bytes", Gauge, "Resident memory of the process.", memory.resident);
            self.one("memory_resident_peak_bytes", Gauge, "Peak resident memory of the process.", memory.peak);
        }
        if let Some(synchronised) = document.clock.synchronised {
            let help = "Whether a time service keeps the machine's clock right; absent if the kernel may not be asked.";
            self.one("clock_synchronised", Gauge, help, synchronised.into());
        }
        self.one(
            "store_failing",
            Gauge,
            "1 while the database can't be written, else 0.",
            document.store.error.is_some().into(),
        );
        self.identity(document.identity.as_ref());
        let certificate = &document.certificate;
        self.time(
            "certificate_not_before_timestamp_seconds",
            "When the certificate begins to be valid.",
            certificate.not_before,
        );
        self.time("certificate_not_after_timestamp_seconds", "When the certificate expires.", certificate.not_after);
    }

    fn link(&mut self, document: &Document) {
        let (link, counters) = (&document.link, &document.counters);
        self.one(
            "link_up",
            Gauge,
            "Whether there is a connection to IoT Core.",
            (link.state == LinkPhase::Connected).into(),
        );
        self.family("link_info", Gauge, "Where gatewire connects to, and as whom; always 1.");
        let labels = [("endpoint", &*link.endpoint), ("client_id", &*link.client_id), ("protocol", &*link.protocol)];
        self.sample("link_info", &labels, 1.0);
        self.family("link_state", Gauge, "1 for the state that the link is in, 0 for the others.");
        for (name, state) in [
            ("connected", LinkPhase::Connected),
            ("connecting", LinkPhase::Connecting),
            ("waiting", LinkPhase::Waiting),
            ("stopped", LinkPhase::Stopped),
        ] {
            self.sample("link_state", &[("state", name)], f64::from(u8::from(link.state == state)));
        }
        self.time("link_since_timestamp_seconds", "Since when the link is in its state.", link.since);
        let help = "Since when there is no connection; absent while there is one.";
        self.time("link_disconnected_since_timestamp_seconds", help, link.disconnected_since);
        if let Some(present) = link.session_present {
            let help = "Whether IoT Core still had the session when the connection began.";
            self.one("link_session_present", Gauge, help, present.into());
        }
        if let Some((error, at)) = link.last_error.as_ref().and_then(|error| Some((error, error.at?))) {
            self.family("link_last_error_timestamp_seconds", Gauge, "When the link last failed, and how.");
            self.sample("link_last_error_timestamp_seconds", &[("code", &error.code)], seconds(at));
        }
        let refused = link.filters_refused.len() as u64;
        self.one("link_filters_refused", Gauge, "Filters that IoT Core refused on this connection.", refused);
        let birth_refused = link.birth_refused.is_some().into();
        self.one("link_birth_refused", Gauge, "Whether IoT Core doesn't take the birth.", birth_refused);
        self.one("link_attempts_total", Counter, "Attempts to connect.", counters.attempts);
        self.one("link_connections_total", Counter, "Attempts that got as far as CONNACK.", counters.connections);
        let reconnects = counters.connections.saturating_sub(1);
        self.one("link_reconnects_total", Counter, "Connections after the first.", reconnects);
        self.one("link_published_total", Counter, "PUBLISH packets sent, re-sent ones included.", counters.published);
        self.one("link_resent_total", Counter, "PUBLISH packets sent again.", counters.resent);
        self.one("link_received_total", Counter, "PUBLISH packets received.", counters.received);
        self.one(
            "link_copies_total",
            Counter,
            "PUBLISH packets dropped because they were copies of others.",
            counters.copies,
        );
    }

    fn inbox(&mut self, document: &Document) {
        let inbox = &document.inbox;
        self.one("inbox_received_total", Counter, "Messages from IoT Core.", inbox.received);
        self.one("inbox_unmatched_total", Counter, "Messages that matched no forward.", inbox.unmatched);
        self.one("inbox_too_large_total", Counter, "Messages dropped because they were too large.", inbox.too_large);
        let help = "Messages dropped because they broke the rules of MQTT.";
        self.one("inbox_unreadable_total", Counter, help, inbox.unreadable);
        let help = "QoS 1 messages from IoT Core that aren't acknowledged yet.";
        self.one("inbox_unacknowledged_messages", Gauge, help, inbox.unacknowledged);
    }

    fn publishes(&mut self, items: &[Publish]) {
        let of = Of { items, label: "publish", name: |publish: &Publish| &publish.name };
        self.each(of, "publish_runs_total", Counter, "Runs of a schedule.", |p| Some(p.count as f64));
        self.each(of, "publish_skipped_total", Counter, "Due times that were skipped.", |p| Some(p.skipped as f64));
        self.each(of, "publish_unchanged_total", Counter, "Values that hadn't changed.", |p| Some(p.unchanged as f64));
        self.each(of, "publish_failed_total", Counter, "Runs without a value.", |p| Some(p.failed as f64));
        self.each(of, "publish_refused_total", Counter, "Messages that the outbox refused.", |p| {
            Some(p.refused as f64)
        });
        self.each(of, "publish_failing", Gauge, "Whether the last run failed.", |p| {
            Some(f64::from(u8::from(p.failing)))
        });
        let at = |at: Option<Rfc3339>| at.map(seconds);
        self.each(of, "publish_last_run_timestamp_seconds", Gauge, "The last run of a schedule.", |p| at(p.last_run));
        let help = "When the outbox last accepted a message of a schedule.";
        self.each(of, "publish_last_published_timestamp_seconds", Gauge, help, |p| at(p.last_published));
        self.each(of, "publish_next_run_timestamp_seconds", Gauge, "The next run of a schedule.", |p| at(p.next_run));
    }

    fn forwards(&mut self, items: &[ForwardDocument]) {
        let of = Of { items, label: "forward", name: |forward: &ForwardDocument| &forward.name };
        self.each(of, "forward_readers", Gauge, "Connected readers.", |f| Some(f.readers as f64));
        self.each(of, "forward_observers", Gauge, "Connected observers.", |f| Some(f.observers as f64));
        self.each(of, "forward_waiting_messages", Gauge, "Messages that wait for a reader.", |f| {
            Some(f.waiting as f64)
        });
        self.each(of, "forward_stored_messages", Gauge, "How many of them are on the disk.", |f| Some(f.stored as f64));
        let help = "How many of them were given to readers and aren't acknowledged yet.";
        self.each(of, "forward_unacknowledged_messages", Gauge, help, |f| Some(f.unacknowledged as f64));
        self.each(of, "forward_waiting_bytes", Gauge, "Bytes of their topics and payloads.", |f| {
            Some(f.waiting_bytes as f64)
        });
        let help = "When the oldest of them was received; absent if there are none.";
        self.each(of, "forward_oldest_timestamp_seconds", Gauge, help, |f| f.oldest.map(seconds));
        self.each(of, "forward_written_total", Counter, "Messages written to a reader.", |f| Some(f.written as f64));
        let help = "Messages dropped before a reader got them, by cause.";
        self.each_by(of, "forward_dropped_total", help, ("cause", &[]), |forward| &forward.dropped);
        let help = "Clients disconnected because they didn't read.";
        self.each(of, "forward_disconnected_total", Counter, help, |f| Some(f.disconnected_slow as f64));
    }

    fn ingests(&mut self, items: &[IngestDocument]) {
        let of = Of { items, label: "ingest", name: |ingest: &IngestDocument| &ingest.name };
        self.each(of, "ingest_clients", Gauge, "Connected clients.", |i| Some(i.clients as f64));
        self.each(of, "ingest_accepted_total", Counter, "Messages accepted from clients.", |i| Some(i.accepted as f64));
        let help = "Lines answered with an error at once, by its code.";
        let codes = Code::ALL.map(Code::as_str);
        self.each_by(of, "ingest_refused_total", help, ("code", &codes), |ingest| &ingest.refused);
    }
}

/// Several of a kind, each with a label that holds its name.
struct Of<'a, T> {
    items: &'a [T],
    label: &'static str,
    name: fn(&T) -> &str,
}

impl<T> Clone for Of<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Of<'_, T> {}

fn seconds(at: Rfc3339) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

/// A label's value: backslash, quote and newline are escaped, and what isn't shown as itself is written out: the format has no
/// escapes for it. So that no other value becomes the same, backslashes are doubled beside what is written out, or looks like it.
fn escaped(value: &str) -> String {
    let written_out = |line: &str| match line.contains("\\u") || printable(line) != line {
        true => printable(&line.replace('\\', "\\\\")).into_owned(),
        false => line.to_owned(),
    };
    let lines = value.split('\n').map(|line| written_out(line).replace('\\', "\\\\").replace('"', "\\\""));
    lines.collect::<Vec<_>>().join("\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_are_two_labels() {
        let names = ["a\u{202e}", "a\\u202e", "a\\\\u202e", "a\\\u{202e}", "a\\b", "a\\\\b", "a\nb", "a\\nb"];
        let labels: std::collections::BTreeSet<String> = names.into_iter().map(escaped).collect();
        assert_eq!(labels.len(), names.len(), "{labels:?}");
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }

    /// What is dropped for the first time is an increase, and a rule in front of others changes no series.
    #[test]
    fn counters_are_there_from_the_start_and_know_no_number_of_a_rule() {
        let exposition = |up: serde_json::Value| {
            let bridge = serde_json::json!([{"name": "house", "up": up, "down": []}]);
            let ingest = serde_json::json!([{"name": "p", "refused": {"bad_line": 2}}]);
            let document = serde_json::json!({"version": "x", "bridge": bridge, "ingest": ingest});
            exposition(&serde_json::from_value(document).unwrap())
        };
        let dev = serde_json::json!({"from": "dev/#", "received": 7, "dropped": {"too_large": 5}});
        let before = exposition(serde_json::json!([dev]));
        for sample in [
            "bridge_received_total{bridge=\"house\",way=\"up\",from=\"dev/#\"} 7",
            "bridge_dropped_total{bridge=\"house\",way=\"up\",from=\"dev/#\",cause=\"too_large\"} 5",
            "bridge_dropped_total{bridge=\"house\",way=\"up\",from=\"dev/#\",cause=\"hops\"} 0",
            "ingest_refused_total{ingest=\"p\",code=\"bad_line\"} 2",
            "ingest_refused_total{ingest=\"p\",code=\"outbox_full\"} 0",
        ] {
            assert!(before.contains(&format!("\ngatewire_{sample}\n")), "{sample}: {before}");
        }
        let after = exposition(serde_json::json!([{"from": "a"}, dev, {"from": "dev/#", "received": 1}]));
        assert!(after.contains("bridge_received_total{bridge=\"house\",way=\"up\",from=\"dev/#\"} 8\n"), "{after}");
        let of_dev = |text: &str| text.lines().filter(|line| line.contains("\"dev/#\"")).count();
        assert_eq!(of_dev(&before), of_dev(&after));
    }
}
