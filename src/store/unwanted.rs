//! What is said of messages that nobody asks for any more.

use std::path::Path;

use crate::count::count_that;

/// Says that so many messages wait in a queue of the database at `path` that nothing in the configuration is for; nothing if none do.
pub(super) fn say(queue: &str, waiting: u64, path: &Path) {
    if waiting == 0 {
        return;
    }
    let (what, again) = match queue.starts_with("bridge ") {
        true => (format!("in the rule `{queue}`"), "a rule with that filter is in that bridge again"),
        false => (format!("for readers of the forward {queue}"), "a forward of that name is configured again"),
    };
    log::warn!(
        GATEWIRE_EVENT = "forward_gone", GATEWIRE_FORWARD = queue;
        "{} {what}, which isn't in the configuration any more. They stay in {} until {again}",
        count_that(waiting, "message", "waits", "wait"), path.display()
    );
}
