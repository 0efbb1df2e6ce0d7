//! What we are subscribed to, what we want to be, and what is on its way between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::PacketIdentifier;
use super::patience::Awaited;
use crate::limits::{MAX_FILTERS_PER_SUBSCRIBE, MAX_SUBSCRIPTIONS};
use crate::link::reason::{Reason, ReasonCode};
use crate::message::{Qos, Topic, TopicFilter};

/// A filter that the server refused is asked for again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(3600);

/// What is known of the server's session from an earlier process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// The filters it holds, with the QoS that was asked for.
    pub(crate) filters: BTreeMap<TopicFilter, Qos>,
    /// The subscription identifiers that some of them have.
    pub(crate) identifiers: BTreeMap<TopicFilter, u32>,
    /// Nothing can have changed since. If not, each of them may be there or not.
    pub(crate) sure: bool,
}

/// The filters of the session.
#[derive(Debug)]
pub(super) struct Subscriptions {
    wanted: BTreeMap<TopicFilter, Qos>,
    /// In the server's session, with the QoS that was asked for.
    standing: BTreeMap<TopicFilter, Qos>,
    /// In the server's session or not, nobody knows.
    doubtful: BTreeSet<TopicFilter>,
    /// Granted with QoS 0 instead of 1.
    downgraded: BTreeSet<TopicFilter>,
    refused: BTreeMap<TopicFilter, Refused>,
    pending: Vec<Pending>,
    identifiers: Identifiers,
}

/// Subscription identifiers (MQTT 5, 3.8.2.1.2) of filters that have topics in common with others, so that copies of a message can
/// be told from messages. The server keeps them with its session.
#[derive(Debug, Default)]
struct Identifiers {
    /// The server knows them.
    are_usable: bool,
    /// Those of filters in the server's session.
    standing: BTreeMap<TopicFilter, u32>,
    last: u32,
}

/// For how long a filter isn't asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// This server says that it can't.
    OnThisConnection,
    Until(Instant),
}

/// A SUBSCRIBE or UNSUBSCRIBE without answer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: PacketIdentifier,
    pub(super) request: Request,
    sent: Awaited,
}

/// What is asked of the server in one packet, at most [`MAX_FILTERS_PER_SUBSCRIBE`] filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// With the identifier that all of them get.
    Subscribe(Vec<(TopicFilter, Qos)>, Option<u32>),
    Unsubscribe(Vec<TopicFilter>),
}

impl Request {
    fn filters(&self) -> Box<dyn Iterator<Item = &TopicFilter> + '_> {
        match self {
            Request::Subscribe(filters, _) => Box::new(filters.iter().map(|(filter, _)| filter)),
            Request::Unsubscribe(filters) => Box::new(filters.iter()),
        }
    }
}

/// What the server said about one filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Granted,
    /// The server grants less than was asked for: QoS 0 instead of 1.
    Downgraded,
    Refused(Reason),
}

impl Subscriptions {
    pub(super) fn new(wanted: BTreeMap<TopicFilter, Qos>, remembered: Remembered) -> Subscriptions {
        let mut subscriptions = Subscriptions {
            wanted,
            standing: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            downgraded: BTreeSet::new(),
            refused: BTreeMap::new(),
            pending: Vec::new(),
            identifiers: Identifiers::default(),
        };
        subscriptions.begin_another(remembered);
        subscriptions
    }

    /// From the next connection on it is another session, of which this is remembered.
    pub(super) fn begin_another(&mut self, remembered: Remembered) {
        self.forget();
        self.refused.clear();
        self.pending.clear();
        self.identifiers.last = remembered.identifiers.values().copied().max().unwrap_or(0);
        self.identifiers.standing = remembered.identifiers;
        match remembered.sure {
            true => self.standing = remembered.filters,
            false => self.doubtful.extend(remembered.filters.into_keys()),
        }
    }

    /// The server's session holds nothing.
    fn forget(&mut self) {
        self.standing.clear();
        self.doubtful.clear();
        self.downgraded.clear();
        self.identifiers.standing.clear();
        self.identifiers.last = 0;
    }

    /// A connection is established, with a server that knows subscription identifiers or not. What its session doesn't hold has to
    /// be asked for.
    pub(super) fn restart(&mut self, session_present: bool, has_identifiers: bool) {
        self.identifiers.are_usable = has_identifiers;
        // Whether what wasn't answered has happened, nobody knows.
        for filter in self.pending.drain(..).flat_map(|pending| pending.request.filters().cloned().collect::<Vec<_>>())
        {
            self.standing.remove(&filter);
            self.doubtful.insert(filter);
        }
        self.refused.retain(|_, refused| *refused != Refused::OnThisConnection);
        if !session_present {
            self.forget();
        }
    }

