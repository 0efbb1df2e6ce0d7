//! Characters that look like others, or like nothing.

/// Quotes that a word processor, a web page or a phone puts in the place of `"` and `'`.
pub(super) fn is_other_quote(c: char) -> bool {
    matches!(
        c,
        '\u{201c}'
            | '\u{201d}'
            | '\u{201e}'
            | '\u{201f}'
            | '\u{2018}'
            | '\u{2019}'
            | '\u{201a}'
            | '\u{201b}'
            | '\u{ab}'
            | '\u{bb}'
            | '\u{2039}'
            | '\u{203a}'
            | '\u{2032}'
            | '\u{2033}'
            | '\u{ff02}'
            | '\u{ff07}'
            | '\u{301d}'
            | '\u{301e}'
            | '\u{b4}'
            | '`'
    )
}

/// What an invisible character is called; `None` for any other.
pub(in crate::config) fn invisible(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{a0}' | '\u{202f}' | '\u{2007}' => "a no-break space",
        '\u{1680}' | '\u{2000}'..='\u{2006}' | '\u{2008}'..='\u{200a}' | '\u{205f}' | '\u{3000}' => {
            "a wide or thin space"
        }
        '\u{200b}' => "a zero-width space",
        '\u{200c}' | '\u{200d}' => "a zero-width joiner",
        '\u{feff}' | '\u{2060}' => "a byte order mark or word joiner",
        '\u{ad}' => "a soft hyphen",
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => "a mark of writing direction",
        '\u{2028}' | '\u{2029}' => "a line separator",
        '\t' | '\n' | '\r' => return None,
        c if c.is_control() => "a control character",
        _ => return None,
    })
}

/// Whether a plain blank is meant by it.
fn is_space(c: char) -> bool {
    invisible(c).is_some_and(|name| name.ends_with("space") && c != '\u{200b}')
}

/// `text` with plain blanks for invisible spaces, and without other invisible characters.
pub(in crate::config) fn made_visible(text: &str) -> String {
    text.chars().filter_map(|c| if is_space(c) { Some(' ') } else { invisible(c).is_none().then_some(c) }).collect()
}

/// What is said of an invisible character that stands where none may.
pub(super) fn about_invisible(c: char) -> String {
    let name = invisible(c).unwrap_or("a character that can't stand here");
    format!("there is an invisible character in this line ({name}, U+{:04X})", u32::from(c))
}

/// The Latin letter that looks like this one of the Cyrillic or Greek alphabet.
pub(super) fn latin(c: char) -> Option<char> {
    Some(match c {
        'а' => 'a',
        'е' => 'e',
        'о' | 'ο' => 'o',
        'р' | 'ρ' => 'p',
        'с' => 'c',
        'у' => 'y',
        'х' => 'x',
        'і' => 'i',
        'ј' => 'j',
        'ѕ' => 's',
        'т' => 't',
        'ν' => 'v',
        'к' => 'k',
        _ => return None,
    })
}

/// Full-width characters, as an input method for Chinese or Japanese leaves them.
pub(super) fn plain(c: char) -> Option<char> {
    match c {
        '\u{ff1d}' => Some('='),
        '\u{ff1a}' => Some(':'),
        '\u{ff0c}' => Some(','),
        '\u{ff3b}' | '\u{3010}' => Some('['),
        '\u{ff3d}' | '\u{3011}' => Some(']'),
        '\u{2010}'..='\u{2015}' | '\u{2212}' => Some('-'),
        '\u{ff10}'..='\u{ff19}' => char::from_digit(u32::from(c) - 0xff10, 10),
        _ => None,
    }
}
