//! The network between the daemon and a server, the [`Cloud`] or the local [`Broker`](super::broker::Broker): bytes take their time, come in pieces, or never.

mod connecting;
mod stream;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::sync::Notify;

use super::cloud::Cloud;
use super::server::{ConnectionId, Output, Server};
use crate::net::Usage;
use crate::time;
pub(crate) use stream::SimulatedStream;

/// How it behaves from now on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Weather {
    /// One way, at least and at most.
    pub(crate) latency: (Duration, Duration),
    /// Bytes a second up.
    pub(crate) bandwidth: u64,
    /// What is sent never arrives, and nothing is told of it.
    pub(crate) is_silent: bool,
    pub(crate) dns_fails: bool,
    /// No TCP connection can be made: it is refused, or never answered.
    pub(crate) connects_fail: Option<bool>,
}

impl Default for Weather {
    fn default() -> Weather {
        Weather {
            latency: (Duration::from_millis(10), Duration::from_millis(40)),
            bandwidth: 1_000_000,
            is_silent: false,
            dns_fails: false,
            connects_fail: None,
        }
    }
}

/// Bytes on their way in one direction, each piece with the time at which it arrives.
#[derive(Default)]
struct Way {
    pieces: VecDeque<(Instant, Vec<u8>)>,
    last: Option<Instant>,
    bytes: usize,
}

impl Way {
    fn send(&mut self, piece: Vec<u8>, arrives: Instant) {
        let arrives = self.last.map_or(arrives, |last| arrives.max(last));
        self.last = Some(arrives);
        self.bytes += piece.len();
        self.pieces.push_back((arrives, piece));
    }

    fn arrived(&mut self, now: Instant) -> Option<Vec<u8>> {
        let (_, piece) = self.pieces.pop_front_if(|(at, _)| *at <= now)?;
        self.bytes -= piece.len();
        Some(piece)
    }

    fn next(&self) -> Option<Instant> {
        self.pieces.front().map(|(at, _)| *at)
    }
}

/// How the end of a connection looks to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Closed,
    Reset,
}

/// A connection.
#[derive(Default)]
struct Wire {
    up: Way,
    down: Way,
    /// When what was written before will have left.
    sending_until: Option<Instant>,
    /// What has arrived, to be read.
    readable: VecDeque<u8>,
    ended: Option<Ended>,
    /// The server has closed, once what it said before has arrived.
    closes_at: Option<Instant>,
    /// The daemon has let go of it.
    is_dropped: bool,
    /// When something went either way last.
    moved_at: Option<Instant>,
    /// A NAT has forgotten it: nothing arrives any more, and nobody is told.
    is_forgotten: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Wire {
    /// Something goes either way, over a NAT that forgets what nothing goes over.
    fn moves(&mut self, now: Instant, forgets_after: Option<Duration>) {
        let before = self.moved_at.replace(now);
        let is_forgotten = before.zip(forgets_after).is_some_and(|(before, after)| now - before >= after);
        self.is_forgotten |= is_forgotten;
    }

    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }
}

struct NetworkState<S> {
    server: S,
    weather: Weather,
    /// After so long without a packet a connection is forgotten on the way.
    forgets_after: Option<Duration>,
    rng: Rng,
    wires: BTreeMap<ConnectionId, Wire>,
    /// The next connection is another process's.
    is_anew: bool,
    /// What the daemon's connections have carried, but for TLS.
    usage: Usage,
    /// How often a connection was made, and how often it was tried.
    connections: u64,
    attempts: u64,
}

