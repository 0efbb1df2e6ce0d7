//! The state machine of AWS IoT Device Management commands, which answers as badly as it can.

use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value, json};

use super::world::BAD_DETAILS;
use crate::message::{Outbound, Topic};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Works,
    /// It is done, and the answer is lost.
    Deaf,
    /// It isn't done, and there is no answer.
    Dead,
    Throttles,
    Fails,
    /// It isn't through with the update before.
    Conflicts,
}

#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) id: String,
    pub(super) payload: &'static str,
    pub(super) status: String,
    pub(super) body: Value,
    /// Nothing can be told of it any more: the device has ended it.
    pub(super) is_over: bool,
    /// When its message expires.
    pub(super) expires_at: Option<Instant>,
    pub(super) is_deleted: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Cloud {
    pub(super) commands: Vec<Command>,
    pub(super) heard: Vec<Outbound>,
    pub(super) on_its_way: Vec<(Topic, Bytes)>,
}

impl Cloud {
    /// Sends one; its id.
    pub(super) fn create(&mut self, payload: &'static str, expires_at: Option<Instant>) -> String {
        let id = format!("command-{}", self.commands.len() + 1);
        let (status, body) = ("CREATED".to_owned(), json!({}));
        self.commands.push(Command {
            id: id.clone(),
            payload,
            status,
            body,
            is_over: false,
            expires_at,
            is_deleted: false,
        });
        id
    }

    pub(super) fn command(&self, id: &str) -> &Command {
        self.commands.iter().find(|command| command.id == id).unwrap()
    }

    /// Those of which nothing was heard in their time have timed out, for AWS.
    pub(super) fn expire(&mut self, now: Instant) {
        let open = self.commands.iter_mut().filter(|command| !command.is_over);
        for command in open.filter(|command| command.expires_at.is_some_and(|at| at <= now)) {
            command.status = "TIMED_OUT".to_owned();
        }
    }

    pub(super) fn delete(&mut self, which: usize) {
        if let Some(index) = which.checked_rem(self.commands.len()) {
            self.commands[index].is_deleted = true;
        }
    }

    /// Looks at one of the requests.
    pub(super) fn serve(&mut self, which: usize, mood: Mood) {
        let Some(index) = which.checked_rem(self.heard.len()) else { return };
        let request = self.heard.remove(index);
        let answer = match mood {
            Mood::Works => self.answer(&request),
            Mood::Deaf => {
                let _ = self.answer(&request);
                return;
            }
            Mood::Dead => return,
            Mood::Throttles => Err("RequestThrottled"),
            Mood::Fails => Err("InternalError"),
            Mood::Conflicts => Err("DataConflict"),
        };
        let (end, answer) = match answer {
            Ok(id) => ("accepted", json!({"executionId": id})),
            Err(error) => ("rejected", json!({"error": error, "errorMessage": "no", "executionId": "x"})),
        };
        let topic = request.topic.as_str().strip_suffix("/json").unwrap();
        self.on_its_way.push((Topic::received(&format!("{topic}/{end}/json")), Bytes::from(answer.to_string())));
    }

    fn answer(&mut self, request: &Outbound) -> Result<String, &'static str> {
        let id = request.topic.as_str().strip_prefix("$aws/commands/things/t/executions/").unwrap();
        let id = id.strip_suffix("/response/json").unwrap();
        let body: Value = serde_json::from_slice(&request.payload).unwrap();
        let status = body["status"].as_str().unwrap();
        let found = self.commands.iter_mut().find(|command| command.id == id && !command.is_deleted);
        let command = found.ok_or("ResourceNotFound")?;
        match (&*command.status, status) {
            _ if command.is_over => return Err("TerminalStateReached"),
            ("TIMED_OUT", "IN_PROGRESS") => return Err("InvalidStateTransition"),
            _ if body["result"].get("bad").is_some() => return Err("InvalidRequest"),
            _ => {}
        }
        assert!(command.payload != BAD_DETAILS || body.get("result").is_none(), "{body}");
        command.status = status.to_owned();
        command.is_over = status != "IN_PROGRESS";
        command.body = body;
        Ok(id.to_owned())
    }
}
