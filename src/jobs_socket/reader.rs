//! The task of one client of `jobs.sock`.

use std::io::{self, IoSlice};
use std::rc::Rc;

use super::desk::{ClientId, MAX_UNWRITTEN, PATIENCE};
use super::{JobsSocket, MAX_LINE, SMALL_LINE, until};
use crate::count::count;
use crate::socket::{Lines, Listener, READ_CHUNK, Stream};
use crate::time;

/// A client and its connection. Dropping it leaves a job that it had to the next.
pub(super) struct Reader {
    socket: Rc<JobsSocket>,
    listener: Rc<Listener>,
    id: ClientId,
    stream: Stream,
    lines: Lines,
    /// It may still send something.
    reading: bool,
}

impl Reader {
    pub(super) fn new(socket: Rc<JobsSocket>, listener: Rc<Listener>, stream: Stream) -> Reader {
        let is_observer = stream.is_observer();
        let id = socket.desk.borrow_mut().connected(is_observer, time::now());
        socket.said.notify();
        Reader { socket, listener, id, stream, lines: Lines::up_to(MAX_LINE), reading: true }
    }

    /// Serves the client until it has gone or is cut.
    pub(super) async fn run(mut self) {
        // How a client goes, orderly or not, is all the same.
        if let Err(error) = self.serve().await {
            log::debug!("{}: a reader has gone: {error}", self.listener.path().display());
            self.hear_the_rest();
        }
    }

    async fn serve(&mut self) -> io::Result<()> {
        loop {
            let more = self.hear();
            let is_written = self.write()?;
            self.stream.set_busy(self.socket.desk.borrow().has_job(self.id));
            if self.is_cut() || (!self.reading && is_written && !more) {
                return Ok(());
            }
            match more && is_written {
                true => tokio::task::yield_now().await,
                false => self.wait(is_written, more).await?,
            }
        }
    }

    /// Heeds the lines that have come, as far as there is room for answers. Returns whether some are left.
    fn hear(&mut self) -> bool {
        let Reader { socket, id, lines, .. } = self;
        while socket.desk.borrow().may_speak(*id) {
            let Some(line) = lines.next() else {
                self.look_at_the_unfinished();
                return false;
            };
            socket.desk.borrow_mut().heard(*id, &line, time::now());
            socket.said.notify();
        }
        true
    }

    /// All complete lines are taken: one that isn't complete may only be long if the client has a job. And one that sends nothing
    /// more can't have any.
    fn look_at_the_unfinished(&mut self) {
        if self.lines.len() > SMALL_LINE && !self.socket.desk.borrow().has_job(self.id) {
            self.lines.give_up();
            self.socket.desk.borrow_mut().heard_too_much(self.id, time::now());
        }
        if !self.reading {
            self.socket.change(|desk, now| desk.sends_no_more(self.id, now));
        }
    }

    /// What a client has said before it went counts, though it was writing to it that told of its end. That is no more than the kernel
    /// has held for it.
    fn hear_the_rest(&mut self) {
        loop {
            while self.hear() {
                let unwritten = self.socket.desk.borrow().unwritten(self.id).len();
                self.socket.desk.borrow_mut().wrote(self.id, unwritten, time::now());
            }
            let mut buffer = [0; 1024];
            match self.stream.try_read(&mut buffer) {
                Ok(Some(n @ 1..)) if self.reading => self.lines.push(&buffer[..n]),
                Ok(Some(0)) if self.reading => self.end_input(),
                _ => return,
            }
        }
    }

    fn end_input(&mut self) {
        self.reading = false;
        self.lines.end();
    }

    /// Reads what the client has sent. An error if it has closed the connection.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; READ_CHUNK];
        match self.stream.try_read(&mut buffer)? {
            Some(0) => self.end_input(),
            Some(n) => self.lines.push(&buffer[..n]),
            None => {}
        }
        Ok(())
    }

    /// Writes what is due, as far as the socket takes it. Returns whether that is all.
    fn write(&mut self) -> io::Result<bool> {
        loop {
            let written = {
                let desk = self.socket.desk.borrow();
                match desk.unwritten(self.id) {
                    [] => return Ok(true),
                    bytes => self.stream.try_write(&[IoSlice::new(bytes)])?,
                }
            };
            let Some(n) = written else { return Ok(false) };
            self.socket.desk.borrow_mut().wrote(self.id, n, time::now());
        }
    }

    /// Waits for a word of the client, for something to write, or until the socket takes more; not for ever.
    async fn wait(&mut self, is_written: bool, more: bool) -> io::Result<()> {
        self.stream.watch_writes(!is_written)?;
        let (patience, may_read) = {
            let desk = self.socket.desk.borrow();
            (desk.patience_ends(self.id), self.reading && !more)
        };
        tokio::select! {
            biased;
            ready = self.stream.writable(), if !is_written => ready,
            ready = self.stream.readable(), if may_read => ready.and_then(|()| self.read()),
            () = self.socket.changed.notified() => Ok(()),
            () = until(patience), if patience.is_some() => Ok(()),
        }
    }

    /// Whether the client takes nothing, and was waited for long enough.
    fn is_cut(&self) -> bool {
        let desk = self.socket.desk.borrow();
        if desk.patience_ends(self.id).is_none_or(|end| time::now() < end) {
            return false;
        }
        let left = match desk.has_job(self.id) {
            true => "; its job goes to the next reader",
            false => "",
        };
        let unwritten = desk.unwritten(self.id).len();
        let how = match unwritten > MAX_UNWRITTEN {
            true => "has left more than 1 MiB of lines unread".to_owned(),
            false => format!("has read nothing for {} s", PATIENCE.as_secs()),
        };
        log::warn!(
            GATEWIRE_EVENT = "reader_disconnected";
            "{}: a reader of jobs {how} and is disconnected, with {} unwritten{left}. Find out why that program doesn't read",
            self.listener.path().display(), count(unwritten as u64, "byte")
        );
        true
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.stream.is_at_line_end() {
            self.stream.say_why();
        }
        self.socket.change(|desk, now| desk.gone(self.id, now));
    }
}
