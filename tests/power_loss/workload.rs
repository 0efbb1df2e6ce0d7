//! What the recorded daemon goes through: a new database, outages with a backlog larger than the log of the database, its
//! way out while more comes, messages for a reader that isn't there, a kill in the middle of a write, stops and starts.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use rumqttc::mqttbytes::v4::Packet;

use crate::recording::{Event, Recording};
use crate::support::daemon::Setup;
use crate::support::scripted::{Broker, Peer};
use crate::support::socket::Client;

const SECTIONS: &str = "[[ingest]]\nname = \"up\"\nsocket = \"DIR/up.sock\"\ntopics = [\"up/#\"]\n\
                        [[forward]]\nname = \"down\"\nfilters = [\"down/#\"]\nsocket = \"DIR/down.sock\"\n";

/// A daemon that says all it has to say at once, and nothing of itself in between.
pub(crate) fn setup(port: u16) -> Setup {
    Setup::new(port, SECTIONS)
        .speaking("3.1.1")
        .edit("[connection]\n", "[connection]\nkeep_alive = \"20m\"\nack_timeout = \"10m\"\n")
        .edit("[outbox]\n", "[outbox]\nspill_after = \"10ms\"\n")
}

/// The server's end of a connection, and what is open on it.
pub(crate) struct Link<'a> {
    peer: Peer,
    recording: Option<&'a Recording>,
    /// Messages of the daemon, by packet identifiers, that have no PUBACK yet.
    unacknowledged: Vec<(u16, String)>,
    /// Messages for the daemon that have none.
    offered: BTreeMap<u16, String>,
    /// Messages of the daemon that have one.
    acknowledged: BTreeSet<String>,
    /// All that came from it, in that order.
    pub(crate) arrived: Vec<String>,
    next_id: u16,
}

