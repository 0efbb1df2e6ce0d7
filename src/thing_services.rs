//! Between the link, which sends requests and hears of refusals, the inbox, which brings what services say, and those who ask.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::forward::{Acks, Recipient};
use crate::message::{AckToken, Inbound, Outbound, Sequence, Topic, TopicFilter};
use crate::notify::LocalNotify;
use crate::services::{Asker, Requests, Service};
use crate::time;

/// What a service says by itself, and what may be told of it. Its token is owed until it is given back.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) message: Inbound,
    pub(crate) token: Option<AckToken>,
}

/// How the connection came about on which something is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connected {
    pub(crate) at: Instant,
    pub(crate) session_present: bool,
    /// How long what the server sent can't have come: a connection is dead before that is seen.
    pub(crate) unheard: Duration,
}

/// The services of AWS IoT that are configured, for the thing that this gateway is.
#[derive(Debug)]
pub(crate) struct ThingServices {
    requests: RefCell<Requests>,
    /// With their filters.
    configured: RefCell<BTreeMap<Service, Vec<TopicFilter>>>,
    /// What isn't the answer to a request.
    told: RefCell<VecDeque<Told>>,
    connected: Cell<Option<Connected>>,
    /// When the server was last heard on a connection that has ended.
    heard_at: Cell<Option<Instant>>,
    acks: Rc<Acks>,
    /// The link has something to send, or other filters to ask for.
    for_link: LocalNotify,
    /// Those who ask have something to look at.
    news: LocalNotify,
    news_of_rotation: LocalNotify,
    /// A request was the last that was tried alone: it is a message's turn.
    was_tried: Cell<bool>,
}

impl ThingServices {
    /// None are configured. `seed` is another at each start.
    pub(crate) fn new(acks: Rc<Acks>, seed: u64) -> ThingServices {
        ThingServices {
            requests: RefCell::new(Requests::new(seed)),
            configured: RefCell::default(),
            told: RefCell::default(),
            connected: Cell::new(None),
            heard_at: Cell::new(None),
            acks,
            for_link: LocalNotify::default(),
            news: LocalNotify::default(),
            news_of_rotation: LocalNotify::default(),
            was_tried: Cell::new(false),
        }
    }

    /// These are the services that this one asks from now on. What was refused of them is tried again.
    pub(crate) fn configure(&self, asker: Asker, services: BTreeMap<Service, Vec<TopicFilter>>) {
        let now = time::now();
        let mut configured = self.configured.borrow_mut();
        configured.retain(|service, _| service.asker() != asker);
        configured.extend(services);
        let mut requests = self.requests.borrow_mut();
        requests.configure(configured.clone(), now);
        requests.reload(asker, now);
        drop(requests);
        self.for_link.notify();
        self.has_news();
    }

    /// Whether any is configured.
    pub(crate) fn is_idle(&self) -> bool {
        self.requests.borrow().is_idle()
    }

    /// How the present connection came about, if there is one.
    pub(crate) fn connection(&self) -> Option<Connected> {
        self.connected.get()
    }

    /// When the server was last heard on the connections that have ended, if there were any.
    pub(crate) fn heard_at(&self) -> Option<Instant> {
        self.heard_at.get()
    }

