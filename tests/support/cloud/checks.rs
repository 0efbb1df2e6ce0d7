//! What AWS takes, and refuses with `InvalidRequest`: "UpdateJobExecution", "StartNextPendingJobExecution" and "StatusReason" in the AWS
//! IoT API reference.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};
use serde_json::{Map, Value};

/// Unicode's category C: controls, format characters, private use, what isn't assigned.
static OTHER: LazyLock<Vec<(char, char)>> = LazyLock::new(|| {
    let parsed = regex_syntax::parse(r"\p{C}").unwrap();
    let HirKind::Class(Class::Unicode(class)) = parsed.kind() else { panic!("{parsed:?}") };
    class.ranges().iter().map(|range| (range.start(), range.end())).collect()
});

fn is_other(c: char) -> bool {
    OTHER.iter().any(|(from, to)| (*from..=*to).contains(&c))
}

fn is_name(text: &str, max: usize, more: &[char]) -> bool {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-') || more.contains(&c);
    (1..=max).contains(&text.len()) && text.chars().all(is_fit)
}

/// A job id or an execution id.
pub fn is_id(text: &str) -> bool {
    is_name(text, 64, &[])
}

fn text(what: &str, value: &Value, min: usize) -> Result<(), String> {
    let text = value.as_str().ok_or_else(|| format!("{what} isn't a string: {value}"))?;
    match text.chars().count() {
        n if n < min => Err(format!("{what} is empty")),
        n if n > 1024 => Err(format!("{what} has {n} characters")),
        _ => match text.chars().find(|c| is_other(*c)) {
            Some(c) => Err(format!("{what} holds {c:?}")),
            None => Ok(()),
        },
    }
}

/// What any request to Jobs may hold.
pub fn job_request(what: &str, body: &Map<String, Value>) -> Result<(), String> {
    let known: &[&str] = match what {
        "start-next" => &["statusDetails", "stepTimeoutInMinutes", "clientToken"],
        "update" => &[
            "status",
            "statusDetails",
            "expectedVersion",
            "executionNumber",
            "includeJobExecutionState",
            "includeJobDocument",
            "stepTimeoutInMinutes",
            "clientToken",
        ],
        "get" => &["executionNumber", "includeJobDocument", "clientToken"],
        _ => &["clientToken"],
    };
    for (key, value) in body {
        let is_fit = match &**key {
            _ if !known.contains(&&**key) => return Err(format!("{what} has no {key}")),
            "status" | "statusDetails" => true,
            "clientToken" => value.as_str().is_some_and(|token| (1..=64).contains(&token.len())),
            "includeJobExecutionState" | "includeJobDocument" => value.is_boolean(),
            "stepTimeoutInMinutes" => value.as_i64().is_some_and(|n| n == -1 || (1..=10080).contains(&n)),
            _ => value.is_i64(),
        };
        if !is_fit {
            return Err(format!("{key} is {value}"));
        }
    }
    if what == "update" {
        let status = body.get("status").and_then(Value::as_str).ok_or("no status")?;
        if !matches!(status, "IN_PROGRESS" | "SUCCEEDED" | "FAILED" | "REJECTED") {
            return Err(format!("status {status}"));
        }
    }
    body.get("statusDetails").map_or(Ok(()), details)
}

fn details(details: &Value) -> Result<(), String> {
    let details = details.as_object().ok_or("statusDetails isn't an object")?;
    if details.len() > 10 {
        return Err(format!("statusDetails has {} pairs", details.len()));
    }
    details.iter().try_for_each(|(key, value)| match is_name(key, 128, &[':']) {
        true => text(&format!("statusDetails.{key}"), value, 1),
        false => Err(format!("statusDetails has the key {key:?}")),
    })
}

/// What is told of a command.
pub fn response(body: &Map<String, Value>) -> Result<(), String> {
    if let Some(key) = body.keys().find(|key| !matches!(&***key, "status" | "statusReason" | "result")) {
        return Err(format!("a response has no {key}"));
    }
    let status = body.get("status").and_then(Value::as_str).ok_or("no status")?;
    if !matches!(status, "IN_PROGRESS" | "SUCCEEDED" | "FAILED" | "REJECTED" | "TIMED_OUT") {
        return Err(format!("status {status}"));
    }
    if let Some(reason) = body.get("statusReason") {
        let code = reason["reasonCode"].as_str().unwrap_or_default();
        let is_fit = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if !((1..=64).contains(&code.len()) && code.chars().all(is_fit)) {
            return Err(format!("reasonCode {code:?}"));
        }
        reason.get("reasonDescription").map_or(Ok(()), |description| text("reasonDescription", description, 0))?;
    }
    let Some(result) = body.get("result") else { return Ok(()) };
    let result = result.as_object().ok_or("result isn't an object")?;
    for (key, value) in result {
        match value.as_object().map(|value| value.iter().collect::<Vec<_>>()).as_deref() {
            Some([(kind, value)]) if *kind == "s" => text(&format!("result.{key}"), value, 1)?,
            Some([(kind, value)]) if *kind == "b" && value.is_boolean() => {}
            Some([(kind, value)]) if *kind == "bin" && value.is_string() => {}
            _ => return Err(format!("result.{key} is {value}")),
        }
    }
    Ok(())
}
