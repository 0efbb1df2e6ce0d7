//! The file of a program: where it is, and why it can't be started.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::owner;
use crate::printable::printable;
use crate::regular::{self, Other};

/// So much of a file's beginning is looked at: more than the kernel reads of a first line.
const BEGINNING: u64 = 512;

/// `EI_CLASS`, `EI_DATA` and `e_machine` of the programs that a gateway may meet (elf(5)).
const ARCHITECTURES: [(u16, &str); 7] = [
    (3, "x86 (32 bits)"),
    (8, "MIPS"),
    (21, "POWER"),
    (40, "ARM (32 bits)"),
    (62, "x86-64"),
    (183, "ARM (64 bits)"),
    (243, "RISC-V"),
];

/// What a file is to the kernel that shall run it.
enum Kind {
    /// Nothing can be said of it: it may only be executed, or its format is one that a module of the kernel knows.
    Unknown,
    Empty,
    /// A script with a byte order mark before its `#!`.
    ByteOrderMark,
    /// Its first line names an interpreter.
    Script {
        interpreter: PathBuf,
        has_carriage_return: bool,
    },
    Elf {
        machine: u16,
    },
}

/// The file that `program` means: itself if it is a path, else the first that can be executed in the directories of `path`, which is
/// as `PATH` has it.
pub(crate) fn find(program: &str, path: &OsStr) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(program.into());
    }
    let is_executable = |file: &PathBuf| {
        fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path).map(|directory| directory.join(program)).find(is_executable)
}

/// Why it would be in vain to start this file, or worse: of some files the C library makes a script for the shell.
pub(crate) fn doubt(file: &Path) -> Option<String> {
    match kind(file) {
        Kind::Empty => Some(empty(file)),
        // Perl and a few others pass over it; what is looked for by a name that ends with it isn't found.
        Kind::Script { interpreter, has_carriage_return: true }
            if interpreter.to_string_lossy().ends_with('\r') || interpreter.ends_with("env") =>
        {
            Some(carriage_return(file))
        }
        _ => None,
    }
}

/// Why the system has refused to start `file`, for a person, and what to do.
pub(crate) fn why_not(file: &Path, error: &io::Error) -> String {
    let shown = owner::quoted(file);
    let metadata = match fs::metadata(file) {
        Ok(metadata) => metadata,
        Err(missing) if missing.kind() == ErrorKind::NotFound => {
            return match file.is_symlink() {
                true => "it is a link to a program that isn't there".to_owned(),
                false => "there is no such program".to_owned(),
            };
        }
        Err(_) => return by_error(error),
    };
    match Other::of(metadata.file_type()) {
        Some(other) => return format!("it is {other}, not a program"),
        None if metadata.permissions().mode() & 0o111 == 0 => {
            return format!("it isn't executable; `chmod +x {shown}` makes it so");
        }
        None => {}
    }
    let code = error.raw_os_error().map(Errno::from_raw);
    match (kind(file), code) {
        (Kind::Empty, _) => empty(file),
        (Kind::ByteOrderMark, Some(Errno::ENOEXEC)) => {
            "it begins with a byte order mark, so that the system doesn't see its `#!`; save it as UTF-8 without one".to_owned()
        }
        (Kind::Script { has_carriage_return: true, .. }, Some(Errno::ENOENT | Errno::ENOEXEC)) => carriage_return(file),
        (Kind::Script { interpreter, .. }, Some(Errno::ENOENT)) => format!(
            "its first line names the interpreter {}, which isn't there (bad interpreter)",
            printable(&interpreter.to_string_lossy())
        ),
        (Kind::Script { interpreter, .. }, Some(Errno::EACCES)) if !is_executable(&interpreter) => format!(
            "its first line names the interpreter {}, which isn't executable (bad interpreter)",
            printable(&interpreter.to_string_lossy())
        ),
        (Kind::Elf { machine }, Some(Errno::ENOEXEC | Errno::ENOENT)) => {
            let made_for = ARCHITECTURES.iter().find(|(number, _)| *number == machine);
            let made_for = made_for.map_or_else(|| format!("machine {machine} of ELF"), |(_, name)| (*name).to_owned());
            format!("it is a program for {made_for} that can't run on this system ({})", std::env::consts::ARCH)
        }
        (Kind::Unknown, Some(Errno::ENOEXEC)) => {
            "it is neither a program for this machine nor a script whose first line names an interpreter, such as #!/bin/sh"
                .to_owned()
        }
        _ => by_error(error),
    }
}

