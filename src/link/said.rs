//! What is said about single messages and filters: not again and again.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::Link;
use super::diagnosis::NO_PUBACK;
use crate::client::{Before, Say, Telling};
use crate::duration::{told, written};
use crate::journal;
use crate::limits::{MAX_PACKET, MAX_PAYLOAD, MAX_PROPERTIES};
use crate::message::{Topic, TopicFilter};
use crate::mqtt::Malformed;
use crate::mqtt::session::Found;
use crate::net::Network;
use crate::time;

/// The bound on the topics of one kind that are named within [`NAME_AGAIN`].
const MAX_NAMED: usize = 256;

/// What goes on is said again after so long.
const NAME_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// What to do where a SUBACK is missing.
const NO_SUBACK: &str = "Until then nothing may arrive for it. The network on the way loses packets, or the server is overloaded: \
                         its log says more. If this repeats, raise connection.ack_timeout.";

/// What was said.
#[derive(Debug, Default)]
pub(crate) struct SaidOnce {
    /// Topics of single messages that IoT Core refuses.
    pub(super) rejected: Named,
    properties_left_out: Named,
    too_large: Named,
    unreadable: Named,
    overdue: RefCell<Telling>,
    no_suback: RefCell<Telling>,
    /// Restrictions of the CONNACK, for messages of any topic.
    pub(super) terms: RefCell<Telling>,
    pub(super) throttled: RefCell<Telling>,
    /// How long the last connection has lasted, until its end is told.
    pub(super) lasted: Cell<Option<Duration>>,
    /// How many connections in a row have ended soon.
    pub(super) short: Cell<u32>,
}

/// Topics that were named lately.
#[derive(Debug, Default)]
pub(super) struct Named(RefCell<Option<(Instant, HashSet<Topic>)>>);

impl Named {
    /// Whether `topic` is to be named: it wasn't lately, nor so many others.
    pub(super) fn first(&self, topic: &Topic, now: Instant) -> bool {
        let mut named = self.0.borrow_mut();
        let (since, topics) = named.get_or_insert_with(|| (now, HashSet::new()));
        if now.saturating_duration_since(*since) >= NAME_AGAIN {
            *since = now;
            topics.clear();
        }
        topics.len() < MAX_NAMED && topics.insert(topic.clone())
    }
}

impl<N: Network> Link<N> {
    /// How long the network bears silence (`keep_alive = "auto"`).
    pub(super) fn bears_silence(&self, found: &Found) {
        let is_less = self.state.bears_silence(found);
        let interval = told(found.interval);
        match found.forgotten_after.filter(|_| is_less) {
            Some(after) => log::info!(
                "after {} without a packet nothing came through, though the network is there: something on the way, such as a carrier's NAT, \
                 has forgotten the connection. From now on a PINGREQ is sent after {interval} (keep_alive = \"auto\")",
                told(after)
            ),
            None => log::debug!("a PINGREQ is sent after {interval} without a packet"),
        }
    }

    /// Messages have had no PUBACK in time and are sent again (MQTT 3.1.1).
    pub(super) fn overdue(&self, topic: &Topic, count: usize) {
        let what = match count {
            1 => format!("a message to `{topic}`"),
            _ => format!("{count} messages, including one to `{topic}`,"),
        };
        let said = match self.said.overdue.borrow_mut().failed(NO_PUBACK, Before::Down, time::now(), journal::now()) {
            Say::InFull(_) => format!(". {NO_PUBACK}"),
            Say::Briefly(_) if count == 1 => "; it is sent again".to_owned(),
            Say::Briefly(_) => "; they are sent again".to_owned(),
            Say::Nothing => return,
        };
        log::warn!(
            GATEWIRE_EVENT = "puback_missing", GATEWIRE_TOPIC = topic.as_str(), GATEWIRE_COUNT = count;
            "the server didn't acknowledge {what} within {}{said}",
            written(self.setup().connection.ack_timeout)
        );
    }

    /// A SUBSCRIBE has had no SUBACK in time and is sent again (MQTT 3.1.1): in the status, until there is one.
    pub(super) fn subscribe_overdue(&self, filter: &TopicFilter) {
        self.state.filter_refused(filter, "it doesn't answer the SUBSCRIBE".to_owned(), None, journal::now());
        let said = match self.said.no_suback.borrow_mut().failed(NO_SUBACK, Before::Down, time::now(), journal::now()) {
            Say::InFull(_) => format!("; it is sent again. {NO_SUBACK}"),
            Say::Briefly(row) => format!("{row}; it is sent again"),
            Say::Nothing => return,
        };
        log::warn!(
            GATEWIRE_EVENT = "suback_missing", GATEWIRE_FILTER = filter.as_str();
            "the server didn't acknowledge the SUBSCRIBE to `{filter}` within {}{said}",
            written(self.setup().connection.ack_timeout)
        );
    }

    /// A message from the server comes without its properties: said once a topic.
    pub(super) fn properties_left_out(&self, topic: &Topic) {
        if self.said.properties_left_out.first(topic, time::now()) {
            log::warn!(
                GATEWIRE_EVENT = "properties_left_out", GATEWIRE_TOPIC = topic.as_str();
                "a message on `{topic}` carries more than {} KiB of properties: it is passed on without them",
                MAX_PROPERTIES / 1024
            );
        }
    }

    /// A message from the server was larger than we take, and is dropped: counted, and said once a topic.
    pub(super) fn too_large(&self, topic: &Topic, size: usize) {
        self.inbox.too_large();
        if self.said.too_large.first(topic, time::now()) {
            log::error!(
                GATEWIRE_EVENT = "message_too_large", GATEWIRE_TOPIC = topic.as_str();
                "a message on `{topic}` has {size} bytes, more than the {} KiB that gatewire accepts: it is dropped and \
                acknowledged, and no reader gets it. Have its sender keep to IoT Core's limit, a payload of {} KiB. Logged \
                once a day per topic, counted in `gatewire status` (inbox.too_large)",
                MAX_PACKET / 1024, MAX_PAYLOAD / 1024
            );
        }
    }

    /// A message from the server can't be passed on, and is dropped: counted, and said once a topic.
    pub(super) fn unreadable(&self, topic: &Topic, why: &Malformed) {
        self.inbox.unreadable();
        if self.said.unreadable.first(topic, time::now()) {
            log::error!(
                GATEWIRE_EVENT = "message_unreadable", GATEWIRE_TOPIC = topic.as_str();
                "a message on `{topic}` breaks the rules of MQTT: {why}. The server sends it again on each connection that ends for \
                it: it is dropped and acknowledged, and no reader gets it. Find the client that publishes \
                it. Logged once a day per topic, counted in `gatewire status` (inbox.unreadable)"
            );
        }
    }

    pub(super) fn filter_downgraded(&self, filter: &TopicFilter) {
        log::warn!(
            GATEWIRE_EVENT = "subscribe_downgraded", GATEWIRE_FILTER = filter.as_str();
            "the server granted `{filter}` with QoS 0 only: messages for it may be lost on the way here"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_once_a_day_and_not_too_many_are() {
        let (named, start) = (Named::default(), Instant::now());
        let topic = |n: usize| Topic::new(&format!("t/{n}")).unwrap();
        let count = |now| (0..MAX_NAMED + 10).filter(|n| named.first(&topic(*n), now)).count();
        assert_eq!(count(start), MAX_NAMED);
        assert_eq!(count(start + NAME_AGAIN - Duration::from_secs(1)), 0);
        assert_eq!(count(start + NAME_AGAIN), MAX_NAMED);
    }
}
