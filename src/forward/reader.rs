//! One client of a forward socket: lines out, and what little it may say.

use std::future::{Future as _, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use serde_json::{Map, Value};
use tokio::time::Sleep;

use super::Forward;
use super::queue::{Dismissal, MAX_SILENCE, ReaderId};
use crate::socket::{BadLine, Client, Line, Lines, MAX_LINE};

/// A reader needn't say anything, an observer says so first: how long to wait for it. Lines that come meanwhile are held.
const GRACE: Duration = Duration::from_millis(100);

/// Lines written at once.
const LINES_A_WRITE: usize = 32;

/// The only thing a client may say here.
const OBSERVE: &str = r#"{"observe":true}"#;

/// A connected client.
pub(super) struct Reader {
    forward: Rc<Forward>,
    client: Client,
    id: ReaderId,
    lines: Lines,
    /// Answers to lines that we can't make sense of.
    answers: BytesMut,
    /// At first the end of the grace, later when to look whether the reader still reads.
    timer: Pin<Box<Sleep>>,
    decided: bool,
    /// The client sends nothing more; it may still read.
    silent: bool,
}

impl Reader {
    pub(super) fn new(forward: Rc<Forward>, client: Client) -> Reader {
        let now = Instant::now();
        let id = forward.queue.borrow_mut().join(now);
        Reader {
            forward,
            client,
            id,
            lines: Lines::default(),
            answers: BytesMut::new(),
            timer: Box::pin(tokio::time::sleep_until((now + GRACE).into())),
            decided: false,
            silent: false,
        }
    }

    /// Until the client goes, or must.
    pub(super) async fn run(mut self) {
        let ended = poll_fn(|cx| self.poll(cx)).await;
        let (name, queue) = (self.forward.config.name.as_str(), &self.forward.queue);
        let why = match ended {
            Ok(Dismissal::TooMuch) => "has left more than 1 MiB of lines unread".to_owned(),
            Ok(Dismissal::TooSlow) => format!("has read nothing for {} s", MAX_SILENCE.as_secs()),
            Err(error) => {
                log::debug!("forward {name}: a reader has gone: {error}");
                return;
            }
        };
        let (readers, _) = queue.borrow().present();
        log::warn!(
            GATEWIRE_EVENT = "reader_dismissed", GATEWIRE_FORWARD = name;
            "forward {name}: a reader of {} {why} and is disconnected; {}",
            self.forward.config.socket.path.display(),
            if readers > 1 { "the others go on" } else { "what it hasn't got waits for the next" }
        );
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Dismissal>> {
        // Whatever wakes us, wake us here.
        self.forward.wakers.borrow_mut().insert(self.id, cx.waker().clone());
        loop {
            let now = Instant::now();
            if let Some(dismissal) = self.forward.queue.borrow_mut().dismissal(self.id, now) {
                return Poll::Ready(Ok(dismissal));
            }
            let blocked = self.write(cx)?.is_pending();
            self.hear()?;
            let heard = !self.silent && self.answers.is_empty() && self.read(cx)?.is_ready();
            if heard {
                continue;
            }
            if self.decided && !blocked {
                return Poll::Pending;
            }
            ready!(self.poll_timer(cx));
        }
    }

    /// Ready when the grace is over, or it is time to look whether the reader still reads.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.decided {
            // Only answers are blocked: the client's business.
            let Some(deadline) = self.forward.queue.borrow().deadline(self.id) else { return Poll::Pending };
            if self.timer.deadline() != deadline.into() {
                self.timer.as_mut().reset(deadline.into());
            }
        }
        ready!(self.timer.as_mut().poll(cx));
        self.decide();
        Poll::Ready(())
    }

    /// It is a reader.
    fn decide(&mut self) {
        if !std::mem::replace(&mut self.decided, true) {
            self.forward.queue.borrow_mut().decide(self.id, Instant::now());
        }
    }

    /// Writes answers and lines until there are none or the client takes no more.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        loop {
            if !self.answers.is_empty() && !self.forward.queue.borrow().is_mid_line(self.id) {
                match self.client.poll_write(cx, &[IoSlice::new(&self.answers)])? {
                    Poll::Ready(n) => self.answers.advance(n),
                    Poll::Pending => return Ok(Poll::Pending),
                }
                continue;
            }
            let mut queue = self.forward.queue.borrow_mut();
            let Some((offset, lines)) = queue.next(self.id) else { return Ok(Poll::Ready(())) };
            let mut slices = [IoSlice::new(&[]); LINES_A_WRITE];
            let mut count = 0;
            for (slice, line) in slices.iter_mut().zip(lines) {
                *slice = IoSlice::new(if count == 0 { &line[offset..] } else { line });
                count += 1;
            }
            match self.client.poll_write(cx, &slices[..count])? {
                Poll::Ready(n) => queue.wrote(self.id, n, Instant::now()),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buffer = [0; 4096];
        match ready!(self.client.poll_read(cx, &mut buffer))? {
            0 if self.client.has_gone() => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            // It has shut down its side only, and still reads.
            0 => {
                self.silent = true;
                if let Some(line) = self.lines.end() {
                    self.line(&line);
                }
                self.decide();
            }
            n => self.lines.push(&buffer[..n]),
        }
        Poll::Ready(Ok(()))
    }

    /// Looks at what the client has said, a line at a time: the answer to one must be taken before the next is looked at.
    fn hear(&mut self) -> io::Result<()> {
        while self.answers.is_empty()
            && let Some(line) = self.lines.next()
        {
            self.line(&line);
        }
        Ok(())
    }

    fn line(&mut self, line: &Result<Line, BadLine>) {
        let detail = match line {
            Ok(line) if is_observe(line.as_str()) => {
                self.decided = true;
                let heir = self.forward.queue.borrow_mut().observe(self.id, Instant::now());
                self.forward.wake(heir);
                return;
            }
            Ok(_) => format!("this socket takes only {OBSERVE}"),
            Err(BadLine::TooLong) => {
                format!("the line is longer than {MAX_LINE} bytes; this socket takes only {OBSERVE}")
            }
            Err(BadLine::NotUtf8) => format!("the line isn't UTF-8; this socket takes only {OBSERVE}"),
        };
        let answer = serde_json::json!({"error": "bad_line", "detail": detail});
        self.answers.extend_from_slice(answer.to_string().as_bytes());
        self.answers.extend_from_slice(b"\n");
        self.decide();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.forward.wakers.borrow_mut().remove(&self.id);
        let heir = self.forward.queue.borrow_mut().leave(self.id);
        self.forward.wake(heir);
    }
}

fn is_observe(line: &str) -> bool {
    serde_json::from_str::<Map<String, Value>>(line)
        .is_ok_and(|object| object.get("observe") == Some(&Value::Bool(true)))
}