    /// Other filters are wanted from now on. What was refused is asked for once more.
    pub(super) fn want(&mut self, wanted: BTreeMap<TopicFilter, Qos>) {
        self.wanted = wanted;
        self.downgraded.clear();
        self.refused.retain(|_, refused| *refused == Refused::OnThisConnection);
    }

    /// What to ask for next in one packet, without the filters that are `tried_alone`.
    pub(super) fn next_request(&self, tried_alone: impl Fn(&TopicFilter) -> bool) -> Option<Request> {
        let asked = self.asked();
        let missing: Vec<(&TopicFilter, Qos)> = self.missing(&tried_alone).collect();
        let unneeded = self.standing.keys().chain(&self.doubtful).filter(|filter| self.is_unneeded(filter, &missing));
        let unneeded: BTreeSet<&TopicFilter> = unneeded.filter(|filter| !asked.contains(filter)).collect();
        if !unneeded.is_empty() {
            let first = unneeded.into_iter().take(MAX_FILTERS_PER_SUBSCRIBE).cloned();
            return Some(Request::Unsubscribe(first.collect()));
        }
        let mut first: Vec<(TopicFilter, Qos)> = Vec::new();
        for (filter, qos) in missing.into_iter().filter(|(filter, _)| !tried_alone(filter)) {
            // A packet has one identifier for all its filters.
            if self.needs_identifier(filter) && first.is_empty() {
                return Some(self.subscribe_with_identifier(filter, qos));
            }
            if !self.needs_identifier(filter) && first.len() < MAX_FILTERS_PER_SUBSCRIBE {
                first.push((filter.clone(), qos));
            }
        }
        (!first.is_empty()).then_some(Request::Subscribe(first, None))
    }

    /// What to ask for next in a packet with one filter.
    pub(super) fn next_request_alone(&self, tried_alone: impl Fn(&TopicFilter) -> bool) -> Option<Request> {
        let (filter, qos) = self.missing(&tried_alone).next()?;
        Some(match self.needs_identifier(filter) {
            true => self.subscribe_with_identifier(filter, qos),
            false => Request::Subscribe(vec![(filter.clone(), qos)], None),
        })
    }

    fn subscribe_with_identifier(&self, filter: &TopicFilter, qos: Qos) -> Request {
        let identifier = self.identifiers.standing.get(filter).copied().unwrap_or(self.identifiers.last + 1);
        Request::Subscribe(vec![(filter.clone(), qos)], Some(identifier))
    }

    /// Whether a filter of the server's session is to be taken back, while these are `missing` there. What covers one of those stays
    /// until that stands, or what comes meanwhile would be lost; unless there is no room for both.
    fn is_unneeded(&self, filter: &TopicFilter, missing: &[(&TopicFilter, Qos)]) -> bool {
        if self.wanted.contains_key(filter) {
            return self.is_covered(filter, |other| self.stands(other));
        }
        let has_room = self.standing.len() + missing.len() + self.asked().len() <= MAX_SUBSCRIPTIONS as usize;
        let is_asked = |other: &TopicFilter| self.asked().contains(other);
        let covers_what_comes = self.wanted.keys().any(|other| {
            filter.covers(other) && (is_asked(other) || missing.iter().any(|(missing, _)| *missing == other))
        });
        !(has_room && covers_what_comes)
    }

    /// Whether a wanted filter needs no subscription, because one of the others that `count` has all its topics, with at least the
    /// same QoS.
    fn is_covered(&self, filter: &TopicFilter, counts: impl Fn(&TopicFilter) -> bool) -> bool {
        let Some(qos) = self.qos_of(filter) else { return false };
        let others = self.wanted.keys().filter(|other| *other != filter && other.covers(filter));
        others.filter(|other| self.qos_of(other) >= Some(qos)).any(counts)
    }

    /// The QoS with which a wanted filter is granted, as far as that is known.
    fn qos_of(&self, filter: &TopicFilter) -> Option<Qos> {
        let qos = self.wanted.get(filter).copied()?;
        Some(if self.downgraded.contains(filter) { Qos::AtMostOnce } else { qos })
    }

    fn stands(&self, filter: &TopicFilter) -> bool {
        self.standing.contains_key(filter) && self.standing.get(filter) == self.wanted.get(filter)
    }

