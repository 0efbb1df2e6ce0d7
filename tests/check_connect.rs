//! `gatewire check --connect`: a line a step, what to do about the one that fails, and nothing left behind.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "check_connect/filters.rs"]
mod filters;
#[path = "check_connect/sessions.rs"]
mod sessions;
mod support;

use std::process::Child;
use std::thread::JoinHandle;

use support::daemon::{Gatewire, Setup};
use support::mosquitto::Mosquitto;
use support::scripted::{Broker, Peer};
use support::{Certificates, PATIENCE, closed_port, eventually};

const FORWARD: &str = "[[forward]]\nname = \"f\"\nfilters = [\"a/#\", \"b\"]\nsocket = \"DIR/f.sock\"\n";
const QUICK: &str = "rate_limit = { connects_per_second = 100 }\n";
/// Where an answer doesn't come; elsewhere each has the time that a slow machine needs.
const IMPATIENT: &str = "ack_timeout = \"1s\"\n";
const BOTH: [&str; 2] = ["3.1.1", "5"];

/// What the command said on standard output, and its exit code.
fn check(setup: &Setup) -> (i32, String) {
    check_with(setup, &[])
}

fn check_with(setup: &Setup, options: &[&str]) -> (i32, String) {
    let (code, stdout, _) = setup.output_of(&[&["check", "--connect"], options].concat());
    (code, stdout)
}

fn setup(port: u16, protocol: &str) -> Setup {
    Setup::with_connection(port, QUICK, FORWARD).speaking(protocol)
}

/// Every text, in this order.
#[track_caller]
fn holds(said: &str, texts: &[&str]) {
    let mut rest = said;
    for text in texts {
        let at = rest.find(text).unwrap_or_else(|| panic!("no {text:?} where it should be in\n{said}"));
        rest = &rest[at + text.len()..];
    }
}

/// The command against a server that a test plays, byte by byte, in one version of MQTT.
struct Play {
    broker: Broker,
    five: bool,
    running: JoinHandle<(i32, String)>,
}

impl Play {
    fn start(protocol: &str) -> Play {
        Play::with(protocol, "", "")
    }

    /// With more keys of the connection, and of the forward.
    fn with(protocol: &str, connection: &str, keys: &str) -> Play {
        let broker = Broker::start();
        let connection = format!("{QUICK}{connection}");
        let setup = Setup::with_connection(broker.port, &connection, &format!("{FORWARD}{keys}")).speaking(protocol);
        Play { running: std::thread::spawn(move || check(&setup)), broker, five: protocol == "5" }
    }

    /// The next connection, with its CONNECT, which asks for a clean session or not.
    fn accept(&self, clean: bool) -> Peer {
        let mut peer = self.broker.accept();
        let connect = packet(&mut peer).unwrap();
        assert_eq!(connect[0], 0x10);
        // The flags stand after the length, the protocol's name and its version; none says that there is a will.
        assert_eq!(connect[9], if clean { 2 } else { 0 }, "{connect:x?}");
        peer
    }

    fn connected(&self, session_present: bool) -> Peer {
        let mut peer = self.accept(false);
        self.connack(&mut peer, session_present);
        peer
    }

    fn connack(&self, peer: &mut Peer, session_present: bool) {
        let rest: &[u8] = if self.five { &[0, 0] } else { &[0] };
        peer.raw(&[&[0x20, 1 + rest.len() as u8, session_present.into()], rest].concat());
    }

    /// The next packet must ask for this filter alone; its identifier.
    fn subscribe(&self, peer: &mut Peer, filter: &str) -> [u8; 2] {
        let packet = packet(peer).unwrap();
        assert_eq!(packet[0], 0x82, "{packet:x?}");
        let head = if self.five { 5 } else { 4 };
        let expected = [&[0, filter.len() as u8], filter.as_bytes(), &[1]].concat();
        assert_eq!(packet[head..], expected, "{packet:x?}");
        [packet[2], packet[3]]
    }

    fn suback(&self, peer: &mut Peer, [high, low]: [u8; 2], code: u8) {
        match self.five {
            true => peer.raw(&[0x90, 4, high, low, 0, code]),
            false => peer.raw(&[0x90, 3, high, low, code]),
        }
    }

