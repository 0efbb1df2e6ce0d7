//! The write-ahead log: a header, then frames, each a page behind a header of its own ("WAL File Format",
//! sqlite.org/fileformat2.html).

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::{MAX_PAGES, be32};
use crate::store::PAGE_SIZE;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The first word of the header. Of the last bit depends in which order the bytes of a word are summed up.
const MAGIC: u32 = 0x377f_0682;

/// Where in the log the newest form of each page is. Frames count as long as they carry the log's own salt: what a later
/// damaged frame hides from SQLite is worth having, too, and each message has a checksum of its own.
pub(super) fn newest(log: &File) -> HashMap<u32, u64> {
    let mut pages = HashMap::new();
    let Some(header) = header(log) else { return pages };
    let mut at = HEADER as u64;
    let mut frame = [0; FRAME_HEADER];
    while log.read_exact_at(&mut frame, at).is_ok() {
        at += FRAME_HEADER as u64;
        if let Some(number) = number(&frame, &header) {
            pages.insert(number, at);
        }
        at += PAGE_SIZE as u64;
    }
    pages
}

/// Where SQLite finds the pages when it opens the log: up to the last transaction before the first frame that isn't whole.
pub(super) fn committed(log: &File) -> HashMap<u32, u64> {
    let (mut pages, mut begun) = (HashMap::new(), Vec::new());
    let Some(header) = header(log) else { return pages };
    let Some(magic) = be32(&header, 0).filter(|magic| magic & !1 == MAGIC) else { return pages };
    let mut sum = Sum { is_big_endian: magic & 1 == 1, sum: (0, 0) };
    sum.add(&header[..24]);
    if !sum.is_at(&header, 24) {
        return pages;
    }
    let mut at = HEADER as u64;
    let mut frame = [0; FRAME_HEADER + PAGE_SIZE];
    while log.read_exact_at(&mut frame, at).is_ok() {
        sum.add(&frame[..8]);
        sum.add(&frame[FRAME_HEADER..]);
        let Some(number) = number(&frame, &header).filter(|_| sum.is_at(&frame, 16)) else { break };
        begun.push((number, at + FRAME_HEADER as u64));
        if be32(&frame, 4) != Some(0) {
            pages.extend(begun.drain(..));
        }
        at += frame.len() as u64;
    }
    pages
}

fn header(log: &File) -> Option<[u8; HEADER]> {
    let mut header = [0; HEADER];
    log.read_exact_at(&mut header, 0).ok()?;
    (be32(&header, 8) == Some(PAGE_SIZE as u32)).then_some(header)
}

/// The number of the page of a frame that carries the log's salt.
fn number(frame: &[u8], header: &[u8; HEADER]) -> Option<u32> {
    let number = be32(frame, 0).filter(|number| (1..=MAX_PAGES).contains(number))?;
    (frame[8..16] == header[16..24]).then_some(number)
}

/// The checksum of all that comes before.
struct Sum {
    is_big_endian: bool,
    sum: (u32, u32),
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        let word = |bytes: &[u8]| {
            let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
            if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        let (mut one, mut other) = self.sum;
        for pair in bytes.chunks_exact(8) {
            one = one.wrapping_add(word(&pair[..4])).wrapping_add(other);
            other = other.wrapping_add(word(&pair[4..])).wrapping_add(one);
        }
        self.sum = (one, other);
    }

    fn is_at(&self, bytes: &[u8], at: usize) -> bool {
        be32(bytes, at).zip(be32(bytes, at + 4)) == Some(self.sum)
    }
}
