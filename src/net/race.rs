//! Which address of several answers first (RFC 8305, "Happy Eyeballs").

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::error::Attempt;

/// How long an address is ahead of the next (RFC 8305, 5: "Connection Attempt Delay").
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// When which address is tried. Pure.
#[derive(Debug)]
struct Schedule {
    waiting: VecDeque<SocketAddr>,
    running: usize,
    next_start: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Start(SocketAddr),
    /// For an outcome, or until then if there is one more address to start.
    Wait(Option<Instant>),
    /// Every address has failed.
    Lost,
}

impl Schedule {
    fn new(addresses: Vec<SocketAddr>, now: Instant) -> Schedule {
        Schedule { waiting: interleave(addresses), running: 0, next_start: now }
    }

    fn next(&mut self, now: Instant) -> Next {
        let due = self.running == 0 || now >= self.next_start;
        if due && let Some(address) = self.waiting.pop_front() {
            self.running += 1;
            self.next_start = now + ATTEMPT_DELAY;
            return Next::Start(address);
        }
        match (self.running, self.waiting.is_empty()) {
            (0, _) => Next::Lost,
            (_, true) => Next::Wait(None),
            (_, false) => Next::Wait(Some(self.next_start)),
        }
    }

    /// An address has failed, so the next needn't wait.
    fn failed(&mut self, now: Instant) {
        self.running -= 1;
        self.next_start = now;
    }
}

/// IPv6 and IPv4 in turn, beginning with what the resolver put first, its order kept within each (RFC 8305, 4).
fn interleave(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_ipv6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut order = VecDeque::with_capacity(first.len() + second.len());
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return order;
        }
        order.extend(pair.into_iter().flatten());
    }
}

/// The address that answered first.
#[derive(Debug)]
pub(super) struct Won<C> {
    pub(super) connection: C,
    pub(super) address: SocketAddr,
    /// What else had been tried by then.
    pub(super) lost: Vec<Attempt>,
}

/// Connects to `addresses` with the staggering of RFC 8305; the first to succeed ends the attempts at the others.
///
/// # Errors
/// Every address tried, with what it gave, if none succeeds within `limit`.
pub(super) async fn run<C, F>(
    addresses: Vec<SocketAddr>,
    limit: Duration,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<Won<C>, Vec<Attempt>>
where
    C: Send + 'static,
    F: Future<Output = io::Result<C>> + Send + 'static,
{
    let mut attempts = Vec::new();
    match timeout(limit, stagger(addresses, connect, &mut attempts)).await {
        Ok(Some((connection, address))) => {
            attempts.retain(|attempt| attempt.address != address);
            Ok(Won { connection, address, lost: attempts })
        }
        Ok(None) | Err(_) => Err(attempts),
    }
}

async fn stagger<C, F>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
    attempts: &mut Vec<Attempt>,
) -> Option<(C, SocketAddr)>
where
    C: Send + 'static,
    F: Future<Output = io::Result<C>> + Send + 'static,
{
    let mut schedule = Schedule::new(addresses, now());
    // Dropping it ends what still runs.
    let mut running = JoinSet::new();
    loop {
        let start_next = match schedule.next(now()) {
            Next::Start(address) => {
                attempts.push(Attempt { address, failure: None });
                let attempt = connect(address);
                running.spawn(async move { (address, attempt.await) });
                continue;
            }
            Next::Wait(until) => until,
            Next::Lost => return None,
        };
        let outcome = tokio::select! {
            biased;
            outcome = running.join_next() => outcome,
            () = reached(start_next) => continue,
        };
        match outcome {
            Some(Ok((address, Ok(connection)))) => return Some((connection, address)),
            Some(Ok((address, Err(error)))) => {
                if let Some(attempt) = attempts.iter_mut().find(|attempt| attempt.address == address) {
                    attempt.failure = Some(error.kind());
                }
                schedule.failed(now());
            }
            // A panic in an attempt: as good as failed.
            Some(Err(_)) | None => schedule.failed(now()),
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn reached(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
