//! Which filters need a subscription, and an identifier; what to ask for next, and what to take back.

use std::collections::{BTreeMap, BTreeSet};

use super::{Pending, Subscriptions, Turn};
use crate::limits::MAX_FILTERS_PER_SUBSCRIBE;
use crate::message::{Qos, Topic, TopicFilter};
use crate::mqtt::wire::Request;

impl Subscriptions {
    /// What to ask for next in one packet, without the filters that are `tried_alone`.
    pub(in crate::mqtt::session) fn next_request(&self, tried_alone: impl Fn(&TopicFilter) -> bool) -> Option<Request> {
        let asked = self.asked();
        let missing: Vec<(&TopicFilter, Qos)> = self.missing(&tried_alone).collect();
        let unneeded = self.standing.keys().chain(&self.doubtful).filter(|filter| self.is_unneeded(filter, &missing));
        let unneeded: BTreeSet<&TopicFilter> = unneeded.filter(|filter| !asked.contains(filter)).collect();
        if !unneeded.is_empty() {
            let first = unneeded.into_iter().take(MAX_FILTERS_PER_SUBSCRIBE).cloned();
            return Some(Request::Unsubscribe(first.collect()));
        }
        let missing: Vec<(&TopicFilter, Qos)> =
            missing.into_iter().filter(|(filter, _)| !tried_alone(filter)).collect();
        let turn = missing.iter().map(|(filter, _)| self.wishes.turn_of(filter)).min()?;
        if turn != Turn::First && self.waits_for_suback() {
            return None;
        }
        let mut missing: Vec<(&TopicFilter, Qos)> =
            missing.into_iter().filter(|(filter, _)| self.wishes.turn_of(filter) == turn).collect();
        if turn == Turn::Requested && self.wishes.requested.is_careful() {
            missing.sort_by_key(|(filter, _)| self.wishes.requested.rank(filter));
            missing.truncate(1);
        }
        let mut first: Vec<(TopicFilter, Qos)> = Vec::new();
        for (filter, qos) in missing {
            // A packet has one identifier for all its filters.
            if self.needs_identifier(filter) && first.is_empty() {
                return Some(self.subscribe_with_identifier(filter, qos));
            }
            if !self.needs_identifier(filter) && first.len() < MAX_FILTERS_PER_SUBSCRIBE {
                first.push((filter.clone(), qos));
            }
        }
        (!first.is_empty()).then_some(Request::Subscribe(first, None))
    }

    /// Whether a SUBSCRIBE is on its way that isn't overdue. An UNSUBSCRIBE doesn't count: readers that come and go may have one on its
    /// way all the time.
    fn waits_for_suback(&self) -> bool {
        let is_subscribe = |pending: &Pending| matches!(pending.request, Request::Subscribe(..));
        self.pending.iter().any(|pending| is_subscribe(pending) && !pending.is_overdue)
    }

    /// What to ask for next in a packet with one filter.
    pub(in crate::mqtt::session) fn next_request_alone(
        &self,
        tried_alone: impl Fn(&TopicFilter) -> bool,
    ) -> Option<Request> {
        let suspects = self.missing(&tried_alone).filter(|(filter, _)| tried_alone(filter));
        let (filter, qos) =
            suspects.min_by_key(|(filter, _)| (self.wishes.turn_of(filter), self.wishes.requested.rank(filter)))?;
        Some(match self.needs_identifier(filter) {
            true => self.subscribe_with_identifier(filter, qos),
            false => Request::Subscribe(vec![(filter.clone(), qos)], None),
        })
    }

    fn subscribe_with_identifier(&self, filter: &TopicFilter, qos: Qos) -> Request {
        let identifier = self.identifiers.standing.get(filter).copied().unwrap_or(self.identifiers.last + 1);
        Request::Subscribe(vec![(filter.clone(), qos)], Some(identifier))
    }

