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
    outbox.gate.borrow_mut().change_link(|link| link.set_limit(&limit));
    outbox.link_up();
    outbox
}

fn hand_over(source: &Source, qos: Qos) -> bool {
    hand_over_as(source, qos, false)
}

fn hand_over_as(source: &Source, qos: Qos, urgent: bool) -> bool {
    let topic = Topic::new(&format!("t/{}", source.id())).unwrap();
    let may = source.may_hand_over(qos, urgent);
    if may {
        let payload = Bytes::from_static(b"1");
        drop(source.outbox.accept(Outbound { topic, payload, qos, retain: false, urgent, properties: None }).unwrap());
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
    assert!(
        !hand_over(&first, Qos::AtLeastOnce) || !third.may_hand_over(Qos::AtLeastOnce, false),
        "there is room for one"
    );
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
    assert!(!other.may_hand_over(Qos::AtLeastOnce, false));
    tokio::join!(one.turn(), other.turn(), async { outbox.close() });
    assert!(one.may_hand_over(Qos::AtLeastOnce, false) && other.may_hand_over(Qos::AtMostOnce, false));
}

proptest::proptest! {
    /// A network that seems to stand still for a moment, as it may on a busy machine, must not count afterwards against those who were
    /// served in it.
    #[test]
    fn whatever_the_network_does_nobody_waits_for_more_than_a_turn_of_each_other(
        sources in 2..25u64,
        rates in proptest::collection::vec((proptest::option::of(1..20_000u64), 1..60usize), 1..40),
    ) {
        let limit = config::RateLimit { messages_per_second: 100, bytes_per_second: 1 << 19, burst: 10, connects_per_second: 1 };
        let mut gate = Gate::new(&limit);
        let path = |n: u64| -> Path { [1, 0, 0, n] };
        (0..sources).for_each(|n| gate.shares.wait(&path(n), Need::Any));
        let (mut turn, mut served) = (0, vec![0; sources as usize]);
        for (rate, turns) in rates {
            gate.change_link(|link| link.link_moves(rate, true, now()));
            for _ in 0..turns {
                turn += 1;
                let n = gate.shares.first(|_| true).unwrap();
                let waited = turn - std::mem::replace(&mut served[n as usize], turn);
                proptest::prop_assert!(waited <= 2 * sources + 1, "{n} of {sources} waited for {waited} turns");
                gate.shares.leave(&path(n), Need::Any);
                let cost = gate.cost(430);
                gate.shares.charge(&path(n), cost);
                gate.shares.wait(&path(n), Need::Any);
            }
            let longest = served.iter().map(|at| turn - at).max();
            proptest::prop_assert!(longest <= Some(2 * sources + 1), "somebody of {sources} waits for {longest:?} turns");
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_urgent_waits_for_no_turn_of_what_is_not_and_has_as_much_room_itself() {
    let outbox = outbox(100);
    let (flooding, alarming) = (outbox.source(1, Peer::default()), outbox.source(1, Peer::default()));
    assert_eq!(flood(&flooding, Qos::AtLeastOnce), 100);
    let alarm = || {
        let may = alarming.may_hand_over(Qos::AtLeastOnce, true);
        if may {
            let (topic, payload) = (Topic::new("alarm").unwrap(), Bytes::from_static(b"1"));
            let (qos, retain, urgent) = (Qos::AtLeastOnce, false, true);
            drop(outbox.accept(Outbound { topic, payload, qos, retain, urgent, properties: None }).unwrap());
            alarming.handed_over(10);
        }
        may
    };
    assert_eq!(std::iter::from_fn(|| alarm().then_some(())).count(), 100);
    // Each line goes on by itself: the link takes what is urgent first, and that lets in what is.
    let waits = async |source: &Source| tokio::time::timeout(Duration::from_millis(100), source.turn()).await;
    let (_, message) = outbox.take().unwrap();
    assert!(message.urgent);
    assert!(!hand_over(&flooding, Qos::AtLeastOnce));
    assert!(alarm() && !alarm());
    let (alarmed, flooded) = tokio::join!(waits(&alarming), async {
        drop(outbox.take());
        waits(&flooding).await
    });
    assert!(alarmed.is_ok() && flooded.is_err());
}

/// The link takes nothing, and lets some in from time to time all the same: who waits with what is urgent and who waits with what isn't leave each other alone.
#[tokio::test(flavor = "local", start_paused = true)]
async fn where_neither_has_room_the_first_of_both_lines_rest() {
    let outbox = outbox(100);
    let (plain, urgent) = (outbox.source(1, Peer::default()), outbox.source(1, Peer::default()));
    let looks = Cell::new(0);
    let client = async |source: &Source, is_urgent: bool| {
        loop {
            while hand_over_as(source, Qos::AtLeastOnce, is_urgent) {}
            source.rest(true);
            looks.set(looks.get() + 1);
            // A hundred times a second each is how often they are let in.
            assert!(looks.get() < 1000, "it spins");
            source.turn().await;
        }
    };
    let both = async { tokio::join!(client(&plain, false), client(&urgent, true)) };
    let over = tokio::time::timeout(Duration::from_secs(3), both).await;
    assert!(over.is_err());
}
