//! What happens while the view is shown: each source has a thread, and tells the one that draws.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};

use super::Whom;
use super::terminal::give_back_modes;
use crate::cli::Exit;
use crate::cli::status::fetch;
use crate::status::document::Document;

/// How long a terminal may take for the last that is written to it.
const GRACE: Duration = Duration::from_secs(2);

/// How long the rest of a key may take to come.
const REST: Duration = Duration::from_millis(50);

/// The most bytes of one.
const MAX_KEY: usize = 32;

pub(super) enum Event {
    /// The daemon's answer, or why there is none; and what is wrong with the configuration, a line each.
    Answer(Result<Box<Document>, String>, Vec<String>),
    Resized,
    Suspend,
    /// It was stopped, and goes on.
    Continued,
    End,
    /// A thread has panicked, and has said so.
    Broken,
}

/// Runs one of them.
pub(super) fn spawn(events: &Sender<Event>, source: impl FnOnce(&Sender<Event>) + Send + 'static) {
    let events = events.clone();
    std::thread::spawn(move || {
        if catch_unwind(AssertUnwindSafe(|| source(&events))).is_err() {
            let _ = events.send(Event::Broken);
        }
    });
}

/// Asks the daemon once for each of `asks`: so it has no more than one question of ours.
pub(super) fn answers(mut whom: Whom, asks: Receiver<()>) -> impl FnOnce(&Sender<Event>) {
    move |events| {
        for () in asks {
            let (path, notes) = whom.look();
            let answer = fetch(path).map(|(_, document)| Box::new(document)).map_err(|error| error.to_string());
            if events.send(Event::Answer(answer, notes.to_owned())).is_err() {
                return;
            }
        }
    }
}

/// Keys, until the terminal has gone.
pub(super) fn keys(events: &Sender<Event>) {
    let (mut pressed, mut begun) = ([0; 64], Begun::default());
    loop {
        let event = match begun.is_empty() || has_more() {
            true => match io::stdin().read(&mut pressed) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
                Ok(0) | Err(_) => Some(Event::End),
                Ok(n) => begun.pressed(&pressed[..n]),
            },
            false => begun.alone(),
        };
        let is_end = matches!(event, Some(Event::End));
        if event.is_some_and(|event| events.send(event).is_err()) || is_end {
            return;
        }
    }
}

/// Whether the rest of a key comes in time. What can't be known is left to who reads.
fn has_more() -> bool {
    let stdin = io::stdin();
    let mut watched = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    let limit = PollTimeout::try_from(REST).unwrap_or(PollTimeout::ZERO);
    loop {
        match poll(&mut watched, limit) {
            Err(Errno::EINTR) => {}
            found => return found != Ok(0),
        }
    }
}

/// The begin of a key of several bytes: over a slow line they come apart. Pure.
#[derive(Debug, Default)]
struct Begun(Vec<u8>);

impl Begun {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These bytes have come.
    fn pressed(&mut self, bytes: &[u8]) -> Option<Event> {
        self.0.extend_from_slice(bytes);
        // No key has so many.
        if self.0.len() < MAX_KEY && is_begin(&self.0) { None } else { meaning(&std::mem::take(&mut self.0)) }
    }

    /// Nothing more has come in time.
    fn alone(&mut self) -> Option<Event> {
        meaning(&std::mem::take(&mut self.0))
    }
}

/// Whether more belongs to it (ECMA-48, 5.4): an escape, one with a bracket and parameters, one with an O.
fn is_begin(pressed: &[u8]) -> bool {
    match pressed {
        [0x1B] | [0x1B, b'O'] => true,
        [0x1B, b'[', parameters @ ..] => parameters.iter().all(|byte| (0x20..0x40).contains(byte)),
        _ => false,
    }
}

/// What keys that were pressed at once mean. An escape alone is one; with something behind it it is another key.
fn meaning(pressed: &[u8]) -> Option<Event> {
    match pressed {
        [0x1B] => Some(Event::End),
        [0x1B, ..] => None,
        keys if keys.iter().any(|key| b"qQ\x03".contains(key)) => Some(Event::End),
        keys if keys.contains(&0x1A) => Some(Event::Suspend),
        // Ctrl-L
        keys if keys.contains(&0x0C) => Some(Event::Resized),
        _ => None,
    }
}

/// Those that `signals` takes.
pub(super) fn blocked_signals() -> nix::Result<SigSet> {
    use Signal::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH};
    let ends = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];
    let signals: SigSet = [SIGCONT, SIGTSTP, SIGWINCH].into_iter().chain(ends).collect();
    signals.thread_block()?;
    Ok(signals)
}

/// Signals, until one ends it. If the view hasn't ended soon after that, the terminal takes nothing: then this ends the program.
pub(super) fn signals(signals: SigSet, ended: Receiver<()>) -> impl FnOnce(&Sender<Event>) {
    move |events| {
        loop {
            let event = match signals.wait() {
                Ok(Signal::SIGWINCH) => Event::Resized,
                Ok(Signal::SIGTSTP) => Event::Suspend,
                Ok(Signal::SIGCONT) => Event::Continued,
                Ok(_) => break,
                Err(_) => continue,
            };
            if events.send(event).is_err() {
                return;
            }
        }
        let _ = events.send(Event::End);
        if ended.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) {
            give_back_modes();
            std::process::exit(Exit::Done as i32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_escape_and_ctrl_c_end_it_and_no_other_key_does() {
        let ends = |keys: &[u8]| matches!(meaning(keys), Some(Event::End));
        for keys in [&b"q"[..], b"Q", b"\x03", b"\x1b", b"xq"] {
            assert!(ends(keys), "{keys:?}");
        }
        // Arrows, function keys, a paste in brackets.
        for keys in [&b"\x1b[A"[..], b"\x1bOQ", b"\x1b[200~quit\x1b[201~", b"x", b" ", b"\r", b"\x04"] {
            assert!(!ends(keys), "{keys:?}");
        }
    }
    #[test]
    fn an_escape_is_a_key_of_its_own_only_if_nothing_follows_it() {
        let is_end = |event: Option<Event>| matches!(event, Some(Event::End));
        // Over a slow line each byte comes by itself.
        for key in [&b"\x1b[A"[..], b"\x1bOQ", b"\x1b[15~", b"\x1b[1;5C"] {
            let mut begun = Begun::default();
            for byte in key {
                assert!(!is_end(begun.pressed(&[*byte])), "{key:?}");
            }
            assert!(begun.is_empty(), "{key:?}");
            assert!(is_end(begun.pressed(b"q")));
        }
        let mut begun = Begun::default();
        assert!(!is_end(begun.pressed(b"\x1b")) && !begun.is_empty());
        assert!(is_end(begun.alone()));
        // Half a key isn't one, and what never ends isn't kept.
        assert!(!is_end(begun.pressed(b"\x1b[")) && !is_end(begun.alone()) && begun.is_empty());
        (0..100).for_each(|_| assert!(!is_end(begun.pressed(b"\x1b[1;1;1;"))));
        assert!(begun.0.len() < MAX_KEY);
    }
}
