//! JSON strings, written straight into a buffer.

/// For each byte what it becomes in a JSON string: 0 itself, `u` the long form `\u00XX`, else the letter after a backslash.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[b'\t' as usize] = b't';
    table[b'\n' as usize] = b'n';
    table[0x0c] = b'f';
    table[b'\r' as usize] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` as a JSON string, quotes included (RFC 8259, section 7).
pub(crate) fn append_string(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut clean_from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let escape = ESCAPES[usize::from(byte)];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&bytes[clean_from..at]);
        clean_from = at + 1;
        match escape {
            b'u' => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
            letter => out.extend_from_slice(&[b'\\', letter]),
        }
    }
    out.extend_from_slice(&bytes[clean_from..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_string_reads_back_as_it_was() {
        let mut every: String = (0..0x80u8).map(char::from).collect();
        every.push_str("é \u{2028} 🦀 \u{fffd}");
        for text in ["", "plain", "\"", "\\", every.as_str()] {
            let mut out = Vec::new();
            append_string(&mut out, text);
            assert!(!out.iter().any(|&byte| byte < 0x20), "a line must stay one line");
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
