//! A proxy that answers anything.

use std::time::Duration;

use super::{MAX_ANSWER, Proxy, judge};
use crate::config;
use crate::link::transport::Endpoint;
use crate::printable::printable;

/// Longer than any text about an answer needs to be, in bytes.
const MAX_TEXT: usize = 1024;

/// Reads `input` as a proxy's answer, in pieces whose size its first byte says. Where that byte is odd it was told a login.
pub fn proxy_answer(input: &[u8]) {
    let Some((&size, answer)) = input.split_first() else { return };
    let answer = &answer[..answer.len().min(MAX_ANSWER)];
    let with_login = size % 2 == 1;
    let ends = (0..answer.len()).step_by(usize::from(size) + 1).skip(1).chain([answer.len()]);
    let Some(verdict) = ends.into_iter().find_map(|end| judge(&answer[..end], with_login)) else { return };
    let Err(fault) = verdict else { return };
    let proxy = Proxy::new(&config::Proxy { host: "proxy".to_owned(), port: 3128, login: None });
    let error = proxy.failed(Endpoint { host: "a.example".into(), port: 8883 }, fault, Duration::ZERO);
    for text in [error.message(), error.advice()] {
        assert!(printable(&text) == text && text.len() <= MAX_TEXT, "{text:?}");
    }
}
