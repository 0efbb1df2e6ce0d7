//! A server with a policy, as strict as IoT Core: it closes the connection on a PUBLISH or SUBSCRIBE that isn't allowed, or
//! answers it with a failure. It may have its moods, too, and close for no reason at all.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

use super::scripted::{Broker, Peer};
use super::scripted5::Peer5;

/// How often it is looked whether the test is over.
const LOOK: Duration = Duration::from_millis(50);

/// What the server has seen, and what it doesn't allow.
#[derive(Debug, Default)]
struct Seen {
    forbidden: BTreeSet<String>,
    /// It answers these with a failure.
    refused: BTreeSet<String>,
    /// It answers these with what no server may answer: PUBREC.
    misanswered: BTreeSet<String>,
    /// It takes no CONNECT.
    away: bool,
    /// It closes on one in ten messages, whichever that is, so many times.
    moods: Option<(fastrand::Rng, usize)>,
    /// Topic and payload of each message, the first time it came.
    arrived: Vec<(String, String)>,
    /// The filters that were asked for in a SUBSCRIBE that was granted.
    subscribed: Vec<String>,
    /// Connections that it has closed.
    closes: usize,
}

impl Seen {
    /// Whether it closes just because.
    fn is_in_a_mood(&mut self) -> bool {
        let Some((random, times)) = &mut self.moods else { return false };
        let is_due = *times > 0 && random.usize(..10) == 0;
        *times -= usize::from(is_due);
        is_due
    }
}

