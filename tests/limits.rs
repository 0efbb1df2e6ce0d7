//! IoT Core's limits, as a daemon keeps to them that wasn't told otherwise. Those of topics, client ids and payloads are held by
//! the configuration and the ingest sockets, the window of a hundred and the filters of a SUBSCRIBE by `tests/session.rs`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use support::daemon::Setup;
use support::mosquitto::Mosquitto;
use support::scripted::Broker;
use support::socket::Client;
use support::{eventually, patiently};

const SECOND: Duration = Duration::from_secs(1);
const INGEST: &str = "[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"#\"]\n";

fn forward(name: &str, filters: std::ops::Range<usize>) -> String {
    let filters: Vec<String> = filters.map(|n| format!("\"f/{n}\"")).collect();
    format!("[[forward]]\nname = \"{name}\"\nfilters = [{}]\nsocket = \"DIR/{name}.sock\"\n", filters.join(","))
}

/// A PUBLISH of QoS 0 to `t` with a payload of one byte and 8000 bytes of properties.
fn heavy_message() -> Vec<u8> {
    let value = "v".repeat(7992);
    let properties = [&[0x26, 0, 1, b'k', (value.len() >> 8) as u8, value.len() as u8], value.as_bytes()].concat();
    let length = |n: usize| [(n % 128) as u8 | 0x80, (n / 128) as u8];
    let body = [&[0, 1, b't'][..], &length(properties.len()), &properties, b"1"].concat();
    [&[0x30][..], &length(body.len()), &body].concat()
}

/// A line of two bytes, of a message of 8 KiB: what counts is what is held.
#[test]
fn memory_is_bounded_though_a_reader_takes_nothing_of_messages_that_carry_much() {
    let broker = Broker::start();
    let rest = "[[forward]]\nname = \"all\"\nfilters = [\"t\"]\nsocket = \"DIR/all.sock\"\nformat = \"payload\"\n";
    let gatewire = Setup::new(broker.port, rest).start();
    let mut peer = broker.connected_5(false, &[]);
    let id = peer.subscribe().pkid;
    peer.raw(&[0x90, 4, (id >> 8) as u8, id as u8, 0, 1]);
    let mut stuck = gatewire.client("all.sock");
    let messages = heavy_message().repeat(50);
    let mut sent = 0;
    peer.raw(&heavy_message());
    assert_eq!(stuck.line().unwrap(), "1", "from now on it doesn't read");
    patiently("the reader to be cut", || {
        peer.raw(&messages);
        sent += messages.len();
        (gatewire.count("is disconnected") > 0 || sent > 2 << 30).then_some(())
    });
    let peak = gatewire.status()["memory"]["peak"].as_u64().unwrap();
    assert!(peak < 48 << 20, "{} MiB of {} MiB", peak >> 20, sent >> 20);
}

#[test]
fn the_forward_that_asks_for_the_fifty_first_filter_is_named() {
    let rest = forward("first", 0..30) + &forward("second", 30..51);
    let setup = Setup::new(8883, &rest);
    for command in ["check", "run"] {
        let (code, _, errors) = setup.output(command);
        assert_eq!(code, 78, "{errors}");
        assert!(errors.contains("with those of \"second\" there are 51 filters"), "{errors}");
    }
    let broker = Broker::start();
    let gatewire = Setup::with_connection(broker.port, "max_subscriptions = 51\n", &rest).speaking("3.1.1").start();
    let mut peer = broker.connected(false);
    let asked: Vec<usize> = (0..7).map(|_| peer.subscribe().filters.len()).collect();
    assert_eq!(asked, [8, 8, 8, 8, 8, 8, 3]);
    drop(gatewire);
}

#[test]
fn connects_are_a_second_apart() {
    let broker = Broker::start();
    let backoff = "backoff = { min = \"100ms\", max = \"100ms\" }\n";
    let _gatewire = Setup::with_connection(broker.port, backoff, "").speaking("3.1.1").start();
    let connects: Vec<Instant> = (0..3)
        .map(|_| {
            let mut peer = broker.accept();
            // It counts from the end of TLS, which begins now.
            let at = Instant::now();
            peer.connect();
            peer.close();
            at
        })
        .collect();
    for pair in connects.windows(2) {
        assert!(pair[1] - pair[0] > SECOND * 8 / 10, "{:?}", pair[1] - pair[0]);
    }
}

