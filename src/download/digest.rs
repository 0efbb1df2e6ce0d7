//! SHA-256 of what is downloaded.

use std::fmt;

use ring::digest::{Context, SHA256};

/// A sum.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sha256(pub(crate) [u8; 32]);

/// As `sha256sum` prints it.
impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The sum of what was seen so far.
#[derive(Clone)]
pub(super) struct Summing(Context);

impl Summing {
    pub(super) fn new() -> Summing {
        Summing(Context::new(&SHA256))
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn sum(&self) -> Sha256 {
        let digest = self.0.clone().finish();
        let mut sum = [0; 32];
        sum.copy_from_slice(digest.as_ref());
        Sha256(sum)
    }
}

impl fmt::Debug for Summing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Summing")
    }
}
