//! AWS IoT's services for devices, such as Jobs: how they are asked, and what becomes of the answers.
//!
//! A service is asked by MQTT: a request is a PUBLISH to one topic, and its answer comes on another. [`Requests`] decides (pure) which
//! request goes out when, which answers count, what is tried again, and which services can be used at all; [`jobs`] and [`commands`]
//! are what is said to those two. What is sent and received goes over the link, before the messages of the outbox and through the same
//! rate limit.
//!
//! Source: "AWS IoT Jobs", "AWS IoT Core reserved topics" in the AWS IoT developer guide.

mod answer;
mod availability;
pub(crate) mod commands;
mod event;
pub(crate) mod history;
pub(crate) mod jobs;
mod outstanding;
mod request;
mod requests;
mod retry;
#[cfg(test)]
mod tests;

use crate::message::{TopicError, TopicFilter};
pub(crate) use answer::{Answer, Rejection};
pub(crate) use availability::Availability;
pub(crate) use event::{Counters, Event};
pub(crate) use request::{Request, RequestId};
pub(crate) use requests::Requests;

/// A service of AWS IoT that gatewire asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Service {
    /// What a fleet's operators have this gateway do, one after the other ("AWS IoT Jobs").
    Jobs,
    /// What somebody wants done at once ("AWS IoT Device Management commands").
    Commands,
    /// A backend of the account's that makes another certificate for a thing, such as the certificate rotator of AWS Labs.
    Rotator,
    /// Fleet provisioning, asked with the certificate that is in force: for one that takes its place.
    Provisioning,
}

/// Who asks services, and has to know what comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// What does jobs and commands.
    Executions,
    /// What gets another certificate.
    Rotation,
}

/// The names that are a part of the topics of services.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    pub(crate) thing: &'a str,
    /// Of the provisioning template; empty where there is none.
    pub(crate) template: &'a str,
}

impl Service {
    /// As the configuration and the status document call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Service::Jobs => "jobs",
            Service::Commands => "commands",
            Service::Rotator => "rotator",
            Service::Provisioning => "provisioning",
        }
    }

    pub(crate) fn asker(self) -> Asker {
        match self {
            Service::Jobs | Service::Commands => Asker::Executions,
            Service::Rotator | Service::Provisioning => Asker::Rotation,
        }
    }

    /// As AWS calls it.
    pub(crate) fn full_name(self) -> &'static str {
        match self {
            Service::Jobs => "AWS IoT Jobs",
            Service::Commands => "AWS IoT Commands",
            Service::Rotator => "The certificate rotator",
            Service::Provisioning => "AWS IoT fleet provisioning",
        }
    }

    /// What has to be subscribed to for it. An answer to a request whose SUBACK hasn't come may be lost.
    ///
    /// # Errors
    /// A name has characters that a filter can't have.
    pub(crate) fn filters(self, Names { thing, template }: Names<'_>) -> Result<Vec<TopicFilter>, TopicError> {
        let texts: Vec<String> = match self {
            Service::Jobs => ["notify-next", "start-next/+", "+/get/+", "+/update/+"]
                .map(|last| format!("$aws/things/{thing}/jobs/{last}"))
                .into(),
            Service::Commands => ["request/+", "response/+/json"]
                .map(|last| format!("$aws/commands/things/{thing}/executions/+/{last}"))
                .into(),
            Service::Rotator => {
                ["create/+", "commit/+"].map(|last| format!("awslabs/things/{thing}/certificate/{last}")).into()
            }
            Service::Provisioning => provisioning_topics(template).map(|topic| format!("{topic}/+")).into(),
        };
        // By MQTT's rules alone: the answers of commands have a slash more than IoT Core lets topics have that aren't its own.
        texts.iter().map(|text| TopicFilter::of_mqtt(text)).collect()
    }

    /// The topics of its requests, as filters.
    pub(crate) fn requests(self, Names { thing, template }: Names<'_>) -> Vec<String> {
        match self {
            Service::Jobs => {
                ["start-next", "+/get", "+/update"].map(|last| format!("$aws/things/{thing}/jobs/{last}")).into()
            }
            Service::Commands => vec![format!("$aws/commands/things/{thing}/executions/+/response/json")],
            Service::Rotator => {
                ["create", "commit"].map(|last| format!("awslabs/things/{thing}/certificate/{last}")).into()
            }
            Service::Provisioning => provisioning_topics(template).into(),
        }
    }
}

/// Where fleet provisioning is asked for a certificate (CreateCertificateFromCsr), and to make a thing of one by a template
/// (RegisterThing).
pub(crate) fn provisioning_topics(template: &str) -> [String; 2] {
    [
        "$aws/certificates/create-from-csr/json".to_owned(),
        format!("$aws/provisioning-templates/{template}/provision/json"),
    ]
}
