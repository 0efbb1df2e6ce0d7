//! `action.args`: a regular expression that an argument must match as a whole.

use regex_lite::{Regex, RegexBuilder};
use thiserror::Error;

/// The most bytes that an expression may take once it is compiled.
pub(crate) const MAX_COMPILED: usize = 1 << 20;

/// What one is taken to need at least.
const MIN_COMPILED: usize = 4 << 10;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    /// As written.
    text: String,
    whole: Regex,
    compiled_size: usize,
}

/// Why a text isn't a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum PatternError {
    /// What the parser says.
    #[error("{0}")]
    NotExpression(String),
    #[error("it takes more than 1 MiB once it is compiled; repeat less, as in `{{1,64}}`")]
    TooLarge,
}

impl Pattern {
    /// # Errors
    /// `text` is no regular expression by itself, or one that gets too large.
    pub(crate) fn new(text: &str) -> Result<Pattern, PatternError> {
        Pattern::within(text, MAX_COMPILED)
    }

    /// Likewise, of which no more than `room` bytes may come, nor more than 1 MiB.
    ///
    /// # Errors
    /// Likewise.
    pub(crate) fn within(text: &str, room: usize) -> Result<Pattern, PatternError> {
        let room = room.min(MAX_COMPILED);
        let compiled = |text: &str, limit: usize| RegexBuilder::new(text).size_limit(limit).build();
        let error = |error: regex_lite::Error| match error.to_string() {
            text if text.contains("size limit") => PatternError::TooLarge,
            text => PatternError::NotExpression(text),
        };
        // By itself first: `a)|(b` would become one by what is put around it.
        compiled(text, room).map_err(error)?;
        // The line end is for a comment, which `(?x)` allows. Without that flag it would have to match, hence the two.
        let (one, other) = (format!(r"\A(?:{text})\z"), format!("\\A(?:{text}\n)\\z"));
        let whole = if compiled(&one, room).is_ok() { one } else { other };
        // Nobody else tells how much it takes.
        let mut compiled_size = MIN_COMPILED.min(room);
        loop {
            match compiled(&whole, compiled_size) {
                Ok(whole) => return Ok(Pattern { text: text.to_owned(), whole, compiled_size }),
                Err(_) if compiled_size < room => compiled_size = (compiled_size * 2).min(room),
                Err(fault) => return Err(error(fault)),
            }
        }
    }

    /// Bytes that it takes once it is compiled: at least half of this.
    pub(crate) fn compiled_size(&self) -> usize {
        self.compiled_size
    }

    /// Whether all of `argument` matches.
    pub(crate) fn matches(&self, argument: &str) -> bool {
        self.whole.is_match(argument)
    }

    /// As written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_matches_as_a_whole() {
        let pattern = Pattern::new("zigbee2mqtt|nodered").unwrap();
        assert!(pattern.matches("nodered") && pattern.matches("zigbee2mqtt"));
        for other in ["", "nodered ", "nodered\n", "xnodered", "zigbee2mqtt|nodered", "noderedzigbee2mqtt"] {
            assert!(!pattern.matches(other), "{other:?}");
        }
        // A flag of the pattern doesn't make a line of it the whole.
        for multiline in ["(?m)^a$", "(?s)(?m)a$", "(?mR)a$"] {
            let pattern = Pattern::new(multiline).unwrap();
            assert!(pattern.matches("a") && !pattern.matches("a\nb") && !pattern.matches("b\na"), "{multiline}");
        }
        let verbose = Pattern::new("(?x) a b # both").unwrap();
        assert!(verbose.matches("ab") && !verbose.matches("ab\n") && !verbose.matches("abc"));
    }

    #[test]
    fn what_a_pattern_takes_is_known() {
        let size = |text: &str| Pattern::new(text).map(|pattern| pattern.compiled_size());
        assert_eq!(size("(zigbee2mqtt|nodered)"), Ok(MIN_COMPILED));
        assert!(size("[^x]{1,2000}").unwrap() > 4 * MIN_COMPILED);
        assert_eq!(size("a{1000}{1000}"), Err(PatternError::TooLarge));
    }

    #[test]
    fn what_is_no_expression_by_itself_is_refused() {
        for text in ["a)|(?:b", "(", "[a", "a{2,1}", "\\p{L}", "(?=a)", "a{1000}{1000}{1000}", "*"] {
            let error = Pattern::new(text).unwrap_err();
            assert!(!error.to_string().is_empty(), "{text}");
        }
    }
}
