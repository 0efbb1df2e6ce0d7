//! The one connection to the server.

pub(crate) mod credentials;
pub(crate) mod diagnosis;
pub(crate) mod transport;
