//! By what a message is named between those who hand it on.

/// The place of a message in the order of acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sequence(u64);

impl Sequence {
    pub(crate) fn new(n: u64) -> Sequence {
        Sequence(n)
    }

    pub(crate) fn get(self) -> u64 {
        self.0
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
