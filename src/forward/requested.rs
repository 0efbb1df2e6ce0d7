//! Filters that readers of the forwards have asked for, beside those of the configuration. Pure: no I/O, no clock.

mod allowed;
mod reload;
mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::queue::ClientId;
use crate::config;
use crate::message::{Topic, TopicFilter};
pub(super) use allowed::Denied;
use allowed::{allowed, is_allowed, read};
pub(super) use reload::{Change, Notice};

/// How long a filter stays subscribed to after the last reader that wants it: one that is started anew within this misses nothing.
const LINGERS: Duration = Duration::from_secs(5);

/// What the readers of all forwards of a daemon ask for.
#[derive(Debug, Default)]
pub(super) struct Requested {
    /// How many more filters than the configuration's the link may subscribe to.
    room: usize,
    /// By the name of the forward.
    forwards: BTreeMap<String, Asked>,
    /// How many were asked for so far.
    number: u64,
    /// Since when the link is up; `None`: it isn't.
    up_since: Option<Instant>,
}

/// What those of one forward ask for.
#[derive(Debug, Default)]
struct Asked {
    /// They may: the configuration has `allow`.
    has_allow: bool,
    filters: BTreeMap<TopicFilter, Wanted>,
    /// What readers have to be told of theirs.
    told: BTreeMap<ClientId, Vec<Denied>>,
}

#[derive(Debug, Default)]
struct Wanted {
    readers: BTreeSet<ClientId>,
    /// Without readers: since when.
    left: Option<Instant>,
    /// The server's session may hold it, and messages for it.
    may_stand: bool,
    /// Greater than that of a filter that was asked for before.
    number: u64,
    /// Why it isn't subscribed to. Its readers know, and there are some.
    lacks: Option<Lack>,
}

/// What a filter has lost by a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    /// `allow` covers it.
    Allow,
    /// `connection.max_subscriptions` has room for it.
    Room,
}

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
    ) -> Result<(), Denied> {
        let filters: BTreeSet<TopicFilter> = allowed(texts, forward)?.into_iter().collect();
        self.make_room(&forward.name, &filters)?;
        let (is_up, asked) = (self.up_since.is_some(), self.forwards.entry(forward.name.clone()).or_default());
        for filter in filters {
            self.number += 1;
            let new = Wanted { number: self.number, ..Wanted::default() };
            let wanted = asked.filters.entry(filter).or_insert(new);
            if wanted.lacks.take().is_some() {
                wanted.number = self.number;
            }
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
        asked.told.remove(&client);
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
                if self.has_room(&forward.name, 1) {
                    self.number += 1;
                    let wanted = Wanted { left: Some(now), may_stand: true, number: self.number, ..Wanted::default() };
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

    /// What a client has to be told, once.
    pub(super) fn take_told(&mut self, forward: &str, client: ClientId) -> Vec<Denied> {
        self.forwards.get_mut(forward).and_then(|asked| asked.told.remove(&client)).unwrap_or_default()
    }

    /// What is subscribed to for the readers of a forward.
    pub(super) fn filters(&self, forward: &str) -> impl Iterator<Item = &TopicFilter> {
        let asked = self.forwards.get(forward).into_iter();
        asked.flat_map(Asked::subscribed).map(|(filter, _)| filter)
    }

    pub(super) fn matches(&self, forward: &str, topic: &Topic) -> bool {
        self.filters(forward).any(|filter| filter.matches(topic))
    }
}

impl Asked {
    /// What is subscribed to.
    fn subscribed(&self) -> impl Iterator<Item = (&TopicFilter, &Wanted)> {
        self.filters.iter().filter(|(_, wanted)| wanted.lacks.is_none())
    }

    fn withdraw(&mut self, client: ClientId, filter: &TopicFilter, now: Instant) {
        let Some(wanted) = self.filters.get_mut(filter) else { return };
        if !wanted.readers.remove(&client) || !wanted.readers.is_empty() {
            return;
        }
        match wanted.lacks {
            None => wanted.left = Some(now),
            Some(_) => drop(self.filters.remove(filter)),
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
