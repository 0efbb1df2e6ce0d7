//! The cases of AWS IoT Device Advisor, each by its name there, in both versions of MQTT. Where AWS waits for minutes these wait
//! for as long as the daemon was told to.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

#[path = "device_advisor/connection.rs"]
mod connection;
#[path = "device_advisor/long_duration.rs"]
mod long_duration;
#[path = "device_advisor/messages.rs"]
mod messages;
#[path = "device_advisor/tls.rs"]
mod tls;

const INGEST: &str = "[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"#\"]\n";
const FORWARD: &str = "[[forward]]\nname = \"f\"\nfilters = [\"commands/#\"]\nsocket = \"DIR/f.sock\"\n";

/// Reconnects without the patience that IoT Core asks for.
const QUICK: &str = "ack_timeout = \"2s\"\nbackoff = { min = \"100ms\", max = \"200ms\" }\n\
    rate_limit = { connects_per_second = 100 }\n";
