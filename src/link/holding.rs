//! Why messages wait though there is a connection: the log, the status document and systemd's status line say the same.

use std::time::{Duration, Instant};

use super::Link;
use super::diagnosis::NO_PUBACK;
use super::refusals::{THROTTLED, what_to_do};
use crate::client::{Before, Say};
use crate::duration::{told, written};
use crate::journal;
use crate::message::Topic;
use crate::mqtt::session::{Change, Hold, Session};
use crate::net::Network;
use crate::outbox::HeldStatus;
use crate::time;

/// What to do where a SUBSCRIBE isn't answered yet.
const SUBSCRIBING: &str =
    "Do nothing: they are sent once it has, and after connection.ack_timeout in any case. What is urgent doesn't wait.";

impl<N: Network> Link<N> {
    /// Says once what holds messages back, and that it does no longer.
    pub(super) fn note_holding(&self, session: &mut Session, now: Instant) {
        let change = session.take_hold();
        let is_news = change.is_some() || session.is_holding();
        if let Some(change) = change {
            self.say_holding(&change);
            self.outbox.set_held(change.now.map(|hold| self.held(&hold)));
            self.say_status();
        }
        if is_news {
            let at = session.next_trial().map(|at| super::after(at.saturating_duration_since(now)));
            self.outbox.held_until(at);
        }
    }

    /// What lasts for a moment only has no line; what is about single messages has its own.
    fn say_holding(&self, Change { before, now }: &Change) {
        match (before, now) {
            (_, Some(hold @ Hold::Refused(_))) => {
                let HeldStatus { reason, advice, .. } = self.held(hold);
                log::error!(
                    GATEWIRE_EVENT = "everything_refused";
                    "IoT Core takes nothing that is sent: {reason}. Messages wait in their order, and none is dropped while there is \
                     room (outbox.max_size); only a client that waits for the answer to its own is told `rejected`. One message \
                     is tried from time to time. {advice}"
                );
            }
            (Some(Hold::Refused(_)), _) => {
                log::info!(GATEWIRE_EVENT = "taken_again"; "IoT Core takes messages again; those that waited are sent now");
            }
            _ => {}
        }
    }

    fn held(&self, hold: &Hold) -> HeldStatus {
        let (cause, reason, advice) = match hold {
            Hold::Refused(refusal) => ("refused", refusal.to_string(), what_to_do(refusal)),
            Hold::Throttled(reason) => ("throttled", format!("PUBACK with reason code {reason}"), THROTTLED),
            Hold::Unanswered => {
                let ack_timeout = written(self.setup().connection.ack_timeout);
                ("unanswered", format!("no PUBACK within {ack_timeout}"), NO_PUBACK)
            }
            Hold::Subscribing => ("subscribing", "the server hasn't answered a SUBSCRIBE yet".to_owned(), SUBSCRIBING),
        };
        HeldStatus { cause, since: journal::now().into(), reason, advice: advice.to_owned(), next_attempt: None }
    }

    /// The server takes no messages for now (MQTT 5).
    pub(super) fn throttled(&self, topic: &Topic, wait: Duration) {
        let said = self.said.throttled.borrow_mut().failed(THROTTLED, Before::Down, time::now(), journal::now());
        let said = match said {
            Say::InFull(_) => format!(". {THROTTLED}"),
            Say::Briefly(_) => "; it is sent again".to_owned(),
            Say::Nothing => return,
        };
        log::warn!(
            GATEWIRE_EVENT = "throttled", GATEWIRE_TOPIC = topic.as_str();
            "IoT Core accepts no more messages for now (0x97, quota exceeded), the first of them to `{topic}`; the next is sent in {}{said}",
            told(wait)
        );
    }

    /// What `systemctl status` shows of a connection.
    pub(super) fn say_status(&self) {
        if !self.state.is_connected() {
            return;
        }
        let setup = self.setup();
        let held = match self.outbox.held() {
            Some(held) if held.cause != "subscribing" => format!("; messages wait: {}", held.reason),
            _ => String::new(),
        };
        let (endpoint, client_id) = (&setup.connection.endpoint, &setup.connection.client_id);
        self.notifier.status(&format!("connected to {endpoint} as {client_id}{held}"));
    }
}
