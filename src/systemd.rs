//! What systemd is told: readiness, status, the watchdog.

use std::cell::Cell;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::printable::printable;

/// Speaks to systemd's notification socket; without one it does nothing.
#[derive(Debug)]
pub(crate) struct Notifier {
    /// Half of what systemd allows between two signs of life.
    watchdog_interval: Option<Duration>,
    last_sign: Cell<Instant>,
    ready: Cell<Ready>,
}

/// Whether systemd knows that the service is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    NotYet,
    /// It took nothing when it was to be told.
    Untold,
    Told,
}

/// Signs of life don't come more often, whatever systemd allows.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);

impl Notifier {
    /// Reads `WATCHDOG_USEC`, which systemd sets when the unit has `WatchdogSec=`.
    pub(crate) fn from_environment(now: Instant) -> Notifier {
        Notifier {
            watchdog_interval: sd_notify::watchdog_enabled().and_then(interval),
            last_sign: Cell::new(now),
            ready: Cell::new(Ready::NotYet),
        }
    }

    /// The service is up. Said once, and again if systemd has taken nothing.
    pub(crate) fn ready(&self) {
        if self.ready.get() != Ready::Told {
            let told = send(&[NotifyState::Ready]);
            self.ready.set(if told { Ready::Told } else { Ready::Untold });
        }
    }

    /// The start takes longer: until so much later nobody is to worry.
    pub(crate) fn not_yet(&self, time: Duration) {
        let time = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let _ = send(&[NotifyState::ExtendTimeoutUsec(time)]);
    }

    /// What `systemctl status` shows.
    pub(crate) fn status(&self, text: &str) {
        tell_status(text);
    }

    pub(crate) fn stopping(&self) {
        let _ = send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// When [`Notifier::alive`] must be called at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.watchdog_interval.map(|interval| self.last_sign.get() + interval)
    }

    /// The caller has woken up for something else: a sign of life now may save a wake-up for it later. One is sent when half
    /// the time to the next has passed, so that a busy daemon doesn't send one a message.
    pub(crate) fn alive(&self, now: Instant) {
        if self.ready.get() == Ready::Untold {
            self.ready();
        }
        if let Some(interval) = self.watchdog_interval
            && now >= self.last_sign.get() + interval / 2
        {
            self.last_sign.set(now);
            let _ = send(&[NotifyState::Watchdog]);
        }
    }
}

/// What `systemctl status` shows, also of a start that comes to nothing.
pub(crate) fn tell_status(text: &str) {
    // A line end would begin another message to systemd.
    let _ = send(&[NotifyState::Status(&printable(text))]);
}

/// How often there is a sign of life where systemd waits for one for so long; with 0 it waits for none.
fn interval(allowed: Duration) -> Option<Duration> {
    (!allowed.is_zero()).then(|| SHORTEST_INTERVAL.max(allowed / 2))
}

/// Whether it needn't be said again. A service manager that can't be reached is no reason to stop working, and nobody waits for
/// one that takes nothing for now.
fn send(states: &[NotifyState<'_>]) -> bool {
    match std::env::var_os("NOTIFY_SOCKET").map_or(Ok(()), |socket| send_to(&socket, states)) {
        Ok(()) => true,
        Err(error) => {
            log::debug!("systemd can't be notified of {states:?}: {error}");
            error.kind() != io::ErrorKind::WouldBlock
        }
    }
}

/// As [`sd_notify::notify`], which waits while the socket is full, and knows no abstract ones.
fn send_to(socket: &OsString, states: &[NotifyState<'_>]) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let mut text = String::new();
    for state in states {
        // Into memory it can't fail.
        let _ = writeln!(text, "{state}");
    }
    let from = UnixDatagram::unbound()?;
    from.set_nonblocking(true)?;
    from.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_of_life_rides_on_other_wake_ups() {
        let start = Instant::now();
        let interval = Duration::from_secs(90);
        let ready = Cell::new(Ready::Told);
        let notifier = Notifier { watchdog_interval: Some(interval), last_sign: Cell::new(start), ready };
        assert_eq!(notifier.deadline(), Some(start + interval));
        notifier.alive(start + Duration::from_secs(44));
        assert_eq!(notifier.deadline(), Some(start + interval));
        // A keep alive of 60 s moves the deadline before it comes: the watchdog never wakes us by itself.
        notifier.alive(start + Duration::from_secs(60));
        assert_eq!(notifier.deadline(), Some(start + Duration::from_secs(60) + interval));
    }

    #[test]
    fn no_time_for_a_sign_of_life_asks_for_none_and_a_very_short_one_keeps_nobody_busy() {
        assert_eq!(interval(Duration::ZERO), None);
        assert_eq!(interval(Duration::from_micros(1)), Some(SHORTEST_INTERVAL));
        assert_eq!(interval(Duration::from_secs(180)), Some(Duration::from_secs(90)));
    }

    #[test]
    fn a_service_manager_that_takes_nothing_holds_up_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let socket = path.clone().into_os_string();
        let sent = (0..100_000).take_while(|_| send_to(&socket, &[NotifyState::Watchdog]).is_ok()).count();
        assert!(sent < 100_000, "its queue is bounded");
        assert_eq!(send_to(&socket, &[NotifyState::Ready]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut text = [0; 64];
        let length = manager.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"WATCHDOG=1\n");
        send_to(&socket, &[NotifyState::Ready]).unwrap();
    }
}
