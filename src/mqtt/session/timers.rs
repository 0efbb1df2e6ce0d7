//! What is due when: a PINGREQ, an answer that hasn't come, a filter that is asked for again.

use std::time::{Duration, Instant};

use super::event::{End, Event};
use super::patience::{Awaited, BURDEN};
use super::{Label, Liveness, Session, State};
use crate::mqtt::Protocol;
use crate::mqtt::wire::Request;

/// Where silence may be long, an answer that doesn't come isn't to be waited for as long as that.
const MAX_PING_TIMEOUT: Duration = Duration::from_secs(30);

impl Session {
    /// So many bytes of the output have been written.
    pub(crate) fn wrote(&mut self, bytes: usize, now: Instant) {
        let before = self.progress.written();
        self.progress.wrote(bytes);
        if let State::Connected(liveness) = &mut self.state {
            if let Some(silence) = &mut self.silence {
                silence.sent_after(liveness.silence(now));
            }
            liveness.last_sent = now;
        }
        self.moved(before, now);
    }

    /// Of what was written so many bytes may not have arrived yet: the server's TCP hasn't acknowledged them. If more has arrived
    /// than was known, what hasn't waits for its answer from now on. To be told before each [`Session::handle_timeout`] while
    /// the session [waits](Session::is_waiting), which is due twice in an `ack_timeout` for this: what arrives in between still
    /// has half of it.
    pub(crate) fn not_arrived(&mut self, bytes: usize, now: Instant) {
        let place = self.progress.written().saturating_sub(bytes as u64);
        if self.progress.arrived(place) {
            self.moved(place, now);
        }
    }

    /// The server has answered what ends at `place`.
    pub(super) fn answered(&mut self, place: u64, now: Instant) {
        self.progress.arrived(place);
        self.moved(place, now);
    }

    /// What ends at `place` has been written, has arrived or was answered: what is behind it waits for its answer from now on.
    pub(super) fn moved(&mut self, place: u64, now: Instant) {
        self.in_flight.moved(place, now);
        self.subscriptions.moved(place, now);
        if let State::Connected(Liveness { ping_sent: Some(ping), .. }) = &mut self.state {
            ping.moved(place, now);
        }
    }

    /// The packet that was put into the output just now.
    pub(super) fn just_put(&mut self, now: Instant) -> Awaited {
        if !self.is_waiting() {
            self.progress.look_at = Some(now + self.ack_timeout() / 2);
        }
        Awaited::new(self.place(), now)
    }

    /// Whether the server has to answer something.
    pub(crate) fn is_waiting(&self) -> bool {
        let is_ping = matches!(self.state, State::Connected(Liveness { ping_sent: Some(_), .. }));
        is_ping || self.in_flight.on_the_wire() > 0 || self.subscriptions.is_asking()
    }

    /// The end of the output, in all that was ever put there.
    pub(super) fn place(&self) -> u64 {
        self.progress.written() + self.output.len() as u64
    }

    /// Whether so much is on the wire that much of it may not have left this machine.
    pub(crate) fn is_burdened(&self) -> bool {
        self.in_flight.size_on_the_wire() >= BURDEN
    }

    /// How long to wait for a PUBACK.
    pub(super) fn ack_timeout(&self) -> Duration {
        self.patience.of(self.options.ack_timeout)
    }

