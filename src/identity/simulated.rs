//! A disk that isn't there: full, or cut off in the middle of anything. After a loss of power it has of each directory what was
//! synced, and of what was done in it since then a beginning.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;

use super::disk::Disk;

/// How the one operation is done after which nothing more is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Before,
    /// As far as there is a middle.
    Middle,
    After,
}

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// The process is killed at this operation, counted from 0.
    Killed(usize, Cut),
    /// From this operation on there is no room.
    Full(usize),
}

#[derive(Debug, Clone)]
enum Change {
    Link(String, usize),
    Unlink(String),
    Rename(String, String),
}

#[derive(Debug, Clone)]
enum Inode {
    File(Vec<u8>),
    Directory { synced: BTreeMap<String, usize>, since: Vec<Change> },
}

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    fault: Fault,
    /// Since the fault was set.
    operations: usize,
    is_dead: bool,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedDisk(Arc<Mutex<State>>);

fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Link(name, inode) => drop(names.insert(name.clone(), *inode)),
        Change::Unlink(name) => drop(names.remove(name)),
        Change::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
    }
}

impl State {
    fn names(&self, directory: usize) -> BTreeMap<String, usize> {
        let Inode::Directory { synced, since } = &self.inodes[directory] else { return BTreeMap::new() };
        let mut names = synced.clone();
        since.iter().for_each(|change| apply(&mut names, change));
        names
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        path.components().filter(|part| !matches!(part, Component::RootDir)).try_fold(0, |inode, part| {
            let name = part.as_os_str().to_str().unwrap();
            self.names(inode).get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
        })
    }

    /// The directory around it, and its name.
    fn place(&self, path: &Path) -> io::Result<(usize, String)> {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        Ok((self.find(path.parent().unwrap())?, name))
    }

    fn change(&mut self, directory: usize, change: Change) {
        match &mut self.inodes[directory] {
            Inode::Directory { since, .. } => since.push(change),
            Inode::File(_) => panic!("a file has no names"),
        }
    }

    fn add(&mut self, directory: usize, name: String, inode: Inode) {
        self.inodes.push(inode);
        self.change(directory, Change::Link(name, self.inodes.len() - 1));
    }

    fn is_empty_directory(&self, inode: usize) -> bool {
        matches!(self.inodes[inode], Inode::Directory { .. }) && self.names(inode).is_empty()
    }

    /// Counts an operation. Whether it is done, or only in part, and whether it is the last.
    fn begin(&mut self, grows: bool) -> io::Result<Option<Cut>> {
        if self.is_dead {
            return Err(io::Error::other("killed"));
        }
        let operation = self.operations;
        self.operations += 1;
        match self.fault {
            Fault::Killed(at, cut) if at == operation => {
                self.is_dead = true;
                if cut == Cut::Before { Err(io::Error::other("killed")) } else { Ok(Some(cut)) }
            }
            Fault::Full(from) if operation >= from && grows => Ok(Some(Cut::Middle)),
            _ => Ok(None),
        }
    }

    /// An operation without a middle.
    fn whole(&mut self, grows: bool) -> io::Result<()> {
        match self.begin(grows)? {
            Some(Cut::Before | Cut::Middle) => Err(ErrorKind::StorageFull.into()),
            Some(Cut::After) | None => Ok(()),
        }
    }

    fn done<T>(&self, value: T) -> io::Result<T> {
        if self.is_dead { Err(io::Error::other("killed")) } else { Ok(value) }
    }
}

