//! Messages from local programs: the ingest sockets.
//!
//! [`mod@line`] takes apart what a client sends; [`answers`] keeps the answers in the order of the lines; [`conversation`] decides
//! what is read, written and waited for, and [`client`] is the task that does it; [`batches`] makes one message of several.

mod answers;
mod batches;
mod client;
mod conversation;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod line;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{Notify, oneshot};

use crate::config;
use crate::message::{Outbound, Topic};
use crate::mqtt::Protocol;
use crate::outbox::{MessageOutcome, Outbox, Refusal};
use crate::socket::{self, For, LineMemory, Listener, Seldom, SharedMemory};
use crate::stop::Stop;
use crate::time;
use batches::Batches;
use client::Client;
pub(crate) use line::Code;
use line::{IngestRequest, Reject, shorten};

/// An `[[ingest]]`: checks what its clients send, and hands it to the outbox.
#[derive(Debug)]
pub(crate) struct Ingest {
    name: String,
    config: RefCell<Rc<config::Ingest>>,
    /// What the link speaks: only MQTT 5 carries properties.
    protocol: Cell<Protocol>,
    outbox: Rc<Outbox>,
    /// What the outbox tells its clients from those of others by.
    socket: u64,
    batches: Option<Batches>,
    stop: Rc<Stop>,
    clients: Rc<Cell<usize>>,
    accepted: Cell<u64>,
    refused: RefCell<BTreeMap<Code, u64>>,
    /// Clients that are owed answers.
    owing: Cell<usize>,
    settled: Notify,
    /// What is read goes through here: a client that says nothing needs no buffer. Made when the first one says something.
    scratch: RefCell<Vec<u8>>,
    /// For unfinished lines.
    memory: Rc<LineMemory>,
    disconnected: Seldom,
}

/// The topic that a client used last, and the configuration that allows it.
#[derive(Debug)]
struct LastTopic {
    topic: Topic,
    checked_by: Rc<config::Ingest>,
}

/// One of the `ingest` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct IngestStatus {
    pub(crate) name: String,
    pub(crate) socket: String,
    pub(crate) clients: usize,
    /// Lines whose message was handed to the outbox, or added to a batch.
    pub(crate) accepted: u64,
    /// Lines answered with an error at once, by its code.
    pub(crate) refused: BTreeMap<Code, u64>,
}

impl Ingest {
    /// Takes messages for `outbox` until `stop` is requested; from then on lines are answered `shutting_down`.
    pub(crate) fn new(
        config: config::Ingest,
        protocol: Protocol,
        outbox: Rc<Outbox>,
        stop: Rc<Stop>,
        memory: Rc<SharedMemory>,
    ) -> Rc<Ingest> {
        Rc::new(Ingest {
            batches: config.batch.map(|batch| Batches::new(batch, Rc::clone(&outbox))),
            name: config.name.clone(),
            config: RefCell::new(Rc::new(config)),
            protocol: Cell::new(protocol),
            socket: outbox.socket_id(),
            outbox,
            stop,
            clients: Rc::default(),
            accepted: Cell::new(0),
            refused: RefCell::default(),
            owing: Cell::new(0),
            settled: Notify::new(),
            scratch: RefCell::default(),
            memory: LineMemory::new(memory),
            disconnected: Seldom::default(),
        })
    }

    /// Whether it can go on as this configuration says, with its clients: only what they may ask for may change.
    pub(crate) fn can_become(&self, config: &config::Ingest) -> bool {
        let present = self.config.borrow();
        *config
            == config::Ingest {
                topics: config.topics.clone(),
                awaits_name: config.awaits_name,
                urgent: config.urgent,
                socket: config.socket.clone(),
                ..(**present).clone()
            }
    }

    /// Goes on as another configuration says; clients stay.
    pub(crate) fn reconfigure(&self, config: config::Ingest, protocol: Protocol) {
        *self.config.borrow_mut() = Rc::new(config);
        self.protocol.set(protocol);
    }