    /// Whether a filter of the server's session is to be taken back, while these are `missing` there. What covers one of those stays
    /// until that stands, or what comes meanwhile would be lost; unless there is no room for both.
    fn is_unneeded(&self, filter: &TopicFilter, missing: &[(&TopicFilter, Qos)]) -> bool {
        if self.wanted.contains_key(filter) {
            return self.is_covered(filter, |other| self.stands(other));
        }
        let has_room = self.standing.len() + missing.len() + self.asked().len() <= self.max;
        let is_asked = |other: &TopicFilter| self.asked().contains(other);
        let covers_what_comes = self.wanted.keys().any(|other| {
            filter.covers(other) && (is_asked(other) || missing.iter().any(|(missing, _)| *missing == other))
        });
        !(has_room && covers_what_comes)
    }

    /// Whether a wanted filter needs no subscription, because one of the others that `count` has all its topics, with at least the
    /// same QoS.
    fn is_covered(&self, filter: &TopicFilter, counts: impl Fn(&TopicFilter) -> bool) -> bool {
        let Some(qos) = self.qos_of(filter) else { return false };
        let others = self.wanted.keys().filter(|other| *other != filter && other.covers(filter));
        others.filter(|other| self.qos_of(other) >= Some(qos)).any(counts)
    }

    /// The QoS with which a wanted filter is granted, as far as that is known.
    fn qos_of(&self, filter: &TopicFilter) -> Option<Qos> {
        let qos = self.wanted.get(filter).copied()?;
        Some(if self.downgraded.contains(filter) { Qos::AtMostOnce } else { qos })
    }

    fn stands(&self, filter: &TopicFilter) -> bool {
        self.standing.contains_key(filter) && self.standing.get(filter) == self.wanted.get(filter)
    }

    /// Whether a wanted filter needs an identifier: another that is needed has topics in common with it.
    fn needs_identifier(&self, filter: &TopicFilter) -> bool {
        let is_needed = |other: &TopicFilter| !self.is_covered(other, |cover| !self.refused.contains_key(cover));
        self.identifiers.are_usable
            && self.wanted.keys().any(|other| other != filter && other.overlaps(filter) && is_needed(other))
    }

    /// The identifiers of the subscriptions to which a message on `topic` belongs, if there is more than one.
    pub(in crate::mqtt::session) fn identifiers_for(&self, topic: &Topic) -> Vec<u32> {
        let matching =
            self.identifiers.standing.iter().filter(|(filter, _)| !filter.is_shared() && filter.matches(topic));
        let identifiers: Vec<u32> = matching.map(|(_, identifier)| *identifier).collect();
        if identifiers.len() > 1 { identifiers } else { Vec::new() }
    }

    /// The identifiers that the server's session knows, for `Remembered::identifiers`.
    pub(in crate::mqtt::session) fn identifiers(&self) -> &BTreeMap<TopicFilter, u32> {
        &self.identifiers.standing
    }

    /// The server says that it doesn't know subscription identifiers: until the next connection it is asked without.
    pub(in crate::mqtt::session) fn give_up_identifiers(&mut self) {
        self.identifiers.are_usable = false;
    }

    /// Filters that are needed, don't stand as they should, and aren't being asked for. One that is `tried_alone` may fail, so that
    /// others aren't left to it.
    fn missing(&self, tried_alone: &impl Fn(&TopicFilter) -> bool) -> impl Iterator<Item = (&TopicFilter, Qos)> {
        let asked = self.asked();
        self.wanted.iter().map(|(filter, qos)| (filter, *qos)).filter(move |(filter, _)| {
            let lacks = !self.stands(filter)
                || (self.needs_identifier(filter) && !self.identifiers.standing.contains_key(*filter));
            let will_stand = |other: &TopicFilter| {
                self.stands(other)
                    || !(self.refused.contains_key(other) || self.is_put_off(other) || tried_alone(other))
            };
            lacks
                && !self.refused.contains_key(*filter)
                && !self.is_put_off(filter)
                && !self.unavailable.contains(*filter)
                && !asked.contains(filter)
                && !self.is_covered(filter, will_stand)
        })
    }
}
