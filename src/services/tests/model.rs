//! A service as bad as it can be: it answers late, twice, out of order, to a former life of ours, or not at all.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::message::{Outbound, Topic};

/// What it does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Accepts,
    /// For ever.
    Rejects,
    Throttles,
    /// An error of its own, as the device shadow says it.
    Fails,
    Silent,
}

/// An answer that is on its way.
#[derive(Debug, Clone)]
pub(super) struct OnItsWay {
    pub(super) topic: Topic,
    pub(super) payload: Bytes,
    /// Which request it answers, by the `n` in it.
    pub(super) n: u64,
    /// With which token.
    pub(super) token: Option<String>,
    pub(super) mood: Mood,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Requests that have come and aren't looked at yet.
    pub(super) heard: Vec<Outbound>,
    /// Answers, in the order in which they were made: which comes next, the network decides.
    pub(super) answers: Vec<OnItsWay>,
}

impl Model {
    /// Looks at one of the requests.
    pub(super) fn look(&mut self, which: usize, mood: Mood) {
        if self.heard.is_empty() {
            return;
        }
        let request = self.heard.remove(which % self.heard.len());
        let body: Value = serde_json::from_slice(&request.payload).unwrap();
        let token = body.get("clientToken").and_then(Value::as_str).map(str::to_owned);
        let end = if mood == Mood::Accepts { "accepted" } else { "rejected" };
        let mut answer = match mood {
            Mood::Accepts => json!({"timestamp": 1}),
            Mood::Rejects => json!({"code": "InvalidStateTransition", "message": "no"}),
            Mood::Throttles => json!({"code": "RequestThrottled", "message": "slowly"}),
            Mood::Fails => json!({"code": 500, "message": "oh"}),
            Mood::Silent => return,
        };
        answer["n"] = body["n"].clone();
        if let Some(token) = &token {
            answer["clientToken"] = json!(token);
        }
        self.answers.push(OnItsWay {
            topic: Topic::received(&format!("{}/{end}", request.topic)),
            payload: Bytes::from(answer.to_string()),
            n: body["n"].as_u64().unwrap(),
            token,
            mood,
        });
    }

    /// Takes one of the answers off the network; another copy of it may stay.
    pub(super) fn take(&mut self, which: usize, again: bool) -> Option<OnItsWay> {
        let count = self.answers.len();
        let index = which.checked_rem(count)?;
        Some(if again { self.answers[index].clone() } else { self.answers.remove(index) })
    }
}
