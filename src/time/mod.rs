//! What time it is. Nothing else asks the machine for it: `tests/structure.rs` sees to that.
//!
//! [`now`] is tokio's, so that one clock moves everything that waits and everything that looks how long it has waited. The
//! others are the kernel's; in a simulation (`src/simulation/`) they are told by who runs it.

mod machine;
mod rfc3339;
#[cfg(test)]
pub(crate) mod simulated;
mod timer;
mod timer_fd;
mod wall_timer;

use std::io;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

#[cfg(not(test))]
use machine as source;
pub(crate) use rfc3339::Rfc3339;
#[cfg(test)]
use simulated as source;
#[cfg(test)]
pub(crate) use simulated::WallTimer;
pub(crate) use timer::Timer;
#[cfg(not(test))]
pub(crate) use wall_timer::WallTimer;

/// The clock that only goes forward (`CLOCK_MONOTONIC`): it stands still while the machine is suspended.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How long ago that was; zero for what is still to come.
pub(crate) fn since(instant: Instant) -> Duration {
    now().saturating_duration_since(instant)
}

/// The clock on the wall (`CLOCK_REALTIME`), which may be wrong, and may be set.
pub(crate) fn wall() -> Timestamp {
    source::wall()
}

/// The same, for what counts in the standard library's form.
pub(crate) fn system() -> SystemTime {
    wall().into()
}

/// How long ago the machine booted, suspend included (`CLOCK_BOOTTIME`).
pub(crate) fn since_boot() -> Duration {
    source::since_boot()
}

/// What the kernel says of its clock on the wall: `STA_UNSYNC` of adjtimex(2).
///
/// # Errors
/// It may not be asked: then the clock counts as not synchronised.
pub(crate) fn is_synchronised() -> io::Result<bool> {
    source::is_synchronised()
}

/// Whether a timer of the kernel goes by [`now`].
pub(crate) fn has_kernel_timers() -> bool {
    source::has_kernel_timers()
}
