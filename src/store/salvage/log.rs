//! The write-ahead log: a header, then frames, each a page behind a header of its own ("WAL File Format",
//! sqlite.org/fileformat2.html).

mod mend;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::{COLUMNS, MAX_PAGES, be32, cells, varint};
use crate::store::{PAGE_SIZE, QueueId};
pub(super) use mend::Word;
use mend::{Mended, mend};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The bound on the frames of which it isn't certain which word is wrong: each may be any of hundreds.
const MAX_GUESSED: usize = 16;

/// The first word of the header. Of the last bit depends in which order the bytes of a word are summed up.
const MAGIC: u32 = 0x377f_0682;

/// What is in a log for those who don't end it where SQLite does.
#[derive(Default)]
pub(super) struct Newest {
    /// Where the newest form of each page is that is what was written.
    pub(super) pages: HashMap<u32, u64>,
    /// Frames that aren't, but carry the log's own salt: what a damaged frame hides from SQLite is worth having, too, and so is what is
    /// left of it. Each message has a checksum of its own.
    pub(super) wrong: Vec<(u32, u64)>,
    /// The pages in which one word is wrong: where in the page, and what was written. They count as what was written.
    pub(super) mended: HashMap<u64, Word>,
    /// Those of which any of these words may be wrong. They count as wrong.
    pub(super) guesses: HashMap<u64, Vec<Word>>,
}

pub(super) fn newest(log: &File) -> Newest {
    let mut newest = Newest::default();
    let Some(mut frames) = Frames::of(log) else { return newest };
    while let Some(found) = frames.next() {
        let Some(number) = number(&frames.frame, frames.salt) else { continue };
        match found.is_right {
            true => drop(newest.pages.insert(number, found.page_at)),
            false => newest.wrong.push((number, found.page_at)),
        }
        let in_page = |(at, word): Word| Some((at.checked_sub(FRAME_HEADER)?, word));
        let words: Vec<Word> =
            found.mended.iter().flat_map(|mended| &mended.words).copied().filter_map(in_page).collect();
        match words[..] {
            [word] if found.is_right => drop(newest.mended.insert(found.page_at, word)),
            [] => {}
            _ if newest.guesses.len() < MAX_GUESSED => drop(newest.guesses.insert(found.page_at, words)),
            _ => {}
        }
    }
    for (number, at) in &newest.wrong {
        newest.pages.entry(*number).or_insert(*at);
    }
    newest
}

/// Where SQLite finds the pages when it opens the log: up to the last transaction before the first frame that isn't whole.
pub(super) fn committed(log: &File) -> HashMap<u32, u64> {
    let (mut pages, mut begun) = (HashMap::new(), Vec::new());
    let Some(header) = header(log) else { return pages };
    let Some(mut sum) = whole(&header) else { return pages };
    let salt = salt_of(&header, 16);
    let mut at = HEADER as u64;
    let mut frame = [0; FRAME_HEADER + PAGE_SIZE];
    while log.read_exact_at(&mut frame, at).is_ok() {
        sum.add(&frame[..8]);
        sum.add(&frame[FRAME_HEADER..]);
        let Some(number) = number(&frame, salt).filter(|_| sum.is_at(&frame, 16)) else { break };
        begun.push((number, at + FRAME_HEADER as u64));
        if be32(&frame, 4) != Some(0) {
            pages.extend(begun.drain(..));
        }
        at += frame.len() as u64;
    }
    pages
}

/// What is wrong with a log that isn't only torn at its end. SQLite ends it silently at the first frame whose checksum is wrong. A loss
/// of power may leave such a frame among those that weren't synced. But a commit that adds a message is synced before another frame
/// is written: where one follows that commit, all that was there before it had been right. And one wrong bit is damage wherever it is:
/// what is torn differs in more.
pub(in crate::store) fn damage(log: &File) -> Option<String> {
    let mut frames = Frames::of(log)?;
    let is_whole = header(log).as_ref().and_then(whole).is_some();
    let mut behind = Behind::default();
    while let Some(found) = frames.next() {
        // The header was synced before any frame was written.
        if found.is_right && !is_whole {
            return Some("the header of its log isn't what was written".to_owned());
        }
        if found.mended.as_ref().is_some_and(|mended| mended.is_one_bit) {
            return Some(format!("a bit of frame {} of its log is wrong", found.index + 1));
        }
        behind.add(&frames.frame, &found);
        if let (Some(wrong), State::Synced) = (behind.wrong, behind.state) {
            return Some(format!("frame {} of its log isn't what was written, and later ones are", wrong + 1));
        }
    }
    None
}

