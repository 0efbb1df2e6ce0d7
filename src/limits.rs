//! The limits of AWS IoT Core that gatewire keeps to, each named once.
//!
//! Source, unless an item says otherwise: "AWS IoT Core message broker and protocol limits and quotas"
//! in the AWS General Reference. They are defaults of an AWS account; some can be raised there.

use std::time::Duration;

/// The largest payload of a PUBLISH, in bytes. IoT Core closes the connection on a larger one.
pub(crate) const MAX_PAYLOAD: usize = 128 * 1024;

/// The most that the parameters of fleet provisioning may have as JSON, in bytes: they share a payload with AWS's token.
pub(crate) const MAX_PARAMETERS: usize = 96 * 1024;

/// The largest payload of a will, in bytes: its length has two bytes (MQTT 3.1.1, 3.1.3.3; MQTT 5, 3.1.3.4).
pub(crate) const MAX_WILL_PAYLOAD: usize = 65_535;

/// The longest topic or topic filter, in bytes of UTF-8.
pub(crate) const MAX_TOPIC_BYTES: usize = 256;

/// The most slashes in a topic or topic filter; the prefix `$aws/rules/<rule>/` of Basic Ingest isn't counted.
pub(crate) const MAX_TOPIC_SLASHES: usize = 7;

/// The longest client id, in bytes of UTF-8.
pub(crate) const MAX_CLIENT_ID_BYTES: usize = 128;

/// The most topic filters in one SUBSCRIBE.
pub(crate) const MAX_FILTERS_PER_SUBSCRIBE: usize = 8;

/// The most subscriptions of one connection, unless `connection.max_subscriptions` says otherwise.
pub(crate) const MAX_SUBSCRIPTIONS: u32 = 50;

/// Publications a second on one connection, in and out together; past it they are discarded. A default, as the next two are:
/// `connection.rate_limit` holds what counts.
pub(crate) const MESSAGES_PER_SECOND: u32 = 100;

/// Bytes a second on one connection, in and out together; past it they are delayed.
pub(crate) const BYTES_PER_SECOND: u64 = 512 * 1024;

/// CONNECTs a second of one client id; past it they are refused.
pub(crate) const CONNECTS_PER_SECOND: u32 = 1;

/// The most QoS 1 publications without PUBACK, each way.
pub(crate) const MAX_IN_FLIGHT: usize = 100;

/// A shorter keep alive counts as this at IoT Core.
pub(crate) const MIN_KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The longest keep alive IoT Core takes.
pub(crate) const MAX_KEEP_ALIVE: Duration = Duration::from_secs(20 * 60);

/// The longest session expiry an MQTT 5 client may ask for.
pub(crate) const MAX_SESSION_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);

/// The most bytes of MQTT 5 properties that a message may carry: IoT Core's bound on its user properties, which we keep all to.
pub(crate) const MAX_PROPERTIES: usize = 8 * 1024;

/// The largest MQTT packet we accept: the largest payload, the longest topic and room for headers and properties.
pub(crate) const MAX_PACKET: usize = MAX_PAYLOAD + 16 * 1024;

/// The longest name of a thing (AWS IoT API reference, CreateThing).
pub(crate) const MAX_THING: usize = 128;

/// Whether a thing can have this name: 1 to 128 characters of a-z, A-Z, 0-9, `:`, `_` and `-` (as above).
pub(crate) fn may_be_thing(name: &str) -> bool {
    (1..=MAX_THING).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b":_-".contains(&b))
}
