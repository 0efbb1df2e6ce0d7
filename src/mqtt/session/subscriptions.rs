//! What we are subscribed to, what we want to be, and what is on its way between the two.

mod plan;
mod refusals;
mod requested;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::patience::Awaited;
use crate::message::{Qos, TopicFilter};
use crate::mqtt::reason::Reason;
use crate::mqtt::wire::{PacketIdentifier, Request};
pub(crate) use refusals::PutOff;
use refusals::Refused;
pub(crate) use requested::Paused;
use wishes::{Turn, Wishes};

/// What is known of the server's session from an earlier process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// The filters it holds, with the QoS that was asked for.
    pub(crate) filters: BTreeMap<TopicFilter, Qos>,
    /// The subscription identifiers that some of them have.
    pub(crate) identifiers: BTreeMap<TopicFilter, u32>,
    /// Of those, the ones that it may hold or not.
    pub(crate) doubtful: BTreeSet<TopicFilter>,
    /// Nothing else can have changed since. If not, each of them may be there or not.
    pub(crate) sure: bool,
}

/// The filters of the session.
#[derive(Debug)]
pub(super) struct Subscriptions {
    /// The most that one session may hold.
    max: usize,
    wanted: BTreeMap<TopicFilter, Qos>,
    /// By whom.
    wishes: Wishes,
    /// In the server's session, with the QoS that was asked for.
    standing: BTreeMap<TopicFilter, Qos>,
    /// In the server's session or not, nobody knows.
    doubtful: BTreeSet<TopicFilter>,
    /// Granted with QoS 0 instead of 1.
    downgraded: BTreeSet<TopicFilter>,
    refused: BTreeMap<TopicFilter, Refused>,
    /// How often in a row these were refused for what may pass.
    refused_times: BTreeMap<TopicFilter, u32>,
    /// The server has granted these before, as far as is known.
    granted: BTreeSet<TopicFilter>,
    /// In the server's session, and not to be asked for again on this connection: the server says that it can't.
    unavailable: BTreeSet<TopicFilter>,
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

/// A SUBSCRIBE or UNSUBSCRIBE without answer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: PacketIdentifier,
    pub(super) request: Request,
    sent: Awaited,
    /// It was sent again (MQTT 3.1.1).
    is_overdue: bool,
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
    pub(super) fn new(wanted: BTreeMap<TopicFilter, Qos>, remembered: Remembered, max: usize) -> Subscriptions {
        let mut subscriptions = Subscriptions {
            max,
            wishes: Wishes { first: wanted.clone(), ..Wishes::default() },
            wanted,
            standing: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            downgraded: BTreeSet::new(),
            refused: BTreeMap::new(),
            refused_times: BTreeMap::new(),
            granted: BTreeSet::new(),
            unavailable: BTreeSet::new(),
            pending: Vec::new(),
            identifiers: Identifiers::default(),
        };
        subscriptions.begin_another(remembered);
        subscriptions
    }

    /// The most that one session may hold, from now on.
    pub(super) fn bound(&mut self, max: usize) {
        self.max = max;
    }

    /// Whether what stands still does, nobody knows: it is asked for again.
    pub(super) fn doubt(&mut self) {
        self.doubtful.extend(std::mem::take(&mut self.standing).into_keys());
    }

    /// From the next connection on it is another session, of which this is remembered.
    pub(super) fn begin_another(&mut self, remembered: Remembered) {
        self.forget();
        self.granted = remembered.filters.keys().cloned().collect();
        self.refused.clear();
        self.wishes.requested.begin_anew();
        self.pending.clear();
        self.identifiers.last = remembered.identifiers.values().copied().max().unwrap_or(0);
        self.identifiers.standing = remembered.identifiers;
        let is_doubtful = |filter: &TopicFilter| !remembered.sure || remembered.doubtful.contains(filter);
        let (doubtful, standing) = remembered.filters.into_iter().partition(|(filter, _)| is_doubtful(filter));
        self.standing = standing;
        self.doubtful.extend(BTreeMap::into_keys(doubtful));
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
        self.wishes.first = wanted;
        self.wanted = self.wishes.all();
        self.granted.retain(|filter| self.wanted.contains_key(filter));
        self.downgraded.clear();
        self.refused.retain(|_, refused| *refused == Refused::OnThisConnection);
        self.wishes.requested.begin_anew();
    }

