//! Anything from a forward socket.

use super::{Style, frames, painted};
use crate::config::Format;
use crate::printable::printable;

const FORMATS: [Format; 3] = [Format::Json, Format::Payload, Format::Netstring];

/// Reads `input` as what a forward writes, in pieces whose size its first byte says: what is whole is passed on, each byte once.
pub fn tail_stream(input: &[u8]) {
    let Some((&size, input)) = input.split_first() else { return };
    for format in FORMATS {
        let (mut rest, mut passed) = (Vec::new(), Vec::new());
        let mut is_broken = false;
        for piece in input.chunks(usize::from(size) + 1) {
            rest.extend_from_slice(piece);
            let Ok(end) = frames::whole(&rest, format) else {
                is_broken = true;
                break;
            };
            passed.extend(rest.drain(..end));
        }
        assert!(input.starts_with(&passed));
        // However it comes in pieces.
        match frames::whole(input, format) {
            Ok(end) => assert!(!is_broken && end == passed.len(), "{end} and {}", passed.len()),
            Err(frames::Broken) => assert!(is_broken),
        }
    }
    for line in String::from_utf8_lossy(input).lines() {
        let shown = painted(line, Style::Plain).to_string();
        assert_eq!(shown, printable(line), "a line is shown whole, and no terminal obeys it");
    }
}
