//! What a module writes to standard error: for whoever looks for a fault, and without the PIN that some write with it.

use std::fmt::Write as _;
use std::path::Path;

use crate::regular;

/// So many characters are shown, from the end.
const SHOWN: usize = 300;

/// No PIN is longer.
const MAX_PIN: u64 = 4096;

/// The last lines, as one. No line that has the PIN in it, in hexadecimal digits neither.
pub(super) fn shown(written: &[u8], pin_file: Option<&Path>) -> String {
    let text = String::from_utf8_lossy(written);
    let secrets = match pin_file.map(|file| regular::read(file, MAX_PIN)) {
        Some(Ok(pin)) => forms(String::from_utf8_lossy(&pin).trim_end_matches(['\n', '\r'])),
        // What the PIN is isn't known, then.
        Some(Err(_)) if !text.is_empty() => return String::new(),
        Some(Err(_)) | None => Vec::new(),
    };
    let is_safe = |line: &&str| {
        let plain: String = line.to_lowercase().chars().filter(|c| !" :,.-".contains(*c)).collect();
        !secrets.iter().any(|secret| line.contains(secret.as_str()) || plain.contains(secret.as_str()))
    };
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).filter(is_safe).collect();
    let all = lines.join("; ");
    let all = all.trim_end_matches('.');
    let start = all.char_indices().rev().nth(SHOWN - 1).map_or(0, |(at, _)| at);
    if start == 0 { all.to_owned() } else { format!("... {}", &all[start..]) }
}

/// A PIN as it is, and in hexadecimal digits.
fn forms(pin: &str) -> Vec<String> {
    if pin.is_empty() {
        return Vec::new();
    }
    let hex = pin.bytes().fold(String::new(), |mut hex, byte| {
        // Writing to memory can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    vec![pin.to_owned(), pin.to_lowercase(), hex]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_it_is_shown_without_the_pin() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pin");
        std::fs::write(&file, "Hunter2\n").unwrap();
        let written = b"tcti: no such device\n\n pin is Hunter2\n48 75 6e 74 65 72 32  |..|\nPIN=HUNTER2\nlast\n";
        assert_eq!(shown(written, Some(&file)), "tcti: no such device; last");
        assert_eq!(shown(b"", Some(&file)), "");
        assert_eq!(shown(b"\xff\n", None), "\u{fffd}");
        let long = shown("ü".repeat(1000).as_bytes(), None);
        assert_eq!((long.chars().count(), long.starts_with("... ü")), (SHOWN + 4, true));
        // Where the PIN can't be known, nothing is.
        assert_eq!(shown(b"Hunter2", Some(&directory.path().join("none"))), "");
    }
}
