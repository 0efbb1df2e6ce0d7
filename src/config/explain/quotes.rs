//! Strings: where they end, and what is wrong with their quotes.

use super::characters::{about_invisible, invisible, is_other_quote, made_visible};
use super::scalar::{quoted, takes_list};
use super::value::{Scan, Within, without_comment};

impl Scan<'_> {
    pub(super) fn long_string(&mut self, quotes: &str) -> String {
        let start = self.at;
        match self.rest()[3..].find(quotes) {
            Some(length) => {
                let end = start + 3 + length + 3;
                // Up to two quotes more belong to the text.
                let more = self.text[end..].len() - self.text[end..].trim_start_matches(&quotes[..1]).len();
                self.at = end + more.min(2);
            }
            None => {
                self.complain(start, format!("the text that begins here with {quotes} has no end; {quotes} ends it"));
                (self.is_open, self.is_unclear, self.at) = (true, true, self.text.len());
            }
        }
        self.text[start..self.at].to_owned()
    }

    /// A string that ends in its line.
    pub(super) fn string(&mut self, quote: char, within: Within) -> String {
        let start = self.at;
        let line = self.line();
        let Some(length) = end_of_string(line, quote) else { return self.unclosed_string(quote, within) };
        let inner = &line[1..length];
        let after = line[length + 1..].chars().next();
        let ends = |c: char| {
            c.is_whitespace() || matches!(c, ',' | ']' | '}' | ')' | '#' | ';' | '=' | ':') || invisible(c).is_some()
        };
        if after.is_some_and(|c| !ends(c)) && within == Within::Line {
            return self.inner_quotes(quote);
        }
        if after.is_some_and(|c| !ends(c)) {
            self.complain(start, "a quote is missing in this line, or there is one too many");
            (self.is_open, self.is_unclear) = (true, true);
            return String::new();
        }
        self.at = start + length + 1;
        if let Some(c) = inner.chars().find(|c| c.is_control() && *c != '\t') {
            self.complain(start, about_invisible(c));
            return format!("{quote}{}{quote}", made_visible(inner));
        }
        if quote == '"'
            && let Some(escape) = bad_escape(inner)
        {
            // A sign that means nothing in TOML was kept from a shell, say; what is before a letter may be a path of Windows'.
            let needless = without_needless_escapes(inner);
            if bad_escape(&needless).is_none() {
                self.complain(
                    start,
                    format!(
                        "a `\\` in double quotes begins an escape, and there is no `{escape}`; the sign needs none"
                    ),
                );
                return format!("\"{needless}\"");
            }
            self.complain(start, format!("a `\\` in double quotes begins an escape, and there is no `{escape}`; single quotes take it as it is"));
            self.is_unclear |= inner.contains('\'');
            return format!("'{inner}'");
        }
        line[..=length].to_owned()
    }

    /// To the end of its line, the string's closing quote is missing.
    pub(super) fn unclosed_string(&mut self, quote: char, within: Within) -> String {
        let (start, line) = (self.at, self.line());
        self.at += line.len();
        // What is in double quotes with a backslash before the last one: a path of Windows' that ends with it.
        let problem = match line.trim_end().strip_suffix("\\\"") {
            Some(_) if quote == '"' => {
                "a `\\` before the closing quote makes it part of the text; delete it, or use single quotes"
            }
            _ => "the closing quote is missing",
        };
        self.complain(start, problem);
        let inner = without_comment(&line[1..]).trim_end();
        let close = if within == Within::Table { '}' } else { ']' };
        let inner = match inner.strip_suffix(close).filter(|_| within != Within::Line) {
            // The bracket that ends the whole is read next.
            Some(shorter) => {
                self.at = start + 1 + shorter.len();
                shorter.trim_end()
            }
            None => inner,
        };
        let inner = inner.trim_end_matches(|c| is_other_quote(c) || matches!(c, '"' | '\'' | ',' | ';' | '\\'));
        quoted(inner)
    }

    /// A quote in the text ends it too early.
    pub(super) fn inner_quotes(&mut self, quote: char) -> String {
        let (start, line) = (self.at, without_comment(self.line()).trim_end());
        let last = line.rfind(quote).unwrap_or(0);
        // Twice at an end, and nowhere else.
        let plain = line.trim_matches(quote);
        if last + quote.len_utf8() == line.len() && !plain.contains(['"', '\'', '\\']) {
            self.complain(start, format!("there is a `{quote}` too many at an end of the text"));
            self.at += self.line().len();
            return quoted(plain);
        }
        let what = if quote == '"' {
            "a `\"` inside of double quotes ends the text"
        } else {
            "a `'` inside of single quotes ends the text"
        };
        self.complain(start, what);
        let closes = last + quote.len_utf8() == line.len() && last > 0;
        self.is_unclear |= !closes;
        self.at += self.line().len();
        quoted(line.get(1..last).unwrap_or_default())
    }

    /// Quotes that aren't plain ones.
    pub(super) fn other_quotes(&mut self, quote: char, within: Within) -> String {
        let start = self.at;
        self.complain(start, format!("the quote {quote} (U+{:04X}) isn't a plain one", u32::from(quote)));
        let line = self.line();
        let inner = &line[quote.len_utf8()..];
        let stops = |c: char| is_other_quote(c) || matches!(c, '"' | '\'');
        // In a line of its own it goes as far as the last of them: there may be an apostrophe in it.
        let end = match within {
            Within::Line if takes_list(&self.key) => inner.find(stops),
            Within::Line => without_comment(inner).rfind(stops),
            Within::Array | Within::Table => inner.find(stops),
        };
        match end {
            Some(end) => {
                let close = inner[end..].chars().next().map_or(0, char::len_utf8);
                self.at = start + quote.len_utf8() + end + close;
                quoted(&inner[..end])
            }
            None => {
                self.at = start + line.len();
                self.is_unclear |= within != Within::Line;
                quoted(without_comment(inner).trim())
            }
        }
    }
}

/// Where in a line that begins with `quote` the string ends: the offset of its closing quote.
pub(super) fn end_of_string(line: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in line.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}

/// Without the backslashes before signs such as `$`.
fn without_needless_escapes(inner: &str) -> String {
    let (mut text, mut chars) = (String::new(), inner.chars());
    while let Some(c) = chars.next() {
        let next = chars.as_str().chars().next();
        if c == '\\' {
            let is_needless = next.is_some_and(|next| next.is_ascii_punctuation() && !matches!(next, '"' | '\\'));
            if !is_needless {
                text.push(c);
            }
            text.extend(chars.next());
        } else {
            text.push(c);
        }
    }
    text
}

/// The first escape of a basic string that TOML doesn't have.
fn bad_escape(inner: &str) -> Option<String> {
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            continue;
        }
        let rest = chars.as_str();
        let digits =
            |n: usize| rest.get(1..=n).is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match chars.next() {
            Some('b' | 't' | 'n' | 'f' | 'r' | 'e' | '"' | '\\') => {}
            Some('u') if digits(4) => {}
            Some('U') if digits(8) => {}
            Some('x') if digits(2) => {}
            Some(other) => return Some(format!("\\{other}")),
            None => return None,
        }
    }
    None
}
