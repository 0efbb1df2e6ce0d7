//! Turns: a server that never stops sending mustn't keep us from hearing anything else, such as the order to stop.

/// After so many bytes from the server others have their turn: readers write what has come for them, of which they are owed no more
/// than 1 MiB at a time.
const TURN: usize = 128 * 1024;

/// Whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Bytes read since others had theirs.
    read: usize,
    is_others: bool,
}

impl Turns {
    /// So many bytes were read.
    pub(crate) fn read(&mut self, bytes: usize) {
        self.read += bytes;
    }

    /// Whether it is the others' turn: nothing is read. Says so once.
    pub(crate) fn take_others(&mut self) -> bool {
        std::mem::take(&mut self.is_others)
    }

    /// Lets other tasks run, and others have the next turn, if enough was read.
    pub(crate) async fn give(&mut self) {
        if self.read > TURN {
            *self = Turns { read: 0, is_others: true };
            tokio::task::yield_now().await;
        }
    }
}