/// The pages that SQLite doesn't find because of a wrong frame, and where they are, in the order in which they were written: from
/// the transaction on in which that is. None if no transaction was completed there: one was only begun when gatewire was killed. The
/// last frame of a transaction says that it completes it, and whatever else is wrong in that frame, the others may be whole.
pub(super) fn hidden(log: &File) -> Vec<(u32, u64)> {
    let (mut pages, mut is_behind, mut is_completed) = (Vec::new(), false, false);
    let Some(mut frames) = Frames::of(log) else { return pages };
    while let Some(found) = frames.next() {
        is_behind |= !found.is_right || found.mended.is_some();
        let Some(number) = number(&frames.frame, frames.salt) else { continue };
        pages.push((number, found.page_at));
        if be32(&frames.frame, 4) != Some(0) {
            match is_behind {
                true => is_completed = true,
                false => pages.clear(),
            }
        }
    }
    if is_completed { pages } else { Vec::new() }
}

/// The `application_id` in the last first page that is what was written.
pub(in crate::store) fn application(log: &File) -> Option<i64> {
    let (mut frames, mut found) = (Frames::of(log)?, None);
    while let Some(frame) = frames.next() {
        if frame.is_right && number(&frames.frame, frames.salt) == Some(1) {
            found = be32(&frames.frame, FRAME_HEADER + 68).map(i64::from);
        }
    }
    found
}

/// The frames of a log, one after the other.
struct Frames<'a> {
    log: &'a File,
    salt: [u8; 8],
    /// As the last frame has it, or should have it.
    sum: Sum,
    /// If a half of the sum in the last frame is what is wrong there.
    or_sum: Option<Sum>,
    next: u64,
    frame: [u8; FRAME_HEADER + PAGE_SIZE],
}

struct Found {
    index: u64,
    page_at: u64,
    /// It is what was written: its checksum goes on from the one of the frame before, be that right or wrong.
    is_right: bool,
    /// It is, but for one word.
    mended: Option<Mended>,
}

impl Frames<'_> {
    fn of(log: &File) -> Option<Frames<'_>> {
        let (salt, header) = (salt(log)?, header(log)?);
        let frames = |sum: Sum| Frames { log, salt, sum, or_sum: None, next: 0, frame: [0; FRAME_HEADER + PAGE_SIZE] };
        if let Some(sum) = whole(&header) {
            return Some(frames(sum));
        }
        // Of a damaged header either the sum is right, or what it is made of.
        let (mut made, sum) = (Sum::default(), |at| be32(&header, at).unwrap_or(0));
        made.add(&header[..24]);
        let noted = Sum { sum: (sum(24), sum(28)), ..Sum::default() };
        let is_right = |sum: &Sum| frames(*sum).next().is_some_and(|first| first.is_right && first.mended.is_none());
        Some(frames([made, noted].into_iter().find(is_right).unwrap_or_default()))
    }

    /// The sum of the frame, if `sum` is that of all before it.
    fn sum_from(&self, mut sum: Sum) -> Sum {
        sum.add(&self.frame[..8]);
        sum.add(&self.frame[FRAME_HEADER..]);
        sum
    }

    /// The next frame, mended where it can be.
    fn next(&mut self) -> Option<Found> {
        let (index, at) = (self.next, HEADER as u64 + self.next * self.frame.len() as u64);
        self.log.read_exact_at(&mut self.frame, at).ok()?;
        self.next += 1;
        let is_whole = |frames: &Frames<'_>| {
            let is_of_log = number(&frames.frame, frames.salt).is_some();
            is_of_log && frames.sum_from(frames.sum).is_at(&frames.frame, 16)
        };
        let mut is_right = is_whole(self);
        if let Some(sum) = self.or_sum.take().filter(|_| !is_right) {
            self.sum = sum;
            is_right = is_whole(self);
        }
        let mended = if is_right { None } else { mend(&self.frame, self.sum, self.salt) };
        let (made, mut noted) = (self.sum_from(self.sum), Sum { ..self.sum });
        if let Some((at, word)) = mended.as_ref().and_then(Mended::only) {
            self.frame[at..at + word.len()].copy_from_slice(&word);
            is_right = number(&self.frame, self.salt).is_some();
        }
        noted.sum = (be32(&self.frame, 16).unwrap_or(0), be32(&self.frame, 20).unwrap_or(0));
        let may_be_sum = |mended: &Mended| mended.words.iter().any(|(at, _)| (16..FRAME_HEADER).contains(at));
        self.or_sum = mended.as_ref().is_some_and(may_be_sum).then_some(made);
        self.sum = noted;
        Some(Found { index, page_at: at + FRAME_HEADER as u64, is_right, mended })
    }
}

/// What has been seen behind the first wrong frame.
#[derive(Default)]
struct Behind {
    wrong: Option<u64>,
    /// The highest message of each queue.
    highest: BTreeMap<QueueId, i64>,
    state: State,
}

