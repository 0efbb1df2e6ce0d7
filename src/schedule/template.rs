//! Texts and JSON payloads with placeholders, taken apart once and filled in at each publication.

use std::io::Write as _;

use jiff::{Timestamp, Unit};
use serde_json::Value;
use thiserror::Error;

/// What `{{client_id}}` and `{{hostname}}` stand for: known when the configuration is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fixed {
    pub(crate) client_id: String,
    pub(crate) hostname: String,
}

/// What changes from one publication to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tick {
    /// From 1.
    pub(crate) count: u64,
    /// When the publication was due; written to the millisecond.
    pub(crate) due: Timestamp,
}

/// Why a text with placeholders can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum TemplateError {
    #[error("`{{{{{name}}}}}` isn't known; {}", hint(.nearest.as_deref()))]
    Unknown { name: String, nearest: Option<String> },
    #[error("`{{{{{0}}}}}` is not supported yet")]
    NotSupportedYet(&'static str),
    #[error("`{{{{{0}}}}}` changes with each publication and may only stand in a payload")]
    OnlyInPayload(&'static str),
    #[error("`{{{{` without `}}}}`; a literal `{{{{` is written `{{{{\"{{{{\"}}}}`")]
    Unclosed,
}

fn hint(nearest: Option<&str>) -> String {
    match nearest {
        Some(name) => format!("did you mean `{{{{{name}}}}}`?"),
        None => "there are client_id, hostname, count and timestamp".to_owned(),
    }
}

/// A name that changes with each publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Varying {
    Count,
    Timestamp,
}

/// The names that are known.
const NAMES: [&str; 4] = ["client_id", "hostname", "count", "timestamp"];

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
}

