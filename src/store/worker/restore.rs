//! A database that was removed or replaced while it was in use is still whole as long as it is open: it is copied to where it
//! belongs. One that somebody has written to in place has lost something: all that can be had of it is, from SQLite's memory, the
//! file and the log, and what the daemon has in memory is written again.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::{fs, io};

use super::Worker;
use super::rebuild::{new_of, remove, sync_names};
use crate::count::count;
use crate::store::database::Database;
use crate::store::failure::{Failure, Fault, OpenError};
use crate::store::files::{self, make_directory};
use crate::store::names::log_of;
use crate::store::ready::{origin_of, ready_of};
use crate::store::salvage::{Pages, Salvaged, salvage};
use crate::store::{Kept, Lock};
use crate::time;

/// One that is overwritten so often, each time within [`SOON`], isn't recreated for a while: damaged ones would fill the disk.
const MOST: u32 = 10;

/// See [`MOST`].
const SOON: Duration = Duration::from_secs(60);

/// What a copy of the database in use has.
struct Copied {
    messages: u64,
    is_whole: bool,
}

impl Worker {
    /// Whether the names of the database, its log and its lock still lead to the files that are in use.
    fn is_in_place(&mut self) -> bool {
        let is_locked = self.lock.as_ref().is_none_or(Lock::is_in_place);
        self.database.as_mut().is_none_or(Database::is_in_place) && is_locked
    }

    /// How the files differ from what we have left in them, if they aren't as good all the same.
    fn overwritten(&mut self) -> Option<String> {
        let database = self.database.as_mut()?;
        let how = database.touched()?;
        (!database.is_whole()).then_some(how)
    }

