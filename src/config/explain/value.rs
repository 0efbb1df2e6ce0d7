//! Goes through one value, and says how it should be written.

use super::characters::{about_invisible, invisible, is_other_quote, made_visible, plain};
use super::scalar::{bare, bare_list, quoted, takes_list};
use crate::config::known;

/// Where in the text a value is being read.
pub(super) struct Scan<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    /// What the value is of.
    pub(super) key: String,
    /// The first problem, and at which offset.
    pub(super) problem: Option<(usize, String)>,
    /// It can't be told where the value ends.
    pub(super) is_open: bool,
    /// It can't be told how it should be written.
    pub(super) is_unclear: bool,
}

/// What the value stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    Line,
    Array,
    Table,
}

/// Arrays and tables that are nested deeper than this aren't looked into.
const DEEPEST: usize = 32;

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str, at: usize, key: &str) -> Scan<'a> {
        Scan { text, at, key: key.to_owned(), problem: None, is_open: false, is_unclear: false }
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// What is left of the line.
    pub(super) fn line(&self) -> &'a str {
        self.rest().split('\n').next().unwrap_or_default()
    }

    pub(super) fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\r']).len();
    }

    /// Notes the first problem.
    pub(super) fn complain(&mut self, at: usize, text: impl Into<String>) {
        if self.problem.is_none() {
            self.problem = Some((at, text.into()));
        }
    }

    /// Reads a value, and returns how it should be written.
    pub(super) fn value(&mut self, within: Within, depth: usize) -> String {
        self.skip_blanks();
        while let Some(c) = self.peek().filter(|c| invisible(*c).is_some()) {
            self.complain(self.at, about_invisible(c));
            self.at += c.len_utf8();
            self.skip_blanks();
        }
        match self.peek() {
            Some('"') if self.rest().starts_with("\"\"\"") => self.long_string("\"\"\""),
            Some('\'') if self.rest().starts_with("'''") => self.long_string("'''"),
            Some(quote @ ('"' | '\'')) => self.string(quote, within),
            Some(quote) if is_other_quote(quote) => self.other_quotes(quote, within),
            Some('[') if depth < DEEPEST && self.holds_member() => {
                self.complain(self.at, "`key = value` must be in braces, { }, not in brackets");
                self.table(depth)
            }
            Some('{') if depth < DEEPEST && self.holds_item() => {
                self.complain(self.at, "a list must be in brackets, [ ], not in braces");
                self.array(depth)
            }
            // A placeholder, and no table: that begins with one brace.
            Some('{') if within != Within::Table && self.rest().starts_with("{{") => self.bare(within),
            Some('(')
                if depth < DEEPEST && self.line().contains(')') && !takes_list(&self.key) && !self.holds_member() =>
            {
                self.complain(self.at, "a value isn't written in parentheses");
                let list = self.array(depth);
                let one = list.strip_prefix('[').and_then(|list| list.strip_suffix(']'));
                one.unwrap_or(&list).to_owned()
            }
            Some('(') if depth < DEEPEST && self.line().contains(')') => {
                let holds_member = self.holds_member();
                let right =
                    if holds_member { "a table must be in braces, { }" } else { "a list must be in brackets, [ ]" };
                self.complain(self.at, format!("{right}, not in parentheses"));
                if holds_member { self.table(depth) } else { self.array(depth) }
            }
            Some('[') if depth < DEEPEST => self.array(depth),
            Some('{') if depth < DEEPEST => self.table(depth),
            _ => self.bare(within),
        }
    }

    /// A number, a word, or text that lacks its quotes.
    fn bare(&mut self, within: Within) -> String {
        let (start, line) = (self.at, self.line());
        let length = match within {
            Within::Line => without_comment(line).len(),
            Within::Array => end_in_array(line),
            Within::Table => end_in_table(line),
        };
        let token = without_comment(&line[..length]).trim_end();
        self.at = start + if within == Within::Line { token.len() } else { length.min(line.len()) };
        let token = match within {
            // What follows it is told by who reads the rest of the line.
            Within::Line => before_the_next(token).trim_end_matches([',', ';']).trim_end(),
            _ => token,
        };
        if within == Within::Line {
            self.at = start + token.len();
        }
        if token.is_empty() && within == Within::Line {
            return self.list_below(start);
        }
        if token.is_empty() {
            self.complain(start, format!("there is no value after `{} =`; write one, or delete the line", self.key));
            self.is_unclear = true;
            return String::new();
        }
        let visible: String = made_visible(token).chars().map(|c| plain(c).unwrap_or(c)).collect();
        if let Some(c) = token.chars().find(|c| plain(*c).is_some_and(|plain| plain.is_ascii_digit())) {
            self.complain(start, format!("{c} isn't a plain digit"));
        }
        if let Some(c) = token.chars().find(|c| invisible(*c).is_some()) {
            self.complain(start, about_invisible(c));
        }
        let list =
            Some(visible.trim()).filter(|_| within != Within::Array).and_then(|token| bare_list(token, &self.key));
        match list.or_else(|| bare(visible.trim(), &self.key)) {
            None => visible.trim().to_owned(),
            Some(mended) => {
                self.complain(start, mended.problem);
                self.is_unclear |= mended.fixed.is_none();
                mended.fixed.unwrap_or_default()
            }
        }
    }

    /// There is no value, but for a list as YAML has it, perhaps: an item a line, each behind a dash.
    fn list_below(&mut self, start: usize) -> String {
        let (mut items, mut end) = (Vec::new(), self.at + self.line().len());
        for line in self.text.get(end + 1..).unwrap_or_default().lines() {
            let Some(item) = line.trim_start().strip_prefix("- ") else { break };
            items.push(quoted(without_comment(item).trim().trim_matches(['"', '\''])));
            end += 1 + line.len();
        }
        if items.is_empty() {
            self.complain(start, format!("there is no value after `{} =`; write one, or delete the line", self.key));
            self.is_unclear = true;
            return String::new();
        }
        self.complain(start, "a list must be in brackets, its items separated by commas");
        self.at = end.min(self.text.len());
        format!("[{}]", items.join(", "))
    }
}

