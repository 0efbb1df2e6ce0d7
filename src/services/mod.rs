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
pub(crate) use request::{Request, RequestId};
pub(crate) use requests::{Counters, Event, Requests};

/// A service of AWS IoT that gatewire asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Service {
    /// What a fleet's operators have this gateway do, one after the other ("AWS IoT Jobs").
    Jobs,
    /// What somebody wants done at once ("AWS IoT Device Management commands").
    Commands,
}

impl Service {
    /// As the configuration and the status document call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Service::Jobs => "jobs",
            Service::Commands => "commands",
        }
    }

    /// As AWS calls it.
    pub(crate) fn full_name(self) -> &'static str {
        match self {
            Service::Jobs => "AWS IoT Jobs",
            Service::Commands => "AWS IoT Commands",
        }
    }

    /// What has to be subscribed to for it. An answer to a request whose SUBACK hasn't come may be lost.
    ///
    /// # Errors
    /// The name of the thing has characters that a filter can't have.
    pub(crate) fn filters(self, thing: &str) -> Result<Vec<TopicFilter>, TopicError> {
        let texts: Vec<String> = match self {
            Service::Jobs => ["notify-next", "start-next/+", "+/get/+", "+/update/+"]
                .map(|last| format!("$aws/things/{thing}/jobs/{last}"))
                .into(),
            Service::Commands => ["request/+", "response/+/json"]
                .map(|last| format!("$aws/commands/things/{thing}/executions/+/{last}"))
                .into(),
        };
        // By MQTT's rules alone: the answers of commands have a slash more than IoT Core lets topics have that aren't its own.
        texts.iter().map(|text| TopicFilter::of_mqtt(text)).collect()
    }

    /// The topics of its requests, as filters.
    pub(crate) fn requests(self, thing: &str) -> Vec<String> {
        match self {
            Service::Jobs => {
                ["start-next", "+/get", "+/update"].map(|last| format!("$aws/things/{thing}/jobs/{last}")).into()
            }
            Service::Commands => vec![format!("$aws/commands/things/{thing}/executions/+/response/json")],
        }
    }
}
