//! What the network has carried, as metrics.

use super::{Counter, Gauge, Metrics};
use crate::status::document::{BudgetDocument, CarriedDocument, MeterDocument};

impl Metrics {
    pub(super) fn meter(&mut self, meter: Option<&MeterDocument>) {
        let Some(meter) = meter else { return };
        let periods = [("hour", &meter.hour), ("day", &meter.day), ("month", &meter.month)];
        let help = "Bytes to and from the network in this hour, day and month (UTC), TLS included.";
        self.family("meter_bytes", Gauge, help);
        for (period, CarriedDocument { sent, received, .. }) in periods {
            for (direction, bytes) in [("sent", sent), ("received", received)] {
                self.sample("meter_bytes", &[("period", period), ("direction", direction)], *bytes as f64);
            }
        }
        if periods.iter().any(|(_, carried)| carried.forecast.is_some()) {
            self.family(
                "meter_forecast_bytes",
                Gauge,
                "Bytes both ways by the end of the period, if it goes on like this.",
            );
            for (period, carried) in periods {
                if let Some(bytes) = carried.forecast {
                    self.sample("meter_forecast_bytes", &[("period", period)], bytes as f64);
                }
            }
        }
        if let Some(BudgetDocument { month, state, .. }) = &meter.budget {
            self.one("meter_budget_bytes", Gauge, "What a month may carry, both ways together.", *month);
            let used = meter.month.sent.saturating_add(meter.month.received) as f64 / (*month).max(1) as f64;
            self.family("meter_budget_used_ratio", Gauge, "The part of it that is used; more than 1 past it.");
            self.sample("meter_budget_used_ratio", &[], used);
            self.family("meter_budget_state", Gauge, "1 for where the month stands, 0 for the others.");
            for name in ["within", "near", "past"] {
                self.sample("meter_budget_state", &[("state", name)], f64::from(u8::from(state == name)));
            }
        }
        if !meter.causes.is_empty() {
            self.family("meter_month_bytes_total", Counter, "Bytes of this month, by what they were for.");
            for (cause, CarriedDocument { sent, received, .. }) in &meter.causes {
                for (direction, bytes) in [("sent", sent), ("received", received)] {
                    let labels = [("cause", cause.as_str()), ("direction", direction)];
                    self.sample("meter_month_bytes_total", &labels, *bytes as f64);
                }
            }
        }
    }
}
