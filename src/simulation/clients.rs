//! Local programs: they publish and read as programs do that were written in a hurry.

mod reading;

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
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::judge::Judge;
use super::network::SimulatedNetwork;
use crate::store::simulated::SimulatedDisk;
pub(super) use reading::{MENDED, Reads, read};

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
    /// How often the daemon has ended.
    pub(super) ends: Cell<u32>,
}

/// What every program has.
#[derive(Clone)]
pub(super) struct Local {
    pub(super) directory: PathBuf,
    pub(super) judge: Rc<Judge>,
    pub(super) network: SimulatedNetwork,
    pub(super) disk: SimulatedDisk,
    pub(super) outstanding: Rc<Outstanding>,
}

impl Local {
    /// The daemon, which had ended so often, has done something that it does only when it ends.
    async fn ends_soon(&self, ends: u32, what: &str) {
        sleep(STOPS_WITHIN).await;
        if self.outstanding.ends.get() == ends {
            self.judge.violated(format!("{what}, and the daemon goes on"));
        }
    }
}

/// A daemon that is told to stop has ended after so long.
const STOPS_WITHIN: Duration = Duration::from_secs(70);

async fn connect(path: &Path) -> UnixStream {
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return stream,
            Err(_) => sleep(Duration::from_millis(700)).await,
        }
    }
}

/// One connection of a publisher.
pub(super) struct Conversation<'a> {
    local: &'a Local,
    answers: BufReader<OwnedReadHalf>,
    lines: OwnedWriteHalf,
    /// What each answer that is owed is for; `None`: something that isn't a line of ours.
    owed: VecDeque<Option<u64>>,
    /// It was told that there are too many.
    is_crowded: bool,
    /// No other has it.
    number: u64,
    /// How often the daemon had ended when it was made.
    ends: u32,
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        let answers = &self.local.outstanding.answers;
        answers.set(answers.get() - self.owed.len());
    }
}

impl<'a> Conversation<'a> {
    pub(super) async fn begin(local: &'a Local) -> Conversation<'a> {
        let (answers, lines) = connect(&local.directory.join("publish.sock")).await.into_split();
        Conversation {
            local,
            answers: BufReader::new(answers),
            lines,
            owed: VecDeque::new(),
            is_crowded: false,
            number: local.judge.number(),
            ends: local.outstanding.ends.get(),
        }
    }

    /// The next line, and its number.
    pub(super) fn line(&self, what: &Publishes) -> (u64, Vec<u8>) {
        let number = self.local.judge.number();
        let urgent = is_urgent(number);
        self.local.judge.sends(number, self.number, (&what.topic, what.qos, urgent));
        (number, line(number, urgent, what))
    }

    pub(super) async fn say(&mut self, line: &[u8], what: Option<u64>) -> io::Result<()> {
        self.owed.push_back(what);
        let answers = &self.local.outstanding.answers;
        answers.set(answers.get() + 1);
        self.lines.write_all(line).await
    }

    /// The next answer. `false`: the connection has ended.
    pub(super) async fn hear(&mut self) -> io::Result<bool> {
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
            self.is_crowded = true;
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
                if said == "shutting_down" {
                    let (local, ends) = (self.local.clone(), self.ends);
                    drop(spawn_local(async move { local.ends_soon(ends, "a line was answered shutting_down").await }));
                }
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
        let mut conversation = Conversation::begin(&local).await;
        // A connection that ends has said why to nobody: what was owed on it is unknown to the program.
        let _ = converse(&mut conversation, &what, &mut left, &mut rng).await;
        let reads = !matches!(what.habit, Habit::Leaves | Habit::Deaf(_));
        if reads && !conversation.is_crowded && !conversation.owed.is_empty() {
            let what = format!("{} answers were owed on a connection that was closed", conversation.owed.len());
            let (local, ends) = (local.clone(), conversation.ends);
            drop(spawn_local(async move { local.ends_soon(ends, &what).await }));
        }
        drop(conversation);
        sleep(Duration::from_millis(rng.u64(1..1000))).await;
    }
    outstanding.publishers.set(outstanding.publishers.get() - 1);
}

async fn converse(
    conversation: &mut Conversation<'_>,
    what: &Publishes,
    left: &mut u32,
    rng: &mut Rng,
) -> io::Result<()> {
    let local = conversation.local;
    while *left > 0 && !local.outstanding.is_over.get() {
        let batch = what.at_once.min(*left);
        for _ in 0..batch {
            *left -= 1;
            let (number, line) = conversation.line(what);
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

/// Whether the line of this number is urgent: one of nine.
fn is_urgent(number: u64) -> bool {
    number % 9 == 4
}

fn line(number: u64, urgent: bool, what: &Publishes) -> Vec<u8> {
    let filler = "x".repeat(what.size);
    let Publishes { topic, qos, .. } = what;
    let urgent = if urgent { ",\"urgent\":true" } else { "" };
    let payload = format!("{{\\\"n\\\":{number},\\\"x\\\":\\\"{filler}\\\"}}");
    format!("{{\"topic\":\"{topic}\",\"payload\":\"{payload}\",\"qos\":{qos},\"id\":{number}{urgent}}}\n").into_bytes()
}