    /// The next packet must give this filter back.
    fn unsubscribe(&self, peer: &mut Peer, filter: &str) {
        let packet = packet(peer).unwrap();
        assert_eq!((packet[0], packet.ends_with(filter.as_bytes())), (0xa2, true), "{packet:x?}");
        match self.five {
            true => peer.raw(&[0xb0, 4, packet[2], packet[3], 0, 0]),
            false => peer.raw(&[0xb0, 2, packet[2], packet[3]]),
        }
    }

    /// The connection that ends the session which the command has begun.
    fn end_of_session(&self) {
        let mut peer = self.accept(true);
        self.connack(&mut peer, false);
        farewell(&mut peer);
    }

    fn said(self) -> (i32, String) {
        self.running.join().unwrap()
    }

    /// The connection finds a session there, holds the filters of the forward in it, and leaves it as it is; what is said, which is
    /// that all is well.
    fn said_of_a_session_of_somebody_else(self) -> String {
        let mut peer = self.connected(true);
        for filter in ["a/#", "b"] {
            let id = self.subscribe(&mut peer, filter);
            self.suback(&mut peer, id, 1);
        }
        farewell(&mut peer);
        let (code, said) = self.said();
        assert_eq!(code, 0, "{said}");
        said
    }
}

/// The next packet as it is, all shorter than 128 bytes; `None` at the end.
fn packet(peer: &mut Peer) -> Option<Vec<u8>> {
    let whole = |input: &mut bytes::BytesMut| {
        let length = 2 + usize::from(*input.get(1)?);
        (input.len() >= length).then(|| input.split_to(length).to_vec())
    };
    peer.read(PATIENCE, whole).expect("no packet")
}

/// DISCONNECT, and the end.
fn farewell(peer: &mut Peer) {
    assert_eq!(packet(peer).unwrap(), [0xe0, 0]);
    assert_eq!(packet(peer), None);
}

#[test]
fn every_step_is_a_line_and_the_session_that_was_begun_is_ended() {
    for protocol in BOTH {
        let broker = Mosquitto::start();
        let setup = setup(broker.port, protocol);
        let (code, said) = check(&setup);
        assert_eq!(code, 0, "{said}");
        let mqtt = format!("ok       MQTT {protocol}: accepted as `thing-1`; a new session");
        holds(
            &said,
            &[
                "ok       DNS: localhost has ",
                "ok       TCP: connected to 127.0.0.1:",
                "ok       TLS: TLSv1_3, TLS13_AES_256_GCM_SHA384 (",
                "certificate from \"",
                "\", valid until 2",
                &mqtt,
                "ok       SUBSCRIBE: `a/#` granted with QoS 1",
                "ok       SUBSCRIBE: `b` granted with QoS 1",
                "ok       session: the one that this check began is ended again",
            ],
        );
        assert!(!setup.directory.path().join("gatewire.db").exists(), "no state is written");
        // Nobody is subscribed any more, and the daemon finds no session that it would take for its own.
        broker.publish("b", b"lost");
        let before = broker.log().matches("Sending SUBACK to thing-1").count();
        let gatewire = setup.start();
        gatewire.wait_for("connected to localhost as `thing-1`; a new session");
        let mut reader = gatewire.client("f.sock");
        eventually("its filters", || {
            (broker.log().matches("Sending SUBACK to thing-1").count() > before).then_some(())
        });
        broker.publish("b", b"first");
        assert_eq!(reader.payload(), "first");
    }
}

#[test]
fn the_will_goes_with_the_connect_and_is_not_published() {
    let broker = Mosquitto::start();
    let will = format!("{QUICK}will = {{ topic = \"gone\", payload = \"lost\" }}\n");
    for protocol in BOTH {
        let setup = Setup::with_connection(broker.port, &will, FORWARD).speaking(protocol);
        let subscriber = broker.subscribe("gone");
        let (code, said) = check(&setup);
        assert_eq!(code, 0, "{said}");
        holds(
            &said,
            &[
                "note     MQTT: another device that is connected as `thing-1` is disconnected by this",
                "accepted as `thing-1`, with its will on gone; a new session",
            ],
        );
        broker.publish("gone", b"nothing came before");
        assert_eq!(subscriber.next(), "gone nothing came before", "{protocol}");
    }
    let log = broker.log();
    assert!(log.contains("Will message specified") && log.contains("gone"), "{log}");
}

