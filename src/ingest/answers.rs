//! The answers owed to one client, in the order of its lines.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::line::Reject;
use crate::outbox::{Outcome, Refusal};
use crate::socket::append_string;

/// The most lines of a client without an answer.
const MAX_WAITING: usize = 1000;

/// The most bytes of answers (and of ids that wait for theirs) of a client, give or take one.
const MAX_BYTES: usize = 128 * 1024;

/// Bytes of an answer besides its id, roughly.
const ANSWER: usize = 64;

/// An answer that isn't known yet, or comes after one that isn't.
#[derive(Debug)]
struct Owed {
    /// The `id` as it came: JSON text.
    id: Option<Box<str>>,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Waiting(oneshot::Receiver<Outcome>),
    Rejected(Reject),
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
        self.owed.len() < MAX_WAITING && self.owed_bytes + self.ready.len() < MAX_BYTES
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
            self.ready.shrink_to(MAX_BYTES / 16);
        }
    }

    /// The answer to a line comes when the outcome is known.
    pub(super) fn wait_for(&mut self, id: Option<&str>, outcome: oneshot::Receiver<Outcome>) {
        self.owe(id, Answer::Waiting(outcome));
    }

    /// The answer to a line is known.
    pub(super) fn reject(&mut self, id: Option<&str>, reject: Reject) {
        if self.owed.is_empty() {
            self.append(id, Err(&reject));
        } else {
            self.owe(id, Answer::Rejected(reject));
        }
    }

    fn owe(&mut self, id: Option<&str>, answer: Answer) {
        if self.unheard {
            return;
        }
        self.owed_bytes += owed_bytes(id);
        self.owed.push_back(Owed { id: id.map(Into::into), answer });
    }

    /// Makes ready what is known, as far as the order allows. Ready when that is anything.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let before = self.owed.len();
        while self.ready.len() < MAX_BYTES
            && let Some(Owed { id, answer }) = self.owed.pop_front()
        {
            let result = match answer {
                Answer::Rejected(reject) => Err(reject),
                Answer::Waiting(mut outcome) => match Pin::new(&mut outcome).poll(cx) {
                    Poll::Ready(outcome) => result_of(outcome),
                    Poll::Pending => {
                        self.owed.push_front(Owed { id, answer: Answer::Waiting(outcome) });
                        break;
                    }
                },
            };
            self.owed_bytes -= owed_bytes(id.as_deref());
            self.append(id.as_deref(), result.as_ref().copied());
        }
        if self.owed.len() < before { Poll::Ready(()) } else { Poll::Pending }
    }

    fn append(&mut self, id: Option<&str>, result: Result<&str, &Reject>) {
        if self.unheard {
            return;
        }
        let out = &mut self.ready;
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
}

fn result_of(outcome: Result<Outcome, oneshot::error::RecvError>) -> Result<&'static str, Reject> {
    match outcome {
        Ok(Outcome::Delivered) => Ok("delivered"),
        Ok(Outcome::Stored) => Ok("stored"),
        Ok(Outcome::Sent) => Ok("sent"),
        Ok(Outcome::Refused(refusal)) => Err(refusal.into()),
        // The outbox is gone, and with it the message.
        Err(_) => Err(Refusal::ShuttingDown.into()),
    }
}

fn owed_bytes(id: Option<&str>) -> usize {
    ANSWER + id.map_or(0, str::len)
}

#[cfg(test)]
mod tests;
