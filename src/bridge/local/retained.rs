//! What is to stand retained at the broker, and which of it is to be published for that. Pure.

use bytes::Bytes;

use crate::message::{Outbound, Qos, Topic};

/// Each topic once, in the order in which they came; what is to be removed is before all others.
#[derive(Debug, Default)]
pub(super) struct Retained(Vec<Kept>);

#[derive(Debug)]
struct Kept {
    topic: Topic,
    /// Empty: nothing is to be retained there any more.
    payload: Bytes,
    is_due: bool,
    refused: Refused,
}

/// Whether the broker doesn't take it, and for how long that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    No,
    /// It has said so: until another connection.
    Here,
    /// It closes the connection for it: until a reload.
    Everywhere,
}

impl Kept {
    fn message(&self) -> Outbound {
        // An empty retained message takes the place of none (`MQTT-3.3.1-6`).
        let (topic, payload) = (self.topic.clone(), self.payload.clone());
        Outbound { topic, payload, qos: Qos::AtLeastOnce, retain: true, urgent: false, properties: None }
    }

    fn may_go(&self) -> bool {
        self.is_due && self.refused == Refused::No
    }
}

impl Retained {
    /// From now on this is to be retained on a topic.
    pub(super) fn set(&mut self, topic: &Topic, payload: Bytes) {
        match self.0.iter_mut().find(|kept| kept.topic == *topic) {
            Some(kept) if kept.payload == payload => {}
            Some(kept) => (kept.payload, kept.is_due) = (payload, true),
            None => self.0.push(Kept { topic: topic.clone(), payload, is_due: true, refused: Refused::No }),
        }
    }

    /// Nothing is to be retained any more on the other topics.
    pub(super) fn leave_all_but(&mut self, is_wanted: impl Fn(&Topic) -> bool) {
        for kept in self.0.iter_mut().filter(|kept| !is_wanted(&kept.topic)) {
            (kept.payload, kept.is_due, kept.refused) = (Bytes::new(), true, Refused::No);
        }
        self.0.sort_by_key(|kept| !kept.payload.is_empty());
    }

    /// The broker may know nothing of it, or of another thing that it retains there: everything is due.
    pub(super) fn begin_anew(&mut self) {
        for kept in &mut self.0 {
            kept.is_due = true;
            if kept.refused == Refused::Here {
                kept.refused = Refused::No;
            }
        }
    }

    /// After a reload the broker may take what it has refused.
    pub(super) fn forgive(&mut self) {
        for kept in self.0.iter_mut().filter(|kept| kept.refused != Refused::No) {
            (kept.is_due, kept.refused) = (true, Refused::No);
        }
    }

    /// Everything is due once more, but for what the broker refuses.
    pub(super) fn repeat(&mut self) {
        self.0.iter_mut().for_each(|kept| kept.is_due = true);
    }

    /// What is to be published.
    pub(super) fn waiting(&self) -> impl Iterator<Item = Outbound> {
        self.0.iter().filter(|kept| kept.may_go()).map(Kept::message)
    }

    /// Gives out what waits for this topic.
    pub(super) fn take(&mut self, topic: &Topic) -> Option<Outbound> {
        let index = self.0.iter().position(|kept| kept.topic == *topic && kept.may_go())?;
        let kept = self.0.get_mut(index)?;
        kept.is_due = false;
        let message = kept.message();
        if message.payload.is_empty() {
            self.0.remove(index);
        }
        Some(message)
    }

    /// The broker doesn't take what was published to `topic`. Whether there is something new to be said of that.
    pub(super) fn refuse(&mut self, topic: &Topic) -> bool {
        self.0.retain(|kept| kept.topic != *topic || !kept.payload.is_empty());
        let kept = self.0.iter_mut().find(|kept| kept.topic == *topic && kept.refused == Refused::No);
        kept.map(|kept| kept.refused = Refused::Here).is_some()
    }

    /// The topic of a message that isn't known to be refused, and is as `is_meant` says.
    pub(super) fn find(&self, is_meant: impl Fn(&Outbound) -> bool) -> Option<Topic> {
        let mut open = self.0.iter().filter(|kept| kept.refused != Refused::Everywhere);
        open.find(|kept| is_meant(&kept.message())).map(|kept| kept.topic.clone())
    }

