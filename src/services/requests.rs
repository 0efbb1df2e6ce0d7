//! The requests that have no answer yet, and the services that they are for. Pure: time is told, and what is random comes from a
//! seed.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;

use super::answer::{self, Answer, Rejection};
use super::availability::{Availability, TRY_AGAIN, Usable};
use super::event::{Counters, Event};
use super::outstanding::{Outstanding, State};
use super::request::{Correlation, Request, RequestId};
use super::{Asker, Service, retry};
use crate::message::{Outbound, Topic, TopicFilter};

/// How long an answer may take from when the request was sent.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// The most requests that are outstanding. Those who ask do one thing at a time: it is never reached.
pub(super) const MAX_OUTSTANDING: usize = 100;

/// What is asked of services.
///
/// # What goes in
///
/// | | |
/// |---|---|
/// | [`configure`](Requests::configure), [`reload`](Requests::reload) | which services there are; that what was refused may be allowed now |
/// | [`ask`](Requests::ask), [`withdraw`](Requests::withdraw) | a request; it isn't of interest any more |
/// | [`settled`](Requests::settled) | there is a connection, and nothing is being subscribed to; [`connection_lost`](Requests::connection_lost) when there is none any more |
/// | [`filter_refused`](Requests::filter_refused), [`filter_unanswered`](Requests::filter_unanswered), [`topic_refused`](Requests::topic_refused) | IoT Core refuses a filter; has no SUBACK for it; refuses PUBLISH packets to a topic |
/// | [`sent`](Requests::sent) | what [`sendable`](Requests::sendable) has named was handed to the session; [`returned`](Requests::returned): it waits again; [`not_taken`](Requests::not_taken): it is refused |
/// | [`received`](Requests::received) | a message to one of the filters |
/// | [`handle_timeout`](Requests::handle_timeout) | the instant of [`timeout`](Requests::timeout) is there |
///
/// # What comes out
///
/// After whatever went in: [`next_event`](Requests::next_event), [`sendable`](Requests::sendable), and
/// [`filters`](Requests::filters) if they [have changed](Requests::take_filters_changed).
#[derive(Debug)]
pub(crate) struct Requests {
    services: BTreeMap<Service, Usable>,
    outstanding: BTreeMap<RequestId, Outstanding>,
    /// With the services that they are of.
    events: VecDeque<(Service, Event)>,
    counters: BTreeMap<Service, Counters>,
    filters_changed: bool,
    last_id: u64,
    /// So that no answer to another life of the daemon has a token of this one.
    life: u64,
    last_attempt: u64,
    random: Rng,
}

impl Requests {
    /// Nothing is asked, and no service configured. `seed` is another at each start of the daemon.
    pub(crate) fn new(seed: u64) -> Requests {
        let mut random = Rng::with_seed(seed);
        Requests {
            services: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            events: VecDeque::new(),
            counters: BTreeMap::new(),
            filters_changed: false,
            last_id: 0,
            life: random.u64(..),
            last_attempt: 0,
            random,
        }
    }

    /// These services are configured from now on, with the filters that each needs. What is outstanding of others is dropped.
    pub(crate) fn configure(&mut self, services: BTreeMap<Service, Vec<TopicFilter>>, now: Instant) {
        let mut old = std::mem::take(&mut self.services);
        for (service, filters) in services {
            let usable = old.remove(&service).filter(|usable| usable.filters == filters).unwrap_or_else(|| {
                self.filters_changed = true;
                // Its topics may be others, too.
                self.outstanding.retain(|_, outstanding| outstanding.request.service() != service);
                Usable::new(filters, now)
            });
            self.services.insert(service, usable);
        }
        self.filters_changed |= !old.is_empty();
        self.outstanding.retain(|_, outstanding| self.services.contains_key(&outstanding.request.service()));
    }

    /// Whether no service is configured.
    pub(crate) fn is_idle(&self) -> bool {
        self.services.is_empty()
    }

    /// Whose message this is, if it is a service's.
    pub(crate) fn service_of(&self, topic: &Topic) -> Option<Service> {
        let is_its = |usable: &Usable| usable.filters.iter().any(|filter| filter.matches(topic));
        self.services.iter().find(|(_, usable)| is_its(usable)).map(|(service, _)| *service)
    }

    /// Somebody has changed something: what was refused of this one's services is tried again.
    pub(crate) fn reload(&mut self, asker: Asker, now: Instant) {
        self.try_again(|service, _| service.asker() == asker, now);
    }