/// Where the file doesn't explain it.
fn by_error(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EPERM) => format!(
            "the user {} may not execute it: its mode, a directory on the way to it, a file system mounted noexec, or the sandbox \
             of the systemd unit forbids it",
            owner::own_name()
        ),
        Some(Errno::ENOMEM | Errno::EAGAIN) => format!(
            "the system has no memory or no process left for it ({error}); `systemctl status` of the unit says what its limits are"
        ),
        Some(Errno::E2BIG) => "its arguments are longer than the system allows".to_owned(),
        Some(Errno::ETXTBSY) => "somebody has it open for writing; try again once it is complete".to_owned(),
        _ => error.to_string(),
    }
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn empty(file: &Path) -> String {
    format!("the file is empty; put the program into {} again", owner::quoted(file))
}

fn carriage_return(file: &Path) -> String {
    format!(
        "its first line ends with CR LF, as Windows writes it, so its interpreter isn't found (bad interpreter); \
         `sed -i 's/\\r$//' {}` mends that",
        owner::quoted(file)
    )
}

fn kind(file: &Path) -> Kind {
    let mut beginning = Vec::new();
    let read =
        regular::open(file).map_err(io::Error::from).and_then(|file| file.take(BEGINNING).read_to_end(&mut beginning));
    match read {
        Ok(0) => Kind::Empty,
        Ok(_) => kind_of(&beginning),
        Err(_) => Kind::Unknown,
    }
}

fn kind_of(beginning: &[u8]) -> Kind {
    if beginning.starts_with(b"\xef\xbb\xbf#!") {
        return Kind::ByteOrderMark;
    }
    if let Some(rest) = beginning.strip_prefix(b"#!") {
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let has_carriage_return = line.ends_with(b"\r") && line.len() < rest.len();
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let interpreter = line.split(is_blank).find(|word| !word.is_empty()).unwrap_or_default();
        let interpreter = String::from_utf8_lossy(interpreter).into_owned().into();
        return Kind::Script { interpreter, has_carriage_return };
    }
    match beginning {
        // Which of two bytes of a number comes first stands before it.
        [0x7f, b'E', b'L', b'F', _, order, ..] if beginning.len() >= 20 => {
            let machine = [beginning[18], beginning[19]];
            let machine = if *order == 2 { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) };
            Kind::Elf { machine }
        }
        _ => Kind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn what_a_path_means_and_what_a_name_means() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("1"), directory.path().join("2"));
        for place in [&first, &second] {
            fs::create_dir(place).unwrap();
            fs::write(place.join("program"), "x").unwrap();
        }
        let path = std::env::join_paths([&first, &second]).unwrap();
        assert_eq!(find("program", &path), None);
        fs::set_permissions(second.join("program"), Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("program", &path), Some(second.join("program")));
        assert_eq!(find("./program", &path), Some("./program".into()));
        assert_eq!(find("", &path), None);
    }

    #[test]
    fn what_the_file_doesnt_explain_the_system_does() {
        let why = |errno: Errno| why_not(Path::new("/bin/sh"), &io::Error::from_raw_os_error(errno as i32));
        assert!(why(Errno::ENOMEM).starts_with("the system has no memory or no process left for it (Cannot allocate"));
        assert!(why(Errno::EAGAIN).starts_with("the system has no memory or no process left for it"));
        assert!(why(Errno::EACCES).contains("may not execute it: its mode, a directory on the way to it"));
        assert!(why(Errno::ETXTBSY).starts_with("somebody has it open for writing"));
        assert_eq!(why(Errno::EIO), "Input/output error (os error 5)");
    }

    #[test]
    fn the_beginning_of_a_file_says_what_runs_it() {
        let script = |text: &str| match kind_of(text.as_bytes()) {
            Kind::Script { interpreter, has_carriage_return } => {
                (interpreter.display().to_string(), has_carriage_return)
            }
            _ => panic!("{text}"),
        };
        assert_eq!(script("#!/bin/sh\necho\r\n"), ("/bin/sh".to_owned(), false));
        assert_eq!(script("#! \t/bin/sh -e\r\n"), ("/bin/sh".to_owned(), true));
        assert_eq!(script("#!/bin/sh\r\n"), ("/bin/sh\r".to_owned(), true));
        assert_eq!(script("#!"), (String::new(), false));
        let elf = |order, machine: [u8; 2]| {
            let head = [&[0x7f, b'E', b'L', b'F', 2, order][..], &[0; 12], &machine, &[0; 40]].concat();
            match kind_of(&head) {
                Kind::Elf { machine } => machine,
                _ => panic!("{head:?}"),
            }
        };
        assert_eq!((elf(1, [183, 0]), elf(2, [0, 8])), (183, 8));
        assert!(matches!(kind_of(b"\x7fELF"), Kind::Unknown));
    }
}
