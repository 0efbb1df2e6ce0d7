//! Whom to ask, as a configuration says that may change while this is shown.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::cli::inputs;
use crate::cli::output::Failure;
use crate::config::{self, STATUS_SOCKET};

/// See the module.
#[derive(Debug)]
pub(in crate::cli::status) struct Whom {
    socket: PathBuf,
    /// What is wrong with the configuration, a line each.
    notes: Vec<String>,
    /// Which configuration says so, and what its files were when it was read; `None` if somebody has named the socket.
    config: Option<(PathBuf, Stamps)>,
}

/// The files of a configuration, each with what tells whether it has changed.
type Stamps = Vec<(PathBuf, Option<(i64, i64, u64, u64)>)>;

impl Whom {
    /// Who answers at this socket.
    pub(in crate::cli::status) fn at(socket: &Path) -> Whom {
        Whom { socket: socket.to_owned(), notes: Vec::new(), config: None }
    }

    /// Whom the configuration names.
    ///
    /// # Errors
    /// There is no such file, or it is so wrong that it doesn't say where the daemon answers.
    pub(in crate::cli::status) fn of(config: &Path) -> Result<Whom, Failure> {
        let stamps = stamps(config);
        match inputs::status_socket(config)? {
            (_, Some(problem)) if !config.exists() => Err(problem),
            (socket, problem) => {
                let notes = problem.map(Failure::into_lines).unwrap_or_default();
                Ok(Whom { socket, notes, config: Some((config.to_owned(), stamps)) })
            }
        }
    }

    /// Whom to ask now, and what is wrong with the configuration.
    pub(super) fn look(&mut self) -> (&Path, &[String]) {
        if let Some((config, before)) = &mut self.config {
            let now = stamps(config);
            if *before != now {
                *before = now;
                match Whom::of(config) {
                    // The file that names it may be the one that can't be read.
                    Ok(Whom { socket, notes, .. }) if !notes.is_empty() && socket == Path::new(STATUS_SOCKET) => {
                        self.notes = notes;
                    }
                    Ok(Whom { socket, notes, .. }) => (self.socket, self.notes) = (socket, notes),
                    Err(problem) => self.notes = problem.into_lines(),
                }
            }
        }
        (&self.socket, &self.notes)
    }
}

fn stamps(config: &Path) -> Stamps {
    let stamp = |file: &PathBuf| {
        let found = fs::metadata(file).ok()?;
        // Whatever is done to a file, its owner and mode included, sets this time.
        Some((found.ctime(), found.ctime_nsec(), found.size(), found.ino()))
    };
    config::files(config).into_iter().map(|file| (file.clone(), stamp(&file))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[connection]\nendpoint = \"x.example\"\nclient_id = \"c\"\n\
        [tls]\nca_file = \"/a\"\ncert_file = \"/b\"\nkey_file = \"/c\"\n";

    #[test]
    fn what_becomes_of_the_configuration_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("gatewire.toml");
        assert!(Whom::of(&config).is_err(), "a name that is mistyped isn't that of the default's daemon");
        let write = |socket: &str, more: &str| {
            fs::write(&config, format!("{GOOD}{more}[status]\nsocket = \"{socket}\"\n")).unwrap();
        };
        write("/run/one.sock", "");
        let mut whom = Whom::of(&config).unwrap_or_else(|failure| panic!("{:?}", failure.into_lines()));
        assert_eq!(whom.look(), (Path::new("/run/one.sock"), &[][..]));
        write("/run/two.sock", "[outbox]\nzzz = 1\n");
        let (socket, notes) = whom.look();
        assert_eq!(socket, Path::new("/run/two.sock"));
        assert!(notes.iter().any(|note| note.contains("zzz")), "{notes:?}");
        write("/run/two.sock", "");
        assert_eq!(whom.look(), (Path::new("/run/two.sock"), &[][..]));
        fs::create_dir(directory.path().join("conf.d")).unwrap();
        let drop_in = directory.path().join("conf.d/a.toml");
        fs::write(&drop_in, "[outbox]\nzzz = 1\n").unwrap();
        assert_eq!(whom.look().1.len(), 1);
        fs::remove_file(&drop_in).unwrap();
        assert_eq!(whom.look().1.len(), 0);
        // The socket is named in a file that has a fault, or none.
        fs::write(&config, GOOD).unwrap();
        fs::write(&drop_in, "[status]\nsocket = \"/run/three.sock\"\n").unwrap();
        assert_eq!(whom.look(), (Path::new("/run/three.sock"), &[][..]));
        fs::write(&drop_in, "[status\nsocket = \"/run/three.sock\"\n").unwrap();
        let (socket, notes) = whom.look();
        assert!(socket == Path::new("/run/three.sock") && !notes.is_empty(), "{socket:?} {notes:?}");
        fs::write(&config, "").unwrap();
        assert_eq!(whom.look().0, Path::new("/run/three.sock"));
        fs::remove_file(&drop_in).unwrap();
        write("/run/two.sock", "");
        assert_eq!(whom.look(), (Path::new("/run/two.sock"), &[][..]));
        fs::remove_file(&config).unwrap();
        let (socket, notes) = whom.look();
        assert_eq!(socket, Path::new("/run/two.sock"));
        assert!(notes.iter().any(|note| note.contains("there is no such file")), "{notes:?}");
    }
}
