//! Texts and JSON payloads with placeholders, taken apart once and filled in at each publication.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod machine;
mod pieces;
mod value;

use std::io::Write as _;

use jiff::Timestamp;
use serde_json::Value as Json;
use thiserror::Error;

use crate::json;
use crate::limits::MAX_PAYLOAD;
use crate::spelling;
use crate::timestamp::to_milliseconds;
pub(crate) use machine::{Machine, NAMES_OF_MACHINE, OfMachine, beginning, fill_of_machine};
use pieces::pieces;
pub(crate) use value::SourceValue;
use value::plain;

/// What `{{client_id}}`, `{{thing}}` and `{{hostname}}` stand for: known when the configuration is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fixed {
    pub(crate) client_id: String,
    pub(crate) thing: String,
    pub(crate) hostname: String,
}

/// What changes from one publication to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tick<'a> {
    /// From 1.
    pub(crate) count: u64,
    /// When the publication was due; written to the millisecond.
    pub(crate) due: Timestamp,
    /// What the source has read, if there is one.
    pub(crate) value: Option<&'a SourceValue>,
}

/// Why a text with placeholders can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum TemplateError {
    #[error("`{{{{{0}}}}}` isn't known; {hint}", hint = hint(.0, .1))]
    Unknown(String, &'static [&'static str]),
    #[error("`{{{{{0}}}}}` isn't the name of a field; fields are named like `{{{{value.temp}}}}`")]
    NotAField(String),
    #[error("`{{{{{0}}}}}` changes with each publication and may only be used in a payload")]
    OnlyInPayload(&'static str),
    #[error(
        "`{{{{` without `}}}}`; a placeholder is written `{{{{count}}}}`, and a literal `{{{{` as `{{{{\"{{{{\"}}}}`"
    )]
    Unclosed,
}

impl TemplateError {
    /// Where fewer names may stand than in a payload.
    fn where_only(self, allowed: &'static [&'static str]) -> TemplateError {
        match self {
            TemplateError::Unknown(name, _) => TemplateError::Unknown(name, allowed),
            other => other,
        }
    }
}

/// What may be meant, of those that may stand there.
fn hint(unknown: &str, allowed: &[&'static str]) -> String {
    match (spelling::meant(unknown, allowed, &OTHER_NAMES), allowed) {
        (Some(name), _) => format!("did you mean `{{{{{name}}}}}`?"),
        (None, [name]) => format!("only `{{{{{name}}}}}` may stand here"),
        (None, NAMES_OF_MACHINE) => "serial, machine_id and hostname may stand here".to_owned(),
        (None, FIXED_NAMES) => "client_id, thing and hostname may stand here".to_owned(),
        (None, _) => "there are client_id, thing, hostname, count, timestamp and value".to_owned(),
    }
}

/// Why a value doesn't go into a payload. The text follows "the value".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum RenderError {
    #[error("isn't UTF-8, which JSON requires; leave `payload` out to send it as it is")]
    NotUtf8,
    #[error("has half a character as `{0}`, which can't stand in a text: a \\ud800 to \\udfff by itself is none")]
    NotUnicode(String),
    #[error("isn't JSON, so it has no `{0}`")]
    NotJson(String),
    #[error("has no `{0}`")]
    NoField(String),
    #[error("makes a payload of more than the {MAX_PAYLOAD} bytes that IoT Core takes")]
    TooLarge,
}

/// A name that changes with each publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Varying {
    Count,
    Timestamp,
}

/// The names that are known.
pub(crate) const NAMES: [&str; 6] = ["client_id", "thing", "hostname", "count", "timestamp", "value"];

/// Those that don't change from one publication to the next.
const FIXED_NAMES: &[&str] = &["client_id", "thing", "hostname"];

/// The one that a client id may hold, and the name of a thing.
const NAMES_IN_CLIENT_ID: &[&str] = &["hostname"];

/// Digits of the largest count.
const COUNT_LEN: usize = 20;

/// `-009999-01-01T00:00:00.000Z`: the longest that a timestamp gets.
const TIMESTAMP_LEN: usize = 27;

/// A payload, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    /// Never two literals in a row.
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq)]
enum Segment {
    Literal(String),
    /// Neither a count nor a timestamp holds anything that JSON would escape.
    Varying(Varying),
    Value(Field, Stands),
}

/// What of the value: all of it, or what stands at a path of names.
type Field = Vec<String>;

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    InText,
    /// With more in the same JSON string.
    InString,
    /// As a JSON string of its own, without the quotes.
    Alone,
}

