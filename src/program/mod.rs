//! What all programs that gatewire runs have in common: the command of a schedule, and what an action runs.
//!
//! A program runs in a process group of its own ([`Group`]), is told nothing that systemd tells the daemon ([`environment`]), can
//! write as much as it likes ([`Ends`] keeps the end of it), and when it can't be started, a person is told why ([`why_not`]).

pub(crate) mod environment;
mod file;
mod group;
mod output;

use std::process::ExitStatus;

use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt as _;

pub(crate) use file::{doubt, find, why_not};
pub(crate) use group::Group;
pub(crate) use output::{Ends, read_some};

/// How a program has ended, as it is told.
pub(crate) fn ended_with(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {}", signal_name(signal)),
        (None, None) => status.to_string(),
    }
}

/// `SIGTERM`, or the number of a signal without a name.
pub(crate) fn signal_name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| signal.to_string(), |name| name.as_str().to_owned())
}
