//! The characters that texts in MQTT may hold: topics, filters, client ids, and the texts among the properties.

use std::fmt;

use thiserror::Error;

/// A character that isn't sent. MQTT forbids U+0000, and lets a server close the connection for the others: the control
/// characters U+0001 to U+001F and U+007F to U+009F, and what Unicode says is no character (MQTT 3.1.1 and MQTT 5, 1.5.4).
/// The text follows "it ".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) struct ForbiddenCharacter {
    character: char,
    /// Counted in characters from 1.
    position: usize,
}

/// Whether `text` may be sent in MQTT; if not, the first character that mayn't. Surrogates are no matter here: a `str` can't
/// hold any.
pub(crate) fn check_characters(text: &str) -> Result<(), ForbiddenCharacter> {
    let forbidden = text.chars().zip(1..).find(|(character, _)| is_forbidden(*character));
    forbidden.map_or(Ok(()), |(character, position)| Err(ForbiddenCharacter { character, position }))
}

fn is_forbidden(character: char) -> bool {
    character.is_control() || is_non_character(character)
}

/// U+FDD0 to U+FDEF, and the last two of each plane.
fn is_non_character(character: char) -> bool {
    let code = u32::from(character);
    matches!(code, 0xFDD0..=0xFDEF) || code & 0xFFFE == 0xFFFE
}

impl fmt::Display for ForbiddenCharacter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ForbiddenCharacter { character, position } = *self;
        let kind = match character {
            '\0' => "NUL",
            '\t' => "a tab",
            '\n' => "a line feed",
            '\r' => "a carriage return",
            '\u{1b}' => "an escape",
            _ if character.is_control() => "a control character",
            _ => "a code point that is no character",
        };
        let code = u32::from(character);
        write!(f, "has {kind} (U+{code:04X}) as character {position}, for which a server may close the connection")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_and_non_characters_are_found_with_their_place() {
        for (text, shown) in [
            ("a\0", "has NUL (U+0000) as character 2"),
            ("door/a\nb", "has a line feed (U+000A) as character 7"),
            ("ü\t", "has a tab (U+0009) as character 2"),
            ("\u{1b}[0m", "has an escape (U+001B) as character 1"),
            ("\u{7f}", "has a control character (U+007F) as character 1"),
            ("\u{9f}", "has a control character (U+009F) as character 1"),
            ("\u{fdd0}", "has a code point that is no character (U+FDD0) as character 1"),
            ("\u{fdef}", "(U+FDEF)"),
            ("\u{fffe}", "(U+FFFE)"),
            ("\u{1ffff}", "(U+1FFFF)"),
            ("\u{10fffe}", "(U+10FFFE)"),
        ] {
            let error = check_characters(text).unwrap_err().to_string();
            assert!(error.contains(shown), "{text:?}: {error}");
        }
        for text in ["", " ~", "\u{a0}", "\u{feff}", "\u{fdcf}\u{fdf0}", "\u{fffd}", "\u{e000}", "🦀"] {
            assert_eq!(check_characters(text), Ok(()), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_passes_holds_none_of_them(text in any::<String>()) {
            let bad = |c: char| {
                let code = u32::from(c);
                code < 0x20 || (0x7f..=0x9f).contains(&code) || (0xfdd0..=0xfdef).contains(&code)
                    || [0xfffe, 0xffff].contains(&(code % 0x1_0000))
            };
            prop_assert_eq!(check_characters(&text).is_ok(), !text.chars().any(bad));
        }
    }
}
