//! What is asked of a service.

use bytes::Bytes;
use serde_json::{Map, Value};
use thiserror::Error;

use super::Service;
use crate::limits::MAX_PAYLOAD;
use crate::message::{Outbound, Qos, Topic, TopicError};

/// The longest client token, in bytes ("clientToken", AWS IoT developer guide).
pub(super) const MAX_TOKEN: usize = 64;

/// The name of its member.
const TOKEN: &str = "clientToken";

/// What `"clientToken":"..",` adds to a body at most.
const TOKEN_ROOM: usize = MAX_TOKEN + TOKEN.len() + 6;

/// Names a request as long as it is outstanding; never used again in a life of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId(u64);

impl RequestId {
    pub(super) fn new(n: u64) -> RequestId {
        RequestId(n)
    }
}

/// By what an answer is known to be the answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Correlation {
    /// The service gives the member `clientToken` back.
    ClientToken,
    /// It gives nothing back: of the requests to one topic only one is on its way at a time.
    Topic,
}

/// Why something can't be asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum RequestError {
    #[error("the topic can't be used: {0}")]
    Topic(#[from] TopicError),
    #[error("it has {0} bytes, IoT Core takes at most {MAX_PAYLOAD}")]
    TooLarge(usize),
}

/// A request: where it goes, where its answers come, and a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    service: Service,
    topic: Topic,
    accepted: Topic,
    rejected: Topic,
    body: Map<String, Value>,
    correlation: Correlation,
}

impl Request {
    /// A request whose answers come on `topic` + `/accepted` or `/rejected`, with its client token.
    ///
    /// # Errors
    /// IoT Core doesn't take the topic, or so much.
    pub(crate) fn new(service: Service, topic: &str, body: Map<String, Value>) -> Result<Request, RequestError> {
        let size = Value::Object(body.clone()).to_string().len() + TOKEN_ROOM;
        if size > MAX_PAYLOAD {
            return Err(RequestError::TooLarge(size));
        }
        // What comes may be longer than what may be sent.
        let (accepted, rejected) = (format!("{topic}/accepted"), format!("{topic}/rejected"));
        Ok(Request {
            service,
            topic: Topic::new(topic)?,
            accepted: Topic::received(&accepted),
            rejected: Topic::received(&rejected),
            body,
            correlation: Correlation::ClientToken,
        })
    }

    /// The same, with answers on other topics.
    pub(crate) fn answered_on(self, accepted: &str, rejected: &str) -> Request {
        Request { accepted: Topic::received(accepted), rejected: Topic::received(rejected), ..self }
    }

    /// The same, of a service that gives no token back.
    pub(crate) fn without_token(self) -> Request {
        Request { correlation: Correlation::Topic, ..self }
    }

    pub(crate) fn service(&self) -> Service {
        self.service
    }

    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    pub(super) fn correlation(&self) -> Correlation {
        self.correlation
    }

    /// Whether an answer on this topic says yes; `None`: it is no answer to this request.
    pub(super) fn is_accepted_on(&self, topic: &Topic) -> Option<bool> {
        match () {
            () if *topic == self.accepted => Some(true),
            () if *topic == self.rejected => Some(false),
            () => None,
        }
    }

    /// As it is sent. QoS 1: where a policy forbids it, IoT Core can say so in the PUBACK (MQTT 5) instead of ending the connection.
    pub(super) fn message(&self, token: &str) -> Outbound {
        let mut body = self.body.clone();
        if self.correlation == Correlation::ClientToken {
            body.insert(TOKEN.to_owned(), Value::from(token));
        }
        Outbound {
            topic: self.topic.clone(),
            payload: Bytes::from(Value::Object(body).to_string()),
            qos: Qos::AtLeastOnce,
            retain: false,
            urgent: false,
            properties: None,
        }
    }
}
