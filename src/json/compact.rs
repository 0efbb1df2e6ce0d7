//! JSON without its white space, everything else as it was.

/// Removes the white space between the tokens of valid JSON text. Numbers keep their digits, objects their order.
pub(crate) fn compact(json: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for &byte in json.as_bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        } else {
            in_string = byte == b'"';
        }
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_between_tokens_goes() {
        for (json, expected) in [
            (r#" { "b" : [ 1.10 , 1e400 , -0 ] , "a" : null } "#, r#"{"b":[1.10,1e400,-0],"a":null}"#),
            (r#"{"a b": "c  \" d \\", "e" : "\\" }"#, r#"{"a b":"c  \" d \\","e":"\\"}"#),
            ("[\t\r\n]", "[]"),
            ("true", "true"),
        ] {
            assert_eq!(String::from_utf8(compact(json)).unwrap(), expected);
        }
    }
}
