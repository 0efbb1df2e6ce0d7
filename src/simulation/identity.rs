//! What the daemon makes its identity on: a disk that may be full, hang, or be cut off at any operation, with a copy of what it
//! holds in a real directory, from which the files for TLS are read.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use tokio::task::spawn_local;
use tokio::time::sleep;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use crate::blocking::NoThread;
use crate::identity::simulated::{Cut, Fault, SimulatedDisk};
use crate::identity::{
    self, Directory, Disk, FoundIdentity, Identity, KeyError, KeyKind, Platform, Progress, Signer, Work,
    certificate_of, parse,
};
use crate::net::tests::pki::set_mode;
use crate::secret::Secret;

/// How the disk behaves from now on, beside being cut off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) is_full: bool,
    pub(super) hangs: bool,
}

/// The process is killed at an operation on the files, counted from when this is said.
#[derive(Debug, Clone, Copy)]
pub(super) struct CutOff {
    pub(super) operation: usize,
    pub(super) cut: Cut,
    /// The machine loses its power, too.
    pub(super) with_power: bool,
    /// For so long.
    pub(super) off: Duration,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    condition: Condition,
    cut_off: Option<CutOff>,
    /// Lines of the private keys that were made.
    secrets: Vec<String>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct SimulatedPlatform {
    disk: SimulatedDisk,
    /// The state directory.
    directory: PathBuf,
    state: Arc<Mutex<State>>,
}

/// An identity that would be there after a loss of power: its certificate belongs to its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// Of its directory.
    pub(super) place: String,
    /// The id of its certificate.
    pub(super) certificate: String,
    /// It is noted that a commit may have been sent.
    pub(super) committing: bool,
}

