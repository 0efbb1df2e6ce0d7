//! The daemon's end of `gatewire signer`: starts it, listens, and ends it in time.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::fault::Pkcs11Fault;
use super::step::Step;
use super::wire::{self, Answer, Done, MAX_FRAME, Request};
use crate::time;

/// How long a module may take for all of it: tokens that sign in seconds are slow, and none is slower.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// How long it may take after it has answered, to give the device back.
const FAREWELL: Duration = Duration::from_secs(2);

/// So much of what the module writes to standard error is kept: its end, which says what failed.
const KEPT: usize = 4096;

/// This program, whatever has become of its file since it was started.
pub(super) const OWN: &str = "/proc/self/exe";

/// What a signer came to.
pub(super) struct SignerOutcome {
    pub(super) answer: Result<Done, Pkcs11Fault>,
    /// The end of what was written to standard error: the module's words, which may hold anything.
    pub(super) written: Vec<u8>,
}

/// Has a new `program`, this one but for tests, answer the request. Blocks for [`LIMIT`] and [`FAREWELL`] at most.
pub(super) fn ask(program: &Path, request: &Request, limit: Duration) -> SignerOutcome {
    let start = time::now();
    let mut command = Command::new(program);
    command.arg0("gatewire").arg("signer").process_group(0);
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            return SignerOutcome { answer: Err(Pkcs11Fault::NotStarted(error.to_string())), written: Vec::new() };
        }
    };
    let id = Pid::from_raw(child.id().cast_signed());
    let mut listening = Listening { step: Step::Start, heard: Vec::new(), written: Vec::new() };
    let answer = match send(&mut child, request).and_then(|()| listening.until_answered(&mut child, start + limit)) {
        Ok(Heard::Answer(answer)) => answer,
        Ok(Heard::Nothing) => match ended(id, FAREWELL) {
            Some(status) => Err(Pkcs11Fault::Crashed(listening.step, described(status))),
            None => Err(Pkcs11Fault::Garbled),
        },
        Ok(Heard::TooLate) => Err(Pkcs11Fault::Hung(listening.step, limit.as_secs())),
        Ok(Heard::Garbage) => Err(Pkcs11Fault::Garbled),
        Err(error) => Err(Pkcs11Fault::NotStarted(error.to_string())),
    };
    if answer.is_ok() {
        ended(id, FAREWELL);
    }
    // With whatever it has started; it may be gone, which is as well.
    let _ = killpg(id, Signal::SIGKILL);
    let _ = child.wait();
    SignerOutcome { answer, written: listening.written }
}

