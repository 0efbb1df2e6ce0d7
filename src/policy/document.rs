//! Policy documents as IoT Core takes them.

use std::fmt;

use serde_json::{Map, Value};
use thiserror::Error;

use super::condition::Condition;
use super::text::{self, NotText};

const VERSION: &str = "2012-10-17";

/// A policy document that IoT Core would take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) statements: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) sid: Option<String>,
    pub(crate) effect: Effect,
    /// With wildcards; case doesn't count.
    pub(crate) actions: Vec<String>,
    /// With wildcards and variables.
    pub(crate) resources: Vec<String>,
    /// It is about every resource but these (`NotResource`).
    pub(crate) all_but: bool,
    /// What its `Condition` tests; empty if it has none. All of it has to hold.
    pub(crate) conditions: Vec<Condition>,
    /// The name of the document, where several are compared.
    pub(crate) document: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Allow,
    Deny,
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(document) = &self.document {
            write!(f, "{document}: ")?;
        }
        write!(f, "statement {}", self.number)?;
        match &self.sid {
            Some(sid) => write!(f, " ({sid})"),
            None => Ok(()),
        }
    }
}

/// Why a document can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum DocumentError {
    #[error(": {0}")]
    Encoding(NotText),
    #[error("{line}:{column}: not JSON: {reason}")]
    NotJson { line: usize, column: usize, reason: String },
    /// It is JSON, but no policy that IoT Core would take: everything that is wrong.
    #[error("{}", .0.join("\n"))]
    NotAPolicy(Vec<String>),
}

/// Reads a policy document, however it was saved.
///
/// # Errors
/// Where it isn't JSON, or everything for which IoT Core would refuse it.
pub(crate) fn parse(bytes: &[u8]) -> Result<Document, DocumentError> {
    let mut value = json(&text::decode(bytes).map_err(DocumentError::Encoding)?)?;
    // The whole document as one string, as `--query policyDocument` without `--output text` prints it.
    if let Value::String(inner) = &value {
        value = json(inner)?;
    }
    let mut problems = Problems::default();
    let statements = problems.document(&value);
    match problems.0.is_empty() {
        true => Ok(Document { statements }),
        false => Err(DocumentError::NotAPolicy(problems.0)),
    }
}

fn json(text: &str) -> Result<Value, DocumentError> {
    serde_json::from_str(text).map_err(|error| DocumentError::NotJson {
        line: error.line(),
        column: error.column(),
        reason: what_it_is(text).map_or_else(|| without_place(&error), str::to_owned),
    })
}

/// What is wrong with a text that isn't JSON, for who doesn't know JSON.
fn what_it_is(text: &str) -> Option<&'static str> {
    let start = text.trim_start();
    Some(match () {
        () if start.is_empty() => "the file is empty",
        () if start.starts_with("-----BEGIN") => "it is a certificate or a key",
        () if start.starts_with('<') => "it is a web page or XML",
        () if start.starts_with("//") || start.starts_with("/*") || start.starts_with('#') => {
            "JSON has no comments; delete them"
        }
        () if text.contains(['“', '”', '„']) && !text.contains('"') => {
            "the quotes are those of a word processor; JSON needs plain ones, \""
        }
        () if start.starts_with("{'") || (text.contains('\'') && !text.contains('"')) => {
            "JSON needs double quotes, \", not single ones"
        }
        () if start.starts_with("Version") || start.starts_with("---") => {
            "it is YAML; a policy for IoT Core is JSON, between { and }"
        }
        () if !start.starts_with(['{', '[', '"']) => "a policy begins with {",
        () => return None,
    })
}

/// What serde_json says, without the place that it ends with.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned()
}

