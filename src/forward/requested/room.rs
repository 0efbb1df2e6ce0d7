//! Who gets the places that there are for filters.

use std::collections::BTreeSet;

use super::allowed::Denied;
use super::{Asked, Requested, Wanted};
use crate::count::count;
use crate::message::TopicFilter;

/// So many places the readers of each forward with `allow` have for themselves, as far as there are enough: those of others can't take
/// them.
const OWN: usize = 5;

impl Asked {
    /// The filters that have a place.
    fn taken(&self) -> usize {
        self.subscribed().count()
    }

    /// Those of them that a reader wants, or is about to ask for.
    fn wanted(&self, asked_for: &BTreeSet<TopicFilter>) -> usize {
        self.subscribed().filter(|(filter, wanted)| wanted.left.is_none() || asked_for.contains(*filter)).count()
    }

    /// The one that nobody has wanted for longest, but for those that are about to be asked for.
    fn lingering(&self, asked_for: &BTreeSet<TopicFilter>) -> Option<(&TopicFilter, &Wanted)> {
        let lingering = self.subscribed().filter(|(filter, _)| !asked_for.contains(*filter));
        lingering.filter(|(_, wanted)| wanted.left.is_some()).min_by_key(|(_, wanted)| wanted.left)
    }
}

impl Requested {
    /// Filters that have a place, each forward's by itself.
    pub(super) fn taken(&self) -> usize {
        self.forwards.values().map(Asked::taken).sum()
    }

    fn own_places(&self) -> usize {
        let sharing = self.forwards.values().filter(|asked| asked.has_allow).count();
        OWN.min(self.room / sharing.max(1))
    }

    /// Places that a new filter of a forward can't have: those that are taken by `count`, and what others have for themselves.
    fn gone(&self, forward: &str, count: impl Fn(&Asked) -> usize) -> usize {
        let own = self.own_places();
        let gone = |(name, asked): (&String, &Asked)| match name != forward && asked.has_allow {
            true => count(asked).max(own),
            false => count(asked),
        };
        self.forwards.iter().map(gone).sum()
    }

    /// Whether a forward can have so many filters more.
    pub(super) fn has_room(&self, forward: &str, more: usize) -> bool {
        self.gone(forward, Asked::taken) + more <= self.room
    }

    /// Makes room for what readers of a forward ask for: what nobody wants any more is given up for it.
    ///
    /// # Errors
    /// There isn't enough, and nothing is given up.
    pub(super) fn make_room(&mut self, forward: &str, asked_for: &BTreeSet<TopicFilter>) -> Result<(), Denied> {
        let nothing = BTreeSet::new();
        let known: BTreeSet<&TopicFilter> = self.filters(forward).collect();
        let new = asked_for.iter().filter(|filter| !known.contains(filter)).count();
        let wanted = |asked: &Asked| asked.wanted(&nothing);
        let lasting = self.gone(forward, wanted) + self.returning(forward, asked_for);
        if new > 0 && lasting + new > self.room {
            return Err(self.no_room(forward));
        }
        while new > 0
            && !self.has_room(forward, new)
            && let Some((name, filter)) = self.dispensable(forward, asked_for)
        {
            self.forwards.get_mut(&name).map(|asked| asked.filters.remove(&filter));
        }
        Ok(())
    }

    /// Filters of a forward that nobody has wanted any more, and that are asked for again.
    fn returning(&self, forward: &str, asked_for: &BTreeSet<TopicFilter>) -> usize {
        let nothing = BTreeSet::new();
        self.forwards.get(forward).map_or(0, |asked| asked.wanted(asked_for) - asked.wanted(&nothing))
    }

    /// What nobody wants any more: of this forward first, and of another only beyond what that has for itself.
    fn dispensable(&self, forward: &str, asked_for: &BTreeSet<TopicFilter>) -> Option<(String, TopicFilter)> {
        let (own, nothing) = (self.own_places(), BTreeSet::new());
        let of = |name: &str, (filter, _): (&TopicFilter, &Wanted)| (name.to_owned(), filter.clone());
        if let Some(found) = self.forwards.get(forward).and_then(|asked| asked.lingering(asked_for)) {
            return Some(of(forward, found));
        }
        let others = self.forwards.iter().filter(|(name, asked)| *name != forward && asked.taken() > own);
        let found = others.filter_map(|(name, asked)| Some((name, asked.lingering(&nothing)?)));
        found.min_by_key(|(_, (_, wanted))| wanted.left).map(|(name, found)| of(name, found))
    }

    /// What has to go first if there are more than there may be: what nobody wants any more, then the newest of a forward that has more
    /// than it has for itself.
    pub(super) fn first_to_go(&self) -> Option<(String, TopicFilter)> {
        let (own, nothing) = (self.own_places(), BTreeSet::new());
        let of = |(name, (filter, _)): (&String, (&TopicFilter, &Wanted))| (name.clone(), filter.clone());
        let lingering = self.forwards.iter().filter_map(|(name, asked)| Some((name, asked.lingering(&nothing)?)));
        if let Some(found) = lingering.min_by_key(|(_, (_, wanted))| wanted.left) {
            return Some(of(found));
        }
        let beyond = self.forwards.iter().filter(|(_, asked)| asked.taken() > own);
        let theirs = beyond.flat_map(|(name, asked)| asked.subscribed().map(move |found| (name, found)));
        theirs.max_by_key(|(_, (_, wanted))| wanted.number).map(of)
    }

    pub(super) fn no_room(&self, forward: &str) -> Denied {
        let nothing = BTreeSet::new();
        let wanted = |asked: &Asked| asked.wanted(&nothing);
        let taken: usize = self.forwards.values().map(wanted).sum();
        let kept = match self.gone(forward, wanted) - taken {
            0 => String::new(),
            1 => ", 1 is kept for those of another forward".to_owned(),
            kept => format!(", {kept} are kept for those of other forwards"),
        };
        let detail = format!(
            "readers may ask for {} together, beside those of the configuration; {taken} {} taken{kept}. \
             connection.max_subscriptions is the bound of all",
            count(self.room, "filter"),
            if taken == 1 { "is" } else { "are" },
        );
        Denied { code: "too_many_filters", detail }
    }
}
