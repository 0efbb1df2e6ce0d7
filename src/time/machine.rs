//! The clocks of this machine.

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

pub(super) fn wall() -> Timestamp {
    Timestamp::now()
}

pub(super) fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

pub(super) fn is_synchronised() -> io::Result<bool> {
    gatewire_clock::is_synchronised()
}

pub(super) fn has_kernel_timers() -> bool {
    true
}