/// Collects what is wrong with a document while it is read.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, problem: String) {
        self.0.push(problem);
    }

    fn document(&mut self, value: &Value) -> Vec<Statement> {
        let Some(document) = value.as_object() else {
            self.add(format!("a policy is a JSON object, this is {}", kind(value)));
            return Vec::new();
        };
        if document.contains_key("policyDocument") {
            self.add(
                "this is the output of `aws iot get-policy`, which wraps the policy; get the document alone with `--query \
                policyDocument --output text`"
                    .to_owned(),
            );
            return Vec::new();
        }
        self.unknown_keys("the policy", document, &["Version", "Id", "Statement"]);
        match document.get("Version").map(|version| version.as_str()) {
            Some(Some(VERSION)) => {}
            Some(_) => self.add(format!("\"Version\" must be \"{VERSION}\", IoT Core takes no other")),
            None => self.add(format!("\"Version\": \"{VERSION}\" is missing, without which IoT Core takes no policy")),
        }
        let statements: &[Value] = match document.get("Statement") {
            Some(Value::Array(statements)) if !statements.is_empty() => statements,
            Some(statement @ Value::Object(_)) => std::slice::from_ref(statement),
            Some(_) => return self.no_statements("\"Statement\" must be an object or an array of at least one"),
            None => return self.no_statements("\"Statement\" is missing"),
        };
        statements.iter().enumerate().filter_map(|(index, value)| self.statement(index + 1, value)).collect()
    }

    fn no_statements(&mut self, problem: &str) -> Vec<Statement> {
        self.add(problem.to_owned());
        Vec::new()
    }

    fn statement(&mut self, number: usize, value: &Value) -> Option<Statement> {
        let name = format!("statement {number}");
        let Some(statement) = value.as_object() else {
            self.add(format!("{name} must be an object, not {}", kind(value)));
            return None;
        };
        for key in ["NotAction", "Principal", "NotPrincipal"] {
            if statement.contains_key(key) {
                self.add(format!("{name}: IoT Core's policies know no \"{key}\", only IAM's do"));
            }
        }
        let known = [
            "Sid",
            "Effect",
            "Action",
            "Resource",
            "Condition",
            "NotAction",
            "NotResource",
            "Principal",
            "NotPrincipal",
        ];
        self.unknown_keys(&name, statement, &known);
        let effect = match statement.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Some(Effect::Allow),
            Some("Deny") => Some(Effect::Deny),
            _ => {
                self.add(format!("{name}: \"Effect\" must be \"Allow\" or \"Deny\""));
                None
            }
        };
        let actions = self.strings(&name, statement, "Action", "NotAction");
        let all_but = statement.contains_key("NotResource");
        if all_but && statement.contains_key("Resource") {
            self.add(format!("{name}: \"Resource\" and \"NotResource\" exclude each other"));
        }
        let key = if all_but { "NotResource" } else { "Resource" };
        let resources = self.strings(&name, statement, key, "");
        let conditions = self.conditions(&name, statement.get("Condition"));
        let sid = statement.get("Sid").and_then(Value::as_str).map(str::to_owned);
        Some(Statement {
            number,
            sid,
            effect: effect?,
            actions: actions?,
            resources: resources?,
            all_but,
            conditions: conditions?,
            document: None,
        })
    }

    /// A string or an array of them. That `instead` stands there is reported by itself.
    fn strings(&mut self, name: &str, of: &Map<String, Value>, key: &str, instead: &str) -> Option<Vec<String>> {
        let found = match of.get(key) {
            Some(Value::String(one)) => Some(vec![one.clone()]),
            Some(Value::Array(all)) if !all.is_empty() => {
                all.iter().map(|one| one.as_str().map(str::to_owned)).collect()
            }
            None if of.contains_key(instead) => return None,
            _ => None,
        };
        if found.is_none() {
            self.add(format!("{name}: \"{key}\" must be a string or an array of strings"));
        }
        found
    }

    /// `{"Bool": {"key": "value"}}`, a condition a key.
    fn conditions(&mut self, name: &str, condition: Option<&Value>) -> Option<Vec<Condition>> {
        let mut found = Vec::new();
        let operators = match condition {
            None => return Some(found),
            Some(condition) => condition.as_object(),
        };
        let Some(operators) = operators else {
            self.add(format!("{name}: \"Condition\" must be an object"));
            return None;
        };
        for (operator, keys) in operators {
            let Some(keys) = keys.as_object() else {
                self.add(format!("{name}: {operator:?} in \"Condition\" must be an object of keys and values"));
                continue;
            };
            for (key, values) in keys {
                match compared_with(values) {
                    Some(values) => {
                        found.push(Condition { operator: operator.clone(), key: key.clone(), values });
                    }
                    None => self.add(format!(
                        "{name}: the value of {key:?} in \"Condition\" must be a string or an array of strings"
                    )),
                }
            }
        }
        Some(found)
    }

    fn unknown_keys(&mut self, name: &str, of: &Map<String, Value>, known: &[&str]) {
        for key in of.keys().filter(|key| !known.contains(&key.as_str())) {
            self.add(format!("{name}: unknown key {key:?}"));
        }
    }
}

