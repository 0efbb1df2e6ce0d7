//! A filter that the server doesn't subscribe us to. The link stays; nothing arrives for the filter.

use thiserror::Error;

use crate::certificate::Whose;
use crate::client::Failure;
use crate::message::TopicFilter;
use crate::mqtt::Protocol;
use crate::mqtt::reason::{Reason, ReasonCode};

/// SUBACK with a failure, or a CONNACK that rules the filter out. Its text says what was tried and what came back.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the server refused to subscribe us to `{filter}`{}", said(*protocol, reason))]
pub(crate) struct FilterRefused {
    pub(crate) protocol: Protocol,
    pub(crate) filter: TopicFilter,
    pub(crate) reason: Reason,
    /// The server is AWS IoT Core, as far as its name tells.
    pub(crate) is_iot_core: bool,
    /// With which certificate.
    pub(crate) whose: Whose,
}

/// The failure of a SUBACK in MQTT 3.1.1 has no reason.
fn said(protocol: Protocol, reason: &Reason) -> String {
    match protocol {
        Protocol::Mqtt311 => String::new(),
        Protocol::Mqtt5 => format!(" with reason code {reason}"),
    }
}

impl FilterRefused {
    /// What to do about it: one sentence.
    pub(crate) fn advice(&self) -> String {
        let filter = &self.filter;
        match (self.protocol, self.reason.code) {
            (Protocol::Mqtt311, _) | (_, ReasonCode::NOT_AUTHORIZED | ReasonCode::UNSPECIFIED) => {
                let needs = format!("iot:Subscribe on topicfilter/{filter} and iot:Receive on its topics");
                match self.is_iot_core {
                    true => format!("Add {needs} to {}.", self.whose.policy()),
                    false => format!(
                        "The server's access rules must allow it; at AWS {} needs {needs}.",
                        self.whose.policy()
                    ),
                }
            }
            (Protocol::Mqtt5, ReasonCode::QUOTA_EXCEEDED) => {
                "IoT Core accepts 50 filters per connection, and so many new ones a second from all of an account: combine \
                 some of them, or have the limit raised, if this stays."
                    .to_owned()
            }
            (Protocol::Mqtt5, _) => {
                "Change it in `filters` of its [[forward]], or in `from` of its [[bridge.down]].".to_owned()
            }
        }
    }
}

impl From<&FilterRefused> for Failure {
    fn from(refused: &FilterRefused) -> Failure {
        Failure { code: "subscribe_refused", message: refused.to_string(), advice: refused.advice() }
    }
}
