//! Who waits for room in the outbox, and who has their turn.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::{Served, answer, send};
use crate::message::{Outbound, Qos, Topic};

/// Takes all the room that the outbox has, with messages of QoS 0.
fn fill(served: &Served) {
    let topic = Topic::new("g/flood").unwrap();
    while served.outbox.has_room() {
        let (payload, qos) = (Bytes::from(vec![b'x'; 100_000]), Qos::AtMostOnce);
        let message = Outbound { topic: topic.clone(), payload, qos, retain: false, urgent: false, properties: None };
        drop(served.outbox.accept(message).unwrap());
    }
}

#[tokio::test(flavor = "local")]
async fn who_waits_for_room_goes_on_when_the_link_is_lost_with_what_was_in_its_way() {
    let served = Served::start();
    fill(&served);
    let mut client = served.connect().await;
    send(&mut client, "{\"topic\":\"g/1\",\"payload\":\"x\",\"id\":1}\n").await;
    while !served.outbox.is_anybody_waiting() {
        tokio::task::yield_now().await;
    }
    served.outbox.link_down();
    served.outbox.link_up();
    tokio::time::timeout(Duration::from_secs(5), served.deliver()).await.unwrap();
}

#[tokio::test(flavor = "local")]
async fn the_place_of_a_client_that_goes_is_free_whatever_it_was_waiting_for() {
    let served = Served::start();
    for (text, is_full) in [(b"x\n".repeat(20_000), false), (b"{\"topic\":\"g/1\",\"payload\":1}\n".repeat(50), true)] {
        if is_full {
            fill(&served);
        }
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = UnixStream::connect(&served.path).await.unwrap();
            client.write_all(&text).await.unwrap();
            clients.push(client);
        }
        while served.ingest.status().clients < 20 {
            tokio::task::yield_now().await;
        }
        drop(clients);
        served.outbox.link_down();
        served.outbox.link_up();
        let gone = async {
            while served.ingest.status().clients > 0 {
                served.outbox.take();
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), gone).await.unwrap();
    }
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn whatever_clients_do_everybody_has_their_turn() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let served = Served::start();
    // Twenty messages are a second of this link: nearly everybody waits all the time.
    served.outbox.set_rate(20);
    let clients = (0..60).map(|_| {
        let (path, mut random) = (served.path.clone(), random.fork());
        tokio::task::spawn_local(async move {
            let mut client = BufReader::new(UnixStream::connect(path).await.unwrap());
            let lines = random.usize(1..150);
            let mut text = String::new();
            for id in 0..lines {
                text.push_str(match random.u8(..4) {
                    0 => "nonsense\n",
                    1 => "{\"topic\":\"g/1\",\"payload\":1,\"qos\":0}\n",
                    _ => "{\"topic\":\"g/1\",\"payload\":1}\n",
                });
                if id % 50 == 49 {
                    send(&mut client, &std::mem::take(&mut text)).await;
                }
            }
            send(&mut client, &text).await;
            if random.u8(..3) == 0 {
                for _ in 0..random.usize(..lines) {
                    answer(&mut client).await;
                }
                return;
            }
            client.get_mut().shutdown().await.unwrap();
            let mut answers = String::new();
            client.read_to_string(&mut answers).await.unwrap();
            assert_eq!(answers.lines().count(), lines, "{answers}");
        })
    });
    let clients: Vec<_> = clients.collect();
    let link = async {
        loop {
            for _ in 0..random.usize(..8) {
                let Some((sequence, message)) = served.outbox.take() else { break };
                match message.qos {
                    Qos::AtMostOnce => served.outbox.sent(sequence),
                    Qos::AtLeastOnce => served.outbox.delivered(sequence),
                }
            }
            if random.u8(..100) == 0 {
                served.outbox.link_down();
                served.outbox.link_up();
            }
            tokio::task::yield_now().await;
        }
    };
    let all = async {
        for client in clients {
            client.await.unwrap();
        }
        while served.ingest.status().clients > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = link => {}
        done = tokio::time::timeout(Duration::from_secs(60), all) => done.unwrap(),
    }
    assert!(!served.outbox.is_anybody_waiting());
    served.task.abort();
}
