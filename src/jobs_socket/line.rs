//! The lines of `jobs.sock`, in both directions.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{MAX_LINE, Offer, SMALL_LINE};
use crate::json::{compact, half_pair};
use crate::services::jobs::{Details, Outcome, Status};
use crate::socket::{Line, append_string};

/// Longer ones aren't repeated in an answer: no job has one.
const MAX_JOB: usize = 64;

/// The most characters of a `detail` that says what is wrong with a line.
const MAX_DETAIL: usize = 300;

/// What a reader says of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) job: String,
    /// If it says so: the execution that it means.
    pub(super) execution: Option<i64>,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// How far it is.
    Progress(Details),
    /// It is done with it.
    Result(Outcome),
}

/// Why a line isn't heeded. The text is the `detail` of the answer.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum Reject {
    #[error("the line is longer than 128 KiB; values of details are cut after 1024 characters, so that less is enough")]
    TooLong,
    #[error("the line is longer than 4 KiB, which is as much as a client may send that has no job")]
    TooLongWithoutJob,
    #[error("the line isn't UTF-8")]
    NotUtf8,
    #[error("the line isn't a JSON object like {{\"job\":ID,\"result\":\"succeeded\",\"details\":{{}}}}: {0}")]
    NotAnObject(String),
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` must be {1}")]
    WrongType(&'static str, &'static str),
    #[error("`{0}` must be an object like {{\"step\":\"2 of 3\"}}: {1}")]
    BadDetails(&'static str, String),
    #[error("`result` must be \"succeeded\", \"failed\" or \"rejected\"")]
    BadResult,
    #[error("`progress` or `result` is missing")]
    SaysNothing,
    #[error("`progress` and `result` are both given; send a line for each")]
    SaysBoth,
    #[error("`details` goes with `result`; the details of `progress` are its value")]
    DetailsWithoutResult,
    #[error("this client wasn't given this job, or it was cancelled, or it has its result already")]
    NotYours,
    #[error("this client was given execution {0} of this job")]
    AnotherExecution(i64),
}

const _: () = assert!(MAX_LINE == 128 * 1024 && SMALL_LINE == 4 * 1024);

impl Reject {
    fn code(&self) -> &'static str {
        match self {
            Reject::NotYours | Reject::AnotherExecution(_) => "not_yours",
            _ => "bad_line",
        }
    }
}

/// What a line says, as it stands there.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fields<'a> {
    #[serde(borrow)]
    job: Option<&'a RawValue>,
    #[serde(borrow)]
    execution: Option<&'a RawValue>,
    #[serde(borrow)]
    progress: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    details: Option<&'a RawValue>,
}

/// A string, borrowed where it holds no escapes.
#[derive(Deserialize)]
struct JsonText<'a>(#[serde(borrow)] Cow<'a, str>);

/// Pairs of details, in the order in which they stand: of more than AWS takes the first are kept.
struct Pairs(Details);

/// Takes a line apart: the job that it is about, if that could be made out, and what it says.
pub(super) fn parse(line: &Line<'_>) -> (Option<String>, Result<Word, Reject>) {
    let text = match line {
        Line::Text(text) => *text,
        Line::TooLong => return (None, Err(Reject::TooLong)),
        Line::NotUtf8 => return (None, Err(Reject::NotUtf8)),
    };
    // Serde would take an array, too.
    if !text.trim_start().starts_with('{') {
        return (None, Err(Reject::NotAnObject("it doesn't begin with {".to_owned())));
    }
    let fields: Fields<'_> = match serde_json::from_str(text) {
        Ok(fields) => fields,
        Err(error) => return (None, Err(Reject::NotAnObject(error.to_string()))),
    };
    let job = match fields.job.map(|job| string(job.get())) {
        None => return (None, Err(Reject::Missing("job"))),
        Some(None) => return (None, Err(Reject::WrongType("job", "a string"))),
        Some(Some(job)) => job.into_owned(),
    };
    let said = what(&fields).map(|(execution, what)| Word { job: job.clone(), execution, what });
    (Some(job).filter(|job| job.len() <= MAX_JOB), said)
}

fn what(fields: &Fields<'_>) -> Result<(Option<i64>, What), Reject> {
    let execution = fields.execution.map(|number| number.get().parse::<i64>());
    let execution = execution.transpose().map_err(|_| Reject::WrongType("execution", "a whole number"))?;
    let what = match (fields.progress, fields.result, fields.details) {
        (None, None, _) => return Err(Reject::SaysNothing),
        (Some(_), Some(_), _) => return Err(Reject::SaysBoth),
        (Some(_), None, Some(_)) => return Err(Reject::DetailsWithoutResult),
        (Some(progress), None, None) => What::Progress(details(progress, "progress")?),
        (None, Some(result), details_of_it) => {
            let status = match string(result.get()).as_deref() {
                Some("succeeded") => Status::Succeeded,
                Some("failed") => Status::Failed,
                Some("rejected") => Status::Rejected,
                _ => return Err(Reject::BadResult),
            };
            let details = details_of_it.map(|json| details(json, "details")).transpose()?.unwrap_or_default();
            What::Result(Outcome { status, details })
        }
    };
    Ok((execution, what))
}

fn string(json: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<JsonText<'_>>(json).ok().map(|text| text.0)
}

fn details(json: &RawValue, key: &'static str) -> Result<Details, Reject> {
    let read: Result<Pairs, _> = serde_json::from_str(json.get());
    read.map(|pairs| pairs.0).map_err(|error| {
        let detail = match half_pair(json.get()) {
            Some((code, _)) => format!("half of a surrogate pair (U+{code:04X}) is no character"),
            None => error.to_string(),
        };
        Reject::BadDetails(key, detail)
    })
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut details = Details::default();
        while let Some(JsonText(key)) = map.next_key()? {
            let value = map.next_value::<&RawValue>()?.get();
            match value.as_bytes().first() {
                Some(b'"') => match string(value) {
                    Some(text) => details.set(&key, &text),
                    None => return Err(A::Error::custom("a text can't be read")),
                },
                Some(b'{' | b'[') => {
                    return Err(A::Error::custom(
                        "its values are texts, numbers, true or false, none of them an object",
                    ));
                }
                Some(b'n') => {}
                _ => details.set(&key, value),
            }
        }
        Ok(Pairs(details))
    }
}

/// The line that gives a job to a reader.
pub(super) fn offered(offer: &Offer) -> Vec<u8> {
    let mut line = of_job(&offer.identity.job);
    line.extend_from_slice(format!(",\"execution\":{},\"document\":", offer.identity.number).as_bytes());
    // As it came, but in one line.
    line.extend_from_slice(&compact(&offer.document));
    line.extend_from_slice(b",\"deadline\":");
    match offer.deadline {
        Some(deadline) => {
            line.push(b'"');
            deadline.print(&mut line);
            line.push(b'"');
        }
        None => line.extend_from_slice(b"null"),
    }
    line.extend_from_slice(b"}\n");
    line
}

/// The line that takes it back.
pub(super) fn cancelled(job: &str) -> Vec<u8> {
    let mut line = of_job(job);
    line.extend_from_slice(b",\"cancelled\":true}\n");
    line
}

/// The answer to a line that isn't heeded.
pub(super) fn rejected(job: Option<&str>, reject: &Reject) -> Vec<u8> {
    let mut line = match job {
        Some(job) => [&of_job(job)[..], b","].concat(),
        None => b"{".to_vec(),
    };
    line.extend_from_slice(format!("\"error\":\"{}\",\"detail\":", reject.code()).as_bytes());
    let detail = reject.to_string();
    let end = detail.char_indices().nth(MAX_DETAIL).map_or(detail.len(), |(end, _)| end);
    append_string(&mut line, &detail[..end]);
    line.extend_from_slice(b"}\n");
    line
}

fn of_job(job: &str) -> Vec<u8> {
    let mut line = b"{\"job\":".to_vec();
    append_string(&mut line, job);
    line
}