/// What a condition compares with: a string, a number or a boolean, or several of them.
fn compared_with(values: &Value) -> Option<Vec<String>> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    };
    match values {
        Value::Array(all) => all.iter().map(one).collect(),
        value => one(value).map(|value| vec![value]),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        match parse(text.as_bytes()) {
            Err(DocumentError::NotAPolicy(problems)) => problems,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_and_many_are_read_alike() {
        let text = r#"{"Version":"2012-10-17","Statement":{"Sid":"S","Effect":"Deny","Action":"iot:*","Resource":["a","b"],
            "Condition":{"Bool":{"iot:Connection.Thing.IsAttached":"true"}}}}"#;
        let statements = parse(text.as_bytes()).unwrap().statements;
        assert_eq!(statements.len(), 1);
        assert_eq!(statements[0].to_string(), "statement 1 (S)");
        assert_eq!(statements[0].effect, Effect::Deny);
        assert_eq!((statements[0].actions.len(), statements[0].resources.len()), (1, 2));
        assert_eq!(statements[0].conditions[0].to_string(), "Bool iot:Connection.Thing.IsAttached \"true\"");
    }

    #[test]
    fn broken_json_is_told_with_its_place() {
        let error = parse(b"{\n  \"Version\": }").unwrap_err();
        assert_eq!(error.to_string(), "2:14: not JSON: expected value");
        assert!(matches!(parse(b"\xff"), Err(DocumentError::Encoding(_))));
    }

    #[test]
    fn it_is_read_however_it_was_saved() {
        let text =
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:Connect","NotResource":"ä"}}"#;
        let plain = parse(text.as_bytes()).unwrap();
        assert!(plain.statements[0].all_but);
        let utf16 = |order: fn(u16) -> [u8; 2]| -> Vec<u8> { text.encode_utf16().flat_map(order).collect() };
        for saved in [
            format!("\u{feff}{text}").into_bytes(),
            [b"\xff\xfe".as_slice(), &utf16(u16::to_le_bytes)].concat(),
            [b"\xfe\xff".as_slice(), &utf16(u16::to_be_bytes)].concat(),
            utf16(u16::to_le_bytes),
            Value::String(text.to_owned()).to_string().into_bytes(),
        ] {
            assert_eq!(parse(&saved).as_ref(), Ok(&plain));
        }
    }

    #[test]
    fn what_is_no_json_is_called_by_its_name() {
        for (text, said) in [
            ("", "the file is empty"),
            ("-----BEGIN PRIVATE KEY-----\nx\n", "it is a certificate or a key"),
            ("<html>", "it is a web page or XML"),
            ("// x\n{}", "JSON has no comments"),
            ("{“Version”: “2012-10-17”}", "those of a word processor"),
            ("{'Version': '2012-10-17'}", "double quotes"),
            ("Version: 2012-10-17\n", "it is YAML"),
            ("my policy", "a policy begins with {"),
            ("{\"Version\": }", "expected value"),
        ] {
            assert!(parse(text.as_bytes()).unwrap_err().to_string().contains(said), "{text}");
        }
    }

    #[test]
    fn what_iot_core_would_refuse_is_told_at_once() {
        let text = r#"{"Version":"2008-10-17","Statement":[{"Effect":"allow","NotAction":"x","Resources":"y"},5,
            {"Effect":"Allow","Action":[],"Resource":[1],"Condition":""}]}"#;
        assert_eq!(
            problems(text),
            [
                "\"Version\" must be \"2012-10-17\", IoT Core takes no other",
                "statement 1: IoT Core's policies know no \"NotAction\", only IAM's do",
                "statement 1: unknown key \"Resources\"",
                "statement 1: \"Effect\" must be \"Allow\" or \"Deny\"",
                "statement 1: \"Resource\" must be a string or an array of strings",
                "statement 2 must be an object, not a number",
                "statement 3: \"Action\" must be a string or an array of strings",
                "statement 3: \"Resource\" must be a string or an array of strings",
                "statement 3: \"Condition\" must be an object",
            ]
        );
        assert_eq!(problems("[]"), ["a policy is a JSON object, this is an array"]);
        assert_eq!(problems("{}").len(), 2);
        assert!(problems(r#"{"policyName":"p","policyDocument":"{}"}"#)[0].contains("--query policyDocument"));
    }
}
