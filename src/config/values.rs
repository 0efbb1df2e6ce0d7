//! The kinds of values that keys take. Each function says what is wrong in words that follow "`key`: ".

use std::ops::RangeInclusive;
use std::time::Duration;

use super::WhenFull;
use super::document::{Node, Value};
use super::known::word_meant;
use crate::duration::written;
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
    let quoted = |value: &dyn std::fmt::Display| Err(format!("must be a string in quotes, \"{value}\""));
    match &node.value {
        Value::String(text) if text.contains("-----BEGIN") => {
            Err("holds a key or certificate: write that into a file for gatewire \
                                                                  alone, and name the file under [tls]"
                .to_owned())
        }
        Value::String(text) => Ok(text),
        Value::Integer(integer) => quoted(integer),
        // As it is written it isn't known any more: 1.10 would become 1.1.
        Value::Float(_) => Err("must be a string in quotes, not a number".to_owned()),
        Value::Datetime(text) => quoted(text),
        Value::Array(items) if items.len() == 1 => Err("must be one string, without brackets".to_owned()),
        other => Err(format!("must be a string in quotes, not {}", other.kind())),
    }
}

pub(super) fn boolean(node: &Node) -> Result<bool, String> {
    match &node.value {
        Value::Boolean(boolean) => Ok(*boolean),
        Value::String(text) => match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Err("must be true without quotes".to_owned()),
            "false" | "no" | "off" | "0" => Err("must be false without quotes".to_owned()),
            _ => Err(format!("must be true or false, not {}", node.value.kind())),
        },
        Value::Integer(1) => Err("must be true, not 1".to_owned()),
        Value::Integer(0) => Err("must be false, not 0".to_owned()),
        other => Err(format!("must be true or false, not {}", other.kind())),
    }
}

/// An integer within a range.
pub(super) fn integer(range: RangeInclusive<i64>) -> impl Fn(&Node) -> Result<i64, String> {
    move |node| {
        let out_of_range = |shown: &dyn std::fmt::Display| {
            Err(format!("{shown} is out of range, it must be from {} to {}", range.start(), range.end()))
        };
        match &node.value {
            Value::Integer(integer) if range.contains(integer) => Ok(*integer),
            Value::Integer(integer) => out_of_range(integer),
            Value::LongInteger => out_of_range(&"this number"),
            Value::Float(float) if float.fract() == 0.0 && float.abs() < 1e15 => {
                let number = *float as i64;
                if range.contains(&number) {
                    Err(format!("must be a whole number, {number}"))
                } else {
                    out_of_range(&number)
                }
            }
            Value::String(text) if let Ok(number) = text.trim().parse::<i64>() => match range.contains(&number) {
                true => Err(format!("must be a number without quotes, {number}")),
                false => out_of_range(&number),
            },
            other => Err(format!("must be a whole number, not {}", other.kind())),
        }
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Node) -> Result<T, String> {
    move |node| {
        let text = string(node)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let all = names.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        Err(match word_meant(text, &names) {
            Some(word) => format!("\"{text}\" isn't one of {all}; did you mean \"{word}\"?"),
            None => format!("\"{text}\" isn't one of {all}"),
        })
    }
}

/// A duration such as `"30s"` within a range.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&Node) -> Result<Duration, String> {
    move |node| {
        // What is advised must be taken.
        let with_unit = |meant: &[String]| {
            let fits = |text: &&String| humantime::parse_duration(text).is_ok_and(|meant| range.contains(&meant));
            let meant = meant.iter().find(fits).cloned().unwrap_or_else(|| written(*range.start()));
            Err(format!("must be a duration with its unit in quotes, such as \"{meant}\""))
        };
        let text = match &node.value {
            Value::String(text) => text.trim(),
            Value::Integer(n) => return with_unit(&[format!("{n}s"), format!("{n}ms"), format!("{n}m")]),
            Value::Float(n) => return with_unit(&[format!("{:.0}ms", n * 1e3), format!("{n:.0}s")]),
            other => return Err(format!("must be a duration such as \"30s\", not {}", other.kind())),
        };
        let parsed = humantime::parse_duration(text).ok().filter(|_| !text.contains('M'));
        let Some(parsed) = parsed else { return Err(not_a_duration(text)) };
        if range.contains(&parsed) {
            return Ok(parsed);
        }
        Err(format!(
            "\"{text}\" is out of range, it must be from {} to {}",
            written(*range.start()),
            written(*range.end())
        ))
    }
}

