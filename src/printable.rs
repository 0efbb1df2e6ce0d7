//! Text of others, made harmless for a log and a terminal.
//!
//! Topics, payloads, file names, certificates' names, what servers, proxies and programs say: any of it may hold characters that
//! a terminal obeys, that begin a line which looks like another's, or that can't be seen. The logger ([`crate::journal`]) and
//! the output of the command line write nothing that hasn't gone through here.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` in one line, with everything that isn't shown as itself written as JSON would: `\n`, `\u001b`, `\u202e`.
///
/// A JSON text stays one, and means the same: such characters only stand in its strings.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_harmful) else { return Cow::Borrowed(text) };
    let mut shown = String::with_capacity(text.len() + 16);
    shown.push_str(&text[..first]);
    for c in text[first..].chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if is_harmful(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to memory can't fail.
                    let _ = write!(shown, "\\u{unit:04x}");
                }
            }
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Whether a character is not shown as itself: controls, what ends a line, the format characters of Unicode (which turn the
/// direction of the text around them, or hide), what is invisible by design, and what is no character.
fn is_harmful(c: char) -> bool {
    // Most text is ASCII.
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    let code = u32::from(c);
    c.is_control() || code & 0xFFFE == 0xFFFE || INVISIBLE.iter().any(|(from, to)| (*from..=*to).contains(&code))
}

/// Line ends (Zl, Zp), format characters (Cf), fillers and other Default_Ignorable_Code_Points but for variation selectors of
/// emoji, and the block of noncharacters, as of Unicode 16.
const INVISIBLE: [(u32, u32); 28] = [
    (0xAD, 0xAD),
    (0x34F, 0x34F),
    (0x600, 0x605),
    (0x61C, 0x61C),
    (0x6DD, 0x6DD),
    (0x70F, 0x70F),
    (0x890, 0x891),
    (0x8E2, 0x8E2),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x2028, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFDD0, 0xFDEF),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB),
    (0x110BD, 0x110BD),
    (0x110CD, 0x110CD),
    (0x13430, 0x1343F),
    (0x16FE4, 0x16FE4),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    // Tags and the rest of their plane, which are all to be ignored where they aren't known.
    (0xE0000, 0xE0FFF),
    // Private use beyond the first plane: no terminal shows it.
    (0xF0000, 0xFFFFD),
    (0x10_0000, 0x10_FFFD),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_as_itself_is_written_out() {
        assert_eq!(printable("a\u{1b}[2J\u{9b}b\u{7f}\n\r\t"), "a\\u001b[2J\\u009bb\\u007f\\n\\r\\t");
        assert_eq!(printable("\u{202e}x\u{2028}\u{feff}\u{200b}\u{ad}"), "\\u202ex\\u2028\\ufeff\\u200b\\u00ad");
        assert_eq!(printable("\u{ffff}\u{fdd0}\u{1fffe}"), "\\uffff\\ufdd0\\ud83f\\udffe");
        assert!(matches!(printable("Grüße 🦀 日本 שלום \\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn nothing_harmful_is_left_and_json_stays_the_same() {
        for c in char::MIN..=char::MAX {
            let json = serde_json::to_string(&format!("a{c}b")).unwrap();
            let shown = printable(&json);
            assert!(!shown.contains(is_harmful) && !shown.contains(char::is_control), "{c:?}");
            assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), format!("a{c}b"));
        }
    }
}
