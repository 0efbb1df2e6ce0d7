//! A timer for what is put off with every message, and mostly never due.
//!
//! tokio's reach a minute in three steps, each a wake-up, and setting one that is nearer than all others is a write to an eventfd
//! and a wake-up. This one is a timerfd(2): a wait is one wake-up. Setting it is a system call, so that it isn't set anew where
//! that would only save a wake-up now and then.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;

use super::timer_fd::{self, WatchedTimer};
use crate::time;

/// Putting it off by less than this, or so soon again, happens with every packet. Then it ends the wait too early instead.
const WORTH_SETTING: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    kernel: Kernel,
    /// When the wait ends, unless it has.
    set_to: Option<Instant>,
    /// When it was put off last.
    put_off: Option<Instant>,
}

/// Made when it is needed first.
#[derive(Debug, Default)]
enum Kernel {
    #[default]
    NotAsked,
    Timer(AsyncFd<WatchedTimer>),
    /// It gives none, as too many files are open or time isn't the kernel's. tokio's is as good.
    GivesNone,
}

impl Kernel {
    /// `None`: it is stopped.
    fn set(&mut self, wait: Option<Duration>) {
        if let Kernel::NotAsked = self {
            let timer =
                time::has_kernel_timers().then(|| timer_fd::timer(ClockId::CLOCK_MONOTONIC)).and_then(Result::ok);
            *self = timer.map_or(Kernel::GivesNone, Kernel::Timer);
        }
        let Kernel::Timer(timer) = self else { return };
        let set = match wait {
            // Zero would stop it.
            Some(wait) => {
                let wait = Expiration::OneShot(TimeSpec::from(wait.max(Duration::from_nanos(1))));
                timer.get_ref().0.set(wait, TimerSetTimeFlags::empty())
            }
            None => timer.get_ref().0.unset(),
        };
        if set.is_err() {
            *self = Kernel::GivesNone;
        }
    }
}

impl Timer {
    /// [`Timer::fired`] completes at this time or earlier; if there is none, perhaps once for nothing. Must be called inside a
    /// tokio runtime.
    pub(crate) fn set(&mut self, at: Option<Instant>, now: Instant) {
        if let Some(set_to) = self.set_to.filter(|set_to| at.is_none_or(|at| *set_to <= at)) {
            let was_put_off = self.put_off.is_some_and(|before| now < before + WORTH_SETTING);
            if was_put_off || at.is_some_and(|at| at < set_to + WORTH_SETTING) {
                return;
            }
            self.put_off = Some(now);
        }
        if self.set_to != at {
            self.set_to = at;
            self.kernel.set(at.map(|at| at.saturating_duration_since(now)));
        }
    }

    /// Completes when the time has come, once for each time it is set. May be dropped at any point.
    pub(crate) async fn fired(&mut self) {
        let Some(set_to) = self.set_to else { return std::future::pending().await };
        match &self.kernel {
            // What it counts needs no reading: setting it again begins anew.
            Kernel::Timer(timer) => {
                while time::now() < set_to {
                    // `readable` would enter itself in a list of who waits each time, and leave it.
                    match poll_fn(|cx| timer.poll_read_ready(cx)).await {
                        Ok(mut ready) => ready.clear_ready(),
                        Err(_) => tokio::time::sleep_until(set_to.into()).await,
                    }
                }
            }
            Kernel::NotAsked | Kernel::GivesNone => tokio::time::sleep_until(set_to.into()).await,
        }
        self.set_to = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(flavor = "local")]
    async fn it_ends_a_wait_at_its_time_and_can_be_set_again() {
        let mut timer = Timer::default();
        let mut without = Timer { kernel: Kernel::GivesNone, ..Timer::default() };
        for timer in [&mut timer, &mut without] {
            for wait in [20 * MS, MS, Duration::ZERO] {
                let now = Instant::now();
                timer.set(Some(now + wait), now);
                timer.fired().await;
                assert!(now.elapsed() >= wait);
            }
            assert!(tokio::time::timeout(20 * MS, timer.fired()).await.is_err(), "once for each time it is set");
        }
    }

    #[tokio::test(flavor = "local")]
    async fn it_can_be_brought_forward_and_put_off() {
        let mut timer = Timer::default();
        let now = Instant::now();
        timer.set(Some(now + HOUR), now);
        timer.set(Some(now + 5 * MS), now);
        timer.fired().await;
        assert!(now.elapsed() < HOUR);
        // It fires, which nobody sees before it is put off.
        let now = Instant::now();
        timer.set(Some(now), now);
        std::thread::sleep(MS);
        timer.set(Some(now + HOUR), now);
        assert!(tokio::time::timeout(20 * MS, timer.fired()).await.is_err());
    }

    #[tokio::test(flavor = "local")]
    async fn it_is_not_set_with_every_packet() {
        let mut timer = Timer::default();
        let start = Instant::now();
        let (ack, keep_alive) = (Duration::from_secs(5), Duration::from_secs(60));
        timer.set(Some(start + keep_alive), start);
        // A hundred packets a second, each answered a millisecond later.
        let mut times = Vec::new();
        for n in 0..1000 {
            let now = start + n * 10 * MS;
            timer.set(Some(now + ack), now);
            timer.set(Some(now + MS + keep_alive), now + MS);
            times.push(timer.set_to.unwrap());
            assert!(timer.set_to.unwrap() <= now + MS + keep_alive);
        }
        times.dedup();
        assert!(times.len() <= 20, "{} in 10 s", times.len());
        // On an idle link an answer puts it off at once.
        let idle = start + HOUR;
        timer.set_to = None;
        timer.set(Some(idle + ack), idle);
        timer.set(Some(idle + keep_alive), idle + MS);
        assert_eq!(timer.set_to, Some(idle + keep_alive));
    }

    #[tokio::test(flavor = "local")]
    async fn it_is_stopped_when_nothing_is_to_be_waited_for() {
        let mut timer = Timer::default();
        let now = Instant::now();
        timer.set(Some(now + 10 * MS), now);
        timer.set(None, now + MS);
        assert!(tokio::time::timeout(30 * MS, timer.fired()).await.is_err());
        // But not with every message.
        timer.set(Some(now + HOUR), now + 2 * MS);
        timer.set(None, now + 3 * MS);
        assert_eq!(timer.set_to, Some(now + HOUR));
        timer.set(None, now + 2 * WORTH_SETTING);
        assert_eq!(timer.set_to, None);
    }
}
