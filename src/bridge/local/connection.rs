//! One connection, from CONNECT to its end: moves bytes between the transport and the session, messages between the session and
//! the legs, and keeps the time.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::announcements::Announcements;
use super::error::Cause;
use super::fresh::{Found, Fresh};
use super::judging::MessageRefused;
use super::{BACKOFF, Ended, Lasting, Legs, Local};
use crate::client::{Exchange, Moved, SessionMemory, Turns};
use crate::config;
use crate::message::{AckToken, Qos, Sequence};
use crate::mqtt::session::{Answer, Event, NextSend, Session};
use crate::net::{Brokers, Transport};
use crate::time::{self, Timer};

/// After the order to stop: for what is in flight, and for what gatewire itself publishes.
const DRAIN_TIME: Duration = Duration::from_millis(400);

/// A connection and what only lives as long as it does.
pub(super) struct Connection<'a, N: Brokers, L> {
    local: &'a Local<N, L>,
    session: &'a mut Session,
    announcements: &'a mut Announcements,
    config: &'a mut Rc<config::Bridge>,
    memory: &'a Rc<SessionMemory>,
    exchange: Exchange<N::Stream>,
    /// QoS 0 publications in the output: sent once it is written.
    unwritten: VecDeque<Sequence>,
    connack_deadline: Option<Instant>,
    connected_at: Option<Instant>,
    /// When it is to be said that the connection has come, because it stays.
    stays_at: Option<Instant>,
    /// How many connections before this have ended soon.
    short: u32,
    /// When to give up what is in flight: set once it is to end.
    drain_deadline: Option<Instant>,
    /// Why it is to end then.
    ended: Ended,
    acks: Vec<AckToken>,
    /// What was read isn't all looked at ([`Session::is_congested`]).
    was_congested: bool,
    turns: Turns,
}