    /// The broker closes the connection for what is published on these topics, or would. Whether there is something new to be said of
    /// that.
    pub(super) fn give_up(&mut self, is_meant: impl Fn(&Topic) -> bool) -> bool {
        self.0.retain(|kept| !(is_meant(&kept.topic) && kept.payload.is_empty()));
        let mut is_new = false;
        for kept in self.0.iter_mut().filter(|kept| is_meant(&kept.topic)) {
            is_new |= kept.refused == Refused::No;
            kept.refused = Refused::Everywhere;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        Topic::of_mqtt(name).unwrap()
    }

    fn kept(all: &[(&str, &'static str)]) -> Retained {
        let mut retained = Retained::default();
        all.iter().for_each(|(name, payload)| retained.set(&topic(name), Bytes::from_static(payload.as_bytes())));
        retained
    }

    fn taken(retained: &mut Retained) -> Vec<String> {
        let topics: Vec<Topic> = retained.waiting().map(|message| message.topic).collect();
        let messages = topics.iter().filter_map(|topic| retained.take(topic));
        messages
            .map(|Outbound { topic, payload, .. }| format!("{topic} {}", String::from_utf8_lossy(&payload)))
            .collect()
    }

    #[test]
    fn each_topic_is_published_when_it_is_new_or_changes() {
        let mut retained = kept(&[("a", "1"), ("b", "2")]);
        assert_eq!(taken(&mut retained), ["a 1", "b 2"]);
        retained.set(&topic("a"), Bytes::from_static(b"1"));
        assert!(retained.waiting().next().is_none());
        retained.set(&topic("b"), Bytes::from_static(b"3"));
        retained.set(&topic("b"), Bytes::from_static(b"4"));
        assert_eq!(taken(&mut retained), ["b 4"], "what is overtaken isn't published");
        retained.repeat();
        assert_eq!(taken(&mut retained), ["a 1", "b 4"]);
    }

    #[test]
    fn what_is_left_is_removed_first_and_once() {
        let mut retained = kept(&[("a", "1"), ("b", "2"), ("c", "3")]);
        assert_eq!(taken(&mut retained).len(), 3);
        retained.set(&topic("a"), Bytes::from_static(b"new"));
        retained.leave_all_but(|kept| kept.as_str() == "a");
        assert_eq!(taken(&mut retained), ["b ", "c ", "a new"]);
        retained.begin_anew();
        assert_eq!(taken(&mut retained), ["a new"]);
        // One that is wanted again before it was removed.
        retained.leave_all_but(|_| false);
        retained.set(&topic("a"), Bytes::from_static(b"again"));
        assert_eq!(taken(&mut retained), ["a again"]);
    }

    #[test]
    fn what_the_broker_closes_the_connection_for_stays_back_until_a_reload() {
        let mut retained = kept(&[("a", "1"), ("b", "2")]);
        let is_a = |message: &Outbound| message.topic.as_str() == "a";
        assert_eq!(retained.find(is_a), Some(topic("a")));
        assert!(retained.give_up(|topic| topic.as_str() == "a") && !retained.give_up(|topic| topic.as_str() == "a"));
        assert_eq!(retained.find(is_a), None);
        retained.begin_anew();
        assert_eq!(taken(&mut retained), ["b 2"], "on another connection, too");
        retained.forgive();
        assert_eq!(taken(&mut retained), ["a 1"]);
    }

    #[test]
    fn what_the_broker_refuses_stays_back_until_another_connection() {
        let mut retained = kept(&[("a", "1"), ("b", "2")]);
        assert!(retained.refuse(&topic("a")) && !retained.refuse(&topic("a")) && !retained.refuse(&topic("x")));
        assert_eq!(taken(&mut retained), ["b 2"]);
        retained.repeat();
        assert_eq!(taken(&mut retained), ["b 2"]);
        retained.begin_anew();
        assert_eq!(taken(&mut retained), ["a 1", "b 2"]);
        retained.leave_all_but(|_| false);
        assert!(!retained.refuse(&topic("a")), "of what is to go nothing is said");
        assert_eq!(taken(&mut retained), ["b "]);
    }
}
