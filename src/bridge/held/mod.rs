//! What waits in a rule with `every`, `on_change` or `batch`. Pure: no I/O, no clock.
//!
//! A message goes through these in that order: of each topic the newest, when its time has come; if it says something new;
//! together with others. Until it is handed over it is here, and if that takes longer than a moment, on the disk, too, so that
//! the broker can be told that it is safe.

mod disk;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::carry;
use super::cause::Cause;
use crate::batch::{Batch, Element};
use crate::config;
use crate::message::{AckToken, Outbound, Topic};
use crate::store::backlog::ENTRY_OVERHEAD;
use crate::store::{Accepted, QueueState};
use disk::{Disk, OnDisk};
use seen::Seen;

/// The memory that what waits in one rule may take, in bytes. Beyond it, what has waited longest goes before its time: nothing is
/// lost, and nothing else held up.
const MEMORY: usize = 4 * 1024 * 1024;

/// What can be handed over: one message, or an array of several.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ready {
    pub(super) message: Outbound,
    /// What it is made of, for [`Held::settled`].
    pub(super) places: Vec<u64>,
}

/// A message.
#[derive(Debug)]
struct Entry {
    message: Outbound,
    at: Timestamp,
    accepted: Accepted,
    token: Option<AckToken>,
    disk: OnDisk,
    /// When it has to be on the disk, if somebody waits for that.
    due: Instant,
    /// It was handed over.
    is_out: bool,
    /// Since it was, the connection on which it came has ended: the broker sends it again, unless it is on the disk.
    comes_again: bool,
}

impl Entry {
    fn cost(&self) -> usize {
        self.message.size() + ENTRY_OVERHEAD as usize
    }
}

/// What waits of one topic.
#[derive(Debug, Default)]
struct Waiting {
    /// When the last one went, with `every`.
    went: Option<Instant>,
    /// The newest, until its time comes.
    newest: Option<u64>,
    /// The elements of the next array, in their order, and when the first of them came.
    batch: Vec<u64>,
    batch_since: Option<Instant>,
    /// What [`Held::times`] has for it.
    time: Option<Instant>,
}

/// What waits in one rule, by topics of the other side.
#[derive(Debug)]
pub(super) struct Held {
    every: Option<Duration>,
    on_change: bool,
    batch: Option<config::Batch>,
    entries: BTreeMap<u64, Entry>,
    topics: HashMap<Topic, Waiting>,
    /// When something is to be done for a topic.
    times: BTreeSet<(Instant, Topic)>,
    seen: Seen,
    memory: usize,
    next: u64,
    ready: Vec<Ready>,
    done: Vec<AckToken>,
    dropped: Vec<Cause>,
    accepted: u64,
    went_early: u64,
    disk: Disk,
}

impl Held {
    /// What waits, with what is at its `place` on the disk. `first` is greater than any place that was given out before, should the
    /// disk not know.
    pub(super) fn new(rule: &config::Up, place: QueueState, first: u64) -> Held {
        Held {
            every: rule.every,
            on_change: rule.on_change,
            batch: rule.batch,
            entries: BTreeMap::new(),
            topics: HashMap::new(),
            times: BTreeSet::new(),
            seen: Seen::default(),
            memory: 0,
            next: place.stored.last.map_or(first, |last| first.max(last + 1)),
            ready: Vec::new(),
            done: Vec::new(),
            dropped: Vec::new(),
            accepted: 0,
            went_early: 0,
            disk: Disk::new(place),
        }
    }

    /// The rule says something else from now on.
    pub(super) fn reconfigure(&mut self, rule: &config::Up, now: Instant) {
        (self.every, self.on_change, self.batch) = (rule.every, rule.on_change, rule.batch);
        for topic in self.topics.keys().cloned().collect::<Vec<_>>() {
            self.look_at(&topic, now);
        }
        self.advance(now);
    }

    /// A message that the broker has sent, on its way to the other side. `token` is given back once it is safe or given up.
    pub(super) fn arrive(
        &mut self,
        message: Outbound,
        token: Option<AckToken>,
        at: Timestamp,
        accepted: Accepted,
        now: Instant,
    ) {
        let entry = Entry {
            message,
            at,
            accepted,
            token,
            disk: OnDisk::No,
            due: now + disk::HELD,
            is_out: false,
            comes_again: false,
        };
        let place = self.next;
        self.next += 1;
        self.disk.expect(entry.due);
        self.add(place, entry, now);
        self.hurry_if_many_wait();
        self.advance(now);
    }

