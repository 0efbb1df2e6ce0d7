//! The task of one client of a forward socket.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::io::{self, IoSlice};
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Forward;
use super::queue::{ClientId, Due, MAX_WAIT, Queue, Role};
use super::requested::Denied;
use super::word::Word;
use crate::socket::{Line, Lines, Stream, append_string};
use crate::time;

/// How long nothing that waits is given to a client that hasn't said what it is; a reader need say nothing. One that says only
/// later that it is an observer has what it was given taken back ([`super::queue`]), so that nothing is decided by this but how
/// long a silent reader waits, and what a slow observer sees.
const UNDECIDED: Duration = Duration::from_millis(250);

/// The most bytes written before other tasks have their turn.
const TURN: usize = 256 * 1024;

/// With more answers than this unwritten, in bytes, nothing more is read from a client.
const MAX_ANSWERS: usize = 16 * 1024;

/// The longest line that a client may send, in bytes: what it may say needs less than a hundred.
const MAX_LINE: usize = 4 * 1024;

/// A client and its connection. Dropping it gives what it wasn't written back to the queue.
pub(super) struct Reader {
    forward: Rc<Forward>,
    id: ClientId,
    stream: Stream,
    lines: Lines,
    /// To bad lines, and what else it has to be told; written between two messages.
    answers: Vec<u8>,
    /// While some are unwritten: since when the client has read nothing.
    unread_since: Option<Instant>,
    /// It may still send something.
    reading: bool,
    /// It has sent a line.
    has_spoken: bool,
}

/// How writing has ended.
enum Wrote {
    /// All there is.
    All,
    /// The socket takes no more.
    Blocked,
    /// It is the turn of others.
    Enough,
    /// The client was cut.
    Cut,
}

impl Reader {
    pub(super) fn new(forward: Rc<Forward>, stream: Stream) -> Reader {
        let id = forward.queue.borrow_mut().attach(stream.is_observer(), time::now());
        Reader {
            forward,
            id,
            stream,
            lines: Lines::up_to(MAX_LINE),
            answers: Vec::new(),
            unread_since: None,
            reading: true,
            has_spoken: false,
        }
    }

    /// Serves the client until it has gone or is cut.
    pub(super) async fn run(mut self) {
        // How a client goes, orderly or not, is all the same.
        if let Err(error) = self.serve().await {
            log::debug!("forward `{}`: a client has gone: {error}", self.forward.name());
            self.hear_the_rest();
        }
    }

    async fn serve(&mut self) -> io::Result<()> {
        self.wait_for_hello().await?;
        loop {
            let more = self.answer();
            match self.write()? {
                Wrote::All if more => {}
                Wrote::All => self.idle().await?,
                Wrote::Blocked => self.blocked().await?,
                Wrote::Enough => tokio::task::yield_now().await,
                Wrote::Cut => return Ok(()),
            }
        }
    }

    /// What a client has said before it went counts, though it was writing to it that told of its end: that it is an observer, or what
    /// it acknowledges. That is no more than the kernel has held for it.
    fn hear_the_rest(&mut self) {
        loop {
            while self.answer() {
                self.answers.clear();
            }
            let mut buffer = [0; 1024];
            match self.stream.try_read(&mut buffer) {
                Ok(Some(n @ 1..)) if self.reading => self.lines.push(&buffer[..n]),
                _ => return,
            }
        }
    }

    /// Waits for the first line, or until none has come for so long that this must be a reader.
    async fn wait_for_hello(&mut self) -> io::Result<()> {
        let mut patience = pin!(tokio::time::sleep(UNDECIDED));
        while self.role() == Some(Role::Undecided) {
            tokio::select! {
                biased;
                ready = self.stream.readable() => {
                    ready?;
                    self.read()?;
                    self.answer();
                }
                // More has come than may wait for that.
                () = self.forward.changed.notified() => {}
                () = &mut patience => self.decide(|queue, id, now| queue.presume_reader(id, now)),
            }
        }
        Ok(())
    }

