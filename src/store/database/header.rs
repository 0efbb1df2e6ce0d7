//! What lies at the path of the database, before SQLite looks at it: a database of ours, whole or damaged, or anything else.
//! What isn't ours is for its owner to move away: only a damaged database of ours is ever moved aside.

use std::fs::{File, Metadata};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::Done;
use crate::count::count;
use crate::regular::{self, Unread};
use crate::store::PAGE_SIZE;
use crate::store::failure::{Fault, OpenError};
use crate::store::names::{all_of, lock_of, log_of};
use crate::store::salvage::{self, LEAF_OF_A_TABLE};
use crate::store::{files, lock};

/// `application_id`: marks the file as gatewire's.
pub(super) const APPLICATION: i64 = 0x6761_7431;

/// `user_version` of the files that this gatewire writes.
pub(super) const SCHEMA: i64 = 1;

/// How a SQLite database begins.
pub(super) const MAGIC: &[u8] = b"SQLite format 3\0";

pub(super) const HEADER: usize = 100;

/// Finds what SQLite wouldn't tell, or would make worse: a newer schema must not be touched, a log without its database would
/// be deleted, and a file that has lost its end may be read for long before that is noticed.
pub(in crate::store) fn look(path: &Path) -> Done<()> {
    let log_size = files::look(&log_of(path))?.map_or(0, |metadata| metadata.len());
    for file in all_of(path) {
        files::look(&file)?;
    }
    let Some(metadata) = files::look(path)?.filter(|metadata| metadata.len() > 0) else {
        return match log_size {
            0 => Ok(()),
            size => Err(Fault::Damage(format!("it is missing or empty, and its log has {}", count(size, "byte")))),
        };
    };
    let header = read_header(path)?;
    if !header.starts_with(MAGIC) {
        return Err(without_header(path, &metadata, &header));
    }
    if header.len() < HEADER {
        return Err(Fault::Damage("it ends in its header".to_owned()));
    }
    let field = |at: usize| i64::from(u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]));
    let (pages, version, application) = (field(28), field(60), field(68));
    if application != APPLICATION {
        return another(path, &metadata, log_size);
    }
    if version > SCHEMA {
        return Err(Fault::Unusable(OpenError::Newer { path: path.to_owned(), found: version, known: SCHEMA }));
    }
    if log_size == 0 && metadata.len() < pages as u64 * PAGE_SIZE as u64 {
        return Err(Fault::Damage(format!("it has {} of {}", count(metadata.len(), "byte"), count(pages, "page"))));
    }
    Ok(())
}

/// Finds damage in the middle of the log: SQLite would forget all that was written behind it, and say nothing. Only while nobody
/// writes to it.
pub(in crate::store) fn look_at_log(path: &Path) -> Done<()> {
    // One that can't be read is SQLite's to tell.
    let damage = regular::open(&log_of(path)).ok().as_ref().and_then(salvage::log::damage);
    damage.map_or(Ok(()), |detail| Err(Fault::Damage(detail)))
}

/// The first bytes of the file, as many as there are.
fn read_header(path: &Path) -> Done<Vec<u8>> {
    let file = regular::open(path).map_err(|unread| match unread {
        Unread::Io(error) => Fault::of_io(&error, path),
        Unread::Other(other) => Fault::Unusable(OpenError::NotAFile { path: path.to_owned(), other }),
        Unread::TooLarge => Fault::Damage("it is too large".to_owned()),
    })?;
    let mut header = vec![0; HEADER];
    let read = file.read_at(&mut header, 0);
    let length = read.map_err(|error| Fault::Damage(format!("its header can't be read: {error}")))?;
    header.truncate(length);
    Ok(header)
}

/// A file that doesn't begin as a database does. Ours may have lost its first page: then there is a message of ours in it, or
/// the root of their table is where it was made, or it is all blank, as a card that loses power leaves what it hasn't written.
fn without_header(path: &Path, metadata: &Metadata, header: &[u8]) -> Fault {
    let is_blank = header.iter().all(|byte| *byte == 0);
    let may_be_ours = lock_of(path).exists() && metadata.len().is_multiple_of(PAGE_SIZE as u64);
    let is_ours = lock::is_being_made(path) || may_be_ours && salvage::has_root(path) || salvage::has_message(path);
    if is_blank || is_ours {
        return Fault::Damage("its header isn't one of a database".to_owned());
    }
    Fault::Unusable(OpenError::NotADatabase { path: path.to_owned() })
}

/// A SQLite database that isn't marked as ours: nothing yet, another program's, or ours with a damaged header. Ours is marked by
/// its first transaction, which a kill may leave in the log alone.
fn another(path: &Path, metadata: &Metadata, log_size: u64) -> Done<()> {
    if salvage::has_message(path) {
        return Err(Fault::Damage("its header isn't the one of a database of gatewire".to_owned()));
    }
    let foreign = || match lock::is_being_made(path) {
        true => Err(Fault::Damage("it isn't the database of gatewire that was being made".to_owned())),
        false => Err(Fault::Unusable(OpenError::Foreign { path: path.to_owned() })),
    };
    let logged = if log_size == 0 { None } else { application_in_log(path)? };
    match logged {
        Some(APPLICATION) => Ok(()),
        Some(_) => foreign(),
        // What has a table has a second page, and the table's name in the first. Without that it was being made when the power went.
        None if metadata.len() > PAGE_SIZE as u64 && names_tables(path)? => foreign(),
        None => Ok(()),
    }
}

/// The header of SQLite's log.
pub(super) const LOG_HEADER: u64 = 32;

/// Whether the first page names tables, or has become too large to do so itself.
fn names_tables(path: &Path) -> Done<bool> {
    // Behind the header of the file: the kind of the page, and at its fourth byte how many cells there are.
    let mut page = [0; 5];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut page, HEADER as u64));
    read.map_err(|error| Fault::of_io(&error, path))?;
    Ok(page != [LEAF_OF_A_TABLE, 0, 0, 0, 0])
}

/// The `application_id` in the last first page that the log holds, whether or not its transaction was completed. What a loss of power
/// has left in the place of a page isn't one.
fn application_in_log(path: &Path) -> Done<Option<i64>> {
    let log = log_of(path);
    let file = File::open(&log).map_err(|error| Fault::of_io(&error, &log))?;
    Ok(salvage::log::application(&file))
}
