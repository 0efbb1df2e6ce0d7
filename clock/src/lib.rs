//! Whether the kernel counts its clock as synchronised: one system call, adjtimex(2), that no library wraps for all machines.
//!
//! A crate of its own because the call is unsafe, which gatewire forbids itself. There is no more unsafe code than this.

use std::io;

/// Whether a time service keeps the clock right: what `timedatectl` shows as "System clock synchronized".
///
/// # Errors
/// The kernel doesn't answer: in a container or a unit whose filter of system calls leaves adjtimex(2) out.
pub fn is_synchronised() -> io::Result<bool> {
    // SAFETY: a C struct of nothing but integers, for which zeros are valid.
    let mut clock: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to the struct that we own, and no further. That `modes` is zero makes it a question: nothing
    // is set.
    match unsafe { libc::adjtimex(&raw mut clock) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(clock.status & libc::STA_UNSYNC == 0),
    }
}
