//! A policy that holds anything, against a configuration with each kind of need.

use std::sync::LazyLock;

use super::context::{Certificate, Context};
use super::document::{DocumentError, parse};
use super::needs::{self, IngestRetain};
use super::report::Report;
use super::scope::Known;
use crate::config;
use crate::printable::printable;

const CONFIGURATION: &str = r#"
[connection]
endpoint = "a1b2c3d4e5f6g7-ats.iot.eu-west-1.amazonaws.com"
client_id = "gw-1"
will = { topic = "lost/{{client_id}}", payload = "x", retain = true }
[[publish]]
name = "p"
topic = "a*/b"
every = "1m"
payload = "x"
[[ingest]]
name = "i"
socket = "/i.sock"
topics = ["gateways/{{client_id}}/#", "x/+/y"]
[[forward]]
name = "f"
socket = "/f.sock"
filters = ["cmd/+/#", "$share/g/jobs/+"]
[[bridge]]
name = "b"
broker = "127.0.0.1:1883"
[[bridge.up]]
from = "z/+/#"
strip = "z/"
to = "gw-"
retain = true
[[bridge.down]]
from = "set/#"
"#;

/// The configurations of threads can't be shared; what they need can.
static NEEDS: LazyLock<(Vec<needs::Need>, Context)> = LazyLock::new(|| {
    let config = config::fuzzing::configured(CONFIGURATION);
    let certificate = Certificate::Unknown("it isn't looked at".to_owned());
    (needs::of(&config, IngestRetain::Used), Context::of(&config, None, certificate))
});

/// Reads `document` as a policy: it is compared with what is needed, or each complaint is told.
pub fn policy(document: &[u8]) {
    let (needs, context) = &*NEEDS;
    let document = match parse(document) {
        Ok(document) => document,
        Err(DocumentError::NotAPolicy(problems)) => return assert!(!problems.is_empty()),
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(!document.statements.is_empty());
    let resources = document.statements.iter().flat_map(|statement| &statement.resources);
    let known = Known { region: Some("eu-west-1".to_owned()), account: None };
    let (scope, notes) = known.completed(resources.map(String::as_str));
    let report = Report::new(&document, needs.clone(), scope, context, notes);
    let text = report.to_string();
    assert!(text.lines().all(|line| printable(line) == line), "{text:?}");
    assert_eq!(report.is_allowed(), !text.lines().any(|line| line.starts_with("denied")), "{text}");
}
