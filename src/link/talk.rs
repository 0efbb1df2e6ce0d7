//! A connection on which MQTT is spoken, question by question.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::error::Elapsed;
use tokio::time::{timeout, timeout_at};

use crate::client::hang_up;
use crate::link::connect::Opened;
use crate::link::connection::Cause;
use crate::link::diagnosis::{LinkError, Peer, Phase, Sent};
use crate::link::explain::explain;
use crate::message::{Outbound, Qos, Topic, TopicFilter};
use crate::mqtt::reason::Reason;
use crate::mqtt::session::dialogue::{Dialogue, Reply};
use crate::mqtt::{Options, Rejection};
use crate::net::Transport;
use crate::time;

/// A connection on which CONNECT is said.
#[derive(Debug)]
pub(crate) struct Talk<S> {
    stream: S,
    input: BytesMut,
    peer: Arc<Peer>,
    pub(super) dialogue: Dialogue,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// On this of the topics.
    Answered(usize, Bytes),
    /// With a packet of so many bytes, which is more than we take.
    TooLarge(usize),
    Refused(Rejection),
    /// The server has taken the request, and nothing came within this time.
    Unanswered(Duration),
}

impl<S: Transport> Talk<S> {
    /// CONNECT is to be said. Messages that come are left to others.
    pub(super) fn new(connection: Opened<S>, options: &Options) -> Talk<S> {
        Talk::with(connection, Dialogue::connect(options))
    }

    /// CONNECT is to be said, and then something is asked.
    pub(crate) fn asking(connection: Opened<S>, options: &Options) -> Talk<S> {
        Talk::with(connection, Dialogue::asking(options))
    }

    fn with(connection: Opened<S>, dialogue: Dialogue) -> Talk<S> {
        let Opened { stream, peer, .. } = connection;
        Talk { stream, input: BytesMut::new(), peer, dialogue }
    }

    /// Publishes a request, and waits for its answer on one of these topics, which are subscribed to.
    pub(crate) async fn ask(
        &mut self,
        request: &Outbound,
        answers: &[String],
        patience: Duration,
    ) -> Result<Asked, LinkError> {
        let began = time::now();
        if let Some(rejection) = self.dialogue.refuses(request, began) {
            return Ok(Asked::Refused(rejection));
        }
        self.dialogue.publish(request, began);
        let place = |topic: &Topic| answers.iter().position(|answer| answer == topic.as_str());
        let is_taken = Cell::new(false);
        let answer = self.reply(|reply| match reply {
            Reply::Message(topic, payload) => place(&topic).map(|place| Asked::Answered(place, payload)),
            Reply::TooLarge(topic, size) => place(&topic).map(|_| Asked::TooLarge(size)),
            Reply::Published(Err(reason)) => Some(Asked::Refused(Rejection::PubAck(reason))),
            Reply::Published(Ok(())) => {
                is_taken.set(true);
                None
            }
            _ => None,
        });
        let answer = timeout(patience, answer).await;
        if answer.is_err() && is_taken.get() {
            return Ok(Asked::Unanswered(patience));
        }
        self.answered(answer, Sent::Publish(request.topic.clone()), began, patience)
    }

    /// Says CONNECT and waits for CONNACK; whether the server had the session.
    pub(crate) async fn connected(&mut self, deadline: tokio::time::Instant) -> Result<bool, LinkError> {
        let began = time::now();
        let connack = self.reply(|reply| match reply {
            Reply::Connected { session_present } => Some(session_present),
            _ => None,
        });
        match timeout_at(deadline, connack).await.unwrap_or(Err(Cause::NoConnAck)) {
            Ok(session_present) => Ok(session_present),
            Err(cause) => Err(explain(cause, &self.peer, began, Phase::AwaitingConnack)),
        }
    }

    /// What the server grants for one filter. Only that filter is unanswered, so that there is one suspect if it closes.
    pub(crate) async fn subscribe(
        &mut self,
        filter: &TopicFilter,
        qos: Qos,
        ack_timeout: Duration,
    ) -> Result<Result<Qos, Reason>, LinkError> {
        let began = time::now();
        if let Some(Reply::Subscription(ruled_out)) = self.dialogue.subscribe(filter, qos) {
            return Ok(ruled_out);
        }
        let suback = self.reply(|reply| match reply {
            Reply::Subscription(answer) => Some(answer),
            _ => None,
        });
        let answer = timeout(ack_timeout, suback).await;
        self.answered(answer, Sent::Subscribe(filter.clone()), began, ack_timeout)
    }

    /// Takes a filter back.
    pub(crate) async fn unsubscribe(&mut self, filter: &TopicFilter, ack_timeout: Duration) -> Result<(), LinkError> {
        let began = time::now();
        self.dialogue.unsubscribe(filter);
        let unsuback = self.reply(|reply| matches!(reply, Reply::Unsubscribed).then_some(()));
        let answer = timeout(ack_timeout, unsuback).await;
        self.answered(answer, Sent::Unsubscribe(filter.clone()), began, ack_timeout)
    }

    fn answered<T>(
        &self,
        answer: Result<Result<T, Cause>, Elapsed>,
        sent: Sent,
        began: Instant,
        waited: Duration,
    ) -> Result<T, LinkError> {
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(cause)) => Err(explain(cause, &self.peer, began, Phase::Connected { last_sent: vec![sent] })),
            Err(_) => Err(LinkError::Unanswered { peer: Arc::clone(&self.peer), sent, waited }),
        }
    }

    /// Writes what there is to say and reads until `take` has found its answer.
    async fn reply<T>(&mut self, take: impl Fn(Reply) -> Option<T>) -> Result<T, Cause> {
        self.write().await.map_err(Cause::Io)?;
        loop {
            if self.stream.read_buf(&mut self.input).await.map_err(Cause::Io)? == 0 {
                return Err(Cause::Closed);
            }
            while let Some(reply) = self.dialogue.receive(&mut self.input).map_err(Cause::Session)? {
                if let Some(answer) = take(reply) {
                    return Ok(answer);
                }
            }
        }
    }

    async fn write(&mut self) -> io::Result<()> {
        let output = self.dialogue.output().split();
        let written = async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        };
        let Err(error) = written.await else { return Ok(()) };
        // A server that refuses our certificate may close while we write: its alert still waits to be read.
        match self.stream.read_buf(&mut self.input).await {
            Err(alert) if alert.get_ref().is_some() => Err(alert),
            _ => Err(error),
        }
    }

    /// Says DISCONNECT and lets the server close.
    pub(crate) async fn close(mut self) {
        self.dialogue.disconnect();
        // The server may have closed first: nothing more is wanted of it.
        let _ = hang_up(&mut self.stream, &self.dialogue.output().split(), &mut self.input).await;
    }
}
