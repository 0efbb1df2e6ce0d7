//! Who is at the other end of a connection.

/// The process at the other end, as the kernel knew it when it connected; zeros where it is in another container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) uid: u32,
    pub(crate) pid: i32,
}
