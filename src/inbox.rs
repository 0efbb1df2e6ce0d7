//! Stand-in until the inbox is merged.

use crate::message::Inbound;

/// Names a QoS 1 message from the server until it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AckToken(u64);

impl AckToken {
    pub(crate) fn new(n: u64) -> AckToken {
        AckToken(n)
    }
}
pub(crate) struct Inbox {}
pub(crate) struct Acks {}
impl Inbox {
    pub(crate) fn deliver(&self, _message: Inbound, _token: Option<AckToken>) {}
    pub(crate) fn acks(&self) -> &Acks {
        &Acks {}
    }
}
impl Acks {
    pub(crate) fn drain(&self, _into: &mut Vec<AckToken>) {}
    pub(crate) async fn ready(&self) {}
}
