use std::path::PathBuf;
use std::rc::Weak;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::task::spawn_local;

use super::local::Legs;
use super::testing::{bridge, down_rule, up_rule};
use super::*;
use crate::config::WhenFull;
use crate::message::{Outbound, Properties, Qos, Sequence};
use crate::mqtt::session::Waiting as _;
use crate::store::keeper;

/// A bridge, and the outbox that it hands over to. The link to IoT Core is up, and takes what a test takes.
struct Bench {
    outbox: Rc<Outbox>,
    acks: Rc<Acks>,
    bridge: Rc<Bridge>,
    tokens: u64,
}

impl Bench {
    fn new(config: &config::Bridge, max_size: u64) -> Bench {
        let outbox = Outbox::in_memory(&config::Outbox {
            path: PathBuf::new(),
            max_size,
            max_age: Duration::from_secs(1000),
            when_full: WhenFull::RejectNew,
            spill_after: Duration::from_secs(1),
        });
        outbox.link_up();
        let acks = Rc::default();
        let bridge = Bridge::new(config, &outbox, &acks);
        let around = Surroundings { protocol: Protocol::Mqtt5, spill_after: Duration::from_secs(1) };
        drop(bridge.reconfigure(config, around, &mut BTreeMap::new()));
        spawn_local(Rc::clone(&bridge).hand_over_all(Rc::default()));
        Bench { outbox, acks, bridge, tokens: 0 }
    }

    /// The local broker sends a message.
    async fn comes(&mut self, topic: &str, payload: &[u8]) -> AckToken {
        self.tokens += 1;
        let token = AckToken::new(self.tokens);
        self.bridge.arrived(inbound(topic, payload), Some(token), time::now());
        settle().await;
        token
    }

    /// IoT Core acknowledges all that it is sent: the topics.
    async fn delivers(&self) -> Vec<String> {
        let mut topics = Vec::new();
        while let Some((sequence, message)) = self.outbox.take() {
            topics.push(message.topic.to_string());
            self.outbox.delivered(sequence);
            settle().await;
        }
        topics
    }

    /// What the local broker may be told of.
    fn done(&self) -> Vec<AckToken> {
        let mut done = Vec::new();
        self.bridge.acks().drain(&mut done);
        done
    }

    fn up(&self) -> RuleStatus {
        let up = self.bridge.up.borrow();
        self.bridge.outbox.count_given_up();
        up[0].status(self.bridge.handing.of(&(Rc::clone(&up[0]) as Rc<dyn Origin>)))
    }
}

fn inbound(topic: &str, payload: &[u8]) -> Inbound {
    Inbound {
        topic: Topic::received(topic),
        payload: Bytes::copy_from_slice(payload),
        qos: Qos::AtLeastOnce,
        retain: false,
        duplicate: false,
        received_at: Timestamp::UNIX_EPOCH,
        properties: None,
    }
}

