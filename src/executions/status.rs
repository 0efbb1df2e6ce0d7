//! The `services` of the status document.

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::SignedDuration;
use serde::Serialize;

use crate::services::{Asker, Availability, Counters, Requests, Service};
use crate::time::{self, Rfc3339};

/// One of the `services` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct ServiceStatus {
    /// `ready`: it can be asked. `waiting`: there is no connection, or its filters aren't subscribed to yet. `refused`: IoT Core, or the
    /// service itself, refuses it, and it is tried again at `next_attempt`.
    state: &'static str,
    since: Rfc3339,
    /// What IoT Core does, if it is refused; what is waited for on this machine.
    reason: Option<String>,
    next_attempt: Option<Rfc3339>,
    /// Requests without answer.
    outstanding: u64,
    /// Counts since the start: requests sent, those sent again included; that have an answer; that had none in time; that AWS wanted to
    /// be sent later.
    sent: u64,
    answered: u64,
    timed_out: u64,
    delayed: u64,
    #[serde(flatten)]
    under_way: UnderWay,
    /// Programs at `jobs.sock`, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    readers: Option<usize>,
}

/// What is under way of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct UnderWay {
    /// The job's id, or that of a command's execution.
    pub(super) execution: Option<String>,
    /// How many others wait for their turn, or for AWS to take their result.
    pub(super) waiting: usize,
    #[serde(skip)]
    pub(super) refused: Option<Refused>,
}

/// A service refuses a request without which nothing can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) why: String,
    /// When it is asked again.
    pub(super) again_at: Instant,
}

pub(super) fn of(
    requests: &Requests,
    under_way: &BTreeMap<&'static str, UnderWay>,
    readers: Option<usize>,
    unread: Option<&str>,
) -> BTreeMap<&'static str, ServiceStatus> {
    let of_one = |(service, availability, since, counters): (Service, &Availability, Instant, Counters)| {
        let Counters { sent, answered, timed_out, put_off } = counters;
        let under_way = under_way.get(service.name()).cloned().unwrap_or_default();
        let (state, reason, next_attempt) = match (availability, &under_way.refused) {
            (Availability::Ready | Availability::Waiting, _) if let Some(why) = unread => {
                ("waiting", Some(format!("the database can't be read: {why}")), None)
            }
            (Availability::Ready, Some(Refused { why, again_at })) => {
                ("refused", Some(why.clone()), Some(on_the_wall(*again_at)))
            }
            (Availability::Waiting, _) => ("waiting", None, None),
            (Availability::Ready, None) => ("ready", None, None),
            (Availability::Refused { why, again_at }, _) => {
                ("refused", Some(why.clone()), Some(on_the_wall(*again_at)))
            }
        };
        let status = ServiceStatus {
            state,
            since: on_the_wall(since),
            reason,
            next_attempt,
            outstanding: requests.outstanding_of(service) as u64,
            sent,
            answered,
            timed_out,
            delayed: put_off,
            under_way,
            readers: readers.filter(|_| service == Service::Jobs),
        };
        (service.name(), status)
    };
    requests.services().filter(|(service, ..)| service.asker() == Asker::Executions).map(of_one).collect()
}

/// What the clock showed, or will show.
fn on_the_wall(at: Instant) -> Rfc3339 {
    let (now, wall) = (time::now(), time::wall());
    let signed = |duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::ZERO);
    let moved = match at >= now {
        true => wall.checked_add(signed(at - now)),
        false => wall.checked_sub(signed(now - at)),
    };
    moved.unwrap_or(wall).into()
}
