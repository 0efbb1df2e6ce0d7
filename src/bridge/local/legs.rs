//! What a bridge carries, as the connection sees it.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::forward::Acks;
use crate::message::{AckToken, Condition, Inbound, Outbound, Qos, Sequence, Topic, TopicFilter};
use crate::mqtt::session::Waiting;

/// What comes from the local broker, and what is to go there.
pub(crate) trait Legs {
    /// What waits for the local broker, for the session to look through.
    type Waiting<'a>: Waiting<Found = (Sequence, usize)>
    where
        Self: 'a;

    /// What the session is to be subscribed to.
    fn filters(&self) -> BTreeMap<TopicFilter, Qos>;

    /// CONNACK has come.
    fn link_up(&self, session_present: bool);

    /// The connection is gone: what had no PUBACK is the session's, which sends it again on the next, and tokens mean nothing any
    /// more.
    fn link_down(&self);

    /// A message of the local broker. `token`, which QoS 1 messages have, comes back through [`Legs::acks`] once the message is
    /// delivered, stored or dropped.
    fn arrived(&self, message: Inbound, token: Option<AckToken>, now: Instant);

    /// A message of so many bytes was larger than the session takes; it is acknowledged by the session.
    fn too_large(&self, topic: &Topic, size: usize);

    /// A message broke the rules of MQTT and is acknowledged by the session.
    fn unreadable(&self, topic: &str, why: &str);

    /// Until when nothing more is to be read, unless [`Legs::has_room`] completes before.
    fn full_until(&self) -> Option<Instant>;

    /// Completes when there may be room again.
    async fn has_room(&self);

    /// Messages that the local broker may be told of that they are done.
    fn acks(&self) -> &Acks;

    /// Completes when there may be something new for the local broker.
    async fn something_waits(&self);

    fn waiting(&self) -> Self::Waiting<'_>;

    /// Gives out a message that [`Legs::waiting`] has found.
    fn take(&self, sequence: Sequence) -> Option<Outbound>;

    /// The local broker has acknowledged it, or it has been written if it is one of QoS 0.
    fn delivered(&self, sequence: Sequence);

    /// Its time passed before it could be sent.
    fn expired(&self, sequence: Sequence);

    /// It waits again, in its place: the local broker may have closed the connection for it.
    fn returned(&self, sequence: Sequence);

    /// The local broker refuses it, or its CONNACK does: it is dropped, counted, and named once a topic. `why` follows "the local
    /// broker doesn't take it: ".
    fn rejected(&self, sequence: Sequence, topic: &Topic, is_too_large: bool, why: &str);

    /// Messages that meet this close the connection: they are dropped, counted, and named once a topic.
    fn guilty(&self, condition: &Condition, reason: &str);
}
