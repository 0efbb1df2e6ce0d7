//! How states and troubles are told, on the page and in the view. Pure: it is given the time.

use std::time::Duration;

use jiff::Timestamp;

use super::words::{clock, due, lasting, relative};
use crate::cli::output::Tone;
use crate::count::count;
use crate::duration::written;
use crate::status::document::{
    BirthRefusedDocument, BridgeDocument, Certificate, FilterRefusedDocument, Held, KeepAliveDocument, LinkDocument,
    LinkError, LinkPhase, Quarantined, ReloadRefusedDocument, ServiceDocument,
};
use crate::time::Rfc3339;

/// A certificate that ends within so many days is worth a colour: time enough to renew it.
const SOON_DAYS: i64 = 30;

/// So many lines at most for filters that are refused for one reason.
const FEW: usize = 3;

/// What there is no other word for.
const UNKNOWN: &str = "in a state that this version doesn't know";

/// Words for what is told at a time.
#[derive(Clone, Copy)]
pub(super) struct Words {
    pub(super) now: Timestamp,
    /// How long something has been so: with its time, or short of it.
    pub(super) has_times: bool,
}

impl Words {
    /// `for 3m 2s, since 2026-01-31 12:00:00 UTC`, or the beginning of it.
    pub(super) fn since(self, at: Rfc3339) -> String {
        let length = format!("for {}", lasting(self.now.duration_since(*at)));
        if self.has_times { format!("{length}, since {}", clock(at)) } else { length }
    }

    /// The same behind a space, as far as it is known.
    fn then_since(self, at: Option<Rfc3339>) -> String {
        at.map_or_else(String::new, |at| format!(" {}", self.since(at)))
    }

    pub(super) fn ago(self, at: Option<Rfc3339>) -> String {
        at.map_or_else(|| "never".to_owned(), |at| relative(at, self.now))
    }

    pub(super) fn link(self, link: &LinkDocument) -> (Tone, String) {
        let without = format!("not connected{}", self.then_since(link.disconnected_since));
        match link.state {
            LinkPhase::Connected => {
                let session = match link.session_present {
                    Some(true) => "; the session was resumed",
                    Some(false) => "; a new session",
                    None => "",
                };
                (Tone::Good, format!("connected {}{session}", self.then_since(link.since).trim_start()))
            }
            LinkPhase::Connecting => (Tone::Doubtful, format!("{without}; connecting now")),
            // Who it is is left out as long as that isn't known.
            LinkPhase::Waiting if link.client_id.is_empty() => {
                (Tone::Bad, format!("{without}; it waits for an identity"))
            }
            LinkPhase::Waiting => {
                let next = link.next_attempt.map(|at| format!("; next attempt {}", due(at, self.now)));
                (Tone::Bad, format!("{without}{}", next.unwrap_or_default()))
            }
            LinkPhase::Stopped => (Tone::Bad, format!("{without}; gatewire is stopping")),
            LinkPhase::Unknown => (Tone::Doubtful, UNKNOWN.to_owned()),
        }
    }

    /// A bridge's connection to its broker.
    pub(super) fn bridge(self, bridge: &BridgeDocument) -> (Tone, String) {
        let BridgeDocument { state, broker, since, .. } = bridge;
        match state {
            LinkPhase::Connected => (Tone::Good, format!("connected to {broker}{}", self.then_since(*since))),
            LinkPhase::Connecting => (Tone::Doubtful, format!("not connected to {broker}; connecting now")),
            LinkPhase::Waiting => (Tone::Bad, format!("not connected to {broker}{}", self.then_since(*since))),
            LinkPhase::Stopped => (Tone::Bad, format!("not connected to {broker}; gatewire is stopping")),
            LinkPhase::Unknown => (Tone::Doubtful, UNKNOWN.to_owned()),
        }
    }

    /// A service of AWS IoT, and what is under way of it.
    pub(super) fn service(self, service: &ServiceDocument) -> (Tone, String) {
        let (tone, state) = match service.state.as_str() {
            "ready" => (Tone::Good, format!("ready{}", self.then_since(service.since))),
            "waiting" if service.reason.is_some() => (Tone::Doubtful, "waits".to_owned()),
            "waiting" => (Tone::Doubtful, "waits for the connection".to_owned()),
            "refused" => (Tone::Bad, format!("refused{}", self.then_since(service.since))),
            _ => (Tone::Doubtful, UNKNOWN.to_owned()),
        };
        let execution = service.execution.as_ref().map(|id| format!("; {id} is under way")).unwrap_or_default();
        (tone, format!("{state}{execution}"))
    }

    /// One for each, but for many that have one reason: other things are to be seen beside them.
    pub(super) fn filters_refused(self, refused: &[FilterRefusedDocument]) -> Vec<String> {
        let mut groups: Vec<(&str, Vec<&FilterRefusedDocument>)> = Vec::new();
        for refused in refused {
            match groups.iter_mut().find(|(reason, _)| *reason == refused.reason) {
                Some((_, group)) => group.push(refused),
                None => groups.push((&refused.reason, vec![refused])),
            }
        }
        let mut lines = Vec::new();
        for (reason, group) in groups {
            let shown = if group.len() > FEW { FEW - 1 } else { group.len() };
            lines.extend(group[..shown].iter().map(|refused| self.filter_refused(refused)));
            if shown < group.len() {
                let more = count((group.len() - shown) as u64, "more filter");
                lines.push(format!("not subscribed to {more}: {reason}. `gatewire status --json` names them"));
            }
        }
        lines
    }

