//! Bridges: devices that speak MQTT to a broker on this gateway. gatewire is a client of that broker, and carries topics both
//! ways.
//!
//! [`rules`] (pure) says what becomes of a topic; [`local`] keeps the connection to the local broker; [`up`] (pure) and
//! [`down`] (pure) hold what is on its way.

pub(crate) mod cause;
pub(crate) mod local;
pub(crate) mod rules;
