//! What the head of an HTTP answer says, as far as a download is concerned. Pure.

use std::time::Duration;

use hyper::header::{self, HeaderMap, HeaderName};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde::{Deserialize, Serialize};

/// The longest ETag that is kept, in bytes.
const MAX_VALIDATOR: usize = 256;

/// The head of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Of the body that follows, in bytes; `None`: it ends where it ends.
    pub(super) length: Option<u64>,
    pub(super) range: Option<ContentRange>,
    pub(super) validator: Option<Validator>,
    pub(super) location: Option<String>,
    pub(super) retry_after: Option<Duration>,
    /// The server says that the bytes are a compressed form of something.
    pub(super) is_encoded: bool,
}

/// `Content-Range`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentRange {
    /// `None`: there is no such part.
    pub(super) from: Option<u64>,
    /// Of the file, in bytes.
    pub(super) total: Option<u64>,
}

/// What a server names a version of a file by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Validator {
    /// A strong ETag, with its quotes.
    Etag(String),
    LastModified(String),
}

impl Validator {
    /// As `If-Range` takes it.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Validator::Etag(text) | Validator::LastModified(text) => text,
        }
    }
}

impl Head {
    /// `length` is that of the body; `now` is what a date in `Retry-After` is compared with.
    pub(super) fn of(status: u16, headers: &HeaderMap, length: Option<u64>, now: Timestamp) -> Head {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let encoding = text(header::CONTENT_ENCODING).unwrap_or("identity");
        Head {
            status,
            length,
            range: text(header::CONTENT_RANGE).and_then(content_range),
            validator: validator(text(header::ETAG), text(header::LAST_MODIFIED)),
            location: text(header::LOCATION).map(str::to_owned),
            retry_after: text(header::RETRY_AFTER).and_then(|text| retry_after(text, now)),
            is_encoded: !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity"),
        }
    }

    /// Whether this can be of the file that `known` is of: it isn't if both are named, and differently.
    pub(super) fn may_be(&self, known: &Option<Validator>) -> bool {
        match (&self.validator, known) {
            (Some(Validator::Etag(new)), Some(Validator::Etag(old))) => new == old,
            (Some(Validator::LastModified(new)), Some(Validator::LastModified(old))) => new == old,
            _ => true,
        }
    }
}

/// `If-Range` takes strong ETags only (RFC 9110, 13.1.5).
fn validator(etag: Option<&str>, modified: Option<&str>) -> Option<Validator> {
    let fits = |text: &&str| (1..=MAX_VALIDATOR).contains(&text.len());
    let etag = etag.filter(fits).filter(|etag| etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'));
    match etag {
        Some(etag) => Some(Validator::Etag(etag.to_owned())),
        None => modified.filter(fits).map(|modified| Validator::LastModified(modified.to_owned())),
    }
}

/// `bytes 5-9/10`, `bytes 5-9/*` or `bytes */10`
fn content_range(text: &str) -> Option<ContentRange> {
    let (unit, rest) = text.split_once(' ')?;
    let (range, total) = rest.trim().split_once('/')?;
    let total = if total == "*" { None } else { Some(number(total)?) };
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    if range == "*" {
        return Some(ContentRange { from: None, total });
    }
    let (from, to) = range.split_once('-')?;
    let (from, to) = (number(from)?, number(to)?);
    (from <= to && total.is_none_or(|total| to < total)).then_some(ContentRange { from: Some(from), total })
}

/// Seconds or a date.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Some(seconds) = number(text) {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&'static str, &str)]) -> Head {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        Head::of(200, &headers, None, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_content_range_is_read_whole_or_not_at_all() {
        let range = |text| head(&[("content-range", text)]).range;
        let of = |from, total| Some(ContentRange { from, total });
        assert_eq!(range("bytes 5-9/10"), of(Some(5), Some(10)));
        assert_eq!(range("Bytes 0-0/*"), of(Some(0), None));
        assert_eq!(range("bytes */10"), of(None, Some(10)));
        for text in [
            "",
            "bytes",
            "bytes 5-9",
            "bytes 9-5/10",
            "bytes 5-10/10",
            "items 5-9/10",
            "bytes -5/10",
            "bytes 5-/10",
            "bytes 5-+9/10",
            "bytes 5-99999999999999999999/*",
        ] {
            assert_eq!(range(text), None, "{text}");
        }
    }

    #[test]
    fn only_what_if_range_takes_is_a_validator() {
        let of = |etag, modified| head(&[("etag", etag), ("last-modified", modified)]).validator;
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(of("\"abc-2\"", date), Some(Validator::Etag("\"abc-2\"".to_owned())));
        for etag in ["W/\"abc\"", "\"\"", "abc", ""] {
            assert_eq!(of(etag, date), Some(Validator::LastModified(date.to_owned())), "{etag}");
        }
        assert_eq!(of(&format!("\"{}\"", "x".repeat(300)), ""), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |text| head(&[("retry-after", text)]).retry_after;
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after("Thu, 01 Jan 1970 00:01:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(after("Wed, 31 Dec 1969 23:59:00 GMT"), Some(Duration::ZERO));
        assert_eq!((after("soon"), after("-1"), after("")), (None, None, None));
    }

    #[test]
    fn an_encoding_is_noticed() {
        let encoded = |text| head(&[("content-encoding", text)]).is_encoded;
        assert_eq!(["gzip", "aws-chunked", "identity", ""].map(encoded), [true, true, false, false]);
    }
}
