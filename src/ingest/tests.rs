use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::*;
use crate::config::{SocketFile, WhenFull};
use crate::message::TopicFilter;
use crate::mqtt::Protocol;

mod batches;
mod room;

/// An ingest served in a directory of its own, and the outbox behind it.
struct Served {
    _directory: tempfile::TempDir,
    path: PathBuf,
    ingest: Rc<Ingest>,
    outbox: Rc<Outbox>,
    stop: Rc<Stop>,
    task: JoinHandle<()>,
}

impl Served {
    fn start() -> Served {
        Served::with(None)
    }

    fn with(batch: Option<config::Batch>) -> Served {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let outbox = Outbox::in_memory(&config::Outbox {
            path: PathBuf::new(),
            max_size: 64 << 20,
            max_age: Duration::from_secs(1000),
            when_full: WhenFull::RejectNew,
            spill_after: Duration::from_secs(1),
        });
        outbox.link_up();
        let config = config::Ingest {
            name: "publish".into(),
            socket: SocketFile { path: path.clone(), mode: 0o660, group: None },
            awaits_name: false,
            topics: vec![TopicFilter::new("g/#").unwrap()],
            urgent: true,
            batch,
        };
        let listener = Rc::new(Listener::bind(&config.socket).unwrap());
        let stop = Rc::new(Stop::default());
        let ingest = Ingest::new(config, Protocol::Mqtt5, Rc::clone(&outbox), Rc::clone(&stop), Rc::default());
        let task = tokio::task::spawn_local(Rc::clone(&ingest).serve(listener));
        Served { _directory: directory, path, ingest, outbox, stop, task }
    }

    async fn connect(&self) -> BufReader<UnixStream> {
        BufReader::new(UnixStream::connect(&self.path).await.unwrap())
    }

    /// What the link does: takes the next message and has it acknowledged. Returns its payload.
    async fn deliver(&self) -> String {
        loop {
            if let Some((sequence, message)) = self.outbox.take() {
                self.outbox.delivered(sequence);
                return String::from_utf8(message.payload.to_vec()).unwrap();
            }
            self.outbox.arrived().await;
        }
    }
}

async fn send(client: &mut BufReader<UnixStream>, text: &str) {
    client.get_mut().write_all(text.as_bytes()).await.unwrap();
}

async fn answer(client: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    client.read_line(&mut line).await.unwrap();
    serde_json::from_str(&line).unwrap()
}

