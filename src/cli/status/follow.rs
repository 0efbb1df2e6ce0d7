//! `gatewire status --follow`: a line now, and one at each change of the link.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use serde_json::Value;

use super::super::Exit;
use super::super::client::{PATIENCE, Unreachable, connect};
use super::super::output::{Failure, StyledText, pass_on, unwritable};
use super::refusal;
use crate::printable::printable;
use crate::time;

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
    /// Until when the first line must be there, which comes at once.
    until: Instant,
}

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// To be printed: harmless, and as JSON the same.
    Line(String),
    /// The document of a daemon of this version.
    Document(String),
}

impl Following<'_> {
    fn begin(path: &Path) -> Result<Following<'_>, Unreachable> {
        let mut stream = connect(path)?;
        match stream.write_all(FOLLOW) {
            // It has closed the connection already, and mostly said why: that is still to be read.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(Unreachable::new(path, error)),
            _ => {}
        }
        Ok(Following { path, stream, rest: Vec::new(), is_new: true, until: time::now() + PATIENCE })
    }

    /// Waits until something happens, and does what there is to do.
    fn step(&mut self, signals: &SignalFd) -> Result<Step, Failure> {
        let stdout = io::stdout();
        let mut watched = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdout.as_fd(), PollFlags::empty()),
            PollFd::new(self.stream.as_fd(), PollFlags::POLLIN),
        ];
        let patience = self.patience(time::now())?;
        let limit = patience.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        match poll(&mut watched, limit) {
            Err(nix::errno::Errno::EINTR) => return Ok(Step::GoOn),
            Err(errno) => {
                return Err(Failure::new(format!("waiting for what gatewire says: {errno}"), Exit::Internal));
            }
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
        let complete: Vec<u8> = self.rest.drain(..=end).collect();
        for line in complete.split_inclusive(|byte| *byte == b'\n') {
            match said(line, self.is_new, self.path)? {
                Said::Document(version) => return Ok(Step::Document(version)),
                Said::Line(line) => match pass_on(line.as_bytes(), StyledText::plain) {
                    Ok(()) => self.is_new = false,
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Step::Enough),
                    Err(error) => return Err(unwritable(&error)),
                },
            }
        }
        Ok(Step::GoOn)
    }

    /// How long something may take to come. `None`: as long as it likes.
    fn patience(&self, now: Instant) -> Result<Option<Duration>, Unreachable> {
        let left = self.until.saturating_duration_since(now);
        match (self.is_new, left.is_zero()) {
            (true, true) => Err(Unreachable::Silent { path: self.path.to_owned() }),
            (true, false) => Ok(Some(left)),
            (false, _) => Ok(None),
        }
    }

    fn strange(&self, detail: &str) -> Failure {
        Unreachable::Strange { path: self.path.to_owned(), detail: detail.to_owned() }.into()
    }
}

/// What `line` of the daemon at `path` is; the first shows whether it is one that can be followed.
fn said(line: &[u8], is_first: bool, path: &Path) -> Result<Said, Unreachable> {
    let strange = |detail: String| Unreachable::Strange { path: path.to_owned(), detail };
    let text = std::str::from_utf8(line).map_err(|error| strange(format!("not UTF-8: {error}")))?;
    let value: Value = serde_json::from_str(text).map_err(|error| strange(format!("not JSON: {error}")))?;
    if let Some(refusal) = refusal(&value, path) {
        return Err(refusal);
    }
    match (is_first, value.get("version"), value.get("link")) {
        (true, Some(version), _) => Ok(Said::Document(version.as_str().unwrap_or("unknown").to_owned())),
        (true, None, None) => Err(Unreachable::Other { path: path.to_owned(), wanted: "[status]" }),
        (false, _, None) => Err(strange("a line that has no `link`".to_owned())),
        (_, _, Some(_)) => Ok(Said::Line(format!("{}\n", printable(text.trim_end())))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_looked_at_and_made_harmless() {
        let path = Path::new("/run/x.sock");
        let line = "{\"link\":{\"message\":\"\u{9b}2J\u{202e}\u{7f}Gr\u{fc}n\"}}\r\n";
        let harmless = "{\"link\":{\"message\":\"\\u009b2J\\u202e\\u007fGr\u{fc}n\"}}\n".to_owned();
        for is_first in [true, false] {
            assert_eq!(said(line.as_bytes(), is_first, path).unwrap(), Said::Line(harmless.clone()));
        }
        for (line, words) in [
            (&b"\x1b[2J\n"[..], "not JSON"),
            (b"{\"link\":\"\xff\"}\n", "not UTF-8"),
            (b"{\"link\":\"\x1b[2J\"}\n", "not JSON"),
            (b"[]\n", "no `link`"),
            (b"{\"error\":\"shutting_down\",\"detail\":\"why\"}\n", "why"),
        ] {
            let error = said(line, false, path).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert_eq!(said(b"{\"version\":\"0.1.0\"}\n", true, path).unwrap(), Said::Document("0.1.0".to_owned()));
        let other = said(b"[]\n", true, path).unwrap_err().to_string();
        assert!(other.contains("isn't that of") || other.contains("not that of [status]"), "{other}");
    }

    #[test]
    fn a_first_line_that_trickles_has_as_long_as_one_that_does_not_come() {
        let (stream, mut daemon) = UnixStream::pair().unwrap();
        let now = time::now();
        let path = Path::new("/run/x.sock");
        let mut following = Following { path, stream, rest: Vec::new(), is_new: true, until: now + PATIENCE };
        let second = Duration::from_secs(1);
        for n in 0..4 {
            daemon.write_all(b"{").unwrap();
            assert_eq!(following.read().ok().unwrap(), Step::GoOn);
            assert_eq!(following.patience(now + n * second).unwrap(), Some(PATIENCE - n * second));
        }
        let late = following.patience(now + PATIENCE).unwrap_err().to_string();
        assert!(late.contains("doesn't answer"), "{late}");
        // The next may take their time.
        following.is_new = false;
        assert_eq!(following.patience(now + 10 * PATIENCE).unwrap(), None);
    }
}
