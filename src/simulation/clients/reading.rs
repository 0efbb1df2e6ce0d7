//! Programs that read.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::{Local, connect};
use crate::simulation::judge::number_in;
use crate::time;

/// Once a disk is in order again, what has failed was tried again within this.
pub(in crate::simulation) const MENDED: Duration = Duration::from_secs(60);

/// How a program that reads behaves.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::simulation) struct Reads {
    pub(in crate::simulation) forward: &'static str,
    pub(in crate::simulation) acknowledges: bool,
    /// It only watches, and says so after so long.
    pub(in crate::simulation) observes: Option<Duration>,
    /// Between two lines.
    pub(in crate::simulation) pause: Duration,
    /// So many of a hundred messages it doesn't acknowledge.
    pub(in crate::simulation) forgets: u8,
    /// It leaves after so many lines.
    pub(in crate::simulation) lines: u32,
    pub(in crate::simulation) stays: Duration,
    /// So often it comes.
    pub(in crate::simulation) times: u32,
}

/// Reads until it has had enough.
pub(in crate::simulation) async fn read(local: Local, what: Reads) {
    let path = local.directory.join(format!("{}.sock", what.forward));
    for _ in 0..what.times {
        read_for_a_while(&local, &what, &path).await;
    }
}

async fn read_for_a_while(local: &Local, what: &Reads, path: &Path) {
    let mut left = what.lines;
    let reading = async {
        while left > 0 {
            if read_once(local, what, path, &mut left).await.is_err() {
                sleep(Duration::from_millis(300)).await;
            }
        }
    };
    let _ = timeout(what.stays, reading).await;
}

async fn read_once(local: &Local, what: &Reads, path: &Path, left: &mut u32) -> io::Result<()> {
    let stream = connect(path).await;
    let mut reader = Reader {
        local,
        what,
        stream,
        observes_since: None,
        connection: local.judge.number(),
        since: time::now(),
        buffer: Vec::new(),
    };
    if let Some(after) = what.observes {
        sleep(after).await;
        reader.stream.write_all(b"{\"observe\":true}\n").await?;
        reader.observes_since = Some(time::now());
    }
    while *left > 0 {
        let mut piece = [0; 4096];
        let n = reader.stream.read(&mut piece).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reader.buffer.extend_from_slice(&piece[..n]);
        while let Some((id, got)) = reader.take_line() {
            *left = left.saturating_sub(1);
            if what.acknowledges && what.observes.is_none() && !reader.forgets(id) {
                sleep(what.pause / 2).await;
                reader.stream.write_all(format!("{{\"ack\":{id}}}\n").as_bytes()).await?;
            }
            reader.has(got, !what.acknowledges || !reader.forgets(id));
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
    /// When it has said so. One that leaves before is a reader.
    observes_since: Option<Instant>,
    /// A number that no other connection has, and when it was made.
    connection: u64,
    since: Instant,
    buffer: Vec<u8>,
}

/// A message of ours, by its number, and whether it was marked as one that may have come before.
#[derive(Clone, Copy)]
struct Got {
    number: u64,
    is_duplicate: bool,
}

impl Reader<'_> {
    /// It has got a message; for good, or it is to come again.
    fn has(&self, got: Option<Got>, for_good: bool) {
        let Some(Got { number, is_duplicate }) = got else { return };
        let (judge, forward) = (&self.local.judge, self.what.forward);
        if let Some(at) = self.observes_since {
            return judge.observers.got(forward, number, (self.since, at));
        }
        // What waits isn't held back for a disk that doesn't take the note of what is given (docs/durability.md). A slow reader has lines
        // that were written to it at any time of its connection.
        if !is_duplicate && self.local.disk.is_in_order_for(MENDED.max(time::since(self.since))) {
            judge.received_as_new(forward, number, (self.connection, self.since));
        }
        if for_good {
            judge.received(forward, number);
            judge.note(format!("{forward} got {number}"));
        }
    }

    /// Whether it is one that it doesn't acknowledge.
    fn forgets(&self, id: u64) -> bool {
        id % 100 < self.what.forgets.into()
    }

    /// The next line that is whole: its id, and which of our messages it holds. The rest waits: it may be dropped in between.
    fn take_line(&mut self) -> Option<(u64, Option<Got>)> {
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        let message = serde_json::from_slice::<Value>(&line).unwrap_or_default();
        let Some(id) = message["id"].as_u64() else {
            let line = String::from_utf8_lossy(&line);
            self.local.judge.violated(format!("a line for readers without an id: {line:?}"));
            return None;
        };
        let number = message["payload"].as_str().and_then(|payload| number_in(payload.as_bytes()));
        let is_duplicate = message["duplicate"] == Value::Bool(true);
        Some((id, number.map(|number| Got { number, is_duplicate })))
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut piece = [0; 4096];
        while let Ok(n @ 1..) = self.stream.try_read(&mut piece) {
            self.buffer.extend_from_slice(&piece[..n]);
        }
        // With acknowledgements, what wasn't acknowledged is given to another.
        while let Some((_, got)) = self.take_line() {
            self.has(got, !self.what.acknowledges);
        }
    }
}
