//! Whether the files are as our own last write has left them. Whoever writes to them in place (`: > gatewire.db-wal`, `cp old.db
//! gatewire.db`) leaves their names and inodes as they are, SQLite doesn't look, and what it writes from then on is no part of any
//! database. So after each write of ours it is remembered what the files are like: size, time of the last change, headers; and
//! before the next one it is compared. That costs a few system calls for each commit, and nothing while there is none.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use super::Database;
use super::header::{APPLICATION, HEADER, LOG_HEADER, MAGIC};
use crate::count::count;
use crate::store::place::{FileIdentity, Imprint};
use crate::store::salvage::{Pages, tally};
use crate::store::{PAGE_SIZE, QueueId, Totals};

/// So often in a row nothing was wrong but the time of the last change: then that isn't looked at any more. There are file systems
/// that change it when they write to another machine what they have confirmed before.
const FALSE_ALARMS: u32 = 3;

/// What our own last write has left.
#[derive(Debug)]
pub(in crate::store) struct Own {
    file: Option<Imprint>,
    log: Option<Imprint>,
    header: [u8; HEADER],
    log_header: [u8; LOG_HEADER as usize],
    /// What the queues hold.
    held: Option<BTreeMap<QueueId, Totals>>,
    /// Something was wrong right after it.
    doubt: Option<String>,
    false_alarms: u32,
}

impl Default for Own {
    fn default() -> Own {
        Own {
            file: None,
            log: None,
            header: [0; HEADER],
            log_header: [0; LOG_HEADER as usize],
            held: None,
            doubt: None,
            false_alarms: 0,
        }
    }
}

impl Database {
    /// We have written. If somebody else has meanwhile, what is there now isn't what we left.
    pub(super) fn note_own_write(&mut self, successful: bool) {
        if self.log.is_none() {
            self.is_in_place();
        }
        let (file, log) = (self.file.imprint(), self.log.as_ref().and_then(FileIdentity::imprint));
        let log_header = self.log.as_ref().map(FileIdentity::beginning).unwrap_or_default();
        let header = if self.own.file == file { self.own.header } else { self.file.beginning() };
        let doubt = file_doubt(file, &header).or_else(|| self.log_doubt(log, &log_header));
        if successful {
            let held = self.queues().ok();
            self.own.held = held.map(|held| held.into_iter().map(|(queue, _, totals)| (queue, totals)).collect());
        }
        self.own = Own { file, log, header, log_header, doubt, held: self.own.held.take(), ..self.own };
    }

    /// The next write makes another log.
    pub(super) fn forget_the_log(&mut self) {
        (self.own.log, self.own.log_header) = (None, [0; LOG_HEADER as usize]);
    }

    /// What is wrong with the log, if it should have been continued or begun anew by us.
    fn log_doubt(&self, log: Option<Imprint>, header: &[u8; LOG_HEADER as usize]) -> Option<String> {
        let Own { log: before, log_header: known, .. } = &self.own;
        let size = log.map_or(0, |log| log.size);
        let before = before.map_or(0, |before| before.size);
        let is_ours = match size {
            // SQLite empties it only when everything is in the database.
            0 => before == 0,
            _ if header == known => size >= before,
            _ => is_log(header) && (before == 0 || follows(known, header)),
        };
        (!is_ours).then(|| format!("its log has {}, and had {}", count(size, "byte"), count(before, "byte")))
    }

    /// How the files differ from what our own last write has left.
    pub(in crate::store) fn touched(&self) -> Option<String> {
        let own = &self.own;
        if own.doubt.is_some() {
            return own.doubt.clone();
        }
        let trusts_time = own.false_alarms < FALSE_ALARMS;
        let differs = |what: &str, before: Option<Imprint>, now: Option<Imprint>| {
            let (before, now) = (before?, now.unwrap_or(Imprint { size: 0, modified: (0, 0) }));
            match before.size == now.size {
                true if trusts_time && before.modified != now.modified => Some(format!("{what} was written to")),
                true => None,
                false => {
                    Some(format!("{what} has {}, and had {}", count(now.size, "byte"), count(before.size, "byte")))
                }
            }
        };
        differs("it", own.file, self.file.imprint())
            .or_else(|| differs("its log", own.log, self.log.as_ref().and_then(FileIdentity::imprint)))
    }

