//! Goes through a text statement by statement: headers, and keys with their values.

use toml::de::DeTable;

use super::characters::{about_invisible, invisible, is_other_quote, latin, made_visible, plain};
use super::parts::{
    compact, copied_header, has_blanks, key_end, line_that_is_none, trailing, well_formed, what_is_wrong_with,
};
use super::value::{Scan, Within, without_comment};
use super::{Mistake, Seen, written};
use crate::config::known;

/// See the module.
pub(super) struct Statements<'a> {
    text: &'a str,
    at: usize,
    line_ends: Vec<usize>,
    faults: Vec<Mistake>,
    seen: Vec<Seen>,
    tables: usize,
}

/// Whether there is a section of this name.
pub(super) fn is_section(name: &str) -> bool {
    known::section(name).is_some()
}

/// The text can't be read any further.
struct StatementEnd;

impl<'a> Statements<'a> {
    pub(super) fn new(text: &'a str) -> Statements<'a> {
        let line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Statements { text, at: 0, line_ends, faults: Vec::new(), seen: Vec::new(), tables: 0 }
    }

    /// What is wrong, and what headers and keys there are.
    pub(super) fn all(mut self) -> (Vec<Mistake>, Vec<Seen>) {
        let ends_no_line = |(at, _): &(usize, &str)| !self.text[at + 1..].starts_with('\n');
        if let Some((at, _)) = self.text.match_indices('\r').find(ends_no_line) {
            let text = "the lines of this file end as on an old Macintosh (CR). Save it with the line ends of Unix";
            self.fault(self.line_at(at), text.to_owned(), true);
            return (self.faults, self.seen);
        }
        while self.at < self.text.len() {
            if self.statement().is_err() {
                break;
            }
        }
        (self.faults, self.seen)
    }

    fn line_at(&self, at: usize) -> usize {
        1 + self.line_ends.partition_point(|end| *end < at)
    }

    fn fault(&mut self, line: usize, text: String, is_end: bool) {
        let until = if is_end { usize::MAX } else { self.line_at(self.at.saturating_sub(1)).max(line) + 1 };
        self.faults.push(Mistake { line, text, unknown: line..until });
    }

    /// What follows can't be told.
    fn end(&mut self, at: usize, text: &str) -> Result<(), StatementEnd> {
        let line = self.line_at(at);
        self.fault(line, text.to_owned(), true);
        Err(StatementEnd)
    }

    /// The line from here, without its end.
    fn line(&self) -> &'a str {
        self.text[self.at..].split('\n').next().unwrap_or_default()
    }

    fn skip_line(&mut self) {
        self.at = (self.at + self.line().len() + 1).min(self.text.len());
    }

    /// Up to the end of the statement that begins here.
    fn statement(&mut self) -> Result<(), StatementEnd> {
        let (start, whole) = (self.at, self.line());
        let line = if start == 0 { whole.trim_start_matches('\u{feff}') } else { whole };
        let trimmed = line.trim_matches([' ', '\t', '\r']);
        let begin = start + whole.len() - line.len() + (line.len() - line.trim_start_matches([' ', '\t']).len());
        if trimmed.is_empty() || trimmed.starts_with('#') {
            if let Some(c) = trimmed.chars().find(|c| c.is_control() && *c != '\t') {
                let number = self.line_at(start);
                self.skip_line();
                self.fault(number, about_invisible(c), false);
            } else {
                self.skip_line();
            }
            return Ok(());
        }
        if let Some(text) = self.other_language(trimmed) {
            return self.end(begin, &text);
        }
        if let Some(text) = line_that_is_none(trimmed) {
            let number = self.line_at(start);
            self.skip_line();
            self.fault(number, text, false);
            return Ok(());
        }
        self.at = begin;
        let first = trimmed.chars().next().unwrap_or(' ');
        if invisible(first).is_some() {
            let number = self.line_at(start);
            let fixed = written(without_comment(&made_visible(trimmed)).trim());
            self.skip_line();
            self.fault(number, format!("{}{fixed}", about_invisible(first)), false);
            return Ok(());
        }
        if first == '[' || plain(first) == Some('[') { self.header() } else { self.assignment() }
    }