/// What [`pieces()`] finds in a text.
enum Piece<'a> {
    Text(&'a str),
    /// The value of a fixed name.
    Fixed(&'a str),
    Varying(Varying),
    Value(Field),
}

/// Fills in `{{client_id}}`, `{{thing}}` and `{{hostname}}`, the only names that may stand in topics and filters.
pub(crate) fn fill(source: &str, fixed: &Fixed) -> Result<String, TemplateError> {
    fill_in(source, fixed).map_err(|error| error.where_only(FIXED_NAMES))
}

/// Likewise for a client id or the name of a thing, for which `{{hostname}}` is there. It is for the caller to refuse the others.
pub(crate) fn fill_client_id(source: &str, fixed: &Fixed) -> Result<String, TemplateError> {
    fill_in(source, fixed).map_err(|error| error.where_only(NAMES_IN_CLIENT_ID))
}

fn fill_in(source: &str, fixed: &Fixed) -> Result<String, TemplateError> {
    let mut filled = String::new();
    for piece in pieces(source, fixed)? {
        match piece {
            Piece::Text(text) | Piece::Fixed(text) => filled.push_str(text),
            Piece::Varying(Varying::Count) => return Err(TemplateError::OnlyInPayload("count")),
            Piece::Varying(Varying::Timestamp) => return Err(TemplateError::OnlyInPayload("timestamp")),
            Piece::Value(_) => return Err(TemplateError::OnlyInPayload("value")),
        }
    }
    Ok(filled)
}

impl Template {
    /// A payload that is sent as it is, with its placeholders filled in.
    pub(crate) fn text(source: &str, fixed: &Fixed) -> Result<Template, TemplateError> {
        let mut template = Template { segments: Vec::new() };
        for piece in pieces(source, fixed)? {
            match piece {
                Piece::Text(text) | Piece::Fixed(text) => template.literal(text),
                Piece::Varying(varying) => template.segments.push(Segment::Varying(varying)),
                Piece::Value(field) => template.segments.push(Segment::Value(field, Stands::InText)),
            }
        }
        Ok(template)
    }

    /// The value itself, whatever it is.
    pub(crate) fn bare_value() -> Template {
        Template { segments: vec![Segment::Value(Field::new(), Stands::InText)] }
    }

    /// A payload that is sent as compact JSON, members in the order written. A string that is nothing but one placeholder
    /// whose value is a number becomes that number; if it is a field of a JSON value, it becomes what that is.
    pub(crate) fn json(value: &Json, fixed: &Fixed) -> Result<Template, TemplateError> {
        let mut template = Template { segments: Vec::new() };
        template.value(value, fixed)?;
        Ok(template)
    }

    fn value(&mut self, value: &Json, fixed: &Fixed) -> Result<(), TemplateError> {
        match value {
            Json::String(text) => self.string(text, fixed),
            Json::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.literal(if i == 0 { "[" } else { "," });
                    self.value(item, fixed)?;
                }
                self.literal(if items.is_empty() { "[]" } else { "]" });
                Ok(())
            }
            Json::Object(members) => {
                for (i, (key, member)) in members.iter().enumerate() {
                    self.literal(if i == 0 { "{" } else { "," });
                    self.quoted(pieces(key, fixed)?);
                    self.literal(":");
                    self.value(member, fixed)?;
                }
                self.literal(if members.is_empty() { "{}" } else { "}" });
                Ok(())
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => {
                self.literal(&value.to_string());
                Ok(())
            }
        }
    }

    fn string(&mut self, text: &str, fixed: &Fixed) -> Result<(), TemplateError> {
        let pieces = pieces(text, fixed)?;
        match &pieces[..] {
            [Piece::Varying(Varying::Count)] => self.segments.push(Segment::Varying(Varying::Count)),
            [Piece::Value(field)] => self.segments.push(Segment::Value(field.clone(), Stands::Alone)),
            [Piece::Fixed(value)] if json::is_number(value) => self.literal(value),
            _ => self.quoted(pieces),
        }
        Ok(())
    }

    fn quoted(&mut self, pieces: Vec<Piece<'_>>) {
        self.literal("\"");
        for piece in pieces {
            match piece {
                Piece::Text(text) | Piece::Fixed(text) => {
                    let quoted = Json::from(text).to_string();
                    self.literal(&quoted[1..quoted.len() - 1]);
                }
                Piece::Varying(varying) => self.segments.push(Segment::Varying(varying)),
                Piece::Value(field) => self.segments.push(Segment::Value(field, Stands::InString)),
            }
        }
        self.literal("\"");
    }

    fn literal(&mut self, text: &str) {
        match self.segments.last_mut() {
            Some(Segment::Literal(before)) => before.push_str(text),
            _ => self.segments.push(Segment::Literal(text.to_owned())),
        }
    }

    /// Whether it holds `{{value}}`: it needs a source.
    pub(crate) fn takes_value(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::Value(..)))
    }

    /// The payload of one publication.
    ///
    /// # Errors
    /// The value of `tick` isn't what the template makes of it. Without `{{value}}` there is none.
    pub(crate) fn render(&self, tick: &Tick<'_>) -> Result<Vec<u8>, RenderError> {
        let mut out = Vec::with_capacity(self.max_len() + tick.value.map_or(0, |value| value.bytes().len()));
        for segment in &self.segments {
            // Writing to memory can't fail.
            let _ = match segment {
                Segment::Literal(text) => out.write_all(text.as_bytes()),
                Segment::Varying(Varying::Count) => write!(out, "{}", tick.count),
                Segment::Varying(Varying::Timestamp) => {
                    write!(out, "{:.3}", to_milliseconds(tick.due))
                }
                Segment::Value(field, stands) => {
                    tick.value.map(|value| render_value(value, field, *stands, &mut out)).transpose()?;
                    Ok(())
                }
            };
            // A field may stand there many times.
            if out.len() > MAX_PAYLOAD {
                return Err(RenderError::TooLarge);
            }
        }
        Ok(out)
    }

    /// The text, if nothing in it changes with each publication.
    pub(crate) fn constant(&self) -> Option<&str> {
        match &self.segments[..] {
            [] => Some(""),
            [Segment::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// No payload gets longer than this, in bytes, without its values.
    pub(crate) fn max_len(&self) -> usize {
        let len = |segment: &Segment| match segment {
            Segment::Literal(text) => text.len(),
            Segment::Varying(Varying::Count) => COUNT_LEN,
            Segment::Varying(Varying::Timestamp) => TIMESTAMP_LEN,
            Segment::Value(..) => 0,
        };
        self.segments.iter().map(len).sum()
    }
}

fn render_value(value: &SourceValue, field: &[String], stands: Stands, out: &mut Vec<u8>) -> Result<(), RenderError> {
    if field.is_empty() {
        match (stands, value.as_number()) {
            (Stands::InText, _) => out.extend_from_slice(value.bytes()),
            (Stands::Alone, Some(number)) => out.extend_from_slice(number.as_bytes()),
            (Stands::Alone, None) if value.is_made_as_json() => out.extend_from_slice(value.bytes()),
            _ => quote(value.as_str().ok_or(RenderError::NotUtf8)?, stands, out),
        }
        return Ok(());
    }
    let found = value.field(field).ok_or_else(|| {
        let name = field.join(".");
        if value.as_json().is_some() { RenderError::NoField(name) } else { RenderError::NotJson(name) }
    })?;
    match stands {
        Stands::Alone if json::half_pair(found).is_some() => return Err(RenderError::NotUnicode(field.join("."))),
        Stands::Alone => out.extend_from_slice(&json::compact(found)),
        Stands::InText | Stands::InString => {
            let text = plain(found).ok_or_else(|| RenderError::NotUnicode(field.join(".")))?;
            match stands {
                Stands::InText => out.extend_from_slice(text.as_bytes()),
                _ => quote(&text, stands, out),
            }
        }
    }
    Ok(())
}

/// As a JSON string; within one, without its quotes.
fn quote(text: &str, stands: Stands, out: &mut Vec<u8>) {
    let quoted = Json::from(text).to_string();
    let quoted = if stands == Stands::Alone { &quoted[..] } else { &quoted[1..quoted.len() - 1] };
    out.extend_from_slice(quoted.as_bytes());
}

/// What other programs call the same.
const OTHER_NAMES: [(&str, &str); 18] = [
    ("time", "timestamp"),
    ("now", "timestamp"),
    ("date", "timestamp"),
    ("datetime", "timestamp"),
    ("ts", "timestamp"),
    ("thing_name", "thing"),
    ("thingname", "thing"),
    ("clientid", "client_id"),
    ("id", "client_id"),
    ("host", "hostname"),
    ("counter", "count"),
    ("n", "count"),
    ("payload", "value"),
    ("serial_number", "serial"),
    ("serialnumber", "serial"),
    ("sn", "serial"),
    ("id", "machine_id"),
    ("machine", "machine_id"),
];

#[cfg(test)]
mod tests;
