//! The timer of a connection: a wait costs one wake-up.
//!
//! tokio's timers are exact to the millisecond, and reach a minute in three steps: each is a wake-up. This one is a timerfd(2).
//! Setting it is a system call, so that it isn't set anew where that would only save a wake-up now and then.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Putting it off by less than this, or so soon again, happens with every packet. Then it ends the wait too early instead.
const WORTH_SETTING: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Timer {
    /// `None`: the kernel gives none, as too many files are open. tokio's is as good.
    kernel: Option<AsyncFd<Fd>>,
    /// When the wait ends, unless it has.
    set_to: Option<Instant>,
    /// When it was put off last.
    put_off: Option<Instant>,
}

#[derive(Debug)]
struct Fd(TimerFd);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    /// One that isn't set. Must be called inside a tokio runtime.
    pub(super) fn new() -> Timer {
        let kernel = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC);
        let kernel = kernel.map_err(io::Error::from).and_then(register);
        let kernel = kernel.map_err(|error| log::debug!("the kernel gives no timer (timerfd): {error}")).ok();
        Timer { kernel, set_to: None, put_off: None }
    }

    /// [`Timer::fired`] completes at `at` or earlier.
    pub(super) fn set(&mut self, at: Instant, now: Instant) {
        if let Some(set_to) = self.set_to.filter(|set_to| *set_to <= at) {
            let was_put_off = self.put_off.is_some_and(|before| now < before + WORTH_SETTING);
            if was_put_off || at < set_to + WORTH_SETTING {
                return;
            }
            self.put_off = Some(now);
        }
        self.set_to = Some(at);
        // Zero would disarm it.
        let wait = at.saturating_duration_since(now).max(Duration::from_nanos(1));
        if let Some(kernel) = &self.kernel
            && let Err(error) =
                kernel.get_ref().0.set(Expiration::OneShot(TimeSpec::from(wait)), TimerSetTimeFlags::empty())
        {
            log::debug!("the kernel doesn't set its timer: {error}");
            self.kernel = None;
        }
    }

    /// Completes when the time has come, once for each time it is set. May be dropped at any point.
    pub(super) async fn fired(&mut self) {
        let Some(set_to) = self.set_to else { return std::future::pending().await };
        match &self.kernel {
            // What it counts needs no reading: setting it again begins anew.
            Some(kernel) => {
                while Instant::now() < set_to {
                    match kernel.readable().await {
                        Ok(mut ready) => ready.clear_ready(),
                        Err(_) => tokio::time::sleep_until(set_to.into()).await,
                    }
                }
            }
            None => tokio::time::sleep_until(set_to.into()).await,
        }
        self.set_to = None;
    }
}

/// The function is deprecated because a type may lie about its file descriptor, in favour of one that is `unsafe`, which this
/// crate forbids. A [`TimerFd`] owns its own until it is dropped, and nothing here exchanges it.
#[expect(deprecated, reason = "sound for a TimerFd; what replaces it is unsafe")]
fn register(timer: TimerFd) -> io::Result<AsyncFd<Fd>> {
    AsyncFd::with_interest(Fd(timer), Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(flavor = "local")]
    async fn it_ends_a_wait_at_its_time_and_can_be_set_again() {
        let (mut timer, mut without) = (Timer::new(), Timer { kernel: None, set_to: None, put_off: None });
        for timer in [&mut timer, &mut without] {
            for wait in [20 * MS, MS, Duration::ZERO] {
                let now = Instant::now();
                timer.set(now + wait, now);
                timer.fired().await;
                assert!(now.elapsed() >= wait);
            }
            assert!(tokio::time::timeout(20 * MS, timer.fired()).await.is_err(), "once for each time it is set");
        }
    }

    #[tokio::test(flavor = "local")]
    async fn it_can_be_brought_forward_and_put_off() {
        let mut timer = Timer::new();
        let now = Instant::now();
        timer.set(now + HOUR, now);
        timer.set(now + 5 * MS, now);
        timer.fired().await;
        assert!(now.elapsed() < HOUR);
        // It fires, which nobody sees before it is put off.
        let now = Instant::now();
        timer.set(now, now);
        std::thread::sleep(MS);
        timer.set(now + HOUR, now);
        assert!(tokio::time::timeout(20 * MS, timer.fired()).await.is_err());
    }

    #[tokio::test(flavor = "local")]
    async fn it_is_not_set_with_every_packet() {
        let mut timer = Timer::new();
        let start = Instant::now();
        let (ack, keep_alive) = (Duration::from_secs(5), Duration::from_secs(60));
        timer.set(start + keep_alive, start);
        // A hundred packets a second, each answered a millisecond later.
        let mut times = Vec::new();
        for n in 0..1000 {
            let now = start + n * 10 * MS;
            timer.set(now + ack, now);
            timer.set(now + MS + keep_alive, now + MS);
            times.push(timer.set_to.unwrap());
            assert!(timer.set_to.unwrap() <= now + MS + keep_alive);
        }
        times.dedup();
        assert!(times.len() <= 20, "{} in 10 s", times.len());
        // On an idle link an answer puts it off at once.
        let idle = start + HOUR;
        timer.set_to = None;
        timer.set(idle + ack, idle);
        timer.set(idle + keep_alive, idle + MS);
        assert_eq!(timer.set_to, Some(idle + keep_alive));
    }
}