/// A line without the comment at its end: a `#` with a blank before it.
pub(super) fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        if c == '#' && before.is_whitespace() {
            return &line[..at];
        }
        before = c;
    }
    line.trim_end_matches('\r')
}

/// A bare value without what belongs to another statement, or is a comment in another language.
fn before_the_next(token: &str) -> &str {
    let comment = [" //", " ;", " --"].iter().filter_map(|mark| token.find(mark)).min().unwrap_or(token.len());
    let token = &token[..comment];
    let Some(equals) = token.find('=') else { return token };
    let name = token[..equals].trim_end();
    match name.rfind(char::is_whitespace) {
        Some(blank) if known::is_key(name[blank..].trim()) => name[..blank].trim_end(),
        _ => token,
    }
}

/// How far a bare value in an array goes. A quote that closes it lacks the one that opens it.
fn end_in_array(line: &str) -> usize {
    let stop = |(at, c): &(usize, char)| match c {
        ',' | ']' | ';' | '"' => true,
        // It may be the text's own.
        ')' => !line[..*at].contains('('),
        _ => false,
    };
    let end = line.char_indices().find(stop).map_or(line.len(), |(at, _)| at);
    let closes = line[end..].strip_prefix('"').is_some_and(|rest| rest.trim_start().starts_with([',', ']']));
    if closes { end + 1 } else { end }
}

/// How far a bare value in a table goes: to a comma or brace, or to the next member if the comma is missing.
fn end_in_table(line: &str) -> usize {
    let end = line.find([',', '}', ';', '"']).unwrap_or(line.len());
    // What a comma parts may be the thousands of one number.
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if line[end..].starts_with(',') && is_digits(&line[..end]) && end <= 3 {
        let more = line[end + 1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(line.len() - end - 1);
        let ends = line[end + 1 + more..].trim_start().starts_with(['}', ',']);
        if more == 3 && ends {
            return end + 1 + more;
        }
    }
    let Some(equals) = line[..end].find('=') else { return end };
    let member = line[..equals].trim_end();
    member.rfind(char::is_whitespace).map_or(end, |blank| member[..blank].trim_end().len())
}