    fn try_again(&mut self, is_due: impl Fn(Service, Instant) -> bool, now: Instant) {
        let refused = self.services.iter_mut();
        let due = refused.filter(|(service, usable)| usable.again_at().is_some_and(|at| is_due(**service, at)));
        for (_, usable) in due {
            usable.becomes(Availability::Waiting, now);
            self.filters_changed = true;
        }
    }

    /// Asks for something, as soon as that can be. `None`: the service isn't configured, or too much is asked for.
    pub(crate) fn ask(&mut self, request: Request) -> Option<RequestId> {
        if self.outstanding.len() >= MAX_OUTSTANDING || !self.services.contains_key(&request.service()) {
            return None;
        }
        self.last_id += 1;
        let id = RequestId::new(self.last_id);
        let (attempt, token) = self.attempt();
        let message = request.message(&token);
        let state = State::Queued;
        self.outstanding
            .insert(id, Outstanding { request, attempt, token, message, state, was_sent: false, failures: 0 });
        Some(id)
    }

    /// A request isn't of interest any more: it isn't sent again, and its answer is ignored.
    pub(crate) fn withdraw(&mut self, id: RequestId) {
        self.outstanding.remove(&id);
    }

    /// Whether no answer to it can come: it wasn't sent yet, or its last attempt has failed.
    pub(crate) fn is_unsent(&self, id: RequestId) -> bool {
        self.outstanding.get(&id).is_none_or(|outstanding| !outstanding.was_sent)
    }

    /// This one wants no answer that is outstanding, or was given and not taken.
    pub(crate) fn withdraw_all(&mut self, asker: Asker) {
        self.outstanding.retain(|_, outstanding| outstanding.request.service().asker() != asker);
        let is_answer = |event: &Event| matches!(event, Event::Answered(..) | Event::Delayed(..));
        self.events.retain(|(service, event)| service.asker() != asker || !is_answer(event));
    }

    /// Those of this one's services that can be used now.
    pub(crate) fn ready(&self, asker: Asker) -> impl Iterator<Item = Service> {
        let ready = self.services.iter().filter(move |(service, usable)| service.asker() == asker && usable.is_ready());
        ready.map(|(service, _)| *service)
    }