/// What [`pieces`] finds in a text.
enum Piece<'a> {
    Text(&'a str),
    /// The value of a fixed name.
    Fixed(&'a str),
    Varying(Varying),
}

/// Fills in `{{client_id}}` and `{{hostname}}`, the only names that may stand in topics, filters and client ids.
pub(crate) fn fill(source: &str, fixed: &Fixed) -> Result<String, TemplateError> {
    let mut filled = String::new();
    for piece in pieces(source, fixed)? {
        match piece {
            Piece::Text(text) | Piece::Fixed(text) => filled.push_str(text),
            Piece::Varying(Varying::Count) => return Err(TemplateError::OnlyInPayload("count")),
            Piece::Varying(Varying::Timestamp) => return Err(TemplateError::OnlyInPayload("timestamp")),
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
            }
        }
        Ok(template)
    }

    /// A payload that is sent as compact JSON, members in the order written. A string that is nothing but one placeholder
    /// whose value is a number becomes that number.
    pub(crate) fn json(value: &Value, fixed: &Fixed) -> Result<Template, TemplateError> {
        let mut template = Template { segments: Vec::new() };
        template.value(value, fixed)?;
        Ok(template)
    }

    fn value(&mut self, value: &Value, fixed: &Fixed) -> Result<(), TemplateError> {
        match value {
            Value::String(text) => self.string(text, fixed),
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.literal(if i == 0 { "[" } else { "," });
                    self.value(item, fixed)?;
                }
                self.literal(if items.is_empty() { "[]" } else { "]" });
                Ok(())
            }
            Value::Object(members) => {
                for (i, (key, member)) in members.iter().enumerate() {
                    self.literal(if i == 0 { "{" } else { "," });
                    self.quoted(pieces(key, fixed)?);
                    self.literal(":");
                    self.value(member, fixed)?;
                }
                self.literal(if members.is_empty() { "{}" } else { "}" });
                Ok(())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                self.literal(&value.to_string());
                Ok(())
            }
        }
    }

    fn string(&mut self, text: &str, fixed: &Fixed) -> Result<(), TemplateError> {
        let pieces = pieces(text, fixed)?;
        match pieces[..] {
            [Piece::Varying(Varying::Count)] => self.segments.push(Segment::Varying(Varying::Count)),
            [Piece::Fixed(value)] if serde_json::from_str::<serde_json::Number>(value).is_ok() => self.literal(value),
            _ => self.quoted(pieces),
        }
        Ok(())
    }

    fn quoted(&mut self, pieces: Vec<Piece<'_>>) {
        self.literal("\"");
        for piece in pieces {
            match piece {
                Piece::Text(text) | Piece::Fixed(text) => {
                    let quoted = Value::from(text).to_string();
                    self.literal(&quoted[1..quoted.len() - 1]);
                }
                Piece::Varying(varying) => self.segments.push(Segment::Varying(varying)),
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

    /// Appends the payload of one publication to `out`.
    pub(crate) fn render(&self, tick: &Tick, out: &mut Vec<u8>) {
        for segment in &self.segments {
            // Writing to memory can't fail.
            let _ = match segment {
                Segment::Literal(text) => out.write_all(text.as_bytes()),
                Segment::Varying(Varying::Count) => write!(out, "{}", tick.count),
                Segment::Varying(Varying::Timestamp) => {
                    write!(out, "{:.3}", tick.due.round(Unit::Millisecond).unwrap_or(tick.due))
                }
            };
        }
    }

    /// The text, if nothing in it changes with each publication.
    pub(crate) fn constant(&self) -> Option<&str> {
        match &self.segments[..] {
            [] => Some(""),
            [Segment::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// No payload gets longer than this, in bytes.
    pub(crate) fn max_len(&self) -> usize {
        let len = |segment: &Segment| match segment {
            Segment::Literal(text) => text.len(),
            Segment::Varying(Varying::Count) => COUNT_LEN,
            Segment::Varying(Varying::Timestamp) => TIMESTAMP_LEN,
        };
        self.segments.iter().map(len).sum()
    }
}

/// Takes a text apart at its placeholders.
fn pieces<'a>(source: &'a str, fixed: &'a Fixed) -> Result<Vec<Piece<'a>>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = source;
    while let Some((text, after)) = rest.split_once("{{") {
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        if let Some(after) = after.strip_prefix("\"{{\"}}") {
            pieces.push(Piece::Text("{{"));
            rest = after;
            continue;
        }
        let (name, after) = after.split_once("}}").ok_or(TemplateError::Unclosed)?;
        pieces.push(match name.trim() {
            "client_id" => Piece::Fixed(&fixed.client_id),
            "hostname" => Piece::Fixed(&fixed.hostname),
            "count" => Piece::Varying(Varying::Count),
            "timestamp" => Piece::Varying(Varying::Timestamp),
            "value" => return Err(TemplateError::NotSupportedYet("value")),
            unknown => return Err(TemplateError::Unknown { name: unknown.to_owned(), nearest: nearest(unknown) }),
        });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

fn nearest(name: &str) -> Option<String> {
    let similarity = |known: &&str| strsim::jaro_winkler(known, name);
    let best = NAMES.into_iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    (similarity(&best) > 0.7).then(|| best.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fixed() -> Fixed {
        Fixed { client_id: "thing-1".to_owned(), hostname: "pi\"4".to_owned() }
    }

    fn render(template: &Template) -> String {
        let mut out = Vec::new();
        let tick = Tick { count: 7, due: "2026-01-31T12:00:00.1239Z".parse().unwrap() };
        template.render(&tick, &mut out);
        assert!(out.len() <= template.max_len());
        String::from_utf8(out).unwrap()
    }

    fn text(source: &str) -> String {
        render(&Template::text(source, &fixed()).unwrap())
    }

    #[test]
    fn a_text_is_sent_as_it_is_with_its_placeholders_filled_in() {
        assert_eq!(text("Hello [{{count}}]"), "Hello [7]");
        assert_eq!(text("{{ client_id }} on {{hostname}}: { } }} {"), "thing-1 on pi\"4: { } }} {");
        assert_eq!(text(r#"{{"{{"}}count}}"#), "{{count}}");
        assert_eq!(text("{{timestamp}}"), "2026-01-31T12:00:00.124Z");
        assert_eq!(text(""), "");
    }

    #[test]
    fn json_keeps_its_order_and_escapes_what_is_filled_in() {
        let value = json!({"z": "Hello [{{count}}]", "a": [1, 2.5, null, true, {}, []], "host": "{{hostname}}\n"});
        let template = Template::json(&value, &fixed()).unwrap();
        let expected = r#"{"z":"Hello [7]","a":[1,2.5,null,true,{},[]],"host":"pi\"4\n"}"#;
        assert_eq!(render(&template), expected);
        assert!(matches!(template.segments[..], [Segment::Literal(_), Segment::Varying(_), Segment::Literal(_)]));
    }

    #[test]
    fn a_string_that_is_one_number_is_sent_as_a_number() {
        let fixed = Fixed { client_id: "42".to_owned(), hostname: "042".to_owned() };
        let value = json!(["{{count}}", "{{count}} ", "{{client_id}}", "{{hostname}}", "{{timestamp}}"]);
        let template = Template::json(&value, &fixed).unwrap();
        assert_eq!(render(&template), r#"[7,"7 ",42,"042","2026-01-31T12:00:00.124Z"]"#);
    }

    #[test]
    fn a_topic_may_hold_only_what_does_not_change() {
        assert_eq!(fill("gateways/{{client_id}}/x", &fixed()).unwrap(), "gateways/thing-1/x");
        assert_eq!(fill("a/{{count}}", &fixed()), Err(TemplateError::OnlyInPayload("count")));
    }

    #[test]
    fn a_wrong_name_is_refused_with_the_nearest() {
        let error = |source| Template::text(source, &fixed()).unwrap_err().to_string();
        assert_eq!(error("{{clientid}}"), "`{{clientid}}` isn't known; did you mean `{{client_id}}`?");
        assert!(error("{{}}").contains("there are client_id, hostname, count and timestamp"));
        assert_eq!(error("{{value}}"), "`{{value}}` is not supported yet");
        assert_eq!(error("{{count"), "`{{` without `}}`; a literal `{{` is written `{{\"{{\"}}`");
    }
}