    fn add(&mut self, place: u64, entry: Entry, now: Instant) {
        let topic = entry.message.topic.clone();
        self.memory += entry.cost();
        self.entries.insert(place, entry);
        if self.every.is_none() {
            self.after_every(place, &topic, now);
            return;
        }
        let waiting = self.topics.entry(topic.clone()).or_default();
        let (older, newer) = match waiting.newest {
            // One from the disk may be older than what has come meanwhile.
            Some(newest) if newest > place => (Some(place), newest),
            older => (older, place),
        };
        waiting.newest = Some(newer);
        if let Some(older) = older {
            self.give_up(older, Cause::Superseded);
        }
        self.look_at(&topic, now);
    }

    /// A message has waited as long as `every` wants, or needn't.
    fn after_every(&mut self, place: u64, topic: &Topic, now: Instant) -> bool {
        let Some(entry) = self.entries.get(&place) else { return false };
        if self.on_change && !self.seen.is_new(topic, &entry.message.payload) {
            self.give_up(place, Cause::Unchanged);
            return false;
        }
        self.accepted += 1;
        match self.batch {
            Some(batch) => self.add_to_batch(place, topic, batch, now),
            None => self.hand_over(place),
        }
        true
    }

    fn add_to_batch(&mut self, place: u64, topic: &Topic, batch: config::Batch, now: Instant) {
        let waiting = self.topics.entry(topic.clone()).or_default();
        let at = waiting.batch.partition_point(|other| *other < place);
        waiting.batch.insert(at, place);
        waiting.batch_since.get_or_insert(now);
        if waiting.batch.len() >= batch.max {
            self.send_batch(topic, now);
        }
        self.look_at(topic, now);
    }

    /// Hands over what has gathered for a topic: as one array, or as several where one would be too large. What can't be in an array
    /// goes by itself, in its turn.
    fn send_batch(&mut self, topic: &Topic, now: Instant) {
        let Some(waiting) = self.topics.get_mut(topic) else { return };
        waiting.batch_since = None;
        let places = std::mem::take(&mut waiting.batch);
        let Some(config) = self.batch else { return places.into_iter().for_each(|place| self.hand_over(place)) };
        let (mut array, mut members) = (Batch::new(config), Vec::new());
        for place in places {
            let Some(entry) = self.entries.get(&place) else { continue };
            let payload = entry.message.payload.clone();
            // An empty retained message removes what is retained; within an array it would do nothing.
            let is_removal = entry.message.retain && payload.is_empty();
            let Some(element) = Element::new(&payload).ok().filter(|_| !is_removal) else {
                self.hand_over_array(&mut array, &mut members);
                self.hand_over(place);
                continue;
            };
            if !array.has_room_for(&element) {
                self.hand_over_array(&mut array, &mut members);
            }
            array.push(&element, now);
            members.push(place);
        }
        self.hand_over_array(&mut array, &mut members);
    }

    fn hand_over_array(&mut self, array: &mut Batch, members: &mut Vec<u64>) {
        let (places, payload) = (std::mem::take(members), array.take());
        let first = places.first().and_then(|place| self.entries.get(place));
        let (Some(payload), Some(first)) = (payload, first) else { return };
        let all = places.iter().filter_map(|place| self.entries.get(place)?.message.properties.as_ref());
        let message =
            Outbound { payload, properties: array.properties(carry::of_several(all)), ..first.message.clone() };
        self.out(message, places);
    }

    fn hand_over(&mut self, place: u64) {
        if let Some(entry) = self.entries.get(&place) {
            self.out(entry.message.clone(), vec![place]);
        }
    }

    fn out(&mut self, message: Outbound, places: Vec<u64>) {
        for place in &places {
            if let Some(entry) = self.entries.get_mut(place) {
                entry.is_out = true;
            }
        }
        self.ready.push(Ready { message, places });
    }

    /// When something is to be done for a topic, which has changed.
    fn look_at(&mut self, topic: &Topic, now: Instant) {
        let (every, batch) = (self.every, self.batch);
        let Some(waiting) = self.topics.get_mut(topic) else { return };
        let next = waiting.went.map(|went| went + every.unwrap_or(Duration::ZERO));
        let newest = waiting.newest.map(|_| next.unwrap_or(now));
        let array = waiting.batch_since.map(|since| since + batch.map_or(Duration::ZERO, |batch| batch.within));
        // A topic of which nothing waits is forgotten once it may go again.
        let time = [newest, array].into_iter().flatten().min().or(next);
        if waiting.time == time {
            return;
        }
        let before = std::mem::replace(&mut waiting.time, time);
        if let Some(before) = before {
            self.times.remove(&(before, topic.clone()));
        }
        match time {
            Some(time) => drop(self.times.insert((time, topic.clone()))),
            None => drop(self.topics.remove(topic)),
        }
    }

