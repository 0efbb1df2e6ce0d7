//! Libraries that stand between the daemon and the system, to have it answer as no sound machine does on command.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::daemon::Setup;

/// Builds `tests/disk/NAME.c`, and has the daemon load it.
pub(crate) fn preload(setup: Setup, name: &str) -> Setup {
    crate::support::preload::preload(setup, &format!("tests/disk/{name}.c"))
}

/// What the database's file system does, see `fault.c`.
pub(crate) struct Fault {
    directory: TempDir,
}

impl Fault {
    /// A disk that works, and the daemon that has it.
    pub(crate) fn on(setup: Setup) -> (Fault, Setup) {
        let fault = Fault { directory: TempDir::new().unwrap() };
        let setup = preload(setup, "fault").env("FAULT", fault.file());
        (fault, setup)
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("fault")
    }

    /// From now on it does as this word says.
    pub(crate) fn begin(&self, word: &str) {
        let new = self.directory.path().join("new");
        std::fs::write(&new, word).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }

    /// It works again.
    pub(crate) fn end(&self) {
        std::fs::remove_file(self.file()).unwrap();
    }

    /// Whether a sync has begun to hang.
    pub(crate) fn is_stalled(&self) -> bool {
        self.file().with_extension("stalled").exists()
    }
}
