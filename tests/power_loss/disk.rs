//! What may be left on a disk when its power goes: a model of files, of their names, and of what of both is synced.
//!
//! It is more pessimistic than any file system that Linux has. What was written to a file since its last sync is there or
//! isn't, each 512-byte sector by itself and whatever is there of the rest, of this file or of others. A name that was made or
//! removed since the directory's last sync is there or isn't, though its file be synced (ext4 would have it). Where the
//! length of a file has reached the disk and its content hasn't, there are zeros, or whatever was there before. Only two
//! things are ruled out, as no layer of Linux does them: an old content of a sector that comes back over a newer one that
//! was read or synced in between, and damage beside what was written.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

/// What the card writes whole or not at all.
const SECTOR: usize = 512;

/// The content of all files by their names.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

#[derive(Debug, Clone)]
pub(crate) enum Change {
    Create,
    Write {
        at: usize,
        data: Vec<u8>,
    },
    Truncate {
        length: usize,
    },
    Unlink,
    /// Of the directory if the name is empty.
    Sync,
}

/// Which of what isn't synced is there after the loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survival {
    Nothing,
    Everything,
    /// All up to a moment, of which the last is torn.
    Prefix,
    /// All but one.
    AllButOne,
    /// One half, some of it torn.
    Half,
}

impl Survival {
    pub(crate) const ALL: [Survival; 5] =
        [Survival::Nothing, Survival::Everything, Survival::Prefix, Survival::AllButOne, Survival::Half];
}

/// How much of one change is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    None,
    Torn,
    Whole,
}

#[derive(Debug, Default)]
struct Inode {
    synced: Vec<u8>,
    current: Vec<u8>,
    /// Not synced, with its place in the order of all changes.
    pending: Vec<(u64, Change)>,
}

/// A name that was made or removed (`None`) and isn't synced.
#[derive(Debug)]
struct Entry {
    order: u64,
    name: String,
    inode: Option<usize>,
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    pending_names: Vec<Entry>,
    changes: u64,
}

impl Disk {
    /// Something is done to the file `name`, or to the directory.
    pub(crate) fn apply(&mut self, name: &str, change: &Change) {
        self.changes += 1;
        let order = self.changes;
        match change {
            Change::Create => {
                let inode = self.inodes.len();
                self.inodes.push(Inode::default());
                self.names.insert(name.to_owned(), inode);
                self.pending_names.push(Entry { order, name: name.to_owned(), inode: Some(inode) });
            }
            Change::Unlink => {
                assert!(self.names.remove(name).is_some(), "{name} is removed, and wasn't there");
                self.pending_names.push(Entry { order, name: name.to_owned(), inode: None });
            }
            Change::Sync if name.is_empty() => {
                self.synced_names.clone_from(&self.names);
                self.pending_names.clear();
            }
            Change::Sync => self.inode(name).sync(),
            Change::Write { .. } | Change::Truncate { .. } => {
                let inode = self.inode(name);
                apply(&mut inode.current, change, None, &mut |_| {});
                inode.pending.push((order, change.clone()));
            }
        }
    }

    fn inode(&mut self, name: &str) -> &mut Inode {
        let inode = *self.names.get(name).unwrap_or_else(|| panic!("{name} is changed, and isn't there"));
        &mut self.inodes[inode]
    }

    /// What a reader sees as long as the power is there.
    pub(crate) fn current(&self) -> Files {
        self.names.iter().map(|(name, inode)| (name.clone(), self.inodes[*inode].current.clone())).collect()
    }

    /// Whether all is synced, so that there is only one thing that can be left.
    pub(crate) fn is_synced(&self) -> bool {
        self.pending_names.is_empty() && self.names.values().all(|inode| self.inodes[*inode].pending.is_empty())
    }

    /// What is left if the power goes now.
    pub(crate) fn after_power_loss(&self, survival: Survival, rng: &mut Rng) -> Files {
        let extents = self.extents(survival, rng);
        let mut names = self.synced_names.clone();
        for entry in &self.pending_names {
            match entry.inode {
                // A name is in one sector.
                _ if extents[&entry.order] != Extent::Whole => {}
                Some(inode) => drop(names.insert(entry.name.clone(), inode)),
                None => drop(names.remove(&entry.name)),
            }
        }
        let (is_stale, mut tear) = (rng.bool(), rng.fork());
        let left = names.into_iter().map(|(name, inode)| {
            let inode = &self.inodes[inode];
            let mut content = inode.synced.clone();
            for (order, change) in &inode.pending {
                let mut fill = |gap: &mut [u8]| {
                    if is_stale {
                        rng.fill(gap)
                    }
                };
                match extents[order] {
                    Extent::None => {}
                    Extent::Whole => apply(&mut content, change, None, &mut fill),
                    Extent::Torn => apply(&mut content, change, Some(&mut tear), &mut fill),
                }
            }
            (name, content)
        });
        left.collect()
    }

    /// How much of each change that isn't synced is there.
    fn extents(&self, survival: Survival, rng: &mut Rng) -> BTreeMap<u64, Extent> {
        let of_files = self.inodes.iter().flat_map(|inode| inode.pending.iter().map(|(order, _)| *order));
        let orders: BTreeSet<u64> = of_files.chain(self.pending_names.iter().map(|entry| entry.order)).collect();
        let chosen = rng.usize(0..orders.len().max(1));
        let extents = orders.into_iter().enumerate().map(|(i, order)| {
            let extent = match survival {
                Survival::Nothing => Extent::None,
                Survival::Everything => Extent::Whole,
                Survival::Prefix if i == chosen => Extent::Torn,
                Survival::Prefix => [Extent::None, Extent::Whole][usize::from(i < chosen)],
                Survival::AllButOne => [Extent::Whole, Extent::None][usize::from(i == chosen)],
                Survival::Half => [Extent::None, Extent::None, Extent::Torn, Extent::Whole][rng.usize(0..4)],
            };
            (order, extent)
        });
        extents.collect()
    }
}

impl Inode {
    fn sync(&mut self) {
        for (_, change) in self.pending.drain(..) {
            apply(&mut self.synced, &change, None, &mut |_| {});
        }
    }
}

/// Applies a change to a content; with `torn`, only some of its sectors. `fill` makes what is between the old end and the
/// beginning of what is written.
fn apply(content: &mut Vec<u8>, change: &Change, mut torn: Option<&mut Rng>, fill: &mut dyn FnMut(&mut [u8])) {
    match change {
        Change::Truncate { length } => content.resize(*length, 0),
        Change::Write { at, data } => {
            let old = content.len();
            if old < at + data.len() {
                content.resize(at + data.len(), 0);
                fill(&mut content[old..]);
            }
            let mut from = 0;
            while from < data.len() {
                let to = data.len().min((at + from) / SECTOR * SECTOR + SECTOR - at);
                if torn.as_deref_mut().is_none_or(Rng::bool) {
                    content[at + from..at + to].copy_from_slice(&data[from..to]);
                }
                from = to;
            }
        }
        Change::Create | Change::Unlink | Change::Sync => unreachable!("not a change of a content"),
    }
}
