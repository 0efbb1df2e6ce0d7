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
    (is_mqtt5, bridge, has_actions): (bool, Option<Bridge>, bool),
    number: usize,
) -> String {
    let path = |name: &str| directory.join(name).display().to_string();
    let tls = &files.tls;
    let keep = "keep = { messages = 1000000, bytes = \"1 GiB\" }";
    let protocol = if is_mqtt5 { "5" } else { "3.1.1" };
    let (keep_alive, spill_after) = (if number == 1 { "90s" } else { "60s" }, if number == 2 { "5s" } else { "1s" });
    let rate = if number == 4 { "rate_limit = { messages_per_second = 20 }" } else { "" };
    let max_size = if number == 5 { "512 MiB" } else { "1 GiB" };
    let third = match number {
        3 => format!(
            "[[forward]]\nname = \"third\"\nfilters = [\"down/+\", \"other\"]\nsocket = \"{}\"\n{keep}\n",
            path("third.sock")
        ),
        _ => String::new(),
    };
    let bridge = bridge.map_or_else(String::new, |bridge| bridge::table(bridge, number));
    let actions = if has_actions { actions::tables(number) } else { String::new() };
    format!(
        r#"
[connection]
endpoint = "broker.example"
client_id = "gateway"
protocol = "{protocol}"
keep_alive = "{keep_alive}"
session_expiry = "1h"
{rate}
[tls]
ca_file = "{}"
cert_file = "{}"
key_file = "{}"
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
{bridge}
{actions}
"#,
        tls.ca_file.display(),
        tls.cert_file.display(),
        tls.key_file.path().unwrap().display(),
        path("written.sock"),
        path("acknowledged.sock"),
        path("publish.sock"),
        path("gatewire.db"),
        path("status.sock"),
    )
}
