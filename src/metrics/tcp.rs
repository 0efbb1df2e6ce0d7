//! The metrics at a TCP port.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{AbortHandle, JoinSet};

use super::{Exposition, serve_one};
use crate::owner;
use crate::socket::Seldom;
use crate::time;

/// The most clients at a time. Of the address that has the most, the one that came first gives way to the next: a scrape takes
/// milliseconds, and nobody's pays for another's.
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
/// that uses the port is no reason to stop; `fault` says meanwhile why not. Dropping this future disconnects them and gives the port free.
pub(crate) async fn serve_tcp(address: SocketAddr, exposition: Exposition, fault: Rc<RefCell<Option<String>>>) {
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
            fault.replace(Some(error.to_string()));
            said = Some(error);
        }
        tokio::time::sleep(RETRY).await;
    };
    fault.replace(None);
    log::info!(GATEWIRE_EVENT = "metrics"; "the metrics are at http://{address}/metrics");
    accept(&listener, address, &exposition).await;
}

async fn accept(listener: &TcpListener, address: SocketAddr, exposition: &Exposition) {
    let (mut clients, mut order) = (JoinSet::new(), VecDeque::<(IpAddr, AbortHandle)>::new());
    let failing = Seldom::default();
    loop {
        tokio::select! {
            biased;
            Some(ended) = clients.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    log::error!(GATEWIRE_EVENT = "panic"; "a client of the metrics at {address} was dropped: {error}");
                }
                order.retain(|(_, client)| !client.is_finished());
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let source = source(from.ip());
                    if order.len() >= MAX_CLIENTS {
                        let sources: Vec<IpAddr> = order.iter().map(|(source, _)| *source).collect();
                        order.remove(gives_way(&sources, source)).iter().for_each(|(_, client)| client.abort());
                    }
                    let exposition = Rc::clone(exposition);
                    let client = clients.spawn_local(async move { serve_one(stream, &exposition).await });
                    order.push_back((source, client));
                }
                Err(error) => pause_for(&error, address, &failing).await,
            },
        }
    }
}

/// Whom an address counts for: one machine may have all of an IPv6 network of 64 bits.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

/// Which of these clients, the first to come first, gives way to one more, from `new`: the first of whoever has the most then.
fn gives_way(sources: &[IpAddr], new: IpAddr) -> usize {
    let count = |source: IpAddr| sources.iter().filter(|other| **other == source).count() + usize::from(source == new);
    let most = sources.iter().map(|source| count(*source)).max();
    sources.iter().position(|source| Some(count(*source)) == most).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_most_gives_way() {
        let [one, other, third] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!(gives_way(&[one, other, other], third), 1, "who is alone is left alone");
        assert_eq!(gives_way(&[one, other, other], one), 0, "the new one counts");
        assert_eq!(gives_way(&[one, other, third], one), 0);
        assert_eq!(gives_way(&[other, one, third], "10.0.0.4".parse().unwrap()), 0, "all have as many: the first");
        let of = |text: &str| source(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), one);
    }
}