#[test]
fn no_second_sees_more_publications_than_iot_core_takes() {
    let broker = Broker::start();
    let gatewire = Setup::with_connection(broker.port, "", INGEST).speaking("3.1.1").start();
    let mut peer = broker.connected(false);
    let mut client = gatewire.client("publish.sock");
    // When one is read says only that it was sent before: that is early enough for a verdict, and never too late for one.
    let start = Instant::now();
    (0..250).for_each(|n| client.send(&format!("{{\"topic\":\"t\",\"payload\":{n},\"qos\":0}}")));
    for n in 1..=250_u32 {
        peer.publish();
        // A hundred a second, and the burst.
        let most = 10 + start.elapsed().as_millis() / 10;
        assert!(u128::from(n) <= most + 1, "{n} after {:?}", start.elapsed());
    }
}

#[test]
fn a_payload_of_128_kib_goes_and_a_larger_one_is_refused_here() {
    const MOST: usize = 128 * 1024;
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, INGEST).speaking("3.1.1").unspilled().start();
    let mut peer = broker.connected(false);
    let mut client = gatewire.client("publish.sock");
    let line = |len: usize| format!("{{\"topic\":\"t\",\"payload\":\"{}\"}}", "x".repeat(len));
    assert_eq!(client.ask(&line(MOST + 1))["error"], "too_large");
    client.send(&line(MOST));
    let publish = peer.publish();
    assert_eq!(publish.payload.len(), MOST);
    peer.puback(publish.pkid);
    assert_eq!(client.json(), json!({"result": "delivered"}));
}

/// A flood from ten clients of one socket; after some of it has come, a line of another with QoS 1. Returns how many messages
/// were in front of that one.
fn in_front_of_another(qos: u8, socket: &str) -> usize {
    const BEFORE: usize = 150;
    let other = INGEST.replace("publish", "other");
    let broker = Broker::start();
    let gatewire = Setup::with_connection(broker.port, "", &format!("{INGEST}{other}")).speaking("3.1.1").start();
    let mut peer = broker.connected(false);
    let flood = format!("{{\"topic\":\"flood\",\"payload\":1,\"qos\":{qos}}}\n").repeat(400);
    let floods: Vec<_> = (0..10)
        .map(|_| {
            let mut client = gatewire.client("publish.sock");
            client.write(flood.as_bytes());
            client
        })
        .collect();
    let mut client = gatewire.client(socket);
    for n in 0.. {
        if n == BEFORE {
            client.send("{\"topic\":\"other\",\"payload\":2,\"id\":\"me\"}");
        }
        let publish = peer.publish();
        if publish.pkid > 0 {
            peer.puback(publish.pkid);
        }
        if publish.topic == "other" {
            let answer = client.json();
            assert!(answer["id"] == "me" && answer["error"].is_null(), "{answer}");
            drop(floods);
            return n - BEFORE;
        }
    }
    unreachable!()
}

#[test]
fn ten_floods_keep_nobody_waiting_for_long() {
    for qos in [0, 1] {
        for socket in ["publish.sock", "other.sock"] {
            let messages = in_front_of_another(qos, socket);
            // At a hundred a second; some are on their way to the server and from it, and this machine may stand still for a second.
            assert!(messages <= 100 + 10 + 60 + 130, "QoS {qos}, {socket}: {messages} were in front of it");
        }
    }
}

#[test]
fn a_schedule_is_in_time_beside_a_flood() {
    let schedule = "[[publish]]\nname = \"p\"\ntopic = \"beat\"\nevery = \"500ms\"\npayload = \"{{count}}\"\n";
    let broker = Broker::start();
    let gatewire = Setup::with_connection(broker.port, "", &format!("{INGEST}{schedule}")).speaking("3.1.1").start();
    let mut peer = broker.connected(false);
    let mut client = gatewire.client("publish.sock");
    client.write("{\"topic\":\"flood\",\"payload\":1,\"qos\":0}\n".repeat(900).as_bytes());
    let (mut beats, mut between) = (0, Vec::new());
    while beats < 8 {
        let publish = peer.publish();
        if publish.topic == "beat" {
            peer.puback(publish.pkid);
            beats += 1;
            between.push(0);
        } else if let Some(last) = between.last_mut() {
            *last += 1;
        }
    }
    // The flood was there before the second; from then on half a second's messages are between two.
    assert!(between[0] <= 300 && between[1..].iter().all(|n| *n <= 200), "{between:?}");
}

