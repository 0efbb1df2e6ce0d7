//! A conversation with one client of an ingest socket.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio::sync::oneshot;

use super::{Ingest, Refused, Taken};
use crate::outbox::Outcome;
use crate::socket::{BadLine, Client, Line, Lines};

/// Lines of one client that wait for their answer. Past it the client is read no further: it is its own brake.
const MAX_PENDING: usize = 1000;

/// Answers that a client hasn't read, in bytes. Past it, likewise.
const MAX_UNREAD: usize = 64 * 1024;

/// Lines taken at a time, before others have their turn.
const LINES_A_TURN: usize = 128;

/// One client, its lines, and the answers it is owed.
pub(super) struct Conversation {
    ingest: Rc<Ingest>,
    client: Client,
    lines: Lines,
    /// In the order of the lines.
    pending: VecDeque<Answer>,
    output: BytesMut,
    /// The client sends nothing more.
    ended: bool,
    /// Nor does it read.
    gone: bool,
}

struct Answer {
    id: Option<Box<str>>,
    taken: Taken,
}

impl Conversation {
    pub(super) fn new(ingest: Rc<Ingest>, client: Client) -> Conversation {
        Conversation {
            ingest,
            client,
            lines: Lines::default(),
            pending: VecDeque::new(),
            output: BytesMut::new(),
            ended: false,
            gone: false,
        }
    }

    /// Until the client goes, or has ended its side and has every answer. Messages it handed over go out all the same.
    pub(super) async fn run(mut self) {
        if let Err(error) = poll_fn(|cx| self.poll(cx)).await {
            log::debug!("ingest {}: a client has gone: {error}", self.ingest.config.name);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.settle(cx);
            let blocked = self.write(cx)?.is_pending();
            if self.gone || (self.ended && self.pending.is_empty() && self.output.is_empty()) {
                return Poll::Ready(Ok(()));
            }
            let full = self.pending.len() >= MAX_PENDING || (blocked && self.output.len() >= MAX_UNREAD);
            if full || self.ended {
                return Poll::Pending;
            }
            match self.take_lines() {
                // Give others their turn, then go on here.
                LINES_A_TURN => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                0 if self.read(cx)?.is_pending() => return Poll::Pending,
                _ => {}
            }
        }
    }

    /// Takes what whole lines there are; returns how many.
    fn take_lines(&mut self) -> usize {
        let room = LINES_A_TURN.min(MAX_PENDING - self.pending.len());
        let mut taken = 0;
        while taken < room
            && let Some(line) = self.lines.next()
        {
            self.take(&line);
            taken += 1;
        }
        taken
    }

    fn take(&mut self, line: &Result<Line, BadLine>) {
        let (id, taken) = self.ingest.take(line);
        self.pending.push_back(Answer { id, taken });
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buffer = [0; 16 * 1024];
        let n = std::task::ready!(self.client.poll_read(cx, &mut buffer))?;
        if n == 0 {
            self.ended = true;
            self.gone = self.client.has_gone();
            if let Some(line) = self.lines.end() {
                self.take(&line);
            }
        } else {
            self.lines.push(&buffer[..n]);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the answers that are known, as far as they are in order.
    fn settle(&mut self, cx: &mut Context<'_>) {
        while let Some(Answer { taken, .. }) = self.pending.front_mut() {
            let known = match taken {
                Taken::Refused(_) => None,
                Taken::Pending(outcome) => match Pin::new(outcome).poll(cx) {
                    Poll::Pending => return,
                    Poll::Ready(outcome) => Some(result(&self.ingest, outcome)),
                },
            };
            let Some(Answer { id, taken }) = self.pending.pop_front() else { return };
            let settled = match (known, taken) {
                (Some(settled), _) => settled,
                (None, Taken::Refused(refused)) => Err(refused),
                (None, Taken::Pending(_)) => return,
            };
            write_answer(id.as_deref(), &settled, &mut self.output);
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        while !self.output.is_empty() {
            match self.client.poll_write(cx, &[IoSlice::new(&self.output)])? {
                Poll::Ready(n) => self.output.advance(n),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        Ok(Poll::Ready(()))
    }
}

/// The word for an outcome, or why there is none.
fn result(ingest: &Ingest, outcome: Result<Outcome, oneshot::error::RecvError>) -> Result<&'static str, Refused> {
    match outcome {
        Ok(Outcome::Delivered) => Ok("delivered"),
        Ok(Outcome::Sent) => Ok("sent"),
        Ok(Outcome::Refused(refusal)) => {
            let refused = Refused::from(&refusal);
            ingest.count(refused.code);
            Err(refused)
        }
        // The outbox is gone: the daemon is as good as stopped.
        Err(_) => Err(Refused::from(&crate::outbox::Refusal::ShuttingDown)),
    }
}

fn write_answer(id: Option<&str>, settled: &Result<&'static str, Refused>, output: &mut BytesMut) {
    output.put_slice(b"{");
    if let Some(id) = id {
        output.put_slice(b"\"id\":");
        output.put_slice(id.as_bytes());
        output.put_slice(b",");
    }
    // Writing to memory can't fail.
    match settled {
        Ok(word) => {
            output.put_slice(b"\"result\":\"");
            output.put_slice(word.as_bytes());
            output.put_slice(b"\"}\n");
        }
        Err(refused) => {
            output.put_slice(b"\"error\":");
            let _ = serde_json::to_writer((&mut *output).writer(), &refused.code);
            output.put_slice(b",\"detail\":");
            let _ = serde_json::to_writer((&mut *output).writer(), &refused.detail);
            output.put_slice(b"}\n");
        }
    }
}
