//! Names to addresses, by the system's own resolver.

use std::net::SocketAddr;
use std::time::Duration;

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};
use tokio::time::timeout;

use super::endpoint::Endpoint;
use super::error::DnsFault;
use crate::blocking::{self, Blocking};

/// Addresses of one name that are tried. IoT Core gives fewer.
const MAX_ADDRESSES: usize = 16;

/// Asks the system's resolver, which blocks, on a thread. There is never more than one such thread: a lookup that was given
/// up on runs on, and the next attempt takes its answer. So a resolver slower than an attempt's share still gets us through.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    running: Option<Lookup>,
}

type Lookup = Blocking<Result<Vec<SocketAddr>, DnsFault>>;

impl Resolver {
    /// The addresses of `endpoint`, in the system's order of preference (RFC 6724); at least one.
    pub(super) async fn resolve(&mut self, endpoint: &Endpoint, limit: Duration) -> Result<Vec<SocketAddr>, DnsFault> {
        if self.running.as_ref().is_some_and(Lookup::is_finished)
            && let Some(lookup) = self.running.take()
            && let Ok(Ok(addresses)) = lookup.await
        {
            return Ok(addresses);
        }
        let lookup = match &mut self.running {
            Some(lookup) => lookup,
            none => {
                let endpoint = endpoint.clone();
                let lookup = blocking::begin("dns", move || look_up(&endpoint));
                none.insert(lookup.map_err(DnsFault::NoThread)?)
            }
        };
        let Ok(answer) = timeout(limit, lookup).await else {
            return Err(DnsFault::Timeout);
        };
        self.running = None;
        answer.unwrap_or_else(|failure| Err(DnsFault::Other(format!("the resolver's thread failed ({failure})"))))
    }
}

fn look_up(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, DnsFault> {
    // One answer an address, not one a socket type.
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let found = getaddrinfo(Some(&endpoint.host), None, Some(hints)).map_err(fault)?;
    let mut addresses: Vec<SocketAddr> =
        found.filter_map(|info| info.ok().map(|info| info.sockaddr)).take(MAX_ADDRESSES).collect();
    for address in &mut addresses {
        address.set_port(endpoint.port);
    }
    if addresses.is_empty() { Err(DnsFault::NotFound) } else { Ok(addresses) }
}

fn fault(error: LookupError) -> DnsFault {
    match error.kind() {
        LookupErrorKind::NoName | LookupErrorKind::NoData => DnsFault::NotFound,
        LookupErrorKind::Again => DnsFault::Temporary,
        _ => DnsFault::Other(std::io::Error::from(error).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn endpoint(host: &str) -> Endpoint {
        Endpoint { host: host.into(), port: 8883 }
    }

    #[tokio::test]
    async fn a_slow_lookup_is_joined_by_the_next_attempt_rather_than_doubled() {
        let (answer, asked) = mpsc::channel();
        let slow = blocking::begin("slow", move || Ok(asked.recv().unwrap())).unwrap();
        let mut resolver = Resolver { running: Some(slow) };
        let nowhere = endpoint("gatewire.invalid");
        assert_eq!(resolver.resolve(&nowhere, Duration::ZERO).await, Err(DnsFault::Timeout));

        let address = SocketAddr::from(([192, 0, 2, 1], 8883));
        answer.send(vec![address]).unwrap();
        assert_eq!(resolver.resolve(&nowhere, Duration::from_secs(60)).await, Ok(vec![address]));
        assert!(resolver.running.is_none());
    }

    #[tokio::test]
    async fn a_lookup_that_failed_meanwhile_is_made_again() {
        let mut resolver = Resolver { running: Some(blocking::begin("failing", || Err(DnsFault::Temporary)).unwrap()) };
        while !resolver.running.as_ref().unwrap().is_finished() {
            tokio::task::yield_now().await;
        }
        let addresses = resolver.resolve(&endpoint("localhost"), Duration::from_secs(60)).await.unwrap();
        assert!(addresses.contains(&SocketAddr::from(([127, 0, 0, 1], 8883))), "{addresses:?}");
    }
}
