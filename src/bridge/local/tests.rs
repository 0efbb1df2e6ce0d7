//! A bridge's connection against a broker that says what each test needs, in virtual time.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_local;

use super::{Figures, Legs, Local, Upstream};
use crate::client::ConnectionState;
use crate::config::{self, Broker};
use crate::forward::Acks;
use crate::message::{AckToken, Condition, Inbound, Outbound, Qos, Sequence, Topic, TopicFilter};
use crate::mqtt::Protocol;
use crate::mqtt::isolation::Rank;
use crate::mqtt::session::Waiting;
use crate::net::credentials::BrokerCredentials;
use crate::net::{BrokerOptions, Brokers, Reach, ReachError, Reached, Step, Transport};
use crate::stop::Stop;
use crate::store::Store;
use crate::store::simulated::SimulatedDisk;
use crate::time::simulated::Clocks;

/// A bridge without rules.
pub(super) fn bridge() -> config::Bridge {
    config::Bridge {
        name: "house".to_owned(),
        broker: Broker::Tcp { host: "127.0.0.1".to_owned(), port: 1883 },
        tls: None,
        login: None,
        client_id: "gatewire-thing-1".to_owned(),
        protocol: Protocol::Mqtt311,
        status_topic: None,
        discovery: None,
        announced: Vec::new(),
        up: Vec::new(),
        down: Vec::new(),
    }
}

/// One end of a stream within the process.
struct Piece(DuplexStream);

impl AsyncRead for Piece {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Piece {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Transport for Piece {
    fn local_address(&self) -> Option<SocketAddr> {
        None
    }

    fn not_arrived(&self, _: bool) -> Option<usize> {
        None
    }

    fn under_way(&self, _: bool) -> Option<usize> {
        None
    }

    fn acknowledge_at_once(&self) {}

    fn abandon(&self) {}
}

/// A broker that listens or not, and has accepted these connections.
#[derive(Clone, Default)]
struct Fake {
    is_away: Rc<Cell<bool>>,
    accepted: Rc<RefCell<VecDeque<DuplexStream>>>,
    came: Rc<Notify>,
    attempts: Rc<RefCell<Vec<Instant>>>,
}

impl Brokers for Fake {
    type Stream = Piece;
    type Connector = Fake;

    fn connector(&self, _: BrokerOptions) -> Fake {
        self.clone()
    }
}

impl Reach for Fake {
    type Stream = Piece;

    fn set_tls(&mut self, _: Option<BrokerCredentials>) {}

    async fn reach(&mut self, _: &mut dyn FnMut(Step)) -> Result<Reached<Piece>, ReachError> {
        self.attempts.borrow_mut().push(crate::time::now());
        if self.is_away.get() {
            let (path, kind) = (Path::new("/m.sock").to_owned(), ErrorKind::ConnectionRefused);
            return Err(ReachError::Unix { path, kind, detail: String::new() });
        }
        let (ours, theirs) = duplex(1 << 20);
        self.accepted.borrow_mut().push_back(theirs);
        self.came.notify_one();
        Ok(Reached { stream: Piece(ours), deadline: tokio::time::Instant::now() + Duration::from_secs(20) })
    }
}

/// What comes is held until it is acknowledged; nothing goes to the broker.
#[derive(Default)]
struct Held {
    filters: RefCell<BTreeMap<TopicFilter, Qos>>,
    acks: Acks,
    tokens: RefCell<Vec<AckToken>>,
}

impl Held {
    fn want(&self, filters: &[&str]) {
        let filters = filters.iter().map(|filter| (TopicFilter::new(filter).unwrap(), Qos::AtLeastOnce));
        *self.filters.borrow_mut() = filters.collect();
    }
}

struct Nothing;

impl Waiting for Nothing {
    type Found = (Sequence, usize);

    fn first(&mut self, _: impl FnMut(&Outbound, bool) -> bool) -> Option<(Sequence, usize)> {
        None
    }

    fn least(&mut self, _: impl Fn(&Outbound, u32) -> Option<Rank>) -> Option<(Sequence, usize)> {
        None
    }
}

impl Legs for Held {
    type Waiting<'a> = Nothing;

    fn filters(&self) -> BTreeMap<TopicFilter, Qos> {
        self.filters.borrow().clone()
    }

