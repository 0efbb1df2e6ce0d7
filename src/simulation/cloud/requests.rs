//! SUBSCRIBE and UNSUBSCRIBE.

use std::time::Instant;

use super::behaviour::FilterAnswer;
use super::message::Origin;
use super::session::Subscription;
use super::timers::Action;
use super::{Cloud, ConnectionId, PROTOCOL_ERROR, QUOTA_EXCEEDED};
use crate::limits::MAX_FILTERS_PER_SUBSCRIBE;
use crate::mqtt::Protocol;
use crate::simulation::server::heard::Subscribe;
use crate::simulation::server::matches;
use crate::simulation::server::say;

impl Cloud {
    pub(super) fn subscribe(&mut self, id: ConnectionId, subscribe: Subscribe, now: Instant) {
        let Subscribe { id: packet, filters, identifier } = subscribe;
        let names = filters.iter().map(|(filter, _)| filter.clone()).collect();
        self.judge_request(id, packet, names, now);
        if let Some(broken) = self.judge_filters(id, &filters, identifier) {
            self.fault(id, &broken, now);
            return self.close(id, Some(PROTOCOL_ERROR), now);
        }
        let answer = |filter: &String| self.filter_answer(filter);
        let ends = filters.iter().filter_map(|(filter, _)| answer(filter)).find_map(|answer| match answer {
            FilterAnswer::Closes => Some(None),
            FilterAnswer::Disconnects(code) => Some(Some(code)),
            FilterAnswer::Downgraded | FilterAnswer::Fails(_) => None,
        });
        if let Some(reason) = ends {
            return self.close(id, reason, now);
        }
        let Some(established) = self.connections.get_mut(&id).and_then(|it| it.established()) else { return };
        let (key, protocol) = (established.key.clone(), established.connect.protocol);
        let answers: Vec<_> = filters.iter().map(|(filter, _)| self.filter_answer(filter)).collect();
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let (mut codes, mut granted) = (Vec::new(), Vec::new());
        for ((filter, options), answer) in filters.into_iter().zip(answers) {
            let is_new = !session.subscriptions.contains_key(&filter);
            let is_full = is_new && session.subscriptions.len() >= self.behaviour.maximum_subscriptions;
            let failure = match answer {
                Some(FilterAnswer::Fails(code)) => Some(code),
                _ => is_full.then_some(QUOTA_EXCEEDED),
            };
            if let Some(code) = failure {
                codes.push(if protocol == Protocol::Mqtt5 { code } else { 0x80 });
                continue;
            }
            let qos = if answer == Some(FilterAnswer::Downgraded) { 0 } else { (options & 3).min(1) };
            session.subscriptions.insert(filter.clone(), Subscription { qos, identifier });
            codes.push(qos);
            granted.push((filter, options, is_new));
        }
        let bytes = say::suback(protocol, packet, &codes);
        self.answer(id, self.behaviour.suback, Action::Answer(id, packet, bytes), now);
        for (filter, options, is_new) in granted {
            self.send_retained(&filter, options, is_new, now);
        }
    }

    /// What is done on a filter, if it isn't granted.
    fn filter_answer(&self, filter: &str) -> Option<FilterAnswer> {
        self.behaviour.filters.get(filter).copied().or_else(|| self.services.refuses_filter(filter))
    }

    /// Retained messages for a filter that was granted, as Retain Handling wants them (MQTT 5, 3.8.3.1).
    fn send_retained(&mut self, filter: &str, options: u8, is_new: bool, now: Instant) {
        let is_wanted = match options >> 4 & 3 {
            0 => true,
            1 => is_new,
            _ => false,
        };
        let wildcards = self.behaviour.downlink.retained_for_wildcards;
        if !is_wanted || filter.starts_with("$share/") || (filter.contains(['+', '#']) && !wildcards) {
            return;
        }
        let parent = self.behaviour.downlink.hash_matches_parent;
        let found = self.retained.values().filter(|message| matches(filter, &message.topic, parent));
        for message in found.cloned().collect::<Vec<_>>() {
            self.route_to(message, Origin::Retained, Some(filter), now);
        }
    }

    pub(super) fn unsubscribe(&mut self, id: ConnectionId, packet: u16, filters: Vec<String>, now: Instant) {
        self.judge_request(id, packet, filters.clone(), now);
        let Some(established) = self.connections.get_mut(&id).and_then(|it| it.established()) else { return };
        let (key, protocol) = (established.key.clone(), established.connect.protocol);
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let gone = |filter: &String| if session.subscriptions.remove(filter).is_some() { 0 } else { NO_SUBSCRIPTION };
        let codes: Vec<u8> = filters.iter().map(gone).collect();
        let bytes = say::unsuback(protocol, packet, &codes);
        self.answer(id, self.behaviour.suback, Action::Answer(id, packet, bytes), now);
    }

    /// The identifier of a request must be free, unless it is the same request once more.
    fn judge_request(&mut self, id: ConnectionId, packet: u16, filters: Vec<String>, now: Instant) {
        let Some(established) = self.connections.get_mut(&id).and_then(|it| it.established()) else { return };
        let is_open = self.sessions.get(&established.key).is_some_and(|session| session.client.is_open(packet));
        let before = established.requests.insert(packet, filters.clone());
        if is_open || before.is_some_and(|before| before != filters) {
            self.fault(
                id,
                &format!("SUBSCRIBE or UNSUBSCRIBE {packet}, an identifier that is in use [MQTT-2.2.1-3]"),
                now,
            );
        }
    }

    /// What a SUBSCRIBE may not ask for.
    fn judge_filters(&self, id: ConnectionId, filters: &[(String, u8)], identifier: Option<u32>) -> Option<String> {
        let connect = self.connections.get(&id)?;
        let super::Phase::Connected(established) = &connect.phase else { return None };
        let announced = established.announced.clone();
        let five = established.connect.protocol == Protocol::Mqtt5;
        if filters.len() > MAX_FILTERS_PER_SUBSCRIBE {
            return Some(format!("SUBSCRIBE with {} filters, IoT Core takes 8", filters.len()));
        }
        if identifier.is_some() && !announced.subscription_identifiers {
            return Some("SUBSCRIBE with a subscription identifier, which isn't available (3.2.2.3.12)".to_owned());
        }
        let is_forbidden = |filter: &str| {
            (filter.contains(['+', '#']) && !announced.wildcards)
                || (filter.starts_with("$share/") && !announced.shared_subscriptions)
        };
        let forbidden = filters.iter().find(|(filter, _)| five && is_forbidden(filter));
        forbidden.map(|(filter, _)| format!("SUBSCRIBE to {filter:?}, which isn't available (3.2.2.3.11, 3.2.2.3.13)"))
    }
}

/// UNSUBACK for a filter that there was no subscription to.
const NO_SUBSCRIPTION: u8 = 0x11;