    /// They do; whether all messages are there all the same, for a start as for us. Then that is how they are from now on.
    pub(in crate::store) fn is_whole(&mut self) -> bool {
        let header: [u8; HEADER] = self.file.beginning();
        let log_header = self.log.as_ref().map(FileIdentity::beginning).unwrap_or_default();
        let (file, log) = (self.file.imprint(), self.log.as_ref().and_then(FileIdentity::imprint));
        let is_shorter = |now: Option<Imprint>, before: Option<Imprint>| {
            before.is_some_and(|before| now.is_none_or(|now| now.size < before.size))
        };
        let is_whole = (header, log_header) == (self.own.header, self.own.log_header)
            && !is_shorter(file, self.own.file)
            && !is_shorter(log, self.own.log)
            && self.holds(&Pages::for_a_start(Some(self.file.file()), self.log.as_ref().map(FileIdentity::file)));
        if is_whole {
            let false_alarms = self.own.false_alarms.saturating_add(1);
            self.own = Own { file, log, doubt: None, held: self.own.held.take(), false_alarms, ..self.own };
        }
        is_whole
    }

    /// Whether these have all messages that this has, and no others.
    pub(in crate::store) fn holds(&self, pages: &Pages) -> bool {
        let Some(held) = &self.own.held else { return false };
        let held = held.iter().filter(|(_, totals)| totals.messages > 0);
        held.eq(&tally(pages))
    }

    /// How many messages it has.
    pub(in crate::store) fn held(&self) -> u64 {
        self.own.held.iter().flatten().map(|(_, totals)| totals.messages).sum()
    }

    /// Whether it may have a message of this key.
    pub(in crate::store) fn may_have(&self, key: i64) -> bool {
        let Some(held) = &self.own.held else { return true };
        let totals = QueueId::of_key(key).and_then(|queue| held.get(&queue));
        let ends = totals.and_then(|totals| totals.first.zip(totals.last));
        ends.is_some_and(|(first, last)| (first..=last).contains(&QueueId::seq_of_key(key)))
    }

    /// Whether what is in the file itself is still ours.
    pub(in crate::store) fn has_its_header(&self) -> bool {
        self.file.beginning() == self.own.header
    }

    /// The file and its log, whatever their names lead to.
    pub(in crate::store) fn open_files(&self) -> (Option<Arc<File>>, Option<Arc<File>>) {
        (Some(self.file.file()), self.log.as_ref().map(FileIdentity::file))
    }
}

/// What is wrong with the file itself, which is written only when the log is copied into it.
fn file_doubt(file: Option<Imprint>, header: &[u8; HEADER]) -> Option<String> {
    let field = |at: usize| u64::from(u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]));
    let size = file.map_or(0, |file| file.size);
    // A new one has its mark in the log alone.
    let is_ours = header.starts_with(MAGIC)
        && [0, APPLICATION].contains(&(field(68) as i64))
        && size >= field(28).saturating_mul(PAGE_SIZE as u64);
    (!is_ours).then(|| format!("it has {}, and isn't what was written", count(size, "byte")))
}

/// Whether this is how a log begins.
fn is_log(header: &[u8; LOG_HEADER as usize]) -> bool {
    let field = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    field(0) & !1 == 0x377f_0682 && field(8) == PAGE_SIZE as u32
}

/// Whether SQLite has begun the log anew since: then it counts the first half of the salt up.
fn follows(known: &[u8; LOG_HEADER as usize], header: &[u8; LOG_HEADER as usize]) -> bool {
    let salt =
        |header: &[u8; LOG_HEADER as usize]| u32::from_be_bytes([header[16], header[17], header[18], header[19]]);
    salt(header).wrapping_sub(salt(known)) < 16
}