/// Why `text` isn't a duration, and what may be meant.
fn not_a_duration(text: &str) -> String {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ',')).trim();
    let number = text
        [..text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ',')).len()]
        .replace(',', ".");
    if text.is_empty() {
        return "must not be empty; a duration is written like \"30s\"".to_owned();
    }
    if unit.is_empty() && !number.contains('.') {
        return format!("\"{text}\" lacks its unit; seconds are \"{text}s\", minutes \"{text}m\"");
    }
    let in_ms = match unit {
        "ms" => 1.0,
        "" | "s" | "sec" => 1e3,
        "m" | "min" => 6e4,
        "h" => 3.6e6,
        "d" => 8.64e7,
        _ => 0.0,
    };
    if let Ok(number) = number.parse::<f64>()
        && number.fract() != 0.0
        && in_ms > 0.0
    {
        let meant = Duration::from_millis((number * in_ms).round() as u64);
        return format!("\"{text}\": a duration has no fraction; write \"{}\"", written(meant));
    }
    if text.contains('M') && !text.starts_with('P') {
        // humantime's months: somebody who wrote this wants minutes.
        return format!("\"{text}\" isn't a duration; minutes are \"m\", as in \"5m\"");
    }
    if !number.is_empty()
        && unit.chars().all(char::is_alphabetic)
        && humantime::parse_duration(&text.to_lowercase()).is_ok()
    {
        return format!("\"{text}\" isn't a duration; units are written in small letters, \"{}\"", text.to_lowercase());
    }
    format!("\"{text}\" isn't a duration such as \"500ms\", \"30s\", \"5m\", \"1h 30m\" or \"7d\"")
}

/// Units of sizes, in bytes.
const UNITS: [(&str, u64); 10] = [
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

/// A size such as `"16 MiB"` within a range of bytes.
pub(super) fn size(range: RangeInclusive<u64>) -> impl Fn(&Node) -> Result<u64, String> {
    move |node| {
        let text = match &node.value {
            Value::String(text) => text.trim(),
            Value::Integer(n) => {
                return Err(format!("must be a size with its unit in quotes, such as {}", with_unit(*n, &range)));
            }
            other => return Err(format!("must be a size such as \"16 MiB\", not {}", other.kind())),
        };
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let factor = UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| *factor);
        let bytes = number.parse::<u64>().ok().zip(factor).map(|(number, factor)| number.saturating_mul(factor));
        match bytes {
            None if let Ok(number) = text.parse::<i64>() => {
                Err(format!("\"{text}\" lacks its unit; write {}", with_unit(number, &range)))
            }
            None => Err(not_a_size(text)),
            Some(bytes) if range.contains(&bytes) => Ok(bytes),
            Some(_) => Err(format!(
                "\"{text}\" is out of range, it must be from {} to {}",
                shown_size(*range.start()),
                shown_size(*range.end())
            )),
        }
    }
}

/// A number that lacks its unit, with one that brings it into `range`.
fn with_unit(number: i64, range: &RangeInclusive<u64>) -> String {
    let number = u64::try_from(number).unwrap_or(0);
    let units = [("B", 1), ("MiB", MIB), ("KiB", KIB), ("GiB", 1 << 30)];
    let fits = |(_, factor): &&(&str, u64)| range.contains(&number.saturating_mul(*factor));
    match units.iter().find(fits) {
        Some((unit, _)) => format!("\"{number} {unit}\""),
        None => format!("{}, the least there may be", shown_size(*range.start())),
    }
}

