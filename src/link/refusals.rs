//! What IoT Core refuses: said once, set aside, and the rest goes on.

use std::time::{Duration, Instant};

use humantime::format_duration;

use super::diagnosis::{Before, LinkError, Say, Sent};
use super::reason::{Reason, ReasonCode};
use super::session::{Guilty, Rejection, Verdict};
use super::{Lasting, Link};
use crate::message::{Target, Topic, TopicFilter};
use crate::observe::journal;
use crate::outbox::Sequence;

/// What to do about it.
const THROTTLED: &str = "More is published than the account may, by this gateway or all together: publish less often, or several \
                         values in one message (`batch`), set connection.rate_limit lower, or have the limit raised (Service \
                         Quotas, AWS IoT Core). Nothing is lost meanwhile: what waits is sent later.";

impl Link {
    /// Completes when it is known which topics are set aside and which ids were given out, or the daemon stops.
    pub(super) async fn recalled(&self) {
        tokio::select! {
            () = self.stop.requested() => {}
            ((), ()) = async { tokio::join!(self.outbox.recalled(), self.inbox.ids_recalled()) } => {}
        }
    }

    /// A message that the server doesn't take. If that is for its topic, the topic is set aside; if it is for its content, that
    /// is said once a topic.
    pub(super) fn rejected(&self, sequence: Sequence, target: &Target, rejection: &Rejection) {
        match rejection {
            Rejection::PubAck(reason) if is_for_the_topic(reason.code) => {
                self.set_aside(target, &format!("it answers a PUBLISH with {rejection}"), Some(reason.code));
            }
            Rejection::Character(_) if self.said.rejected.first(&target.topic, Instant::now()) => log::error!(
                GATEWIRE_EVENT = "publish_rejected", GATEWIRE_TOPIC = target.topic.as_str();
                "a message to `{}` isn't sent: {rejection}. An earlier version of gatewire has accepted it; it is kept \
                 (outbox.quarantine), and everything else goes on. Said once a day and topic", target.topic
            ),
            _ if self.said.rejected.first(&target.topic, Instant::now()) => log::error!(
                GATEWIRE_EVENT = "publish_rejected", GATEWIRE_TOPIC = target.topic.as_str();
                "IoT Core refuses a message to `{}`: {rejection}. Its sender is told; if nobody waits for that, the message is \
                 kept and tried again in a day (outbox.quarantine). Change what publishes it. Said once a day and topic", target.topic
            ),
            _ => {}
        }
        self.outbox.refuse(sequence, &rejection.to_string());
    }

    /// A message that the server ends the connection for, because of its form: its topic isn't to blame.
    fn message_set_aside(&self, target: &Target, reason: &str) {
        if self.said.rejected.first(&target.topic, Instant::now()) {
            log::error!(
                GATEWIRE_EVENT = "publish_rejected", GATEWIRE_TOPIC = target.topic.as_str();
                "IoT Core refuses a message to `{}`: {reason}. It is set aside (outbox.quarantine) and tried again in a day; \
                 others to the same topic are sent. Change what publishes it. Said once a day and topic", target.topic
            );
        }
    }

    /// The server takes no messages for now (MQTT 5).
    pub(super) fn throttled(&self, topic: &Topic, wait: Duration) {
        let said = self.said.throttled.borrow_mut().failed(THROTTLED, Before::Down, Instant::now(), journal::now());
        let said = match said {
            Say::InFull(_) => format!(". {THROTTLED}"),
            Say::Briefly(_) => "; it is sent again".to_owned(),
            Say::Nothing => return,
        };
        log::warn!(
            GATEWIRE_EVENT = "throttled", GATEWIRE_TOPIC = topic.as_str();
            "IoT Core takes no more messages for now (0x97, quota exceeded), one to `{topic}` first; the next goes in {}{said}",
            format_duration(wait)
        );
    }

    /// Messages to a target aren't sent from now on: IoT Core does this on one, with this code if it gives any.
    fn set_aside(&self, target: &Target, reason: &str, code: Option<ReasonCode>) {
        let missing = may_be_the_policy(code).then(|| target.needs());
        if self.outbox.set_aside(target.clone(), reason, missing.clone()) {
            let remedy = remedy(missing.as_deref(), code);
            log::error!(
                GATEWIRE_EVENT = "quarantined", GATEWIRE_TOPIC = target.topic.as_str();
                "IoT Core refuses messages to `{}`: {reason}. They are set aside (outbox.quarantine) and everything else goes on. \
                 {remedy}; the topic is tried again once a day", target.topic
            );
        }
    }

