//! The kinds of values that keys take. Each function says what is wrong in words that follow "`key`: ".

use std::ops::RangeInclusive;
use std::time::Duration;

use super::WhenFull;
use super::document::{Node, Value};
use super::report::nearest;
use crate::message::Qos;

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;

/// The words of `when_full`.
pub(super) const WHEN_FULL: &[(&str, WhenFull)] =
    &[("drop-oldest", WhenFull::DropOldest), ("reject-new", WhenFull::RejectNew)];

pub(super) fn string(node: &Node) -> Result<&str, String> {
    match &node.value {
        Value::String(text) => Ok(text),
        other => Err(format!("must be a string in quotes, not {}", other.kind())),
    }
}

pub(super) fn boolean(node: &Node) -> Result<bool, String> {
    match &node.value {
        Value::Boolean(boolean) => Ok(*boolean),
        other => Err(format!("must be true or false, not {}", other.kind())),
    }
}

/// An integer within a range.
pub(super) fn integer(range: RangeInclusive<i64>) -> impl Fn(&Node) -> Result<i64, String> {
    move |node| match node.value {
        Value::Integer(integer) if range.contains(&integer) => Ok(integer),
        Value::Integer(integer) => {
            Err(format!("{integer} is out of range, it must be from {} to {}", range.start(), range.end()))
        }
        ref other => Err(format!("must be an integer, not {}", other.kind())),
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Node) -> Result<T, String> {
    move |node| {
        let text = string(node)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let names = || words.iter().map(|(word, _)| *word);
        let all = names().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        Err(match nearest(text, names()) {
            Some(word) => format!("\"{text}\" isn't one of {all}; did you mean \"{word}\"?"),
            None => format!("\"{text}\" isn't one of {all}"),
        })
    }
}

/// A duration such as `"30s"` within a range.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&Node) -> Result<Duration, String> {
    move |node| {
        let text = match &node.value {
            Value::String(text) => text.trim(),
            Value::Integer(n) => return Err(format!("must be a duration with its unit in quotes, such as \"{n}s\"")),
            other => return Err(format!("must be a duration such as \"30s\", not {}", other.kind())),
        };
        if text.contains('M') {
            // humantime's months: somebody who wrote this wants minutes.
            return Err(format!("\"{text}\" isn't a duration; minutes are \"m\", as in \"5m\""));
        }
        let parsed = humantime::parse_duration(text).map_err(|error| {
            format!("\"{text}\" isn't a duration such as \"500ms\", \"30s\", \"5m\" or \"7d\": {error}")
        })?;
        if range.contains(&parsed) {
            return Ok(parsed);
        }
        Err(format!("\"{text}\" is out of range, it must be from {} to {}", shown(*range.start()), shown(*range.end())))
    }
}

/// A duration as it is written in the configuration.
pub(super) fn shown(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Units of sizes, in bytes.
const UNITS: [(&str, u64); 7] =
    [("B", 1), ("kB", 1000), ("KB", 1000), ("KiB", 1 << 10), ("MB", 1_000_000), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// A size such as `"16 MiB"` within a range of bytes.
pub(super) fn size(range: RangeInclusive<u64>) -> impl Fn(&Node) -> Result<u64, String> {
    move |node| {
        let text = match &node.value {
            Value::String(text) => text.trim(),
            Value::Integer(n) => return Err(format!("must be a size with its unit in quotes, such as \"{n} B\"")),
            other => return Err(format!("must be a size such as \"16 MiB\", not {}", other.kind())),
        };
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let factor = UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| *factor);
        let bytes = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        match bytes {
            None => Err(format!("\"{text}\" isn't a size such as \"512 KiB\", \"16 MiB\" or \"1 MB\"")),
            Some(bytes) if range.contains(&bytes) => Ok(bytes),
            Some(_) => {
                Err(format!("\"{text}\" is out of range, it must be from {} to {} bytes", range.start(), range.end()))
            }
        }
    }
}

/// Permission bits such as `"0660"`.
pub(super) fn mode(node: &Node) -> Result<u32, String> {
    let text = match &node.value {
        Value::String(text) => text,
        Value::Integer(_) => return Err("must be in quotes, such as \"0660\"".to_owned()),
        other => return Err(format!("must be permission bits such as \"0660\", not {}", other.kind())),
    };
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 && !text.starts_with('+') => Ok(mode),
        _ => Err(format!("\"{text}\" isn't permission bits in octal, from \"0000\" to \"0777\", such as \"0660\"")),
    }
}

/// What a table of an array is called in the log and in the status.
pub(super) fn name(node: &Node) -> Result<String, String> {
    match string(node)? {
        "" => Err("must not be empty".to_owned()),
        name if name.contains(char::is_control) => Err("must not hold control characters".to_owned()),
        name => Ok(name.to_owned()),
    }
}

pub(super) fn qos(node: &Node) -> Result<Qos, String> {
    match node.value {
        Value::Integer(level) => Qos::try_from(level).map_err(|()| match level {
            2 => "IoT Core has no QoS 2; use 1".to_owned(),
            _ => format!("must be 0 or 1, not {level}"),
        }),
        ref other => Err(format!("must be 0 or 1, not {}", other.kind())),
    }
}

/// The items of an array that isn't empty.
pub(super) fn strings(node: &Node) -> Result<&[Node], String> {
    match &node.value {
        Value::Array(items) if items.is_empty() => Err("must hold at least one string".to_owned()),
        Value::Array(items) => Ok(items),
        other => Err(format!("must be an array of strings such as [\"test/topic\"], not {}", other.kind())),
    }
}