    /// What it is; `None` once it was cut.
    fn role(&self) -> Option<Role> {
        self.forward.queue.borrow().role(self.id)
    }

    fn decide<T>(&mut self, decide: impl FnOnce(&mut Queue, ClientId, Instant) -> T) -> T {
        let decided = self.forward.change(|queue, now| decide(queue, self.id, now));
        self.forward.changed.notify_waiters();
        decided
    }

    fn confirm_reader(&mut self) {
        self.decide(|queue, id, now| queue.confirm_reader(id, now));
    }

    /// Everything is written: waits for more, or for a word from the client.
    async fn idle(&mut self) -> io::Result<()> {
        self.stream.watch_writes(false)?;
        let ready_at = self.forward.queue.borrow().keep().ready_at(time::now());
        tokio::select! {
            biased;
            () = until(ready_at), if ready_at.is_some() => {
                self.decide(|queue, _, now| queue.kept(now));
                Ok(())
            }
            () = self.forward.changed.notified() => Ok(()),
            ready = self.stream.readable(), if self.reading => ready.and_then(|()| self.read()),
            // It has nothing more to say, and is a reader until it doesn't listen any more, either.
            closed = self.stream.closed(), if !self.reading => {
                closed.and(Err(io::ErrorKind::BrokenPipe.into()))
            }
        }
    }

    /// The client takes nothing: waits until it does, but not for ever.
    async fn blocked(&mut self) -> io::Result<()> {
        self.stream.watch_writes(true)?;
        let (timeout, is_behind) = {
            let queue = self.forward.queue.borrow();
            (queue.timeout(self.id), queue.holds_back(self.id))
        };
        let unread_until = self.unread_since.map(|since| since + MAX_WAIT);
        let timeout = [timeout, unread_until].into_iter().flatten().min();
        let may_read = self.reading && self.answers.len() < MAX_ANSWERS;
        tokio::select! {
            biased;
            ready = self.stream.writable() => ready,
            () = self.forward.cut.notified() => Ok(()),
            ready = self.stream.readable(), if may_read => ready.and_then(|()| self.read()),
            () = until(timeout), if timeout.is_some() => {
                self.forward.change(|queue, now| {
                    queue.handle_timeout(self.id, now);
                    if unread_until.is_some_and(|until| now >= until) {
                        queue.cut_for_answers(self.id, self.answers.len(), now);
                    }
                });
                Ok(())
            }
            // A line that comes now is due on the disk long before this client is given up.
            () = self.forward.changed.notified(), if !is_behind => Ok(()),
        }
    }

