//! One connection, from CONNECT to its end: moves bytes between the transport and the session, messages between the session
//! and the outbox and inbox, and keeps the time.

mod filling;
mod moving;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::pace::Quota;
use super::reload::Setup;
use super::throughput::Throughput;
use super::{Ended, Lasting, Link};
use crate::client::{Exchange, Moved, Turns};
use crate::limits::MAX_IN_FLIGHT;
use crate::message::{AckToken, Sequence};
use crate::mqtt::Rejection;
use crate::mqtt::session::{Answer, End, Event, Session};
use crate::net::{Network, Transport};
use crate::time;
use crate::time::Timer;

/// After SIGTERM: for what is in flight and what waits.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Of that, for nothing but answers on a slow uplink: what is sent in it would only be in DISCONNECT's way.
const ANSWER_TIME: Duration = Duration::from_secs(3);

/// How long what fills the server's window may wait for readers before it goes to the disk.
const FULL_WINDOW: Duration = Duration::from_millis(100);

/// Why a connection has ended by itself.
#[derive(Debug)]
pub(super) enum Cause {
    Session(End),
    /// The server has closed it.
    Closed,
    /// Our own address, from which it was, is gone.
    AddressLost(IpAddr),
    Io(io::Error),
    /// CONNACK hasn't come in time.
    NoConnAck,
}

/// A connection and what only lives as long as it does.
pub(super) struct Connection<'a, N: Network> {
    link: &'a Link<N>,
    session: &'a mut Session,
    quota: &'a mut Quota,
    setup: &'a mut Rc<Setup>,
    exchange: Exchange<N::Stream>,
    /// QoS 0 publications in the output: sent once it is written.
    unwritten: VecDeque<Sequence>,
    /// When the quota allows the next publication, if it held one back.
    quota_until: Option<Instant>,
    connack_deadline: Option<Instant>,
    /// When CONNACK came.
    connected_at: Option<Instant>,
    /// When it is to be said that the connection has come, because it stays.
    stays_at: Option<Instant>,
    /// When to give up what is in flight: set once the daemon stops.
    drain_deadline: Option<Instant>,
    /// Since then the transport has taken no more for a while.
    is_slow: bool,
    throughput: Throughput,
    acks: Vec<AckToken>,
    /// What was read isn't all looked at ([`Session::is_congested`]).
    was_congested: bool,
    turns: Turns,
}

