//! Fleet provisioning on the wire ("Device provisioning MQTT API", AWS IoT developer guide): topics, requests, answers.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::trouble::{Blame, Stage, Trouble};
use crate::identity::{Signer, certificate_of, certificates_alone};
use crate::limits::{MAX_PARAMETERS, MAX_PAYLOAD, may_be_thing};
use crate::printable::printable;
use crate::secret::Secret;
pub(crate) use crate::services::provisioning_topics as topics;

/// The longest token, in bytes as JSON: AWS's have a few hundred, and all of a request has to fit into a message.
const MAX_TOKEN: usize = MAX_PAYLOAD - MAX_PARAMETERS - 1024;

/// Of AWS's words, so many bytes are shown.
const MAX_WORDS: usize = 500;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) stage: Stage,
    pub(crate) topic: String,
    /// JSON.
    pub(crate) payload: String,
}

impl Request {
    /// Asks for a certificate of the key that has signed `csr`.
    pub(crate) fn create(csr: &str) -> Request {
        let payload = json!({ "certificateSigningRequest": csr }).to_string();
        let [create, _] = topics("");
        Request { stage: Stage::CreateCertificate, topic: create, payload }
    }

    /// Asks that the template makes a thing of a certificate.
    pub(crate) fn register(template: &str, ownership: &str, parameters: &BTreeMap<String, String>) -> Request {
        let payload = json!({ "certificateOwnershipToken": ownership, "parameters": parameters }).to_string();
        let [_, register] = topics(template);
        Request { stage: Stage::RegisterThing, topic: register, payload }
    }

    /// Where it is answered: yes and no.
    pub(crate) fn answers(&self) -> [String; 2] {
        answers(&self.topic)
    }
}

fn answers(topic: &str) -> [String; 2] {
    ["accepted", "rejected"].map(|answer| format!("{topic}/{answer}"))
}

/// What must be subscribed to before anything is asked. Without wildcards: a policy may allow just these.
pub(crate) fn filters(template: &str) -> Vec<String> {
    topics(template).iter().flat_map(|topic| answers(topic)).collect()
}

/// An answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) is_accepted: bool,
    pub(crate) payload: Vec<u8>,
}

/// A certificate that belongs to our key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Created {
    pub(crate) certificate_id: String,
    /// PEM.
    pub(crate) certificate: String,
    /// `certificateOwnershipToken`
    pub(crate) ownership: Secret<String>,
}

/// The thing that the template has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) thing: String,
    pub(crate) configuration: Map<String, Value>,
}

/// Reads the answer to [`Request::create`].
///
/// # Errors
/// It is a rejection, isn't what AWS documents, or the certificate doesn't belong to `key`.
pub(crate) fn created(answer: &Answer, key: &Signer) -> Result<Created, Trouble> {
    const STAGE: Stage = Stage::CreateCertificate;
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Accepted {
        certificate_ownership_token: String,
        certificate_pem: String,
    }
    let Accepted { certificate_ownership_token: ownership, certificate_pem: certificate } = accepted(STAGE, answer)?;
    if ownership.is_empty() {
        return Err(Trouble::of_answer(STAGE, "certificateOwnershipToken is empty"));
    }
    if Value::from(ownership.as_str()).to_string().len() > MAX_TOKEN {
        return Err(Trouble::of_answer(STAGE, "certificateOwnershipToken is too long to be sent back"));
    }
    let certificate_id = certificate_of(key, &certificate).map_err(Trouble::of_certificate)?;
    let certificate = certificates_alone(key, &certificate).map_err(Trouble::of_certificate)?;
    Ok(Created { certificate_id, certificate, ownership: Secret::new(ownership) })
}

/// Reads the answer to [`Request::register`].
///
/// # Errors
/// It is a rejection, isn't what AWS documents, or the name can't be a client id.
pub(crate) fn registered(answer: &Answer) -> Result<Registered, Trouble> {
    const STAGE: Stage = Stage::RegisterThing;
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Accepted {
        thing_name: String,
        device_configuration: Option<Map<String, Value>>,
    }
    let Accepted { thing_name: thing, device_configuration } = accepted(STAGE, answer)?;
    if !may_be_thing(&thing) {
        return Err(Trouble {
            stage: STAGE,
            blame: Blame::Answer,
            code: "thing_name".to_owned(),
            message: format!("the thing that the template made is called `{}`, which can't be a client id", words(&thing)),
            advice: "Change ThingName in the template, so that it has 1 to 128 of the characters a-z, A-Z, 0-9, `:`, `_` and \
                `-`; the thing of that name can be deleted."
                .to_owned(),
        });
    }
    Ok(Registered { thing, configuration: device_configuration.unwrap_or_default() })
}

fn accepted<'a, T: Deserialize<'a>>(stage: Stage, answer: &'a Answer) -> Result<T, Trouble> {
    if !answer.is_accepted {
        return Err(rejected(stage, &answer.payload));
    }
    // What the parser says of it could show a token.
    serde_json::from_slice(&answer.payload)
        .map_err(|_| Trouble::of_answer(stage, "it isn't the JSON that AWS documents"))
}

/// A rejection in words. Whatever it holds, it says no.
fn rejected(stage: Stage, payload: &[u8]) -> Trouble {
    let said: Map<String, Value> = serde_json::from_slice(payload).unwrap_or_default();
    let text = |key: &str| said.get(key).and_then(Value::as_str).map(words).filter(|text| !text.is_empty());
    let status = said.get("statusCode").and_then(Value::as_u64);
    let code = text("errorCode");
    let because = text("errorMessage")
        .map_or_else(|| " and gave no reason".to_owned(), |words| format!(": {}", words.trim_end_matches('.')));
    let status_words = status.map_or_else(String::new, |status| format!(" ({status})"));
    let advice = advice(stage, status).to_owned();
    let with = match (&code, status) {
        (Some(code), _) => format!(" with {code}{status_words}"),
        (None, Some(status)) => format!(" with status {status}"),
        (None, None) => String::new(),
    };
    Trouble {
        stage,
        blame: Blame::Answer,
        message: format!("AWS IoT rejected it{with}{because}"),
        code: code.unwrap_or_else(|| "rejected".to_owned()),
        advice,
    }
}

fn advice(stage: Stage, status: Option<u64>) -> &'static str {
    match (stage, status) {
        (_, Some(429)) => "An account takes so many of these a second; it is asked again later.",
        (_, Some(500..)) => "That is a fault at AWS; it is asked again later.",
        (Stage::RegisterThing, Some(404)) => {
            "There may be no template of that name in this account and region: `aws iot list-provisioning-templates` shows them."
        }
        (Stage::RegisterThing, Some(401 | 403)) => {
            "The template isn't enabled, its role lacks a right, or its pre-provisioning hook said no: the hook's log in \
             CloudWatch tells."
        }
        (Stage::RegisterThing, _) => {
            "Either the template's pre-provisioning hook said no (its log in CloudWatch tells), or \
             provisioning.parameters lacks what the template wants: `aws iot describe-provisioning-template` shows it."
        }
        (_, Some(401 | 403)) => "The claim's policy must allow it: `gatewire policy --claim` prints one that does.",
        _ => "Where a certificate provider signs for this account, its log tells.",
    }
}

/// Others' words, for a message: one line, not too long.
fn words(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_WORDS);
    let more = if end == text.len() { "" } else { "…" };
    format!("{}{more}", printable(&text[..end]))
}
