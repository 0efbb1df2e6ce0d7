//! Filters that readers of a forward have asked for, beside those of its configuration. Pure: no I/O, no clock.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::queue::ClientId;
use crate::config;
use crate::count::count;
use crate::message::{Topic, TopicFilter};
use crate::template::fill;

/// How long a filter stays subscribed to after the last reader that wants it: one that is started anew within this misses nothing.
const LINGERS: Duration = Duration::from_secs(5);

/// What the forwards of a daemon share: how many filters they may ask for together, and who is told that these have changed.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// How many more filters than the configuration's the link may subscribe to.
    room: Cell<usize>,
    /// Those that are requested, each forward's by itself.
    taken: Cell<usize>,
    changed: Notify,
}

impl Requests {
    /// There is room for so many from now on. What is subscribed to stays, even if that is more.
    pub(crate) fn set_room(&self, room: usize) {
        self.room.set(room);
    }

    /// Completes when there are other filters than at the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn announce(&self) {
        self.changed.notify_one();
    }
}

/// Why a client doesn't get what it has asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Denied {
    /// As docs/sockets.md has it.
    pub(super) code: &'static str,
    pub(super) detail: String,
}

#[derive(Debug, Default)]
struct Wanted {
    readers: BTreeSet<ClientId>,
    /// Without readers: when it is given up.
    until: Option<Instant>,
}

/// Those of one forward.
#[derive(Debug, Default)]
pub(super) struct Requested(BTreeMap<TopicFilter, Wanted>);

impl Requested {
    /// A client asks for filters, all of them or none.
    ///
    /// # Errors
    /// One isn't a filter or isn't allowed, or there is no room for them.
    pub(super) fn subscribe(
        &mut self,
        client: ClientId,
        texts: &[String],
        forward: &config::Forward,
        requests: &Requests,
    ) -> Result<(), Denied> {
        let filters = allowed(texts, forward)?;
        let new = filters.iter().filter(|filter| !self.0.contains_key(*filter)).count();
        if requests.taken.get() + new > requests.room.get() {
            return Err(Denied {
                code: "too_many_filters",
                detail: format!(
                    "readers may ask for {} together, beside those of the configuration, and {} taken; \
                     connection.max_subscriptions is the bound of all",
                    count(requests.room.get(), "filter"),
                    match requests.taken.get() {
                        1 => "1 is".to_owned(),
                        taken => format!("{taken} are"),
                    },
                ),
            });
        }
        for filter in filters {
            let wanted = self.0.entry(filter).or_default();
            wanted.readers.insert(client);
            wanted.until = None;
        }
        requests.taken.set(requests.taken.get() + new);
        Ok(())
    }

    /// A client doesn't want these any more. One that it hasn't asked for is none of its.
    ///
    /// # Errors
    /// One isn't a filter.
    pub(super) fn unsubscribe(
        &mut self,
        client: ClientId,
        texts: &[String],
        forward: &config::Forward,
        now: Instant,
    ) -> Result<(), Denied> {
        let filters: Vec<TopicFilter> = texts.iter().map(|text| read(text, forward)).collect::<Result<_, _>>()?;
        filters.iter().for_each(|filter| self.withdraw(client, filter, now));
        Ok(())
    }

    fn withdraw(&mut self, client: ClientId, filter: &TopicFilter, now: Instant) {
        let Some(wanted) = self.0.get_mut(filter) else { return };
        if wanted.readers.remove(&client) && wanted.readers.is_empty() {
            wanted.until = Some(now + LINGERS);
        }
    }

    /// A client has gone. Returns whether it wanted any.
    pub(super) fn leave(&mut self, client: ClientId, now: Instant) -> bool {
        let theirs: Vec<TopicFilter> = self
            .0
            .iter()
            .filter(|(_, wanted)| wanted.readers.contains(&client))
            .map(|(filter, _)| filter.clone())
            .collect();
        theirs.iter().for_each(|filter| self.withdraw(client, filter, now));
        !theirs.is_empty()
    }

    /// Gives up what nobody has wanted for long enough.
    pub(super) fn expire(&mut self, requests: &Requests, now: Instant) {
        self.keep(requests, |_, wanted| wanted.until.is_none_or(|until| until > now));
    }

    /// Gives up what isn't allowed any more.
    pub(super) fn reconfigure(&mut self, forward: &config::Forward, requests: &Requests) {
        self.keep(requests, |filter, _| is_allowed(filter, forward));
    }

    /// Gives up all.
    pub(super) fn clear(&mut self, requests: &Requests) {
        self.keep(requests, |_, _| false);
    }

    fn keep(&mut self, requests: &Requests, is_kept: impl Fn(&TopicFilter, &Wanted) -> bool) {
        let before = self.0.len();
        self.0.retain(|filter, wanted| is_kept(filter, wanted));
        requests.taken.set(requests.taken.get() - (before - self.0.len()));
    }

    /// When the next is given up, if no reader comes.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().filter_map(|wanted| wanted.until).min()
    }

    pub(super) fn filters(&self) -> impl Iterator<Item = &TopicFilter> {
        self.0.keys()
    }

    pub(super) fn matches(&self, topic: &Topic) -> bool {
        self.filters().any(|filter| filter.matches(topic))
    }
}

fn is_allowed(filter: &TopicFilter, forward: &config::Forward) -> bool {
    let allow = forward.allow.as_ref();
    allow.is_some_and(|allow| allow.filters.iter().any(|wide| wide == filter || wide.covers(filter)))
}

fn read(text: &str, forward: &config::Forward) -> Result<TopicFilter, Denied> {
    let bad = |why: String| Denied { code: "bad_filter", detail: format!("{text:?} isn't a topic filter: {why}") };
    let filled = match &forward.allow {
        Some(allow) => fill(text, &allow.fixed).map_err(|error| bad(error.to_string()))?,
        None => text.to_owned(),
    };
    TopicFilter::new(&filled).map_err(|error| bad(error.to_string()))
}

fn allowed(texts: &[String], forward: &config::Forward) -> Result<Vec<TopicFilter>, Denied> {
    let not_allowed = |detail: String| Denied { code: "filter_not_allowed", detail };
    let Some(allow) = &forward.allow else {
        let detail =
            format!("the forward {} has no `allow` in its configuration: readers can't subscribe", forward.name);
        return Err(not_allowed(detail));
    };
    let checked = |text: &String| {
        let filter = read(text, forward)?;
        if is_allowed(&filter, forward) {
            return Ok(filter);
        }
        let list: Vec<String> = allow.filters.iter().map(|filter| format!("`{}`", filter.as_str())).collect();
        Err(not_allowed(format!("`{}` isn't within `allow` of the forward: {}", filter.as_str(), list.join(", "))))
    };
    texts.iter().map(checked).collect()
}

#[cfg(test)]
mod tests;
