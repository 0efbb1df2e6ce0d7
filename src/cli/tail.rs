//! `gatewire tail`: follows what comes out of forward sockets.

mod frames;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use clap::Args;
use memchr::memmem;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::{Unreachable, connect};
use super::output::{Failure, Style, StyledText, Tone, pass_on, tell, unwritable};
use super::{Exit, inputs, status};
use crate::config::Format;

pub(super) const LONG_ABOUT: &str = "\
Follow the messages on the forward sockets from now on: each on a line (or as a netstring,
if the configuration says so), exactly as the socket gives it.

It is an observer: it takes no message away from the programs that read the socket, and no
message waits for it. It doesn't show messages that wait for a reader. A message that
matches several forwards is shown once for each.

It ends when the daemon stops, and when nothing reads its output any more. If its output is
read too slowly, 1 MiB or 10 s behind, it misses messages, and says so.";

pub(super) const AFTER_HELP: &str = "\
Examples:
  gatewire tail
  gatewire tail --forward messages | jq -r --unbuffered .payload

Exit codes: 0 nothing reads the output any more; 64 usage; 69 the daemon can't be reached,
or has stopped; 78 configuration unusable.";

/// The longest line, in bytes: a daemon's has about 300 KiB at most.
const MAX_LINE: usize = 1 << 20;

/// What says to a forward that we are an observer.
const OBSERVE: &[u8] = b"{\"observe\":true}\n";

/// How an ingest socket answers [`OBSERVE`], which is no message.
const NO_MESSAGE: &[u8] = b"{\"error\":\"bad_line\",\"detail\":\"unknown key `observe`";

/// How the line begins that comes instead of messages where no more clients are served.
const TOO_MANY: &[u8] = b"{\"error\":\"too_many_clients\"";

/// The command line of `gatewire tail`.
#[derive(Debug, Args)]
pub(super) struct TailArguments {
    /// Follow this forward only
    #[arg(long, value_name = "NAME", conflicts_with = "socket")]
    forward: Option<String>,