/// As it is written in the configuration.
fn shown_size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", MIB), ("KiB", KIB)];
    match units.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("\"{} {unit}\"", bytes / factor),
        None => format!("\"{bytes} B\""),
    }
}

/// Why `text` isn't a size, and what may be meant.
fn not_a_size(text: &str) -> String {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = unit.trim();
    if number.is_empty() {
        return format!("\"{text}\" isn't a size such as \"512 KiB\", \"16 MiB\" or \"1 MB\"");
    }
    let meant = match unit.to_lowercase().as_str() {
        "" | "b" | "byte" | "bytes" => "B",
        "k" | "kib" => "KiB",
        "kb" => "kB",
        "m" | "mib" => "MiB",
        "mb" => "MB",
        "g" | "gib" => "GiB",
        "gb" => "GB",
        "t" | "tib" => "TiB",
        "tb" => "TB",
        unit if unit.starts_with(['.', ',']) => {
            return format!("\"{text}\": a size has no fraction; take the next smaller unit");
        }
        _ => {
            return format!(
                "\"{text}\" isn't a size; its units are B, KiB, MiB and GiB (or kB, MB and GB), as in \"16 MiB\""
            );
        }
    };
    match unit {
        "" => format!("\"{text}\" lacks its unit; bytes are \"{number} B\", or write \"{number} MiB\""),
        _ => format!("\"{text}\" isn't a size; write \"{number} {meant}\""),
    }
}

/// Permission bits such as `"0660"`.
pub(super) fn mode(node: &Node) -> Result<u32, String> {
    let text = match &node.value {
        Value::String(text) => text,
        Value::Integer(number) => return Err(format!("must be in quotes, \"{}\"", meant_bits(*number))),
        other => return Err(format!("must be permission bits such as \"0660\", not {}", other.kind())),
    };
    let wrong = || format!("\"{text}\" isn't permission bits in octal, from \"0000\" to \"0777\", such as \"0660\"");
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 && !text.starts_with('+') => Ok(mode),
        Ok(mode) if mode <= 0o7777 && !text.starts_with('+') => {
            Err(format!("{}: a socket takes no set-user-id, set-group-id or sticky bit", wrong()))
        }
        _ => Err(match text.strip_prefix("0o").and_then(|digits| u32::from_str_radix(digits, 8).ok()) {
            Some(bits) => format!("\"{text}\" is written \"{bits:04o}\""),
            None => wrong(),
        }),
    }
}

/// The bits that a number without quotes stands for: `660` for its digits, 0o660, which is 432, for itself.
fn meant_bits(number: i64) -> String {
    let digits = number.to_string();
    let is_octal = digits.len() <= 3 && digits.bytes().all(|digit| digit < b'8');
    let as_octal = [0o600, 0o640, 0o644, 0o660, 0o664, 0o666, 0o700, 0o750, 0o755, 0o770, 0o777].contains(&number);
    match number {
        _ if is_octal && !as_octal => format!("{number:04}"),
        0..=0o777 => format!("{number:04o}"),
        _ => "0660".to_owned(),
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
        Value::String(ref text) if matches!(text.trim(), "0" | "1") => {
            Err(format!("must be a number without quotes, {}", text.trim()))
        }
        ref other => Err(format!("must be 0 or 1, not {}", other.kind())),
    }
}

/// The items of an array that isn't empty; `example` is one.
pub(super) fn strings<'n>(node: &'n Node, example: &str) -> Result<&'n [Node], String> {
    match &node.value {
        Value::Array(items) if items.is_empty() => Err("must hold at least one string".to_owned()),
        Value::Array(items) => Ok(items),
        Value::String(text) => {
            let items: Vec<String> = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| format!("\"{item}\""))
                .collect();
            Err(format!("must be an array of strings, [{}]", items.join(", ")))
        }
        other => Err(format!("must be an array of strings such as {example}, not {}", other.kind())),
    }
}
