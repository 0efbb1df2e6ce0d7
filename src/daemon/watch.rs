//! Files that the daemon uses, watched for being removed, replaced or written to by others (inotify): the kernel tells, and nothing
//! has to be looked at again and again.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::path::PathBuf;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// See the module. Without it, as where a user has too many already, what was removed is noticed at the next write.
pub(super) struct Watch {
    kernel: Option<AsyncFd<Kernel>>,
    /// Those that have been watched.
    known: HashSet<WatchDescriptor>,
}

struct Kernel(Inotify);

impl AsRawFd for Kernel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[expect(deprecated, reason = "what takes its place is unsafe to call; a `Kernel` keeps its descriptor")]
fn register(kernel: Kernel) -> io::Result<AsyncFd<Kernel>> {
    AsyncFd::with_interest(kernel, Interest::READABLE)
}

impl Watch {
    pub(super) fn new() -> Watch {
        let kernel = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).map_err(io::Error::from);
        let watch = kernel.and_then(|kernel| register(Kernel(kernel)));
        if let Err(error) = &watch {
            log::debug!("the kernel can't report removed files (inotify): {error}");
        }
        Watch { kernel: watch.ok(), known: HashSet::new() }
    }

    /// Watches the files that are at these paths now, too. Returns whether there are any that weren't watched before.
    pub(super) fn add(&mut self, paths: impl IntoIterator<Item = PathBuf>) -> bool {
        let Some(kernel) = &self.kernel else { return false };
        // Removing a name changes the number of links, which is an attribute.
        let lost = AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF;
        // We keep the files open that we write: who closes one is somebody else. That it was written to alone (IN_MODIFY) would be
        // told for each write of ours.
        let what = lost | AddWatchFlags::IN_CLOSE_WRITE;
        let add = |path: PathBuf| kernel.get_ref().0.add_watch(&path, what | AddWatchFlags::IN_DONT_FOLLOW).ok();
        // One that isn't there is somebody else's to notice.
        let before = self.known.len();
        self.known.extend(paths.into_iter().filter_map(add));
        self.known.len() > before
    }

    /// Completes when something has happened to one of them.
    pub(super) async fn changed(&self) {
        let Some(kernel) = &self.kernel else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = kernel.readable().await else { return std::future::pending().await };
            let read = ready.try_io(|kernel| kernel.get_ref().0.read_events().map_err(io::Error::from));
            // What exactly has happened, looking tells.
            if matches!(read, Ok(Ok(_))) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "local")]
    async fn each_way_to_lose_a_file_is_told_and_what_others_write_but_not_what_we_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for lose in [
            |path: &PathBuf| fs::remove_file(path).unwrap(),
            |path: &PathBuf| fs::rename(path, path.with_extension("old")).unwrap(),
            |path: &PathBuf| fs::rename(path.with_extension("old"), path).unwrap(),
            |path: &PathBuf| fs::write(path, "another").unwrap(),
            |path: &PathBuf| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1).unwrap(),
        ] {
            fs::write(&path, "").unwrap();
            let mut open = fs::OpenOptions::new().write(true).open(&path).unwrap();
            fs::write(path.with_extension("old"), "").unwrap();
            let mut watch = Watch::new();
            assert!(watch.add([path.clone()]) && !watch.add([path.clone()]));
            open.write_all(b"text").unwrap();
            assert!(tokio::time::timeout(Duration::ZERO, watch.changed()).await.is_err());
            lose(&path);
            watch.changed().await;
        }
    }
}
