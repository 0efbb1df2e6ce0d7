//! What the store's thread does when nobody wants anything: it looks at all pages, and gives space back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{WORTH_SHRINKING, Worker};
use crate::store::failure::Fault;

impl Worker {
    /// Looks at all pages, unless something else is asked for meanwhile.
    pub(super) fn check(&mut self) {
        self.checks_left -= 1;
        if self.keep_in_place().is_err() {
            return;
        }
        let mut was_read_again = false;
        while let Some(database) = &mut self.database {
            let pending = Arc::clone(&self.pending);
            let fault = match database.quick_check(move || pending.load(Ordering::Relaxed) > 0) {
                Ok(Some(())) => return self.checks_left = 0,
                Ok(None) => return,
                Err(fault) => fault,
            };
            match self.doubted(fault, &mut was_read_again) {
                // Should it not open, who needs it next is told why.
                None => drop(self.connect()),
                Some(fault) => {
                    self.checks_left = 0;
                    if let Fault::Damage(detail) = fault
                        && self.rebuild(&detail).is_err()
                    {
                        self.database = None;
                    }
                    return;
                }
            }
        }
    }

    pub(super) fn shrink_if_empty(&mut self) {
        let Some(database) = &mut self.database else { return };
        let shrunk = match database.file_size() {
            Ok(size) if size > WORTH_SHRINKING => database.shrink_if_empty(),
            outcome => outcome.map(drop),
        };
        if let Err(fault) = shrunk {
            // It stays as large as it is.
            log::debug!("{} couldn't be shrunk: {fault:?}", self.path.display());
        }
    }
}
