//! The process group that a program runs in, with what it starts.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;

/// The process group of a program. Dropping this kills what is left of it.
#[derive(Debug)]
pub(crate) struct Group(Option<Pid>);

impl Group {
    /// Of a child that was started with `process_group(0)` and hasn't been waited for: its id can't be another's yet.
    pub(crate) fn of(child: &Child) -> Group {
        Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    /// Its id, which is that of the program.
    pub(crate) fn id(&self) -> Option<Pid> {
        self.0
    }

    /// What is left of it may stay.
    pub(crate) fn release(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may be gone, which is as well.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}