impl<'a, N: Network> Connection<'a, N> {
    pub(super) fn new(
        link: &'a Link<N>,
        Lasting { session, quota, setup, .. }: &'a mut Lasting<N>,
        stream: N::Stream,
        connack_deadline: Instant,
    ) -> Connection<'a, N> {
        Connection {
            link,
            session,
            quota,
            setup,
            exchange: Exchange::new(stream),
            unwritten: VecDeque::new(),
            quota_until: None,
            connack_deadline: Some(connack_deadline),
            connected_at: None,
            stays_at: None,
            drain_deadline: None,
            is_slow: false,
            throughput: Throughput::new(time::now()),
            acks: Vec::new(),
            was_congested: false,
            turns: Turns::default(),
        }
    }

    /// When CONNACK came, if it did.
    pub(super) fn connected_at(&self) -> Option<Instant> {
        self.connected_at
    }

    /// Runs until the daemon stops or the configuration needs another connection (`Ok`, after a DISCONNECT where there is anyone
    /// to say it to), or the connection ends; a server that has broken the rules of MQTT is told so.
    pub(super) async fn run(&mut self) -> Result<Ended, Cause> {
        let ended = self.serve().await;
        if ended.is_err() {
            self.session.broke(time::now());
        }
        if let Err(Cause::Session(end)) = &ended
            && self.session.say_why(end)
        {
            self.exchange.hang_up(self.session).await;
        }
        self.link.meter.ended(&*self.link.network, self.session);
        ended
    }

    async fn serve(&mut self) -> Result<Ended, Cause> {
        self.session.label_by(self.link.meter.labels());
        self.session.connect();
        let mut timer = Timer::default();
        let local = self.exchange.stream().local_address();
        loop {
            let now = time::now();
            self.link.meter.look(&*self.link.network, self.session);
            self.keep_time(now)?;
            if self.is_drained(now) {
                self.say_goodbye().await;
                return Ok(Ended::Stopped);
            }
            if self.session.wants_other_limits(now) {
                self.say_goodbye().await;
                return Ok(Ended::OtherLimits);
            }
            if let Some(groups) = self.link.services.other_filters() {
                self.session.want_last(groups, now);
            }
            // What it says of messages has to be passed on before the connection may end.
            self.fill(now);
            self.link.note_holding(self.session, now);
            if self.pass_on_events(now) {
                // A message that isn't sent may have been the last, or makes room for another.
                continue;
            }
            self.link.state.count(self.session.counters());
            timer.set(self.wake_at(), now);
            let can_publish = self.session.can_publish() || self.session.can_publish_urgent();
            let may_publish = can_publish && self.quota_until.is_none() && self.is_not_behind();
            let link = self.link;
            let stopping = self.drain_deadline.is_some();
            let is_others_turn = self.turns.take_others();
            tokio::select! {
                biased;
                // First what is cheap to look at: what comes of it is written in the next turn.
                () = link.inbox.acks().ready() => {}
                () = link.outbox.arrived(), if may_publish || stopping => {}
                () = link.services.wants_the_link() => {}
                moved = poll_fn(|cx| self.poll_io(cx)), if !is_others_turn => match moved.map_err(Cause::Io)? {
                    Moved::Read => self.received()?,
                    Moved::Written => self.written(),
                    Moved::Room => {}
                    Moved::End => return Err(Cause::Closed),
                    Moved::Failed(error) => {
                        // What the server has said before is more than that nobody listens any more.
                        self.received()?;
                        return Err(Cause::Io(error));
                    }
                },
                () = link.changed.announced(), if !stopping => {
                    if !link.apply_to_connection(self.setup, self.session, self.quota) {
                        self.say_goodbye().await;
                        return Ok(Ended::Reconfigured);
                    }
                    self.session.label_by(self.link.meter.labels());
                }
                () = link.requested.changed.announced(), if !stopping => link.apply_requests(self.session),
                gone = lost(&*link.network, local) => return Err(Cause::AddressLost(gone)),
                () = link.stop.requested(), if !stopping => {
                    self.drain_deadline = Some(time::now() + DRAIN_TIME);
                }
                () = timer.fired() => {}
                () = std::future::ready(()), if is_others_turn => {}
            }
            self.acknowledge();
            if self.was_congested && !self.session.is_congested() {
                self.received()?;
            }
            self.turns.give().await;
        }
    }

    /// Does what is due, and tells the watchdog.
    fn keep_time(&mut self, now: Instant) -> Result<(), Cause> {
        if self.connack_deadline.is_some_and(|deadline| now >= deadline) {
            return Err(Cause::NoConnAck);
        }
        if self.session.timeout().is_some_and(|timeout| now >= timeout) {
            self.exchange.tell_not_arrived(self.session, now);
            self.session.handle_timeout(now).map_err(|end| {
                if self.session.is_burdened() {
                    self.exchange.stream().abandon();
                }
                Cause::Session(end)
            })?;
        }
        if self.next_look().is_some_and(|at| at <= now) {
            let has_moved = self.throughput.looked(self.exchange.stream().under_way(self.exchange.is_flushed()), now);
            self.link.outbox.link_moves(self.throughput.rate(), has_moved);
        }
        if self.stays_at.take_if(|at| *at <= now).is_some() {
            self.link.has_stayed(self.stable_after());
        }
        self.link.notifier.alive(now);
        Ok(())
    }

    fn stable_after(&self) -> Duration {
        self.setup.connection.backoff.stable_after
    }

    /// When to look how much of what was written has arrived, if that matters.
    fn next_look(&self) -> Option<Instant> {
        self.throughput.look_at(self.session.unwritten())
    }

    /// Whether the network takes what it is given, so that it may be given more.
    fn is_not_behind(&self) -> bool {
        self.throughput.has_room(self.session.unwritten())
    }

    /// Whether the daemon stops and nothing is left to wait for.
    fn is_drained(&self, now: Instant) -> bool {
        self.drain_deadline
            .is_some_and(|deadline| now >= deadline || !self.session.is_connected() || self.link.outbox.is_settled())
    }

    /// The next instant at which there is something to do without anything happening.
    fn wake_at(&self) -> Option<Instant> {
        let deadlines = [
            self.connack_deadline,
            self.drain_deadline,
            self.quota_until,
            self.stays_at,
            self.next_look(),
            self.session.timeout(),
            self.link.notifier.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// All output is written: QoS 0 has nothing more to wait for.
    fn written(&mut self) {
        for sequence in self.unwritten.drain(..) {
            self.link.outbox.sent(sequence);
        }
    }

    /// Looks at what was read.
    fn received(&mut self) -> Result<(), Cause> {
        let now = time::now();
        let end = self.session.receive(self.exchange.input(), now, time::wall());
        self.was_congested = self.session.is_congested();
        self.pass_on_events(now);
        if self.session.unacknowledged() >= MAX_IN_FLIGHT {
            self.link.inbox.hasten(now + FULL_WINDOW);
        }
        end.map_err(Cause::Session)
    }

    /// Whether there were any.
    fn pass_on_events(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(event) = self.session.next_event() {
            any = true;
            self.handle(event, now);
        }
        any
    }

    fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Connected { session_present, session_expiry } => {
                self.connack_deadline = None;
                self.connected_at = Some(now);
                let is_said = self.link.connected(session_present, session_expiry);
                self.stays_at = (!is_said).then(|| now + self.stable_after());
                self.link.outbox.link_moves(self.throughput.rate(), true);
            }
            Event::Message(message, token) => {
                self.quota.note_received(now, message.payload.len() + message.topic.as_str().len());
                self.link.inbox.deliver(&message, token);
            }
            Event::PropertiesLeftOut(topic) => self.link.properties_left_out(&topic),
            Event::TooLarge(topic, size) => self.link.too_large(&topic, size),
            Event::Unreadable(topic, why) => self.link.unreadable(&topic, &why),
            Event::Delivered(sequence) if sequence.request().is_some() => {}
            Event::Delivered(sequence) => self.link.outbox.delivered(sequence),
            Event::Rejected(sequence, message, rejection) => self.link.rejected(sequence, &message, &rejection),
            Event::Doubtful(sequence, message, rejection) => {
                let is_local = !matches!(rejection, Rejection::PubAck(_));
                if !self.link.doubtful(sequence, &message, &rejection) && !is_local {
                    self.session.keep_apart(message, now);
                }
            }
            Event::BirthSent(size) => self.quota.note_sent(now, size),
            Event::BirthRefused(refusal) => self.link.birth_refused(&refusal),
            Event::BirthUnanswered(waited) => self.link.birth_unanswered(waited),
            Event::BirthTaken => self.link.birth_taken(),
            Event::LimitsRelaxed => self.link.outbox.release_quarantine(),
            Event::Guilty(condition, reason) => self.link.guilty(condition, &reason),
            Event::Silence(found) => self.link.bears_silence(&found),
            Event::Overdue(topic, count) => self.link.overdue(&topic, count),
            Event::SubscribeOverdue(filter) => self.link.subscribe_overdue(&filter),
            Event::Throttled(topic, wait) => self.link.throttled(&topic, wait),
            Event::Expired(sequence) => self.link.outbox.expired(sequence),
            Event::Settled(standing, identifiers) => {
                let is_in_flight = |sequence| self.session.has_in_flight(sequence);
                self.link.services.settled(standing.keys(), is_in_flight);
                self.link.note_refused(self.session, now);
                self.link.remember(standing, identifiers);
            }
            Event::Subscription(filter, Answer::Granted) => {
                log::debug!("subscribed to {filter}");
            }
            Event::Subscription(filter, Answer::Downgraded) => self.link.filter_downgraded(&filter),
            Event::Subscription(filter, Answer::Refused(reason)) => {
                self.link.filter_refused(&filter, &reason, self.session.refused_until(&filter));
            }
        }
    }

    fn acknowledge(&mut self) {
        self.link.inbox.acks().drain(&mut self.acks);
        for token in self.acks.drain(..) {
            self.session.acknowledge(token);
        }
    }

    /// Says DISCONNECT, lets the server close, and closes. That the other side is quicker is no failure.
    async fn say_goodbye(&mut self) {
        self.acknowledge();
        self.session.disconnect();
        self.exchange.hang_up(self.session).await;
    }
}

/// Waits until the address of a connection isn't this machine's any more.
async fn lost(network: &impl Network, local: Option<SocketAddr>) -> IpAddr {
    let Some(local) = local else { return std::future::pending().await };
    network.lost(local).await;
    local.ip()
}
