//! Waits for a time that the clock on the wall shows.
//!
//! tokio's timers go by a clock that nobody sets. This one is a timerfd(2) of the real-time clock: it ends the wait when that
//! shows the time, and as soon as it is set. In between nothing wakes up.

use std::future::poll_fn;
use std::io;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::libc::time_t;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;

use super::timer_fd::{self, WatchedTimer};

/// A timer, made when it is needed first: most schedules don't need it.
#[derive(Debug, Default)]
pub(crate) struct WallTimer {
    timer: Option<AsyncFd<WatchedTimer>>,
}

impl WallTimer {
    /// Sets the time to wait for. Whoever looks at the clock after this misses no change of it.
    ///
    /// # Errors
    /// The kernel gives no timer: too many files are open.
    pub(crate) fn arm(&mut self, time: Timestamp) -> io::Result<()> {
        let timer = match self.timer.take() {
            Some(timer) => timer,
            None => timer_fd::timer(ClockId::CLOCK_REALTIME)?,
        };
        // Zero would disarm it. What a time_t of 32 bits can't say is waited for until its end, and then looked at again.
        let seconds = time_t::try_from(time.as_second().max(1)).unwrap_or(time_t::MAX);
        let at = TimeSpec::new(seconds, time.subsec_nanosecond().max(0).into());
        let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        let armed = timer.get_ref().0.set(Expiration::OneShot(at), flags);
        self.timer = Some(timer);
        match armed {
            // The clock was set since it was armed last; it is armed all the same (timerfd_create(2), Notes).
            Ok(()) | Err(Errno::ECANCELED) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Completes when the time has come or the clock was set; never if no time is set.
    pub(crate) async fn fired(&self) -> io::Result<()> {
        let Some(timer) = &self.timer else { return std::future::pending().await };
        loop {
            let mut ready = poll_fn(|cx| timer.poll_read_ready(cx)).await?;
            if let Ok(outcome) = ready.try_io(|fd| fd.get_ref().0.wait().map_err(io::Error::from)) {
                return outcome;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;

    use super::*;

    #[tokio::test(flavor = "local")]
    async fn it_ends_when_the_clock_shows_the_time_and_can_be_set_again() {
        let mut timer = WallTimer::default();
        for _ in 0..2 {
            let time = Timestamp::now() + SignedDuration::from_millis(30);
            timer.arm(time).unwrap();
            timer.fired().await.unwrap();
            assert!(Timestamp::now() >= time);
        }
        timer.arm(Timestamp::MIN).unwrap();
        timer.fired().await.unwrap();
    }

    #[tokio::test(flavor = "local")]
    async fn a_time_far_away_does_not_come() {
        let mut timer = WallTimer::default();
        assert!(tokio::time::timeout(Duration::from_millis(30), timer.fired()).await.is_err());
        timer.arm(Timestamp::MAX).unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(30), timer.fired()).await.is_err());
    }
}
