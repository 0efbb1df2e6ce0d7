//! Which entry of the journal's message catalogue explains a log record: `journalctl -x` shows it.
//!
//! The entries are in `packaging/journal/gatewire.catalog`. An identifier never changes its meaning; what deserves an
//! explanation of its own gets a new one (`journalctl --new-id128`).

use log::Record;
use log::kv::Key;

/// What the records of one kind have in common.
struct EventKind {
    /// `GATEWIRE_EVENT`.
    event: &'static str,
    /// What `GATEWIRE_ERROR` begins with, one of these; empty: whatever it is.
    errors: &'static [&'static str],
    message_id: &'static str,
}

const fn kind(event: &'static str, errors: &'static [&'static str], message_id: &'static str) -> EventKind {
    EventKind { event, errors, message_id }
}

/// The first that fits counts.
const KINDS: [EventKind; 41] = [
    kind("link_up", &[], "6f2efc9e30324b9ab158c658536b8eac"),
    kind("link_down", &["dns_"], "ad733b0ebffe428e8393fbf9179c8961"),
    kind("link_down", &["tcp_"], "f5c34f417e634b32b3ffdbbff526bb4d"),
    kind("link_down", &["tls_server_expired", "tls_server_not_yet_valid"], "25c06067040b4cb79d9be64ac4319e1c"),
    kind(
        "link_down",
        &["tls_alert_no_application", "tls_alert_unrecognized", "tls_alert_protocol", "tls_timeout", "tls_failed"],
        "c9461d3eb71d4a55a23722ae9e8fb62c",
    ),
    kind("link_down", &["tls_alert", "tls_closed"], "2c91685ab71d43dbbc32bd046ca55bf6"),
    kind("link_down", &["tls_"], "c2827c09a14d4a5684a6581ff6c84cb4"),
    kind("link_down", &["token_"], "1f244d22d00745eca2a589c587dc8ae8"),
    kind(
        "link_down",
        &[
            "closed_before_connack",
            "connack_refused_not_authorized",
            "connack_refused_bad_credentials",
            "connack_refused_client_id",
        ],
        "3d82673adb4646d095cc6c97dd008704",
    ),
    kind("link_down", &["client_id_taken_over", "disconnected_session_taken_over"], "153460bc2edb49eb803eb432b22f1b68"),
    kind("link_down", &["closed_by_server", "disconnected_not_authorized"], "a5ce526fb91d4c42976e970ccd3b3ef2"),
    kind(
        "link_down",
        &[
            "no_puback",
            "no_suback",
            "disconnected_quota_exceeded",
            "disconnected_message_rate",
            "connack_refused_quota",
            "connack_refused_rate",
        ],
        "6a41ec9bba8045778c9d1b8d4973c50b",
    ),
    kind(
        "link_down",
        &["keep_alive_lost", "network_lost", "disconnected_keep_alive"],
        "5fba660cd9334e74979413ebbf798cb3",
    ),
    kind("link_down", &[], "87ea5cbcdf114611aae99d73b800affa"),
    kind("subscribe_refused", &[], "fc653a4c84d1469e9467b0d95c72dfd6"),
    kind("birth_refused", &[], "a6ee6763d87a4051b9503ad5cb09684f"),
    kind("publish_rejected", &[], "9ab5f713a4f746139a72695dbc864700"),
    kind("quarantined", &[], "3922a91797634d0b9881fbb7bf7e811d"),
    kind("everything_refused", &[], "9d0ce1e5848742b1ba6ec55b0b69a3a9"),
    kind("puback_missing", &[], "14f2346f40034df0868dadf28f8c626e"),
    kind("message_too_large", &[], "6b175831ce5c486e9f01335190b36f74"),
    kind("config", &[], "8f9b4c922b3548f28abb0c92d9724080"),
    kind("credentials", &[], "8bbfcd7a269942b999f2bb714502cdc1"),
    kind("identity", &[], "c236698a52c544bab10d34808323eec6"),
    kind("provisioning_refused", &[], "e16cfe0c1fdf4f3c9a2debd47794244a"),
    kind("rotation_failed", &[], "0aef5018ddcd4a1d9a73ad08090b944f"),
    kind("messages_dropped", &[], "84d58137ae5840b7b0d77286eba5a5f4"),
    kind("budget_near", &[], "a24b9827945742589f57ac4ca7c761c9"),
    kind("budget_past", &[], "7b7d6ab1a2bd4c6dbb251edabe9f4adf"),
    kind("store_failing", &[], "5feb3f91e60042c79917ee601fca2019"),
    kind("bridge_left_out", &[], "03bb46082c954e0db18189af48f9b1cb"),
    kind("bridge_up", &[], "3eaf0e2fd48f4d68ae52ecb8267261c6"),
    kind("bridge_down", &["broker_refused_login", "broker_password_file"], "370d629d0cce41ad9d15167cd636e39f"),
    kind("bridge_down", &["broker_tls"], "1e426ac84cb8479aa66cccd48eecb583"),
    kind("bridge_down", &[], "a8471eb4580f4fd99edd8cc3a9705ef8"),
    kind("bridge_subscribe_refused", &[], "0c426fce9c384709bb5e54fcb5a9acab"),
    kind("service_refused", &[], "51fcf475edf649a486acb95fd20f84e2"),
    kind("job_rejected", &[], "ae7325aa56464be4941ffdaa5c5aa68f"),
    kind("request_rejected", &[], "884ce775df5f47b58365bb9510780bb5"),
    kind("root_action_refused", &[], "0cd5c3f1a1f14e2f9c5f8d0c3a7be164"),
    kind("action_hangs", &[], "64f7f9f4c0f74dbb8ac5b1cf5ed9d2e3"),
];

/// The value of `MESSAGE_ID` for a record, if the catalogue has something to say about it.
pub(super) fn of(record: &Record<'_>) -> Option<&'static str> {
    let field = |name| record.key_values().get(Key::from_str(name));
    let event = field("GATEWIRE_EVENT")?;
    let error = field("GATEWIRE_ERROR");
    let error = error.as_ref().and_then(|error| error.to_borrowed_str()).unwrap_or_default();
    find(event.to_borrowed_str()?, error)
}

fn find(event: &str, error: &str) -> Option<&'static str> {
    let fits = |kind: &&EventKind| {
        kind.event == event && (kind.errors.is_empty() || kind.errors.iter().any(|prefix| error.starts_with(prefix)))
    };
    KINDS.iter().find(fits).map(|kind| kind.message_id)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const CATALOGUE: &str = include_str!("../../packaging/journal/gatewire.catalog");

    /// The entries by identifier: headers and text.
    fn entries() -> BTreeMap<&'static str, (&'static str, &'static str)> {
        let entries = CATALOGUE.split("\n-- ").skip(1).map(|entry| {
            let (id, entry) = entry.split_once('\n').unwrap();
            (id, entry.split_once("\n\n").unwrap_or_else(|| panic!("{id} has no text")))
        });
        entries.collect()
    }

    #[test]
    fn code_and_catalogue_have_the_same_identifiers() {
        let known: BTreeSet<&str> = KINDS.iter().map(|kind| kind.message_id).collect();
        assert_eq!(known.len(), KINDS.len(), "each is its own");
        assert!(known.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())), "{known:?}");
        assert_eq!(entries().into_keys().collect::<BTreeSet<_>>(), known);
        assert_eq!(CATALOGUE.matches("\n-- ").count(), KINDS.len(), "none twice");
    }

    #[test]
    fn an_entry_says_what_it_is_about_and_names_fields_that_there_are() {
        const FIELDS: [&str; 9] = [
            "GATEWIRE_BRIDGE",
            "GATEWIRE_CLIENT_ID",
            "GATEWIRE_COUNT",
            "GATEWIRE_ENDPOINT",
            "GATEWIRE_ERROR",
            "GATEWIRE_FILTER",
            "GATEWIRE_JOB",
            "GATEWIRE_SERVICE",
            "GATEWIRE_TOPIC",
        ];
        for (id, (head, text)) in entries() {
            assert!(head.starts_with("Subject: ") && head.ends_with("\nDefined-By: gatewire"), "{id}: {head}");
            assert!(!text.trim().is_empty() && text.lines().all(|line| line.chars().count() <= 76), "{id}: {text}");
            for field in format!("{head}{text}").split('@').skip(1).step_by(2) {
                assert!(FIELDS.contains(&field), "{id}: @{field}@");
            }
        }
    }

    #[test]
    fn each_failure_of_the_link_has_the_entry_of_its_kind() {
        let of = |error| find("link_down", error).unwrap();
        assert_eq!(of("dns_not_found"), KINDS[1].message_id);
        assert_eq!(of("tls_server_expired"), KINDS[3].message_id);
        assert_eq!(of("tls_alert_unrecognized_name"), KINDS[4].message_id);
        assert_eq!(of("tls_alert_certificate_unknown"), KINDS[5].message_id);
        assert_eq!(of("tls_unknown_ca"), KINDS[6].message_id);
        assert_eq!(of("token_pin_refused"), KINDS[7].message_id);
        assert_eq!(of("malformed_packet"), of(""), "the one for all others");
        assert_eq!(find("link_up", ""), Some(KINDS[0].message_id));
        assert_eq!(find("stopped", ""), None);
    }
}
