//! The one connection.
pub(crate) mod session;
