//! Batches: several lines, one message, an answer each.

use std::time::Instant;

use super::*;
use crate::message::Sequence;

const LONG: Duration = Duration::from_secs(3600);

fn batch(max: usize, within: Duration) -> Served {
    Served::with(Some(config::Batch { max, within, encoding: config::Encoding::None }))
}

/// What the link does first: takes the next message, with its topic and payload.
async fn take(served: &Served) -> (Sequence, String) {
    loop {
        if let Some((sequence, message)) = served.outbox.take() {
            let flags = format!("{}{}", message.qos.level(), if message.retain { "r" } else { "" });
            let payload = String::from_utf8_lossy(&message.payload).into_owned();
            return (sequence, format!("{} {flags} {payload}", message.topic));
        }
        served.outbox.arrived().await;
    }
}

async fn accepted(served: &Served, n: u64) {
    while served.ingest.status().accepted < n {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_full_batch_is_one_message_and_its_lines_are_answered_with_it() {
    let served = batch(3, LONG);
    let (mut one, mut other) = (served.connect().await, served.connect().await);
    send(
        &mut one,
        "{\"topic\":\"g/1\",\"payload\":{\"t\": 1},\"id\":1}\n{\"topic\":\"g/1\",\"payload\":\"a b\",\"id\":2}\n",
    )
    .await;
    accepted(&served, 2).await;
    assert!(served.outbox.status().waiting == 0);
    send(&mut other, "{\"topic\":\"g/1\",\"payload\":\"7\",\"id\":\"x\"}\n").await;
    let (sequence, message) = take(&served).await;
    assert_eq!(message, r#"g/1 1 [{"t":1},"a b",7]"#);
    let mut early = String::new();
    let silence = tokio::time::timeout(Duration::from_millis(30), one.read_line(&mut early)).await;
    assert!(silence.is_err(), "answered before it is safe: {early}");
    served.outbox.delivered(sequence);
    assert_eq!(answer(&mut one).await, json!({"id": 1, "result": "delivered"}));
    assert_eq!(answer(&mut one).await, json!({"id": 2, "result": "delivered"}));
    assert_eq!(answer(&mut other).await, json!({"id": "x", "result": "delivered"}));
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn a_batch_goes_out_when_its_first_line_has_waited_long_enough() {
    let served = batch(50, Duration::from_millis(50));
    let mut client = served.connect().await;
    for n in 0..3 {
        let start = Instant::now();
        send(&mut client, &format!("{{\"topic\":\"g/1\",\"payload\":{n}}}\n")).await;
        assert_eq!(served.deliver().await, format!("[{n}]"));
        assert!(start.elapsed() >= Duration::from_millis(50));
        assert_eq!(answer(&mut client).await["result"], "delivered");
    }
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn what_differs_goes_separately_and_of_one_topic_in_order() {
    let served = batch(50, LONG);
    let mut client = served.connect().await;
    for (n, rest) in [
        r#""topic":"g/1","payload":1"#,
        r#""topic":"g/2","payload":2"#,
        r#""topic":"g/1","payload":3,"qos":0"#,
        r#""topic":"g/1","payload":4,"retain":true"#,
        r#""topic":"g/1","payload_base64":"/w==""#,
        r#""topic":"g/1","payload":6,"expires_in":"1h""#,
        r#""topic":"g/1","payload":7"#,
    ]
    .into_iter()
    .enumerate()
    {
        send(&mut client, &format!("{{{rest},\"id\":{n}}}\n")).await;
    }
    accepted(&served, 7).await;
    served.ingest.flush();
    let mut sent = Vec::new();
    for _ in 0..7 {
        let (sequence, message) = take(&served).await;
        if message.contains(" 0 ") {
            served.outbox.sent(sequence)
        } else {
            served.outbox.delivered(sequence)
        }
        sent.push(message);
    }
    assert_eq!(sent, ["g/1 1 [1]", "g/1 0 [3]", "g/1 1r [4]", "g/1 1 \u{fffd}", "g/1 1 6", "g/2 1 [2]", "g/1 1 [7]"]);
    for n in 0..7 {
        assert_eq!(answer(&mut client).await, json!({"id": n, "result": if n == 2 { "sent" } else { "delivered" }}));
    }
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn a_batch_that_is_refused_is_refused_to_each_of_its_lines() {
    let served = batch(2, LONG);
    served.outbox.close();
    let mut client = served.connect().await;
    send(&mut client, "{\"topic\":\"g/1\",\"payload\":1,\"id\":1}\n{\"topic\":\"g/1\",\"payload\":2,\"id\":2}\n").await;
    for n in 1..=2 {
        let answer = answer(&mut client).await;
        assert_eq!((&answer["id"], &answer["error"]), (&json!(n), &json!("shutting_down")));
    }
    let large = "x".repeat(128 * 1024 - 3);
    send(&mut client, &format!("{{\"topic\":\"g/1\",\"payload\":\"{large}\"}}\n")).await;
    let refused = answer(&mut client).await;
    assert_eq!(refused["error"], "too_large");
    assert!(refused["detail"].as_str().unwrap().contains("has no room in a batch"), "{refused}");
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn what_waits_in_batches_is_bounded_however_many_topics_there_are() {
    let served = batch(50, LONG);
    let mut client = served.connect().await;
    for n in 0..300 {
        send(&mut client, &format!("{{\"topic\":\"g/{n:03}\",\"payload\":1}}\n")).await;
    }
    accepted(&served, 300).await;
    assert_eq!(served.outbox.status().waiting, 300 - 256);
    assert_eq!(take(&served).await.1, "g/000 1 [1]", "the oldest");
    let text = "x".repeat(100_000);
    for n in 300..310 {
        send(&mut client, &format!("{{\"topic\":\"g/{n}\",\"payload\":\"{text}\"}}\n")).await;
    }
    accepted(&served, 310).await;
    assert!(served.outbox.status().waiting >= 300 - 5, "{:?}", served.outbox.status());
    served.task.abort();
}

#[tokio::test(flavor = "local")]
async fn an_urgent_line_waits_in_no_batch_and_sends_none_early() {
    let served = batch(2, LONG);
    let mut client = served.connect().await;
    send(&mut client, "{\"topic\":\"g/1\",\"payload\":\"1\",\"id\":1}\n").await;
    send(&mut client, "{\"topic\":\"g/1\",\"payload\":\"alarm\",\"id\":2,\"urgent\":true}\n").await;
    let (sequence, message) = take(&served).await;
    assert_eq!(message, "g/1 1 alarm");
    assert_eq!(served.outbox.status().waiting, 0);
    served.outbox.delivered(sequence);
    send(&mut client, "{\"topic\":\"g/1\",\"payload\":\"3\",\"id\":3}\n").await;
    let (sequence, message) = take(&served).await;
    assert_eq!(message, "g/1 1 [1,3]");
    served.outbox.delivered(sequence);
    for id in 1..=3 {
        assert_eq!(answer(&mut client).await, json!({"id": id, "result": "delivered"}));
    }
    served.task.abort();
}