#[test]
fn a_running_daemon_that_lacks_a_filter_is_not_all_well() {
    let broker = Broker::start();
    let setup = setup(broker.port, "3.1.1");
    let gatewire = setup.start();
    let mut peer = broker.connected(false);
    let subscribe = peer.subscribe();
    let refused = subscribe.filters.iter().map(|filter| if filter.path == "b" { 0x80 } else { 1 });
    peer.raw(
        &[&[0x90, 4, (subscribe.pkid >> 8) as u8, subscribe.pkid as u8][..], &refused.collect::<Vec<u8>>()].concat(),
    );
    gatewire.wait_for("to `b`");
    let (code, said) = check(&setup);
    assert_eq!(code, 1, "{said}");
    holds(&said, &["failed   the server refuses the filter `b`: ", "iot:Subscribe on topicfilter/b"]);
}

#[test]
fn a_running_daemon_is_asked_and_left_alone() {
    let mut broker = Mosquitto::start();
    let setup = setup(broker.port, "5");
    let gatewire = setup.connect();
    let (code, said) = check(&setup);
    assert_eq!(code, 0, "{said}");
    holds(&said, &["gatewire is running; nothing is tried beside it", "connected to localhost as `thing-1` since "]);
    let (code, said) = check_with(&setup, &["--tls-only"]);
    assert_eq!(code, 0, "{said}");
    holds(&said, &["ok       TLS: "]);
    assert!(!said.contains("MQTT"), "{said}");
    assert_eq!(gatewire.status()["counters"]["connections"], 1, "its connection wasn't touched");

    broker.kill();
    gatewire.wait_for_failure("tcp_refused");
    let (code, said) = check(&setup);
    assert_eq!(code, 1, "{said}");
    holds(&said, &["failed", "It isn't connected (", "connection refused", "check connection.endpoint"]);
    assert_eq!(check_with(&setup, &["--tls-only"]).0, 1);
}

#[test]
fn a_daemon_that_cannot_be_asked_is_not_disturbed() {
    let broker = Mosquitto::start();
    let setup = setup(broker.port, "5");
    let gatewire = setup.connect();
    let elsewhere = setup.edit("status.sock", "other.sock");
    let (code, said) = check(&elsewhere);
    assert_eq!(code, 1, "{said}");
    holds(&said, &["failed", "a gatewire may be running", "it holds the store", "--tls-only"]);
    assert_eq!(std::fs::metadata(gatewire.path("status.sock")).map(|_| ()).ok(), Some(()));
    assert_eq!(broker.log().matches("New client connected").count(), 1);
}

#[test]
fn a_connect_that_is_refused_or_not_answered_is_explained() {
    for protocol in BOTH {
        let play = Play::start(protocol);
        let refusal: &[u8] = if play.five { &[0x20, 3, 0, 0x87, 0] } else { &[0x20, 2, 0, 5] };
        play.accept(false).raw(refusal);
        let (code, said) = play.said();
        assert_eq!(code, 1, "{said}");
        holds(&said, &["ok       TLS", "failed   MQTT CONNECT as `thing-1`", "not authorized", "client/thing-1"]);

        let play = Play::start(protocol);
        play.accept(false).close();
        let (code, said) = play.said();
        assert_eq!(code, 1, "{said}");
        holds(&said, &["failed   MQTT CONNECT as `thing-1`", "closed instead of a CONNACK", "iot:Connect on client/"]);

        let play = Play::with(protocol, IMPATIENT, "");
        let mut peer = play.connected(true);
        play.subscribe(&mut peer, "a/#");
        let (code, said) = play.said();
        assert_eq!(code, 1, "{said}");
        holds(&said, &["failed   ", "didn't acknowledge the SUBSCRIBE to `a/#` within 1000 ms"]);
        drop(peer);
    }
    let broker = Broker::start();
    let setup = setup(broker.port, "5").edit("rate_limit", "connect_timeout = \"2s\"\nrate_limit");
    let running = std::thread::spawn(move || check(&setup));
    let mut peer = broker.accept();
    packet(&mut peer).unwrap();
    // It gives up, and says so: its will isn't to be published.
    farewell(&mut peer);
    let (code, said) = running.join().unwrap();
    assert_eq!(code, 1, "{said}");
    holds(&said, &["failed   MQTT CONNECT", "no CONNACK (after ", "check connection.endpoint"]);
}

