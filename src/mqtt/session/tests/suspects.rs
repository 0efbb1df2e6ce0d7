//! What is told of messages that the server leaves without an answer, or ends the connection on.

use super::*;
use crate::message::Traits;
use crate::mqtt::isolation::Suspect;

/// The topics that are suspected at the present moment.
fn suspects(bench: &Bench) -> Vec<(String, bool)> {
    let target = |suspect| match suspect {
        Suspect::Publish(Traits { topic, retain, .. }) => (topic.to_string(), retain),
        Suspect::Subscribe(filter) => panic!("{filter}"),
    };
    bench.session.last_sent(bench.now).map(target).collect()
}

fn send(bench: &mut Bench, topic: &str, qos: Qos, retain: bool) {
    bench.accepted += 1;
    let message = Outbound { topic: Topic::new(topic).unwrap(), qos, retain, ..outbound("x") };
    assert!(bench.session.publish(Sequence::new(bench.accepted), message, bench.now));
}

#[test]
fn a_message_is_suspected_until_it_is_acknowledged_and_one_without_acknowledgement_for_a_while() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, BTreeMap::new(), false);
        send(&mut bench, "one", Qos::AtLeastOnce, true);
        send(&mut bench, "zero", Qos::AtMostOnce, false);
        let (zero, one) = (("zero".to_owned(), false), ("one".to_owned(), true));
        assert_eq!(suspects(&bench), [zero, one.clone()]);
        bench.pass(Duration::from_secs(6)).unwrap();
        assert_eq!(suspects(&bench), [one], "the server would have said so by now");
        bench.receive(Say::PubAck(1)).unwrap();
        assert_eq!(suspects(&bench), []);

        (0..20).for_each(|i| send(&mut bench, &format!("zero/{i}"), Qos::AtMostOnce, false));
        assert_eq!(suspects(&bench).len(), 20);
        assert_eq!(suspects(&bench).last().unwrap().0, "zero/19", "the last sent last");
        bench.reconnect(true);
        assert_eq!(suspects(&bench), [], "they belong to the connection that they were sent on");
    }
}

#[test]
fn what_has_no_puback_in_time_is_told_where_it_is_sent_again_on_the_same_connection() {
    let mut bench = Bench::connected(Protocol::Mqtt311, BTreeMap::new(), false);
    send(&mut bench, "a", Qos::AtLeastOnce, false);
    send(&mut bench, "b", Qos::AtLeastOnce, false);
    bench.pass(Duration::from_secs(9)).unwrap();
    assert_eq!(bench.event(), None);
    bench.pass(Duration::from_secs(1)).unwrap();
    assert_eq!(bench.event(), Some(Event::Overdue(Topic::new("a").unwrap(), 2)));
    assert_eq!(bench.event(), None);
}
