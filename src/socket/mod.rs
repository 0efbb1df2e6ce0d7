//! The local Unix sockets, as far as forward, ingest and status have them in common.
//!
//! [`listener`] puts a socket into the file system and takes it away, [`stale`] what was left there before, and
//! [`file`](mod@file) gives it to those who may use it; [`inherited`] has those that systemd opened; [`accept`] takes in clients,
//! up to a bound, and [`seats`] says who has a place where more come; [`stream`] is the connection to one of them; [`lines`] cuts what it sends into lines, for which
//! [`line_memory`] has room, and [`members`] takes a line apart; [`observer`] is how a
//! client says that it is one before it is connected.

mod accept;
mod error;
mod file;
mod inherited;
mod json;
mod line_memory;
mod lines;
mod listener;
mod members;
mod observer;
mod peer;
mod seats;
mod seldom;
mod stale;
mod stream;

pub(crate) use accept::{For, serve};
pub(crate) use error::SocketError;
pub(crate) use inherited::Inherited;
pub(crate) use json::append_string;
pub(crate) use line_memory::{LineMemory, Room, SMALL, SharedMemory};
#[cfg(any(test, fuzzing))]
pub(crate) use lines::MAX_LINE;
pub(crate) use lines::{Line, Lines};
pub(crate) use listener::Listener;
pub(crate) use members::{JsonText, Members};
pub(crate) use observer::{connect_unread, unread};
pub(crate) use peer::Peer;
pub(crate) use seldom::Seldom;
pub(crate) use stale::{Beside, server_of};
pub(crate) use stream::Stream;

/// The most clients one socket serves at a time.
pub(crate) const MAX_CLIENTS: usize = 256;

/// Bytes asked of a socket at once.
pub(crate) const READ_CHUNK: usize = 16 * 1024;
