//! `action.args`: a regular expression that an argument must match as a whole.

use regex_lite::{Regex, RegexBuilder};
use thiserror::Error;

/// The most bytes that an expression may take once it is compiled.
const MAX_COMPILED: usize = 1 << 20;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    /// As written.
    text: String,
    whole: Regex,
}

/// Why a text isn't a pattern; what the parser says.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub(crate) struct PatternError(String);

impl Pattern {
    /// # Errors
    /// `text` is no regular expression by itself, or one that gets too large.
    pub(crate) fn new(text: &str) -> Result<Pattern, PatternError> {
        let compiled = |text: &str| {
            RegexBuilder::new(text).size_limit(MAX_COMPILED).build().map_err(|error| PatternError(error.to_string()))
        };
        // By itself first: `a)|(b` would become one by what is put around it.
        compiled(text)?;
        // The line end is for a comment, which `(?x)` allows. Without that flag it would have to match, hence the two.
        let whole = compiled(&format!(r"\A(?:{text})\z")).or_else(|_| compiled(&format!("\\A(?:{text}\n)\\z")))?;
        Ok(Pattern { text: text.to_owned(), whole })
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
    fn what_is_no_expression_by_itself_is_refused() {
        for text in ["a)|(?:b", "(", "[a", "a{2,1}", "\\p{L}", "(?=a)", "a{1000}{1000}{1000}", "*"] {
            let error = Pattern::new(text).unwrap_err();
            assert!(!error.to_string().is_empty(), "{text}");
        }
    }
}
