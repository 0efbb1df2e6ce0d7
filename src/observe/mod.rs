//! What goes on, for people and programs: the log and the status document.

pub(crate) mod journal;
mod limit;
pub(crate) mod memory;
mod message_id;
pub(crate) mod status;
pub(crate) mod status_socket;