    /// What is asked, for the status document.
    pub(crate) fn requests(&self) -> Ref<'_, Requests> {
        self.requests.borrow()
    }

    // For those who ask.

    /// The requests, to be changed; the link is told that they may have.
    pub(crate) fn ask(&self) -> RefMut<'_, Requests> {
        self.for_link.notify();
        self.requests.borrow_mut()
    }

    /// The next that a service has said by itself.
    pub(crate) fn next_told(&self) -> Option<Told> {
        self.told.borrow_mut().pop_front()
    }

    /// IoT Core may be told that a message is taken.
    pub(crate) fn is_done(&self, token: Option<AckToken>) {
        token.into_iter().for_each(|token| self.acks.done(token));
    }

    /// Completes when there is something to look at.
    pub(crate) async fn news(&self, asker: Asker) {
        match asker {
            Asker::Executions => self.news.notified().await,
            Asker::Rotation => self.news_of_rotation.notified().await,
        }
    }

    pub(crate) fn has_news(&self) {
        self.news.notify();
        self.news_of_rotation.notify();
    }

    // For the link.

    /// Completes when there is something to send, or to ask for.
    pub(crate) async fn wants_the_link(&self) {
        self.for_link.notified().await;
    }

    /// The filters of each service that isn't refused, if they are others than at the last call.
    pub(crate) fn other_filters(&self) -> Option<Vec<Vec<TopicFilter>>> {
        let mut requests = self.requests.borrow_mut();
        requests.take_filters_changed().then(|| {
            let mut groups: BTreeMap<Service, Vec<TopicFilter>> = BTreeMap::new();
            for (service, filter) in requests.filters() {
                groups.entry(service).or_default().push(filter.clone());
            }
            groups.into_values().collect()
        })
    }

    /// CONNACK has come, after so long without a connection.
    pub(crate) fn connected(&self, session_present: bool, away: Duration) {
        let unheard = self.heard_at.get().map_or(away, time::since).max(away);
        self.connected.set(Some(Connected { at: time::now(), session_present, unheard }));
    }

    /// A connection has ended on which the server was heard until then: nothing that it sent since has come. `None`: it wasn't heard.
    pub(crate) fn heard_until(&self, at: Option<Instant>) {
        self.heard_at.set(at.or(self.heard_at.get()));
    }

    /// Nothing is being subscribed to: these filters stand. What the session has in flight from an earlier connection, it sends
    /// itself.
    pub(crate) fn settled<'a>(
        &self,
        standing: impl Iterator<Item = &'a TopicFilter> + Clone,
        is_in_flight: impl Fn(Sequence) -> bool,
    ) {
        if self.is_idle() {
            return;
        }
        let now = time::now();
        let mut requests = self.requests.borrow_mut();
        requests.settled(standing, now);
        let resent = requests.sendable().filter(|(_, attempt, _)| is_in_flight(Sequence::of_request(*attempt)));
        let resent: Vec<_> = resent.map(|(id, ..)| id).collect();
        resent.into_iter().for_each(|id| requests.sent(id, now));
        self.has_news();
    }

    /// There is no connection any more.
    pub(crate) fn connection_lost(&self) {
        self.connected.set(None);
        self.requests.borrow_mut().connection_lost(time::now());
        self.has_news();
    }

    /// The first request that `admits` lets through, with its size.
    pub(crate) fn first(&self, mut admits: impl FnMut(&Outbound, bool) -> bool) -> Option<(Sequence, usize)> {
        let requests = self.requests.borrow();
        let mut sendable = requests.sendable();
        sendable.find(|(_, _, message)| admits(message, false)).map(|(_, n, message)| found(n, message))
    }

    /// The first request that may only be sent alone: `is_one` says which those are.
    pub(crate) fn first_alone(&self, is_one: impl Fn(&Outbound) -> bool) -> Option<(Sequence, usize)> {
        let requests = self.requests.borrow();
        let mut sendable = requests.sendable();
        sendable.find(|(_, _, message)| is_one(message)).map(|(_, n, message)| found(n, message))
    }

    /// Whether it is a request's turn to be tried alone: a message was sent since the last.
    pub(crate) fn is_turn_to_try(&self) -> bool {
        !self.was_tried.get()
    }

    /// A message is sent that isn't a request.
    pub(crate) fn another_is_sent(&self) {
        self.was_tried.set(false);
    }

    /// Takes a request to send it.
    pub(crate) fn take(&self, attempt: u64) -> Option<Outbound> {
        let mut requests = self.requests.borrow_mut();
        let (id, message) = requests.of_attempt(attempt).map(|(id, message)| (id, message.clone()))?;
        requests.sent(id, time::now());
        self.was_tried.set(true);
        self.has_news();
        Some(message)
    }

    /// It was sent, and has to be sent again: IoT Core refuses it, though perhaps not for what it is.
    pub(crate) fn returned(&self, attempt: u64) {
        let mut requests = self.requests.borrow_mut();
        if let Some((id, _)) = requests.of_attempt(attempt) {
            requests.returned(id);
        }
    }

    /// IoT Core refuses it, and takes nothing else on this connection: it is tried again later.
    pub(crate) fn put_off(&self, attempt: u64, why: &str) {
        let mut requests = self.requests.borrow_mut();
        if let Some((id, _)) = requests.of_attempt(attempt) {
            requests.put_off(id, why, time::now());
            self.has_news();
        }
    }

    /// IoT Core doesn't take it.
    pub(crate) fn not_taken(&self, attempt: u64, why: &str) {
        let mut requests = self.requests.borrow_mut();
        if let Some((id, _)) = requests.of_attempt(attempt) {
            requests.not_taken(id, why);
            self.has_news();
        }
    }

    /// IoT Core refuses a filter. The service whose it is, which is switched off.
    pub(crate) fn filter_refused(&self, filter: &TopicFilter, why: &str) -> Option<Service> {
        let service = self.requests.borrow_mut().filter_refused(filter, why, time::now());
        self.was_refused(service.is_some());
        service
    }

    /// No SUBACK has come for a filter. The service whose it is, if it is switched off for that.
    pub(crate) fn filter_unanswered(&self, filter: &TopicFilter, why: &str) -> Option<Service> {
        let service = self.requests.borrow_mut().filter_unanswered(filter, why, time::now());
        self.was_refused(service.is_some());
        service
    }

    /// IoT Core refuses what meets this. The services that have asked there, which are switched off.
    pub(crate) fn topic_refused(&self, is_met: impl Fn(&Topic) -> bool, why: &str) -> Vec<Service> {
        let services = self.requests.borrow_mut().topic_refused(is_met, why, time::now());
        self.was_refused(!services.is_empty());
        services
    }

    fn was_refused(&self, is_any: bool) {
        if is_any {
            self.for_link.notify();
            self.has_news();
        }
    }
}

fn found(attempt: u64, message: &Outbound) -> (Sequence, usize) {
    (Sequence::of_request(attempt), message.size())
}

impl Recipient for ThingServices {
    fn wants(&self, topic: &Topic) -> bool {
        self.requests.borrow().service_of(topic).is_some()
    }

    /// An answer is done with at once: what must survive is written by those who asked for it.
    fn deliver(&self, _: u64, message: &Inbound, token: Option<AckToken>) {
        let now = time::now();
        let mut requests = self.requests.borrow_mut();
        // What isn't an answer to what the rotation asks is late, or for somebody else.
        let is_of_rotation =
            requests.service_of(&message.topic).is_some_and(|service| service.asker() == Asker::Rotation);
        let is_answer = requests.received(&message.topic, &message.payload, now) || is_of_rotation;
        drop(requests);
        match is_answer {
            true => self.is_done(token),
            false => {
                self.told.borrow_mut().push_back(Told { message: message.clone().detached(), token });
            }
        }
        self.has_news();
    }

    /// What isn't acknowledged comes again: those who ask know it then.
    fn link_down(&self) {}

    /// Those who ask take what they are told at once, or once it is on the disk.
    fn hasten(&self, _: Instant) {}

    fn last_stored(&self) -> Option<u64> {
        None
    }
}
