//! Files that hold no text, or text in another encoding.

use std::path::Path;

use super::Mistake;

/// The bytes of `file` as text.
///
/// # Errors
/// They aren't UTF-8: on which line, and what to do.
pub(crate) fn text_of<'a>(bytes: &'a [u8], file: &Path) -> Result<&'a str, Mistake> {
    let convert = |from: &str| {
        let file = file.display();
        format!("`iconv -f {from} -t UTF-8 {file} > /tmp/utf8.toml`, and copy that over it")
    };
    let encoding = encoding(bytes);
    let whole = |text: &str| Mistake { line: 1, text: text.to_owned(), unknown: 1..usize::MAX };
    if let Some((name, of_iconv)) = encoding {
        return Err(whole(&format!(
            "this file is {name} (what some editors call \"Unicode\"), and must be UTF-8. Save it as UTF-8 in the editor, or convert \
             it: {}",
            convert(of_iconv)
        )));
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let fault = whole(
            "this file holds NUL bytes: it isn't text, or was damaged when the power failed. Put a copy of the configuration in its \
             place",
        );
        return Err(Mistake { line: line_of(bytes, at), ..fault });
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let line = line_of(bytes, at);
        let begin = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let column = 1 + String::from_utf8_lossy(&bytes[begin..at]).chars().count();
        let byte = bytes.get(at).copied().unwrap_or_default();
        // As in Latin-1, whose characters have the numbers of Unicode; what it has for control characters nobody types.
        let meant = match byte {
            0xa0..=0xff => format!("a `{}` in Latin-1, and isn't UTF-8", char::from(byte)),
            _ => "not UTF-8".to_owned(),
        };
        let text = format!(
            "the byte 0x{byte:02X} in column {column} is {meant}. Type the character again and save the file as UTF-8, or convert it: {}",
            convert("LATIN1")
        );
        Mistake { line, text, unknown: 1..usize::MAX }
    })
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count()
}

/// UTF-16 or UTF-32: for people, and as iconv takes it, which looks for a byte order mark if it isn't told the order.
fn encoding(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Some(("UTF-32", "UTF-32")),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Some(("UTF-16", "UTF-16")),
        _ => {}
    }
    // Without a mark: every second byte of what is ASCII is zero, or three of four.
    let start = &bytes[..bytes.len().min(64) & !3];
    let zeros = |from: usize, step: usize| start.iter().skip(from).step_by(step).filter(|byte| **byte == 0).count();
    let (half, quarter) = (start.len() / 2, start.len() / 4);
    let are = |count: usize, all: usize| all >= 2 && count * 10 >= all * 9;
    match () {
        () if are(zeros(1, 2), half) && are(zeros(2, 4), quarter) => Some(("UTF-32", "UTF-32LE")),
        () if are(zeros(0, 2), half) && are(zeros(1, 4), quarter) => Some(("UTF-32", "UTF-32BE")),
        () if are(zeros(1, 2), half) && zeros(0, 2) == 0 => Some(("UTF-16", "UTF-16LE")),
        () if are(zeros(0, 2), half) && zeros(1, 2) == 0 => Some(("UTF-16", "UTF-16BE")),
        () => None,
    }
}