impl SimulatedPlatform {
    pub(super) fn new(directory: &Path, seed: u64) -> SimulatedPlatform {
        fs::create_dir_all(directory).unwrap();
        let rng = Rng::with_seed(seed ^ 0x1de7);
        let state = State { rng, condition: Condition::default(), cut_off: None, secrets: Vec::new() };
        SimulatedPlatform {
            disk: SimulatedDisk::new(directory),
            directory: directory.to_owned(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The state directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn secrets(&self) -> Vec<String> {
        self.state().secrets.clone()
    }

    pub(super) fn behave(&self, condition: Condition) {
        self.state().condition = condition;
        self.fail();
    }

    pub(super) fn cut_off(&self, cut_off: Option<CutOff>) {
        self.state().cut_off = cut_off;
        self.fail();
    }

    fn fail(&self) {
        let state = self.state();
        self.disk.set(match (state.cut_off, state.condition.is_full) {
            (Some(CutOff { operation, cut, .. }), _) => Fault::Killed(operation, cut),
            (None, true) => Fault::Full(0),
            (None, false) => Fault::Nothing,
        });
    }

    /// Whether the process was cut off.
    pub(super) fn is_dead(&self) -> bool {
        self.disk.is_dead()
    }

    /// Another process begins. How the one before was cut off, if it was.
    pub(super) fn restart(&self) -> Option<CutOff> {
        if !self.is_dead() {
            return None;
        }
        self.disk.restart();
        let cut_off = self.state().cut_off.take();
        self.fail();
        cut_off
    }

    /// Of what wasn't synced a beginning is left.
    pub(super) fn power_cut(&self) {
        self.disk.power_loss(Some(&mut self.state().rng));
        self.reflect();
    }

    /// Somebody removes everything.
    pub(super) fn wipe(&self) {
        self.disk.restart();
        for name in self.disk.tree(&self.directory).into_keys() {
            let path = self.directory.join(name);
            for file in self.disk.list(&path).unwrap() {
                self.disk.remove_file(&path.join(file)).unwrap();
            }
            self.disk.remove_directory(&path).unwrap();
        }
        self.disk.sync_directory(&self.directory).unwrap();
        self.reflect();
        self.fail();
    }

    /// What is in force, and what would be after a loss of power. `None`: nothing.
    pub(super) fn in_force(&self) -> (Option<Identity>, Option<Identity>) {
        let of = |disk: SimulatedDisk| {
            disk.restart();
            let found = Directory::on(&self.directory, Arc::new(disk)).current();
            found.ok().and_then(FoundIdentity::usable)
        };
        let kept = self.disk.copy();
        kept.power_loss(None);
        (of(self.disk.copy()), of(kept))
    }

    /// What would be there after a loss of power.
    pub(super) fn kept(&self) -> Vec<Kept> {
        let disk = self.disk.copy();
        disk.power_loss(None);
        let kept = |(place, files): (String, BTreeMap<String, Vec<u8>>)| {
            let text = |name: &str| files.get(name).and_then(|file| String::from_utf8(file.clone()).ok());
            let key = parse(&Secret::new(text("private.pem.key")?)).ok()?;
            let certificate = certificate_of(&key, &text("certificate.pem.crt")?).ok()?;
            let progress: Option<Progress> =
                text("progress.json").and_then(|progress| serde_json::from_str(&progress).ok());
            Some(Kept { place, certificate, committing: progress.is_some_and(|progress| progress.committing) })
        };
        disk.tree(&self.directory).into_iter().filter_map(kept).collect()
    }

    /// The real directory holds what the disk does.
    fn reflect(&self) {
        let tree = self.disk.tree(&self.directory);
        for entry in fs::read_dir(&self.directory).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() && !tree.contains_key(&*entry.file_name().to_string_lossy()) {
                fs::remove_dir_all(entry.path()).unwrap();
            }
        }
        for (name, files) in tree {
            let path = self.directory.join(name);
            if !path.is_dir() {
                fs::create_dir(&path).unwrap();
                set_mode(&path, 0o700);
            }
            for entry in fs::read_dir(&path).unwrap().map(Result::unwrap) {
                if !files.contains_key(&*entry.file_name().to_string_lossy()) {
                    fs::remove_file(entry.path()).unwrap();
                }
            }
            for (file, contents) in files {
                let path = path.join(file);
                if fs::read(&path).ok().as_ref() != Some(&contents) {
                    fs::write(&path, contents).unwrap();
                    set_mode(&path, 0o600);
                }
            }
        }
    }

    /// Half of what work takes.
    async fn takes_time(&self) {
        while self.state().condition.hangs {
            sleep(Duration::from_secs(1)).await;
        }
        let time = Duration::from_millis(self.state().rng.u64(1..20));
        sleep(time).await;
        if self.is_dead() {
            // It ends in this turn.
            std::future::pending().await
        }
    }

    fn done<T>(&self, what: impl FnOnce(&SimulatedDisk) -> T) -> T {
        let done = what(&self.disk);
        self.reflect();
        done
    }
}

impl Platform for SimulatedPlatform {
    fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    fn begin(&self, _: &str, work: Work) -> Result<(), NoThread> {
        let platform = self.clone();
        spawn_local(async move {
            platform.takes_time().await;
            let tell = work();
            // Done, and not told yet: a process may die in between, or have died at it.
            platform.takes_time().await;
            tell();
        });
        Ok(())
    }

    fn generate(&self, kind: KeyKind) -> Result<Secret<String>, KeyError> {
        let key = identity::generate(kind)?;
        let lines = key.expose().lines().filter(|line| !line.starts_with('-')).map(str::to_owned);
        self.state().secrets.extend(lines);
        Ok(key)
    }

    /// Each has the same length: a run with other keys is the same run.
    fn csr(&self, key: &Signer, common_name: &str) -> Result<String, KeyError> {
        loop {
            let request = identity::csr(key, common_name)?;
            let (_, pem) = x509_parser::pem::parse_x509_pem(request.as_bytes()).unwrap();
            let (_, parsed) = X509CertificationRequest::from_der(&pem.contents).unwrap();
            // Both numbers of the signature have 32 bytes.
            if parsed.signature_value.data.len() == 70 {
                return Ok(request);
            }
        }
    }
}

impl Disk for SimulatedPlatform {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.disk.read(path)
    }

    fn has_directory(&self, path: &Path) -> io::Result<bool> {
        self.disk.has_directory(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.done(|disk| disk.make_directory(path))
    }

    fn write(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        self.done(|disk| disk.write(path, contents))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.done(|disk| disk.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.done(|disk| disk.remove_file(path))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.done(|disk| disk.remove_directory(path))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_directory(path)
    }
}
