//! Why a message isn't taken.

use thiserror::Error;

use super::reason::Reason;
use crate::message::ForbiddenCharacter;

/// Why the server doesn't take a message. The text follows "IoT Core refuses it: ".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Rejection {
    /// PUBACK with a failure.
    #[error("PUBACK with reason code {0}")]
    PubAck(Reason),
    #[error("the packet has {size} bytes, and its CONNACK allows {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("its CONNACK allows only QoS 0")]
    NoQos1,
    #[error("its CONNACK says that it doesn't retain messages")]
    NoRetain,
    /// It isn't asked: an earlier version of gatewire has accepted such a message.
    #[error("it {0}")]
    Character(ForbiddenCharacter),
}
