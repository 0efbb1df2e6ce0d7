//! Local programs: they publish and read as programs do that were written in a hurry.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{sleep, timeout};

use super::judge::{Judge, number_in};
use super::network::SimulatedNetwork;

/// What a publisher does.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Publishes {
    pub(super) lines: u32,
    /// So many at once, before it waits for their answers.
    pub(super) at_once: u32,
    pub(super) pause: Duration,
    pub(super) topic: String,
    pub(super) qos: u8,
    pub(super) size: usize,
    pub(super) habit: Habit,
}

/// How a program that publishes behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// Reads its answers.
    Good,
    /// Reads none for so long after each batch.
    Deaf(Duration),
    /// Closes the connection in the middle of a line, and begins anew.
    Leaves,
    /// Says that nothing more comes, and reads until the end.
    HalfCloses,
    /// Sends what isn't a line of ours in between.
    Babbles,
}

/// Who waits for what, across all programs.
#[derive(Default)]
pub(super) struct Outstanding {
    /// Answers that are owed on connections that are open.
    pub(super) answers: Cell<usize>,
    /// Publishers that haven't sent everything.
    pub(super) publishers: Cell<usize>,
    /// Nobody begins anything new.
    pub(super) is_over: Cell<bool>,
}

/// What every program has.
#[derive(Clone)]
pub(super) struct Local {
    pub(super) directory: PathBuf,
    pub(super) judge: Rc<Judge>,
    pub(super) network: SimulatedNetwork,
    pub(super) outstanding: Rc<Outstanding>,
}

async fn connect(path: &Path) -> UnixStream {
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return stream,
            Err(_) => sleep(Duration::from_millis(700)).await,
        }
    }
}

/// One connection of a publisher.
struct Conversation<'a> {
    local: &'a Local,
    answers: BufReader<OwnedReadHalf>,
    lines: OwnedWriteHalf,
    /// What each answer that is owed is for; `None`: something that isn't a line of ours.
    owed: VecDeque<Option<u64>>,
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        let answers = &self.local.outstanding.answers;
        answers.set(answers.get() - self.owed.len());
    }
}

