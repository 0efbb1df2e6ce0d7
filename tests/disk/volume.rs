//! A small file system that only the daemon under test sees.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::daemon::Setup;
use crate::support::program;

/// Makes the file system, says so, and waits for its end.
const HOLD: &str = "mount -t tmpfs -o size=$1 tmpfs \"$0\" && echo ready && exec sleep infinity";

/// A tmpfs in a mount namespace of its own, which a process holds. With that process all of it is gone.
pub(crate) struct Volume {
    holder: Child,
    mount_point: TempDir,
}

impl Volume {
    /// `size` as in `mount -o size=`.
    pub(crate) fn new(size: &str) -> Volume {
        let mount_point = TempDir::new().unwrap();
        let mut command = program("unshare");
        // Who isn't root may do this only as the root of a user namespace.
        command.args(["--mount", "--propagation", "private"]).args(own_user_namespace(&["--map-root-user"]));
        command.args(["sh", "-c", HOLD]).arg(mount_point.path()).arg(size);
        let mut holder = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "no file system can be mounted");
        Volume { holder, mount_point }
    }

    /// A daemon that keeps its database there.
    pub(crate) fn setup(&self, port: u16, rest: &str) -> Setup {
        let setup = Setup::new(port, rest);
        let database = setup.directory.path().join("gatewire.db");
        let there = self.mount_point.path().join("gatewire.db");
        setup.edit(&database.display().to_string(), &there.display().to_string()).under(self.enter())
    }

    fn enter(&self) -> Vec<OsString> {
        let words = ["nsenter", "-t", &self.holder.id().to_string(), "--mount"].map(OsString::from);
        let user = own_user_namespace(&["--user", "--preserve-credentials"]);
        words.into_iter().chain(user.iter().map(OsString::from)).collect()
    }

    /// A file on it, as seen from here.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.mount_point.path().strip_prefix("/").unwrap()).join(name)
    }

    /// Takes so much of its space away.
    pub(crate) fn fill(&self, bytes: u64) {
        let file = File::create(self.path("filler")).unwrap();
        nix::fcntl::posix_fallocate(file, 0, i64::try_from(bytes).unwrap()).unwrap();
    }

    /// Takes all that is left.
    pub(crate) fn fill_up(&self) {
        let mut file = File::create(self.path("filler")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    /// Gives it back.
    pub(crate) fn free(&self) {
        std::fs::remove_file(self.path("filler")).unwrap();
    }

    /// `options` as in `mount -o`: `remount,bind,ro`.
    pub(crate) fn remount(&self, options: &str) {
        let enter = self.enter();
        let mounted = Command::new(&enter[0])
            .args(&enter[1..])
            .args(["mount", "-o", options])
            .arg(self.mount_point.path())
            .output()
            .unwrap();
        assert!(mounted.status.success(), "{mounted:?}");
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn own_user_namespace<'a>(options: &'a [&'a str]) -> &'a [&'a str] {
    if nix::unistd::geteuid().is_root() { &[] } else { options }
}
