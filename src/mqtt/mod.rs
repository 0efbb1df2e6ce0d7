//! MQTT without I/O, for any server: nothing here knows the configuration, the outbox, the log or AWS.
//!
//! [`session`] decides what is said and when, and what has become of each message; [`wire`] turns packets of both versions into
//! bytes and back, on rumqttc's codecs; [`isolation`] finds what a server refuses that closes the connection instead of saying
//! so. [`server_limits`] is what a CONNACK restricts, [`reason`] names the reason codes.
//!
//! What is peculiar to one server is a value that is handed in: [`Options`].

pub(crate) mod isolation;
mod options;
pub(crate) mod reason;
mod rejection;
pub(crate) mod server_limits;
pub(crate) mod session;
mod wire;

pub(crate) use options::{KeepAlive, Login, Options, Protocol, Subscribing, Will};
pub(crate) use rejection::Rejection;
pub(crate) use wire::{ALIAS_BYTES, Malformed, PROPERTY_OF_TEXT, publish_size};

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    pub use super::session::fuzzing::{session_3_1_1, session_5, session_local};
}
