//! A job document's URL, and what a server answers.

use std::str;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use jiff::Timestamp;

use super::fault::DownloadFault;
use super::head::Head;
use super::resume::{Ask, Held, Known, Next, next};
use crate::actions::{HostPattern, Url};
use crate::printable::printable;

const MAX: u64 = 1 << 40;

/// The first line of `input` is a URL, the second tells how much is on the disk; then comes the head of an answer: status and length,
/// and fields. What is asked for and what is made of the answer keeps within what was promised.
pub fn download(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let Ok(text) = str::from_utf8(line()) else { return };
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(fault) => return assert!(is_line(&fault.to_string()), "{fault}"),
    };
    assert!(is_word(&url.authority()) && is_word(url.target().expose()), "{text}");
    assert!(!url.to_string().contains('?') && is_word(&url.to_string()), "{url}");
    let (length, total) = numbers(line());
    let (status, body) = numbers(line());
    let mut fields = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]))
        {
            fields.append(name, value);
        }
    }
    let head = Head::of(status.unwrap_or_default() as u16, &fields, body, Timestamp::UNIX_EPOCH);
    let known = Known { validator: head.validator.clone(), total };
    let held = Held { length: length.unwrap_or_default(), known: &known };
    let ask = held.ask(MAX);
    match next(&head, ask, held, MAX) {
        Next::Append(new) => {
            assert_eq!((ask, head.status), (Ask::From(held.length), 206));
            assert!(head.range.is_some_and(|range| range.from == Some(held.length)));
            assert!(new.total.is_none_or(|total| total <= MAX));
        }
        Next::Anew(new) => assert!(head.status == 200 && new.total.is_none_or(|total| total <= MAX)),
        Next::Complete | Next::AskForAll => assert!(matches!(ask, Ask::From(_))),
        Next::Elsewhere(location) => elsewhere(&url, &location),
        Next::Failed(fault) => {
            assert!(is_line(&fault.to_string()) && fault != DownloadFault::Silent(Default::default()))
        }
    }
}

fn elsewhere(from: &Url, location: &str) {
    let hosts = [HostPattern::new("*.s3.eu-west-1.amazonaws.com").expect("it is a pattern")];
    match from.join(location).and_then(|to| to.allowed(&hosts)) {
        Ok(to) => assert!(to.host().ends_with(".s3.eu-west-1.amazonaws.com") && is_word(to.target().expose())),
        Err(fault) => assert!(is_line(&fault.to_string()), "{fault}"),
    }
}

/// Two numbers with a blank between them.
fn numbers(line: &[u8]) -> (Option<u64>, Option<u64>) {
    let mut numbers = str::from_utf8(line).unwrap_or_default().split(' ').map(|number| number.parse().ok());
    (numbers.next().flatten(), numbers.next().flatten())
}

/// Whether `text` can stand in a log.
fn is_line(text: &str) -> bool {
    printable(text) == text
}

/// Whether `text` can stand in the head of a request.
fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}
