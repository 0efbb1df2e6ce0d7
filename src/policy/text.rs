//! The text of a policy file: UTF-8, with or without a byte order mark, or UTF-16 as PowerShell's `>` writes it.

use thiserror::Error;

/// Why a file holds no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum NotText {
    #[error(
        "the file isn't text in UTF-8: byte {at} of line {line} is the first that can't be read. Save the policy as UTF-8, or \
        fetch it again with `aws iot get-policy`"
    )]
    Utf8 { line: usize, at: usize },
    #[error("the file begins as UTF-16 but goes on as something else. Save the policy as UTF-8")]
    Utf16,
}

/// The text in `bytes`, without a byte order mark.
///
/// # Errors
/// They are neither UTF-8 nor UTF-16.
pub(crate) fn decode(bytes: &[u8]) -> Result<String, NotText> {
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        // JSON begins with an ASCII character, and no text holds a zero byte.
        [first, 0, ..] if first.is_ascii() => utf16(bytes, u16::from_le_bytes),
        [0, first, ..] if first.is_ascii() => utf16(bytes, u16::from_be_bytes),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.trim_start_matches('\u{feff}').to_owned()),
            Err(error) => {
                let before = &bytes[..error.valid_up_to()];
                let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
                let at = before.iter().rev().take_while(|&&byte| byte != b'\n').count() + 1;
                Err(NotText::Utf8 { line, at })
            }
        },
    }
}

fn utf16(bytes: &[u8], order: fn([u8; 2]) -> u16) -> Result<String, NotText> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    // A newline that a tool has added in one byte, or an end that is cut off, has its place in no character.
    if !rest.is_empty() && rest != b"\n" {
        return Err(NotText::Utf16);
    }
    let units: Vec<u16> = pairs.iter().map(|&pair| order(pair)).collect();
    String::from_utf16(&units).map_err(|_| NotText::Utf16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_bad_byte_is_told() {
        assert_eq!(decode(b"{\n\"a\xe4"), Err(NotText::Utf8 { line: 2, at: 3 }));
        assert_eq!(decode(b"\xff\xfe{\0x"), Err(NotText::Utf16));
        assert_eq!(decode(b"\xff\xfe{\0\n").as_deref(), Ok("{"));
        assert_eq!(decode("\u{feff}{}".as_bytes()).as_deref(), Ok("{}"));
    }
}