impl<'a> Conversation<'a> {
    async fn begin(local: &'a Local) -> Conversation<'a> {
        let (answers, lines) = connect(&local.directory.join("publish.sock")).await.into_split();
        Conversation { local, answers: BufReader::new(answers), lines, owed: VecDeque::new() }
    }

    async fn say(&mut self, line: &[u8], what: Option<u64>) -> io::Result<()> {
        self.owed.push_back(what);
        let answers = &self.local.outstanding.answers;
        answers.set(answers.get() + 1);
        self.lines.write_all(line).await
    }

    /// The next answer. `false`: the connection has ended.
    async fn hear(&mut self) -> io::Result<bool> {
        let mut line = String::new();
        if self.answers.read_line(&mut line).await? == 0 {
            return Ok(false);
        }
        let judge = &self.local.judge;
        let Ok(answer) = serde_json::from_str::<Value>(&line) else {
            judge.violated(format!("an answer that isn't JSON: {line:?}"));
            return Ok(false);
        };
        let said = answer["result"].as_str().or(answer["error"].as_str()).unwrap_or_default().to_owned();
        if said == "too_many_clients" {
            return Ok(false);
        }
        let Some(owed) = self.owed.pop_front() else {
            judge.violated(format!("an answer that nobody is owed: {line}"));
            return Ok(false);
        };
        let answers = &self.local.outstanding.answers;
        answers.set(answers.get() - 1);
        match (owed, answer["id"].as_u64()) {
            (Some(number), Some(id)) if number == id => {
                self.local.network.with_cloud(|cloud| judge.answered(number, &said, cloud));
                judge.note(format!("{number} {said}"));
            }
            (None, None) if answer["error"].is_string() => {}
            (owed, id) => judge.violated(format!("the answer to {owed:?} is for {id:?}: {line}")),
        }
        Ok(true)
    }

    /// All answers that are owed. `false`: the connection has ended.
    async fn hear_all(&mut self) -> io::Result<bool> {
        while !self.owed.is_empty() {
            if !self.hear().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Publishes until it has said everything; what it has no answer for when a connection ends it doesn't say again.
pub(super) async fn publish(local: Local, what: Publishes, seed: u64) {
    let outstanding = Rc::clone(&local.outstanding);
    outstanding.publishers.set(outstanding.publishers.get() + 1);
    let mut rng = Rng::with_seed(seed);
    let mut left = what.lines;
    while left > 0 && !outstanding.is_over.get() {
        // A connection that ends has said why to nobody: what was owed on it is unknown to the program.
        let _ = converse(&local, &what, &mut left, &mut rng).await;
        sleep(Duration::from_millis(rng.u64(1..1000))).await;
    }
    outstanding.publishers.set(outstanding.publishers.get() - 1);
}

async fn converse(local: &Local, what: &Publishes, left: &mut u32, rng: &mut Rng) -> io::Result<()> {
    let mut conversation = Conversation::begin(local).await;
    while *left > 0 && !local.outstanding.is_over.get() {
        let batch = what.at_once.min(*left);
        for _ in 0..batch {
            *left -= 1;
            let number = local.judge.number();
            local.judge.sends(number, &what.topic, what.qos);
            let line = line(number, what);
            if what.habit == Habit::Leaves && rng.u8(..20) == 0 {
                // It is never whole, and never answered.
                conversation.lines.write_all(&line[..rng.usize(..line.len())]).await?;
                return Ok(());
            }
            if what.habit == Habit::Babbles && rng.u8(..3) == 0 {
                let babble: &[u8] =
                    [&b"{\"topic\":\n"[..], b"[1,2]\n", b"\xff\xfe\n", b"{\"topic\":\"up/#\",\"payload\":1}\n"]
                        [rng.usize(..4)];
                conversation.say(babble, None).await?;
            }
            conversation.say(&line, Some(number)).await?;
        }
        match what.habit {
            Habit::Deaf(time) => sleep(time).await,
            Habit::HalfCloses => {
                conversation.lines.shutdown().await?;
                conversation.hear_all().await?;
                if conversation.owed.is_empty() {
                    let mut rest = Vec::new();
                    conversation.answers.read_to_end(&mut rest).await?;
                    if !rest.is_empty() {
                        local.judge.violated(format!("more than was owed: {:?}", String::from_utf8_lossy(&rest)));
                    }
                }
                return Ok(());
            }
            _ => {}
        }
        if !conversation.hear_all().await? {
            return Ok(());
        }
        sleep(what.pause).await;
    }
    Ok(())
}

fn line(number: u64, what: &Publishes) -> Vec<u8> {
    let filler = "x".repeat(what.size);
    let Publishes { topic, qos, .. } = what;
    format!("{{\"topic\":\"{topic}\",\"payload\":\"{{\\\"n\\\":{number},\\\"x\\\":\\\"{filler}\\\"}}\",\"qos\":{qos},\"id\":{number}}}\n")
        .into_bytes()
}

/// How a program that reads behaves.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reads {
    pub(super) forward: &'static str,
    pub(super) acknowledges: bool,
    /// It only watches.
    pub(super) observes: bool,
    /// Between two lines.
    pub(super) pause: Duration,
    /// It leaves after so many lines.
    pub(super) lines: u32,
    pub(super) stays: Duration,
}

/// Reads until it has had enough.
pub(super) async fn read(local: Local, what: Reads) {
    let path = local.directory.join(format!("{}.sock", what.forward));
    let mut left = what.lines;
    let reading = async {
        while left > 0 {
            if read_once(&local, &what, &path, &mut left).await.is_err() {
                sleep(Duration::from_millis(300)).await;
            }
        }
    };
    let _ = timeout(what.stays, reading).await;
}

async fn read_once(local: &Local, what: &Reads, path: &Path, left: &mut u32) -> io::Result<()> {
    let mut reader = Reader { local, what, stream: connect(path).await, buffer: Vec::new() };
    if what.observes {
        reader.stream.write_all(b"{\"observe\":true}\n").await?;
    }
    while *left > 0 {
        let mut piece = [0; 4096];
        let n = reader.stream.read(&mut piece).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reader.buffer.extend_from_slice(&piece[..n]);
        while let Some((id, number)) = reader.take_line() {
            *left = left.saturating_sub(1);
            if what.acknowledges && !what.observes {
                sleep(what.pause / 2).await;
                reader.stream.write_all(format!("{{\"ack\":{id}}}\n").as_bytes()).await?;
            }
            reader.has(number);
            sleep(what.pause / 2).await;
        }
    }
    Ok(())
}

/// A reader's connection. What was written to it counts as read, also when it leaves: the daemon can't know better.
struct Reader<'a> {
    local: &'a Local,
    what: &'a Reads,
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    /// It has got a message for good.
    fn has(&self, number: Option<u64>) {
        if let Some(number) = number.filter(|_| !self.what.observes) {
            self.local.judge.received(self.what.forward, number);
            self.local.judge.note(format!("{} got {number}", self.what.forward));
        }
    }

    /// The next line that is whole: its id, and which of our messages it holds. The rest waits: it may be dropped in between.
    fn take_line(&mut self) -> Option<(u64, Option<u64>)> {
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        let message = serde_json::from_slice::<Value>(&line).unwrap_or_default();
        let Some(id) = message["id"].as_u64() else {
            self.local
                .judge
                .violated(format!("a line for readers without an id: {:?}", String::from_utf8_lossy(&line)));
            return None;
        };
        Some((id, message["payload"].as_str().and_then(|payload| number_in(payload.as_bytes()))))
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut piece = [0; 4096];
        while let Ok(n @ 1..) = self.stream.try_read(&mut piece) {
            self.buffer.extend_from_slice(&piece[..n]);
        }
        // With acknowledgements, what wasn't acknowledged is given to another.
        if !self.what.acknowledges {
            while let Some((_, number)) = self.take_line() {
                self.has(number);
            }
        }
    }
}
