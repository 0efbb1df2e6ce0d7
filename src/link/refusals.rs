//! What IoT Core refuses: said once, set aside, and the rest goes on.

use std::time::{Duration, Instant};

use super::diagnosis::{LinkError, Sent};
use super::{Lasting, Link};
use crate::client::{Before, Say};
use crate::duration::told;
use crate::journal;
use crate::message::{Condition, Sequence, TopicFilter, TopicPattern, Traits};
use crate::mqtt::Rejection;
use crate::mqtt::isolation::{Ground, Guilty};
use crate::mqtt::reason::{Reason, ReasonCode};
use crate::mqtt::session::{Refusal, Verdict};
use crate::net::Network;
use crate::services::{Asker, Service};
use crate::time;

/// What to do about it.
pub(super) const THROTTLED: &str = "The account's limit for publishing was passed, by this gateway alone or by all devices together: publish less \
                         often, put several values into one message (`batch`), lower connection.rate_limit, or have the limit \
                         raised (Service Quotas, AWS IoT Core). Nothing is lost: what waits is sent later.";

/// What to do where nothing is taken.
const EVERYTHING: &str = "Check the certificate's policy (`gatewire policy` prints what it needs; it must be attached and \
                          active) and the server's log (CloudWatch, AWSIotLogsV2): the messages themselves aren't the cause.";

impl<N: Network> Link<N> {
    /// Completes when it is known what is set aside and which ids were given out, or the daemon stops.
    pub(super) async fn recalled(&self) {
        tokio::select! {
            biased;
            () = self.stop.requested() => {}
            ((), ()) = async { tokio::join!(self.outbox.recalled(), self.inbox.ids_recalled()) } => {}
        }
    }

    /// A message that the server doesn't take, though it takes others: that is said once a topic.
    pub(super) fn rejected(&self, sequence: Sequence, message: &Traits, rejection: &Rejection) {
        if let Some(attempt) = sequence.request() {
            return self.services.not_taken(attempt, &rejection.to_string());
        }
        let is_for_the_topic =
            matches!(rejection, Rejection::PubAck(reason) if Ground::of(reason.code) == Ground::Topic);
        match rejection {
            _ if is_for_the_topic => {}
            Rejection::Character(_) if self.said.rejected.first(&message.topic, time::now()) => log::error!(
                GATEWIRE_EVENT = "publish_rejected", GATEWIRE_TOPIC = message.topic.as_str();
                "a message to `{}` isn't sent: {rejection}. An earlier version of gatewire has accepted it. It is kept \
                 (outbox.quarantine), and all other messages are sent. Logged once a day for each topic", message.topic
            ),
            Rejection::Character(_) => {}
            Rejection::NoQos1 | Rejection::NoRetain => self.not_allowed(message, rejection),
            _ => self.message_refused(message, &rejection.to_string()),
        }
        self.outbox.refuse(sequence, &rejection.to_string());
    }

    /// A message that the server doesn't take, and it has taken none on this connection. Returns whether its client was told; else
    /// it waits again.
    pub(super) fn doubtful(&self, sequence: Sequence, message: &Traits, rejection: &Rejection) -> bool {
        if let Some(attempt) = sequence.request() {
            let lacks = match rejection {
                Rejection::PubAck(reason) if may_be_the_policy(Some(reason.code)) => {
                    format!("; the certificate's policy must allow iot:Publish on topic/{}", message.topic)
                }
                _ => String::new(),
            };
            self.services.put_off(attempt, &format!("IoT Core refuses it: {rejection}{lacks}"));
            return true;
        }
        let is_told = self.outbox.doubt(sequence, &rejection.to_string());
        if is_told {
            let is_policy = matches!(rejection, Rejection::PubAck(reason) if may_be_the_policy(Some(reason.code)));
            let needs =
                Condition { retained_only: message.retain, ..Condition::topics(TopicPattern::exactly(&message.topic)) };
            let lacks = if is_policy {
                format!("; the certificate's policy must allow {}", needs.needs())
            } else {
                String::new()
            };
            self.client_told(message, &format!("{rejection}{lacks}"));
        }
        is_told
    }

