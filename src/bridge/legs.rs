//! Both ways, as the connection to the local broker sees them.

use std::collections::BTreeMap;
use std::time::Instant;

use super::cause::Cause;
use super::local::Legs;
use super::rules::{self, Route};
use super::{Bridge, carry, why};
use crate::forward::Acks;
use crate::limits::MAX_PAYLOAD;
use crate::mapping::Direction;
use crate::message::{AckToken, Condition, Inbound, Outbound, Qos, Sequence, Topic, TopicFilter};
use crate::mqtt::isolation::Rank;
use crate::mqtt::session::Waiting;
use crate::time;

/// So many kinds of messages for which the local broker closes the connection are known. Beyond, the oldest is found out again.
const MAX_REFUSED: usize = 128;

impl Bridge {
    /// What a message of the local broker is at IoT Core, by which rule; `Err`: it doesn't go there.
    fn carried(&self, message: &Inbound) -> Option<(usize, Result<Outbound, Cause>)> {
        let (index, topic) = match rules::up(&self.rules.borrow(), &message.topic) {
            Route::To(index, topic) => (index, topic),
            Route::Left(index, cause) => return Some((index, Err(cause))),
            Route::Nowhere => return None,
        };
        if message.payload.len() > MAX_PAYLOAD {
            return Some((index, Err(Cause::TooLarge)));
        }
        let is_topic = carry::is_topic_of_iot_core;
        let properties = match carry::properties(message.properties.as_ref(), &message.payload, is_topic, time::now()) {
            Ok(properties) => properties.filter(|_| self.has_properties.get()),
            Err(cause) => return Some((index, Err(cause))),
        };
        let (may_retain, urgent) =
            self.rules.borrow().up.get(index).map_or((false, false), |rule| (rule.retain, rule.urgent));
        let retain = message.retain && may_retain;
        // It may wait for long, and mustn't hold on to what it was received in.
        let Inbound { payload, properties, .. } = Inbound { properties, ..message.clone() }.detached();
        Some((index, Ok(Outbound { topic, payload, qos: Qos::AtLeastOnce, retain, urgent, properties })))
    }

    fn left_out(&self, index: usize, cause: Cause, topic: &Topic) {
        if let Some(rule) = self.up.borrow().get(index) {
            rule.counters().dropped(cause);
        }
        self.name_left_out(Direction::Up, cause, topic, why(cause));
    }

    /// Likewise of a message whose content isn't known.
    fn left_out_unread(&self, topic: &Topic, cause: Cause) {
        if let Route::To(index, _) | Route::Left(index, _) = rules::up(&self.rules.borrow(), topic) {
            if let Some(rule) = self.up.borrow().get(index) {
                rule.counters().received();
            }
            self.left_out(index, cause, topic);
        }
    }

    /// Drops what the local broker would close the connection for, as far as it is next.
    fn drop_refused(&self) {
        if self.refused.borrow().is_empty() {
            return;
        }
        for rule in self.down.borrow().clone() {
            while let Some((id, message)) = rule.front()
                && let Some(why) = self.why_refused(&message)
            {
                self.name_left_out(Direction::Down, Cause::Refused, &message.topic, &why);
                rule.give(id);
                rule.finish(id, Some(Cause::Refused));
            }
        }
    }

    /// Why the local broker wouldn't take it, if that is known.
    fn why_refused(&self, message: &Outbound) -> Option<String> {
        let refused = self.refused.borrow();
        let (_, reason) = refused.iter().find(|(condition, _)| condition.matches(&message.traits()))?;
        Some(format!("the local broker doesn't accept it: {reason}"))
    }

    fn finish(&self, sequence: Sequence, dropped: Option<Cause>) {
        let rules = self.down.borrow().clone();
        let _ = rules.iter().any(|rule| rule.finish(sequence.get(), dropped));
    }
}

/// The messages of all rules. Each keeps its order, but for what the session suspects.
pub(crate) struct Fresh<'a>(&'a Bridge);

