//! Which filters are wanted, and for what: that says which are asked for first.

use std::collections::BTreeMap;

use super::requested::Requested;
use crate::message::{Qos, TopicFilter};

/// Filters that are wanted for different reasons.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// A filter that is wanted otherwise, too, belongs to these.
    pub(super) first: BTreeMap<TopicFilter, Qos>,
    /// Each is asked for in packets of its own: the server may close the connection for them.
    pub(super) groups: Vec<Vec<TopicFilter>>,
    /// What others ask for, as often as they like.
    pub(super) requested: Requested,
}

/// When a filter is asked for: the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// At once.
    First,
    /// With its group, at this place among them, once all before it are answered.
    Group(usize),
    /// Likewise, after the groups.
    Requested,
}

impl Wishes {
    pub(super) fn turn_of(&self, filter: &TopicFilter) -> Turn {
        if self.first.contains_key(filter) {
            return Turn::First;
        }
        // One that isn't wanted any more, and is yet to be answered, was a reader's, who has changed its mind.
        self.groups.iter().position(|group| group.contains(filter)).map_or(Turn::Requested, Turn::Group)
    }

    /// All that is wanted.
    pub(super) fn all(&self) -> BTreeMap<TopicFilter, Qos> {
        let of_groups = self.groups.iter().flatten().map(|filter| (filter.clone(), Qos::AtLeastOnce));
        // The first win over groups: they may want another QoS.
        let mut all: BTreeMap<TopicFilter, Qos> = of_groups.chain(self.first.clone()).collect();
        for (filter, qos) in self.requested.filters() {
            let highest = all.entry(filter.clone()).or_insert(qos);
            *highest = qos.max(*highest);
        }
        all
    }
}
