//! A reader that sends anything while it has a job.

use std::time::Instant;

use serde_json::Value;

use super::desk::Desk;
use super::{MAX_LINE, Offer, Said};
use crate::services::jobs::Identity;
use crate::socket::Lines;

/// Reads `input` as what the reader sends that has the job `j`, in pieces whose size its first byte says; whenever it has given a
/// result it is given the next execution.
pub fn jobs_lines(input: &[u8]) {
    let Some((&size, input)) = input.split_first() else { return };
    let (mut desk, mut lines, now) = (Desk::default(), Lines::up_to(MAX_LINE), Instant::now());
    let reader = desk.connected(false, now);
    let identity = |number| Identity { job: "j".to_owned(), number };
    let mut number = 1;
    let offer = |desk: &mut Desk, number| {
        let document = "{\"a\":\n1}".to_owned();
        desk.offer(Offer { identity: identity(number), document, deadline: None, is_noted: true }, now);
    };
    offer(&mut desk, number);
    let mut written = Vec::new();
    let take = |desk: &mut Desk, written: &mut Vec<u8>| {
        written.extend_from_slice(desk.unwritten(reader));
        desk.wrote(reader, usize::MAX, now);
    };
    for piece in input.chunks(usize::from(size) + 1) {
        lines.push(piece);
        while let Some(line) = lines.next() {
            take(&mut desk, &mut written);
            let before = written.len();
            desk.heard(reader, &line, now);
            take(&mut desk, &mut written);
            match desk.next_said(now) {
                Some(Said::Ended(of, outcome)) => {
                    assert_eq!(of, identity(number));
                    let details = serde_json::to_value(outcome.details).expect("details are JSON");
                    assert!(details.as_object().is_some_and(|details| details.len() <= 10));
                    assert_eq!(written.len(), before, "a result has no answer");
                    number += 1;
                    offer(&mut desk, number);
                }
                Some(Said::Progress(of, _)) => assert_eq!(of, identity(number)),
                Some(Said::Wanted(_)) => panic!("it is noted already"),
                None => {}
            }
            assert!(desk.has_job(reader), "nothing but a result takes the job from it");
        }
    }
    take(&mut desk, &mut written);
    let text = String::from_utf8(written).expect("lines are UTF-8");
    for line in text.lines() {
        let json: Value = serde_json::from_str(line).expect("a line is JSON");
        let is_known = json["document"]["a"] == 1 || json["error"] == "bad_line" || json["error"] == "not_yours";
        assert!(is_known && line.len() < 2048, "{line}");
    }
}
