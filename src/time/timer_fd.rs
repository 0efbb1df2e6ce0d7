//! A timerfd(2) that tokio watches.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};

use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One that is closed when it is dropped.
#[derive(Debug)]
pub(super) struct WatchedTimer(pub(super) TimerFd);

impl AsRawFd for WatchedTimer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// A timer by this clock, not set. Must be called inside a tokio runtime.
///
/// # Errors
/// The kernel gives none: too many files are open.
pub(super) fn timer(clock: ClockId) -> io::Result<AsyncFd<WatchedTimer>> {
    register(TimerFd::new(clock, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?)
}

/// The function is deprecated because a type may lie about its file descriptor, in favour of one that is `unsafe`, which this
/// crate forbids. A [`TimerFd`] owns its own until it is dropped, and nothing here exchanges it.
#[expect(deprecated, reason = "sound for a TimerFd; what replaces it is unsafe")]
fn register(timer: TimerFd) -> io::Result<AsyncFd<WatchedTimer>> {
    AsyncFd::with_interest(WatchedTimer(timer), Interest::READABLE)
}
