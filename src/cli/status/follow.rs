//! `gatewire status --follow`: a line now, and one at each change of the link.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use serde_json::Value;

use super::super::Exit;
use super::super::client::{PATIENCE, Unreachable, connect};
use super::super::output::{Failure, StyledText, pass_on, unwritable};
use super::refusal;

const FOLLOW: &[u8] = b"{\"follow\":true}\n";

/// The longest line, in bytes: a daemon's has some 10 KiB.
const MAX_LINE: usize = 1 << 20;

/// A daemon that knows how to be followed, and got our line too late, gives us the document. It is asked again so often.
const ATTEMPTS: u32 = 3;

/// How it goes on.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    GoOn,
    /// Somebody wants no more of it: by a signal, or by not reading on.
    Enough,
    /// The daemon of this version has given the document, and no line.
    Document(String),
    Ended,
}

/// Prints what the daemon at `path` says, until it ends or somebody wants no more of it.
pub(super) fn follow(path: &Path) -> Result<(), Failure> {
    let signals = signals().map_err(|error| Failure::new(format!("waiting for signals: {error}"), Exit::Internal))?;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let mut following = Following::begin(path)?;
        let last = loop {
            match following.step(&signals)? {
                Step::GoOn => {}
                last => break last,
            }
        };
        return match last {
            Step::Document(_) if attempt < ATTEMPTS => continue,
            Step::Document(version) => {
                let text = format!(
                    "the running gatewire is version {version} and can't be followed: restart it (`sudo systemctl restart gatewire`)"
                );
                Err(Failure::new(text, Exit::Unavailable))
            }
            Step::Ended if following.is_new => Err(Unreachable::Absent { path: path.to_owned() }.into()),
            Step::Ended => Err(Failure::new("gatewire status: gatewire has stopped", Exit::Unavailable)),
            Step::GoOn | Step::Enough => Ok(()),
        };
    }
}

/// Ctrl-C, and what a supervisor sends: that is no failure.
fn signals() -> nix::Result<SignalFd> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    signals.thread_block()?;
    SignalFd::new(&signals)
}

struct Following<'a> {
    path: &'a Path,
    stream: UnixStream,
    /// The begin of a line that isn't complete.
    rest: Vec<u8>,
    /// Nothing has come yet.
    is_new: bool,
}

impl Following<'_> {
    fn begin(path: &Path) -> Result<Following<'_>, Unreachable> {
        let mut stream = connect(path)?;
        match stream.write_all(FOLLOW) {
            // It has closed the connection already, and mostly said why: that is still to be read.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(Unreachable::new(path, error)),
            _ => {}
        }
        Ok(Following { path, stream, rest: Vec::new(), is_new: true })
    }

    /// Waits until something happens, and does what there is to do.
    fn step(&mut self, signals: &SignalFd) -> Result<Step, Failure> {
        let stdout = io::stdout();
        let mut watched = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdout.as_fd(), PollFlags::empty()),
            PollFd::new(self.stream.as_fd(), PollFlags::POLLIN),
        ];
        // The first line comes at once.
        let limit = match self.is_new {
            true => PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX),
            false => PollTimeout::NONE,
        };
        match poll(&mut watched, limit) {
            Err(nix::errno::Errno::EINTR) => return Ok(Step::GoOn),
            Err(errno) => {
                return Err(Failure::new(format!("waiting for what gatewire says: {errno}"), Exit::Internal));
            }
            Ok(0) => return Err(Unreachable::Silent { path: self.path.to_owned() }.into()),
            Ok(_) => {}
        }
        let [has_signal, is_unread, has_come] = watched.map(|fd| fd.any().unwrap_or(true));
        match () {
            () if has_signal || is_unread => Ok(Step::Enough),
            () if has_come => self.read(),
            () => Ok(Step::GoOn),
        }
    }

    fn read(&mut self) -> Result<Step, Failure> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Ok(Step::Ended),
            Ok(n) => self.rest.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Step::GoOn),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(Step::Ended),
            Err(error) => return Err(Unreachable::new(self.path, error).into()),
        }
        let Some(end) = memchr::memrchr(b'\n', &self.rest) else {
            return match self.rest.len() > MAX_LINE {
                true => Err(self.strange("a line that is too long")),
                false => Ok(Step::GoOn),
            };
        };
        if self.is_new
            && let Some(other) = self.look_at_the_first()?
        {
            return Ok(other);
        }
        self.is_new = false;
        let written = pass_on(&self.rest[..=end], StyledText::plain);
        self.rest.drain(..=end);
        match written {
            Ok(()) => Ok(Step::GoOn),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Step::Enough),
            Err(error) => Err(unwritable(&error)),
        }
    }

    /// Whether what has come first is something else than the line that was asked for.
    fn look_at_the_first(&self) -> Result<Option<Step>, Failure> {
        let line = self.rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let value: Value = serde_json::from_slice(line).map_err(|error| self.strange(&format!("not JSON: {error}")))?;
        if let Some(refusal) = refusal(&value, self.path) {
            return Err(refusal.into());
        }
        if let Some(version) = value.get("version") {
            return Ok(Some(Step::Document(version.as_str().unwrap_or("unknown").to_owned())));
        }
        match value.get("link").is_some() {
            true => Ok(None),
            false => Err(Unreachable::Other { path: self.path.to_owned(), wanted: "[status]" }.into()),
        }
    }

    fn strange(&self, detail: &str) -> Failure {
        Unreachable::Strange { path: self.path.to_owned(), detail: detail.to_owned() }.into()
    }
}
