//! Opening a database: whose it is, whether it is whole, and its tables where it is new.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{Database, Done, PAGE_SIZE};
use crate::store::failure::{Fault, OpenError};
use crate::store::files::{directory_of, log_of};

/// `user_version` of the files that this gatewire writes.
const SCHEMA: i64 = 1;

/// `application_id`: marks the file as gatewire's.
const APPLICATION: i64 = 0x6761_7431;

/// The most memory that SQLite takes for pages, in KiB.
const CACHE_KIB: i64 = 512;

/// The write-ahead log is copied into the database when it has this many pages (4 MiB), and cut to this size.
const LOG_PAGES: i64 = 1024;

const CREATE: &str = "
    CREATE TABLE message (
        key INTEGER PRIMARY KEY, at INTEGER NOT NULL, boot INTEGER NOT NULL, since_boot INTEGER NOT NULL,
        size INTEGER NOT NULL, flags INTEGER NOT NULL, checksum INTEGER NOT NULL, topic BLOB NOT NULL, payload BLOB NOT NULL,
        properties BLOB NOT NULL
    );
    CREATE TABLE queue (id INTEGER PRIMARY KEY, name TEXT NOT NULL, messages INTEGER NOT NULL, bytes INTEGER NOT NULL);
    CREATE TABLE note (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, value TEXT NOT NULL);
    CREATE TABLE boot (id INTEGER PRIMARY KEY, offset INTEGER NOT NULL);
";

/// A note in the store at `path`, which no daemon holds.
pub(crate) fn note_at(path: &Path, name: &str) -> Option<String> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    connection.query_row("SELECT value FROM note WHERE name = ?1", [name], |row| row.get(0)).ok()
}

impl Database {
    /// Opens the database of this path, or makes it. The caller holds the lock. `boot` is the number of this boot.
    pub(in crate::store) fn open(path: &Path, boot: i64) -> Done<Database> {
        look_at_header(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| Fault::of_sqlite(&error, path))?;
        let path = path.to_owned();
        let mut database =
            Database { connection, path, synced: false, boot, boot_noted: false, new_queues: Vec::new() };
        let prepared = database.prepare();
        if prepared.is_err() {
            database.leave_the_log();
        }
        prepared.map(|()| database)
    }

    fn prepare(&mut self) -> Done<()> {
        self.sql(|connection| {
            connection.busy_timeout(std::time::Duration::ZERO)?;
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            connection.pragma_update(None, "page_size", PAGE_SIZE as i64)?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            connection.pragma_update(None, "cell_size_check", true)?;
            connection.pragma_update(None, "trusted_schema", false)?;
            connection.pragma_update(None, "temp_store", "MEMORY")
        })?;
        let (version, application) = self.sql(|connection| {
            let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
            Ok((version, connection.pragma_query_value(None, "application_id", |row| row.get::<_, i64>(0))?))
        })?;
        let tables: i64 =
            self.sql(|connection| connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)))?;
        match (application, version) {
            (APPLICATION, SCHEMA) => {}
            (APPLICATION, found) if found > SCHEMA => {
                return Err(Fault::Unusable(OpenError::Newer { path: self.path.clone(), found, known: SCHEMA }));
            }
            (0, 0) if tables == 0 => return self.create(),
            (APPLICATION, found) => return Err(Fault::Damage(format!("there is no schema {found}"))),
            _ => return Err(Fault::Unusable(OpenError::Foreign { path: self.path.clone() })),
        }
        self.use_log()
    }

    fn use_log(&mut self) -> Done<()> {
        self.sql(|connection| {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
            connection.pragma_update(None, "journal_size_limit", LOG_PAGES * PAGE_SIZE as i64)?;
            connection.pragma_update(None, "synchronous", "NORMAL")
        })
    }

    /// Makes the tables. They are in the database itself, not only in its log, before anything else happens: so whoever looks
    /// at the file knows what it is.
    fn create(&mut self) -> Done<()> {
        self.use_log()?;
        self.sql(|connection| {
            connection.pragma_update(None, "synchronous", "FULL")?;
            let transaction = connection.transaction()?;
            transaction.execute_batch(CREATE)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", SCHEMA)?;
            transaction.commit()?;
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            connection.pragma_update(None, "synchronous", "NORMAL")
        })?;
        // The names of the file and its log, too.
        let directory = directory_of(&self.path);
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| Fault::of_io(&error, directory))
    }
}

/// Finds what SQLite wouldn't tell, or would make worse: a newer schema must not be touched, a log without its database would
/// be deleted, and a file that has lost its end may be read for long before that is noticed.
fn look_at_header(path: &Path) -> Done<()> {
    let log_size = fs::metadata(log_of(path)).map_or(0, |metadata| metadata.len());
    let metadata = match fs::metadata(path) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Fault::of_io(&error, path)),
    };
    let Some(metadata) = metadata.filter(|metadata| !metadata.is_file() || metadata.len() > 0) else {
        return match log_size {
            0 => Ok(()),
            size => Err(Fault::Damage(format!("it is gone or empty, and its log has {size} bytes"))),
        };
    };
    if !metadata.is_file() {
        return Err(Fault::Damage("it is no file".to_owned()));
    }
    let mut header = [0; 100];
    let mut file = File::open(path).map_err(|error| Fault::of_io(&error, path))?;
    if let Err(error) = file.read_exact(&mut header) {
        return Err(Fault::Damage(format!("its header can't be read: {error}")));
    }
    let field = |at: usize| i64::from(u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]));
    let (pages, version, application) = (field(28), field(60), field(68));
    if application == APPLICATION && version > SCHEMA {
        return Err(Fault::Unusable(OpenError::Newer { path: path.to_owned(), found: version, known: SCHEMA }));
    }
    if log_size == 0 && metadata.len() < pages as u64 * PAGE_SIZE as u64 {
        return Err(Fault::Damage(format!("it has {} bytes of {} pages", metadata.len(), pages)));
    }
    Ok(())
}