impl Waiting for Fresh<'_> {
    type Found = (Sequence, usize);

    fn first(&mut self, mut admits: impl FnMut(&Outbound, bool) -> bool) -> Option<(Sequence, usize)> {
        let Fresh(bridge) = self;
        bridge.drop_refused();
        let rules = bridge.down.borrow();
        let mut may_go = |message: &Outbound| bridge.why_refused(message).is_none() && admits(message, false);
        let firsts = rules.iter().filter_map(|rule| rule.first(&mut may_go));
        firsts.min_by_key(|(id, _)| *id).map(|(id, size)| (Sequence::new(id), size))
    }

    fn least(&mut self, rank: impl Fn(&Outbound, u32) -> Option<Rank>) -> Option<(Sequence, usize)> {
        let Fresh(bridge) = self;
        bridge.drop_refused();
        let mut all: Vec<(u64, Outbound)> = bridge.down.borrow().iter().flat_map(|rule| rule.visible()).collect();
        all.sort_by_key(|(id, _)| *id);
        let ranked = (0..).zip(&all).filter(|(_, (_, message))| bridge.why_refused(message).is_none());
        let ranked = ranked.filter_map(|(place, (id, message))| Some((rank(message, place)?, *id, message.size())));
        let (_, id, size) = ranked.min_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)))?;
        Some((Sequence::new(id), size))
    }
}

impl Legs for Bridge {
    type Waiting<'a> = Fresh<'a>;

    fn filters(&self) -> BTreeMap<TopicFilter, Qos> {
        self.rules.borrow().filters()
    }

    fn link_up(&self, _session_present: bool) {
        self.something.notify();
    }

    fn link_down(&self) {
        let rules = self.up.borrow().clone();
        rules.iter().for_each(|rule| rule.link_down());
        self.handing.link_down();
    }

    fn arrived(&self, message: Inbound, token: Option<AckToken>, now: Instant) {
        if let Some(token) = token {
            self.local_acks.owe(token, 1);
        }
        let carried = self.carried(&message);
        let rule = carried.as_ref().and_then(|(index, _)| self.up.borrow().get(*index).cloned());
        let (Some((index, outcome)), Some(rule)) = (carried, rule) else {
            if !self.rules.borrow().filters().keys().any(|filter| filter.matches(&message.topic)) {
                self.came_unasked(&message.topic);
            }
            return token.into_iter().for_each(|token| self.done(token));
        };
        rule.counters().received();
        match outcome {
            Ok(outbound) => rule.take(outbound, &message, token, now),
            Err(cause) => {
                self.left_out(index, cause, &message.topic);
                token.into_iter().for_each(|token| self.done(token));
            }
        }
    }

    fn too_large(&self, topic: &Topic, _size: usize) {
        self.left_out_unread(topic, Cause::TooLarge);
    }

    fn unreadable(&self, topic: &str, _why: &str) {
        self.left_out_unread(&Topic::received(topic), Cause::BadTopic);
    }

    fn full_until(&self) -> Option<Instant> {
        self.handing.full_until()
    }

    async fn has_room(&self) {
        self.handing.has_room().await;
    }

    fn acks(&self) -> &Acks {
        &self.local_acks
    }

    async fn something_waits(&self) {
        self.something.notified().await;
    }

    fn waiting(&self) -> Fresh<'_> {
        Fresh(self)
    }

    fn take(&self, sequence: Sequence) -> Option<Outbound> {
        let rules = self.down.borrow().clone();
        rules.iter().find_map(|rule| rule.give(sequence.get()))
    }

    fn delivered(&self, sequence: Sequence) {
        self.finish(sequence, None);
    }

    fn expired(&self, sequence: Sequence) {
        self.finish(sequence, Some(Cause::Expired));
    }

    fn returned(&self, sequence: Sequence) {
        self.down.borrow().iter().for_each(|rule| rule.put_back(sequence.get()));
    }

    fn rejected(&self, sequence: Sequence, topic: &Topic, is_too_large: bool, why: &str) {
        let cause = if is_too_large { Cause::TooLarge } else { Cause::Refused };
        self.name_left_out(Direction::Down, cause, topic, &format!("the local broker doesn't take it: {why}"));
        self.finish(sequence, Some(cause));
    }

    fn guilty(&self, condition: &Condition, reason: &str) {
        let mut refused = self.refused.borrow_mut();
        refused.retain(|(known, _)| known != condition);
        refused.push((condition.clone(), reason.to_owned()));
        if refused.len() > MAX_REFUSED {
            refused.remove(0);
        }
        drop(refused);
        self.something.notify();
    }
}
