//! What is asked of AWS, and what its answers mean. Pure.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::effect::{Answered, NoAnswer, Question};
use crate::config::Provisioning;
use crate::identity::{Signer, certificates_alone};
use crate::json;
use crate::printable::printable;
use crate::provisioning::{Trouble, wire};
use crate::services::{Answer, Rejection, Request, Service};

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking<'a> {
    /// The name of the thing.
    pub(super) thing: &'a str,
    pub(super) provisioning: &'a Provisioning,
}

/// The most of others' words that is shown, in bytes.
const MAX_WORDS: usize = 500;

impl Asking<'_> {
    /// The service that is asked.
    pub(super) fn service(question: &Question) -> Service {
        match question {
            Question::Create(_) | Question::Commit(_) => Service::Rotator,
            Question::CreateFromCsr | Question::Register { .. } => Service::Provisioning,
        }
    }

    /// `csr` is a request for a certificate, as PEM.
    ///
    /// # Errors
    /// Why it can't be asked.
    pub(super) fn request(self, question: &Question, csr: &str) -> Result<Request, NoAnswer> {
        let service = Asking::service(question);
        let of_rotator = |what: &str, members: &[(&str, &str)]| {
            let body = members.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
            (format!("awslabs/things/{}/certificate/{what}", self.thing), body)
        };
        let of_wire = |request: wire::Request| {
            let body: Map<String, Value> = serde_json::from_str(&request.payload).unwrap_or_default();
            (request.topic, body)
        };
        let (topic, body) = match question {
            Question::Create(job) => of_rotator("create", &[("jobId", &job.job), ("csr", csr)]),
            Question::Commit(job) => of_rotator("commit", &[("jobId", &job.job)]),
            Question::CreateFromCsr => of_wire(wire::Request::create(csr)),
            Question::Register { token } => {
                let Provisioning { template, told, .. } = self.provisioning;
                let told = told.as_ref().map_err(|lacks| fault(&lacks.to_string(), true))?;
                of_wire(wire::Request::register(template, token, &told.parameters))
            }
        };
        let request = Request::new(service, &topic, body).map_err(|error| fault(&error.to_string(), true))?;
        Ok(request.without_token())
    }

    /// `key` is that of the request for a certificate, if one was made in this life of the daemon.
    pub(super) fn answered(
        self,
        question: &Question,
        answer: Answer,
        key: Option<&Signer>,
    ) -> Result<Answered, NoAnswer> {
        let payload = match answer {
            Answer::Accepted(payload) => payload,
            Answer::Rejected(rejection) => return Err(rejected(question, &rejection)),
            Answer::NotTaken(why) => return Err(fault(&format!("IoT Core doesn't take the request: {why}"), true)),
        };
        let accepted = |payload: &Bytes| wire::Answer { is_accepted: true, payload: payload.to_vec() };
        let key = || key.ok_or_else(|| fault("there is no key for a certificate", true));
        match question {
            Question::Create(_) => {
                let pem = certificate(&payload).ok_or_else(|| fault("its answer has no certificatePem", false))?;
                let pem = certificates_alone(key()?, &pem)
                    .map_err(|error| fault(&format!("the certificate that came can't be used: {error}"), false))?;
                Ok(Answered::Certificate { pem, token: None })
            }
            Question::Commit(_) => Ok(Answered::Committed),
            Question::CreateFromCsr => {
                let created = wire::created(&accepted(&payload), key()?).map_err(|trouble| said(&trouble))?;
                let token = Some(created.ownership.expose().clone());
                Ok(Answered::Certificate { pem: created.certificate, token })
            }
            Question::Register { .. } => {
                let registered = wire::registered(&accepted(&payload)).map_err(|trouble| said(&trouble))?;
                if registered.thing != self.thing {
                    let text = format!(
                        "RegisterThing makes the thing `{}` of the new certificate, and this gateway is `{}`: the template has to give \
                         it the name that it has",
                        registered.thing, self.thing
                    );
                    return Err(fault(&text, true));
                }
                Ok(Answered::Registered { configuration: registered.configuration })
            }
        }
    }
}

/// `certificatePem` of the rotator's answer.
fn certificate(payload: &Bytes) -> Option<String> {
    let text = std::str::from_utf8(payload).ok()?;
    let member = json::child(json::parse(text)?, "certificatePem")?;
    json::string(member).map(|pem| pem.into_owned())
}

fn rejected(question: &Question, rejection: &Rejection) -> NoAnswer {
    let what = match question {
        Question::Create(_) => "the certificate rotator rejects the request for a certificate",
        Question::Commit(_) => "the certificate rotator rejects the commit",
        Question::CreateFromCsr => "CreateCertificateFromCsr is rejected",
        Question::Register { .. } => "RegisterThing is rejected",
    };
    let said = rejection.to_string();
    let words = printable(&said);
    let end = words.floor_char_boundary(MAX_WORDS);
    fault(&format!("{what}: {}", &words[..end]), true)
}

fn said(trouble: &Trouble) -> NoAnswer {
    fault(trouble.message.trim_end_matches('.'), true)
}

fn fault(text: &str, is_final: bool) -> NoAnswer {
    NoAnswer { text: text.to_owned(), is_final }
}
