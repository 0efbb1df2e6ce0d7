//! What a reload leaves of what readers have asked for, and who is told of what it doesn't.

use std::collections::{BTreeMap, BTreeSet};

use super::allowed::{Denied, is_allowed, not_allowed};
use super::{Lack, Requested};
use crate::config;
use crate::message::TopicFilter;

/// What a reload has changed for the readers of a forward.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::forward) struct Notice {
    pub(in crate::forward) forward: String,
    pub(in crate::forward) change: Change,
    pub(in crate::forward) filters: Vec<TopicFilter>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::forward) enum Change {
    /// `allow` doesn't cover these any more.
    NotAllowed,
    /// There is no room for these any more.
    NoRoom,
    /// These are subscribed to again.
    Back,
}

impl Requested {
    /// Goes on with this configuration, in which readers may ask for `room` filters. What isn't allowed any more, or has no room, isn't
    /// subscribed to from now on, and who has asked for it is told; it comes back by another reload, if they are still there.
    pub(in crate::forward) fn configure(&mut self, room: usize, forwards: &[config::Forward]) -> Vec<Notice> {
        let before = self.lacking();
        self.room = room;
        self.forwards.retain(|name, _| forwards.iter().any(|forward| forward.name == *name));
        forwards.iter().for_each(|forward| self.look_at_allow(forward));
        while self.taken() > self.room
            && let Some((name, filter)) = self.first_to_go()
            && let Some(asked) = self.forwards.get_mut(&name)
        {
            match asked.filters.get_mut(&filter) {
                Some(wanted) if wanted.left.is_none() => wanted.lacks = Some(Lack::Room),
                _ => drop(asked.filters.remove(&filter)),
            }
        }
        self.bring_back();
        self.tell(&before, forwards)
    }

    fn look_at_allow(&mut self, forward: &config::Forward) {
        let asked = self.forwards.entry(forward.name.clone()).or_default();
        asked.has_allow = forward.allow.is_some();
        asked.filters.retain(|filter, wanted| {
            match (is_allowed(filter, forward), wanted.lacks) {
                (false, _) => wanted.lacks = Some(Lack::Allow),
                (true, Some(_)) => wanted.lacks = Some(Lack::Room),
                (true, None) => {}
            }
            wanted.lacks.is_none() || !wanted.readers.is_empty()
        });
    }

    /// What is allowed again, and what there is room for again: the oldest first.
    fn bring_back(&mut self) {
        let mut waiting: Vec<(u64, String, TopicFilter)> = Vec::new();
        for (name, asked) in &self.forwards {
            let theirs = asked.filters.iter().filter(|(_, wanted)| wanted.lacks == Some(Lack::Room));
            waiting.extend(theirs.map(|(filter, wanted)| (wanted.number, name.clone(), filter.clone())));
        }
        waiting.sort_unstable();
        let is_up = self.up_since.is_some();
        for (_, name, filter) in waiting {
            if self.make_room(&name, &BTreeSet::from([filter.clone()])).is_err() {
                continue;
            }
            let asked = self.forwards.get_mut(&name);
            if let Some(wanted) = asked.and_then(|asked| asked.filters.get_mut(&filter)) {
                (wanted.lacks, wanted.may_stand) = (None, wanted.may_stand || is_up);
            }
        }
    }

    /// The filters of each forward that aren't subscribed to, and why.
    fn lacking(&self) -> BTreeMap<(String, TopicFilter), Lack> {
        let of = |(name, filter): (&String, &TopicFilter), lack| ((name.clone(), filter.clone()), lack);
        let all = self.forwards.iter().flat_map(|(name, asked)| {
            asked.filters.iter().filter_map(move |(filter, wanted)| Some(of((name, filter), wanted.lacks?)))
        });
        all.collect()
    }

    /// Tells readers what has been taken from them. Returns what there is to log.
    fn tell(&mut self, before: &BTreeMap<(String, TopicFilter), Lack>, forwards: &[config::Forward]) -> Vec<Notice> {
        let after = self.lacking();
        let mut notices: BTreeMap<(String, Change), Vec<TopicFilter>> = BTreeMap::new();
        for ((name, filter), lack) in &after {
            if before.get(&(name.clone(), filter.clone())) == Some(lack) {
                continue;
            }
            let (change, denied) = match lack {
                Lack::Allow => {
                    let forward = forwards.iter().find(|forward| forward.name == *name);
                    (Change::NotAllowed, forward.map(|forward| not_allowed(filter, forward)))
                }
                Lack::Room => (Change::NoRoom, Some(self.no_room(name))),
            };
            notices.entry((name.clone(), change)).or_default().push(filter.clone());
            if let Some(denied) = denied {
                self.tell_readers(name, filter, &denied);
            }
        }
        for (name, filter) in before.keys().filter(|key| !after.contains_key(*key)) {
            if self.filters(name).any(|subscribed| subscribed == filter) {
                notices.entry((name.clone(), Change::Back)).or_default().push(filter.clone());
            }
        }
        notices.into_iter().map(|((forward, change), filters)| Notice { forward, change, filters }).collect()
    }

    fn tell_readers(&mut self, forward: &str, filter: &TopicFilter, denied: &Denied) {
        let Some(asked) = self.forwards.get_mut(forward) else { return };
        let detail = format!(
            "`{}` isn't subscribed to any more after a reload: {}. It is again once a reload changes that, for those who are still \
             connected",
            filter.as_str(),
            denied.detail
        );
        for client in asked.filters.get(filter).into_iter().flat_map(|wanted| &wanted.readers) {
            let told = asked.told.entry(*client).or_default();
            told.push(Denied { code: denied.code, detail: detail.clone() });
        }
    }
}