/// Lets the tasks do what they can.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_device_is_told_only_once_iot_core_has_its_message() {
    let mut bench = Bench::new(&bridge(vec![up_rule("z/#", "z/", "up/")], vec![]), 1 << 20);
    let token = bench.comes("z/lamp", b"1").await;
    assert_eq!((bench.done(), bench.up().waiting), (vec![], 1));
    assert_eq!(bench.delivers().await, ["up/lamp"]);
    assert_eq!(bench.done(), [token]);
    let up = bench.up();
    assert_eq!([up.received, up.accepted, up.delivered, up.waiting], [1, 1, 1, 0]);
    // What no rule takes is nobody's.
    let token = bench.comes("other", b"1").await;
    assert_eq!((bench.done(), bench.up().received), (vec![token], 1));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_full_outbox_leaves_the_rest_with_the_broker_and_in_order() {
    let mut bench = Bench::new(&bridge(vec![up_rule("z/#", "z/", "up/")], vec![]), 20_000);
    for n in 0..40 {
        bench.comes(&format!("z/{n}"), &[b'x'; 1000]).await;
    }
    assert_eq!(bench.done(), []);
    assert!((10..30).contains(&bench.outbox.status().waiting), "{:?}", bench.outbox.status());
    assert_eq!(bench.up().waiting, 40);
    let mut came = bench.delivers().await;
    tokio::time::advance(Duration::from_secs(2)).await;
    settle().await;
    came.extend(bench.delivers().await);
    tokio::time::advance(Duration::from_secs(2)).await;
    settle().await;
    came.extend(bench.delivers().await);
    assert_eq!(came, (0..40).map(|n| format!("up/{n}")).collect::<Vec<_>>());
    assert_eq!((bench.done().len(), bench.up().waiting), (40, 0));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_waits_for_the_outbox_goes_with_the_connection_because_the_broker_sends_it_again() {
    let mut bench = Bench::new(&bridge(vec![up_rule("z/#", "z/", "up/")], vec![]), 2_500);
    bench.comes("z/1", &[b'x'; 1000]).await;
    bench.comes("z/2", &[b'x'; 1000]).await;
    bench.comes("z/3", &[b'x'; 1000]).await;
    for _ in 0..100 {
        Legs::link_down(&*bench.bridge);
        bench.comes("z/3", &[b'x'; 1000]).await;
    }
    assert_eq!(bench.up().waiting, 2, "memory doesn't grow with each connection");
}

/// 3000 devices that have published retained values with QoS 0, on a link that takes a hundred a second.
#[tokio::test(flavor = "local", start_paused = true)]
async fn what_comes_with_qos_0_is_not_lost_to_a_slow_link() {
    let bench = Bench::new(&bridge(vec![up_rule("z/#", "z/", "up/")], vec![]), 64 << 20);
    bench.outbox.set_rate(100);
    for n in 0..3000 {
        bench.bridge.arrived(inbound(&format!("z/{n}"), &[b'x'; 1500]), None, time::now());
        if bench.bridge.full_until().is_some() {
            settle().await;
        }
        assert!(bench.bridge.full_until().is_none(), "{n}");
    }
    assert_eq!((bench.up().dropped, bench.up().waiting), (BTreeMap::new(), 3000));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_iot_core_refuses_is_acknowledged_and_counted() {
    let mut bench = Bench::new(&bridge(vec![up_rule("z/#", "z/", "up/")], vec![]), 1 << 20);
    let token = bench.comes("z/secret", b"1").await;
    let (sequence, _) = bench.outbox.take().unwrap();
    bench.outbox.refuse(sequence, "not authorized");
    assert_eq!(bench.done(), [token]);
    let large = bench.comes("z/large", &[b'x'; 128 * 1024 + 1]).await;
    assert_eq!(bench.done(), [large]);
    let up = bench.up();
    assert_eq!(up.dropped, BTreeMap::from([("refused", 1), ("too_large", 1)]));
    assert_eq!((up.received, up.delivered, up.waiting), (2, 0, 0));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn at_the_end_what_is_not_safe_is_not_acknowledged() {
    let mut bench = Bench::new(&bridge(vec![up_rule("z/#", "z/", "up/")], vec![]), 1 << 20);
    bench.comes("z/1", b"1").await;
    bench.outbox.close();
    bench.comes("z/2", b"1").await;
    bench.outbox.abandon();
    assert_eq!(bench.done(), []);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn iot_core_is_told_only_once_the_local_broker_has_its_message() {
    let bench = Bench::new(
        &bridge(vec![], vec![down_rule("set/a/#", "set/", "x/"), down_rule("set/#", "set/", "y/")]),
        1 << 20,
    );
    let deliver = |id: u64, topic: &str| {
        let token = AckToken::new(id);
        bench.acks.owe(token, 1);
        assert!(bench.bridge.wants(&Topic::received(topic)));
        bench.bridge.deliver(id, &inbound(topic, b"1"), Some(token));
    };
    deliver(1, "set/a/1");
    deliver(2, "set/b");
    deliver(3, "set/a/3");
    deliver(4, "set/$SYS/x");
    let next = || {
        let (sequence, _) = bench.bridge.waiting().first(|_, _| true)?;
        Some((sequence, bench.bridge.take(sequence).unwrap().topic.to_string()))
    };
    let sent: Vec<(Sequence, String)> = std::iter::from_fn(next).collect();
    let topics: Vec<&str> = sent.iter().map(|(_, topic)| topic.as_str()).collect();
    assert_eq!(topics, ["x/a/1", "y/b", "x/a/3", "y/$SYS/x"]);
    let done = || {
        let mut done = Vec::new();
        bench.acks.drain(&mut done);
        done
    };
    assert_eq!(done(), []);
    bench.bridge.delivered(sent[1].0);
    assert_eq!(done(), [AckToken::new(2)]);
    // What the broker may have closed the connection for waits in its place.
    bench.bridge.returned(sent[0].0);
    assert_eq!(next().map(|(_, topic)| topic).as_deref(), Some("x/a/1"));
    sent.iter().for_each(|(sequence, _)| bench.bridge.delivered(*sequence));
    assert_eq!(done().len(), 3);
    let down = bench.bridge.down.borrow();
    assert_eq!([down[0].status().delivered, down[1].status().delivered], [2, 2]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn at_the_end_what_the_local_broker_was_given_is_not_given_again() {
    let bench = Bench::new(&bridge(vec![], vec![down_rule("set/#", "", "")]), 1 << 20);
    let token = AckToken::new(1);
    bench.acks.owe(token, 1);
    bench.bridge.deliver(1, &inbound("set/1", b"1"), Some(token));
    let (sequence, _) = bench.bridge.waiting().first(|_, _| true).unwrap();
    bench.bridge.take(sequence).unwrap();
    bench.bridge.stop();
    assert_eq!(bench.bridge.waiting().first(|_, _| true), None);
    // Its PUBACK still counts.
    bench.bridge.delivered(sequence);
    let mut done = Vec::new();
    bench.acks.drain(&mut done);
    assert_eq!((done, bench.bridge.down.borrow()[0].status().delivered), (vec![token], 1));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_bridge_that_is_gone_still_tells_iot_core_of_what_it_has_stored() {
    let (acks, token): (Rc<Acks>, _) = (Rc::default(), AckToken::new(1));
    let place = QueueState { generation: 1, ..QueueState::default() };
    let rule = DownRule::new(&Weak::new(), "gone", &acks, &down_rule("set/#", "", ""), Duration::from_secs(1), place);
    acks.owe(token, 1);
    rule.take(1, &inbound("set/1", b"1"), Some(token));
    rule.stop();
    while let Some(write) = keeper::begin_write(&*rule) {
        keeper::end_write(&*rule, write.queue, &Ok(()));
    }
    let mut done = Vec::new();
    acks.drain(&mut done);
    assert_eq!(done, [token]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_time_that_a_sender_gave_counts_on_while_a_message_waits() {
    let mut bench = Bench::new(&bridge(vec![up_rule("z/#", "", "")], vec![down_rule("set/#", "", "")]), 1 << 20);
    let properties = || Some(std::sync::Arc::new(Properties { expires_in: Some(10), ..Properties::default() }));
    bench.bridge.arrived(Inbound { properties: properties(), ..inbound("z/1", b"1") }, None, time::now());
    settle().await;
    bench.bridge.deliver(1, &Inbound { properties: properties(), ..inbound("set/1", b"1") }, None);
    tokio::time::advance(Duration::from_secs(4)).await;
    let left = |message: &Outbound| message.properties.as_ref().unwrap().expiry_left(time::now());
    let (_, up) = bench.outbox.take().unwrap();
    let (sequence, _) = bench.bridge.waiting().first(|_, _| true).unwrap();
    let down = bench.bridge.take(sequence).unwrap();
    assert_eq!((left(&up), left(&down)), (Some(6), Some(6)));
    bench.bridge.expired(sequence);
    assert_eq!(bench.bridge.down.borrow()[0].status().dropped, BTreeMap::from([("expired", 1)]));
    bench.comes("z/2", b"1").await;
}

#[tokio::test(flavor = "local")]
async fn an_urgent_rule_overtakes_what_waits_for_the_outbox_and_in_it() {
    let rules = vec![config::Up { urgent: true, ..up_rule("alarm", "", "") }, up_rule("#", "", "")];
    let mut bench = Bench::new(&bridge(rules, Vec::new()), 1 << 20);
    bench.outbox.set_rate(3);
    bench.comes("a", b"1").await;
    bench.comes("b", b"2").await;
    for n in 0..6 {
        bench.comes("c", &[n]).await;
    }
    assert!(bench.outbox.status().waiting < 8, "some wait for their turn");
    bench.comes("alarm", b"!").await;
    bench.comes("alarm", b"?").await;
    assert_eq!(bench.delivers().await, ["alarm", "alarm", "a", "b", "c", "c", "c", "c", "c", "c"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_message_that_went_round_stops_at_the_fourth_bridge() {
    let mut bench = Bench::new(&bridge(vec![up_rule("z/#", "", "")], vec![]), 1 << 20);
    let user_properties = vec![("gatewire-hops".to_owned(), "4".to_owned())];
    let properties = Some(std::sync::Arc::new(Properties { user_properties, ..Properties::default() }));
    bench.bridge.arrived(Inbound { properties, ..inbound("z/1", b"1") }, None, time::now());
    settle().await;
    assert_eq!(bench.up().dropped, BTreeMap::from([("hops", 1)]));
    bench.comes("z/2", b"1").await;
    let (_, Outbound { properties, .. }) = bench.outbox.take().unwrap();
    assert_eq!(properties.unwrap().user_properties, [("gatewire-hops".to_owned(), "1".to_owned())]);
}
