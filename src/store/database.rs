//! The SQLite database: its form, and the few things that are done with it.
//!
//! One table holds the messages of all queues; a message's key is its queue and its place in it, so that the messages of a
//! queue lie side by side, in order. Beside it are the queues with their totals (nobody has to count a million rows at the
//! start), what is known of the clocks of earlier boots, and short notes.

mod header;
mod hidden;
mod open;
mod own;
mod rescue;

pub(super) use header::{look, look_at_log};
#[cfg(test)]
pub(super) use open::CREATE;
pub(super) use open::note_at;

use std::fs::File;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, params};

use super::PAGE_SIZE;
use super::failure::{Failure, Fault};
use super::names::log_of;
use super::place::FileIdentity;
use super::row::{Columns, bytes_of};
use super::{Load, Page, QueueId, Row, Totals, Write};
use own::Own;

/// An open database, which no other process uses.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
    /// Whether each commit is synced.
    synced: bool,
    /// The number of this boot, and whether its clock is noted.
    boot: i64,
    boot_noted: bool,
    /// Queues that aren't in the table yet.
    new_queues: Vec<(QueueId, String)>,
    /// The file itself, and its log once there is one.
    file: FileIdentity,
    log: Option<FileIdentity>,
    own: Own,
}

type Done<T> = Result<T, Fault>;

