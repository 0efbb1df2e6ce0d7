//! What waits for IoT Core, as metrics.

use super::{Counter, Gauge, Histogram, Metrics};
use crate::status::document::{Delivery, Document};

impl Metrics {
    pub(super) fn outbox(&mut self, document: &Document) {
        let outbox = &document.outbox;
        self.one("outbox_waiting_messages", Gauge, "Messages not yet handed to the link.", outbox.waiting);
        self.one("outbox_urgent_messages", Gauge, "How many of these are urgent.", outbox.urgent);
        let help = "QoS 1 messages handed to the link and not yet acknowledged.";
        self.one("outbox_in_flight_messages", Gauge, help, outbox.in_flight);
        self.one("outbox_bytes", Gauge, "Bytes of their topics and payloads.", outbox.bytes);
        self.one("outbox_stored_messages", Gauge, "How many of them are on the disk.", outbox.stored);
        let help = "When the oldest of them was accepted; absent if there are none.";
        self.time("outbox_oldest_timestamp_seconds", help, outbox.oldest);
        self.one(
            "outbox_quarantined_messages",
            Gauge,
            "Messages set aside because IoT Core refuses them.",
            outbox.quarantined,
        );
        self.family(
            "outbox_held",
            Gauge,
            "1 for why messages wait though there is a connection, 0 for the other causes.",
        );
        for cause in ["refused", "throttled", "unanswered", "subscribing", "budget"] {
            let is_it = outbox.held.as_ref().is_some_and(|held| held.cause == cause);
            self.sample("outbox_held", &[("cause", cause)], f64::from(u8::from(is_it)));
        }
        if let Some(drain) = &outbox.drain {
            let help = "Messages of the backlog of the last outage that aren't delivered yet; absent if there is none.";
            let left = drain.messages.saturating_sub(drain.delivered);
            self.one("outbox_drain_left_messages", Gauge, help, left);
            if let Some(seconds) = drain.seconds_left {
                let help = "The estimated time until they are, at the rate so far.";
                self.one("outbox_drain_left_seconds", Gauge, help, seconds);
            }
        }
        self.one("outbox_accepted_total", Counter, "Messages accepted.", outbox.accepted);
        self.one("outbox_delivered_total", Counter, "QoS 1 messages that IoT Core has acknowledged.", outbox.delivered);
        self.one("outbox_sent_total", Counter, "QoS 0 messages written to the link.", outbox.sent);
        if let Some(delivery) = &outbox.delivery {
            self.delivery(delivery);
        }
        self.family("outbox_dropped_total", Counter, "Messages dropped, by cause.");
        for (cause, n) in &outbox.dropped {
            self.sample("outbox_dropped_total", &[("cause", cause)], *n as f64);
        }
    }

    fn delivery(&mut self, delivery: &Delivery) {
        let help = "The time of QoS 1 messages from acceptance to PUBACK; of an earlier boot, since this one.";
        self.family("delivery_seconds", Histogram, help);
        for bucket in &delivery.buckets {
            self.sample("delivery_seconds_bucket", &[("le", &bucket.le.to_string())], bucket.count as f64);
        }
        self.sample("delivery_seconds_bucket", &[("le", "+Inf")], delivery.count as f64);
        self.sample("delivery_seconds_sum", &[], delivery.seconds);
        self.sample("delivery_seconds_count", &[], delivery.count as f64);
    }
}
