//! What of a configuration holds the name of the thing, where AWS is yet to say it.

use std::collections::BTreeSet;

use super::provisioning::LongestName;
use super::report::Remark;
use super::{Bridge, Config, Publish};
use crate::limits::MAX_THING;
use crate::message::TopicFilter;

/// The name that stands in, and another that is as long: what differs with them depends on it.
pub(super) const STAND_INS: [&str; 2] = ["thing", "other"];

/// What must not be used with the name that stands in: by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Unnamed {
    pub(super) publish: BTreeSet<String>,
    pub(super) bridge: BTreeSet<String>,
}

impl Config {
    /// Notes what depends on the name of the thing; `other` is the same configuration with another name. Without it, all does.
    pub(super) fn note_unnamed(&mut self, other: Option<&Config>) {
        self.connection.is_named = false;
        let publish = self.publish.iter().filter(|publish| other.is_none_or(|other| !other.publish.contains(publish)));
        let bridge = self.bridge.iter().filter(|bridge| other.is_none_or(|other| !other.bridge.contains(bridge)));
        self.unnamed = Unnamed {
            publish: publish.map(|publish| publish.name.clone()).collect(),
            bridge: bridge.map(|bridge| bridge.name.clone()).collect(),
        };
        for ingest in &mut self.ingest {
            let same = other.and_then(|other| other.ingest.iter().find(|other| other.name == ingest.name));
            let topics = same.map_or(&[][..], |same| &same.topics);
            let before = ingest.topics.len();
            ingest.topics.retain(|topic: &TopicFilter| topics.contains(topic));
            ingest.awaits_name = ingest.topics.len() < before;
        }
    }

    /// Notes how long the name of the thing may be; `errors` are those of the configuration with this name. They come of its length alone,
    /// as all that it may hold may stand anywhere.
    pub(super) fn note_longest_name(&mut self, errors: impl Fn(&str) -> Vec<Remark>) {
        let Some(provisioning) = &mut self.provisioning else { return };
        let first_of = |length| errors(&"x".repeat(length)).into_iter().next();
        let Some(mut fault) = first_of(MAX_THING) else { return };
        let (mut fits, mut is_too_long) = (STAND_INS[0].len(), MAX_THING);
        while is_too_long - fits > 1 {
            let length = usize::midpoint(fits, is_too_long);
            match first_of(length) {
                Some(found) => (is_too_long, fault) = (length, found),
                None => fits = length,
            }
        }
        provisioning.longest_name = Some(LongestName { length: fits, fault: fault.to_string() });
    }

    /// The scheduled publications that can be published: while AWS is yet to say the name of the thing, not those that hold it.
    pub(crate) fn publications(&self) -> Vec<Publish> {
        self.publish.iter().filter(|publish| !self.unnamed.publish.contains(&publish.name)).cloned().collect()
    }

    /// What waits for the name of the thing, as it is called in lists for people.
    pub(crate) fn waiting(&self) -> Vec<String> {
        let publish = self.unnamed.publish.iter().map(|name| format!("publish {name}"));
        let ingest = self.ingest.iter().filter(|ingest| ingest.awaits_name);
        let ingest = ingest.map(|ingest| format!("topics of ingest {}", ingest.name));
        let bridge = self.unnamed.bridge.iter().map(|name| format!("bridge {name}"));
        let is_given = |is_configured: bool, name: &str| {
            Some(format!("[{name}]")).filter(|_| is_configured && !self.connection.is_named)
        };
        let services = [is_given(self.jobs.is_some(), "jobs"), is_given(self.commands.is_some(), "commands")];
        publish.chain(ingest).chain(bridge).chain(services.into_iter().flatten()).collect()
    }

    /// The bridges that can carry something, likewise.
    pub(crate) fn bridges(&self) -> impl Iterator<Item = &Bridge> {
        self.bridge.iter().filter(|bridge| !self.unnamed.bridge.contains(&bridge.name))
    }
}
