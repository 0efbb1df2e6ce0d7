//! What a connection that failed means here.

use super::trouble::{Blame, Stage, Trouble};
use super::wire::Request;
use crate::link::diagnosis::LinkError;
use crate::link::talk::Asked;
use crate::message::TopicFilter;
use crate::mqtt::reason::Reason;
use crate::net::TlsFault;

const POLICY: &str = "`gatewire policy --claim` prints a policy that does";

impl Trouble {
    /// A connection that failed or ended.
    pub(super) fn of_link(stage: Stage, error: &LinkError, client_id: &str) -> Trouble {
        let blame = blame(error);
        let advice = match (stage, blame) {
            (_, Blame::Network | Blame::Here) => error.advice(),
            (Stage::Trial, _) => format!(
                "All of AWS may not know a new certificate at once: it is tried for ten minutes, and then another one is asked for. \
                 {}",
                error.advice()
            ),
            (Stage::Connect, _) => format!(
                "Either the claim's certificate isn't active (`aws iot describe-certificate` shows its status), or its policy \
                 doesn't allow iot:Connect as client/{client_id} and the subscriptions: {POLICY}."
            ),
            (_, _) => format!(
                "Most likely the claim's policy doesn't allow iot:Publish to that topic: {POLICY}. Another gateway with this \
                 client id disconnects it, too."
            ),
        };
        Trouble { stage, blame, code: error.code().to_owned(), message: error.message(), advice }
    }

    /// A subscription that was refused.
    pub(super) fn of_filter(filter: &TopicFilter, reason: &Reason) -> Trouble {
        Trouble {
            stage: Stage::Connect,
            blame: Blame::Server,
            code: "subscription_refused".to_owned(),
            message: format!("the subscription to `{filter}` was refused with reason code {reason}"),
            advice: format!("The claim's policy must allow iot:Subscribe on topicfilter/{filter}: {POLICY}."),
        }
    }

    /// What was asked wasn't answered as it should be.
    pub(super) fn of_asked(request: &Request, asked: &Asked) -> Trouble {
        match asked {
            Asked::Refused(rejection) => Trouble {
                stage: request.stage,
                blame: Blame::Server,
                code: "publish_refused".to_owned(),
                message: format!("the request to `{}` was refused: {rejection}", request.topic),
                advice: format!("The claim's policy must allow iot:Publish on topic/{}: {POLICY}.", request.topic),
            },
            Asked::Unanswered(patience) => Trouble {
                stage: request.stage,
                blame: Blame::Server,
                code: "no_answer".to_owned(),
                message: format!(
                    "the request to `{}` was acknowledged, and no answer came within {} s",
                    request.topic,
                    patience.as_secs()
                ),
                advice: format!(
                    "Either the claim's policy doesn't allow iot:Receive on topic/{}/*: {POLICY}. Or AWS, or the template's \
                     pre-provisioning hook, takes too long: the log of its Lambda function tells.",
                    request.topic
                ),
            },
            Asked::TooLarge(size) => Trouble::of_answer(request.stage, &format!("it has {size} bytes")),
            Asked::Answered(..) => Trouble::of_answer(request.stage, "it is on another topic"),
        }
    }
}

/// Whether the server had a say in it.
fn blame(error: &LinkError) -> Blame {
    match error {
        LinkError::ClosedBeforeConnack { .. }
        | LinkError::ConnackRefused { .. }
        | LinkError::ConnackTimeout { .. }
        | LinkError::ClosedByServer { .. }
        | LinkError::TakenOver { .. }
        | LinkError::Disconnected { .. }
        | LinkError::Unanswered { .. }
        | LinkError::MalformedPacket { .. }
        | LinkError::PacketTooLarge { .. }
        | LinkError::ProtocolViolation { .. }
        | LinkError::Tls { fault: TlsFault::Alert(_) | TlsFault::Closed { answered: true }, .. } => Blame::Server,
        LinkError::InvalidEndpoint(_) => Blame::Here,
        // Also where somebody else answers in the server's place, or this machine's clock is wrong.
        LinkError::Dns { .. }
        | LinkError::Tcp { .. }
        | LinkError::Proxy { .. }
        | LinkError::Tls { .. }
        | LinkError::KeepAliveLost { .. }
        | LinkError::PacketUnfinished { .. }
        | LinkError::AddressLost { .. }
        | LinkError::Io { .. } => Blame::Network,
    }
}