    /// What the server's CONNACK rules out, whatever the topic: that isn't said for each.
    fn not_allowed(&self, message: &Traits, rejection: &Rejection) {
        let (topic, remedy) = (&message.topic, terms_remedy(rejection));
        let said = match self.said.terms.borrow_mut().failed(remedy, Before::Down, time::now(), journal::now()) {
            Say::InFull(_) => format!(
                "A client that waits for it is answered `rejected`; otherwise it is kept (outbox.quarantine) and retried when \
                 a CONNACK allows it, or in a day. {remedy}"
            ),
            Say::Briefly(row) => format!("The same happened to other messages{row}"),
            Say::Nothing => return,
        };
        log::error!(
            GATEWIRE_EVENT = "publish_rejected", GATEWIRE_TOPIC = topic.as_str();
            "IoT Core refuses a message to `{topic}`: {rejection}. {said}"
        );
    }

    /// Nothing is accepted at the moment. What has nobody who waits for the answer waits itself.
    fn client_told(&self, message: &Traits, reason: &str) {
        if self.said.rejected.first(&message.topic, time::now()) {
            log::error!(
                GATEWIRE_EVENT = "publish_rejected", GATEWIRE_TOPIC = message.topic.as_str();
                "IoT Core refuses a message to `{}`: {reason}. The client that waited for the answer was told `rejected`. Logged \
                 once a day for each topic", message.topic
            );
        }
    }

    fn message_refused(&self, message: &Traits, reason: &str) {
        if self.said.rejected.first(&message.topic, time::now()) {
            log::error!(
                GATEWIRE_EVENT = "publish_rejected", GATEWIRE_TOPIC = message.topic.as_str();
                "IoT Core refuses a message to `{}`: {reason}. It is set aside, and others to the same topic are sent. A client \
                 that waits for it is answered `rejected`; otherwise it is kept (outbox.quarantine) and retried in a day. Change \
                 what publishes it. Logged once a day for each topic", message.topic
            );
        }
    }

    /// The server answers what meets this with a failure.
    pub(super) fn guilty(&self, condition: Condition, reason: &Reason) {
        self.set_aside(
            condition,
            &format!("it answers a PUBLISH with PUBACK with reason code {reason}"),
            Some(reason.code),
        );
    }

    /// What meets this isn't sent from now on: IoT Core does this on such a message, with this code if it gives any.
    fn set_aside(&self, condition: Condition, reason: &str, code: Option<ReasonCode>) {
        let missing = may_be_the_policy(code).then(|| condition.needs());
        let services = self.services.topic_refused(|topic| condition.topics.matches(topic), reason);
        for service in &services {
            self.say_service_refused(*service, &format!("a request to {condition}"), reason, missing.as_deref());
        }
        // No message of the outbox goes to the topics of services.
        if !services.is_empty() && !condition.is_group() {
            return;
        }
        if !self.outbox.set_aside(condition.clone(), reason, missing.clone()) {
            return;
        }
        let remedy = remedy(missing.as_deref(), code);
        let topics = condition.topics.to_string();
        let again = if condition.is_group() {
            "the group is tried again once a day"
        } else {
            "the topic is tried again once a day"
        };
        log::error!(
            GATEWIRE_EVENT = "quarantined", GATEWIRE_TOPIC = topics.as_str();
            "IoT Core refuses messages to {condition}: {reason}. They are set aside (outbox.quarantine), and all other messages are sent. \
             {remedy}; {again}"
        );
    }

