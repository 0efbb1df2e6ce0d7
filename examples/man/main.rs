//! Writes the manual pages and the shell completions: `make man`.
//!
//! `cargo run --example man -- MAN COMPLETIONS`, the names of two directories. What it writes depends on the sources alone.

mod commands;
mod configuration;

use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    let directories: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [man, completions] = directories.as_slice() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "usage: man MAN COMPLETIONS, two directories to write to",
        ));
    };
    let pages = commands::pages().into_iter().chain([configuration::page()]);
    write(man, pages)?;
    write(completions, commands::completions())
}

/// Writes files into a directory that is made if it isn't there.
fn write(directory: &Path, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for (name, content) in files {
        std::fs::write(directory.join(name), content)?;
    }
    Ok(())
}
