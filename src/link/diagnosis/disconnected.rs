//! What a server means by the reason code of a CONNACK or DISCONNECT (MQTT 5, 3.2.2.2 and 3.14.2.1).

use super::phrases::{lacks, may_connect, sentence, server_log, two_devices};
use super::{Peer, Sent};
use crate::limits::MAX_PAYLOAD;
use crate::mqtt::Protocol;
use crate::mqtt::reason::ReasonCode;

/// The code of status and journal for a CONNACK that refuses; below 0x80 it is one of MQTT 3.1.1 (table 3.1).
pub(super) fn refused_code(code: ReasonCode) -> &'static str {
    match code.0 {
        1 | 0x84 => "connack_refused_protocol_version",
        2 | 0x85 => "connack_refused_client_id",
        3 | 0x88 | 0x89 => "connack_refused_server_unavailable",
        4 | 0x86 => "connack_refused_bad_credentials",
        5 | 0x87 => "connack_refused_not_authorized",
        0x97 => "connack_refused_quota_exceeded",
        0x9F => "connack_refused_rate_exceeded",
        _ => "connack_refused",
    }
}

/// What to do about a CONNACK that refuses.
pub(super) fn refused_advice(peer: &Peer, code: ReasonCode) -> String {
    match code.0 {
        1 | 0x84 => format!(
            "The server doesn't speak this version of MQTT: change connection.protocol to \"{}\".",
            match peer.protocol {
                Protocol::Mqtt5 => Protocol::Mqtt311.as_str(),
                Protocol::Mqtt311 => Protocol::Mqtt5.as_str(),
            }
        ),
        2 | 0x85 => format!(
            "The server doesn't take the client id `{}`: at IoT Core it has at most 128 bytes and no leading `$`.",
            peer.client_id
        ),
        3 | 0x88 | 0x89 => "The server is overloaded or starting, or this client id connects too often.".to_owned(),
        4 | 0x86 if !peer.endpoint.is_iot_core() => format!(
            "The server may want a user name and a password. gatewire sends none: its certificate says who it is, and the server must \
             take that (mosquitto does with `use_identity_as_username true`). Otherwise: {}.",
            may_connect(peer)
        ),
        4 | 5 | 0x86 | 0x87 => {
            format!("{}.", may_connect(peer))
        }
        0x97 | 0x9F => {
            "A limit of the account on connections or on connecting was exceeded: another program may use the same account or \
            client id."
                .to_owned()
        }
        0x9C | 0x9D => "The server asks its clients to use another server: check connection.endpoint.".to_owned(),
        0x80.. => format!("The server refuses the CONNECT: {} has the reason.", server_log(peer)),
        _ => "The server gave a code that MQTT doesn't have: check connection.endpoint.".to_owned(),
    }
}

/// The code of status and journal for a DISCONNECT.
pub(super) fn code(code: ReasonCode) -> &'static str {
    match code.0 {
        0x81 | 0x82 => "disconnected_protocol_error",
        0x87 => "disconnected_not_authorized",
        0x89 | 0x8B => "disconnected_server_unavailable",
        0x8D => "disconnected_keep_alive_timeout",
        0x8E => "disconnected_session_taken_over",
        0x90 => "disconnected_topic_name_invalid",
        0x93 => "disconnected_receive_maximum_exceeded",
        0x95 => "disconnected_packet_too_large",
        0x96 => "disconnected_message_rate_too_high",
        0x97 => "disconnected_quota_exceeded",
        0x98 => "disconnected_administrative_action",
        _ => "disconnected",
    }
}

/// What to do about a DISCONNECT.
pub(super) fn advice(peer: &Peer, code: ReasonCode, last_sent: &[Sent]) -> String {
    match code.0 {
        0x8E => two_devices(peer, "Another client has connected"),
        0x87 if last_sent.is_empty() => {
            format!("{} doesn't allow what was sent, or no longer does.", sentence(peer.whose.policy()))
        }
        0x87 => format!("{}.", sentence(&lacks(peer, last_sent))),
        0x97 | 0x96 => "A limit of the account was exceeded (publishes a second, bytes a second, subscriptions): lower \
            connection.rate_limit, or have the limit raised in the Service Quotas of AWS."
            .to_owned(),
        0x95 => format!(
            "A message was larger than the server takes: IoT Core takes payloads of up to {} KiB. What was in flight is named \
             above.",
            MAX_PAYLOAD / 1024
        ),
        0x8F | 0x90 => {
            "The server doesn't take the topic or filter sent last, such as one under `$aws/` that IoT Core \
             doesn't offer: change it in the configuration or in the program that publishes it."
                .to_owned()
        }
        0x89 | 0x8B => "The server is restarting or overloaded; there is nothing to do here.".to_owned(),
        0x8D => {
            "The server heard nothing for one and a half times the keep alive: the network on the way lost packets, or this \
            machine was suspended."
                .to_owned()
        }
        0x98 => {
            "Somebody has disconnected this client, or its certificate or policy was changed: ask the administrator of the AWS \
            account."
                .to_owned()
        }
        0x81 | 0x82 | 0x99 if !last_sent.is_empty() => {
            "The server objects to the form of what was sent last, which is named above. If it is always the same topic, change \
             what publishes it; if not, please report it with this line."
                .to_owned()
        }
        0x81 | 0x82 | 0x93 | 0x94 | 0x99 => {
            "This is a fault of gatewire, or of the server: please report it with this line.".to_owned()
        }
        0x9C | 0x9D => "The server asks its clients to use another server: check connection.endpoint.".to_owned(),
        _ => format!("{} may say more.", sentence(server_log(peer))),
    }
}