    /// Makes sure that what is on the disk is found there by the next start.
    pub(super) fn keep_in_place(&mut self) -> Result<(), Failure> {
        let is_in_place = self.is_in_place();
        let overwritten = self.overwritten();
        if is_in_place && overwritten.is_none() {
            return Ok(());
        }
        self.restore(overwritten).map_err(|fault| match fault {
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

    /// What the next start finds.
    pub(super) fn kept(&mut self) -> Kept {
        let opened = self.attempt(|_| Ok(()));
        let queues = opened.and_then(|()| self.keep_in_place()).and_then(|()| self.attempt(Database::queues));
        self.is_told = queues.is_err();
        match queues {
            Ok(queues) => Kept::InPlace(queues),
            Err(failure) if self.is_beside => Kept::Beside(ready_of(&self.path), failure),
            Err(failure) if self.is_lost(&failure) => Kept::Lost(failure),
            Err(failure) => Kept::Unread(failure),
        }
    }

    /// Whether a database that can't be had for this reason isn't in its place either.
    fn is_lost(&mut self, failure: &Failure) -> bool {
        match &mut self.database {
            Some(database) => !database.is_in_place() || database.touched().is_some(),
            None => matches!(failure, Failure::Unusable { .. }),
        }
    }

    fn restore(&mut self, overwritten: Option<String>) -> Result<(), Fault> {
        make_directory(&self.path)?;
        self.take_lock_again()?;
        let Some(mut database) = self.database.take_if(|database| !database.is_kept() || overwritten.is_some()) else {
            return Ok(());
        };
        let counted = if overwritten.is_some() { self.count_overwriting() } else { Ok(()) };
        let copied = match counted.and_then(|()| self.copy(&mut database)) {
            Ok(copied) => copied,
            Err(fault) => {
                self.database = Some(database);
                return Err(fault);
            }
        };
        let is_free = || files::look(&self.path).is_ok_and(|found| found.is_none()) || database.is(&self.path);
        let is_free = overwritten.is_none() && is_free();
        let held = database.held();
        database.leave_the_log();
        drop(database);
        let aside = match is_free {
            // What is left of its log and itself is in the copy.
            true => put_back(&self.path).map(|()| None).map_err(|error| Fault::of_io(&error, &self.path))?,
            false => self.finish_swap()?.and_then(|swapped| swapped.aside),
        };
        let database = Database::open(&self.path, self.boot)?;
        self.adopt(database)?;
        self.restored.fetch_add(1, Ordering::Relaxed);
        self.say_restored(overwritten.as_deref(), held, &copied, aside.as_deref());
        Ok(())
    }

    fn count_overwriting(&mut self) -> Result<(), Fault> {
        let recent = self.overwritten.filter(|(_, last)| time::since(*last) < SOON);
        let count = recent.map_or(0, |(count, _)| count);
        if count >= MOST {
            return Err(Fault::Refused(Failure::Overwritten { path: self.path.display().to_string() }));
        }
        self.overwritten = Some((count + 1, time::now()));
        Ok(())
    }

    fn take_lock_again(&mut self) -> Result<(), Fault> {
        if self.lock.as_ref().is_none_or(Lock::is_in_place) {
            return Ok(());
        }
        match Lock::take(&self.path) {
            Ok(Some(lock)) => self.lock = Some(lock),
            Ok(None) => return Err(Fault::Unusable(OpenError::Locked { path: self.path.clone() })),
            // There is no time to wait for a person; who starts next is told.
            Err(Fault::Unusable(_)) if self.stopping => {}
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    /// Has all there is of the database in the file that the next start puts in its place. What SQLite still reads is copied as it
    /// is, if nothing is missing; else every message that can be found.
    fn copy(&mut self, database: &mut Database) -> Result<Copied, Fault> {
        let new = new_of(&self.path);
        let io = |error: io::Error| Fault::of_io(&error, &new);
        remove(&new).map_err(io)?;
        let is_touched = database.touched().is_some();
        let is_whole = match database.copy_to(&new) {
            Ok(()) => !is_touched || database.holds(&Pages::open(&new)),
            Err(Fault::Damage(_)) => false,
            Err(fault) => return Err(fault),
        };
        let messages = if is_whole { database.held() } else { self.gather(database)? };
        self.make_ready(&new, Some(origin_of(database.open_files())))?;
        self.is_beside = true;
        if !database.is(&self.path) {
            database.remove_log().map_err(io)?;
        }
        Ok(Copied { messages, is_whole })
    }

    /// Makes a new database of what SQLite, the file and the log still have; returns how many messages that are. What lies in the
    /// file may be another's: only what we may have is taken.
    fn gather(&self, database: &Database) -> Result<u64, Fault> {
        let (file, log) = database.open_files();
        let (pages, is_ours) = (Pages::of(file, log), database.has_its_header());
        let mut found = 0;
        let filled = self.filled(&new_of(&self.path), |new| {
            salvage(&pages, |part| {
                match part {
                    Salvaged::Message(columns) if database.may_have(columns.key) => {
                        found += u64::from(new.insert_columns(&columns)?);
                    }
                    Salvaged::Note { name, value } if is_ours => new.set_note(name, value)?,
                    Salvaged::Boot { id, offset } if is_ours => new.note_boot(id, offset)?,
                    _ => {}
                }
                Ok::<(), Fault>(())
            })?;
            database.read_out(|columns| {
                found += u64::from(new.insert_columns(columns)?);
                Ok(())
            })
        })?;
        self.finished(filled)?;
        Ok(found)
    }

    fn say_restored(&self, overwritten: Option<&str>, held: u64, copied: &Copied, aside: Option<&Path>) {
        let path = self.path.display();
        let has = match copied.is_whole {
            true => "all that was stored in it".to_owned(),
            false => format!(
                "{} of the {} that were stored in it, and what is in memory is written again",
                copied.messages,
                count(held, "message")
            ),
        };
        let aside = |was: &str| aside.map_or_else(String::new, |aside| format!("; {was} is now {}", aside.display()));
        match overwritten {
            Some(how) => log::error!(
                GATEWIRE_EVENT = "store_overwritten";
                "another program has written to {path} while gatewire used it: {how}. It has been recreated with {has}{}. To \
                empty it, stop gatewire first",
                aside("what was found there")
            ),
            None => log::error!(
                GATEWIRE_EVENT = "store_removed";
                "{path} was removed or replaced while gatewire used it. It has been restored with {has}{}. To empty it, stop \
                gatewire first",
                aside("what was put in its place")
            ),
        }
    }
}

/// The copy is ready, and nothing is in its place that anybody could miss.
fn put_back(path: &Path) -> io::Result<()> {
    let log = log_of(path);
    if log.exists() {
        fs::remove_file(&log)?;
    }
    fs::rename(ready_of(path), path)?;
    sync_names(path)
}
