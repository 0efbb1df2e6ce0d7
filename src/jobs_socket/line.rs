//! The lines of `jobs.sock`, in both directions.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{MAX_LINE, Offer, SMALL_LINE};
use crate::config;
use crate::json::{compact, half_pair, not_an_object};
use crate::printable::printable;
use crate::services::jobs::{Details, Outcome, Status};
use crate::socket::{JsonText, Line, Members, append_string};

/// Longer ones aren't repeated in an answer: no job has one.
const MAX_JOB: usize = 64;

/// The most characters of a `detail` that says what is wrong with a line.
const MAX_DETAIL: usize = 300;

/// The most characters of a name that is repeated in a `detail`.
const MAX_NAME: usize = 64;

/// What a line looks like.
const EXAMPLE: &str = "{\"job\":ID,\"result\":\"succeeded\",\"details\":{}}";

const KEYS: [&str; 5] = ["job", "execution", "progress", "result", "details"];

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
    #[error("the line isn't a JSON object: {0}")]
    NotAnObject(String),
    #[error("unknown key \"{0}\"{hint}. The keys are {all}", hint = hint(.1), all = KEYS.join(", "))]
    UnknownKey(String, Option<&'static str>),
    #[error("`{0}` is given twice")]
    Twice(&'static str),
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` must be {1}")]
    WrongType(&'static str, &'static str),
    #[error("`{0}` must be an object like {{\"step\":\"2 of 3\"}}")]
    NotDetails(&'static str),
    #[error("`{0}`: {1}")]
    BadDetails(&'static str, BadPair),
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

/// Why details aren't taken: nothing of them is left out without a word.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum BadPair {
    #[error("\"{0}\" is no name that AWS takes: 1 to 128 letters, digits, `:`, `_` and `-`")]
    Name(String),
    #[error("the value of \"{0}\" is empty, and AWS takes no empty one: leave it out, or write null")]
    Empty(String),
    #[error("the value of \"{0}\" must be a text, a number, true or false")]
    Nested(String),
    #[error("the value of \"{0}\" has half of a surrogate pair (U+{1:04X}), which is no character")]
    Surrogate(String, u32),
    #[error("a name has half of a surrogate pair (U+{0:04X}), which is no character")]
    SurrogateInName(u32),
    #[error("\"{0}\" is given twice")]
    Twice(String),
    #[error("it has {0} pairs, and AWS takes at most 10")]
    TooMany(usize),
}

fn hint(meant: &Option<&'static str>) -> String {
    meant.map(|key| format!("; the nearest is `{key}`")).unwrap_or_default()
}

/// A name that a client has sent, short enough for an answer.
fn shortened(name: &str) -> String {
    let name = printable(name);
    match name.char_indices().nth(MAX_NAME) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.into_owned(),
    }
}

/// Takes a line apart: the job that it is about, if that could be made out, and what it says.
pub(super) fn parse(line: &Line<'_>) -> (Option<String>, Result<Word, Reject>) {
    let text = match line {
        Line::Text(text) => *text,
        Line::TooLong => return (None, Err(Reject::TooLong)),
        Line::NotUtf8 => return (None, Err(Reject::NotUtf8)),
    };
    let fields = match Members::of(text, &KEYS) {
        Ok(fields) => fields,
        Err(error) => return (None, Err(Reject::NotAnObject(not_an_object(text, &error, EXAMPLE)))),
    };
    let [job, execution, progress, result, details] = fields.values.map(given);
    let job = job.map(string);
    let name = job.clone().flatten().filter(|job| job.len() <= MAX_JOB).map(Cow::into_owned);
    let said = || {
        if let Some(unknown) = &fields.unknown {
            return Err(Reject::UnknownKey(shortened(unknown), config::meant(unknown, &KEYS)));
        }
        if let Some(key) = fields.twice {
            return Err(Reject::Twice(key));
        }
        let job = job.ok_or(Reject::Missing("job"))?.ok_or(Reject::WrongType("job", "a string"))?.into_owned();
        let execution = execution.map(str::parse::<i64>).transpose();
        let execution = execution.map_err(|_| Reject::WrongType("execution", "a whole number"))?;
        Ok(Word { job, execution, what: what(progress, result, details)? })
    };
    (name, said())
}

/// `null` is as good as nothing.
fn given(value: Option<&RawValue>) -> Option<&str> {
    value.map(RawValue::get).filter(|json| *json != "null")
}

fn what(progress: Option<&str>, result: Option<&str>, details_of_it: Option<&str>) -> Result<What, Reject> {
    match (progress, result, details_of_it) {
        (None, None, _) => Err(Reject::SaysNothing),
        (Some(_), Some(_), _) => Err(Reject::SaysBoth),
        (Some(_), None, Some(_)) => Err(Reject::DetailsWithoutResult),
        (Some(progress), None, None) => Ok(What::Progress(details(progress, "progress")?)),
        (None, Some(result), details_of_it) => {
            let status = match string(result).as_deref() {
                Some("succeeded") => Status::Succeeded,
                Some("failed") => Status::Failed,
                Some("rejected") => Status::Rejected,
                _ => return Err(Reject::BadResult),
            };
            let details = details_of_it.map(|json| details(json, "details")).transpose()?.unwrap_or_default();
            Ok(What::Result(Outcome { status, details }))
        }
    }
}

fn string(json: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<JsonText<'_>>(json).ok().map(|text| text.0)
}

fn details(json: &str, key: &'static str) -> Result<Details, Reject> {
    if !json.starts_with('{') {
        return Err(Reject::NotDetails(key));
    }
    let bad = |bad: BadPair| Reject::BadDetails(key, bad);
    let Ok(Pairs(pairs)) = serde_json::from_str::<Pairs<'_>>(json) else {
        // It is JSON: only a name can't be read.
        return Err(bad(BadPair::SurrogateInName(half_pair(json).map_or(0xFFFD, |(code, _)| code))));
    };
    let count = pairs.iter().filter(|(_, value)| value.get() != "null").count();
    let mut details = Details::default();
    for (name, value) in pairs {
        let (shown, value) = (shortened(&name), value.get());
        let text = match value.as_bytes().first() {
            Some(b'n') => continue,
            Some(b'"') => match half_pair(value) {
                Some((code, _)) => return Err(bad(BadPair::Surrogate(shown, code))),
                None => string(value).unwrap_or_default(),
            },
            Some(b'{' | b'[') => return Err(bad(BadPair::Nested(shown))),
            _ => Cow::Borrowed(value),
        };
        if Details::default().with(&name, "x").is_empty() {
            return Err(bad(BadPair::Name(shown)));
        }
        if text.is_empty() {
            return Err(bad(BadPair::Empty(shown)));
        }
        if details.get(&name).is_some() {
            return Err(bad(BadPair::Twice(shown)));
        }
        details.set(&name, &text);
        if details.get(&name).is_none() {
            return Err(bad(BadPair::TooMany(count)));
        }
    }
    Ok(details)
}

/// Names and values, in the order in which they stand.
struct Pairs<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<'de>, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
        let mut pairs = Vec::new();
        while let Some((JsonText(name), value)) = map.next_entry()? {
            pairs.push((name, value));
        }
        Ok(Pairs(pairs))
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
