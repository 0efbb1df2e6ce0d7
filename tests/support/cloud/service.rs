//! AWS as a thing sees it on its topics, without I/O: what it hears, and what it says.

use serde_json::{Map, Value, json};

use super::commands::Commands;
use super::jobs::{Jobs, Refusal};

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: String,
    /// The message expiry interval, in seconds.
    pub expires_in: Option<u32>,
}

impl Message {
    pub fn new(topic: impl Into<String>, payload: &Value) -> Message {
        Message { topic: topic.into(), payload: payload.to_string(), expires_in: None }
    }
}

/// A sort of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    StartNext,
    /// Where an execution is, or which are pending.
    Get,
    Update,
    /// What is told of a command.
    Response,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It isn't done, and refused: `RequestThrottled`, `InternalError`, or any other code.
    Refuses(&'static str),
    /// It isn't done, and there is no answer.
    Dead,
    /// It is done, and there is no answer.
    Silent,
    /// It is done, and answered once [`Service::release`] is called.
    Holds,
    /// It is done, and answered twice.
    Repeats,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Service {
    pub jobs: Jobs,
    pub commands: Commands,
    moods: Vec<(Kind, Mood)>,
    held: Vec<Message>,
    /// All that was answered.
    answers: Vec<Message>,
    /// All that was asked, in order.
    requests: Vec<(Kind, Value)>,
    violations: Vec<String>,
}

/// Where a request goes.
enum Route<'a> {
    Jobs { thing: &'a str, what: &'a str },
    Command { thing: &'a str, execution: &'a str },
    Unknown,
}

impl Service {
    /// One request of this kind, the next that has no other mood, is treated so.
    pub fn treat(&mut self, kind: Kind, mood: Mood) {
        self.moods.push((kind, mood));
    }

    /// What was held back is said.
    pub fn release(&mut self) -> Vec<Message> {
        let held = std::mem::take(&mut self.held);
        for message in &held {
            if let Some(execution) = message.topic.split('/').nth(5)
                && let Some(command) = self.commands.get_mut(execution)
            {
                command.is_busy = false;
            }
        }
        held
    }

    /// All answers up to now, as if they came late or were for somebody else.
    pub fn answers(&self) -> &[Message] {
        &self.answers
    }

    /// The requests of this kind, the oldest first.
    pub fn requests(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        self.requests.iter().filter(move |(of, _)| *of == kind).map(|(_, body)| body)
    }

    /// What was refused as AWS refuses what breaks its rules; no test wants any.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// The violations, which a test has wanted.
    pub fn take_violations(&mut self) -> Vec<String> {
        std::mem::take(&mut self.violations)
    }

    /// A message of a device. What follows from it.
    pub fn hears(&mut self, topic: &str, payload: &[u8], retain: bool) -> Vec<Message> {
        let route = route(topic);
        if retain {
            self.violations.push(format!("{topic} is retained"));
        }
        let answered = match route {
            // Ours.
            None => return Vec::new(),
            Some(Route::Unknown) => {
                self.violations.push(format!("nothing listens to {topic}"));
                Vec::new()
            }
            Some(Route::Jobs { thing, what }) => self.ask_jobs(topic, thing, what, payload),
            Some(Route::Command { thing, execution }) => self.ask_commands(topic, thing, execution, payload),
        };
        self.answers.extend_from_slice(&answered);
        [answered, self.news()].concat()
    }

    /// What things are told of without asking.
    pub fn news(&mut self) -> Vec<Message> {
        self.jobs.news().into_iter().map(|(topic, payload)| Message::new(topic, &payload)).collect()
    }