    /// Reads what the client has sent. An error if it has closed the connection.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 1024];
        match self.stream.try_read(&mut buffer)? {
            Some(0) if self.stream.is_closed() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(0) => {
                self.reading = false;
                self.lines.end();
            }
            Some(n) => self.lines.push(&buffer[..n]),
            None => {}
        }
        Ok(())
    }

    /// Looks at the lines that have come. A client that has said something else than that it is an observer, or can't say
    /// anything any more, is a reader. Returns whether lines are left, to be looked at when the answers are written.
    fn answer(&mut self) -> bool {
        self.forward.take_told(self.id).iter().for_each(|denied| self.deny(denied));
        while self.answers.len() < MAX_ANSWERS
            && let Some(line) = self.lines.next()
        {
            let heard = match line {
                Line::Text(text) => Word::of(text, &self.forward).map_err(|wrong| bad_line(&wrong)),
                Line::TooLong => Err(bad_line("the line is longer than 4 KiB")),
                Line::NotUtf8 => Err(bad_line("the line isn't UTF-8")),
            };
            const { assert!(MAX_LINE == 4 * 1024) };
            let is_first = !std::mem::replace(&mut self.has_spoken, true);
            if let Err(denied) = heard.and_then(|word| self.heed(word, is_first)) {
                self.deny(&denied);
                self.confirm_reader();
            }
        }
        if !self.reading {
            self.confirm_reader();
        }
        self.answers.len() >= MAX_ANSWERS
    }

    fn deny(&mut self, denied: &Denied) {
        self.answers.extend_from_slice(format!("{{\"error\":\"{}\",\"detail\":", denied.code).as_bytes());
        append_string(&mut self.answers, &denied.detail);
        self.answers.extend_from_slice(b"}\n");
        self.unread_since.get_or_insert_with(time::now);
    }

    /// Does what a client has said, or returns why not.
    fn heed(&mut self, word: Word, is_first: bool) -> Result<(), Denied> {
        match word {
            Word::Subscribe(_) | Word::Unsubscribe(_) if self.role() == Some(Role::Observer) => {
                Err(bad_line("an observer can't subscribe: it sees what the readers of this socket get"))
            }
            Word::Subscribe(filters) => {
                self.confirm_reader();
                self.forward.subscribe(self.id, &filters)
            }
            Word::Unsubscribe(filters) => {
                self.confirm_reader();
                self.forward.unsubscribe(self.id, &filters)
            }
            Word::Observe(observes) => self.heed_observe(observes, is_first).map_err(bad_line),
            Word::Ack(id) => self.heed_ack(id).map_err(bad_line),
        }
    }

    fn heed_observe(&mut self, observes: bool, is_first: bool) -> Result<(), &'static str> {
        match observes {
            true if is_first => match self.decide(|queue, id, now| queue.observe(id, now)) {
                true => Ok(()),
                false => Err(
                    "{\"observe\":true} comes too late: this client was given 1 MiB before it sent anything, and is a reader",
                ),
            },
            false if is_first && self.role() != Some(Role::Observer) => {
                self.confirm_reader();
                Ok(())
            }
            _ => Err("{\"observe\":true} must be the first line; this client stays what it is"),
        }
    }

    fn heed_ack(&mut self, id: u64) -> Result<(), &'static str> {
        if self.role() == Some(Role::Observer) {
            return Err("an observer can't acknowledge messages");
        }
        self.confirm_reader();
        match self.forward.change(|queue, now| queue.acknowledge(id, now)) {
            true => Ok(()),
            false => Err("no message of this id was given to a reader of this socket"),
        }
    }

    /// The socket has taken something.
    fn note_read(&mut self) {
        self.unread_since = (!self.answers.is_empty()).then(time::now);
    }

    /// Writes what is due, as much in one write as there is.
    fn write(&mut self) -> io::Result<Wrote> {
        let mut written = 0;
        while written < TURN {
            if !self.answers.is_empty()
                && self.role().is_some()
                && self.forward.queue.borrow().is_between_lines(self.id)
            {
                let Some(n) = self.stream.try_write(&[IoSlice::new(&self.answers)])? else { return Ok(Wrote::Blocked) };
                self.answers.drain(..n);
                self.note_read();
                written += n;
                continue;
            }
            let queue = self.forward.queue.borrow();
            let n = match queue.due(self.id) {
                Due::Close => return Ok(Wrote::Cut),
                Due::Nothing => return Ok(Wrote::All),
                Due::Text(text) => self.stream.try_write(&[IoSlice::new(text)])?,
            };
            drop(queue);
            let Some(n) = n else { return Ok(Wrote::Blocked) };
            written += n;
            self.note_read();
            self.forward.change(|queue, now| queue.wrote(self.id, n, now));
        }
        Ok(Wrote::Enough)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.forward.queue.borrow().is_between_lines(self.id) {
            self.stream.say_why();
        }
        self.forward.leave(self.id);
        self.forward.change(|queue, now| queue.detach(self.id, now));
        self.forward.changed.notify_waiters();
    }
}

fn bad_line(detail: &str) -> Denied {
    Denied { code: "bad_line", detail: detail.to_owned() }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
