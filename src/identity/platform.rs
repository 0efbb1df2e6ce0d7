//! What identities are made and kept with: this machine, or in a simulation what stands for it.

use std::fmt::Debug;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::disk::{Disk, FileSystem};
use super::key::{KeyError, KeyKind, Signer, csr, generate};
use crate::blocking::{self, NoThread};
use crate::secret::Secret;

/// Tells who waits for it what work has come to.
pub(crate) type Tell = Box<dyn FnOnce() + Send>;

/// Work that may block.
pub(crate) type Work = Box<dyn FnOnce() -> Tell + Send>;

/// See the module.
pub(crate) trait Platform: Debug + Send + Sync {
    /// Where the files are.
    fn disk(&self) -> Arc<dyn Disk>;

    /// Begins work on a thread of this name, which goes on though nobody waits for it any more.
    ///
    /// # Errors
    /// There is no thread for it.
    fn begin(&self, name: &str, work: Work) -> Result<(), NoThread>;

    /// A private key, as [`generate`] makes it.
    ///
    /// # Errors
    /// There is none.
    fn generate(&self, kind: KeyKind) -> Result<Secret<String>, KeyError>;

    /// A request for a certificate, as [`csr`] makes it.
    ///
    /// # Errors
    /// The key doesn't sign.
    fn csr(&self, key: &Signer, common_name: &str) -> Result<String, KeyError>;
}

impl dyn Platform + '_ {
    /// Begins `work` aside. Its result comes, or an error if it panics, which has been logged.
    ///
    /// # Errors
    /// There is no thread for it.
    pub(crate) fn aside<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, NoThread> {
        let (tell, answer) = oneshot::channel();
        let work = move || -> Tell {
            let done = work();
            Box::new(move || drop(tell.send(done)))
        };
        self.begin(name, Box::new(work))?;
        Ok(answer)
    }
}

/// This machine.
#[derive(Debug)]
struct ThisMachine;

/// This machine.
pub(crate) fn this_machine() -> Arc<dyn Platform> {
    Arc::new(ThisMachine)
}

impl Platform for ThisMachine {
    fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(FileSystem)
    }

    fn begin(&self, name: &str, work: Work) -> Result<(), NoThread> {
        blocking::begin(name, move || work()()).map(drop)
    }

    fn generate(&self, kind: KeyKind) -> Result<Secret<String>, KeyError> {
        generate(kind)
    }

    fn csr(&self, key: &Signer, common_name: &str) -> Result<String, KeyError> {
        csr(key, common_name)
    }
}
