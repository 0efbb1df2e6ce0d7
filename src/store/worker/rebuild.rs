//! A new database is made of what can be read of a damaged one, and takes its place.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::Worker;
use crate::count::count;
use crate::store::QueueId;
use crate::store::database::{Database, look};
use crate::store::failure::{Failure, Fault};
use crate::store::names::{directory_of, log_of, with_suffix};
use crate::store::ready::{REPLACES, Ready, judge, place_of, ready_of};
use crate::store::salvage::{Pages, Salvaged, salvage};
use crate::time;

/// A database that is damaged again before this isn't made anew: the device is to blame.
const NOT_AGAIN_WITHIN: Duration = Duration::from_secs(60);

impl Worker {
    /// Makes a new database with what can be read of a damaged one, which is moved aside. In this order: should there be no
    /// room for the new one, the old one stays where it is until there is.
    pub(super) fn rebuild(&mut self, detail: &str) -> Result<(), Fault> {
        let path = self.path.display().to_string();
        if let Some(mut database) = self.database.take() {
            database.leave_the_log();
        }
        if self.rebuilt_at.is_some_and(|at| time::since(at) < NOT_AGAIN_WITHIN) {
            return Err(Fault::Broken(Failure::DamagedAgain { path }));
        }
        let new = new_of(&self.path);
        let carried = self.carry_over(&new)?;
        self.make_ready(&new, None)?;
        let aside = self.finish_swap()?.and_then(|swapped| swapped.aside).unwrap_or_default();
        self.rebuilt_at = Some(time::now());
        log::error!(
            GATEWIRE_EVENT = "store_damaged";
            "{path} was damaged ({detail}) and is now {}; a new database has the {} that could be read. \
             If this happens again, replace the card",
            aside.display(), count(carried, "message")
        );
        Database::open(&self.path, self.boot).and_then(|database| self.adopt(database))
    }

    /// Copies what is readable to a new database; returns how many messages that are.
    fn carry_over(&mut self, new: &Path) -> Result<u64, Fault> {
        let mut queues = Vec::new();
        let pages = Pages::open(&self.path);
        let mut carried = 0;
        let fill = |database: &mut Database| {
            salvage(&pages, |found| {
                match found {
                    Salvaged::Message(columns) => carried += u64::from(database.insert_columns(&columns)?),
                    Salvaged::Queue { id, name } => {
                        queues.extend(u16::try_from(id).ok().and_then(QueueId::new).map(|id| (id, name.to_owned())))
                    }
                    Salvaged::Note { name, value } => database.set_note(name, value)?,
                    Salvaged::Boot { id, offset } => database.note_boot(id, offset)?,
                }
                Ok::<(), Fault>(())
            })
        };
        let database = self.filled(new, fill)?;
        queues.retain(|(id, _)| !id.is_built_in());
        queues.dedup_by_key(|(id, _)| *id);
        self.queues = QueueId::built_in();
        self.queues.append(&mut queues);
        self.name_queues();
        self.finished(database)?;
        Ok(carried)
    }

    /// A new database with what `fill` adds to it.
    pub(super) fn filled(
        &self,
        new: &Path,
        fill: impl FnOnce(&mut Database) -> Result<(), Fault>,
    ) -> Result<Database, Fault> {
        remove(new).map_err(|error| Fault::of_io(&error, new))?;
        let mut database = Database::open(new, self.boot)?;
        database.in_transaction(fill)?;
        Ok(database)
    }

    /// Its queues are the ones there are, and counted.
    pub(super) fn finished(&self, mut database: Database) -> Result<(), Fault> {
        database.add_queues(self.queues.clone());
        database.in_transaction(|database| database.recount(&self.queues))?;
        database.close()
    }

    /// Names a new database so that the next start puts it in its place, and has it say what it replaces: what is there, or the
    /// database that it was copied from.
    pub(super) fn make_ready(&mut self, new: &Path, origin: Option<String>) -> Result<(), Fault> {
        let ready = ready_of(&self.path);
        let place = [Some(place_of(&self.path)), origin].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let mut database = Database::open(new, self.boot)?;
        database.in_transaction(|database| database.set_note(REPLACES, &place))?;
        database.close()?;
        if !self.is_beside {
            // Somebody else's: ours is there only if we know it.
            let aside = move_aside(&ready, time::wall(), "leftover").map_err(|error| Fault::of_io(&error, &ready))?;
            self.note_aside(aside.as_deref());
        }
        fs::rename(new, &ready).and_then(|()| sync_names(&ready)).map_err(|error| Fault::of_io(&error, &ready))
    }