    fn link_up(&self, _: bool) {}

    fn link_down(&self) {
        self.tokens.borrow_mut().clear();
    }

    fn arrived(&self, _: Inbound, token: Option<AckToken>, _: Instant) {
        self.tokens.borrow_mut().extend(token);
    }

    fn too_large(&self, _: &Topic, _: usize) {}

    fn unreadable(&self, _: &str, _: &str) {}

    fn full_until(&self) -> Option<Instant> {
        None
    }

    async fn has_room(&self) {
        std::future::pending().await
    }

    fn acks(&self) -> &Acks {
        &self.acks
    }

    async fn something_waits(&self) {
        std::future::pending().await
    }

    fn waiting(&self) -> Nothing {
        Nothing
    }

    fn take(&self, _: Sequence) -> Option<Outbound> {
        None
    }

    fn delivered(&self, _: Sequence) {}

    fn expired(&self, _: Sequence) {}

    fn returned(&self, _: Sequence) {}

    fn rejected(&self, _: Sequence, _: &Topic, _: bool, _: &str) {}

    fn guilty(&self, _: &Condition, _: &str) {}
}

/// A connection that runs, and the broker.
struct Bench {
    broker: Fake,
    legs: Rc<Held>,
    local: Rc<Local<Fake, Held>>,
    link: watch::Sender<ConnectionState>,
    stop: Rc<Stop>,
}

impl Bench {
    async fn start(config: &config::Bridge, filters: &[&str]) -> Bench {
        Clocks::put_in_force(Timestamp::UNIX_EPOCH, Duration::from_secs(20));
        let store = Store::open(Path::new("/gatewire.db"), &[], &SimulatedDisk::new(1)).await.ok().unwrap();
        let (broker, legs, stop) = (Fake::default(), Rc::new(Held::default()), Rc::new(Stop::default()));
        legs.want(filters);
        let link = watch::Sender::new(ConnectionState::Connecting);
        let to_stop = Rc::clone(&stop);
        let upstream = Upstream { link: link.subscribe(), figures: Rc::new(Figures::default) };
        let local = Rc::new(Local::new(broker.clone(), Rc::clone(&legs), config, upstream, to_stop, store));
        let running = Rc::clone(&local);
        spawn_local(async move { running.run().await });
        Bench { broker, legs, local, link, stop }
    }

    fn status(&self) -> Value {
        serde_json::to_value(self.local.state().status()).unwrap()
    }

