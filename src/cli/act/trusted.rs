//! Whether root alone decides what a file holds: what anybody else can change is nothing that root should obey.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use nix::unistd::geteuid;

use crate::actions::{Action, Word};
use crate::owner;

/// The most symbolic links on one way (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// Whether `path`, an absolute one, and every directory and link on the way to it belong to root, or to the user of this process, and can
/// be changed by nobody else. Otherwise what is wrong, and what to do.
pub(super) fn check(path: &Path) -> Result<(), String> {
    walk(path, geteuid().as_raw())
}

/// Likewise to root alone, whoever looks.
pub(in crate::cli) fn by_root(path: &Path) -> Result<(), String> {
    walk(path, 0)
}

/// The files that decide what root runs: the program, what runs that if it is a script, and the script that is handed to such a one.
/// Those that there are.
pub(in crate::cli) fn run_by_root(action: &Action) -> Vec<PathBuf> {
    let program = PathBuf::from(&action.run.program);
    let script = action.run.words.iter().find_map(|word| match word {
        Word::Text(text) if text.starts_with('/') && Path::new(text).is_file() => Some(PathBuf::from(text)),
        _ => None,
    });
    let script = script.filter(|_| action.run.runs_what_it_is_given());
    let interpreters: Vec<PathBuf> =
        [Some(&program), script.as_ref()].into_iter().flatten().filter_map(|file| interpreter(file)).collect();
    let files = [Some(program), script].into_iter().flatten().chain(interpreters);
    files.filter(|file| file.is_file()).collect()
}

/// What the first line of a script names, if it can be read: the kernel looks at so much of it (`BINPRM_BUF_SIZE`).
fn interpreter(script: &Path) -> Option<PathBuf> {
    let mut begin = Vec::new();
    fs::File::open(script).ok()?.take(256).read_to_end(&mut begin).ok()?;
    let line = begin.strip_prefix(b"#!")?.split(|byte| matches!(byte, b'\n' | b'\r')).next()?;
    let name = line.trim_ascii().split(|byte| matches!(byte, b' ' | b'\t')).next()?;
    Some(PathBuf::from(OsStr::from_bytes(name))).filter(|path| path.is_absolute())
}

/// `user` is as good as root.
fn walk(path: &Path, user: u32) -> Result<(), String> {
    let mut links = 0;
    let mut at = PathBuf::from("/");
    check_one(&at, path, user)?;
    // The next is the last.
    let mut rest: Vec<PathBuf> = parts(path);
    while let Some(part) = rest.pop() {
        if part == Path::new("..") {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let metadata = check_one(&next, path, user)?;
        if !metadata.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(format!("{} has too many symbolic links on the way to it", path.display()));
        }
        let target = fs::read_link(&next).map_err(|error| unseen(&next, &error))?;
        if target.is_absolute() {
            at = "/".into();
        }
        rest.extend(parts(&target));
    }
    Ok(())
}

/// Those that are names or `..`, the first one last.
fn parts(path: &Path) -> Vec<PathBuf> {
    let is_step = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(is_step).rev().map(|part| part.as_os_str().into()).collect()
}

fn unseen(path: &Path, error: &std::io::Error) -> String {
    format!("{} can't be looked at: {error}", path.display())
}

