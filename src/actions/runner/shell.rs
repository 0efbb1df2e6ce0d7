//! What a script for a shell runs, as far as that can be told from its words.

use crate::actions::Word;

/// What `"$1"` and the like stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Positions<'w> {
    /// The first that a document gives: 0 for `$0`.
    pub(super) first: usize,
    /// What stands there.
    pub(super) given: &'w Word,
}

impl Positions<'_> {
    /// Whether `text`, with its dollar sign, is nothing but what a document gives.
    fn holds(self, text: &str) -> bool {
        let Some(name) = text.strip_prefix('$') else { return false };
        match name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name) {
            "@" | "*" => self.first <= 1,
            digits => digits.parse::<usize>().is_ok_and(|position| position >= self.first),
        }
    }
}

/// Stands in a script for the path that `{{download}}` becomes: no word has this character.
pub(super) const DOWNLOAD: char = '\0';

/// The commands in `code`, each as its words without their quotes. `positions`: what a document gives is among the positional
/// parameters.
pub(super) fn commands(code: &str, positions: Option<Positions<'_>>) -> Vec<Vec<Word>> {
    let (mut commands, mut command, mut word) = (Vec::new(), Vec::new(), Unquoted::default());
    let mut chars = code.chars();
    while let Some(c) = chars.next() {
        match (c, word.quote) {
            ('\\', None | Some('"')) => word.push(chars.next().unwrap_or(c), false),
            (c, Some(quote)) if c == quote => word.quote = None,
            (c, Some(quote)) => word.push(c, quote == '"'),
            ('\'' | '"', None) => (word.quote, word.is_there) = (Some(c), true),
            (';' | '&' | '|' | '\n' | '(' | ')' | '`', None) => {
                command.extend(word.take(positions));
                commands.push(std::mem::take(&mut command));
            }
            (c, None) if c.is_whitespace() => command.extend(word.take(positions)),
            (c, None) => word.push(c, true),
        }
    }
    command.extend(word.take(positions));
    commands.push(command);
    commands.retain(|command| !command.is_empty());
    commands
}

/// The words of a line, as a shell splits them.
pub(crate) fn words(line: &str) -> Vec<String> {
    let words = commands(line, None).into_iter().flatten();
    words.filter_map(|word| if let Word::Text(text) = word { Some(text) } else { None }).collect()
}

/// A word without its quotes, so far.
#[derive(Default)]
struct Unquoted {
    text: String,
    quote: Option<char>,
    /// It may be empty: `""`.
    is_there: bool,
    /// A dollar sign in it is none for the shell.
    is_literal: bool,
}

impl Unquoted {
    fn push(&mut self, c: char, is_read: bool) {
        self.text.push(c);
        self.is_there = true;
        self.is_literal |= c == '$' && !is_read;
    }

    fn take(&mut self, positions: Option<Positions<'_>>) -> Option<Word> {
        let Unquoted { text, is_there, is_literal, .. } = std::mem::take(self);
        let given = positions.filter(|positions| !is_literal && positions.holds(&text));
        is_there.then(|| match (given, text.split_once(DOWNLOAD)) {
            (Some(positions), _) => positions.given.clone(),
            (None, Some((before, after))) => Word::Download { before: before.to_owned(), after: after.to_owned() },
            (None, None) => Word::Text(text),
        })
    }
}
