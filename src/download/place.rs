//! Where downloaded files are: one file an execution and step, which goes away with the execution.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::fchown;

use super::digest::Summing;
use crate::owner;

/// In the state directory.
pub(crate) const DIRECTORY: &str = "downloads";

/// Files and directory are for gatewire alone, whatever the umask.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// What isn't ours is neither followed nor waited for.
const FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;

/// How much of an execution's name is in that of its files, for people.
const MAX_NAME: usize = 64;

/// How many hexadecimal digits of its sum follow, by which executions are told apart.
const SUM_DIGITS: usize = 16;

/// What is known of a file that isn't whole is beside it.
const NOTE: &str = ".note";

/// Where a file is downloaded to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    directory: PathBuf,
    name: String,
}

impl Place {
    /// For a step, counted from 0, of `execution`, which may be any text.
    pub(super) fn new(directory: &Path, execution: &str, step: usize) -> Place {
        Place { directory: directory.to_owned(), name: format!("{}-{step}", stem(execution)) }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn file(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    pub(super) fn note(&self) -> PathBuf {
        self.directory.join(format!("{}{NOTE}", self.name))
    }

    /// Removes both files, as far as they are there.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove(&self.note()).and(remove(&self.file()))
    }
}

fn stem(execution: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = execution.chars().take(MAX_NAME).map(plain).collect();
    let mut sum = Summing::new();
    sum.add(execution.as_bytes());
    let sum = sum.sum().to_string();
    format!("{name}-{}", &sum[..SUM_DIGITS])
}

/// The part of a file's name that is its execution's; `None`: it isn't one of ours.
fn stem_of(name: &str) -> Option<&str> {
    let (stem, step) = name.strip_suffix(NOTE).unwrap_or(name).rsplit_once('-')?;
    let (_, sum) = stem.rsplit_once('-')?;
    let is_step = !step.is_empty() && step.bytes().all(|digit| digit.is_ascii_digit());
    let is_sum = sum.len() == SUM_DIGITS && sum.bytes().all(|digit| digit.is_ascii_hexdigit());
    (is_step && is_sum).then_some(stem)
}

/// Removes what was downloaded, but for what belongs to the execution `keep`: at the start, and when an execution is over. What has
/// another name than gatewire's files stays. May block.
///
/// # Errors
/// The system's, for the first file that couldn't be removed; the others are.
pub(crate) fn clean(directory: &Path, keep: Option<&str>) -> io::Result<()> {
    let keep = keep.map(stem);
    let mut outcome = Ok(());
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().and_then(stem_of).is_some_and(|stem| Some(stem) != keep.as_deref()) {
            outcome = outcome.and(remove(&entry.path()));
        }
    }
    outcome
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the directory, if there is none.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made?,
    }
    let opened = File::options().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(directory)?;
    if opened.metadata()?.permissions().mode() & 0o777 != DIRECTORY_MODE {
        opened.set_permissions(fs::Permissions::from_mode(DIRECTORY_MODE))?;
    }
    inherit(&opened, directory.parent().unwrap_or(Path::new("/")))
}

/// Opens a file for reading and writing, which is made if there is none. What is there and isn't a file makes room for one.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).mode(FILE_MODE).custom_flags(FLAGS);
    match options.open(path) {
        Ok(file) if file.metadata()?.is_file() => {
            file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
            return Ok(file);
        }
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        // A symbolic link or a socket.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => fs::remove_file(path)?,
        Err(error) => return Err(error),
    }
    let file = options.create_new(true).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
    inherit(&file, path.parent().unwrap_or(Path::new("/")))?;
    Ok(file)
}

/// What root makes in another's directory is that one's.
fn inherit(file: &File, directory: &Path) -> io::Result<()> {
    match owner::heir(directory)? {
        Some((uid, gid)) => Ok(fchown(file, Some(uid), Some(gid))?),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_name_is_the_executions_whatever_that_is() {
        let name = |execution: &str, step| Place::new(Path::new("/d"), execution, step).file();
        assert_eq!(name("update-model:3", 0), Path::new("/d/update-model-3-d76a7126af413dfa-0"));
        assert_ne!(name("update-model-3", 0), name("update-model:3", 0));
        assert_ne!(name("a:1", 1), name("a:1", 2));
    }

    #[test]
    fn what_is_left_of_other_executions_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let ours = |execution: &str, step| Place::new(directory, execution, step);
        let files = || {
            let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
            let mut names: Vec<PathBuf> = names.collect();
            names.sort();
            names
        };
        let kept = ours("job:1", 12);
        let foreign = ["notes.txt", "lost+found", "a-0", "a-0123456789abcdef-x", "a-0123456789abcde-0"];
        let foreign = foreign.map(|name| directory.join(name));
        fs::create_dir(&foreign[1]).unwrap();
        for path in foreign.iter().filter(|path| !path.exists()) {
            fs::write(path, "").unwrap();
        }
        for place in [&kept, &ours("job:2", 0), &ours("job:1:1", 0), &ours("", 0)] {
            open(&place.file()).unwrap();
            open(&place.note()).unwrap();
        }
        clean(directory, Some("job:1")).unwrap();
        let mut expected = foreign.to_vec();
        expected.extend([kept.file(), kept.note()]);
        expected.sort();
        assert_eq!(files(), expected);
        kept.remove().unwrap();
        kept.remove().unwrap();
        open(&kept.file()).unwrap();
        clean(directory, None).unwrap();
        assert_eq!(files().len(), foreign.len());
        clean(&directory.join("none"), None).unwrap();
    }

    #[test]
    fn files_and_directory_are_ours_alone_and_nothing_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let downloads = directory.path().join(DIRECTORY);
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
        make_directory(&downloads).unwrap();
        fs::set_permissions(&downloads, fs::Permissions::from_mode(0o755)).unwrap();
        make_directory(&downloads).unwrap();
        assert_eq!(mode(&downloads), 0o700);
        let (file, elsewhere) = (downloads.join("file"), directory.path().join("elsewhere"));
        fs::write(&elsewhere, "precious").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
        open(&file).unwrap();
        assert!(file.symlink_metadata().unwrap().is_file() && fs::read(&elsewhere).unwrap() == b"precious");
        fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        open(&file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        open(&file).unwrap();
        assert_eq!(mode(&file), 0o600);

        fs::rename(&downloads, directory.path().join("moved")).unwrap();
        std::os::unix::fs::symlink(directory.path().join("moved"), &downloads).unwrap();
        assert!(make_directory(&downloads).is_err());
    }

    proptest! {
        #[test]
        fn no_execution_leads_out_of_the_directory(execution in "\\PC{0,100}|[./:]{0,10}", step in 0usize..30) {
            let place = Place::new(Path::new("/d"), &execution, step);
            for path in [place.file(), place.note()] {
                let name = path.file_name().unwrap().to_str().unwrap();
                prop_assert_eq!(path.parent(), Some(Path::new("/d")));
                prop_assert!(name.len() < 120 && name.is_ascii());
                prop_assert_eq!(stem_of(name).map(str::to_owned), Some(stem(&execution)));
            }
        }
    }
}
