//! The answers owed to one client, in the order of its lines.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::line::Reject;
use crate::outbox::{MessageOutcome, Refusal};
use crate::socket::append_string;

/// The most lines of a client without an answer.
const MAX_WAITING: usize = 1000;

/// The most bytes of answers to write, give or take one.
const MAX_READY: usize = 16 * 1024;

/// The most bytes of answers that aren't known or come after one that isn't, give or take one.
const MAX_OWED: usize = 128 * 1024;

/// Bytes of an answer besides its id, roughly.
const ANSWER: usize = 64;

/// An answer that isn't known yet, or comes after one that isn't.
#[derive(Debug)]
enum Owed {
    /// The `id` as it came: JSON text.
    Waiting {
        id: Option<Box<str>>,
        outcome: oneshot::Receiver<MessageOutcome>,
    },
    Known(Box<[u8]>),
}

impl Owed {
    fn bytes(&self) -> usize {
        ANSWER
            + match self {
                Owed::Waiting { id, .. } => id.as_ref().map_or(0, |id| id.len()),
                Owed::Known(line) => line.len(),
            }
    }
}

/// Answers on their way to a client.
#[derive(Debug, Default)]
pub(super) struct Answers {
    owed: VecDeque<Owed>,
    /// Bytes of `owed`.
    owed_bytes: usize,
    /// Answers to write.
    ready: Vec<u8>,
    /// The client doesn't read: answers are thrown away.
    unheard: bool,
}

impl Answers {
    /// Whether another line may be taken.
    pub(super) fn have_room(&self) -> bool {
        self.owed.len() < MAX_WAITING && self.owed_bytes < MAX_OWED && self.ready.len() < MAX_READY
    }

    /// Every answer is known and written.
    pub(super) fn are_empty(&self) -> bool {
        self.owed.is_empty() && self.ready.is_empty()
    }

    /// Nobody reads answers any more: those that are owed and those to come are dropped.
    pub(super) fn forget(&mut self) {
        *self = Answers { unheard: true, ..Answers::default() };
    }

    /// Answers to write.
    pub(super) fn ready(&self) -> &[u8] {
        &self.ready
    }

    /// Of the answers to write, `n` bytes were written.
    pub(super) fn wrote(&mut self, n: usize) {
        self.ready.drain(..n);
        if self.ready.is_empty() {
            self.ready.shrink_to(MAX_READY / 4);
        }
    }

    /// The answer to a line comes when the outcome is known.
    pub(super) fn wait_for(&mut self, id: Option<&str>, outcome: oneshot::Receiver<MessageOutcome>) {
        self.owe(Owed::Waiting { id: id.map(Into::into), outcome });
    }

    /// The answer to a line is known.
    pub(super) fn reject(&mut self, id: Option<&str>, reject: &Reject) {
        if self.owed.is_empty() && !self.unheard {
            append(&mut self.ready, id, Err(reject));
        } else {
            let mut line = Vec::new();
            append(&mut line, id, Err(reject));
            self.owe(Owed::Known(line.into()));
        }
    }

    fn owe(&mut self, owed: Owed) {
        if !self.unheard {
            self.owed_bytes += owed.bytes();
            self.owed.push_back(owed);
        }
    }

    /// Makes ready what is known, as far as the order allows. Ready when that is anything.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let before = self.owed.len();
        while self.ready.len() < MAX_READY
            && let Some(owed) = self.owed.front_mut()
        {
            let bytes = owed.bytes();
            match owed {
                Owed::Known(line) => self.ready.extend_from_slice(line),
                Owed::Waiting { id, outcome } => match Pin::new(outcome).poll(cx) {
                    Poll::Ready(outcome) => {
                        let result = result_of(outcome);
                        append(&mut self.ready, id.as_deref(), result.as_ref().copied());
                    }
                    Poll::Pending => break,
                },
            }
            self.owed_bytes -= bytes;
            self.owed.pop_front();
        }
        if self.owed.is_empty() {
            self.owed.shrink_to(64);
        }
        if self.owed.len() < before { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Appends an answer.
fn append(out: &mut Vec<u8>, id: Option<&str>, result: Result<&str, &Reject>) {
    out.push(b'{');
    if let Some(id) = id {
        out.extend_from_slice(b"\"id\":");
        out.extend_from_slice(id.as_bytes());
        out.push(b',');
    }
    match result {
        Ok(result) => {
            out.extend_from_slice(b"\"result\":\"");
            out.extend_from_slice(result.as_bytes());
            out.extend_from_slice(b"\"}\n");
        }
        Err(reject) => {
            out.extend_from_slice(b"\"error\":\"");
            out.extend_from_slice(reject.code().as_str().as_bytes());
            out.extend_from_slice(b"\",\"detail\":");
            append_string(out, &reject.to_string());
            out.extend_from_slice(b"}\n");
        }
    }
}

fn result_of(outcome: Result<MessageOutcome, oneshot::error::RecvError>) -> Result<&'static str, Reject> {
    match outcome {
        Ok(MessageOutcome::Delivered) => Ok("delivered"),
        Ok(MessageOutcome::Stored) => Ok("stored"),
        Ok(MessageOutcome::Sent) => Ok("sent"),
        Ok(MessageOutcome::Refused(refusal)) => Err(refusal.into()),
        // The outbox is gone, and with it the message.
        Err(_) => Err(Refusal::ShuttingDown.into()),
    }
}

#[cfg(test)]
mod tests;
