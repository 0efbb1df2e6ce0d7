//! Why a text isn't TOML, for people who don't know TOML: what is wrong on which line, and what to write instead.
//!
//! It is asked only about a text that the TOML parser has refused, and goes through it statement by statement: a header, or a key
//! with its value. Where a value can be repaired, the line is shown as it should be. Nothing of a line is repeated that may be a
//! secret: no password of a proxy, nothing that looks like a key.

mod brackets;
mod characters;
mod damage;
mod parts;
mod quotes;
mod scalar;
mod statement;
mod value;

use std::ops::Range;

use super::known;
pub(super) use characters::{invisible, made_visible};
pub(super) use damage::text_of;
pub(super) use scalar::{between_slashes, quoted};
use statement::Statements;

/// Something that isn't TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    /// From 1.
    pub(super) line: usize,
    pub(super) text: String,
    /// The lines whose meaning nobody knows because of it: what seems to be wrong with them isn't told.
    pub(super) unknown: Range<usize>,
}

/// A header or a key, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// The number of headers before it: keys with the same number stand in one table.
    table: usize,
    is_header: bool,
    name: String,
    line: usize,
}

/// What is wrong with `text`, in the order of its lines; `refused` is where the parser found errors, with what it says.
pub(super) fn explain(text: &str, refused: &[(usize, String)]) -> Vec<Mistake> {
    let (mut faults, seen) = Statements::new(text).all();
    // What the parser says of lines after the first that is explained may follow from that.
    let first = faults.first().map_or(usize::MAX, |fault| fault.line);
    for (line, message) in refused {
        if faults.iter().any(|fault| fault.line == *line || fault.unknown.contains(line)) {
            continue;
        }
        match message.as_str() {
            "duplicate key" => faults.push(twice(&seen, *line, text)),
            message if *line < first => {
                let shown = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
                let said = shown.chars().find(|c| invisible(*c).is_some()).map(characters::about_invisible);
                let said = said.unwrap_or_else(|| format!(
                    "this line can't be read ({message}). A line is `key = value`, with text in quotes, or a section in brackets"
                ));
                faults.push(Mistake { line: *line, text: said, unknown: *line..*line + 1 });
            }
            _ => {}
        }
    }
    faults.sort_by_key(|fault| fault.line);
    faults
}

/// A mistake that goes through the file, such as the quotes of a word processor, is told at its first lines; the last of them
/// names the others, whose own text is empty.
pub(super) fn told_once(mut faults: Vec<Mistake>) -> Vec<Mistake> {
    const SHOWN: usize = 3;
    const NAMED: usize = 10;
    let cause = |fault: &Mistake| fault.text.split("; write `").next().unwrap_or_default().to_owned();
    let causes: Vec<String> = faults.iter().map(cause).collect();
    for at in 0..faults.len() {
        let same: Vec<usize> = (0..faults.len()).filter(|other| causes[*other] == causes[at]).collect();
        let Some(others) = same.get(SHOWN..).filter(|others| others.len() > 1 && same[SHOWN - 1] == at) else {
            continue;
        };
        let lines: Vec<String> = others.iter().take(NAMED).map(|other| faults[*other].line.to_string()).collect();
        let more = if others.len() > NAMED { format!(" and {} more", others.len() - NAMED) } else { String::new() };
        faults[at].text += &format!(". The same in lines {}{more}", lines.join(", "));
        others.iter().for_each(|other| faults[*other].text.clear());
    }
    faults
}

/// What the parser calls a duplicate key.
fn twice(seen: &[Seen], line: usize, whole: &str) -> Mistake {
    let fault = |line: usize, text: String, until: usize| Mistake { line, text, unknown: line..until };
    let Some(second) = seen.iter().find(|seen| seen.line == line) else {
        return fault(line, "a key or section that is there already; delete one of them".to_owned(), line + 1);
    };
    let bare = |seen: &Seen| seen.name.trim_matches(['[', ']']).to_owned();
    let first = seen.iter().find(|first| {
        first.line < line
            && first.is_header == second.is_header
            && bare(first) == bare(second)
            && (first.is_header || first.table == second.table)
    });
    let next_header = seen.iter().find(|seen| seen.is_header && seen.line > line).map_or(usize::MAX, |seen| seen.line);
    match first {
        Some(first) if first.name != second.name => {
            let right = known::section(&bare(first)).map_or_else(|| first.name.clone(), known::header);
            let (wrong, other) = if first.name == right { (second, first) } else { (first, second) };
            let text = format!("`{}` must be written as in line {}, `{}`", wrong.name, other.line, other.name);
            Mistake { line: wrong.line, text, unknown: first.line..usize::MAX }
        }
        Some(first) if second.is_header => fault(
            line,
            format!(
                "the section {} is there twice, first in line {}; put the keys of both under one header",
                second.name, first.line
            ),
            next_header,
        ),
        Some(first) => fault(
            line,
            format!("`{}` is there twice, first in line {}; delete one of the two", second.name, first.line),
            line + 1,
        ),
        None if whole.lines().nth(line - 1).is_some_and(|text| text.contains('{')) => fault(
            line,
            format!("a key is there twice in the table of `{}`; delete one of the two", second.name),
            line + 1,
        ),
        None => {
            fault(line, format!("`{}` is there already, in another form; delete one of the two", second.name), line + 1)
        }
    }
}

/// A statement as it should be written, for the end of a sentence; nothing if it may hold a secret, or is too long to help.
fn written(statement: &str) -> String {
    const LONGEST: usize = 160;
    let one_line = statement.lines().next().unwrap_or_default();
    let key = one_line.split_once(" = ").map(|(key, _)| key).filter(|key| !may_be_secret(key));
    match one_line.len() < statement.len() || one_line.len() > LONGEST || may_be_secret(one_line) {
        true => key.map_or_else(String::new, |key| format!("; write `{key} = \"...\"`")),
        false => format!("; write `{one_line}`"),
    }
}

/// Whether it may hold a login, with or without a URL around it, or a run of characters as in a PEM file. Written in another way
/// than in the file, a login isn't recognised as one later.
fn may_be_secret(text: &str) -> bool {
    const PEM_RUN: usize = 48;
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    text.contains('@') || text.contains("PRIVATE") || text.split(|c| !is_base64(c)).any(|run| run.len() >= PEM_RUN)
}

#[cfg(test)]
mod tests;