    /// Whether a wanted filter needs an identifier: another that is needed has topics in common with it.
    fn needs_identifier(&self, filter: &TopicFilter) -> bool {
        let is_needed = |other: &TopicFilter| !self.is_covered(other, |cover| !self.refused.contains_key(cover));
        self.identifiers.are_usable
            && self.wanted.keys().any(|other| other != filter && other.overlaps(filter) && is_needed(other))
    }

    /// The identifiers of the subscriptions to which a message on `topic` belongs, if there is more than one.
    pub(super) fn identifiers_for(&self, topic: &Topic) -> Vec<u32> {
        let matching =
            self.identifiers.standing.iter().filter(|(filter, _)| !filter.is_shared() && filter.matches(topic));
        let identifiers: Vec<u32> = matching.map(|(_, identifier)| *identifier).collect();
        if identifiers.len() > 1 { identifiers } else { Vec::new() }
    }

    /// The identifiers that the server's session knows, for [`Remembered::identifiers`].
    pub(super) fn identifiers(&self) -> &BTreeMap<TopicFilter, u32> {
        &self.identifiers.standing
    }

    /// The server says that it doesn't know subscription identifiers: until the next connection it is asked without.
    pub(super) fn give_up_identifiers(&mut self) {
        self.identifiers.are_usable = false;
    }

    fn asked(&self) -> BTreeSet<&TopicFilter> {
        self.pending.iter().flat_map(|pending| pending.request.filters()).collect()
    }

    /// Filters that are needed, don't stand as they should, and aren't being asked for. One that is `tried_alone` may fail, so that
    /// others aren't left to it.
    fn missing(&self, tried_alone: &impl Fn(&TopicFilter) -> bool) -> impl Iterator<Item = (&TopicFilter, Qos)> {
        let asked = self.asked();
        self.wanted.iter().map(|(filter, qos)| (filter, *qos)).filter(move |(filter, _)| {
            let lacks = !self.stands(filter)
                || (self.needs_identifier(filter) && !self.identifiers.standing.contains_key(*filter));
            let will_stand =
                |other: &TopicFilter| self.stands(other) || !(self.refused.contains_key(other) || tried_alone(other));
            lacks
                && !self.refused.contains_key(*filter)
                && !asked.contains(filter)
                && !self.is_covered(filter, will_stand)
        })
    }

    pub(super) fn requested(&mut self, id: PacketIdentifier, request: Request, sent: Awaited) {
        if let Request::Subscribe(_, Some(identifier)) = request {
            self.identifiers.last = self.identifiers.last.max(identifier);
        }
        self.pending.push(Pending { id, request, sent });
    }

    /// What ends at `place` has been written or answered ([`Awaited::moved`]).
    pub(super) fn moved(&mut self, place: u64, now: Instant) {
        self.pending.iter_mut().for_each(|pending| pending.sent.moved(place, now));
    }

    pub(super) fn uses(&self, id: PacketIdentifier) -> bool {
        self.pending.iter().any(|pending| pending.id == id)
    }

    /// SUBACK. Returns each filter with what became of it; `None` if it doesn't answer what we asked, filter by filter
    /// (`MQTT-3.8.4-5`).
    pub(super) fn answered(
        &mut self,
        id: PacketIdentifier,
        granted: Vec<Result<Qos, Reason>>,
        now: Instant,
    ) -> Option<Vec<(TopicFilter, Answer)>> {
        let (asked, identifier) = self.take(id, |request| match request {
            Request::Subscribe(filters, identifier) if filters.len() == granted.len() => {
                Some((filters.clone(), *identifier))
            }
            _ => None,
        })?;
        let answers = asked.into_iter().zip(granted).map(|((filter, wanted), granted)| {
            self.doubtful.remove(&filter);
            self.identifiers.standing.remove(&filter);
            match granted {
                Ok(qos) => {
                    self.standing.insert(filter.clone(), wanted);
                    self.identifiers.standing.extend(identifier.map(|identifier| (filter.clone(), identifier)));
                    match qos < wanted {
                        true => {
                            self.downgraded.insert(filter.clone());
                            (filter, Answer::Downgraded)
                        }
                        false => {
                            self.downgraded.remove(&filter);
                            (filter, Answer::Granted)
                        }
                    }
                }
                Err(reason) => {
                    self.standing.remove(&filter);
                    self.refused.insert(filter.clone(), Refused::Until(now + ASK_AGAIN));
                    (filter, Answer::Refused(reason))
                }
            }
        });
        Some(answers.collect())
    }