    /// Draws the conclusions from the end of a connection, or of the attempt to make one.
    pub(super) fn judge(&self, error: &LinkError, lasting: &mut Lasting<N>) {
        let is_answer_bad = lasting.session.was_answer_bad();
        let reason = match error {
            LinkError::ClosedByServer { .. } => None,
            LinkError::Disconnected { reason, .. } if may_be_for_a_packet(reason.code) => Some(reason),
            // We have ended it, for an answer that can't be understood: that comes again with what it answers.
            _ if is_answer_bad => None,
            LinkError::Unanswered { sent: Sent::Subscribe(filter), waited, .. } => {
                self.suback_is_missing(filter, *waited);
                if let Some(paused) = lasting.session.suback_missing(filter, time::now()) {
                    self.requests_paused(&paused);
                }
                return lasting.session.ended_otherwise();
            }
            _ => return lasting.session.ended_otherwise(),
        };
        let is_for_form = reason.is_some_and(|reason| Ground::of(reason.code) == Ground::Message);
        let verdict = lasting.session.closed_by_server(is_for_form, time::now());
        let Verdict { guilty, refused, returned, of_a_trial, birth_left_out, paused } = verdict;
        if let Some(reason) = reason {
            lasting.session.ended_because(reason.clone());
        }
        if guilty.is_some() || birth_left_out {
            // What the closes so far were for is known.
            lasting.backoff.restart();
        } else if of_a_trial {
            lasting.backoff.forgive();
        }
        let ends = |packet: &str| match reason {
            None if is_answer_bad => format!("its answer to a {packet} breaks the rules of MQTT"),
            None => format!("it closes the connection on a {packet}"),
            Some(reason) => format!("it ends the connection on a {packet} with reason code {reason}"),
        };
        // No policy is to blame for that.
        let bad = is_answer_bad.then_some(ReasonCode::PROTOCOL_ERROR);
        let code = reason.map(|reason| reason.code).or(bad);
        if birth_left_out {
            self.birth_left_out(&ends("PUBLISH"), code);
        }
        match refused.map(|(sequence, message)| (sequence, sequence.request(), message)) {
            Some((_, Some(attempt), _)) => self.services.not_taken(attempt, &ends("PUBLISH")),
            Some((sequence, None, message)) => {
                self.message_refused(&message, &ends("PUBLISH"));
                self.outbox.refuse(sequence, &ends("PUBLISH"));
            }
            None => {}
        }
        // First all to its place, so that what is set aside moves to the quarantine in its order.
        for sequence in returned {
            match sequence.request() {
                Some(attempt) => self.services.returned(attempt),
                None => self.outbox.put_back(sequence),
            }
        }
        match guilty {
            Some(Guilty::Publish(condition)) => self.set_aside(condition, &ends("PUBLISH"), code),
            Some(Guilty::Subscribe(filter)) => {
                let until = lasting.session.refused_until(&filter);
                self.filter_left_out(filter, ends("SUBSCRIBE"), code, until);
            }
            None => {}
        }
        paused.iter().for_each(|paused| self.requests_paused(paused));
    }

    /// A filter is refused. Whether it is a service's, which is switched off then, and that is said.
    pub(super) fn service_refused(&self, filter: &TopicFilter, reason: &str, missing: Option<&str>) -> bool {
        let Some(service) = self.services.filter_refused(filter, reason) else { return false };
        let missing = missing.map(|missing| format!("{missing} and iot:Receive on its topics"));
        self.say_service_refused(service, &format!("the filter `{filter}`"), reason, missing.as_deref());
        true
    }

    /// The connection is ended for that. Filters of services are asked for by themselves, and everything works without them.
    fn suback_is_missing(&self, filter: &TopicFilter, waited: Duration) {
        let reason = format!("no SUBACK comes within {} s, on several connections", waited.as_secs());
        if let Some(service) = self.services.filter_unanswered(filter, &reason) {
            self.say_service_refused(service, &format!("the filter `{filter}`"), &reason, None);
        }
    }

    fn say_service_refused(&self, service: Service, what: &str, reason: &str, missing: Option<&str>) {
        let (name, table) = (service.full_name(), service.name());
        let remedy = missing.map_or_else(String::new, |missing| {
            format!("Add {missing} to the certificate's policy (`gatewire policy` prints all that it needs). ")
        });
        if service.asker() == Asker::Rotation {
            // The rest says the one that asks.
            log::error!(
                GATEWIRE_EVENT = "service_refused", GATEWIRE_SERVICE = table;
                "{name} can't be used: IoT Core refuses {what}: {reason}. Everything else goes on. {remedy}"
            );
            return;
        }
        log::error!(
            GATEWIRE_EVENT = "service_refused", GATEWIRE_SERVICE = table;
            "{name} can't be used: IoT Core refuses {what}: {reason}. [{table}] is left out, and everything else goes on. {remedy}If \
             this account or region doesn't have {name}, remove [{table}] from the configuration. It is tried again in a day, and at \
             a reload"
        );
    }

    fn filter_left_out(&self, filter: TopicFilter, reason: String, code: Option<ReasonCode>, until: Option<Instant>) {
        let missing = may_be_the_policy(code).then(|| Sent::Subscribe(filter.clone()).needs());
        if self.service_refused(&filter, &reason, missing.as_deref()) {
            return;
        }
        let needs = missing.as_ref().map(|missing| format!("{missing} and iot:Receive on its topics"));
        let remedy = remedy(needs.as_deref(), code);
        log::error!(
            GATEWIRE_EVENT = "subscribe_refused", GATEWIRE_FILTER = filter.as_str();
            "IoT Core refuses the filter `{filter}`: {reason}. It is left out: no messages arrive for it, and the other filters stay \
             subscribed. {remedy}; it is tried again {}", when(until)
        );
        self.state.filter_refused(&filter, reason, missing, journal::now());
    }
}

