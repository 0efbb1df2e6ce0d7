//! The daemon at the other end, as `gatewire act` sees it.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::libc::SIGTERM;
use signal_hook_tokio::Signals;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::StreamExt as _;
use tokio_util::codec::{FramedRead, LinesCodec};

use super::turn::Turn;
use crate::actions::Done;
use crate::actions::root::wire::{Answer, MAX_LINE, Request};
use crate::printable::printable;

/// For who asked to take an answer.
const UNTIL_TAKEN: Duration = Duration::from_secs(10);

/// Between two looks whether it is our turn, and between two times that it is said that it isn't.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
const BETWEEN_WORDS: Duration = Duration::from_secs(15);

/// Who asked, and systemd, which may tell us to stop.
pub(super) struct Asked {
    requests: FramedRead<OwnedReadHalf, LinesCodec>,
    answers: OwnedWriteHalf,
    signals: Signals,
}

/// What comes between an action and its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Interruption {
    /// It is to be ended.
    End,
    /// It is to go on without this process.
    Leave,
}

impl Asked {
    pub(super) fn by(connection: UnixStream) -> io::Result<Asked> {
        let signals = Signals::new([SIGTERM])?;
        let (requests, answers) = connection.into_split();
        let requests = FramedRead::new(requests, LinesCodec::new_with_max_length(MAX_LINE));
        Ok(Asked { requests, answers, signals })
    }

    /// The first line.
    pub(super) async fn request(&mut self) -> Result<Request, String> {
        match self.requests.next().await {
            Some(Ok(line)) => Request::read(&line)
                .map_err(|error| format!("the request can't be used: {}", printable(&error.to_string()))),
            Some(Err(error)) => Err(format!("the request can't be read: {error}")),
            None => Err("the connection was closed without a request".to_owned()),
        }
    }

    /// Says it. Who doesn't want to hear it needn't.
    pub(super) async fn answer(&mut self, answer: &Answer) {
        let _ = timeout(UNTIL_TAKEN, self.answers.write_all(answer.line().as_bytes())).await;
    }

    /// Waits until no other action is run, and says that it waits. `None`: nobody wants that any more.
    pub(super) async fn turn(&mut self, lock: &Path) -> Option<io::Result<Turn>> {
        let Asked { requests, answers, signals } = self;
        let take = async {
            let turn = Turn::at(lock)?;
            let mut say_at = Instant::now();
            while !turn.take()? {
                if say_at <= Instant::now() {
                    let _ = timeout(UNTIL_TAKEN, answers.write_all(Answer::Waiting.line().as_bytes())).await;
                    say_at = Instant::now() + BETWEEN_WORDS;
                }
                sleep(BETWEEN_LOOKS).await;
            }
            Ok(turn)
        };
        tokio::select! {
            biased;
            _ = interrupted(requests, signals, Done::Exit) => None,
            turn = take => Some(turn),
        }
    }

    /// Completes when it is cancelled, who asked is gone, or systemd says so.
    pub(super) async fn interrupted(&mut self, done: Done) -> Interruption {
        interrupted(&mut self.requests, &mut self.signals, done).await
    }
}

/// What is done only once the machine or the daemon has started anew isn't ended with the daemon, nor with this process: it may be what
/// ends them. Anything else mustn't go on without somebody who waits for it.
async fn interrupted(
    requests: &mut FramedRead<OwnedReadHalf, LinesCodec>,
    signals: &mut Signals,
    done: Done,
) -> Interruption {
    let goes_on = done != Done::Exit;
    let cancelled = async {
        loop {
            match requests.next().await {
                Some(Ok(line)) if matches!(Request::read(&line), Ok(Request::Cancel)) => return,
                // Anything else is no longer for us.
                Some(Ok(_)) => {}
                Some(Err(_)) | None if goes_on => std::future::pending().await,
                Some(Err(_)) | None => return,
            }
        }
    };
    tokio::select! {
        biased;
        _ = signals.next() => if goes_on { Interruption::Leave } else { Interruption::End },
        () = cancelled => Interruption::End,
    }
}