#[tokio::test(flavor = "local")]
async fn a_line_is_answered_when_its_message_is_acknowledged() {
    let served = Served::start();
    let mut client = served.connect().await;
    send(&mut client, "{\"topic\":\"g/1\",\"payload\":{\"open\": true},\"id\":\"a7\"}\n").await;
    assert_eq!(served.deliver().await, "{\"open\":true}");
    assert_eq!(answer(&mut client).await, json!({"id": "a7", "result": "delivered"}));
    served.ingest.settled().await;
    let status = served.ingest.status();
    assert_eq!((status.clients, status.accepted, status.refused.len()), (1, 1, 0));
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn every_fault_has_its_code_and_the_connection_stays() {
    let served = Served::start();
    let mut client = served.connect().await;
    let too_large = "x".repeat(128 * 1024 + 1);
    let too_long = "x".repeat(256 * 1024 + 1);
    for (line, code) in [
        ("nonsense", "bad_line"),
        // Asks which kind of socket this is: answered, and not counted below.
        (r#"{"observe":true}"#, "bad_line"),
        (too_long.as_str(), "bad_line"),
        (r#"{"topic":"g/+","payload":1,"id":1}"#, "bad_topic"),
        (r#"{"topic":"other","payload":1,"id":1}"#, "topic_not_allowed"),
        (&format!(r#"{{"topic":"g/1","payload":"{too_large}","id":1}}"#), "too_large"),
        (r#"{"topic":"g/1","payload":1,"qos":2,"id":1}"#, "bad_qos"),
    ] {
        send(&mut client, line).await;
        send(&mut client, "\n").await;
        let answer = answer(&mut client).await;
        assert_eq!(answer["error"], code, "{answer}");
        assert!(!answer["detail"].as_str().unwrap().is_empty());
        assert_eq!(answer.get("id"), (code != "bad_line").then_some(&json!(1)));
    }
    served.outbox.link_down();
    send(&mut client, "{\"topic\":\"g/1\",\"payload\":1,\"qos\":0}\n").await;
    assert_eq!(answer(&mut client).await["error"], "not_connected");
    served.stop.request();
    send(&mut client, "{\"topic\":\"g/1\",\"payload\":1}\n").await;
    assert_eq!(answer(&mut client).await["error"], "shutting_down");
    let refused = serde_json::to_value(served.ingest.status()).unwrap()["refused"].clone();
    assert_eq!(
        refused,
        json!({"bad_line": 2, "bad_topic": 1, "topic_not_allowed": 1, "too_large": 1, "bad_qos": 1, "not_connected": 1,
            "shutting_down": 1})
    );
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn where_a_socket_has_no_urgent_lines_they_go_in_their_turn() {
    let served = Served::start();
    let config = |urgent| config::Ingest {
        name: "publish".into(),
        socket: SocketFile { path: served.path.clone(), mode: 0o660, group: None },
        topics: vec![TopicFilter::new("g/#").unwrap()],
        awaits_name: false,
        urgent,
        batch: None,
    };
    let two = "{\"topic\":\"g/1\",\"payload\":1}\n{\"topic\":\"g/1\",\"payload\":2,\"urgent\":true}\n";
    let mut client = served.connect().await;
    for (urgent, order) in [(true, ["2", "1"]), (false, ["1", "2"])] {
        assert!(served.ingest.can_become(&config(urgent)), "its clients stay");
        served.ingest.reconfigure(config(urgent), Protocol::Mqtt5);
        let accepted = served.ingest.status().accepted;
        send(&mut client, two).await;
        while served.ingest.status().accepted < accepted + 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!([served.deliver().await, served.deliver().await], order);
        for _ in order {
            assert_eq!(answer(&mut client).await["result"], "delivered");
        }
    }
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn what_the_name_of_the_thing_may_allow_is_told_from_what_is_not_allowed_until_that_is_known() {
    let served = Served::start();
    let config = |topic: &str, awaits_name| config::Ingest {
        name: "publish".into(),
        socket: SocketFile { path: served.path.clone(), mode: 0o660, group: None },
        topics: vec![TopicFilter::new(topic).unwrap()],
        awaits_name,
        urgent: true,
        batch: None,
    };
    served.ingest.reconfigure(config("plain/#", true), Protocol::Mqtt5);
    let mut client = served.connect().await;
    send(&mut client, "{\"topic\":\"plain/1\",\"payload\":1}\n").await;
    assert_eq!(served.deliver().await, "1");
    assert_eq!(answer(&mut client).await["result"], "delivered", "what is allowed whatever the name is goes out");
    send(&mut client, "{\"topic\":\"g/gw-7\",\"payload\":2}\n").await;
    let refused = answer(&mut client).await;
    assert_eq!(refused["error"], "no_identity");
    assert!(refused["detail"].as_str().unwrap().contains("`gatewire status` shows"), "{refused}");
    let named = config("g/gw-7/#", false);
    assert!(served.ingest.can_become(&named), "its clients stay");
    served.ingest.reconfigure(named, Protocol::Mqtt5);
    send(&mut client, "{\"topic\":\"g/gw-7\",\"payload\":2}\n").await;
    assert_eq!(served.deliver().await, "2");
    assert_eq!(answer(&mut client).await["result"], "delivered");
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn a_client_that_has_said_all_gets_every_answer_and_the_end() {
    let served = Served::start();
    let mut client = served.connect().await;
    let lines: Vec<String> = (0..50).map(|n| format!("{{\"topic\":\"g/1\",\"payload\":{n},\"id\":{n}}}")).collect();
    send(&mut client, &lines.join("\n")).await;
    client.get_mut().shutdown().await.unwrap();
    for n in 0..50 {
        assert_eq!(served.deliver().await, n.to_string());
    }
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    let expected: String = (0..50).map(|n| format!("{{\"id\":{n},\"result\":\"delivered\"}}\n")).collect();
    assert_eq!(answers, expected);
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn a_client_that_leaves_at_once_loses_only_its_answers() {
    let served = Served::start();
    let path = served.path.clone();
    let sender = tokio::task::spawn_blocking(move || {
        let mut client = std::os::unix::net::UnixStream::connect(path).unwrap();
        for n in 0..3000 {
            let bad = if n % 10 == 0 { "nonsense\n" } else { "" };
            let line = format!("{bad}{{\"topic\":\"g/1\",\"payload\":{n}}}\n");
            std::io::Write::write_all(&mut client, line.as_bytes()).unwrap();
        }
    });
    for n in 0..3000 {
        assert_eq!(served.deliver().await, n.to_string());
    }
    sender.await.unwrap();
    served.ingest.settled().await;
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn a_client_that_does_not_wait_for_answers_waits_itself_and_others_go_on() {
    let served = Served::start();
    let hasty = served.connect().await.into_inner();
    let (mut answers, mut lines) = hasty.into_split();
    // Nothing is acknowledged: after a while the daemon reads no more of this.
    let flood = tokio::task::spawn_local(async move {
        lines.write_all(&b"{\"topic\":\"g/1\",\"payload\":1}\n".repeat(100_000)).await.unwrap();
    });
    while served.ingest.status().accepted < 1000 {
        tokio::task::yield_now().await;
    }
    let mut other = served.connect().await;
    send(&mut other, "{\"topic\":\"g/1\",\"payload\":2,\"id\":2}\n").await;
    while served.outbox.status().waiting < 1001 {
        tokio::task::yield_now().await;
    }
    assert_eq!(served.ingest.status().accepted, 1001);
    for _ in 0..1001 {
        served.deliver().await;
    }
    assert_eq!(answer(&mut other).await, json!({"id": 2, "result": "delivered"}));
    answers.read_exact(&mut [0; 1000]).await.unwrap();
    flood.abort();
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn a_client_that_says_nothing_costs_nothing_but_its_place() {
    let served = Served::start();
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(served.connect().await);
    }
    while served.ingest.status().clients < 200 {
        tokio::task::yield_now().await;
    }
    assert!(size_of::<Client>() < 512, "{}", size_of::<Client>());
    served.ingest.settled().await;
    served.task.abort();
}

/// Writes it all, and then reads until so many lines have come.
async fn shout(served: &Served, text: Vec<u8>, lines: usize) -> Vec<String> {
    let path = served.path.clone();
    let shout = tokio::task::spawn_blocking(move || {
        let mut client = std::os::unix::net::UnixStream::connect(path).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        std::io::Write::write_all(&mut client, &text).unwrap();
        std::io::BufRead::lines(std::io::BufReader::new(client)).take(lines).map(Result::unwrap).collect()
    });
    shout.await.unwrap()
}

#[tokio::test(flavor = "local")]
async fn answers_that_are_read_late_all_come() {
    let served = Served::start();
    let answers = shout(&served, b"x\n".repeat(20_000), 20_000).await;
    assert!(answers.len() == 20_000 && answers.iter().all(|answer| answer.contains("bad_line")));
    let id = "i".repeat(150_000);
    for _ in 0..3 {
        let answers = shout(&served, format!("{{\"topic\":\"h\",\"payload\":1,\"id\":\"{id}\"}}\n").into(), 1).await;
        assert!(answers[0].contains("`id` is longer than 4096 bytes"), "{answers:?}");
    }
    served.task.abort();
}