    /// Does what is due.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some((time, topic)) = self.times.first().cloned()
            && (time <= now || self.is_over_memory())
        {
            if time > now {
                self.went_early += 1;
            }
            self.let_go(&topic, now);
        }
    }

    /// Whether what could still be handed over takes too much memory.
    fn is_over_memory(&self) -> bool {
        self.memory > MEMORY
            && self.topics.values().any(|waiting| waiting.newest.is_some() || waiting.batch_since.is_some())
    }

    /// The time of a topic has come.
    fn let_go(&mut self, topic: &Topic, now: Instant) {
        let Some(waiting) = self.topics.get_mut(topic) else { return };
        let newest = waiting.newest.take();
        match newest {
            Some(newest) => {
                if self.after_every(newest, topic, now)
                    && let Some(waiting) = self.topics.get_mut(topic)
                {
                    waiting.went = Some(now);
                }
            }
            None if waiting.batch_since.is_some() => self.send_batch(topic, now),
            None => waiting.went = None,
        }
        self.look_at(topic, now);
    }

    fn give_up(&mut self, place: u64, cause: Cause) {
        self.dropped.push(cause);
        self.forget(place);
    }

    /// It is done: whoever waits for that is told, and the disk needn't keep it any more.
    fn forget(&mut self, place: u64) {
        let Some(entry) = self.entries.remove(&place) else { return };
        self.memory -= entry.cost();
        self.done.extend(entry.token);
        self.disk.finished(place, entry.disk);
    }

    /// What was handed over last of a topic may not have reached the other side: the same once more is news there.
    pub(super) fn did_not_arrive(&mut self, topic: &Topic) {
        self.seen.forget(topic);
    }

    /// What was handed over is safe elsewhere, or was given up there.
    pub(super) fn settled(&mut self, places: &[u64], now: Instant) {
        places.iter().for_each(|place| self.forget(*place));
        self.disk.note_finished(now);
    }

    /// The broker sends again what it has no PUBACK for: what isn't on the disk comes again, and what was given to nobody needn't
    /// wait for that.
    pub(super) fn link_down(&mut self, now: Instant) {
        let mut again = Vec::new();
        for (place, entry) in &mut self.entries {
            if entry.token.take().is_some() && entry.disk == OnDisk::No {
                match entry.is_out {
                    true => entry.comes_again = true,
                    false => again.push((*place, entry.message.topic.clone())),
                }
            }
        }
        for (place, topic) in again {
            if let Some(waiting) = self.topics.get_mut(&topic) {
                waiting.newest.take_if(|newest| *newest == place);
                waiting.batch.retain(|other| *other != place);
                waiting.batch_since.take_if(|_| waiting.batch.is_empty());
            }
            self.forget(place);
            self.look_at(&topic, now);
        }
    }

    /// Whether the broker sends all of these again, of which none is on the disk, nor on its way there.
    pub(super) fn come_again(&self, places: &[u64]) -> bool {
        places
            .iter()
            .all(|place| self.entries.get(place).is_none_or(|entry| entry.comes_again && entry.disk == OnDisk::No))
    }

    /// What may be handed over, since the last call.
    pub(super) fn take_ready(&mut self) -> Vec<Ready> {
        std::mem::take(&mut self.ready)
    }

    /// What the broker may be told of, since the last call.
    pub(super) fn take_done(&mut self) -> Vec<AckToken> {
        std::mem::take(&mut self.done)
    }

    /// What won't be handed over, since the last call.
    pub(super) fn take_dropped(&mut self) -> Vec<Cause> {
        std::mem::take(&mut self.dropped)
    }

    /// How many go on to the other side, as it is certain by now, since the last call.
    pub(super) fn take_accepted(&mut self) -> u64 {
        std::mem::take(&mut self.accepted)
    }

    /// How often something went before its time because too much waited, since the last call.
    pub(super) fn take_early(&mut self) -> u64 {
        std::mem::take(&mut self.went_early)
    }

    /// When to call [`Held::advance`].
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.times.first().map(|(time, _)| *time)
    }

    /// Messages, those that were handed over and aren't safe included.
    pub(super) fn len(&self) -> u64 {
        self.entries.len() as u64
    }
}
