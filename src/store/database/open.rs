//! Opening a database: whose it is, whether it is whole, and its tables where it is new.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::header::{self, APPLICATION, SCHEMA};
use super::hidden::Hidden;
use super::own::Own;
use super::{Database, Done};
use crate::store::PAGE_SIZE;
use crate::store::failure::{Fault, OpenError};
use crate::store::names::directory_of;
use crate::store::place::FileIdentity;
use crate::store::{files, lock};

/// The most memory that SQLite takes for pages, in KiB.
const CACHE_KIB: i64 = 512;

/// The write-ahead log is copied into the database when it has this many pages (4 MiB), and cut to this size.
const LOG_PAGES: i64 = 1024;

pub(in crate::store) const CREATE: &str = "
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
pub(in crate::store) fn note_at(path: &Path, name: &str) -> Done<Option<String>> {
    // To open a FIFO would wait, and of a database that is empty SQLite deletes the log, which has all that is left.
    header::look(path)?;
    if files::look(path)?.is_none_or(|found| found.len() == 0) {
        return Ok(None);
    }
    let read = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.query_row("SELECT value FROM note WHERE name = ?1", [name], |row| row.get(0)).optional()
    };
    read().map_err(|error| Fault::of_sqlite(&error, path))
}

impl Database {
    /// Opens the database of this path, or makes it. The caller holds the lock. `boot` is the number of this boot.
    pub(in crate::store) fn open(path: &Path, boot: i64) -> Done<Database> {
        header::look(path)?;
        header::look_at_log(path)?;
        let hidden = Hidden::look(path);
        files::secure(path)?;
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(real(path)?, flags).map_err(|error| Fault::of_sqlite(&error, path))?;
        let file = FileIdentity::of(path).map_err(|error| Fault::of_io(&error, path))?;
        let mut database = Database {
            connection,
            path: path.to_owned(),
            synced: false,
            boot,
            boot_noted: false,
            new_queues: Vec::new(),
            file,
            log: None,
            own: Own::default(),
        };
        let prepared = database.prepare().and_then(|()| database.recover(hidden));
        if prepared.is_ok() {
            lock::note_made(path);
        }
        if prepared.is_err() {
            database.leave_the_log();
        }
        database.is_in_place();
        database.note_own_write(prepared.is_ok());
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
        lock::note_making(&self.path).map_err(|error| Fault::of_io(&error, &self.path))?;
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

/// The path without links in its directories, which may be links: SQLite is told to follow none.
pub(super) fn real(path: &Path) -> Done<PathBuf> {
    let directory = fs::canonicalize(directory_of(path)).map_err(|error| Fault::of_io(&error, path))?;
    Ok(directory.join(path.file_name().unwrap_or(OsStr::new("gatewire.db"))))
}
