//! Local programs that publish through us: lines in, an answer a line out, in the order of the lines.

mod client;
mod request;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;
use tokio::sync::oneshot;

use crate::config;
use crate::outbox::{Outbox, Outcome, Refusal};
use crate::socket::{BadLine, Line, Listener, MAX_LINE};
use client::Conversation;
use request::Request;

/// An error of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    BadLine,
    BadTopic,
    TopicNotAllowed,
    TooLarge,
    BadQos,
    OutboxFull,
    NotConnected,
    ShuttingDown,
}

/// Why a line isn't published.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    code: Code,
    detail: String,
}

impl Refused {
    fn new(code: Code, detail: String) -> Refused {
        Refused { code, detail }
    }
}

impl From<&Refusal> for Refused {
    fn from(refusal: &Refusal) -> Refused {
        let code = match refusal {
            Refusal::OutboxFull => Code::OutboxFull,
            Refusal::NotConnected => Code::NotConnected,
            Refusal::ShuttingDown => Code::ShuttingDown,
        };
        Refused::new(code, refusal.to_string())
    }
}

/// An ingest socket.
#[derive(Debug)]
pub(crate) struct Ingest {
    config: config::Ingest,
    outbox: Rc<Outbox>,
    clients: RefCell<Rc<Cell<usize>>>,
    lines: Cell<u64>,
    refused: RefCell<BTreeMap<Code, u64>>,
}

/// One of the `ingest` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct IngestStatus {
    name: String,
    socket: String,
    clients: usize,
    /// Lines read, refused ones included.
    lines: u64,
    /// Lines refused, by code.
    refused: BTreeMap<Code, u64>,
}

/// What becomes of a line.
enum Taken {
    /// It waits in the outbox.
    Pending(oneshot::Receiver<Outcome>),
    Refused(Refused),
}

impl Ingest {
    pub(crate) fn new(config: &config::Ingest, outbox: &Rc<Outbox>) -> Rc<Ingest> {
        Rc::new(Ingest {
            config: config.clone(),
            outbox: Rc::clone(outbox),
            clients: RefCell::default(),
            lines: Cell::new(0),
            refused: RefCell::default(),
        })
    }

    /// Serves the socket's clients, each in a task of its own, for as long as it is polled.
    pub(crate) async fn serve(self: Rc<Self>, mut listener: Listener) {
        self.clients.replace(listener.clients());
        loop {
            let (client, seat) = listener.accept().await;
            let conversation = Conversation::new(Rc::clone(&self), client);
            tokio::task::spawn_local(async move {
                conversation.run().await;
                drop(seat);
            });
        }
    }

    /// Takes a line. The first value is the `id` to answer with.
    fn take(&self, line: &Result<Line, BadLine>) -> (Option<Box<str>>, Taken) {
        self.lines.set(self.lines.get() + 1);
        let line = match line {
            Ok(line) => line.as_str(),
            Err(bad) => return (None, self.refuse(bad_line(*bad))),
        };
        let request = match Request::parse(line) {
            Ok(request) => request,
            Err(refused) => return (None, self.refuse(refused)),
        };
        let id = request.id.map(|id| id.get().into());
        (id, self.publish(&request))
    }

    fn publish(&self, request: &Request<'_>) -> Taken {
        let message = match request.message() {
            Ok(message) => message,
            Err(refused) => return self.refuse(refused),
        };
        if !self.config.topics.iter().any(|filter| filter.matches(&message.topic)) {
            let allowed: Vec<&str> = self.config.topics.iter().map(|filter| filter.as_str()).collect();
            return self.refuse(Refused::new(
                Code::TopicNotAllowed,
                format!(
                    "the topic {:?} isn't among the `topics` of [[ingest]] {}: {}",
                    message.topic,
                    self.config.name,
                    allowed.join(", ")
                ),
            ));
        }
        match self.outbox.accept(message) {
            Ok(outcome) => Taken::Pending(outcome),
            Err(refusal) => self.refuse(Refused::from(&refusal)),
        }
    }

    fn refuse(&self, refused: Refused) -> Taken {
        self.count(refused.code);
        Taken::Refused(refused)
    }

    fn count(&self, code: Code) {
        *self.refused.borrow_mut().entry(code).or_default() += 1;
    }

    pub(crate) fn has_clients(&self) -> bool {
        self.clients.borrow().get() > 0
    }

    pub(crate) fn status(&self) -> IngestStatus {
        IngestStatus {
            name: self.config.name.clone(),
            socket: self.config.socket.path.display().to_string(),
            clients: self.clients.borrow().get(),
            lines: self.lines.get(),
            refused: self.refused.borrow().clone(),
        }
    }
}

fn bad_line(bad: BadLine) -> Refused {
    let detail = match bad {
        BadLine::TooLong => format!("the line is longer than {MAX_LINE} bytes"),
        BadLine::NotUtf8 => "the line isn't UTF-8; use `payload_base64` for bytes".to_owned(),
    };
    Refused::new(Code::BadLine, detail)
}
