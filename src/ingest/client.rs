//! The task of one client of an ingest socket.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::rc::Rc;

use super::Ingest;
use super::LastTopic;
use super::answers::Answers;
use super::line::{Reject, parse};
use crate::socket::{Line, Lines, Stream};

/// Which lines of a client were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    All,
    /// More answers are owed than there may be.
    AnswersFull,
    /// Memory is full of messages on their way to the disk.
    OutboxBusy,
}

/// A client and its connection. Dropping it loses its answers, not its messages.
pub(super) struct Client {
    ingest: Rc<Ingest>,
    stream: Stream,
    lines: Lines,
    answers: Answers,
    last_topic: Option<LastTopic>,
    /// More may come from the client.
    reading: bool,
    /// The socket takes no more answers at the moment.
    blocked: bool,
    /// Counted in [`Ingest::settled`].
    owing: bool,
}

impl Client {
    pub(super) fn new(ingest: Rc<Ingest>, stream: Stream) -> Client {
        Client {
            ingest,
            stream,
            lines: Lines::default(),
            answers: Answers::default(),
            last_topic: None,
            reading: true,
            blocked: false,
            owing: false,
        }
    }

    /// Serves the client until it has sent everything and has every answer, or has gone.
    pub(super) async fn run(mut self) {
        if let Err(error) = self.serve().await {
            log::debug!("ingest `{}`: a client has gone: {error}", self.ingest.name);
        }
    }

    async fn serve(&mut self) -> io::Result<()> {
        loop {
            let taken = self.take_lines();
            self.write();
            self.owe(!self.answers.are_empty());
            let room = taken == Taken::All;
            if !self.reading && room && self.answers.are_empty() {
                return Ok(());
            }
            self.stream.watch_writes(self.blocked)?;
            tokio::select! {
                biased;
                () = poll_fn(|cx| self.answers.poll_ready(cx)) => {}
                () = self.ingest.outbox.eased(), if taken == Taken::OutboxBusy => {}
                ready = self.stream.writable(), if self.blocked => {
                    ready?;
                    self.blocked = false;
                }
                // Without room its lines stay in the socket: a client that doesn't wait for answers waits here.
                ready = self.stream.readable(), if self.reading && room => {
                    ready?;
                    self.read();
                }
            }
        }
    }

    /// Takes the lines that are complete, as far as there is room for their messages and their answers.
    fn take_lines(&mut self) -> Taken {
        let Client { ingest, lines, answers, last_topic, .. } = self;
        while answers.have_room() {
            if !ingest.outbox.has_room() {
                return Taken::OutboxBusy;
            }
            let (id, request) = match lines.next() {
                Some(Line::Text(line)) => parse(line),
                Some(Line::TooLong) => (None, Err(Reject::LineTooLong)),
                Some(Line::NotUtf8) => (None, Err(Reject::NotUtf8)),
                None => return Taken::All,
            };
            match request.and_then(|request| ingest.accept(request, last_topic)) {
                Ok(outcome) => answers.wait_for(id, outcome),
                Err(reject) => {
                    ingest.count(&reject);
                    answers.reject(id, reject);
                }
            }
        }
        Taken::AnswersFull
    }

    /// Reads what is there. A client that has closed the connection gets no answers, but all it sent before is taken.
    fn read(&mut self) {
        let mut scratch = self.ingest.scratch.borrow_mut();
        match self.stream.try_read(&mut scratch) {
            Ok(Some(n)) if n > 0 => self.lines.push(&scratch[..n]),
            Ok(None) => {}
            Ok(_) => {
                self.reading = false;
                self.lines.end();
                if self.stream.is_closed() {
                    self.answers.forget();
                }
            }
            Err(_) => {
                self.reading = false;
                self.answers.forget();
            }
        }
    }

    /// Writes the answers that are ready. To a client that reads none it isn't an error: it may still be sending.
    fn write(&mut self) {
        while !self.answers.ready().is_empty() && !self.blocked {
            match self.stream.try_write(&[IoSlice::new(self.answers.ready())]) {
                Ok(Some(n)) => self.answers.wrote(n),
                Ok(None) => self.blocked = true,
                Err(_) => self.answers.forget(),
            }
        }
    }

    /// Whether answers are owed to this client.
    fn owe(&mut self, owing: bool) {
        if owing == std::mem::replace(&mut self.owing, owing) {
            return;
        }
        let count = self.ingest.owing.get();
        self.ingest.owing.set(if owing { count + 1 } else { count - 1 });
        self.ingest.settled.notify_waiters();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.owe(false);
    }
}
