//! Asking the server for filters, and its answers.

use std::collections::BTreeMap;
use std::time::Instant;

use super::event::{End, Event};
use super::{Label, PutOff, Session, State, violation};
use crate::message::{Qos, TopicFilter};
use crate::mqtt::Protocol;
use crate::mqtt::reason::{Reason, ReasonCode};
use crate::mqtt::wire::{PacketIdentifier, Request};

impl Session {
    /// Filters are asked for that the session doesn't hold: nothing but what is urgent is published before they are answered, or
    /// `ack_timeout` is over since the first of them was asked for.
    pub(super) fn hold(&mut self, now: Instant) {
        if self.subscriptions.is_subscribing() {
            self.held_until.get_or_insert(now + self.options.ack_timeout);
        }
    }

    /// Other filters are wanted from now on: asks the server for the difference, now or once there is a connection. What it
    /// refused is asked for once more.
    pub(crate) fn want(&mut self, filters: BTreeMap<TopicFilter, Qos>, now: Instant) {
        self.subscriptions.want(filters);
        if self.is_connected() {
            self.leave_out();
            self.request(now);
            self.hold(now);
        }
    }

    /// Groups of filters are wanted from now on, beside those of [`Session::want`], with QoS 1. The server may close the connection for
    /// them: they are asked for once all others are answered, each group by itself, and no message waits for that. A filter that is
    /// wanted otherwise, too, is in no group.
    pub(crate) fn want_last(&mut self, groups: Vec<Vec<TopicFilter>>, now: Instant) {
        self.subscriptions.want_last(groups);
        if self.is_connected() {
            self.leave_out();
            self.request(now);
        }
    }

    /// What others ask for, beside those, from now on: it may change as often as they like. What the server has refused isn't asked for
    /// again for that, and no message waits.
    pub(crate) fn want_requested(&mut self, filters: BTreeMap<TopicFilter, Qos>, now: Instant) {
        self.subscriptions.want_requested(filters);
        if self.is_connected() {
            self.leave_out();
            self.request(now);
        }
    }

    /// The answer to what readers ask for is late, and the connection will end for that (MQTT 5): whether the server is there then shows
    /// whether it was for the filter.
    pub(super) fn ask_for_life(&mut self, now: Instant) {
        let State::Connected(liveness) = &self.state else { return };
        let is_asked = self.options.protocol == Protocol::Mqtt5 && liveness.ping_sent.is_none();
        if is_asked && !self.subscriptions.only_requested().is_empty() {
            self.ping(now);
        }
    }

    /// Whether the server has refused a filter lately, and whether it is wanted.
    pub(crate) fn refusal(&self, filter: &TopicFilter) -> Option<bool> {
        let is_refused = self.subscriptions.is_refused(filter);
        (is_refused || self.subscriptions.was_refused(filter)).then_some(is_refused)
    }

    /// Until when a filter isn't asked for that the server has refused; `None`: until the next connection.
    pub(crate) fn refused_until(&self, filter: &TopicFilter) -> Option<Instant> {
        self.subscriptions.refused_until(filter)
    }

    /// Whether a SUBSCRIBE or UNSUBSCRIBE is without answer, be it of the connection that has ended.
    pub(crate) fn is_asking(&self) -> bool {
        self.subscriptions.is_asking()
    }

    /// The filters that aren't asked for because connections have ended for those that readers have asked for.
    pub(crate) fn put_off(&self) -> Option<PutOff> {
        self.subscriptions.put_off()
    }

    /// The server may have gone back to an older state of its session: on the next connection what stands is asked for again.
    pub(crate) fn doubt_subscriptions(&mut self) {
        self.subscriptions.doubt();
    }

    /// Leaves out the filters that the server has said it can't subscribe to.
    pub(super) fn leave_out(&mut self) {
        let left_out = self.subscriptions.leave_out(|filter| self.limits.filter_refusal(filter));
        self.events.extend(left_out.into_iter().map(|(filter, answer)| Event::Subscription(filter, answer)));
    }

    pub(super) fn send_request(&mut self, request: Request, now: Instant) {
        let id = self.allocate();
        let before = self.output.len();
        self.wire.request(id, &request, &mut self.output);
        self.put(Label::SUBSCRIBE, before);
        let sent = self.just_put(now);
        self.subscriptions.requested(id, request, sent);
    }

    pub(super) fn suback(
        &mut self,
        id: PacketIdentifier,
        granted: Vec<Result<Qos, Reason>>,
        now: Instant,
    ) -> Result<(), End> {
        if !self.subscriptions.uses(id) {
            // The answer to a SUBSCRIBE that was sent twice.
            return Ok(());
        }
        self.has_answered = true;
        self.heard_behind_birth(now);
        let is_about_identifiers = |granted: &Result<Qos, Reason>| {
            granted.as_ref().is_err_and(|reason| reason.code == ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED)
        };
        // It hasn't said so in its CONNACK. One that says so where there were none refuses the filter.
        if granted.iter().any(is_about_identifiers) && self.subscriptions.has_identifier(id) {
            self.subscriptions.give_up_identifiers();
            self.subscriptions.unanswered_again(id);
            self.request(now);
            return Ok(());
        }
        let answers = self.subscriptions.answered(id, granted, now);
        let answers = answers.ok_or_else(|| violation("a SUBACK answers more or fewer filters than were asked for"))?;
        for (filter, answer) in answers {
            self.isolation.clear_filter(filter.clone(), now);
            self.events.push_back(Event::Subscription(filter, answer));
        }
        self.request(now);
        if !self.subscriptions.is_subscribing() {
            self.held_until = None;
        }
        Ok(())
    }

    pub(super) fn unsuback(&mut self, id: PacketIdentifier, now: Instant) -> Result<(), End> {
        if self.subscriptions.uses(id) {
            let unsubscribed = self.subscriptions.unsubscribed(id);
            unsubscribed.ok_or_else(|| violation("an UNSUBACK answers a SUBSCRIBE"))?;
            self.request(now);
        }
        Ok(())
    }
}
