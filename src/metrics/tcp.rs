//! The metrics at a TCP port.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{AbortHandle, JoinSet};

use super::{Exposition, serve_one};
use crate::owner;
use crate::socket::Seldom;
use crate::time;

/// The most clients at a time. The one that came first gives way to the next: a scrape takes milliseconds.
pub(super) const MAX_CLIENTS: usize = 16;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 64;

/// How long until an address is tried again that can't be had, or until the next client where the system has no file descriptor.
const RETRY: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);

/// Why nobody listens at an address.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum ListenError {
    #[error(
        "{0} is in use by another program: `sudo ss -ltnp 'sport = :{port}'` shows which. Choose another port, or stop that one",
        port = .0.port()
    )]
    InUse(SocketAddr),
    #[error(
        "the user {user} may not use port {port}: those below 1024 are for root. Choose another, such as 127.0.0.1:9641",
        port = address.port()
    )]
    Denied { address: SocketAddr, user: String },
    #[error("{} isn't an address of this machine now; `ip address` shows those that are", .0.ip())]
    NotHere(SocketAddr),
    #[error("{0} can't be listened at: {1}")]
    Other(SocketAddr, String),
}

impl ListenError {
    fn new(address: SocketAddr, error: &io::Error) -> ListenError {
        match error.kind() {
            ErrorKind::AddrInUse => ListenError::InUse(address),
            ErrorKind::PermissionDenied => ListenError::Denied { address, user: owner::own_name() },
            ErrorKind::AddrNotAvailable => ListenError::NotHere(address),
            _ => ListenError::Other(address, error.to_string()),
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    // Connections of an earlier daemon that aren't forgotten yet don't matter.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether [`serve_tcp`] could listen at `address` now. Where a daemon runs, that may be who uses it.
pub(crate) fn probe(address: SocketAddr, is_daemon_there: bool) -> Result<(), ListenError> {
    let listening = std::net::TcpListener::bind(address).map(drop);
    match listening.map_err(|error| ListenError::new(address, &error)) {
        Err(ListenError::InUse(_)) if is_daemon_there => Ok(()),
        outcome => outcome,
    }
}

/// Serves clients at `address`, for ever, as soon as it can be had: the network may come later than gatewire, and another program
/// that uses the port is no reason to stop. Dropping this future disconnects them and gives the port free.
pub(crate) async fn serve_tcp(address: SocketAddr, exposition: Exposition) {
    let mut said = None;
    let listener = loop {
        let error = match listen(address) {
            Ok(listener) => break listener,
            Err(error) => ListenError::new(address, &error),
        };
        if said.as_ref() != Some(&error) {
            log::error!(
                GATEWIRE_EVENT = "metrics_failed";
                "no metrics are served (metrics.listen): {error}. Everything else works; gatewire tries again every {} s",
                RETRY.as_secs()
            );
            said = Some(error);
        }
        tokio::time::sleep(RETRY).await;
    };
    log::info!(GATEWIRE_EVENT = "metrics"; "the metrics are at http://{address}/metrics");
    accept(&listener, address, &exposition).await;
}

async fn accept(listener: &TcpListener, address: SocketAddr, exposition: &Exposition) {
    let (mut clients, mut order) = (JoinSet::new(), VecDeque::<AbortHandle>::new());
    let failing = Seldom::default();
    loop {
        tokio::select! {
            biased;
            Some(ended) = clients.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    log::error!(GATEWIRE_EVENT = "panic"; "a client of the metrics at {address} was dropped: {error}");
                }
                order.retain(|client| !client.is_finished());
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if order.len() >= MAX_CLIENTS {
                        order.pop_front().iter().for_each(AbortHandle::abort);
                    }
                    let exposition = std::rc::Rc::clone(exposition);
                    order.push_back(clients.spawn_local(async move { serve_one(stream, &exposition).await }));
                }
                Err(error) => pause_for(&error, address, &failing).await,
            },
        }
    }
}

/// A client couldn't be taken in. If the system is short of something, trying again at once would only spin.
async fn pause_for(error: &io::Error, address: SocketAddr, failing: &Seldom) {
    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted) {
        return;
    }
    if failing.is_due(time::now()) {
        log::error!(
            GATEWIRE_EVENT = "accept_failed";
            "{address}: can't accept a client: {error}. gatewire retries once a second, and clients wait. If there are too many \
             open files, raise LimitNOFILE= in the unit"
        );
    }
    tokio::time::sleep(PAUSE).await;
}
