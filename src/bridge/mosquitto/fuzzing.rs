//! A file of mosquitto's that holds anything.

use std::path::Path;

use super::{lines, translate};
use crate::config;
use crate::printable::printable;

/// Translates `file`: what is printed can be used, and each problem is a line of text.
pub fn mosquitto(file: &[u8]) {
    const CONNECTION: &str = "[connection]\nendpoint = \"localhost\"\nclient_id = \"thing-1\"\n";
    let main = Path::new("mosquitto.conf");
    let found = translate(main, &lines(main, file));
    // As the command prints it.
    let printed: String = found.toml.lines().map(|line| format!("{}\n", printable(line))).collect();
    config::fuzzing::configured(&format!("{CONNECTION}{printed}"));
    assert!(found.problems.iter().all(|problem| !problem.text.is_empty()));
}
