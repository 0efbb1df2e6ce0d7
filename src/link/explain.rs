//! Why a connection has ended.

use std::sync::Arc;
use std::time::Instant;

use super::connection::Cause;
use super::diagnosis::{LinkError, Peer, Phase, Sent, each_once};
use crate::limits::MAX_PACKET;
use crate::mqtt::Malformed;
use crate::mqtt::session::{End, Session};
use crate::time;

/// How many of the packets sent last are named when the server closes the connection.
const SUSPECTS: usize = 5;

/// What a connection's end means, with all that is known about it. `phase` is how far it had come.
pub(super) fn explain(cause: Cause, peer: &Arc<Peer>, began: Instant, phase: Phase) -> LinkError {
    let peer = Arc::clone(peer);
    let end = match cause {
        Cause::Closed => return LinkError::closed(&peer, phase),
        Cause::Io(error) => return LinkError::from_io(&error, &peer, phase),
        Cause::AddressLost(address) => return LinkError::AddressLost { peer, address },
        Cause::NoConnAck => return LinkError::ConnackTimeout { peer, waited: time::since(began) },
        Cause::Session(end) => end,
    };
    match end {
        End::Refused(reason) => LinkError::ConnackRefused { peer, reason },
        End::Disconnected(reason) => LinkError::Disconnected { peer, reason, last_sent: phase.last_sent() },
        End::Unfinished { come, size, waited } => LinkError::PacketUnfinished { peer, come, size, waited },
        End::NoPingResp(waited) => LinkError::KeepAliveLost { peer, waited },
        End::NoPubAck(topic, waited) => LinkError::Unanswered { peer, sent: Sent::Publish(topic), waited },
        End::NoUnsubAck(filter, waited) => LinkError::Unanswered { peer, sent: Sent::Unsubscribe(filter), waited },
        End::NoSubAck(filter, waited) => LinkError::Unanswered { peer, sent: Sent::Subscribe(filter), waited },
        End::Malformed(Malformed::TooLarge(size)) => LinkError::PacketTooLarge { peer, size, limit: MAX_PACKET },
        End::Malformed(Malformed::Invalid(detail)) => {
            LinkError::MalformedPacket { peer, detail, is_connected: matches!(phase, Phase::Connected { .. }) }
        }
        End::Violation(detail) => LinkError::ProtocolViolation { peer, detail },
        end @ (End::TopicAlias | End::TooMany(_) | End::Malformed(Malformed::Wildcard(_))) => {
            LinkError::ProtocolViolation { peer, detail: format!("the server sent {end}") }
        }
    }
}

/// How far a connection had come.
pub(super) fn phase(session: &Session) -> Phase {
    match session.is_connected() {
        true => Phase::Connected { last_sent: suspects(session) },
        false => Phase::AwaitingConnack,
    }
}

/// What the server may have closed the connection for, the last sent last.
fn suspects(session: &Session) -> Vec<Sent> {
    let sent: Vec<Sent> = session.last_sent(time::now()).map(Sent::from).collect();
    let mut suspects = each_once(sent.into_iter());
    suspects.split_off(suspects.len().saturating_sub(SUSPECTS))
}
