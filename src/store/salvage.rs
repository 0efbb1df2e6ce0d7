//! Reads what can be read of a damaged database.
//!
//! SQLite follows the tree from its root: one bad page near the root, and all that hangs on it is out of reach. This reads
//! the pages themselves ("Database File Format", sqlite.org/fileformat2.html): every leaf of a table that is one, and every
//! message in it whose checksum is right. The pages are those of the write-ahead log where it has them, else those of the
//! file. Pages that the file's own list calls free are left out: they hold what was deleted.

mod hidden;
pub(super) mod log;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use super::PAGE_SIZE;
use super::names::log_of;
use super::row::Columns;
use super::{QueueId, Totals};
use crate::regular;
pub(super) use hidden::hidden;

/// The largest message that is looked for, in bytes: a payload, a topic, and room.
const MAX_RECORD: usize = 512 * 1024;

pub(super) const LEAF_OF_A_TABLE: u8 = 13;
const NODE_OF_A_TABLE: u8 = 5;

/// The most columns of any table of ours.
const COLUMNS: usize = 10;

/// What a leaf holds, told apart by the number of columns.
#[derive(Debug)]
pub(super) enum Salvaged<'a> {
    Message(Columns<'a>),
    Queue { id: i64, name: &'a str },
    Note { name: &'a str, value: &'a str },
    Boot { id: i64, offset: i64 },
}

/// Gives everything that is readable to `take`, in the order of the pages. Only an error of `take` stops it.
pub(super) fn salvage<E>(pages: &Pages, mut take: impl FnMut(Salvaged<'_>) -> Result<(), E>) -> Result<(), E> {
    let free = pages.free();
    let mut record = Vec::new();
    for number in pages.numbers().filter(|number| !free.contains(number)) {
        let Some(page) = pages.read(number) else { continue };
        pages.take_from((number, &page), &mut record, &mut take)?;
    }
    for (number, at) in &pages.wrong {
        pages.take_from_logged((*number, *at), &mut record, &mut take)?;
    }
    Ok(())
}

/// What messages there are: of each queue how many, of how many bytes, from where to where.
pub(super) fn tally(pages: &Pages) -> BTreeMap<QueueId, Totals> {
    let mut tally = BTreeMap::new();
    let counted = salvage(pages, |found| {
        let Salvaged::Message(columns) = found else { return Ok(()) };
        let queue = QueueId::of_key(columns.key).ok_or(())?;
        let (seq, totals): (u64, &mut Totals) = (QueueId::seq_of_key(columns.key), tally.entry(queue).or_default());
        totals.messages += 1;
        totals.bytes += u64::try_from(columns.size).unwrap_or(0);
        totals.first = Some(totals.first.map_or(seq, |first| first.min(seq)));
        totals.last = totals.last.max(Some(seq));
        Ok(())
    });
    counted.map_or_else(|()| BTreeMap::new(), |()| tally)
}

/// Whether a message of ours is in the file itself, whatever its log has.
pub(super) fn has_message(path: &Path) -> bool {
    let pages = Pages::of_file(path);
    let mut record = Vec::new();
    pages.numbers().filter_map(|number| Some((number, pages.read(number)?))).any(|(number, page)| {
        let mut chained = 0;
        cells(&page, number).any(|cell| {
            let rowid = pages.record(&page, cell, &mut record, &mut chained);
            rowid.is_some_and(|rowid| matches!(parse(rowid, &record), Some(Salvaged::Message(_))))
        })
    })
}

/// Whether the second page looks like the root of the messages' table: it is the first table that is made.
pub(super) fn has_root(path: &Path) -> bool {
    let page = Pages::of_file(path).read(2);
    page.is_some_and(|page| matches!(page[0], LEAF_OF_A_TABLE | NODE_OF_A_TABLE))
}

/// The pages of a database and its log.
pub(super) struct Pages {
    file: Option<Arc<File>>,
    log: Option<Arc<File>>,
    /// Where the log has pages: the newest of each.
    logged: HashMap<u32, u64>,
    /// And frames of it that aren't what was written, with their numbers.
    wrong: Vec<(u32, u64)>,
    /// Pages of it with one wrong word: where that is in the page, and what was written.
    mended: HashMap<u64, log::Word>,
    /// And those of which one of several words is wrong.
    guesses: HashMap<u64, Vec<log::Word>>,
    /// How many the file has.
    in_file: u32,
}

impl Pages {
    pub(super) fn open(path: &Path) -> Pages {
        let open = |path: &Path| regular::open(path).ok().map(Arc::new);
        Pages::of(open(path), open(&log_of(path)))
    }

    fn of_file(path: &Path) -> Pages {
        Pages::of(regular::open(path).ok().map(Arc::new), None)
    }

    /// Those of files that are open.
    pub(super) fn of(file: Option<Arc<File>>, log: Option<Arc<File>>) -> Pages {
        let size = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len());
        let in_file = u32::try_from(size.div_ceil(PAGE_SIZE as u64)).unwrap_or(u32::MAX);
        let log::Newest { pages: logged, wrong, mended, guesses } = log.as_deref().map(log::newest).unwrap_or_default();
        Pages { file, log, logged, wrong, mended, guesses, in_file: in_file.min(MAX_PAGES) }
    }

    /// Those that SQLite finds there when it opens them: of the log what is whole.
    pub(super) fn for_a_start(file: Option<Arc<File>>, log: Option<Arc<File>>) -> Pages {
        let logged = log.as_deref().map(log::committed).unwrap_or_default();
        Pages { log, logged, ..Pages::of(file, None) }
    }

    /// The pages that there are. One damaged number in the log makes no millions of them.
    fn numbers(&self) -> impl Iterator<Item = u32> {
        let mut beyond: Vec<u32> = self.logged.keys().copied().filter(|number| *number > self.in_file).collect();
        beyond.sort_unstable();
        (1..=self.in_file).chain(beyond)
    }

    fn read(&self, number: u32) -> Option<Vec<u8>> {
        if let Some(at) = self.logged.get(&number) {
            return self.read_logged(*at);
        }
        let mut page = vec![0; PAGE_SIZE];
        let at = u64::from(number.checked_sub(1)?) * PAGE_SIZE as u64;
        // The last page of a file that was cut may still hold something.
        let n = read_up_to(self.file.as_ref()?, &mut page, at).ok()?;
        (n > 0).then_some(page)
    }

    fn read_logged(&self, at: u64) -> Option<Vec<u8>> {
        let mut page = vec![0; PAGE_SIZE];
        self.log.as_ref()?.read_exact_at(&mut page, at).ok()?;
        if let Some((at, word)) = self.mended.get(&at) {
            page.get_mut(*at..at + word.len())?.copy_from_slice(word);
        }
        Some(page)
    }

    /// Gives what a page holds, of this number, to `take`.
    fn take_from<E>(
        &self,
        (number, page): (u32, &[u8]),
        record: &mut Vec<u8>,
        take: &mut impl FnMut(Salvaged<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut chained = 0;
        for cell in cells(page, number) {
            let Some(rowid) = self.record(page, cell, record, &mut chained) else { continue };
            if let Some(found) = parse(rowid, record) {
                take(found)?;
            }
        }
        Ok(())
    }

    /// The pages that the database calls free, as far as its list is readable.
    fn free(&self) -> HashSet<u32> {
        let mut free = HashSet::new();
        let Some(first) = self.read(1).filter(|page| page.starts_with(b"SQLite format 3\0")) else { return free };
        let mut trunk = be32(&first, 32);
        while let Some(number) = trunk.filter(|number| *number != 0 && !free.contains(number)) {
            let Some(page) = self.read(number) else { break };
            let leaves = be32(&page, 4).unwrap_or(0) as usize;
            if leaves > PAGE_SIZE / 4 - 2 {
                break;
            }
            free.insert(number);
            free.extend((0..leaves).filter_map(|i| be32(&page, 8 + 4 * i)));
            trunk = be32(&page, 0);
        }
        free
    }

    /// Collects the record of a cell with its overflow pages into `record`; returns its rowid. `chained` counts the overflow
    /// pages of the leaf.
    fn record(&self, page: &[u8], cell: usize, record: &mut Vec<u8>, chained: &mut usize) -> Option<i64> {
        let (length, at) = varint(page, cell)?;
        let (rowid, at) = varint(page, at)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= MAX_RECORD)?;
        let local = local_part(length);
        record.clear();
        record.extend_from_slice(page.get(at..at + local)?);
        let mut next = if local < length { be32(page, at + local)? } else { 0 };
        while record.len() < length {
            *chained += 1;
            if *chained > MAX_CHAINED {
                return None;
            }
            let page = self.read(next).filter(|_| next != 0)?;
            let part = (length - record.len()).min(PAGE_SIZE - 4);
            record.extend_from_slice(page.get(4..4 + part)?);
            next = be32(&page, 0)?;
        }
        Some(rowid)
    }
}

fn read_up_to(file: &File, page: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < page.len() {
        match file.read_at(&mut page[done..], at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return if done > 0 { Ok(done) } else { Err(error) },
        }
    }
    Ok(done)
}

/// No database of ours is larger: 64 GiB.
const MAX_PAGES: u32 = 16 * 1024 * 1024;

/// Where the cells of a leaf of a table are; none if it isn't one.
fn cells(page: &[u8], number: u32) -> impl Iterator<Item = usize> + '_ {
    let header = if number == 1 { 100 } else { 0 };
    let is_leaf = page.get(header) == Some(&LEAF_OF_A_TABLE);
    let count = if is_leaf { be16(page, header + 3).unwrap_or(0) } else { 0 };
    (0..count).filter_map(move |i| be16(page, header + 8 + 2 * i))
}

