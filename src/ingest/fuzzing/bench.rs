//! A conversation and a client that stalls, goes, or comes back to its answers much later: in virtual time, without sockets.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::ingest::conversation::{Conversation, ConversationEnd, Handed, Memory, Next, Socket};
use crate::ingest::line::parse;
use crate::outbox::MessageOutcome;
use crate::socket::{MAX_LINE, READ_CHUNK, SMALL};

/// More turns than this without anything happening outside: it spins.
const TOO_MANY: usize = 100_000;

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ingest) enum Step {
    /// The client writes at most so many bytes.
    Send(usize),
    /// The client reads at most so many bytes.
    Read(usize),
    /// So many messages are delivered, from the first that waits.
    Deliver(usize),
    /// There is no room for messages, or there is again.
    TurnOutbox,
    /// Others want memory for long lines, or none do any more.
    TurnMemory,
    /// Time passes.
    Pass(Duration),
    /// The client writes no more, and goes on reading.
    ShutDown,
    /// The client closes the connection; with answers unread, so that what comes to us is a reset.
    Close,
}

/// Both directions of a connection.
#[derive(Debug, Default)]
struct Pipe {
    up: VecDeque<u8>,
    down: VecDeque<u8>,
    capacity: usize,
    shut: bool,
    closed: bool,
    is_reset: bool,
}

impl Socket for RefCell<Pipe> {
    fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let mut pipe = self.borrow_mut();
        let n = buffer.len().min(pipe.up.len());
        buffer.iter_mut().zip(pipe.up.drain(..n)).for_each(|(to, from)| *to = from);
        match n {
            0 if pipe.is_reset => Err(io::ErrorKind::ConnectionReset.into()),
            0 if !pipe.shut && !pipe.closed => Ok(None),
            n => Ok(Some(n)),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let mut pipe = self.borrow_mut();
        if pipe.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let n = bytes.len().min(pipe.capacity - pipe.down.len());
        pipe.down.extend(&bytes[..n]);
        Ok((n > 0).then_some(n))
    }

    fn is_closed(&self) -> bool {
        self.borrow().closed
    }
}

/// A conversation, and all that it depends on.
pub(in crate::ingest) struct Bench {
    conversation: Conversation,
    pipe: RefCell<Pipe>,
    /// What the client has to say, and hasn't yet.
    script: VecDeque<u8>,
    sent: Vec<u8>,
    received: Vec<u8>,
    waiting: VecDeque<oneshot::Sender<MessageOutcome>>,
    accepted: usize,
    outbox_is_full: bool,
    memory: Memory,
    now: Instant,
    pub(in crate::ingest) end: Option<ConversationEnd>,
}

impl Bench {
    /// A client that is to say `script`, on a connection that holds so many bytes in each direction.
    pub(in crate::ingest) fn new(script: Vec<u8>, capacity: usize) -> Bench {
        Bench {
            conversation: Conversation::default(),
            pipe: RefCell::new(Pipe { capacity: capacity.max(1), ..Pipe::default() }),
            script: script.into(),
            sent: Vec::new(),
            received: Vec::new(),
            waiting: VecDeque::new(),
            accepted: 0,
            outbox_is_full: false,
            memory: Memory { has_room: false, is_contended: false },
            now: Instant::now(),
            end: None,
        }
    }

    /// The client reads so many bytes, of which the socket says nothing.
    #[cfg(test)]
    pub(in crate::ingest) fn read_unseen(&mut self, n: usize) {
        self.pipe.borrow_mut().down.drain(..n);
    }

    /// Lets it happen, and the conversation go on as far as it can.
    pub(in crate::ingest) fn step(&mut self, step: Step) {
        let mut pipe = self.pipe.borrow_mut();
        match step {
            Step::Send(n) if !pipe.shut && !pipe.closed => {
                let n = n.min(self.script.len()).min(pipe.capacity - pipe.up.len());
                let bytes: Vec<u8> = self.script.drain(..n).collect();
                pipe.up.extend(&bytes);
                self.sent.extend(bytes);
            }
            Step::Read(n) if !pipe.closed => {
                let n = n.min(pipe.down.len());
                self.received.extend(pipe.down.drain(..n));
            }
            Step::Deliver(n) => {
                let n = n.min(self.waiting.len());
                self.waiting.drain(..n).for_each(|waiting| drop(waiting.send(MessageOutcome::Delivered)));
            }
            Step::TurnOutbox => self.outbox_is_full ^= true,
            Step::TurnMemory => self.memory.is_contended ^= true,
            Step::Pass(time) => self.now += time,
            Step::ShutDown => pipe.shut = true,
            Step::Close => {
                pipe.closed = true;
                pipe.is_reset = !pipe.down.is_empty();
            }
            Step::Send(_) | Step::Read(_) => {}
        }
        drop(pipe);
        self.settle();
    }