    /// There is a connection, and nothing is being asked of the server: these filters are in its session.
    pub(crate) fn settled<'a>(&mut self, standing: impl Iterator<Item = &'a TopicFilter> + Clone, now: Instant) {
        for (service, usable) in self.services.iter_mut().filter(|(_, usable)| !usable.is_refused()) {
            match usable.stands(standing.clone()) {
                true if usable.becomes(Availability::Ready, now) => {
                    self.events.push_back((*service, Event::Ready(*service)));
                }
                true => {}
                false => {
                    usable.becomes(Availability::Waiting, now);
                }
            }
        }
    }

    /// There is no connection any more: what has no answer is to be sent again on the next. It keeps its token, so that it doesn't
    /// matter to which copy the answer is.
    pub(crate) fn connection_lost(&mut self, now: Instant) {
        for usable in self.services.values_mut().filter(|usable| usable.is_ready()) {
            usable.becomes(Availability::Waiting, now);
        }
        self.outstanding.values_mut().for_each(Outstanding::queue_again);
    }

    /// IoT Core ends the connection for a filter, or answers it with a failure. Returns whose it is: that service is switched off.
    pub(crate) fn filter_refused(&mut self, filter: &TopicFilter, why: &str, now: Instant) -> Option<Service> {
        let service =
            self.services.iter().find(|(_, usable)| usable.filters.contains(filter)).map(|(service, _)| *service)?;
        self.switch_off(service, why, now);
        Some(service)
    }

    /// No SUBACK has come for a filter, and the connection is ended for it. Returns whose it is, if that has been so on several
    /// connections: that service is switched off, as each new connection would end likewise.
    pub(crate) fn filter_unanswered(&mut self, filter: &TopicFilter, why: &str, now: Instant) -> Option<Service> {
        let mut services = self.services.iter_mut();
        let (service, usable) = services.find(|(_, usable)| usable.filters.contains(filter))?;
        let service = usable.unanswered().then_some(*service)?;
        self.switch_off(service, why, now);
        Some(service)
    }

    /// IoT Core refuses what is published to topics that meet this: the services that have asked there are switched off, and returned.
    pub(crate) fn topic_refused(&mut self, is_met: impl Fn(&Topic) -> bool, why: &str, now: Instant) -> Vec<Service> {
        let refused =
            self.outstanding.values().filter(|outstanding| outstanding.was_sent && is_met(outstanding.request.topic()));
        let mut services: Vec<Service> = refused.map(|outstanding| outstanding.request.service()).collect();
        services.sort_unstable();
        services.dedup();
        services.iter().for_each(|service| self.switch_off(*service, why, now));
        services
    }

    fn switch_off(&mut self, service: Service, why: &str, now: Instant) {
        let Some(usable) = self.services.get_mut(&service).filter(|usable| !usable.is_refused()) else { return };
        usable.becomes(Availability::Refused { why: why.to_owned(), again_at: now + TRY_AGAIN }, now);
        self.filters_changed = true;
        self.events.push_back((service, Event::Refused(service, why.to_owned())));
        let of_it = self.outstanding.values_mut().filter(|outstanding| outstanding.request.service() == service);
        of_it.for_each(Outstanding::queue_again);
    }

    /// What may be sent now, in the order in which it was asked for, with the number of the attempt: no other has or will have it.
    pub(crate) fn sendable(&self) -> impl Iterator<Item = (RequestId, u64, &Outbound)> {
        let is_ready = |service| self.services.get(&service).is_some_and(Usable::is_ready);
        let may_go = move |id: RequestId, outstanding: &Outstanding| {
            outstanding.state == State::Queued
                && is_ready(outstanding.request.service())
                && !self.has_to_wait(id, outstanding)
        };
        let outstanding = self.outstanding.iter();
        let sendable = outstanding.filter(move |(id, outstanding)| may_go(**id, outstanding));
        sendable.map(|(id, found)| (*id, found.attempt, &found.message))
    }

    /// Whether an answer couldn't be told from that to an older request.
    fn has_to_wait(&self, id: RequestId, outstanding: &Outstanding) -> bool {
        let topic = outstanding.request.topic();
        outstanding.request.correlation() == Correlation::Topic
            && self.outstanding.range(..id).any(|(_, older)| older.request.topic() == topic)
    }

    /// It was handed to the session, now or on an earlier connection, and the session has sent it.
    pub(crate) fn sent(&mut self, id: RequestId, now: Instant) {
        let Some(outstanding) = self.outstanding.get_mut(&id) else { return };
        outstanding.state = State::Sent { deadline: now + ANSWER_TIME };
        outstanding.was_sent = true;
        self.counters.entry(outstanding.request.service()).or_default().sent += 1;
    }

    /// It was sent, and has to be sent again: IoT Core refuses it, though perhaps not for what it is.
    pub(crate) fn returned(&mut self, id: RequestId) {
        self.outstanding.get_mut(&id).into_iter().for_each(Outstanding::queue_again);
    }

    /// IoT Core refuses the PUBLISH now, as it does everything: it is tried again later.
    pub(crate) fn put_off(&mut self, id: RequestId, why: &str, now: Instant) {
        let rejection =
            Rejection { code: "PUBACK".to_owned(), status: None, message: why.to_owned(), payload: Bytes::new() };
        self.failed(id, Some(rejection), now);
    }

    /// IoT Core doesn't take the PUBLISH: that is its end, unless it is the whole service that is refused.
    pub(crate) fn not_taken(&mut self, id: RequestId, why: &str) {
        let Some(outstanding) = self.outstanding.get_mut(&id) else { return };
        let is_refused = self.services.get(&outstanding.request.service()).is_some_and(Usable::is_refused);
        match is_refused {
            true => outstanding.queue_again(),
            false => self.end(id, Answer::NotTaken(why.to_owned())),
        }
    }

    /// A message has come. Returns whether it is an answer that was waited for; it isn't if it is late, or for somebody else.
    pub(crate) fn received(&mut self, topic: &Topic, payload: &Bytes, now: Instant) -> bool {
        let token = answer::token(payload);
        let found = self.outstanding.iter().find_map(|(id, outstanding)| {
            let is_accepted = outstanding.request.is_accepted_on(topic)?;
            outstanding.waits_for(token.as_deref()).then_some((*id, is_accepted))
        });
        let Some((id, is_accepted)) = found else { return false };
        if is_accepted {
            self.end(id, Answer::Accepted(payload.clone()));
            return true;
        }
        let rejection = Rejection::read(payload);
        match rejection.is_temporary() {
            true => self.failed(id, Some(rejection), now),
            false => self.end(id, Answer::Rejected(rejection)),
        }
        true
    }

    fn end(&mut self, id: RequestId, answer: Answer) {
        if let Some(outstanding) = self.outstanding.remove(&id) {
            let service = outstanding.request.service();
            self.counters.entry(service).or_default().answered += 1;
            self.events.push_back((service, Event::Answered(id, answer)));
        }
    }

    /// An attempt is over. The next has another token: an answer to this one would come too late.
    fn failed(&mut self, id: RequestId, rejection: Option<Rejection>, now: Instant) {
        let ((attempt, token), random) = (self.attempt(), self.random.f64());
        let Some(outstanding) = self.outstanding.get_mut(&id) else { return };
        let wait = retry::wait(outstanding.failures, random);
        outstanding.failures = outstanding.failures.saturating_add(1);
        outstanding.state = State::Delayed { until: now + wait };
        outstanding.was_sent = false;
        outstanding.message = outstanding.request.message(&token);
        (outstanding.attempt, outstanding.token) = (attempt, token);
        let service = outstanding.request.service();
        let counters = self.counters.entry(service).or_default();
        match rejection {
            Some(_) => counters.put_off += 1,
            None => counters.timed_out += 1,
        }
        self.events.push_back((service, Event::Delayed(id, rejection, wait)));
    }

    /// The number of a new attempt, and its token of at most [`MAX_TOKEN`](super::request::MAX_TOKEN) bytes.
    fn attempt(&mut self) -> (u64, String) {
        self.last_attempt += 1;
        (self.last_attempt, format!("{:016x}-{}", self.life, self.last_attempt))
    }

    /// The request of which this is the present attempt, and its message.
    pub(crate) fn of_attempt(&self, attempt: u64) -> Option<(RequestId, &Outbound)> {
        let mut outstanding = self.outstanding.iter();
        outstanding.find(|(_, found)| found.attempt == attempt).map(|(id, found)| (*id, &found.message))
    }

    /// When there is something to do without anything happening.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let requests = self.outstanding.values().filter_map(|outstanding| match outstanding.state {
            State::Queued => None,
            State::Sent { deadline } => Some(deadline),
            State::Delayed { until } => Some(until),
        });
        requests.chain(self.services.values().filter_map(Usable::again_at)).min()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.try_again(|_, at| at <= now, now);
        let is_overdue = |state| matches!(state, State::Sent { deadline } if deadline <= now);
        let overdue = self.outstanding.iter().filter(|(_, outstanding)| is_overdue(outstanding.state));
        let overdue: Vec<RequestId> = overdue.map(|(id, _)| *id).collect();
        overdue.into_iter().for_each(|id| self.failed(id, None, now));
        for outstanding in self.outstanding.values_mut() {
            if matches!(outstanding.state, State::Delayed { until } if until <= now) {
                outstanding.state = State::Queued;
            }
        }
    }

    /// What this one has to know next.
    pub(crate) fn next_event(&mut self, asker: Asker) -> Option<Event> {
        let next = self.events.iter().position(|(service, _)| service.asker() == asker)?;
        self.events.remove(next).map(|(_, event)| event)
    }

    /// What is to be subscribed to: the filters of the services that aren't refused.
    pub(crate) fn filters(&self) -> impl Iterator<Item = (Service, &TopicFilter)> {
        let usable = self.services.iter().filter(|(_, usable)| !usable.is_refused());
        usable.flat_map(|(service, usable)| usable.filters.iter().map(|filter| (*service, filter)))
    }

    /// Whether those are others than at the last call.
    pub(crate) fn take_filters_changed(&mut self) -> bool {
        std::mem::take(&mut self.filters_changed)
    }

    /// What is to be known of each service: whether it can be used, since when that is so, and what was counted.
    pub(crate) fn services(&self) -> impl Iterator<Item = (Service, &Availability, Instant, Counters)> {
        let counters = |service| self.counters.get(service).copied().unwrap_or_default();
        self.services
            .iter()
            .map(move |(service, usable)| (*service, &usable.availability, usable.since, counters(service)))
    }

    /// How many requests to a service have no answer.
    pub(crate) fn outstanding_of(&self, service: Service) -> usize {
        self.outstanding.values().filter(|outstanding| outstanding.request.service() == service).count()
    }

    #[cfg(test)]
    /// How many requests have no answer.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }
}
