//! What a CONNACK changes.

use std::time::Instant;

use super::event::{End, Event};
use super::{Liveness, Session, State, violation};
use crate::mqtt::Protocol;
use crate::mqtt::server_limits::ServerLimits;

impl Session {
    /// The server has accepted the connection, with these limits.
    pub(super) fn established(&mut self, session_present: bool, limits: ServerLimits, now: Instant) -> Result<(), End> {
        self.progress.arrived(self.progress.written());
        self.state = State::Connected(Liveness { last_sent: now, last_received: now, ping_sent: None });
        if let Some(fault) = limits.fault() {
            return Err(violation(&format!("the server sent {fault}")));
        }
        // One that we know nothing of is taken all the same unless it was refused: a daemon on a new disk could never connect
        // otherwise, and what comes in it is handled as any other message.
        if session_present && self.options.session_expiry.is_zero() {
            return Err(violation(
                "the server sent a CONNACK that has an old session, although it was asked for a new one (MQTT-3.2.2-4)",
            ));
        }
        let keep_alive = limits.keep_alive.filter(|keep_alive| !keep_alive.is_zero());
        self.keep_alive = keep_alive.unwrap_or(self.options.keep_alive.longest());
        let is_mqtt_5 = self.options.protocol == Protocol::Mqtt5;
        self.subscriptions.restart(session_present, is_mqtt_5 && !limits.no_identifiers);
        if is_mqtt_5 && self.options.subscribing.each_connection {
            self.subscriptions.doubt();
        }
        let is_another = std::mem::take(&mut self.is_another);
        let is_same = session_present && !is_another;
        self.in_flight.restart(is_same);
        self.owed.restart(is_same);
        if !is_same {
            self.copies.clear();
        }
        self.isolation.restart(now);
        self.holding.restart();
        self.has_answered = false;
        self.has_acked = false;
        let session_expiry = limits.session_expiry.filter(|expiry| *expiry != self.options.session_expiry);
        self.events.push_back(Event::Connected { session_present, session_expiry });
        if let Some(silence) = &mut self.silence {
            silence.connected(now);
            self.events.push_back(Event::Silence(silence.known().up_to(self.keep_alive)));
        }
        if self.is_kept_for_limits && limits.allow_more_than(&self.limits) {
            self.is_kept_for_limits = false;
            self.events.push_back(Event::LimitsRelaxed);
        }
        self.wire.established(&limits);
        self.limits = limits;
        self.publish_birth(now);
        self.leave_out();
        self.request(now);
        self.hold(now);
        Ok(())
    }
}
