//! `key_file` of `[tls]`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::pkcs11;

/// `tls.key_file`: where the private key is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum KeyFile {
    File(PathBuf),
    /// In a token, which signs and doesn't give it away.
    Token(Arc<pkcs11::Uri>),
}

impl KeyFile {
    /// The key's file; a key in a token has none.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            KeyFile::File(path) => Some(path),
            KeyFile::Token(_) => None,
        }
    }

    /// The token's URI, if the key is in one.
    pub(crate) fn token(&self) -> Option<&Arc<pkcs11::Uri>> {
        match self {
            KeyFile::File(_) => None,
            KeyFile::Token(uri) => Some(uri),
        }
    }

    /// What is secret of it and in a file: the key, or the PIN of its token.
    pub(crate) fn secret_file(&self) -> Option<&Path> {
        match self {
            KeyFile::File(path) => Some(path),
            KeyFile::Token(uri) => uri.pin_file.as_deref(),
        }
    }

    /// All files that are read for it: the key, or the module and the PIN of its token.
    pub(crate) fn files(&self) -> Vec<&Path> {
        match self {
            KeyFile::File(path) => vec![path],
            KeyFile::Token(uri) => uri.files().collect(),
        }
    }
}