    /// What the task of a client does, until it has to wait.
    fn settle(&mut self) {
        let mut scratch = vec![0; READ_CHUNK];
        for _ in 0..TOO_MANY {
            if self.end.is_some() {
                return;
            }
            let (waiting, accepted, is_full) = (&mut self.waiting, &mut self.accepted, self.outbox_is_full);
            self.conversation.take_lines(self.memory, self.now, |request| match request {
                Ok(_) if is_full => Handed::NotYet,
                Ok(_) => {
                    let (sender, outcome) = oneshot::channel();
                    waiting.push_back(sender);
                    *accepted += 1;
                    Handed::Accepted(outcome)
                }
                Err(reject) => Handed::Refused(reject),
            });
            self.conversation.write(&self.pipe, self.now);
            self.memory.has_room &= self.conversation.needs_room();
            let wants = match self.conversation.next(self.memory, self.now) {
                Next::Again => continue,
                Next::End(end) => {
                    self.end = Some(end);
                    return;
                }
                Next::Wait(wants) => wants,
            };
            assert!(
                wants.read.is_some() || wants.write || wants.hang_up || self.pipe.borrow().closed,
                "deaf: {wants:?}"
            );
            let (may_read, may_write, closed) = {
                let pipe = self.pipe.borrow();
                (
                    !pipe.up.is_empty() || pipe.shut || pipe.closed,
                    pipe.closed || pipe.down.len() < pipe.capacity,
                    pipe.closed,
                )
            };
            let held = self.conversation.held();
            assert!(
                held <= SMALL || self.memory.has_room && held <= MAX_LINE + 2 * READ_CHUNK,
                "it holds {held} bytes"
            );
            let mut cx = Context::from_waker(Waker::noop());
            if self.conversation.poll_answers(&mut cx).is_ready() {
            } else if wants.write && may_write {
                self.conversation.unblock();
            } else if wants.hang_up && closed {
                self.conversation.hung_up(self.now);
            } else if let Some(most) = wants.read.filter(|_| may_read) {
                self.conversation.read(&self.pipe, &mut scratch[..most], self.now);
            } else if wants.room && !self.memory.is_contended {
                self.memory.has_room = true;
            } else if !(wants.turn && !self.outbox_is_full || wants.until.is_some_and(|until| until <= self.now)) {
                return;
            }
        }
        panic!("it spins: {:?}", self.conversation.next(self.memory, self.now));
    }

    /// The client says the rest, if it still can, and reads all answers; whatever was in the way is over.
    pub(in crate::ingest) fn finish(&mut self) {
        (self.outbox_is_full, self.memory.is_contended) = (false, false);
        // Not byte by byte.
        self.pipe.borrow_mut().capacity = 1 << 20;
        for _ in 0..TOO_MANY {
            self.step(Step::Read(usize::MAX));
            self.step(Step::Deliver(usize::MAX));
            if self.end.is_some() {
                break;
            }
            match self.script.is_empty() {
                true => self.step(Step::ShutDown),
                false => self.step(Step::Send(usize::MAX)),
            }
        }
        let rest: Vec<u8> = self.pipe.borrow_mut().down.drain(..).collect();
        self.received.extend(rest);
        assert!(self.end.is_some(), "it hangs: {:?}", self.conversation.next(self.memory, self.now));
    }

    /// Every line has its answer, in order; where the connection has ended before, the first of them have.
    pub(in crate::ingest) fn check(&self) {
        let answers: Vec<&[u8]> = self.received.split_inclusive(|byte| *byte == b'\n').collect();
        let ids = ids(&self.sent);
        let all_are_heard = !self.pipe.borrow().closed && self.end == Some(ConversationEnd::Done);
        match all_are_heard {
            true => assert_eq!(answers.len(), ids.len(), "lines without an answer"),
            false => assert!(answers.len() <= ids.len()),
        }
        for (n, (answer, id)) in answers.iter().zip(&ids).enumerate() {
            if !all_are_heard && n + 1 == answers.len() {
                // It may be cut.
                return;
            }
            let fields: std::collections::BTreeMap<&str, &RawValue> =
                serde_json::from_slice(answer).expect("an answer is a JSON object");
            let detail = fields.get("detail").map_or("", |detail| detail.get());
            // Given up for the memory of others, it isn't looked at.
            if !detail.contains("isn't complete, and other") {
                assert_eq!(fields.get("id").map(|id| id.get().to_owned()), *id, "answer {n}");
            }
        }
    }

    /// Lines whose messages were accepted.
    #[cfg(test)]
    pub(in crate::ingest) fn accepted(&self) -> usize {
        self.accepted
    }

    #[cfg(test)]
    pub(in crate::ingest) fn received(&self) -> &[u8] {
        &self.received
    }
}

/// The ids that answers must have, a line each.
fn ids(sent: &[u8]) -> Vec<Option<String>> {
    let line = |line: &[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        match String::from_utf8(line) {
            Ok(text) if text.is_empty() => None,
            Ok(text) => Some(parse(&text).0.map(str::to_owned)),
            Err(_) => Some(None),
        }
    };
    let cut = |bytes: &[u8]| if bytes.len() > MAX_LINE { Some(None) } else { line(bytes) };
    sent.split(|byte| *byte == b'\n').filter_map(cut).collect()
}

/// Reads `input` as what a client does and says: bytes for the size of the connection's buffers and the number of its deeds, the
/// deeds, and then the lines, sixteen times over.
pub fn ingest_client(input: &[u8]) {
    let [capacity, deeds, input @ ..] = input else { return };
    let (deeds, text) = input.split_at(usize::from(*deeds).min(input.len()));
    let mut bench = Bench::new(text.repeat(16), 1 << (capacity % 18));
    for deed in deeds {
        let size = 1 << (deed % 18);
        bench.step(match deed / 32 {
            0 | 1 => Step::Send(size),
            2 | 3 => Step::Read(size),
            4 => Step::Deliver(size),
            5 if deed % 2 == 0 => Step::TurnOutbox,
            5 => Step::TurnMemory,
            6 => Step::Pass(Duration::from_secs(u64::from(deed % 32))),
            _ if deed % 32 == 31 => Step::Close,
            _ if deed % 32 == 30 => Step::ShutDown,
            _ => Step::Read(1),
        });
    }
    bench.finish();
    bench.check();
}