/// The request fits into the pipe: this never waits.
fn send(child: &mut Child, request: &Request) -> io::Result<()> {
    let Some(mut input) = child.stdin.take() else { return Ok(()) };
    match input.write_all(&wire::frame(request)) {
        // It has ended already, which is told better.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

enum Heard {
    Answer(Result<Done, Pkcs11Fault>),
    /// The end, without an answer.
    Nothing,
    TooLate,
    Garbage,
}

/// What has come of both pipes.
struct Listening {
    step: Step,
    heard: Vec<u8>,
    written: Vec<u8>,
}

impl Listening {
    fn until_answered(&mut self, child: &mut Child, deadline: Instant) -> io::Result<Heard> {
        let (Some(mut output), Some(mut error)) = (child.stdout.take(), child.stderr.take()) else {
            return Ok(Heard::Nothing);
        };
        fcntl(output.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        fcntl(error.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut buffer = [0; 4096];
        let mut is_error_open = true;
        loop {
            let left = deadline.saturating_duration_since(time::now());
            if left.is_zero() {
                return Ok(Heard::TooLate);
            }
            let mut watched = vec![PollFd::new(output.as_fd(), PollFlags::POLLIN)];
            watched.extend(is_error_open.then(|| PollFd::new(error.as_fd(), PollFlags::POLLIN)));
            // A millisecond more, so that it isn't asked again for less than one.
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            match poll(&mut watched, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            // First, so that the last words of one that crashes are heard.
            if is_error_open {
                is_error_open = self.read_words(&mut error, &mut buffer);
            }
            match output.read(&mut buffer) {
                Ok(0) => {
                    self.read_words(&mut error, &mut buffer);
                    return Ok(Heard::Nothing);
                }
                Ok(len) => self.heard.extend(&buffer[..len]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => continue,
                Err(error) => return Err(error),
            }
            if let Some(heard) = self.take() {
                self.read_words(&mut error, &mut buffer);
                return Ok(heard);
            }
        }
    }

    /// What is there of the module's words now. Whether more may come.
    fn read_words(&mut self, error: &mut impl io::Read, buffer: &mut [u8]) -> bool {
        // One that writes without end is heard again in the next turn.
        for _ in 0..16 {
            match error.read(buffer) {
                Ok(0) => return false,
                Ok(len) => {
                    self.written.extend(&buffer[..len]);
                    let over = self.written.len().saturating_sub(KEPT);
                    self.written.drain(..over);
                }
                Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
            }
        }
        true
    }

    /// The answer, if it is whole.
    fn take(&mut self) -> Option<Heard> {
        loop {
            match wire::take::<Answer>(&mut self.heard) {
                Ok(Some(Answer::At(step))) => self.step = step,
                Ok(Some(Answer::Done(done))) => return Some(Heard::Answer(Ok(*done))),
                Ok(Some(Answer::Failed(fault))) => return Some(Heard::Answer(Err(fault))),
                Ok(None) if self.heard.len() <= MAX_FRAME => return None,
                Ok(None) | Err(wire::Garbage) => return Some(Heard::Garbage),
            }
        }
    }
}

/// How it has ended, if it does within `patience`. It isn't waited for yet, so that its id stays its own.
fn ended(id: Pid, patience: Duration) -> Option<WaitStatus> {
    let start = time::now();
    loop {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(id), flags) {
            Ok(WaitStatus::StillAlive) if time::since(start) < patience => {
                let _ = poll(&mut [], PollTimeout::from(1u8));
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return None,
            Ok(status) => return Some(status),
        }
    }
}

/// As `signal SIGSEGV`, or `exit code 1`.
fn described(status: WaitStatus) -> String {
    match status {
        WaitStatus::Signaled(_, signal, _) => format!("signal {signal}"),
        WaitStatus::Exited(_, code) => format!("exit code {code}"),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::uri::Uri;
    use super::super::wire::TokenNames;
    use super::*;

    /// What becomes of a signer that is this script of the shell. `ANSWER` in it is a file with a good answer.
    fn outcome(script: &str) -> SignerOutcome {
        outcome_within(LIMIT, script)
    }

    fn outcome_within(limit: Duration, script: &str) -> SignerOutcome {
        let directory = tempfile::tempdir().unwrap();
        let (program, answer) = (directory.path().join("signer"), directory.path().join("answer"));
        fs::write(&answer, wire::frame(&Answer::Done(Box::new(done())))).unwrap();
        fs::write(directory.path().join("step"), wire::frame(&Answer::At(Step::Login))).unwrap();
        let script = script.replace("ANSWER", &answer.display().to_string());
        let script = script.replace("STEP", &directory.path().join("step").display().to_string());
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let uri = Uri::parse("pkcs11:?module-path=/m.so", |path| Ok(path.into())).unwrap();
        ask(&program, &Request::of(&uri, None), limit)
    }

    fn done() -> Done {
        let found = TokenNames { key: "k".to_owned(), ..TokenNames::default() };
        Done { found, public_key: None, signature: Some(vec![1]), accepted: None }
    }

    #[test]
    fn an_answer_is_heard_whatever_the_module_writes_and_does_then() {
        let quiet = outcome("cat >/dev/null; cat ANSWER");
        assert_eq!((quiet.answer, quiet.written), (Ok(done()), Vec::new()));
        let loud = outcome("yes 0123456 | head -c 1000000 >&2; echo last >&2; cat STEP ANSWER; kill -9 $$");
        assert_eq!(loud.answer, Ok(done()));
        assert!(loud.written.len() == KEPT && loud.written.ends_with(b"last\n"));
    }

    #[test]
    fn what_is_no_answer_is_told_with_how_far_it_came() {
        for (script, expected) in [
            ("cat STEP; kill -SEGV $$", Pkcs11Fault::Crashed(Step::Login, "signal SIGSEGV".to_owned())),
            ("exit 3", Pkcs11Fault::Crashed(Step::Start, "exit code 3".to_owned())),
            ("cat STEP; echo hello", Pkcs11Fault::Garbled),
            ("head -c 100000 /dev/zero", Pkcs11Fault::Garbled),
        ] {
            let found = outcome(script);
            assert_eq!(found.answer, Err(expected), "{script}");
        }
        let words = outcome("echo why >&2; exit 1");
        assert_eq!(words.written, b"why\n");
        let uri = Uri::parse("pkcs11:?module-path=/m.so", |path| Ok(path.into())).unwrap();
        let none = ask(Path::new("/nonexistent"), &Request::of(&uri, None), LIMIT);
        assert!(matches!(none.answer, Err(Pkcs11Fault::NotStarted(_))));
    }

    #[test]
    fn one_that_hangs_is_killed_with_all_that_it_has_started() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let start = time::now();
        // Both hold the FIFO open: its reader gets an end once both are dead.
        let fifo_name = fifo.display().to_string();
        let reader = std::thread::spawn(move || fs::read(fifo).unwrap());
        let script = format!("exec 3>{fifo_name}; cat STEP; sleep 1000 & sleep 1000");
        let found = outcome_within(Duration::from_secs(4), &script);
        assert_eq!(found.answer, Err(Pkcs11Fault::Hung(Step::Login, 4)));
        assert!(time::since(start) < Duration::from_secs(60));
        assert_eq!(reader.join().unwrap(), b"");
    }
}