/// The least that lies in the leaf itself of a record that doesn't fit into it.
const MIN_LOCAL: usize = (PAGE_SIZE - 12) * 32 / 255 - 23;

/// The most overflow pages that the records of one leaf can have. Cells that overlap, as damage or malice makes them, could
/// keep the start waiting for hours.
const MAX_CHAINED: usize = PAGE_SIZE / MIN_LOCAL * MAX_RECORD.div_ceil(PAGE_SIZE - 4);

/// How much of a record of this length lies in the leaf itself: section 1.6 of the file format, for tables.
fn local_part(length: usize) -> usize {
    const MAX_LOCAL: usize = PAGE_SIZE - 35;
    if length <= MAX_LOCAL {
        return length;
    }
    let local = MIN_LOCAL + (length - MIN_LOCAL) % (PAGE_SIZE - 4);
    if local <= MAX_LOCAL { local } else { MIN_LOCAL }
}

/// A value of a record.
#[derive(Debug, Clone, Copy)]
enum Column<'a> {
    Null,
    Integer(i64),
    Bytes(&'a [u8]),
}

impl<'a> Column<'a> {
    fn integer(self) -> Option<i64> {
        if let Column::Integer(n) = self { Some(n) } else { None }
    }

    fn bytes(self) -> Option<&'a [u8]> {
        if let Column::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    fn text(self) -> Option<&'a str> {
        self.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

/// Makes of a record what its number of columns says it is. The first column of each table is its rowid, and left out.
fn parse(rowid: i64, record: &[u8]) -> Option<Salvaged<'_>> {
    match *values(record)?.as_slice() {
        [Column::Null, at, boot, since_boot, size, flags, checksum, topic, payload, properties] => {
            let columns = Columns {
                key: rowid,
                at: at.integer()?,
                boot: boot.integer()?,
                since_boot: since_boot.integer()?,
                size: size.integer()?,
                flags: flags.integer()?,
                checksum: checksum.integer()?,
                topic: topic.bytes()?,
                payload: payload.bytes()?,
                properties: properties.bytes()?,
            };
            columns.are_sound().then_some(Salvaged::Message(columns))
        }
        [Column::Null, name, _messages, _bytes] => Some(Salvaged::Queue { id: rowid, name: name.text()? }),
        [Column::Null, name, value] => Some(Salvaged::Note { name: name.text()?, value: value.text()? }),
        [Column::Null, offset] => Some(Salvaged::Boot { id: rowid, offset: offset.integer()? }),
        _ => None,
    }
}

