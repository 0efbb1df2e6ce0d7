//! `[meter]`: its keys, defaults and bounds.

use super::Reader;
use crate::config::Meter;
use crate::config::section::Section;

impl Reader<'_> {
    /// `None` without it.
    pub(in crate::config) fn meter(&self) -> Option<Meter> {
        self.root.get("meter")?;
        Section::of(self.root, "meter", self.report).finish();
        Some(Meter {})
    }
}
