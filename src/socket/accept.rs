//! Takes in the clients of a socket.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{MsgFlags, recv};
use tokio::task::JoinSet;

use super::seats::{Seat, Seating, Seats};
use super::stream;
use super::{Listener, MAX_CLIENTS, Peer, Seldom, Stream};
use crate::owner;
use crate::time;

/// How long to leave clients waiting when the system has no file descriptor or memory for one more.
const PAUSE: Duration = Duration::from_secs(1);

/// What a client gets that comes past [`MAX_CLIENTS`].
const TOO_MANY: &[u8] =
    b"{\"error\":\"too_many_clients\",\"detail\":\"this socket serves at most 256 clients at a time; \
    close connections that aren't used, or try again later\"}\n";

/// What a client gets for which a file descriptor would have to be used that is kept for something else.
const NO_FILES: &[u8] = b"{\"error\":\"too_many_clients\",\"detail\":\"gatewire has almost as many files open as it may \
    (LimitNOFILE= of its unit), and keeps the rest for its link; close connections that aren't used, or try again later\"}\n";

/// So many file descriptors are kept for the link, the status socket and what schedules open, where there are few; and of those
/// the status socket leaves so many to the others.
const KEPT: u64 = 32;
const KEPT_FROM_STATUS: u64 = 16;

/// Whose clients a socket has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    Messages,
    Status,
}

/// Gives each client to `handle` and runs the future it returns, for ever. Dropping this future ends them all; the socket
/// stays open for as long as anybody has the listener. `clients` is kept at the number of those connected.
pub(crate) async fn serve<F>(
    (listener, what_for): (Rc<Listener>, For),
    clients: Rc<Cell<usize>>,
    handle: impl Fn(Stream) -> F,
) where
    F: Future<Output = ()> + 'static,
{
    let files = Files::of(what_for);
    let mut running = JoinSet::new();
    let seats: Rc<Seats> = Rc::default();
    let (crowded, failing) = (Seldom::default(), Seldom::default());
    loop {
        tokio::select! {
            biased;
            // First: clients that come and go without end would leave more and more that isn't tidied up.
            Some(ended) = running.join_next() => if let Err(error) = ended {
                log::error!(GATEWIRE_EVENT = "panic"; "a client of {} was dropped: {error}", listener.path().display());
            },
            accepted = listener.accept() => match accepted.and_then(register) {
                Ok(None) => {}
                Ok(Some(stream)) if files.are_too_few(&stream) => files.refuse(&stream, &listener, &crowded),
                Ok(Some(stream)) => if let Some(seated) = seat(&seats, &stream, &listener, &crowded) {
                    // What a client takes is taken once, and not moved over the stack.
                    running.spawn_local(seated.keep(Box::pin(handle(stream))));
                },
                Err(error) => pause_for(&error, &listener, &failing).await,
            },
        }
        clients.set(seats.len());
    }
}

/// `None`: the client has gone already and has left nothing to read. One that comes and goes without end costs little that way.
fn register(accepted: UnixStream) -> io::Result<Option<Stream>> {
    let has_gone = recv(accepted.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) == Ok(0)
        && stream::is_closed(&accepted);
    if has_gone { Ok(None) } else { Stream::new(accepted).map(Some) }
}

/// The file descriptors that there are for clients.
struct Files {
    most: u64,
    limit: u64,
}

impl Files {
    fn of(what_for: For) -> Files {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        // Of very few there are some for clients, too.
        let kept = match what_for {
            For::Status => KEPT_FROM_STATUS.min(limit / 8),
            For::Messages => KEPT.min(limit / 4),
        };
        Files { most: limit - kept, limit }
    }

    /// The kernel gives the lowest that is free.
    fn are_too_few(&self, stream: &Stream) -> bool {
        stream.descriptor().is_some_and(|descriptor| descriptor as u64 >= self.most)
    }

    fn refuse(&self, stream: &Stream, listener: &Listener, crowded: &Seldom) {
        let _ = stream.try_write(&[IoSlice::new(NO_FILES)]);
        if crowded.is_due(time::now()) {
            let (path, Peer { uid, pid }) = (listener.path().display(), stream.peer());
            log::warn!(
                GATEWIRE_EVENT = "too_many_clients", GATEWIRE_PEER_UID = uid, GATEWIRE_PEER_PID = pid;
                "{path}: gatewire may have {} files open, and has almost as many; the last are for its link, its status and \
                 schedules: {} of {} was refused. Raise LimitNOFILE= in the unit (`ulimit -n`), or have programs close the \
                 connections that they don't use. Logged at most once a minute", self.limit, process(pid), user(uid)
            );
        }
    }
}

/// A client that has a place. Dropping this gives it back.
struct Seated {
    seats: Rc<Seats>,
    seat: Rc<Seat>,
    id: u64,
}

impl Seated {
    /// Serves the client, until another gets its place.
    async fn keep(self, served: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = self.seat.lost() => {}
            () = served => {}
        }
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.seats.leave(self.id);
    }
}

/// Gives a client a place, or tells it that there is none. Where there are too few, who has too many is named.
fn seat(seats: &Rc<Seats>, stream: &Stream, listener: &Listener, crowded: &Seldom) -> Option<Seated> {
    let peer = stream.peer();
    let seated = |id| Some(Seated { seats: Rc::clone(seats), seat: Rc::clone(stream.seat()), id });
    let (seated, holder, outcome) = match seats.admit(peer, stream.seat()) {
        Seating::Seated(id) => return seated(id),
        Seating::Instead(id, holder) => {
            (seated(id), holder, "got the place of that program's connection that was idle longest")
        }
        Seating::Refused(holder) => (None, holder, "was refused"),
    };
    if crowded.is_due(time::now()) {
        let (path, Peer { uid, pid }) = (listener.path().display(), holder.peer);
        log::warn!(
            GATEWIRE_EVENT = "too_many_clients", GATEWIRE_PEER_UID = uid, GATEWIRE_PEER_PID = pid;
            "{path}: {MAX_CLIENTS} clients are connected, {} of them of {}, {} of {}; {} of {} {outcome}. Have the first close the \
             connections that it doesn't use ({}). Logged at most once a minute",
            holder.of_user, user(uid), holder.of_program, process(pid), process(peer.pid), user(peer.uid), look(pid),
        );
    }
    if seated.is_none() {
        // A fresh socket takes a line at once. If the client has gone there is nobody to tell.
        let _ = stream.try_write(&[IoSlice::new(TOO_MANY)]);
    }
    seated
}

/// A client couldn't be taken in. If the system is short of something, trying again at once would only spin.
async fn pause_for(error: &io::Error, listener: &Listener, failing: &Seldom) {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
        return;
    }
    if failing.is_due(time::now()) {
        let path = listener.path().display();
        log::error!(
            GATEWIRE_EVENT = "accept_failed";
            "{path}: can't accept a client: {error}. gatewire retries once a second, and clients wait. If there are too many \
            open files, raise LimitNOFILE= in the unit"
        );
    }
    tokio::time::sleep(PAUSE).await;
}

/// How to see what a process is.
fn look(pid: i32) -> String {
    if pid == 0 { "`ss -xp` shows more".to_owned() } else { format!("`ps -fp {pid}` and `ss -xp` show more") }
}

fn user(uid: u32) -> String {
    format!("the user {}", owner::name_of(uid))
}

fn process(pid: i32) -> String {
    // The kernel has no number for one of another container.
    if pid == 0 { "processes of another container".to_owned() } else { format!("the process {pid}") }
}

#[cfg(test)]
mod tests;
