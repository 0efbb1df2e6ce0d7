//! AWS as a thing sees it on its topics, without I/O: what it hears, and what it says.

use serde_json::{Map, Value, json};

use super::caller::{self, Caller};
use super::certificates::Certificates;
use super::commands::Commands;
use super::jobs::{Jobs, Refusal, Status};
use super::provisioning::{self, Provisioning};
use super::rotation::Rotation;

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
    /// CreateCertificateFromCsr or CreateKeysAndCertificate.
    CreateCertificate,
    RegisterThing,
    /// Of the certificate rotator.
    RotatorCreate,
    RotatorCommit,
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
    /// It is done, and this is the answer: garbage, half an answer.
    Says(&'static str),
    /// It is done, and the answer has a member more, of so many bytes.
    Pads(usize),
    /// It is done, and the certificate is for another key than the device's.
    OtherKey,
}

/// In the refusals that a [`Mood`] brings.
const WANTED: &str = "the test wants it so";

/// See the module.
#[derive(Debug, Default)]
pub struct Service {
    pub jobs: Jobs,
    pub commands: Commands,
    pub certificates: Certificates,
    pub provisioning: Provisioning,
    pub rotation: Rotation,
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
    Jobs {
        thing: &'a str,
        what: &'a str,
    },
    Command {
        thing: &'a str,
        execution: &'a str,
    },
    /// `csr`: with a key of the device's own.
    Certificate {
        csr: bool,
    },
    Thing {
        template: &'a str,
    },
    Rotator {
        thing: &'a str,
        what: &'a str,
    },
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

    /// Something that AWS doesn't allow.
    pub fn object(&mut self, violation: String) {
        self.violations.push(violation);
    }

