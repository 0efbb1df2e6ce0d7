//! What a pattern is written like, where it most likely means something else: a list, a wildcard of file names, an expression between
//! slashes, or words that no argument has.

use regex_lite::escape;

use crate::actions::Pattern;
use crate::config::explain::{between_slashes, quoted};

/// What stands for the `*` of a file name: no option, and no path.
const NAME: &str = "[a-zA-Z0-9][a-zA-Z0-9_-]*";

/// How a list is written, each of its items as it stands there.
pub(super) fn of_list(items: &[&str]) -> String {
    // What can only be an expression is kept as one.
    let is_expression = |item: &str| item.contains(['[', '(', '\\']) && Pattern::new(item).is_ok();
    let item = |item: &&str| if is_expression(item) { (*item).to_owned() } else { escape(item) };
    quoted(&format!("({})", items.iter().map(item).collect::<Vec<_>>().join("|")))
}

/// What is meant by a text that is no expression, as far as that can be told.
pub(super) fn meant_by(text: &str) -> Option<String> {
    match () {
        () if text.starts_with('{') && text.ends_with('}') && text.contains(',') => {
            let items: Vec<&str> = text[1..text.len() - 1].split(',').map(str::trim).collect();
            Some(format!("one of several is written {}", of_list(&items)))
        }
        () if text.starts_with(['*', '?', '+']) => {
            Some(format!("it is no wildcard of file names: write what is needed, such as {}", of_wildcard(text)))
        }
        () => None,
    }
}

/// An expression for the names that a wildcard of file names is meant for.
fn of_wildcard(text: &str) -> String {
    let parts: Vec<String> = text.split(['*', '?', '+']).map(escape).collect();
    let mut pattern = parts.join(NAME);
    while let Some(at) = pattern.find(&NAME.repeat(2)) {
        pattern.replace_range(at..at + NAME.len(), "");
    }
    quoted(&pattern)
}

/// What is doubtful in an expression that is right.
pub(super) fn doubt(pattern: &Pattern, split: bool) -> Option<String> {
    let text = pattern.as_str();
    let shown = quoted(text);
    if let Some(bare) = between_slashes(text) {
        return Some(format!(
            "in {shown} the slashes count as a part of each argument; write it without them: {}",
            quoted(&bare)
        ));
    }
    if let Some(items) = list(text) {
        return Some(format!("{shown} is one argument; for one of several write {}", of_list(&items)));
    }
    if let Some(start) = wildcard_at_end(text) {
        let (last, wildcard) = (start.chars().last().unwrap_or_default(), of_wildcard(text));
        return Some(format!(
            "in {shown} `*` stands for any number of `{last}`: it is no wildcard of file names; write what is needed, such as {wildcard}"
        ));
    }
    if needs(text, &|c| c == ' ') && split {
        return Some(format!(
            "{shown} needs a blank, and with `split = true` an argument is divided at its blanks, so that nothing matches; write what a \
             single word is, or leave out `split`"
        ));
    }
    needs(text, &char::is_control).then(|| {
        format!(
            "{shown} needs a control character, and arguments that have one are never allowed, so that nothing matches"
        )
    })
}

/// The items, if it is a plain list.
fn list(text: &str) -> Option<Vec<&str>> {
    let items: Vec<&str> = text.split(',').map(str::trim).collect();
    let is_plain = |item: &&str| {
        !item.is_empty() && item.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@'))
    };
    (items.len() > 1 && items.iter().all(is_plain)).then_some(items)
}

/// What stands before a `*` at the end of plain text.
fn wildcard_at_end(text: &str) -> Option<&str> {
    let start = text.strip_suffix('*')?;
    let is_plain = start.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '@' | '/'));
    (start.len() > 1 && is_plain).then_some(start)
}

/// Whether everything that matches has a character of this kind, as far as that can be told: if not, `false`.
fn needs(text: &str, is_wanted: &dyn Fn(char) -> bool) -> bool {
    // With this flag blanks in the expression count for nothing.
    let has_verbose =
        text.split("(?").skip(1).any(|flags| flags.split([')', ':']).next().is_some_and(|flags| flags.contains('x')));
    !has_verbose && Needs { chars: text.chars().peekable(), is_wanted }.alternatives(0)
}