impl<'a> Link<'a> {
    pub(crate) fn accept(broker: &Broker, recording: Option<&'a Recording>) -> Link<'a> {
        let mut peer = broker.connected(false);
        let subscribe = peer.subscribe();
        peer.grant(&subscribe);
        let (unacknowledged, offered, acknowledged, arrived) = Default::default();
        Link { peer, recording, unacknowledged, offered, acknowledged, arrived, next_id: 1 }
    }

    /// Takes what the daemon sends until that is enough.
    fn until(&mut self, enough: impl Fn(&Link) -> bool) {
        while !enough(self) {
            match self.peer.next() {
                Some(Packet::Publish(publish)) => {
                    self.arrived.push(publish.topic.clone());
                    self.unacknowledged.push((publish.pkid, publish.topic));
                }
                Some(Packet::PubAck(ack)) => {
                    let topic = self.offered.remove(&ack.pkid).expect("a PUBACK for what isn't open");
                    self.recording.inspect(|recording| recording.note_puback(&topic));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Takes so many messages and acknowledges them.
    fn take(&mut self, count: usize) {
        self.until(|link| link.unacknowledged.len() >= count);
        self.acknowledge();
    }

    fn acknowledge(&mut self) {
        for (id, topic) in self.unacknowledged.drain(..) {
            self.recording.inspect(|recording| recording.note_acknowledged(&topic));
            self.peer.puback(id);
            self.acknowledged.insert(topic);
        }
    }

    /// Takes and acknowledges until all of these have come.
    pub(crate) fn take_all(&mut self, topics: &BTreeSet<String>) {
        while !self.acknowledged.is_superset(topics) {
            self.take(1);
        }
    }

    fn offer(&mut self, number: usize, bytes: usize) -> String {
        let (topic, id) = (format!("down/{number}"), self.next_id);
        self.next_id += 1;
        self.offered.insert(id, topic.clone());
        self.peer.message(&topic, &"y".repeat(bytes), id);
        topic
    }

    /// Sends a message and waits for its PUBACK, while nothing else is on its way.
    fn offer_one(&mut self, number: usize, bytes: usize) {
        self.recording.inspect(|recording| recording.note_offered(&format!("down/{number}")));
        self.offer(number, bytes);
        self.until(|link| link.offered.is_empty());
    }

    /// Sends messages one behind the other, then waits for all their PUBACKs.
    fn offer_many(&mut self, numbers: std::ops::Range<usize>, bytes: usize) {
        numbers.for_each(|number| drop(self.offer(number, bytes)));
        self.until(|link| link.offered.is_empty());
    }
}

/// Whether the message of this number is urgent: one of four.
fn is_urgent(number: usize) -> bool {
    number % 4 == 1
}

/// Fails if messages of the daemon, by their topics, have come in another order than that in which they were handed in, but for those
/// that came before, and urgent ones between the others.
pub(crate) fn assert_in_order(topics: &[String]) {
    let mut seen = BTreeSet::new();
    let numbers = topics.iter().filter(|topic| seen.insert(*topic));
    let numbers: Vec<usize> = numbers.map(|topic| topic.strip_prefix("up/").unwrap().parse().unwrap()).collect();
    let (urgent, others): (Vec<usize>, Vec<usize>) = numbers.into_iter().partition(|number| is_urgent(*number));
    assert!(urgent.is_sorted() && others.is_sorted(), "{urgent:?} {others:?}");
}

/// A local program that hands in messages, numbered one after the other.
struct Producer {
    next: usize,
    rng: Rng,
    /// Those that were answered `stored`.
    stored: BTreeSet<String>,
}

impl Producer {
    fn line(&mut self, max_bytes: usize) -> String {
        let number = self.next;
        self.next += 1;
        let payload = "x".repeat(self.rng.usize(0..max_bytes));
        let urgent = is_urgent(number);
        format!("{{\"topic\":\"up/{number}\",\"payload\":\"{payload}\",\"id\":{number},\"urgent\":{urgent}}}")
    }

    /// Hands in messages, so many at a time, and takes the answers.
    fn produce(&mut self, client: &mut Client, count: usize, at_once: usize, max_bytes: usize) {
        for _ in 0..count / at_once {
            (0..at_once).for_each(|_| client.send(&self.line(max_bytes)));
            (0..at_once).for_each(|_| self.note(&client.json()));
        }
    }

    fn note(&mut self, answer: &serde_json::Value) {
        match answer["result"].as_str() {
            Some("stored") => drop(self.stored.insert(format!("up/{}", answer["id"]))),
            Some("delivered") => {}
            _ => panic!("{answer}"),
        }
    }
}

/// Lets a daemon live through all that; returns what happened.
pub(crate) fn run(seed: u64) -> Vec<Event> {
    let broker = Broker::start();
    let (recording, setup) = Recording::of(setup(broker.port));
    let mut producer = Producer { next: 0, rng: Rng::with_seed(seed), stored: BTreeSet::new() };
    die_while_cut_off(&setup, &recording, &mut producer);
    recording.events();
    // The connection of the first daemon, which has got no answer.
    drop(broker.accept_tcp());
    let gone = empty_a_backlog(&setup.again(), &broker, &recording, &mut producer);
    recording.events();
    wait_for_a_reader(&setup.again(), &broker, &recording, &mut producer, gone);
    let events = recording.events();
    let promised: BTreeSet<&String> = events
        .iter()
        .filter_map(|event| if let Event::Promised(topic) = event { Some(topic) } else { None })
        .filter(|topic| topic.starts_with("up/"))
        .collect();
    assert!(promised.into_iter().eq(&producer.stored), "the recorder has seen other answers than the client");
    events
}

/// Its first messages, then more than the log holds, without a link, and a death in the middle of a write.
fn die_while_cut_off(setup: &Setup, recording: &Recording, producer: &mut Producer) {
    let gatewire = setup.start();
    let mut client = gatewire.client("up.sock");
    producer.produce(&mut client, 20, 1, 100);
    producer.produce(&mut client, 30, 1, 6000);
    producer.produce(&mut client, 900, 30, 9000);
    recording.let_die();
    client.send(&producer.line(20_000));
    assert_eq!(client.line(), None, "nothing is answered");
    recording.let_live();
    gatewire.kill();
}

/// More without a link; the way out of all but some of it, while more comes; a stop. Returns what is out.
fn empty_a_backlog(setup: &Setup, broker: &Broker, recording: &Recording, producer: &mut Producer) -> BTreeSet<String> {
    let gatewire = setup.start();
    let mut client = gatewire.client("up.sock");
    producer.produce(&mut client, 100, 20, 9000);
    let mut link = Link::accept(broker, Some(recording));
    for _ in 0..40 {
        link.take(20);
        producer.produce(&mut client, 4, 2, 9000);
    }
    link.offer_many(0..50, 3000);
    assert_eq!(gatewire.stop().0, 0);
    link.acknowledged
}

/// All goes out; then messages come for which there is no reader, while others wait for their PUBACK for too long.
fn wait_for_a_reader(
    setup: &Setup,
    broker: &Broker,
    recording: &Recording,
    producer: &mut Producer,
    gone: BTreeSet<String>,
) {
    let gatewire = setup.start();
    let mut link = Link::accept(broker, Some(recording));
    link.acknowledged = gone;
    link.take_all(&producer.stored);
    let mut client = gatewire.client("up.sock");
    (50..90).for_each(|number| link.offer_one(number, 2000));
    for batch in 0..10 {
        producer.produce(&mut client, 20, 10, 4000);
        let first = 90 + batch * 40;
        link.offer_many(first..first + 40, 5000);
        link.take_all(&producer.stored);
    }
    assert_eq!(gatewire.stop().0, 0);
}
