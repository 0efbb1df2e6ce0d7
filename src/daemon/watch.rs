//! Files that the daemon uses, watched for being removed, replaced or written to by others (inotify), and the directories and
//! symbolic links on the way to them for being moved or replaced: the kernel tells, and nothing has to be looked at again and again.

use std::collections::{BTreeSet, HashSet};
use std::future::{pending, poll_fn};
use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::{fs, io, path};

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

/// What is no longer where it was.
const LOST: AddWatchFlags = AddWatchFlags::IN_MOVE_SELF.union(AddWatchFlags::IN_DELETE_SELF);

/// The directories and symbolic links that lead to these files: moving one of them tells nobody who watches the file alone.
fn on_the_way(paths: &[PathBuf]) -> BTreeSet<PathBuf> {
    let directories: BTreeSet<PathBuf> =
        paths.iter().filter_map(|path| Some(path::absolute(path).ok()?.parent()?.to_owned())).collect();
    let led_to: BTreeSet<PathBuf> =
        directories.iter().filter_map(|directory| fs::canonicalize(directory).ok()).collect();
    let all = directories.iter().chain(&led_to).flat_map(|directory| directory.ancestors());
    // Nobody moves the root.
    all.filter(|directory| directory.parent().is_some()).map(Path::to_owned).collect()
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
        // We keep the files open that we write: who closes one is somebody else. That it was written to alone (IN_MODIFY) would be
        // told for each write of ours. Removing a name changes the number of links, which is an attribute.
        let of_a_file = LOST | AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_CLOSE_WRITE;
        let add = |path: &Path, what| kernel.get_ref().0.add_watch(path, what | AddWatchFlags::IN_DONT_FOLLOW).ok();
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        // What isn't there is somebody else's to notice.
        let before = self.known.len();
        self.known.extend(on_the_way(&paths).iter().filter_map(|path| add(path, LOST)));
        self.known.extend(paths.iter().filter_map(|path| add(path, of_a_file)));
        self.known.len() > before
    }

    /// Completes when something has happened to one of them.
    pub(super) async fn changed(&self) {
        let Some(kernel) = &self.kernel else { return pending().await };
        loop {
            // `readable` of tokio would never yield as long as somebody goes on touching them.
            let Ok(mut ready) = poll_fn(|cx| kernel.poll_read_ready(cx)).await else { return pending().await };
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
    #[tokio::test(flavor = "local")]
    async fn moving_or_replacing_what_leads_to_a_file_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for lose in [
            |at: &dyn Fn(&str) -> PathBuf| fs::rename(at("a/b"), at("a/c")).unwrap(),
            |at: &dyn Fn(&str) -> PathBuf| fs::rename(at("a"), at("d")).unwrap(),
            |at: &dyn Fn(&str) -> PathBuf| fs::rename(at("other"), at("link")).unwrap(),
            |at: &dyn Fn(&str) -> PathBuf| fs::remove_file(at("link")).unwrap(),
        ] {
            for used in ["a", "d", "link", "other"].map(at) {
                let _ = fs::remove_file(&used).or_else(|_| fs::remove_dir_all(&used));
            }
            fs::create_dir_all(at("a/b")).unwrap();
            fs::write(at("a/b/file"), "").unwrap();
            std::os::unix::fs::symlink("a", at("link")).unwrap();
            std::os::unix::fs::symlink("a", at("other")).unwrap();
            let mut watch = Watch::new();
            assert!(watch.add([at("link/b/file")]) && !watch.add([at("link/b/file")]));
            fs::write(at("a/b/another"), "").unwrap();
            assert!(tokio::time::timeout(Duration::ZERO, watch.changed()).await.is_err());
            lose(&at);
            watch.changed().await;
        }
    }
}
