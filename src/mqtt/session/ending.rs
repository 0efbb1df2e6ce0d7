//! How a connection begins and ends.

use std::time::{Duration, Instant};

use super::{End, Label, Liveness, Session, State};
use crate::mqtt::wire::Opening;

impl Liveness {
    /// How long nothing has gone either way.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_sent.max(self.last_received))
    }
}

impl Session {
    /// A transport is open: says CONNECT on it.
    pub(crate) fn connect(&mut self) {
        self.clear();
        self.wire.restart();
        self.is_answer_bad = false;
        self.state = State::Connecting;
        self.wire.connect(&Opening::of(&self.options), &mut self.output);
        self.put(Label::CONNECTION, 0);
    }

    /// The connection has ended, and not by us: what is concluded of the network depends on when. To be told before
    /// [`Session::connection_lost`].
    pub(crate) fn broke(&mut self, now: Instant) {
        if let (State::Connected(liveness), Some(silence)) = (&self.state, &mut self.silence) {
            silence.lost_after(liveness.silence(now));
        }
    }

    /// When the server was last heard, on a connection that hasn't been [lost](Session::connection_lost) yet.
    pub(crate) fn heard_at(&self) -> Option<Instant> {
        match &self.state {
            State::Connected(liveness) => Some(liveness.last_received),
            State::Disconnecting(heard_at) => *heard_at,
            State::Disconnected | State::Connecting => None,
        }
    }

    /// The server has closed the connection after our DISCONNECT: it was there until now.
    pub(crate) fn has_closed(&mut self, now: Instant) {
        if let State::Disconnecting(Some(heard_at)) = &mut self.state {
            *heard_at = now;
        }
    }

    /// The connection is gone, however that came, or an attempt has failed. What was in flight waits for the next one.
    pub(crate) fn connection_lost(&mut self) {
        let was_connected = self.is_connected();
        if let Some(silence) = self.silence.as_mut().filter(|_| !was_connected) {
            silence.never_mind();
        }
        self.clear();
    }

    fn clear(&mut self) {
        self.state = State::Disconnected;
        self.forget_traffic();
        self.output.clear();
        self.events.clear();
        self.owed.connection_lost();
        self.birth.connection_lost();
        self.congested_since = None;
        self.arriving = None;
        self.overrun = None;
        self.held_until = None;
        self.is_unanswered = false;
        self.is_unjudged = false;
    }

    /// Likewise, where it is told only later how it ended: [`Session::closed_by_server`] or [`Session::ended_otherwise`], before the
    /// next [`Session::connect`].
    pub(crate) fn connection_lost_unjudged(&mut self) {
        let was_established = !matches!(self.state, State::Disconnected | State::Connecting);
        self.connection_lost();
        self.is_unjudged = was_established;
    }

    /// Says goodbye; nothing is sent after it. Before CONNACK there is nobody to say it to.
    pub(crate) fn disconnect(&mut self) {
        if matches!(self.state, State::Connected(_)) {
            let before = self.output.len();
            self.wire.disconnect(&mut self.output);
            self.put(Label::CONNECTION, before);
        }
        self.state = State::Disconnecting(self.heard_at());
    }

    /// Tells the server, as far as MQTT 5 wants that, why the connection ends. Whether there is anything to be told.
    pub(crate) fn say_why(&mut self, end: &End) -> bool {
        let Some(reason) = end.reason().filter(|_| self.is_connected()) else { return false };
        let before = self.output.len();
        self.wire.disconnect_for(reason, &mut self.output);
        self.put(Label::CONNECTION, before);
        true
    }
}
