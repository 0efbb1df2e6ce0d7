//! gatewire: one persistent mTLS MQTT connection between this gateway and AWS IoT Core.

pub mod cli;
pub(crate) mod config;
pub(crate) mod limits;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod schedule;
