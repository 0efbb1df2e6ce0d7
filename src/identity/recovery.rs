//! What a crash has left half done, ended.

use super::directory::{CURRENT, DISCARDED, Directory, MAKING, NEXT, PREVIOUS, PROGRESS, UNFINISHED};
use super::{DiskError, FoundIdentity};

impl Directory {
    /// Does what is left to do, the same from wherever it was cut off.
    ///
    /// # Errors
    /// What the disk didn't do; to do it again goes on there.
    pub(crate) fn recover(&self) -> Result<(), DiskError> {
        self.keep_what_is_found()?;
        for name in [MAKING, DISCARDED] {
            self.remove(&self.state.join(name))?;
        }
        let is_usable = |found| matches!(found, FoundIdentity::Identity(_));
        let is_decided = is_usable(self.found(NEXT)?);
        let (current, next, previous) = (self.state.join(CURRENT), self.state.join(NEXT), self.state.join(PREVIOUS));
        if is_decided {
            if self.has(CURRENT)? {
                self.remove(&previous)?;
                self.name(&current, &previous)?;
            }
            self.name(&next, &current)?;
        } else if !is_usable(self.found(CURRENT)?) && is_usable(self.found(PREVIOUS)?) {
            self.remove(&current)?;
            self.name(&previous, &current)?;
        }
        // The one before goes once there is another for certain.
        if is_usable(self.found(CURRENT)?) {
            self.remove(&previous)?;
        }
        self.tidy(CURRENT, Some(PROGRESS))?;
        self.tidy(NEXT, None)
    }

    /// What a process has named and not synced when it was killed is found by the next, and lost with the power: nothing is built on it
    /// before it is on the disk.
    fn keep_what_is_found(&self) -> Result<(), DiskError> {
        for name in [CURRENT, NEXT] {
            let directory = self.state.join(name);
            if self.has(name)? {
                self.try_to("syncing", &directory, |disk| disk.sync_directory(&directory))?;
            }
        }
        self.try_to("syncing", &self.state, |disk| disk.sync_directory(&self.state))
    }

    /// Removes the files that a write has left, and the one of this name.
    fn tidy(&self, name: &str, also: Option<&str>) -> Result<(), DiskError> {
        let directory = self.state.join(name);
        if !self.has(name)? {
            return Ok(());
        }
        for file in self.try_to("listing", &directory, |disk| disk.list(&directory))? {
            if file.ends_with(UNFINISHED) || also == Some(&file) {
                let path = directory.join(file);
                self.try_to("removing", &path, |disk| disk.remove_file(&path))?;
            }
        }
        Ok(())
    }
}
