//! Sentences that several pieces of advice share.

use super::sent::each_once;
use super::{Peer, Sent};
use crate::certificate::Whose;

/// That what was sent isn't allowed, as part of a sentence.
pub(super) fn lacks(peer: &Peer, last_sent: &[Sent]) -> String {
    let needed = each_once(last_sent.iter().map(Sent::needs)).join(" or ");
    match peer.endpoint.is_iot_core() {
        true => format!("{} lacks {needed}", peer.whose.policy()),
        false => format!(
            "the server's access rules don't allow {}, or at AWS {} lacks {needed}",
            each_once(last_sent.iter().map(Sent::to_string)).join(" or "),
            peer.whose.policy()
        ),
    }
}

/// That this client mayn't connect, without a full stop.
pub(super) fn may_connect(peer: &Peer) -> String {
    let id = &peer.client_id;
    let connect = match peer.endpoint.is_iot_core() {
        true => format!("No policy attached to the certificate allows iot:Connect on client/{id}"),
        false => format!(
            "The server's access rules don't let the client `{id}` connect, or at AWS no policy attached to the certificate \
             allows iot:Connect on client/{id}"
        ),
    };
    let connect = match &peer.whose {
        Whose::Claim => format!("{connect} (`gatewire policy --claim` prints one that does)"),
        Whose::ByHand | Whose::Identity(_) | Whose::Next => connect,
    };
    match &peer.will {
        None => connect,
        Some(will) => format!("{connect}, or for the will of the CONNECT (connection.will) {}", will.needs()),
    }
}

/// `text` as the beginning of a sentence.
pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Where the server says why it did something.
pub(super) fn server_log(peer: &Peer) -> &'static str {
    match peer.endpoint.is_iot_core() {
        true => "IoT Core's log in CloudWatch (AWSIotLogsV2)",
        false => "the server's log",
    }
}

/// What to do about a client id that two devices have; `what` is what the other does.
pub(super) fn two_devices(peer: &Peer, what: &str) -> String {
    format!(
        "{what} as `{}`: two devices share this client id and disconnect each other. Give each its own connection.client_id \
        (and certificate); look for a second gatewire, a cloned SD card, a test client.",
        peer.client_id
    )
}
