//! A server that judges each PUBLISH by what the test says, and takes notes of what it took and when.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::QoS as QoS5;
use rumqttc::v5::mqttbytes::v5;

use super::scripted::{Broker, Peer};
use super::scripted5::Peer5;

/// How often it is looked whether the test is over.
const LOOK: Duration = Duration::from_millis(50);

/// A PUBLISH.
#[derive(Debug, Clone)]
pub struct Asked {
    pub topic: String,
    pub payload: String,
    pub retain: bool,
    pub qos: u8,
    id: u16,
}

/// What the server does on one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    Take,
    /// Closes the connection: in MQTT 5 with 0x87, in MQTT 3.1.1 without a word.
    Close,
    /// PUBACK with this reason code (MQTT 5).
    Answer(u8),
}

type Rule = Box<dyn FnMut(&Asked) -> Does + Send>;

#[derive(Default)]
struct Seen {
    took: Vec<(Asked, Instant)>,
    refused: usize,
    closes: usize,
    connects: Vec<Instant>,
    /// Properties of the CONNACK (MQTT 5).
    terms: Vec<u8>,
}

/// A server on a thread of its own, which ends with it.
pub struct Judge {
    pub port: u16,
    seen: Arc<Mutex<Seen>>,
    rule: Arc<Mutex<Rule>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Judge {
    pub fn start(protocol: &'static str, rule: impl FnMut(&Asked) -> Does + Send + 'static) -> Judge {
        let broker = Broker::start();
        let (seen, stop, port) = (Arc::<Mutex<Seen>>::default(), Arc::new(AtomicBool::new(false)), broker.port);
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(rule)));
        let (shared, shared_rule, stopped) = (Arc::clone(&seen), Arc::clone(&rule), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Some(peer) = broker.accept_within(LOOK) else { continue };
                shared.lock().unwrap().connects.push(Instant::now());
                // A daemon that is killed meanwhile is no fault of the server.
                let _ = catch_unwind(AssertUnwindSafe(|| match protocol {
                    "5" => serve_5(&mut Peer5::new(peer), &shared, &shared_rule, &stopped),
                    _ => serve_3(&mut { peer }, &shared, &shared_rule, &stopped),
                }));
            }
        });
        Judge { port, seen, rule, stop, thread: Some(thread) }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Another rule from now on.
    pub fn judge_by(&self, rule: impl FnMut(&Asked) -> Does + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    /// What the CONNACKs allow from now on.
    pub fn set_terms(&self, terms: &[u8]) {
        self.seen().terms = terms.to_vec();
    }

    /// Payloads that it took on a topic, each once, and when.
    pub fn took(&self, topic: &str) -> Vec<(String, Instant)> {
        self.all()
            .into_iter()
            .filter(|(asked, _)| asked.topic == topic)
            .map(|(asked, at)| (asked.payload, at))
            .collect()
    }

    /// What it took, each once.
    pub fn all(&self) -> Vec<(Asked, Instant)> {
        self.seen().took.clone()
    }

    pub fn closes(&self) -> usize {
        self.seen().closes
    }

    pub fn refused(&self) -> usize {
        self.seen().refused
    }

    pub fn connects(&self) -> Vec<Instant> {
        self.seen().connects.clone()
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn judge(asked: &Asked, seen: &Mutex<Seen>, rule: &Mutex<Rule>) -> Does {
    let does = (rule.lock().unwrap())(asked);
    let mut seen = seen.lock().unwrap();
    match does {
        Does::Take => {
            let is_same =
                |(other, _): &(Asked, Instant)| (&other.topic, &other.payload) == (&asked.topic, &asked.payload);
            if !seen.took.iter().rev().take(200).any(is_same) {
                seen.took.push((asked.clone(), Instant::now()));
            }
        }
        Does::Close => seen.closes += 1,
        Does::Answer(_) => seen.refused += 1,
    }
    does
}

fn serve_3(peer: &mut Peer, seen: &Mutex<Seen>, rule: &Mutex<Rule>, stopped: &AtomicBool) {
    while !stopped.load(Ordering::Relaxed) {
        let Ok(packet) = peer.next_within(LOOK) else { continue };
        match packet {
            Some(v4::Packet::Connect(_)) => peer.connack(true),
            Some(v4::Packet::Publish(publish)) => {
                let asked = Asked {
                    topic: publish.topic.clone(),
                    payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
                    retain: publish.retain,
                    qos: u8::from(publish.qos != QoS::AtMostOnce),
                    id: publish.pkid,
                };
                if judge(&asked, seen, rule) != Does::Take {
                    return;
                }
                if asked.qos > 0 {
                    peer.puback(asked.id);
                }
            }
            Some(v4::Packet::Subscribe(subscribe)) => peer.grant(&subscribe),
            Some(v4::Packet::PingReq) => peer.raw(&[0xd0, 0]),
            _ => return,
        }
    }
}

fn serve_5(peer: &mut Peer5, seen: &Mutex<Seen>, rule: &Mutex<Rule>, stopped: &AtomicBool) {
    while !stopped.load(Ordering::Relaxed) {
        let Ok(packet) = peer.next_within(LOOK) else { continue };
        match packet {
            Some(v5::Packet::Connect(..)) => {
                let terms = seen.lock().unwrap().terms.clone();
                peer.connack(true, &terms);
            }
            Some(v5::Packet::Publish(publish)) => {
                let asked = Asked {
                    topic: String::from_utf8(publish.topic.to_vec()).unwrap(),
                    payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
                    retain: publish.retain,
                    qos: u8::from(publish.qos != QoS5::AtMostOnce),
                    id: publish.pkid,
                };
                match judge(&asked, seen, rule) {
                    Does::Take if asked.qos > 0 => peer.puback(asked.id, 0),
                    Does::Take => {}
                    Does::Answer(code) => peer.puback(asked.id, code),
                    Does::Close => return peer.raw(&[0xe0, 2, 0x87, 0]),
                }
            }
            Some(v5::Packet::PingReq(_)) => peer.raw(&[0xd0, 0]),
            _ => return,
        }
    }
}