/// One step on the way to `file`.
fn check_one(step: &Path, file: &Path, user: u32) -> Result<Metadata, String> {
    let metadata = fs::symlink_metadata(step).map_err(|error| unseen(step, &error))?;
    let what = match (step == file, metadata.is_dir()) {
        (true, _) => step.display().to_string(),
        (false, true) => format!("the directory {} on the way to {}", step.display(), file.display()),
        (false, false) => format!("{} on the way to {}", step.display(), file.display()),
    };
    let shown = owner::quoted(step);
    if metadata.uid() != 0 && metadata.uid() != user {
        let owner = owner::name_of(metadata.uid());
        // What gatewire alone could read so far, it still can.
        let mend = match metadata.is_file() && metadata.mode() & 0o044 == 0 {
            true => format!("sudo chown root:{owner} {shown} && sudo chmod 0640 {shown}"),
            false => format!("sudo chown -h root {shown}"),
        };
        return Err(format!(
            "{what} belongs to {owner}, and root obeys only what root alone can change; `{mend}` makes it root's"
        ));
    }
    let mode = metadata.mode();
    // A link has no mode. In a sticky directory everybody can replace only what is their own.
    let is_exempt = metadata.is_symlink() || (metadata.is_dir() && mode & 0o1000 != 0);
    // The members of root's group are as good as root.
    let others = mode & 0o002 != 0 || (mode & 0o020 != 0 && metadata.gid() != 0);
    match others && !is_exempt {
        true => Err(format!(
            "{what} can be changed by others than root (mode {:04o}), and root obeys only what root alone can change; \
             `sudo chmod go-w {shown}` prevents that",
            mode & 0o7777
        )),
        false => Ok(metadata),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_is_roots_only_if_the_whole_way_to_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let place = fs::canonicalize(directory.path()).unwrap().join("it's");
        fs::create_dir(&place).unwrap();
        let file = place.join("file");
        fs::write(&file, "x").unwrap();
        set(&place, 0o755);
        set(&file, 0o644);
        assert_eq!(check(&file), Ok(()));
        assert!(check(&place.join("none")).unwrap_err().contains("can't be looked at"));
        set(&file, 0o646);
        let error = check(&file).unwrap_err();
        assert!(error.starts_with(&format!("{} can be changed by others", file.display())), "{error}");
        set(&file, 0o600);
        for mode in [0o757, 0o777] {
            set(&place, mode);
            let error = check(&file).unwrap_err();
            assert!(error.starts_with(&format!("the directory {} on the way to", place.display())), "{error}");
        }
        set(&place, 0o1777);
        assert_eq!(check(&file), Ok(()));
        // The other directory may be changed: so a link from it, or through it, counts as little.
        let open = directory.path().join("open");
        fs::create_dir(&open).unwrap();
        symlink(&file, open.join("link")).unwrap();
        symlink(open.join("link"), place.join("link")).unwrap();
        symlink("../open/link", place.join("relative")).unwrap();
        set(&open, 0o755);
        for link in ["link", "relative"] {
            assert_eq!(check(&place.join(link)), Ok(()), "{link}");
        }
        set(&open, 0o777);
        for link in [open.join("link"), place.join("link"), place.join("relative")] {
            assert!(check(&link).unwrap_err().contains("can be changed by others"), "{link:?}");
        }
        symlink("round", place.join("round")).unwrap();
        assert!(check(&place.join("round")).unwrap_err().contains("too many symbolic links"));
    }

    #[test]
    fn what_runs_a_script_is_what_its_first_line_names() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("script");
        for (text, expected) in [
            ("#!/usr/bin/python3\nx", Some("/usr/bin/python3")),
            ("#! /usr/bin/env -S python3 -u\n", Some("/usr/bin/env")),
            ("#!\t/bin/sh\r\n", Some("/bin/sh")),
            ("#!/bin/sh", Some("/bin/sh")),
            ("#!sh\n", None),
            ("\u{7f}ELF", None),
            ("", None),
        ] {
            fs::write(&script, text).unwrap();
            assert_eq!(interpreter(&script).as_deref(), expected.map(Path::new), "{text:?}");
        }
    }

    #[test]
    fn what_belongs_to_another_isnt_roots() {
        if !geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a b");
        fs::write(&file, "x").unwrap();
        chown(&file, Some(12_345), Some(12_345)).unwrap();
        set(&file, 0o600);
        let error = check(&file).unwrap_err();
        assert!(error.contains("belongs to 12345") && error.contains("`sudo chown root:12345 "), "{error}");
        set(&file, 0o644);
        assert!(check(&file).unwrap_err().contains("`sudo chown -h root '"));
        chown(&file, Some(0), Some(12_345)).unwrap();
        set(&file, 0o640);
        assert_eq!(check(&file), Ok(()));
        set(&file, 0o660);
        assert!(check(&file).unwrap_err().contains("chmod go-w"));
        chown(&file, Some(0), Some(0)).unwrap();
        assert_eq!(check(&file), Ok(()), "root's own group");
        // A link of somebody in a sticky directory, to a file of root's.
        let link = directory.path().join("link");
        symlink(&file, &link).unwrap();
        lchown(&link, Some(12_345), None).unwrap();
        assert!(check(&link).unwrap_err().contains("belongs to 12345"));
    }
}
