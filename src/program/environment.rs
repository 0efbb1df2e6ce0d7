//! What a program finds in its environment.

use std::ffi::{OsStr, OsString};

/// What systemd tells us isn't meant for a program: how to speak in our name, and where our secrets and our state are. Nor is what an
/// action has told us, if one has started this daemon.
pub(crate) const OURS: [&str; 22] = [
    "CACHE_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "FDSTORE",
    EXECUTION,
    JOB_ID,
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LOGS_DIRECTORY",
    "MAINPID",
    "MANAGERPID",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "NOTIFY_SOCKET",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "SYSTEMD_EXEC_PID",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// Which execution a process belongs to, `JOBID:NUMBER:DAEMON`.
pub(crate) const EXECUTION: &str = "GATEWIRE_EXECUTION";

/// The job, or the command, that it is for.
pub(crate) const JOB_ID: &str = "GATEWIRE_JOB_ID";

/// Where programs are looked for, unless the environment says.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a program may need of the machine it runs on; nothing else is handed on to an action. `LC_*` is, too.
const HANDED_ON: [&str; 16] = [
    "DEBIAN_FRONTEND",
    "HOME",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TMPDIR",
    "TZ",
    "USER",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

/// The environment of an action: what of this process's a program needs, and `PATH` and `HOME` in any case. The standard library looks
/// for nothing else.
pub(crate) fn of_action() -> Vec<(OsString, OsString)> {
    made_of(std::env::vars_os())
}

fn made_of(own: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let is_wanted =
        |name: &OsStr| name.to_str().is_some_and(|name| HANDED_ON.contains(&name) || name.starts_with("LC_"));
    let mut made: Vec<_> = own.filter(|(name, value)| is_wanted(name) && !value.is_empty()).collect();
    for (name, value) in [("PATH", PATH), ("HOME", "/")] {
        if !made.iter().any(|(there, _)| there == name) {
            made.push((name.into(), value.into()));
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_gets_what_programs_need_and_nothing_of_the_daemons() {
        let own = OURS.iter().copied().chain(["SECRET", "LC_ALL", "LANG", "TZ", "PATH", "LD_PRELOAD"]);
        let made = made_of(own.map(|name| (name.into(), "x".into())));
        let mut names: Vec<_> = made.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["HOME", "LANG", "LC_ALL", "PATH", "TZ"]);
        let path = |own: &[(&str, &str)]| {
            let made = made_of(own.iter().map(|(name, value)| (name.into(), value.into())));
            made.into_iter().find(|(name, _)| name == "PATH").unwrap().1
        };
        assert_eq!((path(&[]), path(&[("PATH", "")])), (PATH.into(), PATH.into()));
        assert_eq!(path(&[("PATH", "/opt/bin")]), "/opt/bin");
    }
}