    /// Follow this socket; the configuration isn't read
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Messages go to standard output, all else to standard error.
#[inline(never)]
pub(super) fn run(config: &Path, arguments: TailArguments) -> Exit {
    follow(config, arguments).map_or_else(Failure::end, |()| Exit::Done)
}

fn follow(config: &Path, arguments: TailArguments) -> Result<(), Failure> {
    let sockets = match arguments.socket {
        Some(path) => vec![(path, Format::Json)],
        None => {
            let (sockets, status) = sockets(config, arguments.forward.as_deref())?;
            if let Some(version) = status::too_old_for_observers(&status) {
                let text = format!(
                    "the running gatewire is version {version}, which may take `gatewire tail` for a reader and give it \
                    messages that wait for your programs. Restart it first: `sudo systemctl restart gatewire`"
                );
                return Err(Failure::new(text, Exit::Unavailable));
            }
            sockets
        }
    };
    let connections: Result<Vec<_>, _> =
        sockets.into_iter().map(|(path, format)| TailConnection::open(path, format)).collect();
    let mut connections = connections?;
    let style = Style::of_stdout();
    loop {
        match wait(&connections)
            .map_err(|error| Failure::new(format!("waiting for messages: {error}"), Exit::Internal))?
        {
            Ready::Unread => return Ok(()),
            Ready::Connections(ready) => {
                for i in ready {
                    if connections[i].read(style)? == Heard::Enough {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// The sockets of all forwards, or of the one of this name, and what is written there; and the status socket.
fn sockets(config: &Path, name: Option<&str>) -> Result<(Vec<(PathBuf, Format)>, PathBuf), Failure> {
    let config = inputs::of_daemon(config)?;
    let forwards = config.forward;
    let wanted = |forward: &&crate::config::Forward| name.is_none_or(|name| forward.name == name);
    let socket = |forward: &crate::config::Forward| (forward.socket.path.clone(), forward.format);
    let sockets: Vec<_> = forwards.iter().filter(wanted).map(socket).collect();
    match (sockets.is_empty(), name) {
        (false, _) => Ok((sockets, config.status.socket.path)),
        (true, Some(name)) if !forwards.is_empty() => {
            let names: Vec<&str> = forwards.iter().map(|forward| forward.name.as_str()).collect();
            Err(Failure::new(
                format!("there is no [[forward]] `{name}`; the configuration has {}", names.join(", ")),
                Exit::Usage,
            ))
        }
        (true, _) => {
            Err(Failure::new("the configuration has no [[forward]]: there is nothing to follow", Exit::Config))
        }
    }
}

/// What there is to do.
enum Ready {
    /// The reader of our output has gone.
    Unread,
    /// These have something to say.
    Connections(Vec<usize>),
}

/// Waits until something comes, or until nobody is there to read it: `tail | head -1` must not go on until the next message.
fn wait(connections: &[TailConnection]) -> io::Result<Ready> {
    let stdout = io::stdout();
    let mut watched = vec![PollFd::new(stdout.as_fd(), PollFlags::empty())];
    watched.extend(connections.iter().map(|connection| PollFd::new(connection.stream.as_fd(), PollFlags::POLLIN)));
    loop {
        match poll(&mut watched, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => break,
        }
    }
    let happened = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
    if happened(&watched[0]) {
        return Ok(Ready::Unread);
    }
    let ready = watched[1..].iter().enumerate().filter(|(_, fd)| happened(fd)).map(|(i, _)| i);
    Ok(Ready::Connections(ready.collect()))
}

/// How a read has ended.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Something,
    /// The reader of our output has gone.
    Enough,
}

/// A connection to a forward socket.
struct TailConnection {
    path: PathBuf,
    format: Format,
    stream: UnixStream,
    /// The begin of a line that isn't complete.
    rest: Vec<u8>,
    /// Nothing has come yet.
    is_new: bool,
    /// It was made anew after the daemon had closed one.
    remade: bool,
}

impl TailConnection {
    fn open(path: PathBuf, format: Format) -> Result<TailConnection, Unreachable> {
        let stream = observe(&path)?;
        Ok(TailConnection { path, format, stream, rest: Vec::new(), is_new: true, remade: false })
    }

    /// Passes on what has come. A closed connection is made anew; if that fails the daemon has stopped.
    fn read(&mut self, style: Style) -> Result<Heard, Failure> {
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.closed(),
            Ok(n) => self.take(&buffer[..n], style),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Heard::Something),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => self.closed(),
            Err(error) => Err(Unreachable::new(&self.path, error).into()),
        }
    }

    fn take(&mut self, bytes: &[u8], style: Style) -> Result<Heard, Failure> {
        self.rest.extend_from_slice(bytes);
        let strange = |detail: &str| Unreachable::Strange { path: self.path.clone(), detail: detail.to_owned() };
        let end = frames::whole(&self.rest, self.format)
            .map_err(|frames::Broken| strange("what it sends isn't a netstring"))?;
        if end == 0 {
            return if self.rest.len() > MAX_LINE {
                Err(strange("a line that is too long").into())
            } else {
                Ok(Heard::Something)
            };
        }
        if std::mem::take(&mut self.is_new) {
            self.check_first()?;
        }
        let written = pass_on(&self.rest[..end], |line| painted(line, style));
        self.rest.drain(..end);
        match written {
            Ok(()) => Ok(Heard::Something),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Heard::Enough),
            Err(error) => Err(unwritable(&error)),
        }
    }

    /// Looks at what comes first on a connection.
    fn check_first(&self) -> Result<(), Failure> {
        if self.rest.starts_with(TOO_MANY) {
            let detail = "it serves no more clients (`ss -xp` shows them)".to_owned();
            return Err(Unreachable::Refused { path: self.path.clone(), detail }.into());
        }
        if is_from_another_kind(&self.rest) {
            return Err(Unreachable::Other { path: self.path.clone(), wanted: "a [[forward]]" }.into());
        }
        if self.remade {
            tell(&format!(
                "gatewire tail: messages were missed here: {} was read too slowly, and gatewire closed the connection",
                self.path.display()
            ));
        }
        Ok(())
    }

    /// The daemon has closed the connection: it has stopped, or we were too slow for it.
    fn closed(&mut self) -> Result<Heard, Failure> {
        let stopped = || Failure::new("gatewire tail: gatewire has stopped", Exit::Unavailable);
        if self.is_new {
            return Err(stopped());
        }
        self.stream = observe(&self.path).map_err(|error| match error {
            Unreachable::Absent { .. } => stopped(),
            other => other.into(),
        })?;
        self.rest.clear();
        (self.is_new, self.remade) = (true, true);
        Ok(Heard::Something)
    }
}

/// Whether what comes first is from an ingest socket or that of the status, and no message.
fn is_from_another_kind(bytes: &[u8]) -> bool {
    // A bare payload may begin like a status document, and doesn't go on like one.
    let is_status = bytes.starts_with(b"{\"version\":\"") && memmem::find(bytes, b"\"link\":{\"state\":\"").is_some();
    is_status || bytes.starts_with(NO_MESSAGE)
}

/// Connects as an observer. The name that our socket has says so before there is a connection: however late the line comes, we
/// are never taken for a reader. The line itself is for a daemon that doesn't know the name yet.
fn observe(path: &Path) -> Result<UnixStream, Unreachable> {
    let mut stream = connect(path)?;
    match stream.write_all(OBSERVE) {
        // It has closed the connection already, and mostly said why: that is still to be read.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(stream),
        written => written.map(|()| stream).map_err(|error| Unreachable::new(path, error)),
    }
}

/// The parts of a message's line that people look for, as they stand there.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    topic: &'a RawValue,
    #[serde(borrow, alias = "payload_base64")]
    payload: &'a RawValue,
}

/// A line for a terminal, with the topic and the payload set off from the rest; one that isn't a message's without.
fn painted(line: &str, style: Style) -> StyledText {
    let Ok(Parts { topic, payload }) = serde_json::from_str(line) else { return StyledText::plain(line) };
    let (mut shown, mut rest) = (StyledText::default(), line);
    for (part, tone) in [(topic, Some(Tone::Name)), (payload, None)] {
        // The key is in front of it: what looks like it elsewhere isn't meant.
        let Some((before, after)) = rest.split_once(&format!("\":{}", part.get())) else { continue };
        let part = tone.map_or_else(|| StyledText::plain(part.get()), |tone| style.paint(tone, part.get()));
        shown = shown.then(style.paint(Tone::Aside, &format!("{before}\":"))).then(part);
        rest = after;
    }
    shown.then(style.paint(Tone::Aside, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_terminal_topic_and_payload_are_set_off_and_nothing_commands_it() {
        let line = "{\"id\":1,\"topic\":\"topic\",\"payload\":\"a \u{9b}b\",\"qos\":1}";
        assert_eq!(
            painted(line, Style::Colour).to_string(),
            "\u{1b}[2m{\"id\":1,\"topic\":\u{1b}[0m\u{1b}[36m\"topic\"\u{1b}[0m\u{1b}[2m,\"payload\":\u{1b}[0m\"a \\u009bb\"\u{1b}[2m,\"qos\":1}\u{1b}[0m"
        );
        assert_eq!(painted(line, Style::Plain).to_string(), line.replace('\u{9b}', "\\u009b"));
        // format = "payload"
        assert_eq!(painted("\x1b[2J\u{fffd}", Style::Colour).to_string(), "\\u001b[2J\u{fffd}");
    }
}