    /// What shows that the whole file is something else.
    fn other_language(&self, line: &str) -> Option<String> {
        let is_first = self.seen.is_empty() && self.faults.is_empty();
        let unlike = |what: &str| {
            format!(
                "this is {what}, and gatewire reads TOML: a line `[connection]`, and below it a line a key, as in `endpoint = \"...\"`"
            )
        };
        if line.contains("-----BEGIN") {
            return Some(
                "here is a certificate or a key (PEM), not a setting. Put it into a file of its own, and write that file's path"
                    .to_owned(),
            );
        }
        if is_first && (line.starts_with('{') || line.starts_with("[{") || line == "[") {
            return Some(unlike("JSON"));
        }
        if is_first && line.starts_with('<') && !line.starts_with("<<") {
            return Some(unlike(if line.to_lowercase().contains("html") { "a web page (HTML)" } else { "XML" }));
        }
        let yaml_list = line.strip_prefix("- ").is_some_and(|rest| rest.contains(':'));
        let yaml_map = line.strip_suffix(':').is_some_and(|name| is_section(name.trim()));
        if (is_first && line.trim_end() == "---") || yaml_list || yaml_map {
            return Some(unlike("YAML"));
        }
        None
    }

    fn header(&mut self) -> Result<(), StatementEnd> {
        let (start, line) = (self.at, self.line());
        let number = self.line_at(start);
        let text = without_comment(line).trim();
        self.skip_line();
        let inner = text.trim_start_matches('[').trim_start();
        let name_end = inner
            .find([']', '"', '\'', '=', ';', ',', ':'])
            .filter(|at| !inner[..*at].trim().is_empty())
            .unwrap_or(inner.len());
        let raw = inner[..name_end].trim();
        let name: String = made_visible(raw).chars().map(|c| latin(c).unwrap_or(c)).collect();
        let name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
        let opening = text.len() - text.trim_start_matches('[').len();
        let is_name = |text: &str| {
            text.split('.').all(|part| {
                let part = part.trim();
                !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
            })
        };
        let brackets = opening.clamp(1, 2);
        let good = format!("{}{raw}{}", "[".repeat(brackets), "]".repeat(brackets));
        let is_good = (is_name(raw) && compact(text) == compact(&good)) || DeTable::parse(text).is_ok();
        let section = known::section(&name).or_else(|| name.split_whitespace().find_map(known::section));
        let meant =
            section.map_or_else(|| format!("{}{name}{}", "[".repeat(brackets), "]".repeat(brackets)), known::header);
        self.tables += 1;
        // As it is meant: what is said of the lines below goes by that.
        self.seen.push(Seen {
            table: self.tables,
            is_header: true,
            name: if is_good { compact(text) } else { meant.clone() },
            line: number,
        });
        if is_good {
            return Ok(());
        }
        let closing = inner.matches(']').count();
        let after = inner.trim_start_matches(|c| c != ']').trim_start_matches(']').trim();
        let problem = match text.chars().find(|c| invisible(*c).is_some()) {
            Some(c) => about_invisible(c),
            None if raw.chars().any(|c| latin(c).is_some()) => what_is_wrong_with(raw).replace("a key", "a name"),
            None if name.is_empty() => "the name of the section is missing, as in `[connection]`".to_owned(),
            None if closing >= brackets && !after.is_empty() => {
                format!("only a comment may follow the header of a section; begin a new line after `{meant}`")
            }
            None if closing < opening => {
                format!("the closing `{}` of the section's name is missing", "]".repeat(brackets))
            }
            None if closing > opening => {
                "the name of the section has more closing brackets than opening ones".to_owned()
            }
            None => "the name of a section is one word in brackets".to_owned(),
        };
        let is_shown = !name.is_empty() && (section.is_some() || is_name(&name)) && !problem.contains(&meant);
        let text = if is_shown { format!("{problem}{}", written(&meant)) } else { problem };
        // The parser takes what stands below it for something else.
        self.faults.push(Mistake { line: number, text, unknown: number..usize::MAX });
        Ok(())
    }