#[test]
fn what_the_connack_does_not_allow_of_what_is_configured_is_a_failure() {
    let publish = "[[publish]]\nname = \"p\"\ntopic = \"p\"\nevery = \"1s\"\npayload = \"some text\"\n";
    let ingest = "[[ingest]]\nname = \"i\"\ntopics = [\"i/#\"]\nsocket = \"DIR/i.sock\"\n";
    let retained = format!("{publish}qos = 0\nretain = true\n");
    let cases: [(&str, &[u8], &str, i32); 6] = [
        (
            publish,
            &[0x24, 0],
            "publish p, on p: the server doesn't accept its messages: its CONNACK allows only QoS 0",
            1,
        ),
        (ingest, &[0x24, 0], "ingest i, lines without `qos` (QoS 1): the server doesn't accept", 1),
        (&retained, &[0x25, 0], "its CONNACK says that it doesn't retain messages", 1),
        (publish, &[0x27, 0, 0, 0, 16], "its CONNACK allows 16", 1),
        (&retained, &[0x24, 0], "accepted as", 0),
        (publish, &[0x27, 0, 0, 0, 160], "accepted as", 0),
    ];
    for (rest, properties, text, expected) in cases {
        let broker = Broker::start();
        let setup = Setup::with_connection(broker.port, QUICK, rest);
        let running = std::thread::spawn(move || check(&setup));
        let connack = [&[0x20, 3 + properties.len() as u8, 1, 0, properties.len() as u8], properties].concat();
        let mut peer = broker.accept();
        packet(&mut peer).unwrap();
        peer.raw(&connack);
        farewell(&mut peer);
        drop(peer);
        let (code, said) = running.join().unwrap();
        holds(&said, &[text]);
        assert_eq!(code, expected, "{said}");
    }
}

#[test]
fn the_first_step_that_fails_is_the_last_and_says_what_to_do() {
    let (code, said) = check(&setup(8883, "5").edit("\"localhost\"", "\"gatewire.invalid\""));
    assert_eq!(code, 1, "{said}");
    holds(&said, &["failed   looking up gatewire.invalid in DNS: ", "\n           "]);
    assert!(!said.contains("TCP:"), "{said}");

    let (code, said) = check(&setup(closed_port(), "5"));
    assert_eq!(code, 1, "{said}");
    holds(&said, &["ok       DNS", "failed   connecting to localhost:", "connection refused", "that the broker runs"]);

    let broker = Mosquitto::start();
    let other = Certificates::make("thing-1", "ec");
    let (code, said) =
        check(&setup(broker.port, "5").credential("AmazonRootCA1.pem", &other.path("AmazonRootCA1.pem")));
    assert_eq!(code, 1, "{said}");
    holds(&said, &["ok       TCP", "failed   TLS with localhost", "has signed it", "tls.ca_file must hold"]);

    let unknown = setup(broker.port, "5")
        .credential("certificate.pem.crt", &other.path("certificate.pem.crt"))
        .credential("private.pem.key", &other.path("private.pem.key"));
    let (code, said) = check(&unknown);
    assert_eq!(code, 1, "{said}");
    holds(&said, &["failed   TLS with localhost", "alert", "isn't active"]);
}

#[test]
fn tls_only_needs_connect() {
    let (code, _, stderr) = setup(1, "5").output_of(&["check", "--tls-only"]);
    assert_eq!(code, 64);
    assert!(stderr.contains("--connect"), "{stderr}");
}
