//! By what a message is named between those who hand it on.

/// The place of a message in the order of acceptance; or, in numbers of their own, a request to a service, which is in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sequence(u64);

/// No outbox takes so many messages.
const REQUEST: u64 = 1 << 63;

impl Sequence {
    pub(crate) fn new(n: u64) -> Sequence {
        Sequence(n)
    }

    pub(crate) fn get(self) -> u64 {
        self.0
    }

    /// That of the `n`th attempt at a request.
    pub(crate) fn of_request(n: u64) -> Sequence {
        Sequence(n | REQUEST)
    }

    /// Which attempt at a request this is, if it is one.
    pub(crate) fn request(self) -> Option<u64> {
        (self.0 & REQUEST != 0).then_some(self.0 & !REQUEST)
    }
}

/// Names a QoS 1 message from the server until it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AckToken(u64);

impl AckToken {
    pub(crate) fn new(n: u64) -> AckToken {
        AckToken(n)
    }
}