/// The values of a record: section 2.1 of the file format. `None` if it can't be one of ours.
fn values(record: &[u8]) -> Option<Vec<Column<'_>>> {
    let (header, mut at) = varint(record, 0)?;
    let header = usize::try_from(header).ok().filter(|header| *header <= record.len())?;
    let mut content = header;
    let mut values = Vec::new();
    while at < header {
        let (kind, next) = varint(record, at)?;
        at = next;
        let (value, length) = value(kind, record.get(content..)?)?;
        content += length;
        values.push(value);
        if values.len() > COLUMNS {
            return None;
        }
    }
    Some(values)
}

fn value(kind: i64, content: &[u8]) -> Option<(Column<'_>, usize)> {
    let length = match kind {
        0 => return Some((Column::Null, 0)),
        8 | 9 => return Some((Column::Integer(kind - 8), 0)),
        1..=4 => kind as usize,
        5 => 6,
        6 => 8,
        12.. => {
            let length = usize::try_from((kind - 12) / 2).ok()?;
            return Some((Column::Bytes(content.get(..length)?), length));
        }
        _ => return None,
    };
    let bytes = content.get(..length)?;
    let sign = if bytes.first()? & 0x80 != 0 { -1 } else { 0 };
    let integer = bytes.iter().fold(sign, |n: i64, byte| n << 8 | i64::from(*byte));
    Some((Column::Integer(integer), length))
}

