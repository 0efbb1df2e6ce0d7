//! The programs of `publish.command` and `action.run`: whether they are there and can be run.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::owner::quoted;

/// So much of a file as the kernel reads to find out how it is run.
fn start(file: &Path) -> Option<Vec<u8>> {
    const LONGEST: u64 = 256;
    let mut start = Vec::new();
    File::open(file).ok()?.take(LONGEST).read_to_end(&mut start).ok()?;
    Some(start)
}

fn first_line(start: &[u8]) -> String {
    String::from_utf8_lossy(start.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned()
}

/// Why a script can't be run: what its first line names, as the kernel reads it.
fn without_interpreter(script: &Path) -> Option<String> {
    let start = start(script)?;
    let shown = script.display();
    if start.starts_with(b"\xef\xbb\xbf#!") {
        return Some(format!(
            "{shown} begins with a byte order mark, so that the system doesn't see its `#!`: save it as UTF-8 without one"
        ));
    }
    if start.starts_with(b"\x7fELF") {
        return None;
    }
    let first = first_line(&start);
    let Some(line) = first.strip_prefix("#!") else {
        return Some(format!(
            "{shown} is no program and has no line such as `#!/bin/sh` at its start: add it, or name the program that reads it, [\"sh\", \"{shown}\"]"
        ));
    };
    if line.ends_with('\r') {
        return Some(format!(
            "{shown} has the line ends of Windows (CRLF), so that its `#!` names no program: `sed -i 's/\\r$//' {}`",
            quoted(script)
        ));
    }
    let interpreter = line.split_whitespace().next().unwrap_or_default();
    let is_there = fs::metadata(interpreter).is_ok_and(|found| found.is_file());
    (!is_there).then(|| format!("{shown} is to be run by `{interpreter}`, which isn't there (its first line)"))
}

/// Where a program may be: it is looked for as `execvp(3)` does.
fn candidates(program: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let candidates: Vec<PathBuf> = match program.contains('/') {
        true => vec![program.into()],
        false => std::env::split_paths(&path).map(|directory| directory.join(program)).collect(),
    };
    candidates.into_iter().filter(|candidate| fs::metadata(candidate).is_ok_and(|found| found.is_file())).collect()
}

/// The file that is run.
pub(super) fn file_of(program: &str) -> Option<PathBuf> {
    candidates(program).into_iter().next()
}

/// Whether it needs the rights of the owner of its file.
pub(super) fn is_set_user_id(file: &Path) -> bool {
    const SET_USER_ID: u32 = 0o4000;
    fs::metadata(file).is_ok_and(|found| found.mode() & SET_USER_ID != 0)
}

/// Why root can't run a program, as far as who looks can tell: root may go where others may not.
pub(super) fn not_run_by_root(program: &str) -> Option<String> {
    const EXECUTABLE: u32 = 0o111;
    let path = Path::new(program);
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Some(format!("{program} is a directory, not a program")),
        Ok(found) if found.mode() & EXECUTABLE == 0 => {
            Some(format!("{program} can't be run: it isn't executable (`chmod +x {}`)", quoted(path)))
        }
        Ok(_) => without_interpreter(path),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
        Err(_) => Some(format!("there is no program {program}")),
    }
}

/// Why a program can't be run.
pub(super) fn not_run(program: &str) -> Option<String> {
    if program.contains('/') && Path::new(program).is_dir() {
        return Some(format!("{program} is a directory, not a program"));
    }
    if let Some((first, _)) = program.split_once(char::is_whitespace).filter(|_| !Path::new(program).exists()) {
        return Some(format!(
            "there is no program whose name has blanks as this one's: write the program and each argument in quotes of \
             its own, as in [\"{first}\", \"...\"]"
        ));
    }
    let present = candidates(program);
    match &present[..] {
        [] if program.contains('/') && !program.starts_with('/') => Some(format!(
            "there is no program {program} in the directory that gatewire is started in, / under systemd; write its full path"
        )),
        [] if program.contains('/') => Some(format!("there is no program {program}")),
        [] => Some(format!("there is no program {program} in the directories of PATH; write its full path")),
        present if present.iter().any(|candidate| access(candidate.as_path(), AccessFlags::X_OK).is_ok()) => {
            let runs = |candidate: &&PathBuf| access(candidate.as_path(), AccessFlags::X_OK).is_ok();
            present.iter().find(runs).and_then(|script| without_interpreter(script))
        }
        [first, ..] => Some(format!("{0} can't be run: it isn't executable (`chmod +x {0}`)", first.display())),
    }
}
