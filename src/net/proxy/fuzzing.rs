//! A proxy that answers anything.

use super::{MAX_ANSWER, judge};
use crate::net::ProxyFault;

/// Why there is no way through a proxy that answers `input`, if it has said so much: read in pieces whose size the first byte says.
/// Where that byte is odd it was told a login.
pub(crate) fn proxy_verdict(input: &[u8]) -> Option<ProxyFault> {
    let (&size, answer) = input.split_first()?;
    let answer = &answer[..answer.len().min(MAX_ANSWER)];
    let with_login = size % 2 == 1;
    let ends = (0..answer.len()).step_by(usize::from(size) + 1).skip(1).chain([answer.len()]);
    ends.into_iter().find_map(|end| judge(&answer[..end], with_login))?.err()
}
