//! Where a path really leads, and what kind of file system a directory lies in: of some, permissions don't say that nothing can be
//! made there.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use nix::sys::stat::{major, minor};
use nix::sys::statfs::{FsType, statfs};

/// Those of the kernel, which show what it knows and hold no file of anybody's (`linux/magic.h`).
const OF_THE_KERNEL: [(i64, &str); 14] = [
    (0x9fa0, "the kernel's own /proc"),
    (0x6265_6572, "the kernel's own /sys"),
    (0x27_e0eb, "the kernel's control groups"),
    (0x6367_7270, "the kernel's control groups"),
    (0x6462_6720, "the kernel's debug file system"),
    (0x7472_6163, "the kernel's trace file system"),
    (0x7363_6673, "the kernel's security file system"),
    (0x6265_6570, "the kernel's configuration file system"),
    (0xf97c_ff8c, "the file system of SELinux"),
    (0xcafe_4a11, "the file system of BPF"),
    (0xde5e_81e4, "the file system of the firmware's variables"),
    (0x1980_0202, "the file system of message queues"),
    (0x1cd1, "the file system of terminals"),
    (0x4249_4e4d, "the file system of binary formats"),
];

/// Those of other systems, which have no sockets.
const WITHOUT_SOCKETS: [(i64, &str); 4] = [
    (0x4d44, "a FAT file system"),
    (0x2011_bab0, "an exFAT file system"),
    (0x7366_746e, "an NTFS file system"),
    (0x5346_544e, "an NTFS file system"),
];

/// Those that are memory, and gone with the power.
const IN_MEMORY: [(i64, &str); 2] = [(0x0102_1994, "a tmpfs"), (0x8584_58f6, "a ramfs")];

/// Without `.`, `..` and symbolic links, as far as it is there: two ways of writing one path are equal.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    let (above, mut resolved) = found.unwrap_or((Path::new(""), PathBuf::new()));
    for part in path.strip_prefix(above).unwrap_or(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                resolved.pop();
            }
            part => resolved.push(part),
        }
    }
    resolved
}

/// Whose file system it is, if nobody can make files in `directory`. `None` also where that can't be told.
pub(crate) fn takes_no_files(directory: &Path) -> Option<&'static str> {
    found_in(directory, &OF_THE_KERNEL)
}

/// Likewise for sockets.
pub(crate) fn takes_no_sockets(directory: &Path) -> Option<&'static str> {
    takes_no_files(directory).or_else(|| found_in(directory, &WITHOUT_SOCKETS))
}

/// The file system in which a file at `path` lies or would be made, if that is one in memory.
pub(crate) fn is_in_memory(path: &Path) -> Option<&'static str> {
    let resolved = resolved(path);
    let present = resolved.ancestors().find(|above| above.is_dir())?;
    found_in(present, &IN_MEMORY).or_else(|| {
        let device = fs::metadata(present).ok()?.dev();
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        changes_in_memory(&mounts, device, |upper| {
            // What the first programs of a boot have mounted can't be seen afterwards.
            let is_of_the_boot = ["/upper/", "/overlay/", "/cow/"].iter().any(|place| upper.starts_with(place));
            found_in(upper, &IN_MEMORY).is_some() || (is_of_the_boot && !upper.exists())
        })
    })
}

/// Whether what is changed on the file system of `device` stays in memory, though the file system isn't one of memory: an overlay,
/// as `raspi-config` makes one to spare the card, or a RAM disk. `mounts` is as in proc(5), `is_in_memory` tells it of a directory.
fn changes_in_memory(mounts: &str, device: u64, is_in_memory: impl Fn(&Path) -> bool) -> Option<&'static str> {
    let number = format!("{}:{}", major(device), minor(device));
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&number))?;
    let (_, rest) = mount.split_once(" - ")?;
    let mut fields = rest.split(' ');
    let (kind, source, options) = (fields.next()?, fields.next()?, fields.next()?);
    if ["/dev/zram", "/dev/ram"].iter().any(|disk| source.starts_with(disk)) {
        return Some("a RAM disk");
    }
    let upper = options.split(',').find_map(|option| option.strip_prefix("upperdir="))?;
    (kind == "overlay" && is_in_memory(Path::new(upper))).then_some("an overlay that keeps changes in a tmpfs")
}

fn found_in(directory: &Path, kinds: &[(i64, &'static str)]) -> Option<&'static str> {
    let FsType(magic) = statfs(directory).ok()?.filesystem_type();
    // 32 bits of it count, whose sign is another on 32-bit systems.
    let is_it = |known: i64| magic as u32 == known as u32;
    kinds.iter().find(|(known, _)| is_it(*known)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ways_of_writing_one_path_are_equal() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        fs::create_dir(at("real")).unwrap();
        std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
        let place = fs::canonicalize(at("real")).unwrap();
        assert_eq!(resolved(&at("link/x.sock")), place.join("x.sock"));
        assert_eq!(resolved(&at("link/none/x.sock")), place.join("none/x.sock"));
        assert_eq!(resolved(&at("./link/../link/x")), place.join("x"));
        assert_eq!(resolved(Path::new("/nowhere/./a/../b")), Path::new("/nowhere/b"));
    }

    #[test]
    fn the_kernels_own_file_systems_are_known() {
        for (directory, name) in [
            ("/proc", "the kernel's own /proc"),
            ("/proc/self", "the kernel's own /proc"),
            ("/sys", "the kernel's own /sys"),
        ] {
            assert_eq!(takes_no_files(Path::new(directory)), Some(name), "{directory}");
            assert_eq!(takes_no_sockets(Path::new(directory)), Some(name), "{directory}");
        }
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(takes_no_sockets(directory.path()), None);
        assert_eq!(takes_no_files(&directory.path().join("none")), None);
    }

    #[test]
    fn an_overlay_or_a_ram_disk_is_known_by_where_its_changes_go() {
        let mounts = "22 1 0:21 / / rw,relatime - overlay overlayroot rw,lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work\n\
            23 22 179:1 / /boot rw - vfat /dev/mmcblk0p1 rw\n24 22 252:0 / /var/lib rw - ext4 /dev/zram0 rw\n";
        let found = |device, in_memory: bool| {
            changes_in_memory(mounts, device, |upper| {
                assert_eq!(upper, Path::new("/upper/data"));
                in_memory
            })
        };
        let device = |major, minor| nix::sys::stat::makedev(major, minor);
        assert_eq!(found(device(0, 21), true), Some("an overlay that keeps changes in a tmpfs"));
        assert_eq!(found(device(0, 21), false), None);
        assert_eq!(found(device(252, 0), true), Some("a RAM disk"));
        assert_eq!(found(device(179, 1), true), None);
        assert_eq!(found(device(8, 1), true), None);
    }
}