    fn filter_refused(self, refused: &FilterRefusedDocument) -> String {
        let FilterRefusedDocument { filter, since, reason, missing } = refused;
        format!("not subscribed to {filter}{}: {reason}{}", self.then_since(*since), lacks(missing.as_deref()))
    }

    /// That the last reload was refused, but for the errors that are `known`.
    pub(super) fn reload_refused(self, refused: &ReloadRefusedDocument, known: &[String]) -> String {
        let ReloadRefusedDocument { at, errors } = refused;
        let at = at.map(|at| format!(" {}", relative(at, self.now))).unwrap_or_default();
        let errors: Vec<&str> = errors.iter().filter(|error| !known.contains(error)).map(String::as_str).collect();
        let errors = if errors.is_empty() { String::new() } else { format!(": {}", errors.join("; ")) };
        format!(
            "the reload{at} was refused, and gatewire goes on with the configuration that it had{errors}. Mend it, then \
             `systemctl reload gatewire`"
        )
    }

    pub(super) fn birth_refused(self, refused: &BirthRefusedDocument) -> String {
        let BirthRefusedDocument { topic, since, reason, missing, advice, left_out } = refused;
        let (since, lacks) = (self.then_since(*since), lacks(missing.as_deref()));
        let left_out = if *left_out { "; it is left out for an hour at a time" } else { "" };
        format!("the birth to {topic} isn't taken{since}: {reason}{lacks}{left_out}. {}", advice.trim_end_matches('.'))
    }

    /// Why messages wait though there is a connection.
    pub(super) fn held(self, held: &Held) -> String {
        let Held { cause, since, reason, advice, next_attempt } = held;
        let since = self.then_since(*since);
        let (what, then) = match cause.as_str() {
            "throttled" => ("IoT Core takes no more messages for now", "They are sent again"),
            "unanswered" => ("IoT Core doesn't acknowledge messages", "They are sent again"),
            "budget" => ("only what is urgent is sent", "The rest follows"),
            "subscribing" => ("messages wait for the answer to a SUBSCRIBE", "They follow"),
            _ => ("IoT Core refuses everything", "One is tried"),
        };
        let then = next_attempt.map_or_else(String::new, |at| format!(" {then} {}.", due(at, self.now)));
        format!("{what}{since}: {reason}. Messages wait.{then} {advice}")
    }

    /// A topic, or a group of topics, whose messages are set aside.
    pub(super) fn quarantined(self, quarantined: &Quarantined) -> String {
        let Quarantined { topic, retain, qos, min_size, examples, since, messages, reason, missing } = quarantined;
        let (since, lacks) = (self.then_since(*since), lacks(missing.as_deref()));
        let retained = if *retain { ", retained" } else { "" };
        let qos = qos.map_or_else(String::new, |qos| format!(", QoS {qos}"));
        let size = min_size.map_or_else(String::new, |min| format!(", {} or more", count(min, "byte")));
        let examples = if examples.is_empty() { String::new() } else { format!(" (as {})", examples.join(", ")) };
        format!("{topic}{retained}{qos}{size}{examples}: {messages}{since}: {reason}{lacks}")
    }

    /// When the certificate ends, as far as that is known, and whether that is urgent.
    pub(super) fn certificate(self, certificate: &Certificate) -> Option<(Option<Tone>, String)> {
        let end = certificate.not_after?;
        let left = end.duration_since(self.now);
        let at = format!("{}, at {}", relative(end, self.now), clock(end));
        Some(if left.is_negative() {
            (Some(Tone::Bad), format!("expired {at}: IoT Core refuses it"))
        } else if certificate.not_before.is_some_and(|start| *start > self.now) {
            (Some(Tone::Bad), "not valid yet: is this machine's clock set? (`timedatectl`)".to_owned())
        } else {
            ((left.as_hours() < SOON_DAYS * 24).then_some(Tone::Doubtful), format!("expires {at}"))
        })
    }
}

/// What went wrong, without when.
pub(super) fn error(error: &LinkError) -> String {
    format!("{} ({})", error.message, error.code)
}

/// What the certificate's policy has to allow, to be put behind a reason.
fn lacks(missing: Option<&str>) -> String {
    missing.map_or_else(String::new, |missing| format!("; the policy lacks {missing}"))
}

/// What `keep_alive = "auto"` has found.
pub(super) fn keep_alive(found: &KeepAliveDocument) -> String {
    let interval = written(Duration::from_secs(found.interval));
    let forgotten = found.forgotten_after.map(|after| {
        format!("; after {} the network has forgotten the connection", written(Duration::from_secs(after)))
    });
    format!("keep alive: a PINGREQ after {interval} of silence{}", forgotten.unwrap_or_default())
}