/// What is seen of the daemon before the server sees it.
pub(crate) enum Seen<'a> {
    /// The id of the certificate in a handshake, and whether its key belongs to it.
    Certificate(&'a str, bool),
    /// What was written to a connection.
    Written(&'a [u8]),
}

type Watch = Rc<dyn Fn(Seen<'_>)>;

/// See the module.
pub(crate) struct SimulatedNetwork<S = Cloud> {
    state: Rc<RefCell<NetworkState<S>>>,
    changed: Rc<Notify>,
    /// The machine's address has gone, or another has come.
    address_lost: Rc<Notify>,
    address_came: Rc<Notify>,
    /// Who looks on.
    watch: Rc<RefCell<Option<Watch>>>,
}

impl<S> Clone for SimulatedNetwork<S> {
    fn clone(&self) -> SimulatedNetwork<S> {
        SimulatedNetwork {
            state: Rc::clone(&self.state),
            changed: Rc::clone(&self.changed),
            address_lost: Rc::clone(&self.address_lost),
            address_came: Rc::clone(&self.address_came),
            watch: Rc::clone(&self.watch),
        }
    }
}

impl SimulatedNetwork {
    /// Does something with the cloud, which is heard of.
    pub(crate) fn with_cloud<T>(&self, work: impl FnOnce(&mut Cloud) -> T) -> T {
        self.with_server(work)
    }
}

impl<S: Server> SimulatedNetwork<S> {
    pub(crate) fn new(server: S, seed: u64) -> SimulatedNetwork<S> {
        let state = NetworkState {
            server,
            weather: Weather::default(),
            forgets_after: None,
            rng: Rng::with_seed(seed),
            wires: BTreeMap::new(),
            is_anew: false,
            usage: Usage::default(),
            connections: 0,
            attempts: 0,
        };
        let (changed, address_lost, address_came, watch) = Default::default();
        SimulatedNetwork { state: Rc::new(RefCell::new(state)), changed, address_lost, address_came, watch }
    }

    /// Somebody looks on from now on.
    pub(crate) fn watch(&self, watch: Watch) {
        self.watch.replace(Some(watch));
    }

    fn sees(&self, seen: Seen<'_>) {
        let watch = self.watch.borrow().clone();
        if let Some(watch) = watch {
            watch(seen);
        }
    }

    /// Moves bytes for ever.
    pub(crate) async fn run(&self) {
        loop {
            let next = self.step();
            let changed = self.changed.notified();
            tokio::select! {
                biased;
                () = changed => {}
                () = tokio::time::sleep_until(next.unwrap_or_else(far).into()), if next.is_some() => {}
            }
        }
    }

    /// Does something with the server, which is heard of.
    pub(crate) fn with_server<T>(&self, work: impl FnOnce(&mut S) -> T) -> T {
        let result = work(&mut self.state.borrow_mut().server);
        self.changed.notify_one();
        result
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.state.borrow_mut().weather = weather;
        self.changed.notify_one();
    }

    /// What nothing goes over for so long is forgotten from now on.
    pub(crate) fn forgets_after(&self, time: Option<Duration>) {
        self.state.borrow_mut().forgets_after = time;
    }

    pub(crate) fn weather(&self) -> Weather {
        self.state.borrow().weather.clone()
    }

    /// How often a connection was tried, and made.
    pub(crate) fn attempts(&self) -> (u64, u64) {
        let state = self.state.borrow();
        (state.attempts, state.connections)
    }

    /// Every connection breaks now: of what is on its way up, some has arrived, to any byte.
    pub(crate) fn cut(&self) {
        let state = &mut *self.state.borrow_mut();
        let now = time::now();
        for (id, wire) in state.wires.iter_mut().filter(|(_, wire)| wire.ended.is_none()) {
            let on_its_way: Vec<u8> = wire.up.pieces.drain(..).flat_map(|(_, piece)| piece).collect();
            wire.up = Way::default();
            let arrived = state.rng.usize(..=on_its_way.len());
            state.server.receive(*id, &on_its_way[..arrived], now);
            state.server.lost(*id, now);
            wire.ended = Some(Ended::Reset);
            wire.down = Way::default();
            wire.wake();
        }
        self.changed.notify_one();
    }

    /// This machine gets another address: the old one is gone, and with it every connection.
    pub(crate) fn change_address(&self) {
        self.address_lost.notify_waiters();
        self.address_came.notify_waiters();
    }

    /// The daemon is dead: the kernel closes its connections.
    pub(crate) fn killed(&self) {
        let state = &mut *self.state.borrow_mut();
        state.wires.values_mut().for_each(|wire| wire.is_dropped = true);
        state.is_anew = true;
        self.changed.notify_one();
    }

    /// Moves what has arrived. When to look again, if nothing happens before.
    fn step(&self) -> Option<Instant> {
        let state = &mut *self.state.borrow_mut();
        let now = time::now();
        for (id, wire) in &mut state.wires {
            while !state.weather.is_silent
                && !wire.is_forgotten
                && let Some(piece) = wire.up.arrived(now)
            {
                state.server.receive(*id, &piece, now);
                wire.writer.take().into_iter().for_each(Waker::wake);
            }
            if wire.is_dropped && wire.up.pieces.is_empty() && !wire.is_forgotten {
                state.server.lost(*id, now);
            }
        }
        state.wires.retain(|_, wire| !(wire.is_dropped && (wire.up.pieces.is_empty() || wire.is_forgotten)));
        state.server.handle_timeout(now);
        while let Some((id, output)) = state.server.next_output() {
            let Some(wire) = state.wires.get_mut(&id) else { continue };
            let (least, most) = state.weather.latency;
            let arrives = now + least + (most - least).mul_f64(state.rng.f64());
            wire.moves(now, state.forgets_after);
            match output {
                Output::Bytes(bytes) => wire.down.send(bytes, arrives),
                Output::Close => wire.closes_at = Some(wire.down.last.map_or(arrives, |last| last.max(arrives))),
            }
        }
        let is_silent = state.weather.is_silent;
        for wire in state.wires.values_mut().filter(|wire| !is_silent && !wire.is_forgotten) {
            while let Some(piece) = wire.down.arrived(now) {
                wire.readable.extend(piece);
                wire.reader.take().into_iter().for_each(Waker::wake);
            }
            if wire.closes_at.is_some_and(|at| at <= now) && wire.ended.is_none() {
                wire.ended = Some(Ended::Closed);
                wire.wake();
            }
        }
        let of_wire = |wire: &Wire| {
            let closes = wire.closes_at.filter(|_| wire.ended.is_none());
            [wire.up.next(), wire.down.next(), closes].into_iter().flatten().min()
        };
        let of_wires = state.wires.values().filter(|wire| !is_silent && !wire.is_forgotten).filter_map(of_wire).min();
        of_wires.into_iter().chain(state.server.timeout()).min()
    }
}

/// Later than anything that is waited for.
fn far() -> Instant {
    time::now() + Duration::from_secs(24 * 3600)
}
