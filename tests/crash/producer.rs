//! A local program that publishes, and notes what it was promised.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};

use fastrand::Rng;
use serde_json::Value;

use crate::run::milliseconds;
use crate::support::PATIENCE;

/// The most lines without an answer.
const WINDOW: usize = 64;

pub(crate) struct Producer {
    thread: JoinHandle<Produced>,
    enough: Arc<AtomicBool>,
    has_stored: Arc<AtomicBool>,
}

/// What a producer has seen. Its lines are numbered from 0 in the order in which it wrote them; none is written twice.
#[derive(Default)]
pub(crate) struct Produced {
    pub(crate) sent: u64,
    /// The numbers answered `delivered` or `stored`.
    pub(crate) promised: Vec<u64>,
    pub(crate) stored: usize,
    pub(crate) shutting_down: usize,
    has_stored: Arc<AtomicBool>,
}

impl Producer {
    /// One that publishes to `up/NAME/NUMBER`.
    pub(crate) fn start(socket: PathBuf, name: usize, mut rng: Rng) -> Producer {
        let enough = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&enough);
        let has_stored = Arc::<AtomicBool>::default();
        let mut produced = Produced { has_stored: Arc::clone(&has_stored), ..Produced::default() };
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                match UnixStream::connect(&socket) {
                    Ok(stream) => produced.publish(stream, name, &mut rng, &told),
                    Err(_) => sleep(milliseconds(&mut rng, 4)),
                }
            }
            produced
        });
        Producer { thread, enough, has_stored }
    }

    /// Whether it was answered `stored`.
    pub(crate) fn has_stored(&self) -> bool {
        self.has_stored.load(Ordering::Relaxed)
    }

    /// Takes the last answers.
    pub(crate) fn finish(self) -> Produced {
        self.enough.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Produced {
    /// Publishes until the connection ends, or there is enough and all is answered. What isn't answered by then was promised
    /// nothing.
    fn publish(&mut self, stream: UnixStream, name: usize, rng: &mut Rng, enough: &AtomicBool) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut answers = BufReader::new(stream);
        let mut unanswered = VecDeque::new();
        loop {
            if !enough.load(Ordering::Relaxed) {
                let burst = rng.usize(1..=WINDOW).saturating_sub(unanswered.len());
                // If writing fails, there may still be answers to read.
                let _ = answers.get_mut().write_all(self.burst(name, burst, &mut unanswered).as_bytes());
            }
            let left = if enough.load(Ordering::Relaxed) { 0 } else { rng.usize(..WINDOW) };
            while unanswered.len() > left {
                let Some(answer) = next_line(&mut answers) else { return };
                self.note(&answer, unanswered.pop_front().unwrap());
            }
            if enough.load(Ordering::Relaxed) && unanswered.is_empty() {
                return;
            }
            sleep(milliseconds(rng, 8));
        }
    }

    fn burst(&mut self, name: usize, lines: usize, unanswered: &mut VecDeque<u64>) -> String {
        let mut text = String::new();
        for _ in 0..lines {
            let number = self.sent;
            self.sent += 1;
            unanswered.push_back(number);
            let payload = payload(number);
            let urgent = is_urgent(number);
            text += &format!(
                "{{\"topic\":\"up/{name}/{number}\",\"payload\":\"{payload}\",\"id\":{number},\"urgent\":{urgent}}}\n"
            );
        }
        text
    }

    fn note(&mut self, answer: &str, number: u64) {
        let answer: Value = serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
        assert_eq!(answer["id"], number, "{answer}: answers come in the order of the lines");
        match (answer["result"].as_str(), answer["error"].as_str()) {
            (Some("delivered"), None) => self.promised.push(number),
            (Some("stored"), None) => {
                self.promised.push(number);
                self.stored += 1;
                self.has_stored.store(true, Ordering::Relaxed);
            }
            (None, Some("shutting_down")) => self.shutting_down += 1,
            _ => panic!("{answer}"),
        }
    }
}

/// A whole line; `None` at the end, within a line or not.
pub(crate) fn next_line(reader: &mut BufReader<UnixStream>) -> Option<String> {
    let mut line = String::new();
    match reader.read_line(&mut line) {
        Ok(_) => line.ends_with('\n').then_some(line),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
        Err(error) => panic!("no line: {error}"),
    }
}

/// What the message of this number says: most are short, some take pages of the database for themselves.
pub(crate) fn payload(number: u64) -> String {
    let length = match number % 32 {
        0 => 9000,
        1..4 => 700,
        _ => 20,
    };
    format!("{number} {}", "x".repeat(length))
}

/// Whether the message of this number is urgent: one of six, large ones and small.
pub(crate) fn is_urgent(number: u64) -> bool {
    number % 6 == 2
}

/// The producer and the number in a topic.
pub(crate) fn parse_topic(topic: &str) -> (usize, u64) {
    let mut words = topic.strip_prefix("up/").unwrap().split('/');
    let (name, number) = (words.next().unwrap(), words.next().unwrap());
    (name.parse().unwrap(), number.parse().unwrap())
}
