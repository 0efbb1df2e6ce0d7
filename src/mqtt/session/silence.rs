//! How long nothing may go over a connection: `keep_alive = "auto"`. Pure.
//!
//! A NAT or firewall on the way forgets a connection over which nothing has gone for some time, of half a minute to hours, and tells
//! nobody: what is sent then doesn't arrive, and what the server sends doesn't, either. So something has to be sent before, and each
//! time that it needn't have been sent is paid for. How long the network allows is found by trying: silence is let grow to twice
//! what it has borne, until something that is sent after it isn't answered, and between the two it is tried once or twice more.
//!
//! A connection may also end for another reason just then. So a silence only counts as too long if the next attempt to connect
//! succeeds, as it does where only the connection was forgotten; and it is tried once more after [`DOUBT`] before it is believed for
//! [`BELIEF`]. If what has been borne before isn't any more, the network may be another one, and all begins anew below that: where it
//! was an accident, that costs a few packets. No network forgets as fast as [`HARDLY`]: if that isn't borne, it is the server that
//! doesn't answer, of which nothing is learned.
//!
//! What is known lasts as long as the session, over connections; a daemon that starts begins anew.

use std::time::{Duration, Instant};

use crate::mqtt::KeepAlive;

/// Nothing is concluded from a shorter silence, and none shorter is ever tried.
const SHORTEST: Duration = Duration::from_secs(25);

/// If a shorter one isn't borne, it isn't for the silence.
const HARDLY: Duration = Duration::from_secs(30);

/// The first that is tried.
pub(crate) const FIRST: Duration = Duration::from_secs(60);

/// After so long a silence that wasn't borne once is tried again.
const DOUBT: Duration = Duration::from_secs(60 * 60);

/// And one that wasn't twice in a row: whoever runs the network may have changed something.
const BELIEF: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Silence {
    /// Never longer than this.
    longest: Duration,
    /// The longest that the network has borne.
    borne: Duration,
    /// The shortest, longer than that, which it hasn't.
    forgotten: Option<Forgotten>,
    /// How long nothing had gone over the connection before what was sent last, as long as nothing has come since.
    tried: Option<Duration>,
    /// The connection has ended before anything came.
    lost: Option<Duration>,
    /// Until then nothing is learned.
    idle_until: Option<Instant>,
    /// After how long a silence something has to be sent.
    interval: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Forgotten {
    after: Duration,
    /// When it is tried again.
    again_at: Instant,
}

/// What has been found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// A PINGREQ goes after so long a silence from now on.
    pub(crate) interval: Duration,
    /// The connection was forgotten after this one.
    pub(crate) forgotten_after: Option<Duration>,
}

impl Found {
    /// The server may want a PINGREQ sooner (Server Keep Alive of MQTT 5).
    pub(super) fn up_to(self, keep_alive: Duration) -> Found {
        Found { interval: self.interval.min(keep_alive), ..self }
    }
}

impl Silence {
    /// `None` where it isn't found by trying.
    pub(super) fn of(keep_alive: KeepAlive) -> Option<Silence> {
        keep_alive.is_adaptive().then(|| Silence::new(keep_alive.longest()))
    }

    /// One that grows up to `longest`, the keep alive that the server is told.
    pub(super) fn new(longest: Duration) -> Silence {
        Silence {
            longest,
            borne: (FIRST / 2).min(longest),
            forgotten: None,
            tried: None,
            lost: None,
            idle_until: None,
            interval: FIRST.min(longest),
        }
    }

    /// After how long a silence something has to be sent.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    fn next_interval(&self, now: Instant) -> Duration {
        let interval = match self.forgotten {
            None => self.borne * 2,
            Some(forgotten) if forgotten.again_at <= now => forgotten.after,
            Some(Forgotten { after, .. }) if after > self.borne * 4 => self.borne * 2,
            Some(Forgotten { after, .. }) if after > self.borne * 3 / 2 => self.borne + (after - self.borne) / 2,
            // Timers and networks aren't that exact.
            Some(_) => self.borne - self.borne / 16,
        };
        interval.clamp(SHORTEST, self.longest.max(SHORTEST))
    }

    /// Something is sent, and nothing has gone either way for so long.
    pub(super) fn sent_after(&mut self, silence: Duration) {
        if silence >= SHORTEST {
            self.tried.get_or_insert(silence);
        }
    }

    /// Something has come, and before it, or before what was sent last, nothing has gone either way for so long.
    pub(super) fn received_after(&mut self, silence: Duration) {
        let silence = self.tried.take().unwrap_or(silence);
        if silence < SHORTEST {
            return;
        }
        self.borne = self.borne.max(silence).min(self.longest);
        self.forgotten = self.forgotten.filter(|forgotten| forgotten.after > silence);
    }

    /// An established connection has ended, and not by us, when nothing had gone over it for so long: some networks close what they
    /// forget.
    pub(super) fn lost_after(&mut self, silence: Duration) {
        self.lost = self.tried.take().or_else(|| (silence >= SHORTEST).then_some(silence));
    }

    /// An attempt to connect has failed, or it was we who ended the connection: that says nothing of a silence.
    pub(super) fn never_mind(&mut self) {
        (self.tried, self.lost) = (None, None);
    }

    /// The next connection is established.
    pub(super) fn connected(&mut self, now: Instant) {
        self.tried = None;
        let is_idle = self.idle_until.is_some_and(|until| now < until);
        if let Some(silence) = self.lost.take().filter(|_| !is_idle) {
            self.was_too_long(silence, now);
        }
        self.interval = self.next_interval(now);
    }

    fn was_too_long(&mut self, silence: Duration, now: Instant) {
        if silence < HARDLY {
            *self = Silence { idle_until: Some(now + DOUBT), ..Silence::new(self.longest) };
            return;
        }
        if silence <= self.borne {
            (self.borne, self.forgotten) = (FIRST / 2, None);
        }
        // The same once more, after it was doubted: now it is believed.
        let is_again = self.forgotten.is_some_and(|forgotten| silence >= forgotten.after);
        let again_at = now + if is_again { BELIEF } else { DOUBT };
        let after = self.forgotten.map_or(silence, |forgotten| forgotten.after.min(silence));
        self.forgotten = Some(Forgotten { after, again_at });
    }

    /// What is to be told. To be asked after whatever was told: `None` if nothing else is known than before.
    pub(super) fn found(&mut self, now: Instant) -> Option<Found> {
        let interval = self.next_interval(now);
        let before = std::mem::replace(&mut self.interval, interval);
        (interval != before).then(|| self.known())
    }

    /// What is known.
    pub(super) fn known(&self) -> Found {
        Found { interval: self.interval, forgotten_after: self.forgotten.map(|forgotten| forgotten.after) }
    }
}
