//! Messages from local programs: the ingest sockets.
//!
//! [`mod@line`] takes apart what a client sends; [`client`] is its task; [`answers`] keeps the answers in the order of the lines.

mod answers;
mod client;
mod compact;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod line;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use tokio::sync::{Notify, oneshot};

use crate::config::{self, Protocol};
use crate::message::{Outbound, Topic};
use crate::outbox::{Outbox, Outcome, Refusal};
use crate::socket::{self, Listener, READ_CHUNK};
use crate::stop::Stop;
use client::Client;
use line::{Code, Reject, Request, shorten};

/// An `[[ingest]]`: checks what its clients send, and hands it to the outbox.
#[derive(Debug)]
pub(crate) struct Ingest {
    config: config::Ingest,
    /// What the link speaks: only MQTT 5 carries properties.
    protocol: Protocol,
    outbox: Rc<Outbox>,
    stop: Rc<Stop>,
    clients: Rc<Cell<usize>>,
    accepted: Cell<u64>,
    refused: RefCell<BTreeMap<Code, u64>>,
    /// Clients that are owed answers.
    owing: Cell<usize>,
    settled: Notify,
    /// What is read goes through here: a client that says nothing needs no buffer.
    scratch: RefCell<Box<[u8]>>,
}

/// One of the `ingest` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct IngestStatus {
    pub(crate) name: String,
    pub(crate) socket: String,
    pub(crate) clients: usize,
    /// Messages handed to the outbox.
    pub(crate) accepted: u64,
    /// Lines answered with an error at once, by its code.
    pub(crate) refused: BTreeMap<Code, u64>,
}

impl Ingest {
    /// Takes messages for `outbox` until `stop` is requested; from then on lines are answered `shutting_down`.
    pub(crate) fn new(config: config::Ingest, protocol: Protocol, outbox: Rc<Outbox>, stop: Rc<Stop>) -> Rc<Ingest> {
        Rc::new(Ingest {
            config,
            protocol,
            outbox,
            stop,
            clients: Rc::default(),
            accepted: Cell::new(0),
            refused: RefCell::default(),
            owing: Cell::new(0),
            settled: Notify::new(),
            scratch: RefCell::new(vec![0; READ_CHUNK].into()),
        })
    }

    /// Serves clients, for ever. Dropping this future disconnects them and removes the socket; what was accepted stays
    /// accepted.
    pub(crate) async fn serve(self: Rc<Self>, listener: Listener) {
        let clients = Rc::clone(&self.clients);
        socket::serve(listener, clients, |stream| Client::new(Rc::clone(&self), stream).run()).await;
    }

    /// Completes when every line has its answer, written to the client: then the daemon may end.
    pub(crate) async fn settled(&self) {
        while self.owing.get() > 0 {
            self.settled.notified().await;
        }
    }

    pub(crate) fn status(&self) -> IngestStatus {
        IngestStatus {
            name: self.config.name.clone(),
            socket: self.config.socket.path.display().to_string(),
            clients: self.clients.get(),
            accepted: self.accepted.get(),
            refused: self.refused.borrow().clone(),
        }
    }

    /// Hands a message to the outbox. `last_topic` is the one its client used last, which needn't be checked again.
    fn accept(
        &self,
        request: Request<'_>,
        last_topic: &mut Option<Topic>,
    ) -> Result<oneshot::Receiver<Outcome>, Reject> {
        if self.stop.is_requested() {
            return Err(Refusal::ShuttingDown.into());
        }
        let topic = match last_topic {
            Some(topic) if topic.as_str() == request.topic => topic.clone(),
            _ => last_topic.insert(self.check(&request.topic)?).clone(),
        };
        let Request { payload, qos, retain, properties, .. } = request;
        if properties.is_some() && self.protocol != Protocol::Mqtt5 {
            return Err(Reject::NeedsMqtt5);
        }
        let properties = properties.map(|mut properties| {
            properties.count_from(Instant::now());
            Arc::new(properties)
        });
        let outcome = self.outbox.accept(Outbound { topic, payload, qos, retain, properties })?;
        self.accepted.set(self.accepted.get() + 1);
        Ok(outcome)
    }

    fn check(&self, topic: &str) -> Result<Topic, Reject> {
        let checked = Topic::new(topic).map_err(|error| Reject::BadTopic(shorten(topic), error))?;
        match self.config.topics.iter().any(|filter| filter.matches(&checked)) {
            true => Ok(checked),
            false => Err(Reject::TopicNotAllowed(topic.to_owned())),
        }
    }

    fn count(&self, reject: &Reject) {
        *self.refused.borrow_mut().entry(reject.code()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests;