    fn assignment(&mut self) -> Result<(), StatementEnd> {
        let (start, line) = (self.at, self.line());
        let number = self.line_at(start);
        let key_end = key_end(line);
        let raw = &line[..key_end];
        let sign = line[key_end..].chars().next();
        let mut problem = None;
        let mut complain = |text: String| {
            problem.get_or_insert(text);
        };
        if let Some(c) = raw.chars().find(|c| invisible(*c).is_some()) {
            complain(about_invisible(c));
        }
        let visible = made_visible(raw);
        let mut key = visible.trim();
        for word in ["export ", "set ", "let ", "var ", "const ", "- ", "* ", "> ", "$ ", "+ ", "+", "-", "• "] {
            if let Some(rest) = key.strip_prefix(word).filter(|rest| word.len() > 2 || known::is_key(rest.trim())) {
                complain(format!("`{}` isn't needed before a key", word.trim()));
                key = rest.trim();
            }
        }
        let numbered =
            key.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ' ' | '\t' | '.' | '|' | ':'));
        if numbered.len() < key.len() && known::is_key(numbered) {
            complain("the number of the line was copied with it".to_owned());
            key = numbered;
        }
        let unquoted = key.trim_matches(|c| matches!(c, '"' | '\'') || is_other_quote(c));
        if unquoted.len() < key.len() && key.chars().any(is_other_quote) {
            complain("a key has no quotes".to_owned());
            key = unquoted;
        }
        if let Some(shorter) = key.strip_suffix([':', '+', '?', '=']) {
            complain(format!("a key is followed by `=` alone, not by `{}=`", &key[shorter.len()..]));
            key = shorter.trim();
        }
        match sign {
            Some('=') => {}
            Some(c) if plain(c) == Some('=') => complain(format!("the sign {c} isn't a plain `=`")),
            Some(c) if c == ':' || plain(c) == Some(':') => {
                complain("in TOML a key is followed by `=`, not by `:`".to_owned())
            }
            _ => return self.without_sign(line, number),
        }
        const LONGEST_KEY: usize = 60;
        if key.len() > LONGEST_KEY || (key.is_empty() && sign != Some('=')) {
            return self.without_sign("", number);
        }
        if key.is_empty() {
            self.skip_line();
            self.fault(number, "there is no key before the `=`".to_owned(), false);
            return Ok(());
        }
        let name = well_formed(key);
        let is_other = key.chars().any(|c| latin(c).is_some());
        let is_known = known::is_key_anywhere(&name.to_ascii_lowercase());
        if has_blanks(key) && !(is_known || is_other) {
            // What stands there may be anything, and isn't repeated.
            let goes_on = line[key_end..].trim_start_matches('=').trim_start().starts_with(['[', '{', '(']);
            self.skip_line();
            let text = "a key is one word; a name in a payload may have blanks if it is in quotes, `\"room 1\" = ...`";
            self.fault(number, text.to_owned(), goes_on);
            return Ok(());
        }
        if name != key && (is_other || has_blanks(key) || well_formed(unquoted) != name) {
            complain(what_is_wrong_with(key));
        }
        let mut begin = start + key_end + sign.map_or(0, char::len_utf8);
        let after = &self.text[begin..];
        let doubled = after.trim_start_matches([' ', '\t']);
        if let Some(second) =
            doubled.chars().next().filter(|c| matches!(c, '=' | '>' | ':') || (*c == '~' && doubled.len() > 1))
        {
            complain(format!("a key is followed by one `=` alone, not by `{}{second}`", sign.unwrap_or('=')));
            begin += after.len() - doubled.len() + 1;
        }
        // As in the environment of a shell.
        let small = name.to_ascii_lowercase();
        let name = if known::is_key(&small) && !known::is_key(&name) { small } else { name };
        self.seen.push(Seen { table: self.tables, is_header: false, name: name.clone(), line: number });
        self.value(begin, &name, number, problem)
    }

    /// The value that begins at `begin`, and what follows it.
    fn value(&mut self, begin: usize, key: &str, number: usize, problem: Option<String>) -> Result<(), StatementEnd> {
        let mut scan = Scan::new(self.text, begin, key);
        let mut fixed = scan.value(Within::Line, 0);
        let (is_open, mut is_unclear) = (scan.is_open, scan.is_unclear);
        let mut found = problem.map(|text| (begin, text)).or(scan.problem.take());
        if !is_open {
            scan.skip_blanks();
            let rest = without_comment(scan.line()).trim_matches([' ', '\t', '\r']);
            if !rest.is_empty() && !rest.starts_with('#') && found.is_none() {
                let after = trailing(rest, &fixed);
                // Behind the name of a file may stand what was to go into it.
                is_unclear |= after.is_unclear || key.ends_with("_file");
                found = Some((scan.at, after.problem));
                fixed = after.fixed.unwrap_or(fixed);
            } else if rest.starts_with(',') {
                let after = trailing(rest, &fixed);
                is_unclear |= after.is_unclear;
                fixed = after.fixed.unwrap_or(fixed);
            }
        }
        self.at = scan.at.min(self.text.len());
        self.skip_line();
        let Some((at, text)) = found else { return Ok(()) };
        let line = if is_open { self.line_at(at) } else { self.line_at(at).max(number) };
        let example = if is_unclear { String::new() } else { written(&format!("{key} = {fixed}")) };
        // What the parser makes of brackets that hold something wrong may go on for lines.
        let goes_on = is_open || self.text[begin..].trim_start().starts_with(['[', '{', '(']);
        self.fault(line, format!("{text}{example}"), goes_on);
        if is_open { Err(StatementEnd) } else { Ok(()) }
    }

    /// A line without `=`.
    fn without_sign(&mut self, line: &str, number: usize) -> Result<(), StatementEnd> {
        self.skip_line();
        let text = without_comment(line).trim();
        let first = text.split([' ', '\t', '"', '\'', '[', '{']).next().unwrap_or_default();
        let rest = text[first.len()..].trim();
        let braces = rest.is_empty() || rest.starts_with('{');
        let whole = text.strip_prefix(['"', '\'']).and_then(|rest| rest.strip_suffix(['"', '\'']));
        let inner = whole.and_then(|inner| inner.split_once('=')).filter(|(key, _)| known::is_key(key.trim()));
        let said = if let Some((key, value)) = inner {
            let mut scan = Scan::new(value, 0, key.trim());
            let fixed = scan.value(Within::Line, 0);
            let example = if scan.is_unclear || scan.is_open {
                String::new()
            } else {
                written(&format!("{} = {fixed}", key.trim()))
            };
            format!("the quotes belong around the value, not around the line{example}")
        } else if let Some((copied, section)) = copied_header(text) {
            format!("`{copied}` isn't needed before the name of a section{}", written(&known::header(section)))
        } else if let Some(section) =
            known::section(first.trim_matches(['<', '>', '(', ')', '{', '}', ']'])).filter(|_| braces)
        {
            format!("the name of a section must be in brackets{}", written(&known::header(section)))
        } else if known::is_key(first) && rest.is_empty() {
            format!("`{first}` has no value; write it as in `{first} = ...`, or delete the line")
        } else if known::is_key(first) {
            let mut scan = Scan::new(rest, 0, first);
            let fixed = scan.value(Within::Line, 0);
            let example =
                if scan.is_unclear || scan.is_open { String::new() } else { written(&format!("{first} = {fixed}")) };
            format!("the `=` after `{first}` is missing{example}")
        } else {
            "this line is neither `key = value` nor a section in brackets, such as `[connection]`; begin it with `#` if it is a comment"
                .to_owned()
        };
        let only_closes = !text.is_empty() && text.chars().all(|c| matches!(c, ']' | '}' | ')' | ','));
        if only_closes && self.faults.last().is_some_and(|last| last.line + 1 == number) {
            return Ok(());
        }
        match self.faults.last_mut() {
            // A page of text is told of once.
            Some(last) if last.text == said && last.unknown.end == number => last.unknown.end += 1,
            _ => self.fault(number, said, false),
        }
        Ok(())
    }
}
