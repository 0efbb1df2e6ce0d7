//! A socket that gatewire makes.

use std::path::PathBuf;

/// Where `[status] socket` is unless the configuration says otherwise.
pub(crate) const STATUS_SOCKET: &str = "/run/gatewire/status.sock";

/// A Unix socket in the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SocketFile {
    pub(crate) path: PathBuf,
    /// Permission bits, such as `0o660`.
    pub(crate) mode: u32,
    /// Left out: the process's own group.
    pub(crate) group: Option<String>,
}
