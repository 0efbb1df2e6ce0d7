//! Which failures are the network's.

use super::LinkError;
use crate::net::{ProxyFault, TlsFault};

impl LinkError {
    /// Whether another network may be all that it needs: nobody at the other end has said anything against us.
    pub(crate) fn is_of_the_network(&self) -> bool {
        match self {
            LinkError::Dns { .. }
            | LinkError::Tcp { .. }
            | LinkError::Tls { fault: TlsFault::Timeout { .. }, .. }
            | LinkError::ConnackTimeout { .. }
            | LinkError::Unanswered { .. }
            | LinkError::KeepAliveLost { .. }
            | LinkError::PacketUnfinished { .. }
            | LinkError::AddressLost { .. }
            | LinkError::Io { .. } => true,
            LinkError::Proxy { fault, .. } => {
                matches!(fault, ProxyFault::Dns(_) | ProxyFault::Tcp(_) | ProxyFault::Timeout | ProxyFault::Io { .. })
            }
            _ => false,
        }
    }
}
