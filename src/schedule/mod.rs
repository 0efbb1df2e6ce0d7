//! Scheduled publications: when ([`clock`]) and what ([`source`], [`crate::template`]).

pub(crate) mod clock;
mod entry;
mod source;
mod trouble;

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};

use crate::config;
use crate::message::Outbound;
use crate::outbox::Refusal;
use crate::time;
use clock::{ClockWatch, Now, Wake};
use entry::{Publication, ToRead};
use source::{Reading, SourceError};

pub(crate) use entry::PublishStatus;

/// All scheduled publications.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// Each with a number of its own.
    entries: RefCell<Vec<(u64, Publication)>>,
    /// Removed from the configuration; what waits in their batches isn't sent yet.
    gone: RefCell<Vec<Publication>>,
    next_id: Cell<u64>,
    watch: RefCell<ClockWatch>,
    changed: Notify,
}

/// A source is being read, for an entry each. When they are dropped, commands that run are killed.
type Runs = JoinSet<Run>;

/// A source has been read for the publication of an entry.
struct Run {
    id: u64,
    due: Timestamp,
    outcome: Result<Reading, SourceError>,
}

impl Schedule {
    /// Schedules `publications` from now on.
    pub(crate) fn new(publications: &[config::Publish]) -> Schedule {
        let schedule = Schedule {
            entries: RefCell::default(),
            gone: RefCell::default(),
            next_id: Cell::new(0),
            watch: RefCell::new(ClockWatch::new(now())),
            changed: Notify::new(),
        };
        schedule.reconfigure(publications);
        schedule
    }

    /// Publishes these from now on. One that hasn't changed goes on where it is.
    pub(crate) fn reconfigure(&self, publications: &[config::Publish]) {
        let now = now();
        let mut old = self.entries.take();
        let entries = publications.iter().map(|config| match old.iter().position(|(_, entry)| entry.is_for(config)) {
            Some(index) => old.swap_remove(index),
            None => {
                self.next_id.set(self.next_id.get() + 1);
                (self.next_id.get(), Publication::new(config, &now))
            }
        });
        let entries = entries.collect();
        *self.entries.borrow_mut() = entries;
        self.gone.borrow_mut().extend(old.into_iter().map(|(_, entry)| entry));
        self.changed.notify_one();
    }

    /// Hands each publication to `submit` when it is due, for ever.
    ///
    /// # Errors
    /// There is no timer for `cron`.
    pub(crate) async fn run(&self, submit: impl Fn(Outbound) -> Result<(), Refusal>) -> io::Result<()> {
        let mut timer = time::WallTimer::default();
        let mut runs: Runs = JoinSet::new();
        loop {
            let wake = self.wake();
            // Before the look at the clock: when it is set in between, the timer knows.
            if let Some(wall) = wake.wall {
                timer.arm(wall)?;
            }
            self.look(&mut runs, &submit);
            if self.wake() != wake {
                continue;
            }
            tokio::select! {
                biased;
                Some(run) = runs.join_next() => self.note(run, &submit),
                () = self.changed.notified() => {}
                fired = timer.fired(), if wake.wall.is_some() => fired?,
                () = sleep_until(wake.mono) => {}
            }
        }
    }

    fn wake(&self) -> Wake {
        self.entries.borrow().iter().fold(Wake::default(), |wake, (_, entry)| wake.or(entry.wake()))
    }

    /// Hands what waits in batches to `submit`.
    pub(crate) fn flush(&self, submit: impl Fn(Outbound) -> Result<(), Refusal>) {
        self.entries.borrow_mut().iter_mut().for_each(|(_, entry)| entry.flush(time::wall(), &submit));
        self.flush_gone(&submit);
    }

    fn flush_gone(&self, submit: &impl Fn(Outbound) -> Result<(), Refusal>) {
        self.gone.take().iter_mut().for_each(|entry| entry.flush(time::wall(), submit));
    }

    /// Looks at the clocks, and publishes what is due or has it read.
    fn look(&self, runs: &mut Runs, submit: &impl Fn(Outbound) -> Result<(), Refusal>) {
        let now = now();
        let set_by = self.watch.borrow_mut().set_by(&now);
        let mut entries = self.entries.borrow_mut();
        if let Some(step) = set_by {
            say_that_the_clock_was_set(step, entries.iter().any(|(_, entry)| entry.wake().wall.is_some()));
            entries.iter_mut().for_each(|(_, entry)| entry.restart(&now));
        }
        self.flush_gone(submit);
        for (id, entry) in entries.iter_mut() {
            if let Some(ToRead { source, due }) = entry.tick(&now, submit) {
                let id = *id;
                runs.spawn_local(async move { Run { id, due, outcome: source.read().await } });
            }
        }
    }

    /// Publishes what was read.
    fn note(&self, run: Result<Run, JoinError>, submit: &impl Fn(Outbound) -> Result<(), Refusal>) {
        match run {
            Ok(Run { id, due, outcome }) => {
                // Its entry may have gone meanwhile.
                if let Some((_, entry)) = self.entries.borrow_mut().iter_mut().find(|(known, _)| *known == id) {
                    entry.read(due, outcome, &now(), submit);
                }
            }
            // A defect: a schedule without its source would only seem to work.
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    resume_unwind(panic);
                }
            }
        }
    }

    pub(crate) fn status(&self) -> Vec<PublishStatus> {
        let now = now();
        self.entries.borrow().iter().map(|(_, entry)| entry.status(&now)).collect()
    }
}

fn now() -> Now {
    Now { mono: time::now(), wall: time::wall(), since_boot: time::since_boot() }
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
        let by = crate::duration::written(Duration::from_secs(step.unsigned_abs().as_secs()));
        log::info!(
            GATEWIRE_EVENT = "clock_set";
            "this machine's clock was set {way} by {by}: cron goes on from the new time; due times in between are neither made \
            up for nor repeated"
        );
    }
}
