//! Actions that root runs: the daemon, which has no privilege, asks `gatewire act` for them by their name.
//!
//! systemd starts that for each connection to `gatewire-action.socket`. It reads root's configuration itself and checks again, so that
//! this side can only ask for what root has listed.

pub(crate) mod wire;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::StreamExt as _;
use tokio_util::codec::{FramedRead, LinesCodec};

use super::{Done, ExecutionId, How, Invocation, ProgramEnd};
use crate::owner;
use wire::{Answer, MAX_LINE, Request, RunRequest};

/// Where systemd listens for the helper (`gatewire-action.socket`).
pub(crate) const SOCKET: &str = "/run/gatewire-action.sock";

/// For systemd to take the connection, and for the helper to start: it reads a configuration from an SD card.
const UNTIL_HEARD: Duration = Duration::from_secs(60);

/// From the end of what an action, or its being ended, may take until the helper counts as one that hangs.
const SLACK: Duration = Duration::from_secs(60);

/// Where the helper is asked.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    socket: PathBuf,
}

impl Default for Root {
    fn default() -> Root {
        Root { socket: SOCKET.into() }
    }
}

/// A helper that was asked.
struct Conversation {
    answers: FramedRead<OwnedReadHalf, LinesCodec>,
    requests: OwnedWriteHalf,
}

/// Why there is no answer.
enum Silence {
    /// The connection was closed, or what came is no answer.
    Broken(String),
    /// Nothing was said for too long.
    TimedOut,
}

impl Root {
    #[cfg(test)]
    /// With a socket of somebody else's.
    pub(crate) fn at(socket: &Path) -> Root {
        Root { socket: socket.to_owned() }
    }

    /// Whether there is something to ask, as far as that can be seen.
    pub(crate) fn is_there(&self) -> bool {
        self.socket.exists()
    }

    /// As [`process::run`](super::process::run), by root. `download` is the file that was downloaded for the action.
    ///
    /// If the helper dies, what it has left running is ended before this returns, unless the action goes on by design
    /// (`done = "after-boot"` and `"after-restart"`). Dropping this future has the helper end the action, with the same exception.
    pub(crate) async fn run(
        &self,
        invocation: &Invocation,
        execution: &ExecutionId,
        download: Option<&Path>,
        cancelled: impl Future<Output = ()>,
    ) -> ProgramEnd {
        let request = Request::Run(RunRequest {
            action: invocation.action().name.clone(),
            arguments: invocation.arguments().to_vec(),
            execution: execution.clone(),
            download: download.map(Path::to_owned),
        });
        let mut conversation = match self.ask(&request).await {
            Ok(conversation) => conversation,
            Err(why) => return ProgramEnd::silently(How::NotStarted(why)),
        };
        let limit = invocation.action().timeout;
        let mut ended = conversation.until_the_end(limit, cancelled).await;
        drop(conversation);
        if let (How::Lost(why), Done::Exit) = (&mut ended.how, invocation.action().done)
            && let Err(left) = self.end_leftover(execution).await
        {
            *why = format!("{why}; what it may have left running can't be ended: {left}");
        }
        ended
    }

    /// Ends what a helper that is gone, or a daemon that was killed, has left running of an execution. Returns once nothing of it is
    /// left.
    ///
    /// # Errors
    /// The helper can't be asked, or something can't be ended.
    pub(crate) async fn end_leftover(&self, execution: &ExecutionId) -> Result<(), String> {
        let mut conversation = self.ask(&Request::EndLeftover(execution.clone())).await?;
        // Another action may be run before, for as long as it takes: then it is said again and again that this one waits.
        loop {
            match conversation.next(Instant::now() + UNTIL_HEARD).await {
                Ok(Answer::Gone) => return Ok(()),
                Ok(Answer::Refused(why)) => return Err(why),
                Ok(Answer::Waiting | Answer::Started) => {}
                Ok(Answer::Ended(_)) => return Err("gatewire act answers another question".to_owned()),
                Err(silence) => return Err(silence.to_string()),
            }
        }
    }

    async fn ask(&self, request: &Request) -> Result<Conversation, String> {
        let asked = async {
            let (answers, mut requests) = UnixStream::connect(&self.socket).await?.into_split();
            requests.write_all(request.line().as_bytes()).await?;
            Ok(Conversation { answers: FramedRead::new(answers, LinesCodec::new_with_max_length(MAX_LINE)), requests })
        };
        match timeout(UNTIL_HEARD, asked).await {
            Ok(asked) => asked.map_err(|error| self.why_not(&error)),
            Err(_) => Err(self.why_not(&ErrorKind::TimedOut.into())),
        }
    }

    /// Why it can't be asked, and what to do.
    fn why_not(&self, error: &io::Error) -> String {
        let shown = self.socket.display();
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => format!(
                "actions with `as = \"root\"` need gatewire-action.socket, which isn't running ({shown}); \
                 `sudo systemctl enable --now gatewire-action.socket` starts it"
            ),
            ErrorKind::PermissionDenied => format!(
                "the user {} may not ask for actions of root at {shown}: gatewire-action.socket is for the user gatewire",
                owner::own_name()
            ),
            _ => format!(
                "gatewire-action.socket ({shown}) can't be asked: {error}; see `journalctl -u gatewire-action.socket`"
            ),
        }
    }
}

impl Conversation {
    async fn next(&mut self, deadline: Instant) -> Result<Answer, Silence> {
        tokio::select! {
            biased;
            line = self.answers.next() => match line {
                Some(Ok(line)) => Answer::read(&line).ok_or_else(|| Silence::Broken("it answers what nobody knows".to_owned())),
                Some(Err(error)) => Err(Silence::Broken(error.to_string())),
                None => Err(Silence::Broken("it has closed the connection".to_owned())),
            },
            () = sleep_until(deadline) => Err(Silence::TimedOut),
        }
    }

    /// `limit` is what the action may take.
    async fn until_the_end(&mut self, limit: Duration, cancelled: impl Future<Output = ()>) -> ProgramEnd {
        let mut cancelled = std::pin::pin!(cancelled);
        let mut deadline = Instant::now() + UNTIL_HEARD;
        let mut was_cancelled = false;
        loop {
            let answer = tokio::select! {
                biased;
                answer = self.next(deadline) => answer,
                () = &mut cancelled, if !was_cancelled => {
                    was_cancelled = true;
                    // If it is gone, the next answer says so.
                    let _ = self.requests.write_all(Request::Cancel.line().as_bytes()).await;
                    deadline = Instant::now() + SLACK;
                    continue;
                }
            };
            match answer {
                Ok(Answer::Waiting) if !was_cancelled => deadline = Instant::now() + UNTIL_HEARD,
                Ok(Answer::Started) if !was_cancelled => deadline = Instant::now() + limit + SLACK,
                Ok(Answer::Waiting | Answer::Started) => {}
                Ok(Answer::Ended(ended)) => return ended,
                Ok(Answer::Refused(why)) => return ProgramEnd::silently(How::NotStarted(why)),
                Ok(Answer::Gone) => {
                    return ProgramEnd::silently(How::Lost("gatewire act answers another question".to_owned()));
                }
                Err(silence) => return ProgramEnd::silently(How::Lost(silence.to_string())),
            }
        }
    }
}

impl std::fmt::Display for Silence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self {
            Silence::Broken(why) => why,
            Silence::TimedOut => "it doesn't answer in time",
        };
        write!(f, "gatewire act, which runs it as root, is gone: {what}; see `journalctl -u 'gatewire-action@*'`")
    }
}

#[cfg(test)]
mod tests;
