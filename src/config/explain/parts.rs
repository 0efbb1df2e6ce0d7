//! The parts of a line: its key, and what stands where nothing may.

use super::characters::{about_invisible, invisible, latin, plain};
use super::value::{Scan, Within};
use crate::config::known;

/// Where the key ends: at its `=` or what stands in its place, or where a value begins.
pub(super) fn key_end(line: &str) -> usize {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') && line[..at].trim().is_empty() => quote = Some(c),
            None if matches!(c, '=' | '#' | '"' | '\'' | '[' | '{' | '\n') => return at,
            None if matches!(plain(c), Some('=' | ':')) => return at,
            None if c == ':' && !line[at + 1..].trim_start().starts_with('=') => return at,
            None => {}
        }
    }
    line.len()
}

/// A key as TOML takes it: what it is most likely meant to be.
pub(super) fn well_formed(key: &str) -> String {
    if key.starts_with(['"', '\'']) {
        return key.to_owned();
    }
    let parts = key.split('.').map(|part| {
        let words = part.split_whitespace().collect::<Vec<_>>().join("_");
        let words: String = words.chars().map(|c| latin(c).or_else(|| plain(c)).unwrap_or(c)).collect();
        words.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).collect::<String>()
    });
    parts.collect::<Vec<_>>().join(".")
}

/// Whether a key without quotes has blanks in it, other than around its dots.
pub(super) fn has_blanks(key: &str) -> bool {
    let mut parts = key.split('.').map(str::trim);
    !key.contains(['"', '\'']) && parts.any(|part| part.contains(char::is_whitespace))
}

pub(super) fn what_is_wrong_with(key: &str) -> String {
    match key.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))) {
        Some(c) if c.is_whitespace() => "a key has no blanks in it".to_owned(),
        Some(c) if latin(c).is_some() => {
            format!(
                "the letter `{c}` (U+{:04X}) is of another alphabet, though it looks like a Latin one",
                u32::from(c)
            )
        }
        Some(c) => format!("a key has no `{c}` in it"),
        None => "this isn't a key".to_owned(),
    }
}

/// What is said of something behind a whole value.
pub(super) struct After {
    pub(super) problem: String,
    /// How the value should be written, if it is another.
    pub(super) fixed: Option<String>,
    /// The line can't be shown as it should be.
    pub(super) is_unclear: bool,
}

/// `rest` follows the value that is written `fixed`.
pub(super) fn trailing(rest: &str, fixed: &str) -> After {
    let after = |problem: String| After { problem, fixed: None, is_unclear: false };
    if rest.trim_matches([',', ';', ' ']).is_empty() {
        return after(format!("nothing may follow the value, and no `{}`", rest.chars().next().unwrap_or(',')));
    }
    if let Some(c) = rest.chars().find(|c| invisible(*c).is_some()) {
        return after(about_invisible(c));
    }
    let name = rest.split('=').next().unwrap_or_default().trim_matches([' ', ',', ';']);
    if rest.contains('=') && known::is_key(name) {
        return After { is_unclear: true, ..after(format!("a line holds one key; begin a new line before `{name}`")) };
    }
    if let Some(more) = rest.strip_prefix(['+', '.', '&']) {
        let mut scan = Scan::new(more, 0, "");
        let second = scan.value(Within::Line, 0);
        let inner = |text: &str| text.strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
        // Only of two texts it is plain what was meant.
        let whole =
            inner(fixed).zip(inner(&second)).filter(|_| scan.problem.is_none() && scan.rest().trim().is_empty());
        return After {
            is_unclear: whole.is_none(),
            fixed: whole.map(|(first, second)| format!("\"{first}{second}\"")),
            ..after(format!("TOML has no `{}` between texts: the whole text must be in one pair of quotes", &rest[..1]))
        };
    }
    if ["//", "--", "/*"].iter().any(|mark| rest.starts_with(mark)) {
        return after(format!("a comment begins with `#`, not with `{}`", &rest[..2]));
    }
    if rest.starts_with([']', '}', ')']) {
        return after(format!("there is a `{}` too many", rest.chars().next().unwrap_or(']')));
    }
    if rest.starts_with(',') {
        let list = format!("[{fixed}{}]", rest.trim_end_matches(']'));
        let mut scan = Scan::new(&list, 0, "");
        let fixed = scan.value(Within::Line, 0);
        let is_unclear = scan.is_open || scan.is_unclear;
        return After { fixed: Some(fixed), is_unclear, ..after("several values must be in brackets".to_owned()) };
    }
    let is_word = rest.len() <= 16 && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ');
    if let Some(text) = fixed.strip_suffix('"').filter(|_| is_word) {
        return After {
            fixed: Some(format!("{text} {rest}\"")),
            ..after("the whole text must be in quotes".to_owned())
        };
    }
    after("only a comment (`#`) may follow the value".to_owned())
}

/// What was copied along in front of the header of a section (the sign of a diff, of a quotation, a number), and that section.
pub(super) fn copied_header(text: &str) -> Option<(&str, &'static known::Known)> {
    let header = text.trim_start_matches(|c: char| c.is_ascii_digit() || " \t.|:>+-*$•".contains(c));
    let copied = text.strip_suffix(header)?.trim();
    let name = header.strip_prefix('[')?.strip_suffix(']')?.trim_matches(['[', ']', ' ']);
    (!copied.is_empty()).then_some(())?;
    Some((copied, known::section(name)?))
}

/// Lines that are no setting at all.
pub(super) fn line_that_is_none(line: &str) -> Option<String> {
    for mark in ["<<<<<<<", ">>>>>>>", "======="] {
        if line.starts_with(mark) {
            return Some(format!(
                "`{mark}` is what a merge leaves where two versions differ; decide for one of them and delete the mark"
            ));
        }
    }
    if line.starts_with("```") {
        return Some("the ``` comes from a web page or a chat; delete this line".to_owned());
    }
    let is_setting = |rest: &str| {
        let key = rest.split_once('=').map(|(key, _)| key.trim());
        rest.trim_start().starts_with('[') || key.is_some_and(known::is_key)
    };
    if line.strip_prefix("$ ").is_some_and(|rest| !is_setting(rest)) || line.starts_with("sudo ") {
        return Some("this is a command for a shell, not a setting; delete this line".to_owned());
    }
    for comment in [";", "//", "/*", "--", "REM ", "*/"] {
        if line.starts_with(comment) {
            return Some(format!("a comment begins with `#`, not with `{}`", comment.trim()));
        }
    }
    None
}

pub(super) fn compact(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, ' ' | '\t')).collect()
}
