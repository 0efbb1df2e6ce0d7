//! What is advised is taken as it is printed.

use super::*;
use crate::config::known::{SECTIONS, header, header_below};

/// What is said when a value is of another kind than its key takes.
const OF_ANOTHER_KIND: [&str; 6] = [
    "must be a string in quotes",
    "must be an array of strings",
    "must be true or false",
    "without quotes",
    "must be a whole number",
    "text must be in quotes",
];

/// The complaints about the last line of a file that ends with `line`, below the header of a section.
fn complaints(section: &str, line: &str) -> Vec<String> {
    let above = if section.starts_with("[[bridge.") { "[[bridge]]\n" } else { "" };
    let connection =
        if section == "[connection]" { "[connection]\n".to_owned() } else { format!("{CONNECTION}{above}{section}\n") };
    let text = format!("{connection}{line}\n");
    let place = format!("gatewire.toml:{}: ", text.lines().count());
    let found = load(&text, &[]).err().unwrap_or_default();
    found.into_iter().filter(|error| error.starts_with(&place)).collect()
}

#[test]
fn a_value_without_quotes_is_told_as_its_key_takes_it() {
    let mut wrong = Vec::new();
    for section in SECTIONS {
        for key in section.keys.iter().filter(|key| header_below(key).is_none() && !["up", "down", "tls"].contains(key))
        {
            for token in ["yes", "True", "Off", "eight", "some text", "a.example, b.example", "/usr/bin/x -a"] {
                let header = header(section);
                for told in complaints(&header, &format!("{key} = {token}")) {
                    let Some((_, advice)) = told.rsplit_once("; write `") else { continue };
                    // What may be a secret isn't repeated.
                    if advice.contains("...") {
                        continue;
                    }
                    let again = complaints(&header, advice.trim_end_matches('`'));
                    let kinds = again.iter().filter(|again| OF_ANOTHER_KIND.iter().any(|kind| again.contains(kind)));
                    wrong.extend(kinds.map(|again| format!("{header} {key} = {token}\n  {told}\n  {again}")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
