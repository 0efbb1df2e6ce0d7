//! A database that was removed or replaced while it was in use is still whole as long as it is open: it is copied to where it
//! belongs.

use std::fs;
use std::sync::atomic::Ordering;

use super::Worker;
use super::rebuild::{new_of, ready_of, remove, sync_names};
use crate::store::Lock;
use crate::store::database::Database;
use crate::store::failure::{Failure, Fault, OpenError};
use crate::store::files::{self, make_directory};
use crate::store::names::log_of;

impl Worker {
    /// Whether the names of the database, its log and its lock still lead to the files that are in use.
    fn is_in_place(&mut self) -> bool {
        let is_locked = self.lock.as_ref().is_none_or(Lock::is_in_place);
        self.database.as_mut().is_none_or(Database::is_in_place) && is_locked
    }

    /// Makes sure that what is on the disk is found there by the next start.
    pub(super) fn keep_in_place(&mut self) -> Result<(), Failure> {
        if self.is_in_place() {
            return Ok(());
        }
        self.restore().map_err(|fault| match fault {
            Fault::Refused(failure) | Fault::Broken(failure) => failure,
            Fault::Damage(detail) => self.io_failure(detail),
            Fault::Unusable(error) => Failure::Unusable {
                said: format!(
                    "{}: the database was removed or replaced while it was in use. {error}",
                    self.path.display()
                ),
            },
        })
    }

    fn restore(&mut self) -> Result<(), Fault> {
        make_directory(&self.path)?;
        self.refuse_what_is_not_ours()?;
        if !self.lock.as_ref().is_none_or(Lock::is_in_place) {
            let lock = Lock::take(&self.path)?;
            let locked = || Fault::Unusable(OpenError::Locked { path: self.path.clone() });
            self.lock = Some(lock.ok_or_else(locked)?);
        }
        let Some(database) = self.database.as_mut().filter(|database| !database.is_kept()) else { return Ok(()) };
        let (new, ready) = (new_of(&self.path), ready_of(&self.path));
        remove(&new).map_err(|error| Fault::of_io(&error, &new))?;
        database.copy_to(&new)?;
        let is_free = files::look(&self.path)?.is_none() || database.is(&self.path);
        if let Some(mut database) = self.database.take() {
            database.leave_the_log();
        }
        let aside = match is_free {
            // What is left of its log and itself is in the copy.
            true => {
                let log = log_of(&self.path);
                let put = || {
                    if log.exists() {
                        fs::remove_file(&log)?;
                    }
                    fs::rename(&new, &self.path)?;
                    sync_names(&self.path)
                };
                put().map_err(|error| Fault::of_io(&error, &self.path))?;
                None
            }
            // Another database of gatewire is there.
            false => {
                fs::rename(&new, &ready).map_err(|error| Fault::of_io(&error, &ready))?;
                self.finish_swap()?
            }
        };
        let database = Database::open(&self.path, self.boot)?;
        self.adopt(database)?;
        self.restored.fetch_add(1, Ordering::Relaxed);
        let aside =
            aside.map_or_else(String::new, |aside| format!("; what was put in its place is now {}", aside.display()));
        log::error!(
            GATEWIRE_EVENT = "store_removed";
            "{} was removed or replaced while gatewire used it. It has been restored with all that was stored in it{aside}. To \
            empty it, stop gatewire first",
            self.path.display()
        );
        Ok(())
    }
}
