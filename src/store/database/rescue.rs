//! What an open database still gives when its files are gone, moved or overwritten.

use std::path::Path;
use std::{fs, io};

use super::{Database, Done, columns_of, open};
use crate::store::failure::Fault;
use crate::store::files;
use crate::store::names::log_of;
use crate::store::row::Columns;

impl Database {
    /// Copies all of it to a new file, synced.
    pub(in crate::store) fn copy_to(&mut self, new: &Path) -> Done<()> {
        let file = files::open(new)?;
        let target = open::real(new)?;
        self.sql(|connection| connection.execute("VACUUM INTO ?1", [target.to_string_lossy()]))?;
        file.sync_all().map_err(|error| Fault::of_io(&error, new))
    }

    /// Takes its log out of the way of another database, which would take it for its own.
    pub(in crate::store) fn remove_log(&self) -> io::Result<()> {
        match self.log.as_ref().filter(|log| log.is_kept()) {
            Some(_) => fs::remove_file(log_of(&self.path)),
            None => Ok(()),
        }
    }

    /// Gives what can still be read of its own messages to `take`, from both ends: SQLite has pages in memory that the files may
    /// have lost. Only an error of `take` is one.
    pub(in crate::store) fn read_out(&self, mut take: impl FnMut(&Columns<'_>) -> Done<()>) -> Done<()> {
        for order in ["ASC", "DESC"] {
            let query = format!(
                "SELECT key, at, boot, since_boot, size, flags, checksum, topic, payload, properties FROM message
                 ORDER BY key {order}"
            );
            let Ok(mut query) = self.connection.prepare(&query) else { continue };
            let Ok(mut rows) = query.query([]) else { continue };
            while let Ok(Some(row)) = rows.next() {
                match columns_of(row) {
                    Ok(columns) if columns.are_sound() && self.may_have(columns.key) => take(&columns)?,
                    _ => break,
                }
            }
        }
        Ok(())
    }
}
