//! What a daemon did and said, in order: written by `recorder.c` and, about the server's side, by the test.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::disk::{Change, Disk, Files};
use crate::support::daemon::Setup;
use crate::support::preload::preload;

/// The names of the files that belong to the database.
const DATABASE: &str = "gatewire.db";

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    Change {
        file: String,
        change: Change,
    },
    /// From now on somebody relies on the message with this topic being there.
    Promised(String),
    /// The server has the message: nobody relies on it any more.
    Acknowledged(String),
}

/// The recording of one directory, across restarts of the daemon.
pub(crate) struct Recording {
    directory: TempDir,
    recorded: PathBuf,
}

impl Recording {
    /// Of the daemon that is set up so.
    pub(crate) fn of(setup: Setup) -> (Recording, Setup) {
        let directory = TempDir::new().unwrap();
        let recorded = setup.directory.path().canonicalize().unwrap();
        let recording = Recording { directory, recorded };
        File::create(recording.file()).unwrap();
        let setup = preload(setup, "tests/power_loss/recorder.c")
            .env("RECORDING", recording.file())
            .env("RECORDED", &recording.recorded);
        (recording, setup)
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("recording")
    }

    /// The daemon is to die with its next change of a file, right after it.
    pub(crate) fn let_die(&self) {
        File::create(self.file().with_extension("die")).unwrap();
    }

    /// It may live again.
    pub(crate) fn let_live(&self) {
        std::fs::remove_file(self.file().with_extension("die")).unwrap();
    }

    /// A message goes to the daemon, which sends nothing until it sends the PUBACK for it.
    pub(crate) fn note_offered(&self, topic: &str) {
        self.note(b'o', topic);
    }

    /// The PUBACK for a message of the server has come.
    pub(crate) fn note_puback(&self, topic: &str) {
        self.note(b'p', topic);
    }

    /// The server is about to acknowledge a message of the daemon.
    pub(crate) fn note_acknowledged(&self, topic: &str) {
        self.note(b'a', topic);
    }

    fn note(&self, kind: u8, topic: &str) {
        let record = [&[kind, topic.len() as u8][..], &[0; 12], topic.as_bytes()].concat();
        File::options().append(true).open(self.file()).unwrap().write_all(&record).unwrap();
    }

    /// All that has happened so far. The daemon must have ended.
    ///
    /// # Panics
    /// If the files aren't what the recorded changes make of them: then the recorder has missed one.
    pub(crate) fn events(&self) -> Vec<Event> {
        let events = parse(&std::fs::read(self.file()).unwrap());
        let mut disk = Disk::default();
        for event in &events {
            if let Event::Change { file, change } = event {
                disk.apply(file, change);
            }
        }
        let (found, replayed) = (files_of(&self.recorded), disk.current());
        assert!(found.keys().eq(replayed.keys()), "{:?} instead of {:?}", found.keys(), replayed.keys());
        for (name, content) in &found {
            assert!(*content == replayed[name], "{name} isn't what was recorded: a way to write is missing");
        }
        events
    }
}

/// The files of the database.
fn files_of(directory: &Path) -> Files {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    named
        .filter(|(name, _)| name.starts_with(DATABASE))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect()
}

fn parse(mut bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut offered = None;
    while let Some((head, rest)) = bytes.split_first_chunk::<14>() {
        let length = u32::from_le_bytes(head[2..6].try_into().unwrap()) as usize;
        let at = u64::from_le_bytes(head[6..14].try_into().unwrap()) as usize;
        let (name, rest) = rest.split_at(head[1].into());
        let (data, rest) = rest.split_at(length);
        bytes = rest;
        let name = String::from_utf8(name.to_vec()).unwrap();
        let change = match head[0] {
            b'C' => Change::Create,
            b'W' => Change::Write { at, data: data.to_vec() },
            b'T' => Change::Truncate { length: at },
            b'U' => Change::Unlink,
            b'S' => Change::Sync,
            b'A' => {
                events.extend(stored(data).map(Event::Promised));
                continue;
            }
            b'o' => {
                offered = Some(name);
                continue;
            }
            b'N' => {
                events.extend(offered.take().map(Event::Promised));
                continue;
            }
            b'p' => {
                events.push(Event::Promised(name));
                continue;
            }
            b'a' => {
                events.push(Event::Acknowledged(name));
                continue;
            }
            kind => panic!("a record of the kind {kind}"),
        };
        events.push(Event::Change { file: name, change });
    }
    events
}

/// The topics of the messages that these answers call stored.
fn stored(answers: &[u8]) -> impl Iterator<Item = String> {
    let lines = answers.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    lines.filter(|answer| answer["result"] == "stored").map(|answer| format!("up/{}", answer["id"]))
}
