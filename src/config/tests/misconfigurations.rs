//! Files that people get wrong, and what is said of each: `misconfigurations.txt` holds them both.

use super::*;

const CASES: &str = include_str!("misconfigurations.txt");

/// `<a0>` stands for a byte.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let byte = rest.strip_prefix('<').and_then(|rest| rest.get(..3)).and_then(|rest| rest.strip_suffix('>'));
        match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    bytes
}

#[test]
fn what_people_get_wrong_is_told_on_its_line_with_what_to_write() {
    let good = "[connection]\nendpoint = \"localhost\"\nclient_id = \"thing-1\"\n";
    let mut wrong = Vec::new();
    let cases: Vec<&str> = CASES.split("%%%%\n").skip(1).collect();
    for case in &cases {
        let (text, expected) = case.split_once("%--\n").unwrap();
        let text = text.strip_prefix("+\n").map_or_else(|| text.to_owned(), |rest| format!("{good}{rest}"));
        let found = match load_bytes(&bytes(&text), &[]) {
            Ok((_, warnings)) => warnings,
            Err(errors) => errors,
        };
        let mut expected: Vec<&str> = expected.lines().collect();
        // Warnings beside errors are told apart from them.
        if expected.iter().any(|line| !line.contains(": warning: ")) {
            expected.retain(|line| !line.contains(": warning: "));
        }
        if found != expected {
            wrong.push(format!("{text}----\n{}\n", found.join("\n")));
        }
    }
    assert!(cases.len() > 200, "{}", cases.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("%%%%\n"));
}