impl Database {
    /// Closing won't copy the log into the database: both are left as they were found.
    pub(super) fn leave_the_log(&mut self) {
        // If SQLite refuses that, the worst is a copy.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }

    /// Whether the names of the file and its log still lead to them.
    pub(super) fn is_in_place(&mut self) -> bool {
        if self.log.is_none() {
            self.log = FileIdentity::of(&log_of(&self.path)).ok();
        }
        self.is_kept()
    }

    pub(super) fn is_kept(&self) -> bool {
        self.file.is_kept() && self.log.as_ref().is_none_or(FileIdentity::is_kept)
    }

    /// Whether it is the file at `path`.
    pub(super) fn is(&self, path: &Path) -> bool {
        self.file.is(path)
    }

    fn sql<T>(&mut self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Done<T> {
        work(&mut self.connection).map_err(|error| Fault::of_sqlite(&error, &self.path))
    }

    /// The queues there are, by name.
    pub(super) fn queues(&mut self) -> Done<Vec<(QueueId, String, Totals)>> {
        let rows: Vec<(i64, String, i64, i64)> = self.sql(|connection| {
            let mut query = connection.prepare_cached("SELECT id, name, messages, bytes FROM queue ORDER BY id")?;
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?.collect()
        })?;
        let mut queues = Vec::new();
        for (id, name, messages, bytes) in rows {
            let Some(queue) = u16::try_from(id).ok().and_then(QueueId::new) else {
                return Err(Fault::Damage(format!("a queue with the number {id}")));
            };
            let (first, last) = self.ends(queue)?;
            let none = first.is_none();
            let counted = |n: i64| if none { 0 } else { u64::try_from(n).unwrap_or(0) };
            queues.push((queue, name, Totals { messages: counted(messages), bytes: counted(bytes), first, last }));
        }
        Ok(queues)
    }

    fn ends(&mut self, queue: QueueId) -> Done<(Option<u64>, Option<u64>)> {
        let range = queue.keys(0..=u64::MAX);
        let ends: (Option<i64>, Option<i64>) = self.sql(|connection| {
            let query = "SELECT (SELECT min(key) FROM message WHERE key BETWEEN ?1 AND ?2),
                                (SELECT max(key) FROM message WHERE key BETWEEN ?1 AND ?2)";
            let ends = params![range.start(), range.end()];
            connection.prepare_cached(query)?.query_row(ends, |row| Ok((row.get(0)?, row.get(1)?)))
        })?;
        Ok((ends.0.map(QueueId::seq_of_key), ends.1.map(QueueId::seq_of_key)))
    }

    /// There are these queues, too: written with the next change.
    pub(super) fn add_queues(&mut self, queues: Vec<(QueueId, String)>) {
        self.new_queues.extend(queues);
    }

    fn write_new_queues(&mut self) -> Done<()> {
        for (queue, name) in self.new_queues.clone() {
            self.sql(|connection| {
                let insert = "INSERT OR IGNORE INTO queue (id, name, messages, bytes) VALUES (?1, ?2, 0, 0)";
                connection.execute(insert, params![queue.number(), name])
            })?;
        }
        Ok(())
    }

    /// All or nothing of these; synced if any of them says so.
    pub(super) fn write<'a>(&mut self, writes: impl Iterator<Item = &'a Write> + Clone) -> Done<()> {
        let synced = writes.clone().any(|write| !write.insert.is_empty() || !write.notes.is_empty());
        self.transaction(synced, |database| {
            for write in writes {
                database.apply(write)?;
            }
            Ok(())
        })
    }

    fn transaction(&mut self, synced: bool, work: impl FnOnce(&mut Database) -> Done<()>) -> Done<()> {
        if self.synced != synced {
            let mode = if synced { "FULL" } else { "NORMAL" };
            self.sql(|connection| connection.pragma_update(None, "synchronous", mode))?;
            self.synced = synced;
        }
        self.sql(|connection| connection.execute_batch("BEGIN IMMEDIATE"))?;
        let done = self.write_new_queues().and_then(|()| work(self));
        let done = done.and_then(|()| self.sql(|connection| connection.execute_batch("COMMIT")));
        match &done {
            Ok(()) => self.new_queues.clear(),
            Err(_) => {
                self.boot_noted = false;
                if !self.connection.is_autocommit() {
                    // What can't be rolled back is rolled back when the connection is closed.
                    let _ = self.connection.execute_batch("ROLLBACK");
                }
            }
        }
        self.note_own_write(done.is_ok());
        done
    }

    fn apply(&mut self, write: &Write) -> Done<()> {
        let (mut messages, mut bytes) = (0i64, 0i64);
        for range in &write.delete {
            let (count, size) = self.delete(&write.queue.keys(range.clone()))?;
            messages -= count;
            bytes -= size;
        }
        for row in &write.insert {
            self.insert(write.queue, row)?;
            messages += 1;
            bytes += row.size() as i64;
        }
        if (messages, bytes) != (0, 0) {
            self.sql(|connection| {
                let update =
                    "UPDATE queue SET messages = max(0, messages + ?2), bytes = max(0, bytes + ?3) WHERE id = ?1";
                connection.prepare_cached(update)?.execute(params![write.queue.number(), messages, bytes])
            })?;
        }
        if let Some(offset) = write.clock_offset.filter(|_| !self.boot_noted) {
            self.note_boot(self.boot, offset)?;
            self.boot_noted = true;
        }
        write.notes.iter().try_for_each(|(name, value)| self.set_note(name, value))
    }

    pub(super) fn set_note(&mut self, name: &str, value: &str) -> Done<()> {
        let set = "INSERT INTO note (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
        self.sql(|connection| connection.execute(set, params![name, value])).map(drop)
    }

    pub(super) fn note_boot(&mut self, boot: i64, offset: i64) -> Done<()> {
        let set = "INSERT OR REPLACE INTO boot (id, offset) VALUES (?1, ?2)";
        self.sql(|connection| connection.execute(set, params![boot, offset])).map(drop)
    }

    fn delete(&mut self, keys: &RangeInclusive<i64>) -> Done<(i64, i64)> {
        self.sql(|connection| {
            let ends = params![keys.start(), keys.end()];
            let count = "SELECT count(*), coalesce(sum(size), 0) FROM message WHERE key BETWEEN ?1 AND ?2";
            let found = connection.prepare_cached(count)?.query_row(ends, |row| Ok((row.get(0)?, row.get(1)?)))?;
            connection.prepare_cached("DELETE FROM message WHERE key BETWEEN ?1 AND ?2")?.execute(ends)?;
            Ok(found)
        })
    }

    fn insert(&mut self, queue: QueueId, row: &Row) -> Done<()> {
        let key = queue.key(row.seq);
        let (boot, since_boot) = match row.accepted {
            super::Accepted::ThisBoot(ms) => (self.boot, i64::try_from(ms).unwrap_or(i64::MAX)),
            // Written anew after damage: what was known of its time is kept as that of a boot of its own.
            super::Accepted::Earlier(at) => (0, at.map_or(0, |at| at.as_millisecond())),
        };
        let properties = row.properties_json();
        let columns = Columns {
            key,
            at: row.at.as_millisecond(),
            boot,
            since_boot,
            size: row.size() as i64,
            flags: row.flags().into(),
            checksum: row.checksum(key, &properties).into(),
            topic: row.topic.as_str().as_bytes(),
            payload: &row.payload,
            properties: &properties,
        };
        match self.insert_columns(&columns)? {
            true => Ok(()),
            false => {
                let detail = format!("there is a message {key} already");
                Err(Fault::Refused(Failure::Io { path: self.path.display().to_string(), detail }))
            }
        }
    }

    /// Adds a message, unless there is one of this key. Returns whether it did.
    pub(super) fn insert_columns(&mut self, columns: &Columns<'_>) -> Done<bool> {
        let Columns { key, at, boot, since_boot, size, flags, checksum, topic, payload, properties } = *columns;
        let insert = "INSERT OR IGNORE INTO message VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        self.sql(|connection| {
            let mut insert = connection.prepare_cached(insert)?;
            let added = insert
                .execute(params![key, at, boot, since_boot, size, flags, checksum, topic, payload, properties])?;
            Ok(added == 1)
        })
    }

    /// The messages that come next in a queue.
    pub(super) fn load(&mut self, load: &Load) -> Done<Page> {
        let keys = load.queue.keys(load.after.map_or(0, |after| after + 1)..=load.until);
        let this_boot = self.boot;
        let mut page = Page { rows: Vec::new(), complete: true };
        let mut bytes = 0;
        let mut unsound = None;
        self.sql(|connection| {
            let query = "SELECT key, at, message.boot, since_boot, size, flags, checksum, topic, payload, properties, boot.offset
                         FROM message LEFT JOIN boot ON boot.id = message.boot
                         WHERE key BETWEEN ?1 AND ?2 ORDER BY key";
            let mut query = connection.prepare_cached(query)?;
            let mut rows = query.query(params![keys.start(), keys.end()])?;
            while let Some(row) = rows.next()? {
                if bytes >= load.max_bytes || page.rows.len() >= load.max_rows {
                    page.complete = false;
                    break;
                }
                let columns = columns_of(row)?;
                // An hour that was noted with a message written anew stands for itself.
                let offset = if columns.boot == 0 && columns.since_boot > 0 { Some(0) } else { row.get(10)? };
                let Some(row) = columns.to_row(this_boot, offset) else {
                    unsound = Some(columns.key);
                    break;
                };
                bytes += row.size();
                page.rows.push(row);
            }
            Ok(())
        })?;
        match unsound {
            None => Ok(page),
            Some(key) => Err(Fault::Damage(format!("the content of message {key} isn't what was written"))),
        }
    }

    pub(super) fn note(&mut self, name: &str) -> Done<Option<String>> {
        self.sql(|connection| {
            connection.query_row("SELECT value FROM note WHERE name = ?1", [name], |row| row.get(0)).optional()
        })
    }

    /// Recounts every queue.
    pub(super) fn recount(&mut self, queues: &[(QueueId, String)]) -> Done<()> {
        for (queue, _) in queues {
            let keys = queue.keys(0..=u64::MAX);
            self.sql(|connection| {
                let count = "UPDATE queue SET
                    messages = (SELECT count(*) FROM message WHERE key BETWEEN ?2 AND ?3),
                    bytes = (SELECT coalesce(sum(size), 0) FROM message WHERE key BETWEEN ?2 AND ?3) WHERE id = ?1";
                connection.execute(count, params![queue.number(), keys.start(), keys.end()])
            })?;
        }
        Ok(())
    }

    /// Many changes as one.
    pub(super) fn in_transaction(&mut self, work: impl FnOnce(&mut Database) -> Done<()>) -> Done<()> {
        self.transaction(true, work)
    }

    /// Looks at the whole database, unless `interrupted` says that there is something else to do. `None`: it did say so.
    pub(super) fn quick_check(&mut self, interrupted: impl FnMut() -> bool + Send + 'static) -> Done<Option<()>> {
        self.sql(|connection| connection.progress_handler(1000, Some(interrupted)))?;
        // Of `main` alone: without it SQLite makes its database for temporary tables first, 9 KiB that nothing else needs.
        let query = "PRAGMA main.quick_check(1)";
        let found: rusqlite::Result<String> = self.connection.query_row(query, [], |row| row.get(0));
        self.sql(|connection| connection.progress_handler(0, None::<fn() -> bool>))?;
        match found {
            Ok(verdict) if verdict == "ok" => Ok(Some(())),
            Ok(verdict) => Err(Fault::Damage(verdict)),
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) => Ok(None),
            Err(error) => Err(Fault::of_sqlite(&error, &self.path)),
        }
    }

    /// The file's size in bytes, without its log.
    pub(super) fn file_size(&mut self) -> Done<u64> {
        let pages: i64 = self.sql(|connection| connection.pragma_query_value(None, "page_count", |row| row.get(0)))?;
        Ok(u64::try_from(pages).unwrap_or(0) * PAGE_SIZE as u64)
    }

    /// Gives the file system back what an emptied database still holds.
    pub(super) fn shrink_if_empty(&mut self) -> Done<()> {
        self.sql(|connection| {
            let is_empty = connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM message)", [], |row| row.get(0))?;
            if is_empty {
                connection.execute_batch("VACUUM")?;
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            }
            Ok(())
        })?;
        self.forget_the_log();
        self.note_own_write(true);
        Ok(())
    }

    /// Closes it, with everything in the one file, synced.
    pub(super) fn close(self) -> Done<()> {
        let Database { connection, path, .. } = self;
        connection.close().map_err(|(_, error)| Fault::of_sqlite(&error, &path))?;
        File::open(&path).and_then(|file| file.sync_all()).map_err(|error| Fault::of_io(&error, &path))
    }
}

fn columns_of<'a>(row: &'a SqlRow<'_>) -> rusqlite::Result<Columns<'a>> {
    Ok(Columns {
        key: row.get(0)?,
        at: row.get(1)?,
        boot: row.get(2)?,
        since_boot: row.get(3)?,
        size: row.get(4)?,
        flags: row.get(5)?,
        checksum: row.get(6)?,
        topic: bytes_of(row.get_ref(7)?),
        payload: bytes_of(row.get_ref(8)?),
        properties: bytes_of(row.get_ref(9)?),
    })
}
