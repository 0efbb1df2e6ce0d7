//! `payload`: from TOML to a template.

use serde_json::{Map, Number, Value as Json};

use crate::config::document::{Entry, Node, Value};
use crate::config::doubt;
use crate::config::section::Complaints;
use crate::limits::MAX_PAYLOAD;
use crate::template::{Fixed, Template};

/// A string as it is, a table or an array as JSON. What is wrong inside of it is reported where it stands.
pub(in crate::config) fn payload(node: &Node, fixed: &Fixed, complaints: &Complaints<'_>) -> Option<Template> {
    let template = match &node.value {
        Value::String(text) => {
            if let Some(doubt) = doubt::placeholder(text) {
                complaints.warn(node, &doubt);
            }
            Template::text(text, fixed)
        }
        Value::Table(_) | Value::Array(_) => Template::json(&json(node, fixed, complaints)?, fixed),
        other => {
            complaints.at(node, format!("must be a string, a table or an array, not {}", other.kind()));
            return None;
        }
    };
    match template {
        Err(error) => complaints.at(node, error.to_string()),
        Ok(template) if template.max_len() > MAX_PAYLOAD => {
            let len = template.max_len();
            complaints.at(node, format!("may get {len} bytes long, IoT Core takes at most {MAX_PAYLOAD}"));
        }
        Ok(template) => return Some(template),
    }
    None
}

/// Members in the order written.
fn json(node: &Node, fixed: &Fixed, complaints: &Complaints<'_>) -> Option<Json> {
    Some(match &node.value {
        Value::String(text) => {
            placeholders(text, node, fixed, complaints)?;
            Json::String(text.clone())
        }
        Value::Datetime(text) => Json::String(text.clone()),
        Value::Integer(integer) => Json::from(*integer),
        Value::LongInteger => {
            complaints.at(node, "an integer may have at most 64 bits; write it as a string".to_owned());
            return None;
        }
        Value::Float(float) => match Number::from_f64(*float) {
            Some(number) => Json::Number(number),
            None => {
                complaints.at(node, format!("JSON has no number {float}; write it as a string"));
                return None;
            }
        },
        Value::Boolean(boolean) => Json::Bool(*boolean),
        // All of them, and only then whether one is missing: each complaint is wanted.
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| json(item, fixed, complaints)).collect();
            Json::Array(items.into_iter().collect::<Option<_>>()?)
        }
        Value::Table(table) => {
            let member = |Entry { key, node, .. }: &Entry| {
                let known = placeholders(key, node, fixed, complaints);
                Some((key.clone(), json(node, fixed, complaints)?)).filter(|_| known.is_some())
            };
            let members: Vec<_> = table.entries.iter().map(member).collect();
            Json::Object(members.into_iter().collect::<Option<Map<_, _>>>()?)
        }
    })
}

fn placeholders(text: &str, node: &Node, fixed: &Fixed, complaints: &Complaints<'_>) -> Option<()> {
    if let Some(doubt) = doubt::placeholder(text) {
        complaints.warn(node, &doubt);
    }
    Template::text(text, fixed).map_err(|error| complaints.at(node, error.to_string())).ok().map(|_| ())
}