/// A server on a thread of its own, which ends with it.
pub struct Strict {
    pub port: u16,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a packet asks for.
enum Asked {
    Connect,
    Publish { topic: String, payload: String, id: u16 },
    Subscribe { filters: Vec<String>, id: u16 },
    Ping,
    Disconnect,
}

impl Strict {
    /// A server for one version of MQTT, which doesn't allow these topics and filters.
    pub fn start(protocol: &'static str, forbidden: &[&str]) -> Strict {
        let broker = Broker::start();
        let forbidden = forbidden.iter().map(|name| (*name).to_owned()).collect();
        let seen = Arc::new(Mutex::new(Seen { forbidden, ..Seen::default() }));
        let (stop, port) = (Arc::new(AtomicBool::new(false)), broker.port);
        let (shared, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Some(peer) = broker.accept_within(LOOK) else { continue };
                // A daemon that is killed meanwhile is no fault of the server.
                let _ = catch_unwind(AssertUnwindSafe(|| match protocol {
                    "5" => serve(&mut Peer5::new(peer), &shared, &stopped),
                    _ => serve(&mut { peer }, &shared, &stopped),
                }));
            }
        });
        Strict { port, seen, stop, thread: Some(thread) }
    }

    /// The policy is changed.
    pub fn allow(&self, name: &str) {
        assert!(self.seen.lock().unwrap().forbidden.remove(name));
    }

    /// From now on this topic or filter is answered with a failure.
    pub fn refuse(&self, name: &str) {
        self.seen.lock().unwrap().refused.insert(name.to_owned());
    }

    /// From now on a message on this topic is answered against the rules.
    pub fn misanswer(&self, name: &str) {
        self.seen.lock().unwrap().misanswered.insert(name.to_owned());
    }

    /// Takes no CONNECT from now on, or does again.
    pub fn be_away(&self, away: bool) {
        self.seen.lock().unwrap().away = away;
    }

    /// Closes connections in the middle of messages, so many times.
    pub fn close_at_random(&self, random: fastrand::Rng, times: usize) {
        self.seen.lock().unwrap().moods = Some((random, times));
    }

    /// The policy is changed for what was answered with a failure.
    pub fn grant(&self, name: &str) {
        assert!(self.seen.lock().unwrap().refused.remove(name));
    }

    /// What has arrived on a topic, each message once.
    pub fn arrived(&self, topic: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.arrived.iter().filter(|(other, _)| other == topic).map(|(_, payload)| payload.clone()).collect()
    }

    pub fn subscribed(&self) -> BTreeSet<String> {
        self.seen.lock().unwrap().subscribed.iter().cloned().collect()
    }

    pub fn closes(&self) -> usize {
        self.seen.lock().unwrap().closes
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A daemon, in either version of MQTT.
trait Daemon {
    /// `Ok(None)`: it has closed. An error: nothing comes within [`LOOK`].
    fn ask(&mut self) -> Result<Option<Asked>, ()>;
    fn say(&mut self, bytes: &[u8]);
    /// What an answer has between packet identifier and reason codes.
    const PROPERTIES: &'static [u8];
    /// "Not authorized", in a SUBACK.
    const FAILURE: u8;
    /// What is said before closing on what isn't allowed.
    const LAST_WORD: &'static [u8];
}

impl Daemon for Peer {
    const PROPERTIES: &'static [u8] = &[];
    const FAILURE: u8 = 0x80;
    const LAST_WORD: &'static [u8] = &[];

    fn ask(&mut self) -> Result<Option<Asked>, ()> {
        Ok(self.next_within(LOOK)?.map(|packet| match packet {
            v4::Packet::Connect(_) => Asked::Connect,
            v4::Packet::Publish(v4::Publish { topic, payload, pkid: id, .. }) => {
                Asked::Publish { topic, payload: String::from_utf8(payload.to_vec()).unwrap(), id }
            }
            v4::Packet::Subscribe(v4::Subscribe { pkid: id, filters }) => {
                Asked::Subscribe { filters: filters.into_iter().map(|filter| filter.path).collect(), id }
            }
            v4::Packet::PingReq => Asked::Ping,
            v4::Packet::Disconnect => Asked::Disconnect,
            other => panic!("{other:?}"),
        }))
    }

    fn say(&mut self, bytes: &[u8]) {
        self.raw(bytes);
    }
}

impl Daemon for Peer5 {
    const PROPERTIES: &'static [u8] = &[0];
    const FAILURE: u8 = 0x87;
    /// DISCONNECT, "not authorized".
    const LAST_WORD: &'static [u8] = &[0xe0, 2, 0x87, 0];

    fn ask(&mut self) -> Result<Option<Asked>, ()> {
        Ok(self.next_within(LOOK)?.map(|packet| match packet {
            v5::Packet::Connect(..) => Asked::Connect,
            v5::Packet::Publish(v5::Publish { topic, payload, pkid: id, .. }) => Asked::Publish {
                topic: String::from_utf8(topic.to_vec()).unwrap(),
                payload: String::from_utf8(payload.to_vec()).unwrap(),
                id,
            },
            v5::Packet::Subscribe(v5::Subscribe { pkid: id, filters, .. }) => {
                Asked::Subscribe { filters: filters.into_iter().map(|filter| filter.path).collect(), id }
            }
            v5::Packet::PingReq(_) => Asked::Ping,
            v5::Packet::Disconnect(_) => Asked::Disconnect,
            other => panic!("{other:?}"),
        }))
    }

    fn say(&mut self, bytes: &[u8]) {
        self.raw(bytes);
    }
}

fn packet(kind: u8, id: u16, rest: &[&[u8]]) -> Vec<u8> {
    let body: Vec<u8> = id.to_be_bytes().into_iter().chain(rest.concat()).collect();
    [&[kind, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

/// Answers until somebody closes. The session is always there.
fn serve<D: Daemon>(daemon: &mut D, seen: &Mutex<Seen>, stopped: &AtomicBool) {
    while !stopped.load(Ordering::Relaxed) {
        let Ok(asked) = daemon.ask() else { continue };
        let is_forbidden;
        let answer = {
            let mut seen = seen.lock().unwrap();
            let names = match &asked {
                Some(Asked::Publish { topic, .. }) => std::slice::from_ref(topic),
                Some(Asked::Subscribe { filters, .. }) => filters,
                _ => &[],
            };
            let is_in_a_mood = matches!(asked, Some(Asked::Publish { .. })) && seen.is_in_a_mood();
            is_forbidden = names.iter().any(|name| seen.forbidden.contains(name));
            seen.closes += usize::from(is_in_a_mood || is_forbidden);
            match asked {
                _ if is_in_a_mood => return,
                _ if is_forbidden => D::LAST_WORD.to_vec(),
                Some(Asked::Connect) if seen.away => return,
                Some(Asked::Connect) => {
                    let length = u8::try_from(2 + D::PROPERTIES.len()).unwrap();
                    [&[0x20, length, 1, 0], D::PROPERTIES].concat()
                }
                Some(Asked::Publish { topic, id, .. }) if seen.misanswered.contains(&topic) => packet(0x50, id, &[]),
                Some(Asked::Publish { topic, id, .. }) if seen.refused.contains(&topic) => {
                    packet(0x40, id, &[&[D::FAILURE], D::PROPERTIES])
                }
                Some(Asked::Publish { topic, payload, id }) => {
                    if !seen.arrived.contains(&(topic.clone(), payload.clone())) {
                        seen.arrived.push((topic, payload));
                    }
                    if id == 0 { Vec::new() } else { packet(0x40, id, &[]) }
                }
                Some(Asked::Subscribe { filters, id }) => {
                    let is_misanswered = filters.iter().any(|filter| seen.misanswered.contains(filter));
                    let answer = |filter| if seen.refused.contains(filter) { D::FAILURE } else { 1 };
                    let answers: Vec<u8> = filters.iter().map(answer).collect();
                    let granted = filters.into_iter().zip(&answers).filter(|(_, answer)| **answer != D::FAILURE);
                    let granted: Vec<String> = granted.map(|(filter, _)| filter).collect();
                    seen.subscribed.extend(granted);
                    let one_more: &[u8] = if is_misanswered { &[1] } else { &[] };
                    packet(0x90, id, &[D::PROPERTIES, &answers, one_more])
                }
                Some(Asked::Ping) => vec![0xd0, 0],
                Some(Asked::Disconnect) | None => return,
            }
        };
        daemon.say(&answer);
        if is_forbidden {
            return;
        }
    }
}