    /// What lies ready at a start gets its place if it is for that, and is moved aside if it isn't.
    pub(super) fn settle_ready(&mut self) -> Result<Option<Swapped>, Fault> {
        // What this process has made is complete, whatever has come to its place since.
        let found = if self.is_beside { Ready::Completes } else { judge(&self.path)? };
        let why = match found {
            Ready::None | Ready::Completes => return self.finish_swap(),
            Ready::Leftover { why } => why,
        };
        let ready = ready_of(&self.path);
        match move_aside(&ready, time::wall(), "leftover") {
            Ok(aside) => {
                let name = aside.as_deref().unwrap_or(&ready).display();
                log::error!(
                    GATEWIRE_EVENT = "store_leftover";
                    "{} isn't the database that gatewire left there: {why}. It is now {name}; {} is used. Delete {name} if you \
                     don't need it",
                    ready.display(), self.path.display()
                );
                self.note_aside(aside.as_deref());
            }
            // The database itself can be used all the same.
            Err(error) => log::error!(
                GATEWIRE_EVENT = "store_leftover";
                "{} isn't the database that gatewire left there: {why}. It can't be moved aside ({error}): move it away. {} is \
                 used", ready.display(), self.path.display()
            ),
        }
        Ok(None)
    }

    /// Puts a new database that is ready into the place of the damaged one, if there is one: also after a crash in the middle
    /// of that. One that isn't ready is removed.
    pub(super) fn finish_swap(&mut self) -> Result<Option<Swapped>, Fault> {
        let swapped = swap(&self.path).map_err(|error| Fault::of_io(&error, &self.path))?;
        self.note_aside(swapped.as_ref().and_then(|swapped| swapped.aside.as_deref()));
        Ok(swapped)
    }

    /// Moves what is in the place of the database out of it.
    pub(super) fn clear_the_place(&mut self) -> Result<(), Fault> {
        let aside =
            move_aside(&self.path, time::wall(), "damaged").map_err(|error| Fault::of_io(&error, &self.path))?;
        self.note_aside(aside.as_deref());
        Ok(())
    }

    fn note_aside(&self, aside: Option<&Path>) {
        if let Some(aside) = aside
            && let Ok(mut names) = self.moved_aside.lock()
        {
            names.push(aside.display().to_string());
        }
    }
}

/// A new database is in its place.
pub(super) struct Swapped {
    /// Where that is now which was there before, if anything was.
    pub(super) aside: Option<PathBuf>,
}

/// Where a new database is made.
pub(super) fn new_of(path: &Path) -> PathBuf {
    with_suffix(path, ".new")
}

fn swap(path: &Path) -> io::Result<Option<Swapped>> {
    remove(&new_of(path))?;
    let ready = ready_of(path);
    if fs::symlink_metadata(&ready).is_err() {
        return Ok(None);
    }
    // The same name again, if one of two files got there before a crash.
    let time = Timestamp::try_from(fs::metadata(&ready)?.modified()?).unwrap_or(Timestamp::UNIX_EPOCH);
    let aside = move_aside(path, time, "damaged")?;
    fs::rename(&ready, path)?;
    sync_names(path)?;
    Ok(Some(Swapped { aside }))
}

/// Returns where it is now, if anything was there. `kind` is what one of ours is called.
fn move_aside(path: &Path, time: Timestamp, kind: &str) -> io::Result<Option<PathBuf>> {
    // What can't be a damaged database of ours was put there by somebody.
    let kind = match look(path) {
        Ok(()) | Err(Fault::Damage(_)) => kind,
        Err(_) => "foreign",
    };
    let time = time.strftime("%Y%m%dT%H%M%SZ").to_string();
    let name = |n: u32| match n {
        0 => with_suffix(path, &format!(".{kind}-{time}")),
        n => with_suffix(path, &format!(".{kind}-{time}-{n}")),
    };
    let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
    let both = |one: &Path, other: &Path| is_there(one) && is_there(other);
    let is_free = |aside: &PathBuf| !(both(path, aside) || both(&log_of(path), &log_of(aside)));
    let aside = (0..1000).map(name).find(is_free).unwrap_or_else(|| name(0));
    for (from, to) in [(log_of(path), log_of(&aside)), (path.to_owned(), aside.clone())] {
        match fs::rename(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    // Before anything is in the old place: else a crash could leave a new one beside the old one's log.
    sync_names(path)?;
    Ok((is_there(&aside) || is_there(&log_of(&aside))).then_some(aside))
}

/// Has the disk know what is called how in the directory of `path`.
pub(super) fn sync_names(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        return move_aside(path, time::wall(), "leftover").map(drop);
    }
    for file in [path.to_owned(), log_of(path), with_suffix(path, "-journal")] {
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
