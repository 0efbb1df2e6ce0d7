//! Filters of which a server may send a message twice, although each forward and each bridge is to get it once.

use std::collections::{BTreeMap, BTreeSet};

use super::Reader;
use crate::config::places::Place;
use crate::message::{Qos, TopicFilter, overlapping};
use crate::mqtt::Protocol;

/// A filter that is subscribed to.
pub(in crate::config) struct Wanted {
    /// As it is written: `forward.filters`.
    pub(in crate::config) key: String,
    /// Of its forward or bridge, or of its service.
    pub(in crate::config) name: String,
    pub(in crate::config) filter: TopicFilter,
    pub(in crate::config) qos: Qos,
    pub(in crate::config) place: Place,
}

impl Reader<'_> {
    /// Names the filters that have topics in common and can't be told apart at every server: one that covers another with at least
    /// its QoS is subscribed to in its place, and MQTT 5 has subscription identifiers, but not at IoT Core.
    pub(in crate::config) fn warn_of_copies(&self, protocol: Protocol) {
        let wanted = self.wanted.borrow();
        let mut filters = BTreeMap::new();
        for Wanted { filter, qos, .. } in wanted.iter() {
            let highest = filters.entry(filter.clone()).or_insert(*qos);
            *highest = (*highest).max(*qos);
        }
        for (one, other) in overlapping(&filters) {
            let is_shared = one.is_shared() || other.is_shared();
            // What IoT Core knows that MQTT doesn't: `a/#` hasn't `a`.
            let is_parent =
                |one: &TopicFilter, other: &TopicFilter| one.as_str().strip_suffix("/#") == Some(other.as_str());
            if self.is_iot_core && (is_parent(one, other) || is_parent(other, one)) {
                continue;
            }
            let of = |filter: &TopicFilter| wanted.iter().rfind(|wanted| wanted.filter == *filter);
            let (Some(first), Some(last)) = (of(one), of(other)) else { continue };
            let (first, last) = if first.place <= last.place { (first, last) } else { (last, first) };
            let server = if is_shared { "every server sends one for each of them" } else { sends_copies(protocol) };
            let mend = match first.qos == last.qos || !(one.covers(other) || other.covers(one)) {
                true => "use filters of which one covers the other, or that have no topic in common",
                false => "give both the same `qos`",
            };
            self.report.warning(
                &last.place,
                &format!(
                    "`{}`: \"{}\" of \"{}\" and \"{}\" of \"{}\" have topics in common: a message there may come twice, \
                     as {server}; {mend}",
                    last.key, last.filter, last.name, first.filter, first.name
                ),
            );
        }
        self.warn_of_copies_for_readers(protocol);
    }

    /// Likewise for what readers may ask for: the first filter of each `allow`.
    fn warn_of_copies_for_readers(&self, protocol: Protocol) {
        let (wanted, allowed) = (self.wanted.borrow(), self.allowed.borrow());
        let mut named = BTreeSet::new();
        for reader in allowed.iter() {
            let Some(other) = wanted.iter().find(|other| may_come_twice(reader, other)) else { continue };
            if !named.insert(&reader.name) {
                continue;
            }
            self.report.warning(
                &reader.place,
                &format!(
                    "`{}`: readers of \"{}\" may ask for filters that have topics in common with \"{}\" of \"{}\": a message there \
                     may come twice, to both, as {}; allow other topics, or have all readers ask for filters that cover \"{}\" or \
                     lie within it, with the same `qos`",
                    reader.key, reader.name, other.filter, other.name, sends_copies(protocol), other.filter
                ),
            );
        }
    }
}

fn sends_copies(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Mqtt311 => "a server may send one for each of them",
        Protocol::Mqtt5 => "a server without subscription identifiers, such as IoT Core, may send one for each of them",
    }
}

/// Whether something within `reader` has topics in common with `other` and neither takes the other's place.
fn may_come_twice(reader: &Wanted, other: &Wanted) -> bool {
    let is_covered = other.qos >= reader.qos && (other.filter == reader.filter || other.filter.covers(&reader.filter));
    // What matches the one topic covers it.
    let covers_it = reader.qos >= other.qos && !other.filter.as_str().contains(['+', '#']);
    reader.filter.overlaps(&other.filter) && !is_covered && !covers_it
}
