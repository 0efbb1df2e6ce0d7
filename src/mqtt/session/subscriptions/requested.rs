//! Filters that readers ask for, and how many connections may end for them. Pure: no I/O, no clock.
//!
//! Anybody who reads may ask for a filter that the server ends the connection for, or never answers, and for another one the next
//! moment. So it is the source that is held to a measure, not only the filter.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::message::{Qos, TopicFilter};

/// An end is remembered for so long. Meanwhile one of these filters is asked for at a time, so that it is clear for which it was.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// So many ends within that have no pause, nor has the next if what it was for is found: that is what one bad filter costs.
const FREE: usize = 2;

/// After the others what isn't granted yet isn't asked for, at first for so long, doubled with each up to the second.
const PAUSE: Duration = Duration::from_secs(300);
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Requested {
    wishes: BTreeMap<TopicFilter, Wish>,
    numbered: u64,
    /// Connections that have ended for them, the last last.
    ends: VecDeque<End>,
    paused_until: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Wish {
    qos: Qos,
    /// In the order in which they came.
    number: u64,
    /// Connections that have ended while it was asked for.
    ends: u32,
    /// The server has granted it: a connection that ends for it now says nothing of what readers may ask for.
    was_granted: bool,
}

/// A connection that has ended while these were asked for, none of which the server had granted before, nor has since.
#[derive(Debug)]
struct End {
    at: Instant,
    suspects: BTreeSet<TopicFilter>,
}

/// That filters which readers ask for aren't asked for, for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paused {
    /// For which the last connection has ended.
    pub(crate) filter: TopicFilter,
    /// How many have ended so, within an hour.
    pub(crate) ends: usize,
    pub(crate) wait: Duration,
}

impl Requested {
    /// These are wanted from now on.
    pub(super) fn want(&mut self, filters: BTreeMap<TopicFilter, Qos>) {
        let old = std::mem::take(&mut self.wishes);
        for (filter, qos) in filters {
            let known = old.get(&filter).copied();
            self.numbered += u64::from(known.is_none());
            let wish = known.unwrap_or(Wish { qos, number: self.numbered, ends: 0, was_granted: false });
            self.wishes.insert(filter, Wish { qos, ..wish });
        }
    }

    pub(super) fn filters(&self) -> impl Iterator<Item = (&TopicFilter, Qos)> {
        self.wishes.iter().map(|(filter, wish)| (filter, wish.qos))
    }

    /// Which of them is asked for first: the least. What may be bad is asked for after what isn't known to be; one end may have been for
    /// another, and doesn't put it behind whatever is new.
    pub(super) fn rank(&self, filter: &TopicFilter) -> (u32, u64) {
        self.wishes.get(filter).map_or((0, 0), |wish| (wish.ends.saturating_sub(1), wish.number))
    }

    /// The server has granted it: what has ended while only such were asked for ended for another reason, and so did the pause begin.
    pub(super) fn granted(&mut self, filter: &TopicFilter) {
        if let Some(wish) = self.wishes.get_mut(filter) {
            (wish.was_granted, wish.ends) = (true, 0);
        }
        let before = self.ends.len();
        self.ends.iter_mut().for_each(|end| _ = end.suspects.remove(filter));
        self.ends.retain(|end| !end.suspects.is_empty());
        if self.ends.len() < before && self.ends.len() <= FREE {
            self.paused_until = None;
        }
    }

    /// The connection has ended while these were asked for; `is_found`: it is known which of them that was for. Returns whether there is
    /// a pause now.
    pub(super) fn ended(&mut self, filters: &[TopicFilter], is_found: bool, now: Instant) -> Option<Paused> {
        let mut suspects = BTreeSet::new();
        for filter in filters {
            // A reader may have gone meanwhile.
            let was_granted = self.wishes.get_mut(filter).is_some_and(|wish| {
                wish.ends += 1;
                wish.was_granted
            });
            if !was_granted {
                suspects.insert(filter.clone());
            }
        }
        self.forget(now);
        let suspect = suspects.first()?.clone();
        self.ends.push_back(End { at: now, suspects });
        let beyond = self.ends.len().checked_sub(FREE + usize::from(is_found) + 1)?;
        let doubled = u32::try_from(beyond).ok().and_then(|beyond| 1_u32.checked_shl(beyond));
        let wait = doubled.and_then(|factor| PAUSE.checked_mul(factor)).map_or(MAX_PAUSE, |wait| wait.min(MAX_PAUSE));
        self.paused_until = Some(now + wait);
        Some(Paused { filter: suspect, ends: self.ends.len(), wait })
    }