    /// These are wanted beside the others from now on, with QoS 1. What was refused of the others stays refused; what is wanted anew
    /// is asked for.
    pub(super) fn want_last(&mut self, groups: Vec<Vec<TopicFilter>>) {
        let old = std::mem::replace(&mut self.wishes.groups, groups);
        let is_new = |filter: &TopicFilter| !old.iter().any(|group| group.contains(filter));
        for filter in self.wishes.groups.iter().flatten().filter(|filter| is_new(filter)) {
            if !self.wishes.first.contains_key(filter) && self.refused.get(filter) != Some(&Refused::OnThisConnection) {
                self.refused.remove(filter);
            }
        }
        self.wanted = self.wishes.all();
    }

    /// These are wanted beside the others from now on. What was refused stays refused, wanted meanwhile or not.
    pub(super) fn want_requested(&mut self, requested: BTreeMap<TopicFilter, Qos>) {
        self.wishes.requested.want(requested);
        self.wanted = self.wishes.all();
        self.bound_refusals();
    }

    fn asked(&self) -> BTreeSet<&TopicFilter> {
        self.pending.iter().flat_map(|pending| pending.request.filters()).collect()
    }

    pub(super) fn requested(&mut self, id: PacketIdentifier, request: Request, sent: Awaited) {
        if let Request::Subscribe(_, Some(identifier)) = request {
            self.identifiers.last = self.identifiers.last.max(identifier);
        }
        self.pending.push(Pending { id, request, sent, is_overdue: false });
    }

    /// What ends at `place` has been written or answered ([`Awaited::moved`]).
    pub(super) fn moved(&mut self, place: u64, now: Instant) {
        self.pending.iter_mut().for_each(|pending| pending.sent.moved(place, now));
    }

    pub(super) fn uses(&self, id: PacketIdentifier) -> bool {
        self.pending.iter().any(|pending| pending.id == id)
    }

    /// Whether a SUBSCRIBE has a subscription identifier.
    pub(super) fn has_identifier(&self, id: PacketIdentifier) -> bool {
        let is_it = |pending: &Pending| pending.id == id && matches!(pending.request, Request::Subscribe(_, Some(_)));
        self.pending.iter().any(is_it)
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
                    self.wishes.requested.granted(&filter);
                    self.refused_times.remove(&filter);
                    self.granted.insert(filter.clone());
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
                    let wait = self.ask_again_after(&filter, Some(reason.code));
                    self.refused.insert(filter.clone(), Refused::Until(now + wait));
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

    /// Nothing is being asked: the filters that stand, with the QoS that was asked for.
    pub(super) fn settled(&self) -> Option<&BTreeMap<TopicFilter, Qos>> {
        self.pending.is_empty().then_some(&self.standing)
    }

    /// Whether a request is without answer.
    pub(super) fn is_asking(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether a SUBSCRIBE is without answer for a filter that is asked for first and that the session doesn't hold yet.
    pub(super) fn is_subscribing(&self) -> bool {
        let is_new =
            |filter: &TopicFilter| self.wishes.turn_of(filter) == Turn::First && !self.standing.contains_key(filter);
        self.unanswered().any(is_new)
    }

    /// When the first request without answer is overdue.
    pub(super) fn deadline(&self, ack_timeout: Duration) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.sent.since() + ack_timeout).min()
    }

    /// The requests that are overdue, to be sent again with the same packet identifier.
    pub(super) fn overdue(&mut self, now: Instant, ack_timeout: Duration) -> impl Iterator<Item = &Pending> {
        self.pending.iter_mut().filter(move |pending| pending.sent.since() + ack_timeout <= now).map(move |pending| {
            pending.sent = Awaited::new(pending.sent.end(), now);
            pending.is_overdue = true;
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
