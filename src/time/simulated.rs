//! Clocks that who runs a simulation moves. On a thread without them, those of the machine.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::{machine, now, wall_timer};

thread_local! {
    static CLOCKS: RefCell<Option<Rc<Clocks>>> = const { RefCell::new(None) };
}

/// Clocks that go on with tokio's, and are moved by whoever has them.
pub(crate) struct Clocks {
    /// At [`Clocks::begun`].
    wall: Cell<Timestamp>,
    since_boot: Cell<Duration>,
    begun: Cell<Instant>,
    is_synchronised: Cell<bool>,
    was_set: Notify,
}

impl Clocks {
    /// Puts clocks into force on this thread, which has to be in a tokio runtime.
    pub(crate) fn put_in_force(wall: Timestamp, since_boot: Duration) -> Rc<Clocks> {
        let clocks = Rc::new(Clocks {
            wall: Cell::new(wall),
            since_boot: Cell::new(since_boot),
            begun: Cell::new(now()),
            is_synchronised: Cell::new(true),
            was_set: Notify::new(),
        });
        CLOCKS.set(Some(Rc::clone(&clocks)));
        clocks
    }

    /// The machine's are in force again.
    pub(crate) fn put_away() {
        CLOCKS.set(None);
    }

    /// Reckons from now on.
    fn rebase(&self) {
        let passed = now().saturating_duration_since(self.begun.replace(now()));
        self.since_boot.set(self.since_boot.get() + passed);
        self.wall.set(
            self.wall
                .get()
                .saturating_add(SignedDuration::try_from(passed).unwrap_or_default())
                .unwrap_or(Timestamp::MAX),
        );
    }

    /// Somebody sets the clock on the wall.
    pub(crate) fn set_wall(&self, wall: Timestamp) {
        self.rebase();
        self.wall.set(wall);
        self.was_set.notify_waiters();
    }

    /// The machine was suspended for so long.
    pub(crate) fn suspend(&self, time: Duration) {
        self.rebase();
        self.since_boot.set(self.since_boot.get() + time);
        let wall = self.wall.get().saturating_add(SignedDuration::try_from(time).unwrap_or_default());
        self.wall.set(wall.unwrap_or(Timestamp::MAX));
        // A timer of the kernel fires when the machine is back and its time has passed.
        self.was_set.notify_waiters();
    }

    /// The machine has booted anew: `wall` is what its clock shows until it is set.
    pub(crate) fn boot(&self, wall: Timestamp) {
        self.rebase();
        self.since_boot.set(Duration::from_secs(20));
        self.wall.set(wall);
    }

    pub(crate) fn synchronise(&self, is_synchronised: bool) {
        self.is_synchronised.set(is_synchronised);
    }
}

fn clocks() -> Option<Rc<Clocks>> {
    CLOCKS.with_borrow(Clone::clone)
}

pub(super) fn wall() -> Timestamp {
    clocks().map_or_else(machine::wall, |clocks| {
        clocks.rebase();
        clocks.wall.get()
    })
}

pub(super) fn since_boot() -> Duration {
    clocks().map_or_else(machine::since_boot, |clocks| {
        clocks.rebase();
        clocks.since_boot.get()
    })
}

pub(super) fn is_synchronised() -> io::Result<bool> {
    clocks().map_or_else(machine::is_synchronised, |clocks| Ok(clocks.is_synchronised.get()))
}

pub(super) fn has_kernel_timers() -> bool {
    clocks().is_none() && machine::has_kernel_timers()
}

/// As [`wall_timer::WallTimer`].
#[derive(Debug, Default)]
pub(crate) struct WallTimer {
    kernel: wall_timer::WallTimer,
    armed: Option<Timestamp>,
}

impl WallTimer {
    pub(crate) fn arm(&mut self, time: Timestamp) -> io::Result<()> {
        if clocks().is_none() {
            return self.kernel.arm(time);
        }
        self.armed = Some(time);
        Ok(())
    }

    pub(crate) async fn fired(&self) -> io::Result<()> {
        let Some(clocks) = clocks() else { return self.kernel.fired().await };
        let Some(at) = self.armed else { return std::future::pending().await };
        let left = Duration::try_from(at.duration_since(wall())).unwrap_or_default();
        // tokio's timers end within a year or so.
        let left = left.min(Duration::from_secs(7 * 24 * 3600));
        tokio::select! {
            biased;
            () = clocks.was_set.notified() => {}
            () = tokio::time::sleep(left) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{since_boot, wall};
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn clocks_go_on_with_tokios_and_jump_when_told() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let clocks = Clocks::put_in_force(at("1970-01-01T00:00:00Z"), HOUR);
        tokio::time::sleep(HOUR).await;
        assert_eq!((wall(), since_boot()), (at("1970-01-01T01:00:00Z"), 2 * HOUR));
        let mut timer = WallTimer::default();
        timer.arm(at("2026-01-01T00:00:00Z")).unwrap();
        let before = now();
        let (fired, ()) = tokio::join!(timer.fired(), async { clocks.set_wall(at("2026-01-02T00:00:00Z")) });
        fired.unwrap();
        assert_eq!(now(), before, "setting the clock takes no time");
        clocks.suspend(HOUR);
        assert_eq!((now(), wall(), since_boot()), (before, at("2026-01-02T01:00:00Z"), 3 * HOUR));
        clocks.synchronise(false);
        assert!(!is_synchronised().unwrap());
        clocks.boot(at("1970-01-01T00:00:00Z"));
        assert!(since_boot() < HOUR && wall() < at("1970-01-01T00:00:01Z"));
        Clocks::put_away();
        assert!(wall() > at("2026-01-03T00:00:00Z"));
    }
}
