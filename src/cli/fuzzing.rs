//! A daemon, or another program at its sockets, that says anything to the command line.

pub use super::publish::answers::fuzzing::publish_answers;
pub use super::status::fuzzing::status_document;
pub use super::tail::fuzzing::tail_stream;