struct Needs<'t> {
    chars: std::iter::Peekable<std::str::Chars<'t>>,
    is_wanted: &'t dyn Fn(char) -> bool,
}

impl Needs<'_> {
    /// Up to the end, or the parenthesis that ends a group: whether all alternatives need one.
    fn alternatives(&mut self, depth: usize) -> bool {
        // The parser of expressions has its own bound, beyond which there is none.
        const DEEPEST: usize = 60;
        let (mut all, mut this) = (true, false);
        while let Some(c) = self.chars.next() {
            let needs = match c {
                ')' => return all && this,
                '|' => {
                    all &= this;
                    this = false;
                    continue;
                }
                '(' if depth >= DEEPEST => return false,
                '(' => {
                    self.skip_flags();
                    self.alternatives(depth + 1)
                }
                '[' => self.class(),
                '\\' => self.escaped(),
                '.' | '^' | '$' => false,
                c => (self.is_wanted)(c),
            };
            this |= needs && !self.may_be_left_out();
        }
        all && this
    }

    /// `?:`, `?i:`, `?P<name>`; behind flags alone, the group ends at once.
    fn skip_flags(&mut self) {
        if self.chars.next_if_eq(&'?').is_none() {
            return;
        }
        while let Some(c) = self.chars.next_if(|c| *c != ')') {
            if matches!(c, ':' | '>') {
                return;
            }
        }
    }

    /// A class: only one that has nothing else needs one.
    fn class(&mut self) -> bool {
        let (mut only, mut is_first, mut count) = (true, true, 0);
        while let Some(c) = self.chars.next() {
            match c {
                ']' if !is_first => break,
                '[' => only = false,
                '\\' => only &= self.escaped(),
                c => only &= (self.is_wanted)(c),
            }
            is_first &= c == '^';
            count += 1;
        }
        only && count > 0
    }

    /// What stands behind a backslash.
    fn escaped(&mut self) -> bool {
        match self.chars.next() {
            // Of blanks, the space is the only one that isn't a control character.
            Some('s') => (self.is_wanted)(' '),
            Some('t') => (self.is_wanted)('\t'),
            Some('n') => (self.is_wanted)('\n'),
            Some('r') => (self.is_wanted)('\r'),
            Some(c) if !c.is_ascii_alphanumeric() => (self.is_wanted)(c),
            _ => false,
        }
    }

    /// Whether what stands before may be there no time at all.
    fn may_be_left_out(&mut self) -> bool {
        let may = match self.chars.peek() {
            Some('*' | '?') => true,
            Some('{') => {
                let mut rest = self.chars.clone().skip(1);
                let least: String = rest.by_ref().take_while(char::is_ascii_digit).collect();
                least.trim_start_matches('0').is_empty()
            }
            _ => false,
        };
        // The repetition itself, and the `?` that makes it lazy.
        if self.chars.next_if(|c| matches!(c, '*' | '?' | '+' | '{')) == Some('{') {
            while self.chars.next().is_some_and(|c| c != '}') {}
        }
        self.chars.next_if_eq(&'?');
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_blank_is_told() {
        for text in [
            " ",
            "a b",
            "(one two|three four)",
            "[a-z]+ [a-z]+",
            "a\\sb",
            "(?:a |b )c",
            "a(x| )? b",
            "[ ]{2}",
            "(?i)a b",
            "a {1,3}b",
            "(?P<n>a b)",
            "[a-z]+(,| ) [b]",
            "\\( ",
        ] {
            assert!(needs(text, &|c| c == ' '), "{text}");
        }
        for text in [
            "",
            "ab",
            "(one two|three)",
            "a ?b",
            "a *b",
            "a {0,3}b",
            "(a b)?c",
            "[ a]b",
            "(a b){0}c",
            "[^ ]",
            "(?x)a b",
            "a.b",
            "(a b|)",
            "\\S+",
            "[\\]] ?",
            "(a| )",
        ] {
            assert!(!needs(text, &|c| c == ' '), "{text}");
        }
    }
}
