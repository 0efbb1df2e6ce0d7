//! Says once a topic what doesn't go to the other side, and why.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::cause::Cause;
use crate::mapping::Direction;
use crate::message::Topic;

/// So many topics are named. Beyond, only the status counts.
const MAX_NAMED: usize = 500;

/// What one bridge has named.
#[derive(Debug, Default)]
pub(super) struct Named {
    known: RefCell<BTreeSet<(Direction, Cause, Topic)>>,
    is_full: Cell<bool>,
}

impl Named {
    /// A message to `topic`, as it came, doesn't go on. `why` follows a colon, and says what to do.
    pub(super) fn left_out(&self, bridge: &str, direction: Direction, cause: Cause, topic: &Topic, why: &str) {
        let mut known = self.known.borrow_mut();
        if known.len() >= MAX_NAMED {
            if !self.is_full.replace(true) {
                log::warn!(
                    GATEWIRE_EVENT = "bridge_left_out", GATEWIRE_BRIDGE = bridge;
                    "bridge {bridge}: messages on more topics don't go to the other side; from now on they are only counted: \
                    see `gatewire status`"
                );
            }
            return;
        }
        if !known.insert((direction, cause, topic.clone())) {
            return;
        }
        let side = match direction {
            Direction::Up => "IoT Core",
            Direction::Down => "the local broker",
        };
        log::warn!(
            GATEWIRE_EVENT = "bridge_left_out", GATEWIRE_BRIDGE = bridge, GATEWIRE_TOPIC = topic.as_str(),
            GATEWIRE_ERROR = cause.as_str();
            "bridge {bridge}: a message on `{topic}` doesn't go to {side} ({cause}): {why}. Further ones on this topic are only counted"
        );
    }

    /// What was said before is said again: the configuration has changed.
    pub(super) fn forget(&self) {
        self.known.borrow_mut().clear();
        self.is_full.set(false);
    }
}