impl SimulatedDisk {
    /// With this directory on it.
    pub(crate) fn new(directory: &Path) -> SimulatedDisk {
        let empty = || Inode::Directory { synced: BTreeMap::new(), since: Vec::new() };
        let mut state = State { inodes: vec![empty()], fault: Fault::Nothing, operations: 0, is_dead: false };
        let mut around = 0;
        for part in directory.components().filter(|part| !matches!(part, Component::RootDir)) {
            state.inodes.push(empty());
            let made = state.inodes.len() - 1;
            let Inode::Directory { synced, .. } = &mut state.inodes[around] else { unreachable!() };
            synced.insert(part.as_os_str().to_str().unwrap().to_owned(), made);
            around = made;
        }
        SimulatedDisk(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Something else fails from now on.
    pub(crate) fn set(&self, fault: Fault) {
        let mut state = self.state();
        (state.fault, state.operations) = (fault, 0);
    }

    /// Whether the process was killed.
    pub(crate) fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// Another process, which nothing has happened to.
    pub(crate) fn restart(&self) {
        self.state().is_dead = false;
        self.set(Fault::Nothing);
    }

    /// The power is gone and back. Without a generator nothing is left of what wasn't synced.
    pub(crate) fn power_loss(&self, mut rng: Option<&mut Rng>) {
        for inode in &mut self.state().inodes {
            if let Inode::Directory { synced, since } = inode {
                let kept = rng.as_mut().map_or(0, |rng| rng.usize(..=since.len()));
                since.drain(..).take(kept).for_each(|change| apply(synced, &change));
            }
        }
    }

    /// The directories in this one, each with its files: as other processes see them, whatever has become of the one that made them.
    pub(crate) fn tree(&self, directory: &Path) -> BTreeMap<String, BTreeMap<String, Vec<u8>>> {
        let state = self.state();
        let names = state.find(directory).map(|inode| state.names(inode)).unwrap_or_default();
        let files = |directory: usize| {
            let named = state.names(directory).into_iter();
            let contents = |inode: usize| match &state.inodes[inode] {
                Inode::File(contents) => Some(contents.clone()),
                Inode::Directory { .. } => None,
            };
            named.filter_map(|(name, inode)| Some((name, contents(inode)?))).collect()
        };
        names.into_iter().map(|(name, inode)| (name, files(inode))).collect()
    }

    /// Another disk with what this one holds.
    pub(crate) fn copy(&self) -> SimulatedDisk {
        let state = self.state();
        let State { inodes, fault, operations, is_dead } = &*state;
        let state = State { inodes: inodes.clone(), fault: *fault, operations: *operations, is_dead: *is_dead };
        SimulatedDisk(Arc::new(Mutex::new(state)))
    }
}

impl Disk for SimulatedDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state();
        state.done(())?;
        match &state.inodes[state.find(path)?] {
            Inode::File(contents) => Ok(contents.clone()),
            Inode::Directory { .. } => Err(ErrorKind::IsADirectory.into()),
        }
    }

    fn has_directory(&self, path: &Path) -> io::Result<bool> {
        let state = self.state();
        state.done(())?;
        match state.find(path) {
            Ok(inode) => match &state.inodes[inode] {
                Inode::Directory { .. } => Ok(true),
                Inode::File(_) => Err(ErrorKind::NotADirectory.into()),
            },
            Err(_) => Ok(false),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.done(())?;
        Ok(state.names(state.find(path)?).into_keys().collect())
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.whole(true)?;
        let (around, name) = state.place(path)?;
        if state.names(around).contains_key(&name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.add(around, name, Inode::Directory { synced: BTreeMap::new(), since: Vec::new() });
        state.done(())
    }

    fn write(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let cut = state.begin(true)?;
        let (around, name) = state.place(path)?;
        if state.names(around).contains_key(&name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let is_part = cut == Some(Cut::Middle);
        let written = if is_part { &contents[..contents.len() / 2] } else { contents };
        state.add(around, name, Inode::File(written.to_vec()));
        if is_part { Err(ErrorKind::StorageFull.into()) } else { state.done(()) }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.whole(true)?;
        let ((around, from), (other, to)) = (state.place(from)?, state.place(to)?);
        assert_eq!(around, other, "what is moved between directories isn't synced by one of them");
        let names = state.names(around);
        let moved = *names.get(&from).ok_or(ErrorKind::NotFound)?;
        let is_directory = matches!(state.inodes[moved], Inode::Directory { .. });
        if names.get(&to).is_some_and(|there| is_directory && !state.is_empty_directory(*there)) {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        state.change(around, Change::Rename(from, to));
        state.done(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.whole(false)?;
        let inode = state.find(path)?;
        assert!(matches!(state.inodes[inode], Inode::File(_)));
        let (around, name) = state.place(path)?;
        state.change(around, Change::Unlink(name));
        state.done(())
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.whole(false)?;
        let inode = state.find(path)?;
        if !state.is_empty_directory(inode) {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let (around, name) = state.place(path)?;
        state.change(around, Change::Unlink(name));
        state.done(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.whole(false)?;
        let inode = state.find(path)?;
        let names = state.names(inode);
        if let Inode::Directory { synced, since } = &mut state.inodes[inode] {
            *synced = names;
            since.clear();
        }
        state.done(())
    }
}