/// Connects and closes as fast as it can, from two threads, for as long as `during` goes on.
fn churn<T>(path: &Path, says: &[u8], during: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    // The socket may go with the daemon.
                    let Ok(mut stream) = UnixStream::connect(path) else { continue };
                    let _ = stream.write_all(says);
                }
            });
        }
        let done = catch_unwind(AssertUnwindSafe(during));
        is_over.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

#[test]
fn who_connects_and_closes_without_end_stops_nobody_else() {
    let rest = format!(
        "{INGEST}[[ingest]]\nname = \"other\"\nsocket = \"DIR/other.sock\"\ntopics = [\"#\"]\n{}\
         [[publish]]\nname = \"p\"\ntopic = \"beat\"\nevery = \"500ms\"\npayload = \"1\"\n",
        forward("messages", 0..1)
    );
    for (socket, says) in
        [("publish.sock", &b""[..]), ("messages.sock", b""), ("status.sock", b""), ("status.sock", b"x")]
    {
        let mosquitto = Mosquitto::start();
        let gatewire = Setup::new(mosquitto.port, &rest).connect();
        let beats = mosquitto.subscribe("beat");
        let mut reader = gatewire.client("messages.sock");
        eventually("the reader", || (gatewire.status()["forward"][0]["readers"] == 1).then_some(()));
        churn(&gatewire.path(socket), says, || {
            for socket in ["publish.sock", "other.sock"] {
                let answer = gatewire.client(socket).ask(r#"{"topic":"t","payload":"1"}"#);
                assert!(answer["result"].is_string(), "{socket}: {answer}");
            }
            assert_eq!(gatewire.status()["link"]["state"], "connected");
            beats.next();
            beats.next();
            mosquitto.publish("f/0", b"down");
            assert_eq!(reader.payload(), "down");
            gatewire.signal("TERM");
            gatewire.wait_for("info: stopped");
        });
        assert_eq!(gatewire.wait().0, 0, "{socket}");
    }
}

#[test]
fn clients_leave_files_for_the_link_the_status_and_schedules() {
    let rest = format!(
        "{INGEST}{}[[publish]]\nname = \"p\"\ntopic = \"beat\"\nevery = \"200ms\"\nfile = \"DIR/gatewire.toml\"\n",
        forward("messages", 0..1)
    );
    let mut mosquitto = Mosquitto::start();
    let gatewire = Setup::new(mosquitto.port, &rest).under(["prlimit", "--nofile=64:64"]).connect();
    gatewire.wait_for("only 64 files");
    let held: Vec<Client> =
        ["publish.sock", "messages.sock"].into_iter().cycle().take(120).map(|name| gatewire.client(name)).collect();
    let refused = gatewire.client("publish.sock").line().unwrap();
    assert!(refused.contains("too_many_clients") && refused.contains("LimitNOFILE="), "{refused}");
    mosquitto.kill();
    mosquitto.restart();
    eventually("the link", || (gatewire.status()["counters"]["connections"].as_u64() >= Some(2)).then_some(()));
    eventually("the link", || (gatewire.status()["link"]["state"] == "connected").then_some(()));
    let before = gatewire.status()["publish"][0]["count"].as_u64();
    eventually("the schedule", || (gatewire.status()["publish"][0]["count"].as_u64() > before).then_some(()));
    assert!(gatewire.log().iter().any(|line| line.contains("LimitNOFILE=") && line.contains("was refused")));
    drop(held);
    let answer = patiently("a place", || {
        let mut client = gatewire.client("publish.sock");
        client.write_some(b"{\"topic\":\"t\",\"payload\":\"1\"}\n");
        client.line().filter(|line| line.contains("result"))
    });
    assert!(answer.contains("result"));
}
