//! The task of one client of an ingest socket: it waits for what the [`Conversation`] says, and moves the bytes.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;

use super::conversation::{Conversation, ConversationEnd, Handed, LINGER, Memory, Next, PATIENCE, Socket, Wants};
use super::line::{IngestRequest, Reject};
use super::{Ingest, LastTopic};
use crate::outbox::Source;
use crate::socket::{READ_CHUNK, Room, Stream};
use crate::time;

/// A client and its connection. Dropping it loses its answers, not its messages.
pub(super) struct Client {
    ingest: Rc<Ingest>,
    stream: Stream,
    source: Source,
    conversation: Conversation,
    last_topic: Option<LastTopic>,
    /// Memory for a long line.
    room: Option<Room>,
    /// Its place among those who wait for such memory.
    in_line: Option<Pin<Box<dyn Future<Output = Room>>>>,
    /// Counted in [`Ingest::owing`].
    owing: bool,
}

impl Socket for Stream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.try_read(buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        self.try_write(&[IoSlice::new(bytes)])
    }

    fn is_closed(&self) -> bool {
        Stream::is_closed(self)
    }
}

impl Client {
    pub(super) fn new(ingest: Rc<Ingest>, stream: Stream) -> Client {
        Client {
            source: ingest.outbox.source(ingest.socket, stream.peer()),
            ingest,
            stream,
            conversation: Conversation::default(),
            last_topic: None,
            room: None,
            in_line: None,
            owing: false,
        }
    }

    /// Serves the client until it has sent everything and has every answer, or has gone.
    pub(super) async fn run(mut self) {
        match self.serve().await {
            Ok(ConversationEnd::Done) => {}
            Ok(ConversationEnd::Unread) => self.ingest.say_disconnected(&format!(
                "a client was disconnected because it has read no answer for {} s, although some wait for it: it has to read \
                them, or close the connection after its last line. Lines that it sent before are still processed",
                PATIENCE.as_secs()
            )),
            Ok(ConversationEnd::Late) => self.ingest.say_disconnected(&format!(
                "a client closed its connection without waiting for answers, and its last lines are lost: for {} s there was \
                no room for their messages",
                LINGER.as_secs()
            )),
            Err(error) => log::debug!("ingest `{}`: a client has gone: {error}", self.ingest.name),
        }
    }

    async fn serve(&mut self) -> io::Result<ConversationEnd> {
        loop {
            let (memory, now) = (self.memory(), time::now());
            let Client { ingest, conversation, last_topic, stream, source, .. } = self;
            conversation.take_lines(memory, now, |request| hand_over(ingest, source, request, last_topic));
            source.rest(conversation.is_held_back());
            conversation.write(stream, now);
            if !self.conversation.needs_room() {
                self.room = None;
            }
            self.owe(self.conversation.is_owing());
            self.stream.set_busy(self.conversation.is_owing() || self.conversation.is_held_back());
            match self.conversation.next(self.memory(), now) {
                Next::End(end) => return Ok(end),
                // So that a client that never stops doesn't keep the thread for itself.
                Next::Again => tokio::task::yield_now().await,
                Next::Wait(wants) => self.wait_for(wants).await?,
            }
        }
    }

    fn memory(&self) -> Memory {
        Memory { has_room: self.room.is_some(), is_contended: self.ingest.memory.is_contended() }
    }

    async fn wait_for(&mut self, wants: Wants) -> io::Result<()> {
        self.stream.watch_writes(wants.write)?;
        let memory = &self.ingest.memory;
        match wants.room {
            true => drop(self.in_line.get_or_insert_with(|| Box::pin(Rc::clone(memory).room()))),
            false => self.in_line = None,
        }
        let until = wants.until.map(Into::into);
        tokio::select! {
            biased;
            () = poll_fn(|cx| self.conversation.poll_answers(cx)) => {}
            () = self.source.turn(), if wants.turn => {}
            ready = self.stream.writable(), if wants.write => {
                ready?;
                self.conversation.unblock();
            }
            closed = self.stream.closed(), if wants.hang_up => {
                closed?;
                self.conversation.hung_up(time::now());
            }
            ready = self.stream.readable(), if wants.read.is_some() => {
                ready?;
                let mut scratch = self.ingest.scratch.borrow_mut();
                scratch.resize(READ_CHUNK, 0);
                let most = wants.read.unwrap_or_default().min(READ_CHUNK);
                self.conversation.read(&self.stream, &mut scratch[..most], time::now());
            }
            room = turn_of(&mut self.in_line), if wants.room => {
                self.in_line = None;
                self.room = Some(room);
            }
            () = memory.contended(), if wants.contention => {}
            () = sleep_until(until), if until.is_some() => {}
        }
        Ok(())
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
        if self.stream.is_at_line_end() {
            self.stream.say_why();
        }
        self.owe(false);
    }
}

/// Hands a line over, if it is the client's turn.
fn hand_over(
    ingest: &Ingest,
    source: &Source,
    request: Result<IngestRequest<'_>, Reject>,
    last_topic: &mut Option<LastTopic>,
) -> Handed {
    let accepted = match request.map(|request| ingest.within_bounds(request)) {
        Ok(request) if !source.may_hand_over(request.qos, request.urgent) => return Handed::NotYet,
        Ok(request) => {
            let bytes = request.topic.len() + request.payload.len();
            ingest.accept(request, last_topic).inspect(|_| source.handed_over(bytes))
        }
        Err(reject) => Err(reject),
    };
    match accepted {
        Ok(outcome) => Handed::Accepted(outcome),
        Err(reject) => {
            ingest.count(&reject);
            Handed::Refused(reject)
        }
    }
}

async fn turn_of(in_line: &mut Option<Pin<Box<dyn Future<Output = Room>>>>) -> Room {
    match in_line {
        Some(turn) => turn.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(until: Option<tokio::time::Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
