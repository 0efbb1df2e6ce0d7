//! What is told of the store.

use std::sync::atomic::Ordering;

use serde::Serialize;

use super::Store;
use crate::time::Rfc3339;

/// The `store` of the status document.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StoreStatus {
    path: String,
    /// Why nothing can be written or read at the moment.
    error: Option<String>,
    /// Since when.
    since: Option<Rfc3339>,
    /// Where damaged databases were moved to since the start.
    pub(super) moved_aside: Vec<String>,
    /// How often it was removed or replaced while it was in use, and put back.
    restored: usize,
}

impl Store {
    pub(crate) fn status(&self) -> StoreStatus {
        let trouble = self.trouble.borrow();
        StoreStatus {
            path: self.path.display().to_string(),
            error: self.trouble(),
            since: trouble.now().map(|(_, since)| since.into()),
            moved_aside: self.moved_aside.lock().map(|names| names.clone()).unwrap_or_default(),
            restored: self.restored.load(Ordering::Relaxed),
        }
    }
}
