//! The services of AWS IoT as metrics.

use std::collections::BTreeMap;

use super::MetricKind::{Counter, Gauge};
use super::Metrics;
use crate::status::document::ServiceDocument;

impl Metrics {
    pub(super) fn services(&mut self, services: &BTreeMap<String, ServiceDocument>) {
        if services.is_empty() {
            return;
        }
        self.family(
            "service_ready",
            Gauge,
            "Whether the service can be asked: IoT Core doesn't refuse it, and there is a connection.",
        );
        for (name, service) in services {
            self.sample("service_ready", &[("service", name)], f64::from(u8::from(service.state == "ready")));
        }
        self.family("service_outstanding_requests", Gauge, "Requests without answer.");
        for (name, service) in services {
            self.sample("service_outstanding_requests", &[("service", name)], service.outstanding as f64);
        }
        self.family("service_requests_total", Counter, "Requests to the service, by what became of them.");
        for (name, service) in services {
            let ServiceDocument { sent, answered, timed_out, delayed, .. } = service;
            let outcomes = [("sent", sent), ("answered", answered), ("timed_out", timed_out), ("delayed", delayed)];
            for (outcome, n) in outcomes {
                self.sample("service_requests_total", &[("service", name), ("outcome", outcome)], *n as f64);
            }
        }
    }
}
