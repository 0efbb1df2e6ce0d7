//! Whether what comes goes on where the part that is on the disk ends, or begins anew. Pure.
//!
//! What was downloaded is checked against its SHA-256 in the end, whatever the server has said: a wrong guess here costs time, and
//! never lets another file through.

use serde::{Deserialize, Serialize};

use super::fault::DownloadFault;
use super::head::{Head, Validator};

/// What a server has said of the file of which a part is on the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// By which the server would know whether it is still the same file.
    pub(super) validator: Option<Validator>,
    /// All of it, in bytes.
    pub(super) total: Option<u64>,
}

/// The part that is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held<'a> {
    /// In bytes.
    pub(super) length: u64,
    pub(super) known: &'a Known,
}

/// What to do before a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// For all of it.
    Whole,
    /// For what follows this many bytes.
    From(u64),
    /// Nothing: all of it is there.
    Nothing,
}

impl Held<'_> {
    /// At most `max` bytes are downloaded.
    pub(super) fn ask(&self, max: u64) -> Ask {
        match self.known.total {
            Some(total) if self.length == total && total <= max => Ask::Nothing,
            Some(total) if self.length > total => Ask::Whole,
            _ if self.length == 0 || self.length > max => Ask::Whole,
            _ => Ask::From(self.length),
        }
    }
}

/// What an answer comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// What comes follows what is on the disk.
    Append(Known),
    /// What comes is all of it, in the place of what is on the disk.
    Anew(Known),
    /// What is on the disk is all of it.
    Complete,
    /// What is on the disk is of no use with this server: all of it has to be asked for.
    AskForAll,
    /// To another place, as the server writes it.
    Elsewhere(String),
    Failed(DownloadFault),
}

/// What to do with an answer to `ask`.
pub(super) fn next(head: &Head, ask: Ask, held: Held<'_>, max: u64) -> Next {
    let all = || Known { validator: head.validator.clone(), total: head.length };
    match (head.status, ask) {
        // A server may ignore the range, and must if the file has changed (RFC 9110, 13.1.5).
        (200, _) => bounded(head.length, max).map_or_else(Next::Failed, |()| Next::Anew(all())),
        (206, Ask::From(length)) => rest(head, length, held.known, max),
        (301 | 302 | 303 | 307 | 308, _) => match &head.location {
            Some(location) => Next::Elsewhere(location.clone()),
            None => Next::Failed(DownloadFault::NoLocation { status: head.status }),
        },
        // There is nothing after what was asked for: it is all, or the file is a shorter one now.
        (416, Ask::From(length)) => match head.range.map(|range| range.total) {
            Some(Some(total)) if total == length && head.may_be(&held.known.validator) => Next::Complete,
            _ => Next::AskForAll,
        },
        _ => Next::Failed(DownloadFault::status(head)),
    }
}

/// A part has come.
fn rest(head: &Head, length: u64, known: &Known, max: u64) -> Next {
    let Some((from, total)) = head.range.and_then(|range| Some((range.from?, range.total))) else {
        // In several parts, or without a word which it is.
        return Next::AskForAll;
    };
    let same_total = known.total.is_none() || total.is_none() || known.total == total;
    if from != length || !same_total || !head.may_be(&known.validator) {
        return Next::AskForAll;
    }
    let total = total.or(known.total);
    let at_least = head.length.map(|rest| length.saturating_add(rest));
    match bounded(total.max(at_least), max) {
        Err(fault) => Next::Failed(fault),
        Ok(()) => Next::Append(Known { validator: known.validator.clone().or(head.validator.clone()), total }),
    }
}

fn bounded(size: Option<u64>, max: u64) -> Result<(), DownloadFault> {
    match size {
        Some(size) if size > max => Err(DownloadFault::TooLarge { size: Some(size), max }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
