//! Numbers with their nouns: `1 message`, `2 messages`.

use std::fmt::Display;

/// `1 message`, `2 messages`.
pub(crate) fn count<N: Copy + Display + PartialEq + From<u8>>(n: N, noun: &str) -> String {
    format!("{n} {}", self::noun(n, noun))
}

/// `message` for one, else `messages`.
pub(crate) fn noun<N: Copy + PartialEq + From<u8>>(n: N, noun: &str) -> String {
    format!("{noun}{}", if n == N::from(1) { "" } else { "s" })
}

/// With a verb that agrees: `1 message waits`, `2 messages wait`.
pub(crate) fn count_that<N: Copy + Display + PartialEq + From<u8>>(n: N, noun: &str, one: &str, more: &str) -> String {
    format!("{} {}", count(n, noun), if n == N::from(1) { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noun_and_verb_agree_with_the_number() {
        assert_eq!([0, 1, 2].map(|n| count(n, "message")), ["0 messages", "1 message", "2 messages"]);
        let waits = |n: usize| count_that(n, "message", "waits", "wait");
        assert_eq!([0, 1, 2].map(waits), ["0 messages wait", "1 message waits", "2 messages wait"]);
    }
}