/// When a filter that was refused is asked for again: with when the session does, if it knows that.
pub(super) fn when(until: Option<Instant>) -> String {
    until.map_or_else(
        || "on the next connection".to_owned(),
        |until| format!("in {}", told(until.saturating_duration_since(time::now()))),
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
pub(super) fn may_be_the_policy(code: Option<ReasonCode>) -> bool {
    code.is_none_or(|code| {
        matches!(code, ReasonCode::UNSPECIFIED | ReasonCode::IMPLEMENTATION_SPECIFIC | ReasonCode::NOT_AUTHORIZED)
    })
}

/// What to do where nothing is taken.
pub(super) fn what_to_do(refusal: &Refusal) -> &'static str {
    let code = match refusal {
        Refusal::Ends(reason) => reason.as_ref().map(|reason| reason.code),
        Refusal::Refuses(Rejection::PubAck(reason)) => Some(reason.code),
        Refusal::Refuses(rejection) => return terms_remedy(rejection),
    };
    match code {
        Some(ReasonCode::QUOTA_EXCEEDED) => THROTTLED,
        code if may_be_the_policy(code) => EVERYTHING,
        _ => "The server's log may say why (CloudWatch, AWSIotLogsV2): the messages themselves aren't the cause.",
    }
}

/// What to do about the restrictions in a CONNACK.
pub(super) fn terms_remedy(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::NoQos1 => {
            "IoT Core supports QoS 1: check connection.endpoint. On a broker of your own, allow it (mosquitto: `max_qos 1`), or set \
             `qos = 0` for what may be lost."
        }
        Rejection::NoRetain => {
            "IoT Core retains messages: check connection.endpoint. On a broker of your own, allow it (mosquitto: \
             `retain_available true`), or publish without `retain`."
        }
        Rejection::TooLarge { .. } => {
            "IoT Core accepts payloads of up to 128 KiB: check connection.endpoint. On a broker of your own, allow more (mosquitto: \
             `max_packet_size`), or send smaller messages."
        }
        Rejection::PubAck(_) | Rejection::Character(_) => "Change what publishes it.",
    }
}

/// What to do about a refusal: what the policy has to allow, or what else may help.
pub(super) fn remedy(missing: Option<&str>, code: Option<ReasonCode>) -> String {
    if let Some(missing) = missing {
        return format!("Add {missing} to the certificate's policy");
    }
    match code {
        Some(ReasonCode::TOPIC_FILTER_INVALID | ReasonCode::TOPIC_NAME_INVALID) => {
            "Change the name: it may have levels under `$` that this server doesn't offer, or too many levels"
        }
        Some(ReasonCode::QUOTA_EXCEEDED) => {
            "A limit of the account was passed: Service Quotas shows it and takes requests to raise it"
        }
        Some(ReasonCode::RETAIN_NOT_SUPPORTED) => "Publish it without `retain`: this server doesn't retain messages",
        _ => "The server's log may say why (CloudWatch, AWSIotLogsV2)",
    }
    .to_owned()
}

/// What a failed SUBACK says, and what a policy may have to allow.
pub(super) fn suback_failure(filter: &TopicFilter, reason: &Reason) -> (String, Option<String>) {
    let is_policy = matches!(reason.code, ReasonCode::NOT_AUTHORIZED | ReasonCode::UNSPECIFIED);
    (format!("it answers a SUBSCRIBE with {reason}"), is_policy.then(|| Sent::Subscribe(filter.clone()).needs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_fits_what_is_refused() {
        let reason = |code| Reason::new(code, None);
        let ends = |code| what_to_do(&Refusal::Ends(Some(reason(code))));
        for advice in [what_to_do(&Refusal::Ends(None)), ends(0x87), ends(0x80)] {
            assert!(advice.contains("gatewire policy"), "{advice}");
        }
        let answers = what_to_do(&Refusal::Refuses(Rejection::PubAck(reason(0x97))));
        for advice in [ends(0x97), answers] {
            assert!(advice.contains("rate_limit"), "{advice}");
        }
        let terms = [
            (Rejection::NoQos1, "max_qos"),
            (Rejection::NoRetain, "retain_available"),
            (Rejection::TooLarge { size: 11, limit: 1 }, "max_packet_size"),
        ];
        for (rejection, needed) in terms {
            let advice = what_to_do(&Refusal::Refuses(rejection));
            assert!(advice.contains(needed) && !advice.contains("policy"), "{advice}");
        }
        assert!(!ends(0x95).contains("policy"));
    }
}
