mod served;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::*;
use crate::config::{Ack, Format, SocketFile, WhenFull};
use crate::inbox::Inbox;
use crate::message::Qos;
use served::{Client, Served};

#[tokio::test(flavor = "local")]
async fn a_message_reaches_every_reader_and_is_acknowledged() {
    let served = Served::start().await;
    let (mut one, mut two) = (Client::connect(&served.path).await, Client::connect(&served.path).await);
    served.until(|status| status.readers == 2).await;
    served.deliver(0);
    let line = one.json().await;
    assert_eq!((line["topic"].as_str(), line["payload"].as_str()), (Some("test/topic"), Some("0 ")));
    assert_eq!(two.number().await, 0);
    assert_eq!(served.done(1).await, [AckToken::new(0)]);
    assert_eq!(served.forward().status().written, 1);
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn a_long_backlog_comes_in_order_and_new_messages_behind_it() {
    let served = Served::start().await;
    for _ in 0..5000 {
        served.deliver(500);
    }
    assert_eq!(served.done(5000).await.len(), 5000);
    let mut reader = Client::connect(&served.path).await;
    for expected in 0..6000 {
        if expected < 1000 {
            served.deliver(500);
        }
        assert_eq!(reader.number().await, expected);
    }
    assert_eq!(served.done(1000).await.len(), 1000);
    let status = served.forward().status();
    assert_eq!((status.waiting, status.waiting_bytes, status.oldest), (0, 0, None));
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn an_observer_takes_nothing_from_anybody() {
    let served = Served::start().await;
    served.deliver(0);
    let mut observer = Client::connect(&served.path).await;
    observer.send("{\"observe\":true}\n").await;
    served.until(|status| status.observers == 1).await;
    served.deliver(0);
    assert_eq!(observer.number().await, 1);
    assert_eq!(served.done(2).await.len(), 2);
    let mut reader = Client::connect(&served.path).await;
    assert_eq!((reader.number().await, reader.number().await), (0, 1));
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn an_observer_that_says_so_late_and_goes_at_once_has_taken_nothing() {
    let served = Served::start().await;
    let mut observer = Client::connect(&served.path).await;
    served.until(|status| status.readers == 1).await;
    // More than its socket takes.
    (0..40).for_each(|_| assert!(served.deliver(20_000) < 40));
    served.until(|status| status.written > 0).await;
    observer.send("{\"observe\":true}\n").await;
    drop(observer);
    served.until(|status| status.readers == 0 && status.observers == 0).await;
    assert_eq!((served.forward().status().waiting, served.forward().status().written), (40, 0));
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn what_a_client_says_wrongly_is_answered_between_two_messages() {
    let served = Served::start().await;
    let mut client = Client::connect(&served.path).await;
    client.send("nonsense\n\n{\"ack\":17}\n\r\n{\"observe\":true}\n").await;
    for detail in ["this socket takes only", "this socket takes only", "must be the first line"] {
        let answer = client.json().await;
        assert_eq!(answer["error"], "bad_line");
        assert!(answer["detail"].as_str().unwrap().contains(detail), "{answer}");
    }
    assert_eq!(served.forward().status().readers, 1, "it is a reader all the same");
    served.deliver(0);
    assert_eq!(client.number().await, 0);
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn a_flood_of_bad_lines_is_answered_line_by_line() {
    let served = Served::start().await;
    let (read, mut write) = UnixStream::connect(&served.path).await.unwrap().into_split();
    let flood = tokio::task::spawn_local(async move {
        write.write_all(&b"x\n".repeat(20_000)).await.unwrap();
        write
    });
    let mut answers = BufReader::new(read).lines();
    for _ in 0..20_000 {
        assert!(answers.next_line().await.unwrap().unwrap().starts_with("{\"error\":\"bad_line\""));
    }
    drop(flood.await.unwrap());
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn a_reader_may_shut_down_its_side_and_one_that_closes_is_noticed() {
    let served = Served::start().await;
    let mut half = Client::connect(&served.path).await;
    half.0.get_mut().shutdown().await.unwrap();
    served.until(|status| status.readers == 1).await;
    served.deliver(0);
    assert_eq!(half.number().await, 0);
    let gone = Client::connect(&served.path).await;
    served.until(|status| status.readers == 2).await;
    drop(gone);
    served.until(|status| status.readers == 1).await;
    drop(half);
    served.until(|status| status.readers == 0).await;
    served.deliver(0);
    served.until(|status| status.waiting == 1).await;
    assert_eq!(Client::connect(&served.path).await.number().await, 1);
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn a_reader_that_does_not_read_is_cut_and_slows_nobody() {
    let served = Served::start().await;
    let mut slow = Client::connect(&served.path).await;
    let mut fast = Client::connect(&served.path).await;
    // Of 5 MiB the socket's buffer takes some hundred KiB.
    for _ in 0..500 {
        let number = served.deliver(10_000);
        assert_eq!(fast.number().await, number);
    }
    assert_eq!(served.done(500).await.len(), 500);
    let status = served.forward().status();
    assert_eq!((status.disconnected_slow, status.readers, status.waiting), (1, 1, 0));
    assert!(status.dropped.slow_reader > 0);
    let mut rest = Vec::new();
    slow.0.read_to_end(&mut rest).await.unwrap();
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn the_only_reader_that_does_not_read_delays_acknowledgements_only_for_a_moment() {
    let served = Served::start().await;
    let _slow = Client::connect(&served.path).await;
    served.until(|status| status.readers == 1).await;
    // Less than cuts it, more than the socket takes.
    for _ in 0..80 {
        served.deliver(10_000);
    }
    assert_eq!(served.done(80).await.len(), 80);
    assert_eq!(served.forward().status().disconnected_slow, 0);
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn readers_that_have_stopped_reading_delay_what_comes_later_only_for_a_moment_too() {
    let served = Served::start().await;
    let (_slow, _other) = (Client::connect(&served.path).await, Client::connect(&served.path).await);
    served.until(|status| status.readers == 2).await;
    for _ in 0..50 {
        served.deliver(10_000);
    }
    assert_eq!(served.done(50).await.len(), 50);
    // They take nothing, and all that they keep from being done is on the disk. Now one after the other comes.
    for _ in 0..3 {
        served.deliver(10);
        served.done(1).await;
    }
    assert_eq!(served.forward().status().disconnected_slow, 0, "it waited until they were given up");
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn readers_are_disconnected_when_serving_ends_and_what_they_were_not_written_waits() {
    let served = Served::start().await;
    let mut reader = Client::connect(&served.path).await;
    served.until(|status| status.readers == 1).await;
    for _ in 0..80 {
        served.deliver(10_000);
    }
    assert_eq!(reader.number().await, 0);
    served.task.abort();
    served.until(|status| status.readers == 0).await;
    assert!(!served.path.exists());
    let status = served.forward().status();
    assert_eq!(status.written + status.waiting, 80);
    let mut rest = Vec::new();
    reader.0.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest.iter().filter(|byte| **byte == b'\n').count() as u64 + 1, status.written);
}

#[tokio::test(flavor = "local")]
async fn what_waits_for_a_reader_outlives_the_daemon() {
    let served = Served::start().await;
    for _ in 0..300 {
        served.deliver(5000);
    }
    assert_eq!(served.done(300).await.len(), 300);
    let served = served.again(Ack::Written).await;
    served.deliver(5000);
    let mut reader = Client::connect(&served.path).await;
    for expected in 0..301 {
        assert_eq!(reader.number().await, expected);
    }
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn what_a_reader_does_not_acknowledge_comes_again_after_a_restart_too() {
    let served = Served::start_in(tempfile::tempdir().unwrap(), Ack::Reader).await;
    let mut reader = Client::connect(&served.path).await;
    served.until(|status| status.readers == 1).await;
    (0..3).for_each(|number| assert_eq!(served.deliver(0), number));
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(reader.json().await["id"].as_u64().unwrap());
    }
    reader.send(&format!("{{\"ack\":{}}}\n", ids[1])).await;
    // The others are stored, for then they are done, too.
    assert_eq!(served.done(3).await.len(), 3);
    assert_eq!(served.forward().status().stored, 2);
    drop(reader);
    served.until(|status| status.unacknowledged == 0).await;
    let mut again = Client::connect(&served.path).await;
    for expected in [ids[0], ids[2]] {
        let line = again.json().await;
        assert_eq!((line["id"].as_u64(), &line["duplicate"]), (Some(expected), &serde_json::Value::Bool(true)));
    }
    let served = served.again(Ack::Reader).await;
    let mut reader = Client::connect(&served.path).await;
    for expected in [ids[0], ids[2]] {
        assert_eq!(reader.json().await["id"], expected);
        reader.send(&format!("{{\"ack\":{expected}}}\n")).await;
    }
    served.until(|status| status.waiting == 0).await;
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn an_acknowledgement_of_what_was_never_given_is_answered() {
    let served = Served::start_in(tempfile::tempdir().unwrap(), Ack::Reader).await;
    let mut client = Client::connect(&served.path).await;
    client.send("{\"ack\":17}\n{\"ack\":\"17\"}\n{\"ack\":1,\"observe\":true}\n").await;
    for detail in ["no message of this id", "a whole number without quotes", "takes only"] {
        let answer = client.json().await;
        assert_eq!(answer["error"], "bad_line");
        assert!(answer["detail"].as_str().unwrap().contains(detail), "{answer}");
    }
    // Nor is one that a later message has; what is done already gets no answer.
    served.deliver(10);
    let id = client.json().await["id"].as_u64().unwrap();
    client.send(&format!("{{\"ack\":5}}\n{{\"ack\":{id}}}\n{{\"ack\":{id}}}\n{{\"ack\":{}}}\n", id - 1)).await;
    for _ in 0..2 {
        assert!(client.json().await["detail"].as_str().unwrap().contains("no message of this id"));
    }
    served.deliver(10);
    assert!(client.json().await["id"].as_u64().unwrap() > id, "it stays connected");
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn a_forward_that_goes_stores_what_its_readers_were_not_written() {
    let served = Served::start().await;
    let _slow = Client::connect(&served.path).await;
    served.until(|status| status.readers == 1).await;
    for _ in 0..80 {
        served.deliver(10_000);
    }
    let mut done = Vec::new();
    // As on a reload without it.
    let (forward, keeper) = (Rc::clone(&served.forward), served.keeper);
    drop(served.forward);
    let gone = tokio::task::spawn_local(async move {
        forward.deserted().await;
        forward.stop();
        forward.stored().await;
        keeper.abort();
    });
    served.inbox.set_recipients(Vec::new());
    served.task.abort();
    let _ = served.task.await;
    gone.await.unwrap();
    served.inbox.acks().drain(&mut done);
    assert_eq!(done.len(), 80, "the server hears of all of them");
}
