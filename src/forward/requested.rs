//! Filters that readers of the forwards have asked for, beside those of the configuration. Pure: no I/O, no clock.

mod allowed;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::queue::ClientId;
use crate::config;
use crate::count::count;
use crate::message::{Topic, TopicFilter};
pub(super) use allowed::Denied;
use allowed::{allowed, is_allowed, read};

/// How long a filter stays subscribed to after the last reader that wants it: one that is started anew within this misses nothing.
const LINGERS: Duration = Duration::from_secs(5);

/// What the readers of all forwards of a daemon ask for.
#[derive(Debug, Default)]
pub(super) struct Requested {
    /// How many more filters than the configuration's the link may subscribe to.
    room: usize,
    /// By the name of the forward.
    forwards: BTreeMap<String, Asked>,
    /// Since when the link is up; `None`: it isn't.
    up_since: Option<Instant>,
}

/// What those of one forward ask for.
#[derive(Debug, Default)]
struct Asked {
    filters: BTreeMap<TopicFilter, Wanted>,
}

#[derive(Debug, Default)]
struct Wanted {
    readers: BTreeSet<ClientId>,
    /// Without readers: since when.
    left: Option<Instant>,
    /// The server's session may hold it, and messages for it.
    may_stand: bool,
}

impl Requested {
    /// There is room for so many from now on. What is subscribed to stays, even if that is more.
    pub(super) fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    /// Those that are requested, each forward's by itself.
    fn taken(&self) -> usize {
        self.forwards.values().map(|asked| asked.filters.len()).sum()
    }

    /// A client asks for filters, all of them or none.
    ///
    /// # Errors
    /// One isn't a filter or isn't allowed, or there is no room for them.
    pub(super) fn subscribe(
        &mut self,
        client: ClientId,
        texts: &[String],
        forward: &config::Forward,
    ) -> Result<(), Denied> {
        let filters = allowed(texts, forward)?;
        let known = self.forwards.get(&forward.name);
        let is_new = |filter: &&TopicFilter| known.is_none_or(|asked| !asked.filters.contains_key(*filter));
        let (new, taken) = (filters.iter().filter(is_new).count(), self.taken());
        if taken + new > self.room {
            return Err(Denied {
                code: "too_many_filters",
                detail: format!(
                    "readers may ask for {} together, beside those of the configuration, and {} taken; \
                     connection.max_subscriptions is the bound of all",
                    count(self.room, "filter"),
                    if taken == 1 { "1 is".to_owned() } else { format!("{taken} are") },
                ),
            });
        }
        let (is_up, asked) = (self.up_since.is_some(), self.forwards.entry(forward.name.clone()).or_default());
        for filter in filters {
            let wanted = asked.filters.entry(filter).or_default();
            wanted.readers.insert(client);
            wanted.left = None;
            wanted.may_stand |= is_up;
        }
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
        if let Some(asked) = self.forwards.get_mut(&forward.name) {
            filters.iter().for_each(|filter| asked.withdraw(client, filter, now));
        }
        Ok(())
    }

    /// A client has gone. Returns whether it wanted any.
    pub(super) fn leave(&mut self, forward: &str, client: ClientId, now: Instant) -> bool {
        let Some(asked) = self.forwards.get_mut(forward) else { return false };
        let theirs = asked.filters.iter().filter(|(_, wanted)| wanted.readers.contains(&client));
        let theirs: Vec<TopicFilter> = theirs.map(|(filter, _)| filter.clone()).collect();
        theirs.iter().for_each(|filter| asked.withdraw(client, filter, now));
        !theirs.is_empty()
    }

    /// What readers had asked for before a restart, and the server's session may hold: each forward that allows it is taken for the
    /// one whose reader has just left.
    pub(super) fn resume(&mut self, forwards: &[config::Forward], noted: &[TopicFilter], now: Instant) {
        for forward in forwards {
            for filter in noted.iter().filter(|filter| is_allowed(filter, forward)) {
                if self.taken() < self.room {
                    let wanted = Wanted { readers: BTreeSet::new(), left: Some(now), may_stand: true };
                    let asked = self.forwards.entry(forward.name.clone()).or_default();
                    asked.filters.entry(filter.clone()).or_insert(wanted);
                }
            }
        }
    }

    /// The link has come up, or has gone.
    pub(super) fn link_changed(&mut self, is_up: bool, now: Instant) {
        self.up_since = is_up.then_some(now);
        let all = self.forwards.values_mut().flat_map(|asked| asked.filters.values_mut());
        all.for_each(|wanted| wanted.may_stand |= is_up);
    }

    /// Gives up what nobody has wanted for long enough.
    pub(super) fn expire(&mut self, now: Instant) {
        let up_since = self.up_since;
        for asked in self.forwards.values_mut() {
            asked.filters.retain(|_, wanted| match wanted.left {
                Some(left) => wanted.expires(left, up_since).is_none_or(|at| at > now),
                None => true,
            });
        }
    }

    /// When to call [`Requested::expire`], if no reader comes.
    pub(super) fn next(&self) -> Option<Instant> {
        let all = self.forwards.values().flat_map(|asked| asked.filters.values());
        all.filter_map(|wanted| wanted.expires(wanted.left?, self.up_since)).min()
    }

    /// Gives up what isn't allowed any more.
    pub(super) fn reconfigure(&mut self, forward: &config::Forward) {
        if let Some(asked) = self.forwards.get_mut(&forward.name) {
            asked.filters.retain(|filter, _| is_allowed(filter, forward));
        }
    }

    /// Gives up all of a forward.
    pub(super) fn clear(&mut self, forward: &str) {
        self.forwards.remove(forward);
    }

    /// What the readers of a forward have asked for.
    pub(super) fn filters(&self, forward: &str) -> impl Iterator<Item = &TopicFilter> {
        self.forwards.get(forward).into_iter().flat_map(|asked| asked.filters.keys())
    }

    pub(super) fn matches(&self, forward: &str, topic: &Topic) -> bool {
        self.filters(forward).any(|filter| filter.matches(topic))
    }
}

impl Asked {
    fn withdraw(&mut self, client: ClientId, filter: &TopicFilter, now: Instant) {
        let Some(wanted) = self.filters.get_mut(filter) else { return };
        if wanted.readers.remove(&client) && wanted.readers.is_empty() {
            wanted.left = Some(now);
        }
    }
}

impl Wanted {
    /// When it is given up, if nobody has wanted it since `left`. What the server holds for it comes when the link is up: until then
    /// that isn't known.
    fn expires(&self, left: Instant, up_since: Option<Instant>) -> Option<Instant> {
        let counts_from = if self.may_stand { up_since?.max(left) } else { left };
        Some(counts_from + LINGERS)
    }
}

#[cfg(test)]
mod tests;
