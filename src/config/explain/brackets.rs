//! Arrays and tables in a line, or over several.

use super::characters::{about_invisible, invisible, is_other_quote, plain};
use super::parts::{has_blanks, well_formed};
use super::quotes::end_of_string;
use super::scalar::quoted;
use super::statement::is_section;
use super::value::{Scan, Within, without_comment};
use crate::config::known;

impl Scan<'_> {
    /// Blanks, line ends and comments, as they may stand between the items of an array.
    pub(super) fn skip_between(&mut self) {
        loop {
            self.skip_blanks();
            match self.peek() {
                Some('\n') => self.at += 1,
                Some('#') => self.at += self.line().len(),
                Some(c) if invisible(c).is_some() => {
                    self.complain(self.at, about_invisible(c));
                    self.at += c.len_utf8();
                }
                _ => return,
            }
        }
    }

    pub(super) fn array(&mut self, depth: usize) -> String {
        let start = self.at;
        self.at += 1;
        let mut items: Vec<String> = Vec::new();
        let mut comma = true;
        loop {
            let before = self.at;
            self.skip_between();
            let is_next_line = self.text[before..self.at].contains('\n');
            match self.peek() {
                Some(']') => {
                    self.at += 1;
                    break;
                }
                Some(c @ (')' | '}')) => {
                    self.complain(self.at, format!("the array ends with `]`, not with `{c}`"));
                    self.at += 1;
                    break;
                }
                None => return self.left_open(start, ']', &format!("[{}]", items.join(", "))),
                Some(_) if is_next_line && begins_statement(self.line(), &self.key) => {
                    return self.left_open(start, ']', &format!("[{}]", items.join(", ")));
                }
                Some(c) if c == ',' || c == ';' || plain(c) == Some(',') => {
                    if c != ',' {
                        self.complain(self.at, format!("the items of an array are separated by `,`, not by `{c}`"));
                    } else if comma {
                        self.complain(self.at, "there is a comma too many");
                    }
                    comma = true;
                    self.at += c.len_utf8();
                }
                Some(c @ ('=' | ':')) => {
                    self.complain(
                        self.at,
                        format!("there can't be a `{c}` in an array; a table must be in braces, as in {{ a = 1 }}"),
                    );
                    (self.is_open, self.is_unclear) = (true, true);
                    return String::new();
                }
                Some(_) => {
                    if !comma {
                        self.complain(self.at, "a comma is missing between the items of the array");
                    }
                    comma = false;
                    let at = self.at;
                    items.push(self.value(Within::Array, depth + 1));
                    if self.at == at || self.is_open {
                        self.is_unclear = true;
                        self.is_open |= self.at == at;
                        return String::new();
                    }
                }
            }
        }
        format!("[{}]", items.join(", "))
    }

    pub(super) fn table(&mut self, depth: usize) -> String {
        let start = self.at;
        self.at += 1;
        let mut members: Vec<String> = Vec::new();
        let mut comma = true;
        let closed = |members: &[String]| {
            if members.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", members.join(", ")) }
        };
        loop {
            let before = self.at;
            self.skip_between();
            let is_next_line = self.text[before..self.at].contains('\n');
            match self.peek() {
                Some('}') => {
                    self.at += 1;
                    return closed(&members);
                }
                Some(c @ (')' | ']')) => {
                    self.complain(self.at, format!("the table ends with `}}`, not with `{c}`"));
                    self.at += 1;
                    return closed(&members);
                }
                None => return self.left_open(start, '}', &closed(&members)),
                Some('[') => return self.left_open(start, '}', &closed(&members)),
                Some(c @ (',' | ';')) => {
                    if c == ';' {
                        self.complain(self.at, "the members of a table are separated by `,`, not by `;`");
                    } else if comma {
                        self.complain(self.at, "there is a comma too many");
                    }
                    comma = true;
                    self.at += 1;
                }
                Some(_) if is_next_line && !comma && !self.closes_below() => {
                    return self.left_open(start, '}', &closed(&members));
                }
                Some(_) => {
                    if !comma {
                        self.complain(self.at, "a comma is missing between the members of the table");
                    }
                    comma = false;
                    match self.member(depth) {
                        Some(member) => members.push(member),
                        None => {
                            (self.is_open, self.is_unclear) = (true, true);
                            return String::new();
                        }
                    }
                }
            }
        }
    }

    /// Whether a line of its own before the next header ends the table.
    pub(super) fn closes_below(&self) -> bool {
        let mut lines = self.rest().lines().map(str::trim).take_while(|line| !line.starts_with('['));
        lines.any(|line| line.starts_with('}'))
    }

    /// `key = value` in a table.
    pub(super) fn member(&mut self, depth: usize) -> Option<String> {
        let (start, line) = (self.at, self.line());
        let length = line.find(['=', ':', ',', '}']).filter(|at| line[*at..].starts_with(['=', ':']));
        let Some(length) = length.filter(|length| *length > 0) else {
            self.complain(start, "a table holds `key = value`, separated by commas");
            return None;
        };
        let key = line[..length].trim();
        if line[length..].starts_with(':') {
            self.complain(start, "in TOML a key is followed by `=`, not by `:`");
        }
        let bare_key = key.trim_matches(|c| matches!(c, '"' | '\'') || is_other_quote(c)).to_owned();
        let is_bare =
            !bare_key.is_empty() && bare_key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        if key.chars().any(is_other_quote) {
            self.complain(start, "the quotes of this key aren't plain ones");
        }
        let meant = well_formed(key).to_ascii_lowercase();
        let mends_blanks = has_blanks(key);
        if mends_blanks && known::is_key_anywhere(&meant) {
            self.complain(start, "a key has no blanks in it");
        } else if mends_blanks {
            self.complain(start, "a name with blanks in it needs quotes, as in `{ \"room 1\" = ... }`");
            self.is_unclear = true;
        }
        self.at += length + 1;
        let outer = std::mem::replace(&mut self.key, bare_key.clone());
        let value = self.value(Within::Table, depth + 1);
        self.key = outer;
        let shown = match mends_blanks && known::is_key_anywhere(&meant) {
            true => meant,
            false if is_bare => bare_key,
            false => quoted(&bare_key),
        };
        (!self.is_open).then(|| format!("{shown} = {value}"))
    }

    /// What began at `start` has no end; `closed` is how it could have one.
    pub(super) fn left_open(&mut self, start: usize, end: char, closed: &str) -> String {
        self.complain(start, format!("the closing `{end}` is missing"));
        self.is_open = true;
        closed.to_owned()
    }

    /// Whether what begins with a bracket or parenthesis goes on with `key =`.
    pub(super) fn holds_member(&self) -> bool {
        let inner = self.line().get(1..).unwrap_or_default().trim_start();
        let name = inner.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        name.len() < inner.len() && name.trim_start().starts_with('=')
    }

    /// Whether what begins with a brace goes on with a text that isn't a key.
    pub(super) fn holds_item(&self) -> bool {
        let inner = self.line().get(1..).unwrap_or_default().trim_start();
        let Some(quote) = inner.chars().next().filter(|c| matches!(c, '"' | '\'')) else { return false };
        end_of_string(inner, quote).is_some_and(|end| inner[end + 1..].trim_start().starts_with([',', '}']))
    }
}

/// Whether a line in an array that has no end yet begins the next statement: a header, or a key.
fn begins_statement(line: &str, key: &str) -> bool {
    let line = without_comment(line).trim();
    let is_name = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    if let Some(name) = line.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
        return is_name(name.trim());
    }
    if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return is_name(name.trim()) && is_section(name.trim());
    }
    line.split_once('=').is_some_and(|(name, _)| is_name(name.trim()) && name.trim() != key)
}
