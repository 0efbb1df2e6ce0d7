//! What is said of a proxy that answers anything.

use std::time::Duration;

use super::LinkError;
use crate::net::fuzzing::proxy_verdict;
use crate::net::{Endpoint, ProxyFault};
use crate::printable::printable;

/// Longer than any text about an answer needs to be, in bytes.
const MAX_TEXT: usize = 1024;

/// Reads `input` as a proxy's answer, in pieces whose size its first byte says. Where that byte is odd it was told a login.
pub fn proxy_answer(input: &[u8]) {
    let Some(fault): Option<ProxyFault> = proxy_verdict(input) else { return };
    let proxy = Endpoint { host: "proxy".into(), port: 3128 };
    let endpoint = Endpoint { host: "a.example".into(), port: 8883 };
    let error = LinkError::Proxy { proxy, endpoint, fault, took: Duration::ZERO };
    for text in [error.message(), error.advice()] {
        assert!(printable(&text) == text && text.len() <= MAX_TEXT, "{text:?}");
    }
}
