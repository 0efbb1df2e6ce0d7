//! Scheduled publications: when ([`clock`]) and what ([`template`]).

pub(crate) mod clock;
mod entry;
pub(crate) mod template;
mod wall_timer;

use std::cell::RefCell;
use std::io;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

use crate::config;
use crate::message::Outbound;
use crate::outbox::Refusal;
use clock::{ClockWatch, Now, Wake};
use entry::Entry;
use wall_timer::WallTimer;

pub(crate) use entry::PublishStatus;

/// All scheduled publications.
#[derive(Debug)]
pub(crate) struct Schedule {
    entries: RefCell<Vec<Entry>>,
    watch: RefCell<ClockWatch>,
    changed: Notify,
}

impl Schedule {
    /// Schedules `publications` from now on.
    pub(crate) fn new(publications: &[config::Publish]) -> Schedule {
        let now = now();
        let entries = publications.iter().map(|config| Entry::new(config, &now)).collect();
        Schedule { entries: RefCell::new(entries), watch: RefCell::new(ClockWatch::new(now)), changed: Notify::new() }
    }

    /// Publishes these from now on. One that hasn't changed goes on where it is.
    pub(crate) fn reconfigure(&self, publications: &[config::Publish]) {
        let now = now();
        let mut old = self.entries.take();
        let entries = publications.iter().map(|config| match old.iter().position(|entry| entry.is_for(config)) {
            Some(index) => old.swap_remove(index),
            None => Entry::new(config, &now),
        });
        *self.entries.borrow_mut() = entries.collect();
        self.changed.notify_one();
    }

    /// Hands each publication to `submit` when it is due, for ever.
    ///
    /// # Errors
    /// There is no timer for `cron`.
    pub(crate) async fn run(&self, submit: impl Fn(Outbound) -> Result<(), Refusal>) -> io::Result<()> {
        let mut timer = WallTimer::default();
        loop {
            let wake = self.wake();
            // Before the look at the clock: when it is set in between, the timer knows.
            if let Some(wall) = wake.wall {
                timer.arm(wall)?;
            }
            self.look(&submit);
            if self.wake() != wake {
                continue;
            }
            tokio::select! {
                () = sleep_until(wake.mono) => {}
                () = self.changed.notified() => {}
                fired = timer.fired(), if wake.wall.is_some() => fired?,
            }
        }
    }

    fn wake(&self) -> Wake {
        self.entries.borrow().iter().fold(Wake::default(), |wake, entry| wake.or(entry.wake()))
    }

    /// Looks at the clocks and publishes what is due.
    fn look(&self, submit: &impl Fn(Outbound) -> Result<(), Refusal>) {
        let now = now();
        let set_by = self.watch.borrow_mut().set_by(&now);
        let mut entries = self.entries.borrow_mut();
        if let Some(step) = set_by {
            say_that_the_clock_was_set(step, entries.iter().any(|entry| entry.wake().wall.is_some()));
            entries.iter_mut().for_each(|entry| entry.restart(&now));
        }
        entries.iter_mut().for_each(|entry| entry.tick(&now, submit));
    }

    pub(crate) fn status(&self) -> Vec<PublishStatus> {
        let now = now();
        self.entries.borrow().iter().map(|entry| entry.status(&now)).collect()
    }
}

fn now() -> Now {
    let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    Now { mono: Instant::now(), wall: Timestamp::now(), since_boot }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Worth a line only where something goes by it.
fn say_that_the_clock_was_set(step: SignedDuration, matters: bool) {
    if matters {
        let way = if step.is_negative() { "back" } else { "forward" };
        let by = humantime::format_duration(Duration::from_secs(step.unsigned_abs().as_secs()));
        log::info!(
            GATEWIRE_EVENT = "clock_set";
            "this machine's clock was put {way} by {by}: cron goes on from the new time, what lies between is neither made nor repeated"
        );
    }
}
