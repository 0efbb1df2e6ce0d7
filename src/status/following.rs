//! The line that those get who follow the link.

use serde::Serialize;

use super::json_line;
use crate::link::state::{LinkState, LinkStatus};
use crate::outbox::Outbox;

#[derive(Serialize)]
struct Followed {
    /// As in the document, without its history.
    link: LinkStatus,
    outbox: Waiting,
}

#[derive(Serialize)]
struct Waiting {
    waiting: u64,
}

/// What the link is doing now, and how much waits for it: a JSON object and a newline.
pub(crate) fn line(link: &LinkState, outbox: &Outbox) -> Vec<u8> {
    json_line(&Followed { link: link.brief(), outbox: Waiting { waiting: outbox.status().waiting } })
}