    /// Serves clients, for ever. Dropping this future disconnects them; what was accepted stays accepted.
    pub(crate) async fn serve(self: Rc<Self>, listener: Rc<Listener>) {
        let clients = Rc::clone(&self.clients);
        let batches = async {
            match &self.batches {
                Some(batches) => batches.run().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = socket::serve((listener, For::Messages), clients, |stream| Client::new(Rc::clone(&self), stream).run()) => {}
            () = batches => {}
        }
    }

    /// Sends what waits in batches.
    pub(crate) fn flush(&self) {
        self.batches.iter().for_each(Batches::flush);
    }

    /// Completes when every line has its answer, written to the client: then the daemon may end.
    pub(crate) async fn settled(&self) {
        while self.owing.get() > 0 {
            self.settled.notified().await;
        }
    }

    pub(crate) fn status(&self) -> IngestStatus {
        IngestStatus {
            name: self.name.clone(),
            socket: self.config.borrow().socket.path.display().to_string(),
            clients: self.clients.get(),
            accepted: self.accepted.get(),
            refused: self.refused.borrow().clone(),
        }
    }

    /// What is asked for, as far as the configuration lets clients of this socket ask for it.
    fn within_bounds<'a>(&self, request: IngestRequest<'a>) -> IngestRequest<'a> {
        let urgent = request.urgent && self.config.borrow().urgent;
        IngestRequest { urgent, ..request }
    }

    /// Hands a message to the outbox, or adds it to a batch. `last_topic` is the one its client used last, which needn't be checked again.
    fn accept(
        &self,
        request: IngestRequest<'_>,
        last_topic: &mut Option<LastTopic>,
    ) -> Result<oneshot::Receiver<MessageOutcome>, Reject> {
        if self.stop.is_requested() {
            return Err(Refusal::ShuttingDown.into());
        }
        let checked_by = Rc::clone(&self.config.borrow());
        let topic = match last_topic {
            Some(last) if last.topic.as_str() == request.topic && Rc::ptr_eq(&last.checked_by, &checked_by) => {
                last.topic.clone()
            }
            _ => last_topic.insert(LastTopic { topic: self.check(&request.topic)?, checked_by }).topic.clone(),
        };
        let IngestRequest { payload, qos, retain, urgent, properties, .. } = request;
        if properties.is_some() && self.protocol.get() != Protocol::Mqtt5 {
            return Err(Reject::NeedsMqtt5);
        }
        let properties = properties.map(|mut properties| {
            properties.count_from(time::now());
            Arc::new(properties)
        });
        let message = Outbound { topic, payload, qos, retain, urgent, properties };
        let outcome = match &self.batches {
            // What is urgent waits for no others.
            Some(batches) if !urgent => batches.add(message)?,
            _ => self.outbox.accept(message)?,
        };
        self.accepted.set(self.accepted.get() + 1);
        Ok(outcome)
    }

    fn check(&self, topic: &str) -> Result<Topic, Reject> {
        let checked = Topic::new(topic).map_err(|error| Reject::BadTopic(shorten(topic), error))?;
        let config = self.config.borrow();
        match config.topics.iter().any(|filter| filter.matches(&checked)) {
            true => Ok(checked),
            false if config.awaits_name => Err(Reject::NoIdentity(topic.to_owned())),
            false => Err(Reject::TopicNotAllowed(topic.to_owned())),
        }
    }

    fn say_disconnected(&self, what: &str) {
        if self.disconnected.is_due(time::now()) {
            log::warn!(
                GATEWIRE_EVENT = "client_disconnected", GATEWIRE_INGEST = self.name.as_str();
                "ingest {}: {what}. Logged at most once a minute", self.name
            );
        }
    }

    /// Counts what was refused. A client that asks which kind of socket this is, by `{"observe":true}`, has no message refused.
    fn count(&self, reject: &Reject) {
        if matches!(reject, Reject::UnknownKey(key, _) if key == "observe") {
            return;
        }
        *self.refused.borrow_mut().entry(reject.code()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests;
