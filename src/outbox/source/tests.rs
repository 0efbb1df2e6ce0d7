use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::config::WhenFull;
use crate::message::{Outbound, Topic};

fn outbox(messages_per_second: u32) -> Rc<Outbox> {
    let outbox = Outbox::in_memory(&config::Outbox {
        path: PathBuf::new(),
        max_size: 64 << 20,
        max_age: Duration::from_secs(1000),
        when_full: WhenFull::RejectNew,
        spill_after: Duration::from_secs(1),
    });
    let limit = config::RateLimit { messages_per_second, bytes_per_second: 1 << 30, burst: 10, connects_per_second: 1 };
    outbox.gate.borrow_mut().admission.set_limit(&limit);
    outbox.link_up();
    outbox
}

fn hand_over(source: &Source, qos: Qos) -> bool {
    let topic = Topic::new(&format!("t/{}", source.id())).unwrap();
    let may = source.may_hand_over(qos);
    if may {
        let payload = Bytes::from_static(b"1");
        drop(source.outbox.accept(Outbound { topic, payload, qos, retain: false, properties: None }).unwrap());
        source.handed_over(10);
    }
    may
}

fn flood(source: &Source, qos: Qos) -> usize {
    let mut n = 0;
    while hand_over(source, qos) {
        n += 1;
    }
    n
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn at_its_bound_a_source_waits_until_the_link_takes_something_and_then_it_is_the_turn_of_another() {
    let outbox = outbox(100);
    let (first, second) = (outbox.source(1, Peer::default()), outbox.source(1, Peer::default()));
    assert_eq!(flood(&first, Qos::AtLeastOnce), 100);
    assert!(!hand_over(&second, Qos::AtLeastOnce));
    let waits = async |source: &Source| tokio::time::timeout(Duration::from_secs(20), source.turn()).await.unwrap();
    tokio::join!(waits(&second), async { drop(outbox.take()) });
    assert!(!hand_over(&first, Qos::AtLeastOnce), "it had all of it");
    assert!(hand_over(&second, Qos::AtLeastOnce));
    assert!(!hand_over(&second, Qos::AtLeastOnce));
    second.rest(true);
    // Who wants nothing any more isn't in anybody's way, nor who has gone.
    second.rest(false);
    tokio::join!(waits(&first), async { drop(outbox.take()) });
    let third = outbox.source(1, Peer::default());
    assert!(!hand_over(&first, Qos::AtLeastOnce) || !third.may_hand_over(Qos::AtLeastOnce), "there is room for one");
    drop(third);
    outbox.take();
    assert!(hand_over(&first, Qos::AtLeastOnce));
    assert!(!hand_over(&first, Qos::AtLeastOnce));
    tokio::join!(waits(&first), async { outbox.link_down() });
    assert_eq!((0..500).filter(|_| hand_over(&first, Qos::AtLeastOnce)).count(), 500, "what can be stored is taken");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_link_that_takes_nothing_keeps_nobody_waiting_for_long() {
    let outbox = outbox(100);
    let source = outbox.source(1, Peer::default());
    flood(&source, Qos::AtLeastOnce);
    let start = tokio::time::Instant::now();
    source.turn().await;
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(hand_over(&source, Qos::AtLeastOnce));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn messages_that_only_memory_can_hold_leave_room_for_others() {
    let outbox = outbox(1_000_000);
    let (flooding, other) = (outbox.source(1, Peer::default()), outbox.source(1, Peer::default()));
    let taken = flood(&flooding, Qos::AtMostOnce);
    assert!((2000..20_000).contains(&taken), "{taken}");
    assert!(outbox.has_room());
    assert!(hand_over(&other, Qos::AtLeastOnce));
    outbox.take();
    assert!(hand_over(&flooding, Qos::AtMostOnce));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn at_the_end_nobody_waits() {
    let outbox = outbox(100);
    let (one, other) = (outbox.source(1, Peer::default()), outbox.source(1, Peer::default()));
    flood(&one, Qos::AtLeastOnce);
    assert!(!other.may_hand_over(Qos::AtLeastOnce));
    tokio::join!(one.turn(), other.turn(), async { outbox.close() });
    assert!(one.may_hand_over(Qos::AtLeastOnce) && other.may_hand_over(Qos::AtMostOnce));
}