/// A number of one to nine bytes, and where it ends.
fn varint(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let mut n: i64 = 0;
    for i in 0..8 {
        let byte = *bytes.get(at + i)?;
        n = n << 7 | i64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((n, at + i + 1));
        }
    }
    Some((n << 8 | i64::from(*bytes.get(at + 8)?), at + 9))
}

fn be16(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?)))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn neither_a_wrong_number_nor_records_without_end_keep_the_start_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gatewire.db");
        // A record of the largest length goes on in a page that goes on in itself.
        let mut leaf = vec![0; PAGE_SIZE];
        leaf[100..104].copy_from_slice(&[0xa0, 0x80, 0, 1]);
        let next = 104 + local_part(MAX_RECORD);
        leaf[next..next + 4].copy_from_slice(&[0, 0, 0, 2]);
        let mut overflow = vec![0; PAGE_SIZE];
        overflow[3] = 2;
        fs::write(&path, [leaf.clone(), overflow].concat()).unwrap();
        // The log has a page with the highest number there is.
        let mut log = vec![0; 32 + 24 + PAGE_SIZE];
        log[8..12].copy_from_slice(&(PAGE_SIZE as u32).to_be_bytes());
        log[32..36].copy_from_slice(&MAX_PAGES.to_be_bytes());
        // Nothing that one wrong word explains.
        log[100..].fill(3);
        fs::write(log_of(&path), log).unwrap();

        let pages = Pages::open(&path);
        assert_eq!(pages.numbers().collect::<Vec<_>>(), [1, 2, MAX_PAGES]);
        let (mut record, mut chained) = (Vec::new(), 0);
        let whole = (0..2000).filter(|_| pages.record(&leaf, 100, &mut record, &mut chained).is_some()).count();
        assert_eq!((whole, record.len()), (PAGE_SIZE / MIN_LOCAL, local_part(MAX_RECORD)));
    }
}