    /// Draws the conclusions from the end of a connection, or of the attempt to make one.
    pub(super) fn judge(&self, error: &LinkError, lasting: &mut Lasting) {
        let reason = match error {
            LinkError::ClosedByServer { .. } => None,
            LinkError::Disconnected { reason, .. } if may_be_for_a_packet(reason.code) => Some(reason),
            _ => return lasting.session.ended_otherwise(),
        };
        let is_for_form = reason.is_some_and(|reason| is_for_the_form(reason.code));
        let Verdict { guilty, of_a_trial } = lasting.session.closed_by_server(is_for_form, Instant::now());
        if of_a_trial {
            lasting.backoff.forgive();
        }
        let ends = |packet: &str| match reason {
            None => format!("it closes the connection on a {packet}"),
            Some(reason) => format!("it ends the connection on a {packet} with reason code {reason}"),
        };
        let code = reason.map(|reason| reason.code);
        match guilty {
            Some(Guilty::Publish(target, sequences)) => {
                let reason = ends("PUBLISH");
                match is_for_form {
                    true => self.message_set_aside(&target, &reason),
                    false => self.set_aside(&target, &reason, code),
                }
                sequences.into_iter().for_each(|sequence| self.outbox.refuse(sequence, &reason));
            }
            Some(Guilty::Subscribe(filter)) => self.filter_left_out(filter, ends("SUBSCRIBE"), code),
            None => {}
        }
    }

    fn filter_left_out(&self, filter: TopicFilter, reason: String, code: Option<ReasonCode>) {
        let missing = may_be_the_policy(code).then(|| Sent::Subscribe(filter.clone()).needs());
        let needs = missing.as_ref().map(|missing| format!("{missing} and iot:Receive on its topics"));
        let remedy = remedy(needs.as_deref(), code);
        log::error!(
            GATEWIRE_EVENT = "subscribe_refused", GATEWIRE_FILTER = filter.as_str();
            "IoT Core refuses the filter `{filter}`: {reason}. It is left out: nothing arrives for it, the other filters stand. \
             {remedy}; it is asked for again in an hour"
        );
        self.state.filter_refused(&filter, reason, missing, journal::now());
    }
}

/// Whether a PUBACK with this code says something about every message to its topic.
fn is_for_the_topic(code: ReasonCode) -> bool {
    code == ReasonCode::NOT_AUTHORIZED
}

/// Whether a DISCONNECT with this code is about the form of one message, its topic among it: others to the same topic, with
/// other properties or another payload, may be in order.
fn is_for_the_form(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::MALFORMED_PACKET
            | ReasonCode::PROTOCOL_ERROR
            | ReasonCode::TOPIC_NAME_INVALID
            | ReasonCode::PACKET_TOO_LARGE
            | ReasonCode::PAYLOAD_FORMAT_INVALID
    )
}

/// Whether a DISCONNECT with this code may be the answer to one of our packets (MQTT 5, 3.14.2.1): not when the server stops or
/// is overloaded, someone else has taken the session over, or somebody has thrown us out.
fn may_be_for_a_packet(code: ReasonCode) -> bool {
    // Unspecified, malformed, protocol error, implementation specific, not authorized; topic filter and name invalid; packet
    // too large, quota exceeded, payload format invalid, retain and QoS not supported; shared and wildcard subscriptions.
    matches!(code.0, 0x80..=0x83 | 0x87 | 0x8F | 0x90 | 0x95 | 0x97 | 0x99..=0x9B | 0x9E | 0xA2)
}

/// Whether a policy that forbids it may be why a packet is refused: a close without a reason, or with one that is none.
fn may_be_the_policy(code: Option<ReasonCode>) -> bool {
    code.is_none_or(|code| {
        matches!(code, ReasonCode::UNSPECIFIED | ReasonCode::IMPLEMENTATION_SPECIFIC | ReasonCode::NOT_AUTHORIZED)
    })
}

/// What to do about a refusal: what the policy has to allow, or what else may help.
fn remedy(missing: Option<&str>, code: Option<ReasonCode>) -> String {
    if let Some(missing) = missing {
        return format!("Add {missing} to the certificate's policy");
    }
    match code {
        Some(ReasonCode::TOPIC_FILTER_INVALID | ReasonCode::TOPIC_NAME_INVALID) => {
            "Change the name: there may be levels under `$` that this server doesn't offer, or more than it takes"
        }
        Some(ReasonCode::QUOTA_EXCEEDED) => "A limit of the account was passed: Service Quotas shows and raises it",
        Some(ReasonCode::RETAIN_NOT_SUPPORTED) => "Publish it without `retain`: this server keeps no messages",
        _ => "The server's log may say why (CloudWatch, AWSIotLogsV2)",
    }
    .to_owned()
}

/// What a failed SUBACK says, and what a policy may have to allow.
pub(super) fn suback_failure(filter: &TopicFilter, reason: &Reason) -> (String, Option<String>) {
    let is_policy = matches!(reason.code, ReasonCode::NOT_AUTHORIZED | ReasonCode::UNSPECIFIED);
    (format!("it answers a SUBSCRIBE with {reason}"), is_policy.then(|| Sent::Subscribe(filter.clone()).needs()))
}