#[derive(Default, Clone, Copy)]
enum State {
    #[default]
    Nothing,
    /// A new message, in a transaction that goes on.
    Added,
    /// And its commit.
    Committed,
    /// And another frame behind that.
    Synced,
}

impl Behind {
    fn add(&mut self, frame: &[u8], found: &Found) {
        if !found.is_right {
            self.wrong.get_or_insert(found.index);
            self.state = State::Nothing;
            return;
        }
        let has_added = self.adds(&frame[FRAME_HEADER..]) && self.wrong.is_some();
        let is_commit = be32(frame, 4) != Some(0);
        self.state = match (self.state, has_added) {
            (State::Committed | State::Synced, _) => State::Synced,
            (State::Added, _) | (State::Nothing, true) if is_commit => State::Committed,
            (State::Nothing, true) => State::Added,
            (state, _) => state,
        };
    }

    /// Whether a page has a message that comes after all that were seen of its queue. The first that is seen may be an old one.
    fn adds(&mut self, page: &[u8]) -> bool {
        let Some((queue, key)) = last_message(page) else { return false };
        let before = self.highest.get(&queue).copied();
        self.highest.insert(queue, before.map_or(key, |before| before.max(key)));
        before.is_some_and(|before| before < key)
    }
}

/// The last message of a leaf of their table.
fn last_message(page: &[u8]) -> Option<(QueueId, i64)> {
    let cell = cells(page, 0).last()?;
    let (_, at) = varint(page, cell)?;
    let (key, at) = varint(page, at)?;
    let (length, mut column) = varint(page, at)?;
    let end = at + usize::try_from(length).ok()?;
    let mut columns = 0;
    while column < end {
        (_, column) = varint(page, column)?;
        columns += 1;
    }
    QueueId::of_key(key).filter(|_| columns == COLUMNS).map(|queue| (queue, key))
}

fn header(log: &File) -> Option<[u8; HEADER]> {
    let mut header = [0; HEADER];
    log.read_exact_at(&mut header, 0).ok().map(|()| header)
}

/// The checksum with which the frames begin, if the header is what was written.
fn whole(header: &[u8; HEADER]) -> Option<Sum> {
    let magic = be32(header, 0).filter(|magic| magic & !1 == MAGIC)?;
    let mut sum = Sum { is_big_endian: magic & 1 == 1, sum: (0, 0) };
    sum.add(&header[..24]);
    (be32(header, 8) == Some(PAGE_SIZE as u32) && sum.is_at(header, 24)).then_some(sum)
}

/// The salt of the log: where its header is damaged, the one that the first frames have in common.
fn salt(log: &File) -> Option<[u8; 8]> {
    let header = header(log)?;
    let own = salt_of(&header, 16);
    let of_frame = |index: usize| {
        let mut frame = [0; FRAME_HEADER];
        log.read_exact_at(&mut frame, (HEADER + index * (FRAME_HEADER + PAGE_SIZE)) as u64).ok()?;
        Some(salt_of(&frame, 8))
    };
    if whole(&header).is_some() || of_frame(0) == Some(own) {
        return Some(own);
    }
    let differs = |salt: &[u8; 8]| (u64::from_be_bytes(*salt) ^ u64::from_be_bytes(own)).count_ones();
    of_frame(0).filter(|salt| of_frame(1) == Some(*salt) || differs(salt) == 1)
}

fn salt_of(bytes: &[u8], at: usize) -> [u8; 8] {
    let mut salt = [0; 8];
    salt.copy_from_slice(&bytes[at..at + 8]);
    salt
}

/// The number of the page of a frame that carries the log's salt.
fn number(frame: &[u8], salt: [u8; 8]) -> Option<u32> {
    let number = be32(frame, 0).filter(|number| (1..=MAX_PAGES).contains(number))?;
    (salt_of(frame, 8) == salt).then_some(number)
}

/// The checksum of all that comes before.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    is_big_endian: bool,
    sum: (u32, u32),
}

impl Sum {
    fn word(&self, bytes: &[u8]) -> u32 {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn bytes(&self, word: u32) -> [u8; 4] {
        if self.is_big_endian { word.to_be_bytes() } else { word.to_le_bytes() }
    }

    fn add(&mut self, bytes: &[u8]) {
        let (mut one, mut other) = self.sum;
        for pair in bytes.chunks_exact(8) {
            one = one.wrapping_add(self.word(&pair[..4])).wrapping_add(other);
            other = other.wrapping_add(self.word(&pair[4..])).wrapping_add(one);
        }
        self.sum = (one, other);
    }

    fn is_at(&self, bytes: &[u8], at: usize) -> bool {
        be32(bytes, at).zip(be32(bytes, at + 4)) == Some(self.sum)
    }
}
