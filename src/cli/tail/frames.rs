//! Where messages end in what comes from a forward socket.

use crate::config::Format;

/// What comes isn't what the forward's format says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// How much of `bytes`, which begin with a message, is whole messages.
pub(super) fn whole(bytes: &[u8], format: Format) -> Result<usize, Broken> {
    match format {
        Format::Json | Format::Payload => Ok(memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1)),
        Format::Netstring => {
            let mut end = 0;
            while let Some(length) = netstring(&bytes[end..])? {
                end += length;
            }
            Ok(end)
        }
    }
}

/// The length of the netstring that `bytes` begin with, or of the line of an error, which begins with `{`; `None` if it isn't all
/// there.
fn netstring(bytes: &[u8]) -> Result<Option<usize>, Broken> {
    if bytes.first() == Some(&b'{') {
        return Ok(memchr::memchr(b'\n', bytes).map(|end| end + 1));
    }
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match bytes.get(digits) {
        None if digits <= 7 => return Ok(None),
        Some(b':') if (1..=7).contains(&digits) => {}
        _ => return Err(Broken),
    }
    let length: usize = std::str::from_utf8(&bytes[..digits]).ok().and_then(|text| text.parse().ok()).ok_or(Broken)?;
    let comma = digits + 1 + length;
    match bytes.get(comma) {
        None => Ok(None),
        Some(b',') => Ok(Some(comma + 1)),
        Some(_) => Err(Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netstrings_end_where_their_length_says() {
        let whole = |bytes: &[u8]| whole(bytes, Format::Netstring);
        assert_eq!(whole(b"5:a\nb,c,0:,3:ab"), Ok(11));
        assert_eq!(whole(b"{\"error\":\"bad_line\"}\n1:x,"), Ok(25));
        for part in [&b""[..], b"12", b"12:", b"2:ab", b"{\"error\""] {
            assert_eq!(whole(part), Ok(0), "{part:?}");
        }
        for broken in [&b"x"[..], b":,", b"1:ab,", b"12345678", b"-1:,"] {
            assert_eq!(whole(broken), Err(Broken), "{broken:?}");
        }
    }

    #[test]
    fn lines_end_with_a_newline() {
        assert_eq!(whole(b"a\nb\nc", Format::Payload), Ok(4));
        assert_eq!(whole(b"a", Format::Json), Ok(0));
    }
}
