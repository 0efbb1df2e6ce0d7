//! A line of a client, taken apart: docs/sockets.md tells what it may hold.

mod words;

use std::borrow::Cow;

use base64::Engine as _;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::batch::NotBatchable;
use crate::config;
use crate::json::{compact, half_pair, not_an_object};
use crate::limits::MAX_PAYLOAD;
use crate::message::{BASE64, Properties, PropertiesError, Qos, TopicError, exactly};
use crate::outbox::Refusal;
use crate::socket::{JsonText, Members};

/// The longest `id`, in bytes as it stands in the line: every one may have to be kept until its answer is written.
const MAX_ID: usize = 4096;

/// What a line looks like.
const EXAMPLE: &str = "{\"topic\":\"a/b\",\"payload\":\"text\"}";

const KEYS: [&str; 9] =
    ["topic", "payload", "payload_base64", "qos", "retain", "id", "properties", "expires_in", "urgent"];

/// Why a line isn't published. The text is the `detail` of the answer.
#[derive(Debug, PartialEq, Error)]
pub(super) enum Reject {
    #[error(
        "the line is longer than 256 KiB; a payload may have 128 KiB. If the line has escapes like \\u00e9 for letters, write \
         them as UTF-8 (in Python: json.dumps(..., ensure_ascii=False)), or send the payload as `payload_base64`"
    )]
    LineTooLong,
    #[error("the line isn't complete, and other clients need its memory; write each line in one go")]
    Unfinished,
    #[error("`id` is longer than {MAX_ID} bytes")]
    LongId,
    #[error("the line isn't UTF-8; send bytes as `payload_base64`")]
    NotUtf8,
    #[error("the line isn't a JSON object: {0}")]
    NotAnObject(String),
    #[error("unknown key `{0}`{nearest}. The keys are {all}", nearest = nearest(.1), all = KEYS.join(", "))]
    UnknownKey(String, Option<&'static str>),
    #[error("`{0}` is given twice")]
    Twice(&'static str),
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` must be {1}")]
    WrongType(&'static str, &'static str),
    #[error("`{0}` has half of a surrogate pair (U+{1:04X}) as character {2}, which is no character")]
    Surrogate(&'static str, u32, usize),
    #[error("`payload` is missing, or `payload_base64` for bytes")]
    NoPayload,
    #[error("`payload` and `payload_base64` are both given; send one of them")]
    TwoPayloads,
    #[error("`payload_base64` isn't Base64: {}", words::not_base64(.0))]
    NotBase64(base64::DecodeError),
    #[error("topic `{0}`: {1}")]
    BadTopic(String, TopicError),
    #[error(
        "this socket accepts no messages for `{0}`; `topics` of its [[ingest]] in the configuration says which it accepts"
    )]
    TopicNotAllowed(String),
    #[error(
        "whether this socket accepts messages for `{0}` depends on the name of this gateway's thing, which AWS is yet to say; \
         `gatewire status` shows how far that is. Send it again later"
    )]
    NoIdentity(String),
    #[error("the payload has {0} bytes, IoT Core takes at most {MAX_PAYLOAD}")]
    TooLarge(usize),
    #[error("the payload {}", NotBatchable::TooLarge)]
    TooLargeForBatch,
    #[error("`qos` must be 0 or 1; IoT Core has no other")]
    BadQos,
    #[error("`properties` isn't valid: {0}")]
    BadProperties(String),
    #[error("`properties` {0}")]
    Unsendable(#[from] PropertiesError),
    #[error("`expires_in` must be a duration like \"30s\" or \"1h\", of at least 1s; minutes are \"m\"")]
    BadExpiresIn,
    #[error("`expires_in` is given twice, once in `properties`; send one of them")]
    TwoExpiries,
    #[error("`properties` and `expires_in` need MQTT 5: the configuration must say protocol = \"5\" in [connection]")]
    NeedsMqtt5,
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Reject {
    pub(super) fn code(&self) -> Code {
        match self {
            Reject::BadTopic(..) => Code::BadTopic,
            Reject::TopicNotAllowed(_) => Code::TopicNotAllowed,
            Reject::NoIdentity(_) => Code::NoIdentity,
            Reject::TooLarge(_) | Reject::TooLargeForBatch => Code::TooLarge,
            Reject::BadQos => Code::BadQos,
            Reject::Refused(Refusal::OutboxFull | Refusal::ReservedForUrgent) => Code::OutboxFull,
            Reject::Refused(Refusal::NotConnected | Refusal::PastBudget) => Code::NotConnected,
            Reject::Refused(Refusal::ShuttingDown) => Code::ShuttingDown,
            Reject::Refused(Refusal::Rejected { .. }) => Code::Rejected,
            Reject::Refused(Refusal::Expired) => Code::Expired,
            _ => Code::BadLine,
        }
    }
}

/// The `error` of an answer (docs/sockets.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    BadLine,
    BadTopic,
    TopicNotAllowed,
    /// It may be allowed once the name of the thing is known.
    NoIdentity,
    TooLarge,
    BadQos,
    OutboxFull,
    /// A QoS 0 message while the link is down, or past the budget and not urgent.
    NotConnected,
    /// IoT Core refused it.
    Rejected,
    /// Its `expires_in` had passed before it could be sent.
    Expired,
    ShuttingDown,
}

impl Code {
    /// All of them.
    pub(crate) const ALL: [Code; 11] = [
        Code::BadLine,
        Code::BadTopic,
        Code::TopicNotAllowed,
        Code::NoIdentity,
        Code::TooLarge,
        Code::BadQos,
        Code::OutboxFull,
        Code::NotConnected,
        Code::Rejected,
        Code::Expired,
        Code::ShuttingDown,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Code::BadLine => "bad_line",
            Code::BadTopic => "bad_topic",
            Code::TopicNotAllowed => "topic_not_allowed",
            Code::NoIdentity => "no_identity",
            Code::TooLarge => "too_large",
            Code::BadQos => "bad_qos",
            Code::OutboxFull => "outbox_full",
            Code::NotConnected => "not_connected",
            Code::Rejected => "rejected",
            Code::Expired => "expired",
            Code::ShuttingDown => "shutting_down",
        }
    }
}

/// What a client asks for. Borrows from its line.
#[derive(Debug)]
pub(super) struct IngestRequest<'a> {
    pub(super) topic: Cow<'a, str>,
    pub(super) payload: Bytes,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) urgent: bool,
    pub(super) properties: Option<Properties>,
}

/// Takes a line apart: its `id` as it came, if that could be made out, and what it asks for.
pub(super) fn parse(line: &str) -> (Option<&str>, Result<IngestRequest<'_>, Reject>) {
    let fields = match Members::of(line, &KEYS) {
        Ok(fields) => fields,
        Err(error) => return (None, Err(Reject::NotAnObject(not_an_object(line, &error, EXAMPLE)))),
    };
    let id = fields.values[5].map(RawValue::get);
    if id.is_some_and(|id| !is_id(id)) {
        return (None, Err(Reject::WrongType("id", "a string or a number")));
    }
    if id.is_some_and(|id| id.len() > MAX_ID) {
        return (None, Err(Reject::LongId));
    }
    // It would stand in the answer, which few could read then.
    if let Some((code, position)) = id.filter(|id| id.starts_with('"')).and_then(half_pair) {
        return (None, Err(Reject::Surrogate("id", code, position)));
    }
    (id, request(fields))
}

/// A string or a number: the only JSON values that begin so.
fn is_id(json: &str) -> bool {
    json.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

fn nearest(key: &Option<&'static str>) -> String {
    key.map(|key| format!("; the nearest is `{key}`")).unwrap_or_default()
}

fn request(fields: Members<'_, { KEYS.len() }>) -> Result<IngestRequest<'_>, Reject> {
    if let Some(unknown) = fields.unknown {
        return Err(Reject::UnknownKey(shorten(&unknown), config::meant(&unknown, &KEYS)));
    }
    if let Some(key) = fields.twice {
        return Err(Reject::Twice(key));
    }
    let [topic, payload, payload_base64, qos, retain, _, properties, expires_in, urgent] =
        fields.values.map(|value| value.map(RawValue::get));
    let topic = string(topic.ok_or(Reject::Missing("topic"))?, "topic")?;
    let payload = match (payload, payload_base64) {
        (Some(json), None) => payload_of(json)?,
        (None, Some(json)) => exactly(BASE64.decode(&*string(json, "payload_base64")?).map_err(Reject::NotBase64)?),
        (Some(_), Some(_)) => return Err(Reject::TwoPayloads),
        (None, None) => return Err(Reject::NoPayload),
    };
    if payload.len() > MAX_PAYLOAD {
        return Err(Reject::TooLarge(payload.len()));
    }
    let qos = match qos {
        None | Some("1") => Qos::AtLeastOnce,
        Some("0") => Qos::AtMostOnce,
        Some(_) => return Err(Reject::BadQos),
    };
    let (retain, urgent) = (boolean(retain, "retain")?, boolean(urgent, "urgent")?);
    let properties = properties_of(properties, expires_in, &payload)?;
    Ok(IngestRequest { topic, payload, qos, retain, urgent, properties })
}

/// False unless given.
fn boolean(json: Option<&str>, key: &'static str) -> Result<bool, Reject> {
    match json {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Reject::WrongType(key, "true or false")),
    }
}

/// What `properties` and `expires_in` come to; `None` if neither says anything.
fn properties_of(
    properties: Option<&str>,
    expires_in: Option<&str>,
    payload: &[u8],
) -> Result<Option<Properties>, Reject> {
    if properties.is_none() && expires_in.is_none() {
        return Ok(None);
    }
    // Serde would take an array, too.
    if properties.is_some_and(|json| !json.starts_with('{')) {
        return Err(Reject::WrongType("properties", "an object"));
    }
    let parsed = properties.map(serde_json::from_str::<Properties>).transpose();
    let unreadable = |_| match properties.and_then(half_pair) {
        Some((code, position)) => Reject::Surrogate("properties", code, position),
        None => Reject::BadProperties(words::bad_properties(properties.unwrap_or_default())),
    };
    let mut properties = parsed.map_err(unreadable)?.unwrap_or_default();
    if let Some(json) = expires_in
        && properties.expires_in.replace(whole_seconds(json)?).is_some()
    {
        return Err(Reject::TwoExpiries);
    }
    properties.check(payload)?;
    Ok(Some(properties))
}

/// A duration in quotes; MQTT counts in seconds, so that a fraction is cut off.
fn whole_seconds(json: &str) -> Result<u32, Reject> {
    let text = string(json, "expires_in").map_err(|_| Reject::BadExpiresIn)?;
    // humantime's `M` are months: somebody who wrote this wants minutes.
    let duration = (!text.contains('M')).then(|| humantime::parse_duration(&text).ok()).flatten();
    let seconds = duration.and_then(|duration| u32::try_from(duration.as_secs()).ok());
    seconds.filter(|seconds| *seconds > 0).ok_or(Reject::BadExpiresIn)
}

/// A string is sent as it is, anything else as compact JSON.
fn payload_of(json: &str) -> Result<Bytes, Reject> {
    if !json.starts_with('"') {
        // Most programs could read nothing of it.
        return match half_pair(json) {
            Some((code, position)) => Err(Reject::Surrogate("payload", code, position)),
            None => Ok(exactly(compact(json))),
        };
    }
    Ok(match string(json, "payload")? {
        Cow::Borrowed(text) => Bytes::copy_from_slice(text.as_bytes()),
        Cow::Owned(text) => exactly(text.into_bytes()),
    })
}

fn string<'a>(json: &'a str, key: &'static str) -> Result<Cow<'a, str>, Reject> {
    match serde_json::from_str(json) {
        Ok(JsonText(text)) => Ok(text),
        Err(_) => Err(match half_pair(json) {
            Some((code, position)) => Reject::Surrogate(key, code, position),
            None => Reject::WrongType(key, "a string"),
        }),
    }
}

/// What a client has sent, short enough for an answer.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
