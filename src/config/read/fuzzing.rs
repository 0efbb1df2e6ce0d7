//! A file that holds anything.

use std::path::Path;
use std::rc::Rc;

use super::{Built, Config, Environment, build, parse_bytes};
use crate::config::report::Report;
use crate::template::Machine;

/// Reads `text` as a configuration: it can be used, or each complaint is a line that begins with its place.
pub fn configuration(text: &[u8]) {
    let report = Report::default();
    let file: Rc<Path> = Path::new("f.toml").into();
    let root = parse_bytes(text, &file, 0, &report);
    let Built { config, .. } = build(&root, &[], &environment(), &report);
    let (errors, warnings) = report.finish();
    assert!(config.is_some() || !errors.is_empty(), "what can't be used is complained about");
    for remark in errors.iter().chain(&warnings) {
        let line = remark.to_string();
        assert!(line.starts_with("f.toml:") && !line.contains(char::is_control), "{line:?}");
    }
}

fn environment() -> Environment {
    Environment {
        hostname: "pi4".to_owned(),
        machine: Machine {
            serial: None,
            machine_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
            hostname: Some("pi4".to_owned()),
        },
        thing: |_| None,
        credentials_directory: Some("/run/credentials".to_owned()),
        runtime_directory: Some("/run".to_owned()),
        state_directory: Some("/var/lib/a:/var/lib/b".to_owned()),
        group_exists: |name| name == "gatewire",
    }
}

/// The configuration that `text` is.
pub(crate) fn configured(text: &str) -> Config {
    let (report, file) = (Report::default(), Rc::<Path>::from(Path::new("f.toml")));
    let Built { config, .. } = build(&parse_bytes(text.as_bytes(), &file, 0, &report), &[], &environment(), &report);
    let (errors, _) = report.finish();
    config.filter(|_| errors.is_empty()).unwrap_or_else(|| panic!("{text}\n{errors:?}"))
}
