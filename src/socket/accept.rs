//! Takes in the clients of a socket.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{Listener, MAX_CLIENTS, Seldom, Stream};

/// How long to leave clients waiting when the system has no file descriptor or memory for one more.
const PAUSE: Duration = Duration::from_secs(1);

/// What a client gets that comes past [`MAX_CLIENTS`].
const TOO_MANY: &[u8] =
    b"{\"error\":\"too_many_clients\",\"detail\":\"this socket serves at most 256 clients at a time; \
    close connections that aren't used, or try again later\"}\n";

/// Gives each client to `handle` and runs the future it returns, for ever. Dropping this future ends them all; the socket
/// stays open for as long as anybody has the listener. `clients` is kept at the number of those connected.
pub(crate) async fn serve<F>(listener: Rc<Listener>, clients: Rc<Cell<usize>>, handle: impl Fn(Stream) -> F)
where
    F: Future<Output = ()> + 'static,
{
    let mut running = JoinSet::new();
    let (crowded, failing) = (Seldom::default(), Seldom::default());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(stream) if running.len() >= MAX_CLIENTS => refuse(stream, &listener, &crowded),
                Ok(stream) => match Stream::new(stream) {
                    Ok(stream) => drop(running.spawn_local(handle(stream))),
                    Err(error) => pause_for(&error, &listener, &failing).await,
                },
                Err(error) => pause_for(&error, &listener, &failing).await,
            },
            Some(ended) = running.join_next() => if let Err(error) = ended {
                log::error!(GATEWIRE_EVENT = "panic"; "a client of {} was dropped: {error}", listener.path().display());
            },
        }
        clients.set(running.len());
    }
}

fn refuse(stream: UnixStream, listener: &Listener, crowded: &Seldom) {
    if crowded.is_due(Instant::now()) {
        let path = listener.path().display();
        log::warn!(
            GATEWIRE_EVENT = "too_many_clients";
            "{path}: a client was refused, {MAX_CLIENTS} are connected (`ss -xp` shows them). Logged at most once a minute"
        );
    }
    // A fresh socket takes a line at once. If the client has gone there is nobody to tell.
    let _ = Stream::new(stream).and_then(|stream| stream.try_write(&[IoSlice::new(TOO_MANY)]));
}

/// A client couldn't be taken in. If the system is short of something, trying again at once would only spin.
async fn pause_for(error: &io::Error, listener: &Listener, failing: &Seldom) {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
        return;
    }
    if failing.is_due(Instant::now()) {
        let path = listener.path().display();
        log::error!(
            GATEWIRE_EVENT = "accept_failed";
            "{path}: can't accept a client: {error}. gatewire retries once a second, and clients wait. If there are too many \
            open files, raise LimitNOFILE= in the unit"
        );
    }
    tokio::time::sleep(PAUSE).await;
}

#[cfg(test)]
mod tests;