    /// When [`Session::handle_timeout`] has to be called at the latest.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let State::Connected(liveness) = &self.state else { return None };
        if self.is_blocked() {
            return Some(liveness.last_sent + self.keep_alive);
        }
        let mut first = self.liveness_deadline(liveness);
        // Four times a message: one after another, as a chain of iterators over all of them takes twice as long.
        let mut or = |at: Option<Instant>| match at {
            Some(at) if at < first => first = at,
            _ => {}
        };
        or(self.in_flight.check_at());
        or(self.subscriptions.deadline(self.options.ack_timeout));
        or(self.subscriptions.ask_again_at());
        or(self.isolation.ping_at().filter(|_| liveness.ping_sent.is_none()));
        or(self.progress.look_at.filter(|_| self.is_waiting()));
        or(self.congested_since.map(|since| since + self.congestion_limit()));
        or(self.arriving.map(|arriving| arriving.due_at(self.ack_timeout())));
        or(self.isolation.look_at());
        or(self.holding.ask_again_at());
        or(self.throttle.until());
        or(self.held_until);
        or(self.birth.alone_until());
        or(self.birth.late_at());
        Some(first)
    }

    /// When the next PINGREQ is due (`MQTT-3.1.2-23`: something must be sent each keep alive; that nothing was received is
    /// reason enough to ask), or its answer overdue.
    fn liveness_deadline(&self, liveness: &Liveness) -> Instant {
        match liveness.ping_sent {
            Some(ping) => ping.since() + self.ping_timeout(),
            None => match &self.silence {
                None => liveness.last_sent.min(liveness.last_received) + self.keep_alive,
                // What comes keeps a NAT from forgetting, too. What is sent and not answered, as QoS 0, doesn't say that it arrives.
                Some(silence) => {
                    let asked_at = liveness.last_received + silence.interval();
                    asked_at.min(liveness.last_sent + self.keep_alive)
                }
            },
        }
    }

    /// How long to wait for a PINGRESP.
    fn ping_timeout(&self) -> Duration {
        let half = self.keep_alive / 2;
        if self.silence.is_some() { half.min(MAX_PING_TIMEOUT) } else { half }
    }

    /// Tells how long the network bears silence, if more is known.
    pub(super) fn tell_found(&mut self, now: Instant) {
        let found = self.silence.as_mut().and_then(|silence| silence.found(now));
        self.events.extend(found.map(|found| Event::Silence(found.up_to(self.keep_alive))));
    }

    /// Does what is due by now.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), End> {
        if self.progress.look_at.is_some_and(|at| at <= now) {
            self.progress.look_at = Some(now + self.ack_timeout() / 2);
            self.ask_for_life(now);
        }
        if self.is_blocked() {
            self.show_life(now);
            return Ok(());
        }
        let State::Connected(liveness) = &self.state else { return Ok(()) };
        let limit = self.congestion_limit();
        if self.congested_since.is_some_and(|since| since + limit <= now) {
            return Err(End::TooMany(Some(limit)));
        }
        if let Some(arriving) = self.arriving.filter(|arriving| arriving.due_at(self.ack_timeout()) <= now) {
            self.acquit(now);
            let (come, size) = (arriving.come(), arriving.size());
            return Err(End::Unfinished { come, size, waited: now.saturating_duration_since(arriving.since()) });
        }
        let is_ping_due = self.isolation.ping_at().is_some_and(|at| at <= now) && liveness.ping_sent.is_none();
        if is_ping_due || now >= self.liveness_deadline(liveness) {
            if liveness.ping_sent.is_some() {
                self.acquit(now);
                return Err(End::NoPingResp(self.ping_timeout()));
            }
            self.ping(now);
        }
        self.look_at_birth(now);
        self.throttle.look(now);
        self.held_until = self.held_until.filter(|until| *until > now);
        self.isolation.looked(now);
        if self.subscriptions.ask_again_at().is_some_and(|at| at <= now) {
            self.subscriptions.ask_again(now);
            self.request(now);
        }
        match self.options.protocol {
            Protocol::Mqtt311 => {
                self.repeat_overdue(now);
                Ok(())
            }
            Protocol::Mqtt5 => self.end_if_overdue(now),
        }
    }

    /// Whether nothing can be heard of the server, for however long: no answer is late then.
    pub(super) fn is_blocked(&self) -> bool {
        self.options.waits_for_room && self.is_congested()
    }

    /// Says a PINGREQ each keep alive, without waiting for its answer.
    fn show_life(&mut self, now: Instant) {
        let State::Connected(liveness) = &mut self.state else { return };
        liveness.ping_sent = None;
        if now >= liveness.last_sent + self.keep_alive {
            liveness.last_sent = now;
            let before = self.output.len();
            self.wire.pingreq(&mut self.output);
            self.put(Label::KEEP_ALIVE, before);
        }
    }

    /// Sends again what the server hasn't answered in time, on the same connection as Device Advisor wants it.
    fn repeat_overdue(&mut self, now: Instant) {
        if self.subscriptions.deadline(self.options.ack_timeout).is_some_and(|deadline| deadline <= now) {
            self.acquit(now);
        }
        let before = self.output.len();
        for pending in self.subscriptions.overdue(now, self.options.ack_timeout) {
            self.wire.request(pending.id, &pending.request, &mut self.output);
            if let Request::Subscribe(filters, _) = &pending.request {
                self.events.extend(filters.first().map(|(filter, _)| Event::SubscribeOverdue(filter.clone())));
            }
        }
        self.put(Label::SUBSCRIBE, before);
        if self.in_flight.check_at().is_some_and(|check_at| check_at <= now) {
            let ack_timeout = self.ack_timeout();
            let first = self.in_flight.overdue(now, ack_timeout).cloned();
            if first.is_some() {
                self.patience.was_too_short(self.in_flight.size_on_the_wire());
                self.acquit(now);
                self.is_unanswered = true;
                self.ask_whether_it_is_there(now);
            }
            let count = self.in_flight.mark_overdue(now, ack_timeout);
            self.events.extend(first.map(|topic| Event::Overdue(topic, count)));
            self.go_on(now);
        }
    }

    /// With `keep_alive = "auto"` the next PINGREQ may be far away, and each copy of a message would put it off.
    fn ask_whether_it_is_there(&mut self, now: Instant) {
        if self.silence.is_some() && matches!(self.state, State::Connected(Liveness { ping_sent: None, .. })) {
            self.ping(now);
        }
    }

    /// MQTT 5 forbids to send a PUBLISH again on the same connection (`MQTT-4.4.0-1`): a new one is needed for that.
    fn end_if_overdue(&mut self, now: Instant) -> Result<(), End> {
        if let Some(end) = self.overdue_request(now) {
            self.acquit(now);
            return Err(end);
        }
        let ack_timeout = self.ack_timeout();
        let overdue = self.in_flight.overdue(now, ack_timeout).cloned();
        let Some(topic) = overdue else {
            self.in_flight.mark_overdue(now, ack_timeout);
            return Ok(());
        };
        self.patience.was_too_short(self.in_flight.size_on_the_wire());
        self.acquit(now);
        Err(End::NoPubAck(topic, ack_timeout))
    }

    /// That a SUBSCRIBE or UNSUBSCRIBE isn't answered in time.
    fn overdue_request(&mut self, now: Instant) -> Option<End> {
        let ack_timeout = self.options.ack_timeout;
        match self.subscriptions.overdue(now, ack_timeout).next().map(|pending| &pending.request)? {
            Request::Subscribe(filters, _) => Some(End::NoSubAck(filters.first()?.0.clone(), ack_timeout)),
            Request::Unsubscribe(filters) => Some(End::NoUnsubAck(filters.first()?.clone(), ack_timeout)),
        }
    }
}
