//! The documentation: what it says of the code is there, what the code says is explained, and its links lead somewhere.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below `directory` whose names end so.
fn files(directory: &Path, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() { files(&path, end) } else { vec![path] };
    entries.flat_map(below).filter(|path| path.to_str().unwrap().ends_with(end)).collect()
}

/// What stands between `start` and the next double quote, each time.
fn quoted<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = String> + 'a {
    text.split(start).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned())
}

/// Every `GATEWIRE_EVENT` of the log.
fn events() -> BTreeSet<String> {
    let sources = files(&root().join("src"), ".rs").into_iter().map(|path| fs::read_to_string(path).unwrap());
    sources.flat_map(|source| quoted(&source, "GATEWIRE_EVENT = \"").collect::<Vec<_>>()).collect()
}

/// Every code that a failure of the link or of a bridge may have: the strings that functions called `..code` return.
fn codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    let folders =
        ["src/link/diagnosis", "src/bridge/local", "src/pkcs11"].map(|folder| files(&root().join(folder), ".rs"));
    for path in folders.concat() {
        let source = fs::read_to_string(path).unwrap();
        let mut lines = source.lines();
        while let Some(line) = lines.next() {
            if line.contains("code(") && line.contains("fn ") && line.ends_with("-> &'static str {") {
                let indent = line.len() - line.trim_start().len();
                let end = format!("{:indent$}}}", "");
                let body: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
                codes.extend(body.iter().flat_map(|line| quoted(line, "\"").step_by(2)));
            }
        }
    }
    codes
}

/// What stands in backquotes in the first cell of the rows of tables that begin with `head`.
fn explained(text: &str, head: &str) -> BTreeSet<String> {
    let tables = text.split(head).skip(1);
    let rows = tables.flat_map(|table| table.lines().skip(2).take_while(|line| line.starts_with('|')));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn each_event_and_code_is_explained_in_troubleshooting_and_no_other() {
    let text = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let (events, codes) = (events(), codes());
    for (known, some) in [
        (&events, "link_down"),
        (&codes, "tls_wrong_name"),
        (&codes, "io"),
        (&codes, "disconnected"),
        (&codes, "broker_io"),
    ] {
        assert!(known.contains(some), "{some} wasn't found in the sources: {known:?}");
    }
    assert_eq!(explained(&text, "\n| `GATEWIRE_EVENT` |"), events);
    assert_eq!(explained(&text, "\n| `code` |"), codes);
}

fn documents() -> Vec<PathBuf> {
    let mut documents = files(&root().join("docs"), ".md");
    documents.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md", "certs/README.md"].map(|name| root().join(name)));
    documents
}

/// As GitHub makes an anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn links_lead_to_files_and_headings_that_there_are() {
    let mut checked = 0;
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        let links = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
        for link in links.filter(|link| !link.starts_with("https://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", path.display());
            if !heading.is_empty() {
                let target = fs::read_to_string(target).unwrap();
                let found = target.lines().any(|line| line.starts_with('#') && anchor(line) == heading);
                assert!(found, "{}: {link} leads to no heading", path.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked}");
}

#[test]
fn shell_commands_in_the_documentation_are_shell() {
    let mut checked = 0;
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for block in text.split("```sh\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()) {
            let mut shell =
                Command::new("bash").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            writeln!(shell.stdin.take().unwrap(), "{block}").unwrap();
            let output = shell.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{}:\n{block}\n{said}", path.display());
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked}");
}