    /// A SUBSCRIBE is answered in a way that says nothing of its filters: they are to be asked for once more.
    pub(super) fn unanswered_again(&mut self, id: PacketIdentifier) {
        self.pending.retain(|pending| pending.id != id);
    }

    /// UNSUBACK: whatever it says, the server has no such subscription now, or never will let go of it. `None` if it doesn't
    /// answer what we asked.
    pub(super) fn unsubscribed(&mut self, id: PacketIdentifier) -> Option<()> {
        let gone = self.take(id, |request| match request {
            Request::Unsubscribe(filters) => Some(filters.clone()),
            Request::Subscribe(..) => None,
        })?;
        for filter in gone {
            self.standing.remove(&filter);
            self.identifiers.standing.remove(&filter);
            self.doubtful.remove(&filter);
        }
        Some(())
    }

    fn take<T>(&mut self, id: PacketIdentifier, fits: impl Fn(&Request) -> Option<T>) -> Option<T> {
        let index = self.pending.iter().position(|pending| pending.id == id)?;
        let taken = fits(&self.pending[index].request)?;
        self.pending.swap_remove(index);
        Some(taken)
    }

    /// Leaves out, on this connection, the filters for which `refusal` has a reason; returns them with it.
    pub(super) fn leave_out(
        &mut self,
        refusal: impl Fn(&TopicFilter) -> Option<ReasonCode>,
    ) -> Vec<(TopicFilter, Answer)> {
        let missing = self.wanted.keys().filter(|filter| !self.standing.contains_key(*filter));
        let refused: Vec<_> = missing.filter_map(|filter| Some((filter.clone(), refusal(filter)?))).collect();
        self.refused.extend(refused.iter().map(|(filter, _)| (filter.clone(), Refused::OnThisConnection)));
        refused.into_iter().map(|(filter, code)| (filter, Answer::Refused(Reason::new(code.0, None)))).collect()
    }

    /// The server closes the connection on this filter.
    pub(super) fn refuse(&mut self, filter: TopicFilter, now: Instant) {
        self.standing.remove(&filter);
        self.identifiers.standing.remove(&filter);
        self.refused.insert(filter, Refused::Until(now + ASK_AGAIN));
    }

    /// Whether a filter isn't asked for because the server refuses it.
    pub(super) fn is_refused(&self, filter: &TopicFilter) -> bool {
        self.refused.contains_key(filter) && self.wanted.contains_key(filter)
    }

    /// Nothing is being asked: the filters that stand, with the QoS that was asked for.
    pub(super) fn settled(&self) -> Option<&BTreeMap<TopicFilter, Qos>> {
        self.pending.is_empty().then_some(&self.standing)
    }

    /// Whether a request is without answer.
    pub(super) fn is_asking(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether a SUBSCRIBE is without answer.
    pub(super) fn is_subscribing(&self) -> bool {
        self.pending.iter().any(|pending| matches!(pending.request, Request::Subscribe(..)))
    }

    /// When the first request without answer is overdue.
    pub(super) fn deadline(&self, ack_timeout: Duration) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.sent.since() + ack_timeout).min()
    }

    /// When a filter that was refused is to be asked for again.
    pub(super) fn ask_again_at(&self) -> Option<Instant> {
        let until = |refused: &Refused| if let Refused::Until(until) = refused { Some(*until) } else { None };
        self.refused.values().filter_map(until).min()
    }

    /// Forgets the refusals whose time is over.
    pub(super) fn ask_again(&mut self, now: Instant) {
        self.refused.retain(|_, refused| !matches!(refused, Refused::Until(until) if *until <= now));
    }

    /// The requests that are overdue, to be sent again with the same packet identifier.
    pub(super) fn overdue(&mut self, now: Instant, ack_timeout: Duration) -> impl Iterator<Item = &Pending> {
        self.pending.iter_mut().filter(move |pending| pending.sent.since() + ack_timeout <= now).map(move |pending| {
            pending.sent = Awaited::new(pending.sent.end(), now);
            &*pending
        })
    }

    /// Filters asked for and not answered.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = &TopicFilter> {
        self.pending
            .iter()
            .flat_map(|pending| match &pending.request {
                Request::Subscribe(filters, _) => filters.as_slice(),
                Request::Unsubscribe(_) => &[],
            })
            .map(|(filter, _)| filter)
    }
}