    fn forget(&mut self, now: Instant) {
        while self.ends.front().is_some_and(|end| end.at + REMEMBERED <= now) {
            self.ends.pop_front();
        }
    }

    /// Whether one of them is asked for at a time.
    pub(super) fn is_careful(&self) -> bool {
        !self.ends.is_empty()
    }

    /// Whether it isn't asked for because of the pause. What was granted before is, in a new session.
    pub(super) fn is_put_off(&self, filter: &TopicFilter) -> bool {
        self.paused_until.is_some() && self.wishes.get(filter).is_some_and(|wish| !wish.was_granted)
    }

    /// The filters for which connections have ended.
    pub(super) fn suspects(&self) -> BTreeSet<TopicFilter> {
        self.ends.iter().flat_map(|end| end.suspects.iter().cloned()).collect()
    }

    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Ends the pause if it is over.
    pub(super) fn look(&mut self, now: Instant) {
        self.paused_until = self.paused_until.filter(|until| *until > now);
        self.forget(now);
    }

    /// The operator may have changed what the ends were for, or it is another server.
    pub(super) fn begin_anew(&mut self) {
        self.ends.clear();
        self.paused_until = None;
        self.wishes.values_mut().for_each(|wish| wish.ends = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::new(text).unwrap()
    }

    #[test]
    fn however_many_bad_filters_are_asked_for_a_handful_of_connections_an_hour_end() {
        for is_found in [false, true] {
            let (mut requested, start) = (Requested::default(), Instant::now());
            let (mut now, mut ends) = (start, Vec::new());
            for n in 0..60 {
                let bad = filter(&format!("bad/{n}"));
                requested.want([(bad.clone(), Qos::AtLeastOnce)].into());
                requested.look(now);
                assert!(!requested.is_put_off(&bad));
                // Each third end shows which filter it was for.
                let paused = requested.ended(&[bad], is_found && n % 3 == 2, now);
                ends.push(now);
                now += paused.map_or(Duration::from_secs(1), |paused| paused.wait);
            }
            for end in &ends {
                let hour = ends.iter().filter(|other| *other >= end && **other < *end + REMEMBERED).count();
                assert!(hour <= 8, "{hour} within an hour");
            }
        }
    }

    #[test]
    fn what_is_granted_has_ended_no_connection_and_ends_the_pause() {
        let (mut requested, now) = (Requested::default(), Instant::now());
        let replies = ["reply/0", "reply/1", "reply/2"].map(filter);
        requested.want(replies.iter().map(|filter| (filter.clone(), Qos::AtLeastOnce)).collect());
        // Each is under way when the network cuts the connection, and granted on the next one.
        for reply in &replies {
            assert_eq!(requested.ended(std::slice::from_ref(reply), false, now), None);
            requested.granted(reply);
        }
        assert!(!requested.is_careful());
        // The server closes on everything for a while: that is no fault of theirs.
        for _ in 0..10 {
            assert_eq!(requested.ended(&replies[..1], false, now), None);
        }
        let new = filter("new");
        requested.want(replies.iter().chain([&new]).map(|filter| (filter.clone(), Qos::AtLeastOnce)).collect());
        let paused: Vec<bool> =
            (0..4).map(|_| requested.ended(std::slice::from_ref(&new), false, now).is_some()).collect();
        assert_eq!(paused, [false, false, true, true]);
        assert!(requested.is_put_off(&new) && !requested.is_put_off(&replies[0]));
        // It was under way on the last of these connections.
        requested.granted(&new);
        assert!(!requested.is_put_off(&filter("other")) && requested.paused_until().is_none());
    }

    #[test]
    fn what_was_granted_before_is_asked_for_in_a_pause_and_what_may_be_bad_last() {
        let (mut requested, now) = (Requested::default(), Instant::now());
        requested.want([(filter("z"), Qos::AtMostOnce)].into());
        requested.want(["a", "bad", "z"].map(|text| (filter(text), Qos::AtLeastOnce)).into());
        requested.granted(&filter("a"));
        for _ in 0..2 {
            assert_eq!(requested.ended(&[filter("bad")], false, now), None);
        }
        let paused = requested.ended(&[filter("bad")], false, now);
        assert_eq!(paused, Some(Paused { filter: filter("bad"), ends: 3, wait: PAUSE }));
        assert_eq!(["a", "bad", "z"].map(|text| requested.is_put_off(&filter(text))), [false, true, true]);
        assert!(requested.rank(&filter("z")) < requested.rank(&filter("bad")));
        requested.look(now + PAUSE);
        assert!(!requested.is_put_off(&filter("z")) && requested.is_careful());
        requested.look(now + REMEMBERED);
        assert!(!requested.is_careful());
    }
}
