//! `--output FILE`: metrics for the node exporter, which never reads half of them.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::super::Exit;
use super::super::output::Failure;
use crate::owner;

/// Who reads it is another user.
const MODE: u32 = 0o644;

/// Puts `text` into the file at `path`: all of it at once, or nothing. A link stays, and what it points to is replaced.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let put = || -> io::Result<()> {
        let path = place(path)?;
        let new = beside(&path)?;
        let written = fill(&new, text).and_then(|()| fs::rename(&new, &path));
        if written.is_err() {
            // It is ours: nobody else knows its name. If it can't be removed, what was tried first is what counts.
            let _ = fs::remove_file(&new);
        }
        written
    };
    put().map_err(|error| Failure::new(explain(path, &error), Exit::Internal))
}

/// Where the file is to lie. What isn't a regular file isn't replaced: a device, say.
fn place(path: &Path) -> io::Result<PathBuf> {
    let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    let place = match (is_link, fs::canonicalize(path)) {
        (true, Ok(target)) => target,
        // It points to what isn't there yet.
        (true, Err(error)) if error.kind() == ErrorKind::NotFound => {
            let target = fs::read_link(path)?;
            path.parent().unwrap_or(Path::new("")).join(target)
        }
        (true, Err(error)) => return Err(error),
        (false, _) => path.to_owned(),
    };
    match fs::symlink_metadata(&place) {
        Ok(found) if !found.is_file() => Err(io::Error::from(ErrorKind::IsADirectory)),
        _ => Ok(place),
    }
}

/// A name beside it that nobody has, and that the exporter doesn't read.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::IsADirectory)?;
    let mut new = OsString::from(".");
    new.push(name);
    new.push(format!(".{:x}.new", fastrand::u64(..)));
    Ok(path.with_file_name(new))
}

fn fill(new: &Path, text: &str) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    file.write_all(text.as_bytes())?;
    // Whatever the umask says.
    file.set_permissions(Permissions::from_mode(MODE))
}

fn explain(path: &Path, error: &io::Error) -> String {
    let shown = path.display();
    // What a link points to is what can't be written, and its directory what may not be there.
    let pointed = fs::read_link(path).ok().map(|target| path.parent().unwrap_or(Path::new("")).join(target));
    let path = pointed.as_deref().unwrap_or(path);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = owner::quoted(directory);
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            format!("{shown} can't be written: there is no directory {directory}. Create it, or correct the path")
        }
        ErrorKind::PermissionDenied => format!(
            "{shown} can't be written: the user {} may not create files in {directory} (`ls -ld {directory}` shows who may)",
            owner::own_name()
        ),
        ErrorKind::IsADirectory => {
            format!("{shown} can't be written: what is there isn't a file. Name a file, such as one that ends in .prom")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            format!(
                "{shown} can't be written: {error}. Make room in {directory} (`df -h {directory}`); what was there before stays"
            )
        }
        ErrorKind::ReadOnlyFilesystem => {
            format!(
                "{shown} can't be written: {error}. In a unit, ReadWritePaths= with the whole path of {directory} allows it; elsewhere \
                 see `dmesg`: a failing card is made read-only"
            )
        }
        _ if error.raw_os_error() == Some(nix::libc::ELOOP) => {
            format!("{shown} can't be written: its links lead in a circle")
        }
        _ => format!("{shown} can't be written: {error}; see `dmesg` for errors of the disk"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_file_is_replaced_as_a_whole_and_readable_by_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gatewire.prom");
        for text in ["gatewire_up 1\n", "gatewire_up 0\n"] {
            write(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
        }
        // Who has the old one open reads that to its end.
        assert_eq!(names(directory.path()), ["gatewire.prom"]);
    }

    #[test]
    fn a_link_stays_and_what_it_points_to_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let (link, target) = (directory.path().join("a.prom"), directory.path().join("b"));
        symlink("b", &link).unwrap();
        for text in ["1\n", "2\n"] {
            write(&link, text).unwrap();
            assert!(link.is_symlink());
            assert_eq!(fs::read_to_string(&target).unwrap(), text);
        }
    }

    #[test]
    fn what_cannot_be_written_is_told_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("directory")).unwrap();
        symlink("/dev/null", at("device")).unwrap();
        symlink("nowhere/x", at("dangling")).unwrap();
        fs::write(at("file"), "").unwrap();
        for (name, said) in [
            ("none/gatewire.prom", "there is no directory"),
            ("file/gatewire.prom", "there is no directory"),
            ("directory", "isn't a file"),
            ("device", "isn't a file"),
            ("dangling", "nowhere"),
        ] {
            let failure = write(&at(name), "x").unwrap_err().into_lines();
            assert!(failure[0].contains(said) && failure[0].contains(name), "{failure:?}");
        }
        assert_eq!(names(directory.path()), ["dangling", "device", "directory", "file"]);
        assert_eq!(names(&at("directory")), [""; 0]);
    }
    #[test]
    fn the_journal_has_why_the_unit_wrote_no_metrics() {
        let unit = include_str!("../../../packaging/systemd/gatewire-textfile.service");
        let level = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("info");
        // What a program says has the level info unless the unit says another.
        assert_eq!(level("SyslogLevel="), level("LogLevelMax="));
        assert!(unit.contains("\nLogRateLimitBurst="), "that isn't told every 15 s");
    }
}