    fn ask_jobs(&mut self, topic: &str, thing: &str, what: &str, payload: &[u8]) -> Vec<Message> {
        let kind = match what.rsplit('/').next() {
            Some("start-next") => Kind::StartNext,
            Some("update") => Kind::Update,
            _ => Kind::Get,
        };
        let body = self.read(topic, payload, kind);
        let mood = self.mood(kind);
        let token = body.as_ref().ok().and_then(|body| body.get("clientToken").cloned());
        let answer = match mood {
            Some(Mood::Dead) => return Vec::new(),
            Some(Mood::Refuses(code)) => Err(Refusal::new(code, "the test wants it so")),
            _ => body.and_then(|body| self.jobs.answer(thing, what, &body)),
        };
        let (end, mut answer) = match answer {
            Ok(answer) => ("accepted", answer),
            Err(Refusal { code, message, state }) => {
                self.note(topic, code, &message);
                let mut refusal = json!({"code": code, "message": message, "timestamp": 1});
                if let Some(state) = state {
                    refusal["executionState"] = state;
                }
                ("rejected", refusal)
            }
        };
        if let Some(token) = token {
            answer["clientToken"] = token;
        }
        self.say(mood, Message::new(format!("{topic}/{end}"), &answer))
    }

    fn ask_commands(&mut self, topic: &str, thing: &str, execution: &str, payload: &[u8]) -> Vec<Message> {
        let body = self.read(topic, payload, Kind::Response);
        let mood = self.mood(Kind::Response);
        let answer = match mood {
            Some(Mood::Dead) => return Vec::new(),
            Some(Mood::Refuses(code)) => Err((code, "the test wants it so".to_owned())),
            _ => body
                .map_err(|refusal| (refusal.code, refusal.message))
                .and_then(|body| self.commands.answer(thing, execution, &body)),
        };
        let base = topic.strip_suffix("/json").unwrap_or(topic);
        let message = match answer {
            Ok(()) => Message::new(format!("{base}/accepted/json"), &json!({"executionId": execution})),
            Err((code, text)) => {
                self.note(topic, code, &text);
                let refusal = json!({"error": code, "errorMessage": text, "executionId": execution});
                Message::new(format!("{base}/rejected/json"), &refusal)
            }
        };
        if mood == Some(Mood::Holds)
            && let Some(command) = self.commands.get_mut(execution)
        {
            command.is_busy = true;
        }
        self.say(mood, message)
    }

    fn note(&mut self, topic: &str, code: &str, message: &str) {
        if matches!(code, "InvalidRequest" | "InvalidJson" | "InvalidTopic") && message != "the test wants it so" {
            self.violations.push(format!("{topic}: {code}: {message}"));
        }
    }

    fn read(&mut self, topic: &str, payload: &[u8], kind: Kind) -> Result<Map<String, Value>, Refusal> {
        let refuse = |text: String| Refusal::new("InvalidJson", text);
        // None is as good as an empty object.
        let payload = if payload.is_empty() { b"{}" } else { payload };
        let body: Value = serde_json::from_slice(payload).map_err(|error| refuse(format!("{topic}: {error}")))?;
        self.requests.push((kind, body.clone()));
        match body {
            Value::Object(body) => Ok(body),
            other => Err(refuse(format!("{other} isn't an object"))),
        }
    }

    fn mood(&mut self, kind: Kind) -> Option<Mood> {
        let index = self.moods.iter().position(|(of, _)| *of == kind)?;
        Some(self.moods.remove(index).1)
    }

    fn say(&mut self, mood: Option<Mood>, message: Message) -> Vec<Message> {
        match mood {
            None | Some(Mood::Refuses(_)) => vec![message],
            Some(Mood::Repeats) => vec![message.clone(), message],
            Some(Mood::Dead | Mood::Silent) => Vec::new(),
            Some(Mood::Holds) => {
                self.held.push(message);
                Vec::new()
            }
        }
    }
}

/// `None`: it is what AWS itself says.
fn route(topic: &str) -> Option<Route<'_>> {
    match topic.split('/').collect::<Vec<_>>()[..] {
        [.., "accepted" | "rejected"]
        | [.., "accepted" | "rejected", "json"]
        | [.., "jobs", "notify" | "notify-next"] => None,
        ["$aws", "things", thing, "jobs", _, ..] => {
            let what = &topic["$aws/things//jobs/".len() + thing.len()..];
            Some(Route::Jobs { thing, what })
        }
        ["$aws", "commands", "things", _, "executions", _, "request", ..] => None,
        ["$aws", "commands", "things", thing, "executions", execution, "response", "json"] => {
            Some(Route::Command { thing, execution })
        }
        _ => Some(Route::Unknown),
    }
}
