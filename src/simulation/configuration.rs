//! The configurations that a run of the simulation has.

use std::path::Path;

use super::actions;
use super::bridge::{self, Bridge};
use crate::net::tests::pki::Files;

/// How many there are.
pub(super) const CONFIGURATIONS: usize = 6;

/// The configuration of a number: what a reload may change without a loss.
pub(super) fn configuration(
    directory: &Path,
    files: &Files,
    (is_mqtt5, bridge, has_actions, is_claimed): (bool, Option<Bridge>, bool, bool),
    number: usize,
) -> String {
    let path = |name: &str| directory.join(name).display().to_string();
    let tls = &files.tls;
    let keep = "keep = { messages = 1000000, bytes = \"1 GiB\" }";
    let protocol = if is_mqtt5 { "5" } else { "3.1.1" };
    let (keep_alive, spill_after) = (if number == 1 { "auto" } else { "60s" }, if number == 2 { "5s" } else { "1s" });
    let topic_alias = is_mqtt5 && number != 1;
    let rate = if number == 4 { "rate_limit = { messages_per_second = 20 }" } else { "" };
    let meter = if number % 2 == 1 { "[meter]\nbudget = { month = \"1 MB\" }" } else { "" };
    let max_size = if number == 5 { "512 MiB" } else { "1 GiB" };
    let third = match number {
        3 => format!(
            "[[forward]]\nname = \"third\"\nfilters = [\"down/+\", \"other\"]\nsocket = \"{}\"\n{keep}\n",
            path("third.sock")
        ),
        _ => String::new(),
    };
    let bridge = bridge.map_or_else(String::new, |bridge| bridge::table(bridge, number));
    let actions = match () {
        () if has_actions => actions::tables(number),
        () if is_claimed => "[jobs]\n".to_owned(),
        () => String::new(),
    };
    let (client_id, identity) = match is_claimed {
        true => ("{{thing}}", claim(&path("claim.crt"), &path("claim.key"), number)),
        false => {
            let (certificate, key) = (tls.cert_file.display(), tls.key_file.path().unwrap().display());
            ("gateway", format!("cert_file = \"{certificate}\"\nkey_file = \"{key}\"\n"))
        }
    };
    format!(
        r#"
[connection]
endpoint = "broker.example"
client_id = "{client_id}"
protocol = "{protocol}"
keep_alive = "{keep_alive}"
topic_alias = {topic_alias}
session_expiry = "1h"
{rate}
[tls]
ca_file = "{}"
{identity}
[[publish]]
name = "scheduled"
topic = "scheduled"
every = "10m"
payload = {{ count = "{{{{count}}}}" }}
[[forward]]
name = "written"
filters = ["down/#"]
socket = "{}"
{keep}
[[forward]]
name = "acknowledged"
filters = ["down/a/+"]
ack = "reader"
socket = "{}"
{keep}
{third}
[[ingest]]
name = "publish"
socket = "{}"
topics = ["up/#"]
[outbox]
path = "{}"
spill_after = "{spill_after}"
max_size = "{max_size}"
max_age = "365d"
[status]
socket = "{}"
{meter}
{bridge}
{actions}
"#,
        tls.ca_file.display(),
        path("written.sock"),
        path("acknowledged.sock"),
        path("publish.sock"),
        path("gatewire.db"),
        path("status.sock"),
    )
}

/// How the identity is made.
fn claim(certificate: &str, key: &str, number: usize) -> String {
    // With another one the task that rotates begins anew.
    let renew_before = if number == 2 { "29d" } else { "30d" };
    format!(
        r#"[provisioning]
template = "gateways"
claim_cert_file = "{certificate}"
claim_key_file = "{key}"
claim_client_id = "claim-1"
parameters = {{ SerialNumber = "1" }}
renew_before = "{renew_before}""#
    )
}
