//! What systemd is told: readiness, status, the watchdog.

use std::cell::Cell;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::printable::printable;

/// Speaks to systemd's notification socket; without one it does nothing.
#[derive(Debug)]
pub(crate) struct Notifier {
    /// Half of what systemd allows between two signs of life.
    watchdog_interval: Option<Duration>,
    last_sign: Cell<Instant>,
    ready: Cell<bool>,
}

impl Notifier {
    /// Reads `WATCHDOG_USEC`, which systemd sets when the unit has `WatchdogSec=`.
    pub(crate) fn from_environment(now: Instant) -> Notifier {
        Notifier {
            watchdog_interval: sd_notify::watchdog_enabled().map(|allowed| allowed / 2),
            last_sign: Cell::new(now),
            ready: Cell::new(false),
        }
    }

    /// The service is up. Said once.
    pub(crate) fn ready(&self) {
        if !self.ready.replace(true) {
            send(&[NotifyState::Ready]);
        }
    }

    /// The start takes longer: until so much later nobody is to worry.
    pub(crate) fn not_yet(&self, time: Duration) {
        let time = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        send(&[NotifyState::ExtendTimeoutUsec(time)]);
    }

    /// What `systemctl status` shows.
    pub(crate) fn status(&self, text: &str) {
        tell_status(text);
    }

    pub(crate) fn stopping(&self) {
        send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// When [`Notifier::alive`] must be called at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.watchdog_interval.map(|interval| self.last_sign.get() + interval)
    }

    /// The caller has woken up for something else: a sign of life now may save a wake-up for it later. One is sent when half
    /// the time to the next has passed, so that a busy daemon doesn't send one a message.
    pub(crate) fn alive(&self, now: Instant) {
        if let Some(interval) = self.watchdog_interval
            && now >= self.last_sign.get() + interval / 2
        {
            self.last_sign.set(now);
            send(&[NotifyState::Watchdog]);
        }
    }
}

/// What `systemctl status` shows, also of a start that comes to nothing.
pub(crate) fn tell_status(text: &str) {
    // A line end would begin another message to systemd.
    send(&[NotifyState::Status(&printable(text))]);
}

/// A service manager that can't be reached is no reason to stop working.
fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("systemd can't be notified of {states:?}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_of_life_rides_on_other_wake_ups() {
        let start = Instant::now();
        let interval = Duration::from_secs(90);
        let notifier =
            Notifier { watchdog_interval: Some(interval), last_sign: Cell::new(start), ready: Cell::new(false) };
        assert_eq!(notifier.deadline(), Some(start + interval));
        notifier.alive(start + Duration::from_secs(44));
        assert_eq!(notifier.deadline(), Some(start + interval));
        // A keep alive of 60 s moves the deadline before it comes: the watchdog never wakes us by itself.
        notifier.alive(start + Duration::from_secs(60));
        assert_eq!(notifier.deadline(), Some(start + Duration::from_secs(60) + interval));
    }
}