    /// A message of a device. What follows from it.
    pub fn hears(&mut self, topic: &str, payload: &[u8], retain: bool) -> Vec<Message> {
        let (caller, topic) = caller::asked(topic);
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
            Some(Route::Certificate { csr }) => self.ask_certificates(&caller, topic, csr, payload),
            Some(Route::Thing { template }) => self.ask_templates(&caller, topic, template, payload),
            Some(Route::Rotator { thing, what }) => self.ask_rotator(&caller, topic, thing, what, payload),
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
            Some(Mood::Refuses(code)) => Err(Refusal::new(code, WANTED)),
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
            Some(Mood::Refuses(code)) => Err((code, WANTED.to_owned())),
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

    fn ask_certificates(&mut self, caller: &Caller, topic: &str, csr: bool, payload: &[u8]) -> Vec<Message> {
        self.provision(caller, topic, Kind::CreateCertificate, payload, |service, mood, body| {
            let Service { provisioning, certificates, .. } = service;
            match csr {
                true => provisioning.create_from_csr(certificates, body, mood == Some(Mood::OtherKey)),
                false => provisioning.create_keys(certificates, body),
            }
        })
    }

    fn ask_templates(&mut self, caller: &Caller, topic: &str, template: &str, payload: &[u8]) -> Vec<Message> {
        self.provision(caller, topic, Kind::RegisterThing, payload, |service, _, body| {
            service.provisioning.register(&mut service.certificates, template, body)
        })
    }

    /// Fleet provisioning answers on the connection of the one who asks only.
    fn provision(
        &mut self,
        caller: &Caller,
        topic: &str,
        kind: Kind,
        payload: &[u8],
        act: impl FnOnce(&mut Service, Option<Mood>, &Map<String, Value>) -> Result<Value, provisioning::Refusal>,
    ) -> Vec<Message> {
        let body = self.read(topic, payload, kind);
        let mood = self.mood(kind);
        let answer = match mood {
            Some(Mood::Dead) => return Vec::new(),
            Some(Mood::Refuses(code)) => Err(provisioning::Refusal::new(code, WANTED)),
            _ => body
                .map_err(|refusal| provisioning::Refusal::new("InvalidPayload", refusal.message))
                .and_then(|body| act(self, mood, &body)),
        };
        let message = match answer {
            Ok(answer) => Message::new(format!("{topic}/accepted"), &answer),
            Err(provisioning::Refusal { status, code, message }) => {
                self.note(topic, code, &message);
                let refusal = json!({"statusCode": status, "errorCode": code, "errorMessage": message});
                Message::new(format!("{topic}/rejected"), &refusal)
            }
        };
        self.say(mood, Message { topic: caller.answered(&message.topic), ..message })
    }

    fn ask_rotator(&mut self, caller: &Caller, topic: &str, thing: &str, what: &str, payload: &[u8]) -> Vec<Message> {
        let kind = if what == "create" { Kind::RotatorCreate } else { Kind::RotatorCommit };
        let body = self.read(topic, payload, kind);
        let mood = self.mood(kind);
        let answer = match mood {
            Some(Mood::Dead) => return Vec::new(),
            Some(Mood::Refuses(code)) => Err(format!("{code}: {WANTED}")),
            _ => body.map_err(|refusal| refusal.message).and_then(|body| {
                self.is_rotating(caller, thing, &body)?;
                let Service { rotation, certificates, .. } = self;
                match kind {
                    Kind::RotatorCreate => rotation.create(certificates, thing, &body, mood == Some(Mood::OtherKey)),
                    _ => rotation.commit(certificates, thing, caller.certificate.as_deref(), &body),
                }
            }),
        };
        let message = match answer {
            Ok(answer) => Message::new(format!("{topic}/accepted"), &answer),
            Err(text) => Message::new(format!("{topic}/rejected"), &json!({"errorMsg": text})),
        };
        self.say(mood, message)
    }

    /// Whether the job is one of the rotator's on this thing, as the device has said, and the device is that thing.
    fn is_rotating(&mut self, caller: &Caller, thing: &str, body: &Map<String, Value>) -> Result<(), String> {
        let job = body.get("jobId").and_then(Value::as_str).unwrap_or_default();
        let known = caller.certificate.as_deref().and_then(|id| self.certificates.get(id));
        let refusal = match self.jobs.of_job(job).filter(|execution| execution.thing == thing) {
            _ if known.is_some_and(|known| known.thing.as_deref() != Some(thing)) => "another thing's certificate",
            None => "there is no such job",
            Some(execution) if execution.document["operation"] != "ROTATE_CERTIFICATE" => {
                "the job wants something else"
            }
            Some(execution) if execution.status != Status::InProgress => return Err("the job isn't in progress".into()),
            Some(execution) if execution.details.get("CertificateRotator").map(String::as_str) != Some("true") => {
                "statusDetails have no CertificateRotator"
            }
            Some(_) => return Ok(()),
        };
        self.violations.push(format!("rotation of {thing} by {job:?}: {refusal}"));
        Err(refusal.to_owned())
    }

    fn note(&mut self, topic: &str, code: &str, message: &str) {
        let is_form =
            matches!(code, "InvalidRequest" | "InvalidJson" | "InvalidTopic" | "InvalidPayload" | "InvalidCSR");
        if is_form && message != WANTED {
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
            None | Some(Mood::Refuses(_) | Mood::OtherKey) => vec![message],
            Some(Mood::Says(payload)) => vec![Message { payload: payload.to_owned(), ..message }],
            Some(Mood::Pads(size)) => {
                let mut answer: Value = serde_json::from_str(&message.payload).unwrap();
                answer["padding"] = "x".repeat(size).into();
                vec![Message::new(message.topic, &answer)]
            }
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
        ["$aws", "certificates", "create-from-csr", "json"] => Some(Route::Certificate { csr: true }),
        ["$aws", "certificates", "create", "json"] => Some(Route::Certificate { csr: false }),
        ["$aws", "provisioning-templates", template, "provision", "json"] => Some(Route::Thing { template }),
        ["awslabs", "things", thing, "certificate", what @ ("create" | "commit")] => {
            Some(Route::Rotator { thing, what })
        }
        _ => Some(Route::Unknown),
    }
}
