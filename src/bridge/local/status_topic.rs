//! `status_topic`: what the link to IoT Core does, told to the clients of the local broker.

use bytes::Bytes;
use tokio::sync::watch;

use crate::client::State;
use crate::config;
use crate::message::{Outbound, Qos, Sequence, Topic};
use crate::mqtt::Will;

/// Sequences from here on are of what is published there: no message of a bridge gets so far.
const FIRST: u64 = u64::MAX / 2;

/// What is published there, and what was.
#[derive(Debug)]
pub(super) struct StatusTopic {
    topic: Option<Topic>,
    /// Where it was published before the configuration changed: what is retained there is to be removed.
    left: Vec<Topic>,
    link: watch::Receiver<State>,
    /// What was given out last on this connection.
    said: Option<State>,
    /// The state that wasn't published yet.
    pending: Option<State>,
    next: u64,
    /// Nothing more is followed: the last was said.
    is_last: bool,
    /// The broker refuses it, until another connection or configuration.
    is_refused: bool,
}

/// Once gatewire is gone without having said so.
pub(super) fn will(config: &config::Bridge) -> Option<Will> {
    let topic = config.status_topic.clone()?;
    Some(Will { topic, payload: Bytes::from_static(b"{\"state\":\"gone\"}"), qos: Qos::AtLeastOnce, retain: true })
}

impl StatusTopic {
    pub(super) fn new(config: &config::Bridge, link: watch::Receiver<State>) -> StatusTopic {
        let topic = config.status_topic.clone();
        let left = Vec::new();
        StatusTopic { topic, left, link, said: None, pending: None, next: FIRST, is_last: false, is_refused: false }
    }

    /// The configuration names another topic, or none, at the same broker.
    pub(super) fn moves_to(&mut self, topic: Option<Topic>) {
        self.left.extend(std::mem::replace(&mut self.topic, topic));
        self.left.retain(|left| Some(left) != self.topic.as_ref());
    }

    /// CONNACK has come: the will may have been published, or another broker knows nothing of it.
    pub(super) fn connected(&mut self) {
        self.is_refused = false;
        self.is_last = false;
        self.said = None;
        self.pending = Some(*self.link.borrow_and_update());
    }

    /// Waits until the link to IoT Core does something else.
    pub(super) async fn changed(&mut self) {
        if self.topic.is_none() || self.is_last || self.link.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.pending = Some(*self.link.borrow_and_update());
    }

    /// The daemon stops: that is said, and nothing more.
    pub(super) fn stop(&mut self) {
        self.pending = Some(State::Stopped).filter(|stopped| self.said != Some(*stopped));
        self.is_last = true;
    }

    /// What is to be published.
    pub(super) fn waiting(&self) -> Option<Outbound> {
        if let Some(topic) = self.left.first() {
            // An empty retained message takes the place of none (`MQTT-3.3.1-6`).
            let (topic, payload) = (topic.clone(), Bytes::new());
            return Some(Outbound { topic, payload, qos: Qos::AtLeastOnce, retain: true, properties: None });
        }
        let (topic, state) = (self.topic.clone()?, self.pending.filter(|_| !self.is_refused)?);
        let payload = Bytes::from_static(match state {
            State::Connected => b"{\"state\":\"connected\"}",
            State::Connecting => b"{\"state\":\"connecting\"}",
            State::Waiting => b"{\"state\":\"waiting\"}",
            State::Stopped => b"{\"state\":\"stopped\"}",
        });
        Some(Outbound { topic, payload, qos: Qos::AtLeastOnce, retain: true, properties: None })
    }

    /// Gives it out.
    pub(super) fn take(&mut self) -> Option<(Sequence, Outbound)> {
        let message = self.waiting()?;
        match self.left.is_empty() {
            true => self.said = self.pending.take(),
            false => drop(self.left.remove(0)),
        }
        self.next += 1;
        Some((Sequence::new(self.next), message))
    }

    pub(super) fn is_own(sequence: Sequence) -> bool {
        sequence.get() > FIRST
    }

    /// It wasn't published, though the connection lasts or a new one comes: what counts is told then.
    pub(super) fn put_back(&mut self) {
        let state = if self.is_last { State::Stopped } else { *self.link.borrow() };
        self.pending.get_or_insert(state);
    }

    /// The broker doesn't take what was published to `topic`. Whether there is something new to be said of that.
    pub(super) fn refuse(&mut self, topic: &Topic) -> bool {
        self.left.retain(|left| left != topic);
        Some(topic) == self.topic.as_ref() && !std::mem::replace(&mut self.is_refused, true)
    }
}