    /// The next connection, on which CONNECT has come and is accepted.
    async fn accept(&self, session_present: bool) -> Server {
        loop {
            let accepted = self.broker.accepted.borrow_mut().pop_front();
            if let Some(stream) = accepted {
                let mut server = Server(stream);
                assert_eq!(server.packet().await.0 >> 4, 1, "CONNECT");
                server.say(&[0x20, 2, session_present.into(), 0]).await;
                return server;
            }
            self.broker.came.notified().await;
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        Clocks::put_away();
    }
}

/// The broker's end of a connection.
struct Server(DuplexStream);

impl Server {
    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next packet, shorter than 16 KiB: its first byte, and what follows its length.
    async fn packet(&mut self) -> (u8, Vec<u8>) {
        let (first, mut length) = (self.0.read_u8().await.unwrap(), usize::from(self.0.read_u8().await.unwrap()));
        if length & 0x80 != 0 {
            length = length & 0x7f | usize::from(self.0.read_u8().await.unwrap()) << 7;
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        (first, body)
    }

    /// Expects a SUBSCRIBE to one filter, and grants it.
    async fn grant(&mut self, filter: &str) {
        let (first, body) = self.packet().await;
        assert_eq!((first, &body[4..body.len() - 1]), (0x82, filter.as_bytes()));
        self.say(&[0x90, 3, body[0], body[1], 1]).await;
    }

    /// Whether nothing but PINGREQ comes for so long.
    async fn is_silent_for(&mut self, time: Duration) -> bool {
        let answered = async {
            while self.packet().await.0 == 0xc0 {
                self.say(&[0xd0, 0]).await;
            }
        };
        tokio::time::timeout(time, answered).await.is_err()
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_broker_that_hangs_is_noticed_and_connected_to_again() {
    let bench = Bench::start(&bridge(), &["a/#"]).await;
    let mut server = bench.accept(false).await;
    server.grant("a/#").await;
    // It says nothing more: PINGREQ after a minute, and half of one for its answer.
    let mut again = bench.accept(true).await;
    assert_eq!(bench.status()["last_error"]["code"], "broker_keep_alive_lost");
    assert!(again.is_silent_for(600 * SECOND).await, "what stands isn't asked for again");
    assert_eq!(bench.status()["state"], "connected");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn other_rules_are_asked_for_on_the_connection_that_stands() {
    let bench = Bench::start(&bridge(), &["a/#"]).await;
    let mut server = bench.accept(false).await;
    server.grant("a/#").await;
    bench.legs.want(&["a/#", "b/#"]);
    bench.local.reconfigure(&bridge());
    server.grant("b/#").await;
    // Another client id is another connection, and DISCONNECT ends this.
    bench.local.reconfigure(&config::Bridge { client_id: "other".to_owned(), ..bridge() });
    assert_eq!(server.packet().await.0, 0xe0);
    drop(server);
    let mut other = bench.accept(false).await;
    assert_eq!(other.packet().await.0, 0x82);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_broker_that_was_away_may_have_forgotten_what_it_granted() {
    let bench = Bench::start(&bridge(), &["a/#"]).await;
    let mut server = bench.accept(false).await;
    server.grant("a/#").await;
    bench.broker.is_away.set(true);
    drop(server);
    while bench.status()["last_error"]["code"] != "broker_not_running" {
        tokio::time::sleep(SECOND).await;
    }
    bench.broker.is_away.set(false);
    bench.accept(true).await.grant("a/#").await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn attempts_are_a_second_to_thirty_apart() {
    let bench = Bench::start(&bridge(), &[]).await;
    drop(bench.accept(false).await);
    bench.broker.is_away.set(true);
    tokio::time::sleep(3600 * SECOND).await;
    let attempts = bench.broker.attempts.borrow();
    let waits: Vec<Duration> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
    assert!(*least >= SECOND / 2 && *most > 15 * SECOND && *most <= 31 * SECOND, "{least:?} {most:?}");
    assert!((120..720).contains(&waits.len()), "{}", waits.len());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_nobody_takes_waits_in_the_broker_and_the_connection_lasts() {
    let bench = Bench::start(&bridge(), &["a/#"]).await;
    let mut server = bench.accept(false).await;
    server.grant("a/#").await;
    for id in 1..=250u16 {
        let [high, low] = id.to_be_bytes();
        server.say(&[0x32, 6, 0, 1, b'a', high, low, b'x']).await;
    }
    assert!(server.is_silent_for(3 * 3600 * SECOND).await);
    assert_eq!((bench.status()["state"].as_str(), bench.legs.tokens.borrow().len()), (Some("connected"), 100));
    let mut acknowledged = 0;
    while acknowledged < 250 {
        bench.legs.tokens.take().into_iter().for_each(|token| bench.legs.acks.done(token));
        match server.packet().await.0 {
            0x40 => acknowledged += 1,
            0xc0 => server.say(&[0xd0, 0]).await,
            other => panic!("{other:x}"),
        }
    }
    assert!(server.is_silent_for(600 * SECOND).await);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_status_topic_says_what_the_link_does_and_at_last_that_it_is_stopped() {
    let config = config::Bridge { status_topic: Topic::new("s").ok(), ..bridge() };
    let bench = Bench::start(&config, &[]).await;
    let mut server = bench.accept(false).await;
    let said = async |server: &mut Server, state: &str| {
        let (first, body) = server.packet().await;
        let payload = format!("{{\"state\":\"{state}\"}}");
        assert_eq!((first, &body[..3], &body[5..]), (0x33, &b"\0\x01s"[..], payload.as_bytes()), "retained, QoS 1");
        server.say(&[0x40, 2, body[3], body[4]]).await;
    };
    said(&mut server, "connecting").await;
    for (state, text) in [(ConnectionState::Connected, "connected"), (ConnectionState::Waiting, "waiting")] {
        bench.link.send_replace(state);
        said(&mut server, text).await;
    }
    bench.stop.request();
    said(&mut server, "stopped").await;
    assert_eq!(server.packet().await.0, 0xe0, "DISCONNECT");
}