impl<'a, N: Brokers, L: Legs> Connection<'a, N, L> {
    pub(super) fn new(
        local: &'a Local<N, L>,
        lasting: &'a mut Lasting<N::Connector>,
        stream: N::Stream,
        connack_deadline: Instant,
    ) -> Connection<'a, N, L> {
        let Lasting { session, announcements, config, memory, short, .. } = lasting;
        Connection {
            local,
            session,
            announcements,
            config,
            memory,
            exchange: Exchange::new(stream),
            unwritten: VecDeque::new(),
            connack_deadline: Some(connack_deadline),
            connected_at: None,
            stays_at: None,
            short: *short,
            drain_deadline: None,
            ended: Ended::Stopped,
            acks: Vec::new(),
            was_congested: false,
            turns: Turns::default(),
        }
    }

    /// When CONNACK came, if it did.
    pub(super) fn connected_at(&self) -> Option<Instant> {
        self.connected_at
    }

    /// Runs until it is to stop or the configuration needs another connection (`Ok`, after a DISCONNECT where there is anyone to say
    /// it to), or the connection ends; a broker that has broken the rules of MQTT is told so.
    pub(super) async fn run(&mut self) -> Result<Ended, Cause> {
        let ended = self.serve().await;
        if let Err(Cause::Session(end)) = &ended
            && self.session.say_why(end)
        {
            self.exchange.hang_up(self.session).await;
        }
        ended
    }

    async fn serve(&mut self) -> Result<Ended, Cause> {
        self.session.connect();
        let mut timer = Timer::default();
        loop {
            let now = time::now();
            self.keep_time(now)?;
            if self.is_drained(now) {
                self.say_goodbye().await;
                return Ok(self.ended);
            }
            self.fill(now);
            if self.pass_on_events(now) {
                // A message that isn't sent makes room for another.
                continue;
            }
            let full_until = self.local.legs.full_until().filter(|until| *until > now);
            timer.set(self.wake_at().into_iter().chain(full_until).min(), now);
            let local = self.local;
            let (may_publish, stopping) = (self.session.can_publish(), self.drain_deadline.is_some());
            let is_connected = self.session.is_connected();
            let is_others_turn = self.turns.take_others();
            let announcements = &mut *self.announcements;
            let mut moving = Moving {
                may_read: full_until.is_none(),
                session: &mut *self.session,
                exchange: &mut self.exchange,
                is_connected,
                has_unwritten: !self.unwritten.is_empty(),
                turns: &mut self.turns,
            };
            tokio::select! {
                biased;
                // First what is cheap to look at: what comes of it is written in the next turn.
                () = local.legs.acks().ready() => {}
                () = local.legs.something_waits(), if may_publish && !stopping => {}
                () = announcements.changed(), if is_connected => {}
                () = local.legs.has_room(), if full_until.is_some() => {}
                moved = poll_fn(|cx| moving.poll(cx)), if !is_others_turn => match moved.map_err(Cause::Io)? {
                    Moved::Read => self.received()?,
                    Moved::Written => self.unwritten.drain(..).for_each(|sequence| local.legs.delivered(sequence)),
                    Moved::Room => {}
                    Moved::End => return Err(Cause::Closed),
                    Moved::Failed(error) => {
                        // What the broker has said before is more than that nobody listens any more.
                        self.received()?;
                        return Err(Cause::Io(error));
                    }
                },
                () = local.changed.announced(), if !stopping => {
                    if local.apply_to_connection(self.config, self.session) {
                        self.announcements.forgive();
                    } else if local.config().broker == self.config.broker {
                        self.say_goodbye().await;
                        return Ok(Ended::Reconfigured);
                    } else {
                        // Who watches the topics at a broker that is left is told, as at a stop.
                        self.announcements.leave();
                        self.end(Ended::Reconfigured);
                    }
                }
                () = local.stop.requested(), if !stopping => {
                    if local.is_removed.get() {
                        self.announcements.leave();
                    }
                    self.end(Ended::Stopped);
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

    /// Does what is due.
    fn keep_time(&mut self, now: Instant) -> Result<(), Cause> {
        if self.connack_deadline.is_some_and(|deadline| now >= deadline) {
            return Err(Cause::NoConnAck);
        }
        if self.session.timeout().is_some_and(|timeout| now >= timeout) {
            self.exchange.tell_not_arrived(self.session, now);
            self.session.handle_timeout(now).map_err(Cause::Session)?;
        }
        self.announcements.advance(now);
        if self.stays_at.take_if(|at| *at <= now).is_some() {
            self.local.has_stayed(self.config, self.short);
        }
        Ok(())
    }

    /// The connection is to end: what is in flight and what gatewire itself publishes have a moment, nothing else is sent.
    fn end(&mut self, ended: Ended) {
        self.announcements.stop();
        self.drain_deadline = Some(time::now() + DRAIN_TIME);
        self.ended = ended;
    }

    /// Whether it is to end and nothing is left to wait for.
    fn is_drained(&self, now: Instant) -> bool {
        let is_done =
            || !self.session.is_connected() || (self.announcements.waiting().is_empty() && !self.session.is_waiting());
        self.drain_deadline.is_some_and(|deadline| now >= deadline || is_done())
    }

    /// The next instant at which there is something to do without anything happening.
    fn wake_at(&self) -> Option<Instant> {
        let deadlines = [
            self.connack_deadline,
            self.drain_deadline,
            self.stays_at,
            self.session.timeout(),
            self.announcements.due_at(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Gives the session what it may send now: first what has to go again, then what gatewire itself publishes, then what waits.
    fn fill(&mut self, now: Instant) {
        loop {
            let has_room = self.session.has_room();
            let legs = if self.drain_deadline.is_none() { Some(self.local.legs.waiting()) } else { None };
            let mut waiting = Fresh { own: self.announcements.waiting(), legs };
            match self.session.next_send(&mut waiting, has_room, now) {
                NextSend::Wait => return,
                NextSend::Resend(_) => self.session.resend(now),
                NextSend::Fresh(Found::Own(topic)) => {
                    if let Some((sequence, message)) = self.announcements.take(&topic) {
                        self.session.publish(sequence, message, now);
                    }
                }
                NextSend::Fresh(Found::Legs(sequence)) => {
                    let Some(mut message) = self.local.legs.take(sequence) else { return };
                    if let Some(reduced) = self.session.reduce(&mut message) {
                        self.local.said.reduced(self.config, reduced);
                    }
                    let has_no_ack = message.qos == Qos::AtMostOnce;
                    if self.session.publish(sequence, message, now) && has_no_ack {
                        self.unwritten.push_back(sequence);
                    }
                }
            }
        }
    }

    /// Looks at what was read.
    fn received(&mut self) -> Result<(), Cause> {
        let now = time::now();
        let end = self.session.receive(self.exchange.input(), now, time::wall());
        self.was_congested = self.session.is_congested();
        self.pass_on_events(now);
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
        let (local, config) = (self.local, &**self.config);
        match event {
            Event::Connected { session_present, .. } => {
                self.connack_deadline = None;
                self.connected_at = Some(now);
                local.look_for_left(config, self.memory, session_present);
                let is_said = local.connected(config, session_present, self.short);
                self.stays_at = (!is_said).then(|| now + BACKOFF.stable_after);
                self.announcements.connected(now);
            }
            Event::Message(message, token) => {
                self.announcements.heard(&message.topic, &message.payload, now);
                local.legs.arrived(message, token, now);
            }
            Event::TooLarge(topic, size) => local.legs.too_large(&topic, size),
            Event::Unreadable(topic, why) => local.legs.unreadable(topic.as_str(), &why.to_string()),
            Event::PropertiesLeftOut(topic) => local.said.properties_left_out(config, &topic),
            Event::Delivered(sequence) if Announcements::is_own(sequence) => {}
            Event::Delivered(sequence) => local.legs.delivered(sequence),
            Event::Expired(sequence) => local.legs.expired(sequence),
            Event::Rejected(sequence, message, rejection) | Event::Doubtful(sequence, message, rejection) => {
                local.rejected(
                    config,
                    self.announcements,
                    (sequence, &message.topic),
                    &MessageRefused::from(&rejection),
                );
            }
            Event::Guilty(condition, reason) => local.legs.guilty(&condition, &reason.to_string()),
            Event::Overdue(topic, count) => local.said.overdue(config, &topic, count),
            Event::Throttled(topic, wait) => local.said.throttled(config, &topic, wait),
            Event::Subscription(filter, answer) => {
                if let Answer::Refused(reason) = &answer {
                    local.state.filter_refused(&filter, format!("the broker refuses it with {reason}"));
                }
                local.said.subscription(config, &filter, &answer);
            }
            Event::SubscribeOverdue(filter) => {
                local.state.filter_refused(&filter, "the broker doesn't answer the SUBSCRIBE".to_owned());
                local.said.subscribe_overdue(config, &filter);
            }
            Event::Settled(standing, identifiers) => {
                local.state.keep_refused(|filter| !standing.keys().any(|standing| standing.as_str() == filter));
                local.said.settled(config, &standing);
                let memory = Rc::clone(self.memory);
                tokio::task::spawn_local(async move {
                    memory.remember((standing, identifiers), |_| false, [].iter()).await
                });
            }
            // It has no birth, and a fixed keep alive.
            Event::LimitsRelaxed
            | Event::BirthSent(_)
            | Event::BirthRefused(_)
            | Event::BirthUnanswered(_)
            | Event::BirthTaken
            | Event::Silence(_) => {}
        }
    }

    fn acknowledge(&mut self) {
        self.local.legs.acks().drain(&mut self.acks);
        for token in self.acks.drain(..) {
            self.session.acknowledge(token);
        }
    }

    /// Says DISCONNECT, lets the broker close, and closes.
    async fn say_goodbye(&mut self) {
        self.acknowledge();
        self.session.disconnect();
        self.exchange.hang_up(self.session).await;
    }
}

/// The bytes of a connection, while the rest waits for other things.
struct Moving<'a, S> {
    session: &'a mut Session,
    exchange: &'a mut Exchange<S>,
    is_connected: bool,
    has_unwritten: bool,
    may_read: bool,
    turns: &'a mut Turns,
}

impl<S: Transport> Moving<'_, S> {
    /// Writes what the session has, reads what has come. Ready when there is something to look at.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Moved>> {
        let had_room = self.session.has_room();
        match self.exchange.write(self.session, cx).and_then(|wrote| {
            if wrote.bytes > 0 && !self.is_connected {
                self.exchange.stream().acknowledge_at_once();
            }
            self.exchange.flush(self.session, cx)
        }) {
            Ok(true) if self.has_unwritten => return Poll::Ready(Ok(Moved::Written)),
            Ok(_) => {}
            Err(error) => return Poll::Ready(Ok(Moved::Failed(self.exchange.last_word(cx, error)))),
        }
        let read = if self.may_read { self.exchange.read(self.session, cx) } else { Poll::Pending };
        if read.is_pending() && !had_room && self.session.has_room() {
            return Poll::Ready(Ok(Moved::Room));
        }
        match ready!(read)? {
            0 => Poll::Ready(Ok(Moved::End)),
            n => {
                self.turns.read(n);
                Poll::Ready(Ok(Moved::Read))
            }
        }
    }
}
