//! Anything from an ingest socket.

use std::path::Path;

use super::Answers;

/// Each line of `input` is an answer to a message, or ends the command with a reason.
pub fn publish_answers(input: &[u8]) {
    let mut answers = Answers::new(Path::new("ingest.sock"), true);
    for (line, number) in input.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        match answers.note(line) {
            Ok(_) => assert_eq!(answers.answered(), number),
            Err(failure) => return assert_eq!(failure.into_lines().len(), 1),
        }
    }
}
