//! What messages tell people to do: every command and key that a text of the sources names is held against the command line,
//! the configuration's own keys and the package.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cli;
use crate::config::is_key_of;

/// The string literals of a source file, less those of its tests, with the line on which each begins.
fn literals(source: &str) -> Vec<(usize, String)> {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let (mut literals, mut rest, mut line) = (Vec::new(), source, 1);
    let step = |rest: &mut &str, line: &mut usize, length: usize| {
        *line += rest[..length].matches('\n').count();
        *rest = &rest[length..];
    };
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            let length = rest.find('\n').unwrap_or(rest.len());
            step(&mut rest, &mut line, length);
            continue;
        }
        let hashes = rest.strip_prefix('r').map_or(0, |raw| raw.len() - raw.trim_start_matches('#').len());
        let raw = format!("r{}\"", "#".repeat(hashes));
        if rest.starts_with(&raw) {
            let end = format!("\"{}", "#".repeat(hashes));
            let length = rest[raw.len()..].find(&end).unwrap();
            literals.push((line, rest[raw.len()..raw.len() + length].to_owned()));
            step(&mut rest, &mut line, raw.len() + length + end.len());
            continue;
        }
        // Not a lifetime.
        if c == '\'' {
            let is_escape = rest[1..].starts_with('\\');
            let close =
                rest.char_indices().skip(if is_escape { 3 } else { 2 }).find(|(_, c)| *c == '\'').map(|(at, _)| at);
            let longest = if is_escape { 12 } else { 6 };
            let length = close
                .filter(|at| *at <= longest && (is_escape || rest[1..*at].chars().count() == 1))
                .map_or(1, |at| at + 1);
            step(&mut rest, &mut line, length);
            continue;
        }
        if c == '"' {
            let (at, mut text, mut length) = (line, String::new(), 1);
            let mut chars = rest[1..].chars();
            while let Some(c) = chars.next() {
                length += c.len_utf8();
                match c {
                    '"' => break,
                    '\\' => {
                        let next = chars.next().unwrap();
                        length += next.len_utf8();
                        match next {
                            'n' => text.push('\n'),
                            '\n' => {
                                let blank = chars.as_str().len() - chars.as_str().trim_start().len();
                                length += blank;
                                chars = chars.as_str()[blank..].chars();
                            }
                            other => text.push(other),
                        }
                    }
                    c => text.push(c),
                }
            }
            literals.push((at, text));
            step(&mut rest, &mut line, length);
            continue;
        }
        step(&mut rest, &mut line, c.len_utf8());
    }
    literals
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        match path.is_dir() {
            _ if ["tests", "fuzzing", "advice", "bench", "known"].contains(&name.as_str()) => {}
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

/// All texts, each with where it stands; what a format fills in is a word.
fn texts() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&root, &mut files);
    let mut texts = Vec::new();
    for file in files {
        let source = fs::read_to_string(&file).unwrap();
        for (line, text) in literals(&source) {
            texts.push((format!("{}:{line}", file.display()), filled(&text)));
        }
    }
    texts
}

/// `{x}` becomes a word, `{{` a brace.
fn filled(text: &str) -> String {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("{{") {
            filled.push('{');
            rest = after;
        } else if let Some(end) = rest.find('}') {
            filled.push_str("WORD");
            rest = &rest[end + 1..];
        } else {
            break;
        }
    }
    (filled + rest).replace("}}", "}")
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The commands of a line for the shell, without `sudo` and what belongs to it.
fn commands(line: &str) -> Vec<Vec<&str>> {
    line.split(['|', ';'])
        .flat_map(|part| part.split("&&"))
        .map(|part| {
            let mut words: Vec<&str> = part.split_whitespace().collect();
            if words.first() == Some(&"sudo") {
                let skipped = if words.get(1) == Some(&"-u") { 3 } else { 1 };
                words.drain(..skipped.min(words.len()));
            }
            words
        })
        .filter(|words| !words.is_empty())
        .collect()
}

#[test]
fn every_gatewire_command_that_is_named_parses() {
    let mut count = 0;
    for (place, text) in texts() {
        for words in quoted(&text).flat_map(commands).filter(|words| words[0] == "gatewire" && words.len() > 1) {
            let is_filled = |word: &&str| !matches!(*word, "..." | "…");
            let words: Vec<&str> = words.iter().copied().filter(is_filled).collect();
            // The value of a number.
            let words: Vec<&str> = words.iter().map(|word| if *word == "N" { "1" } else { word }).collect();
            count += 1;
            let parsed = cli::command().try_get_matches_from(&words);
            let is_incomplete = |error: &clap::Error| error.kind() == clap::error::ErrorKind::MissingRequiredArgument;
            if let Err(error) =
                parsed.map(drop).or_else(|error| if is_incomplete(&error) { Ok(()) } else { Err(error) })
            {
                panic!("{place}: `{}`: {error}", words.join(" "));
            }
        }
    }
    assert!(count > 10, "only {count} are found");
}

#[test]
fn every_command_for_systemd_that_is_named_has_its_form() {
    const VERBS: [&str; 10] =
        ["start", "stop", "restart", "reload", "status", "enable", "disable", "edit", "daemon-reload", "cat"];
    const UNITS: [&str; 8] = [
        "gatewire",
        "gatewire.service",
        "gatewire.socket",
        "gatewire-action.socket",
        "gatewire-action@*",
        "'gatewire-action@*'",
        "mosquitto",
        "systemd-timesyncd",
    ];
    let mut count = 0;
    for (place, text) in texts() {
        let inline =
            text.split(['(', ')']).filter(|part| part.starts_with("systemctl ") || part.starts_with("journalctl "));
        for words in quoted(&text).chain(inline).flat_map(commands) {
            let (program, arguments) = words.split_first().unwrap();
            let (options, names): (Vec<&str>, Vec<&str>) = arguments.iter().partition(|word| word.starts_with('-'));
            count += 1;
            match *program {
                "systemctl" => {
                    assert!(names.first().is_some_and(|verb| VERBS.contains(verb)), "{place}: {words:?}");
                    assert!(names[1..].iter().all(|unit| UNITS.contains(unit)), "{place}: {words:?}");
                    assert!(
                        options.iter().all(|option| ["--now", "--no-block"].contains(option)),
                        "{place}: {words:?}"
                    );
                }
                "journalctl" => {
                    let is_known = |option: &&str| {
                        ["-u", "-x", "-e", "-f", "-b"].contains(option) || option.starts_with("--vacuum-size=")
                    };
                    assert!(options.iter().all(is_known), "{place}: {words:?}");
                    assert!(names.iter().all(|unit| UNITS.contains(unit)), "{place}: {words:?}");
                }
                _ => count -= 1,
            }
        }
    }
    assert!(count > 5, "only {count} are found");
}

#[test]
fn every_key_of_the_configuration_that_is_named_is_one() {
    // Of the status document.
    const OF_THE_STATUS: [&str; 1] = ["outbox.quarantine"];
    const SECTIONS: [&str; 16] = [
        "connection",
        "tls",
        "provisioning",
        "publish",
        "forward",
        "ingest",
        "bridge",
        "bridge.up",
        "bridge.down",
        "jobs",
        "commands",
        "action",
        "action.download",
        "outbox",
        "status",
        "log",
    ];
    let mut found = BTreeSet::new();
    for (place, text) in texts() {
        let is_of_key = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
        for word in text.split(|c: char| !is_of_key(c) && !"/-:".contains(c)) {
            let word = word.trim_end_matches(['.', ':']);
            let Some((section, key)) = word.split_once('.') else { continue };
            let is_file = ["sock", "rs", "toml", "db", "conf", "service", "socket", "json"]
                .iter()
                .any(|end| key.ends_with(end) && key == *end);
            if !SECTIONS.contains(&section)
                || key.is_empty()
                || is_file
                || key.contains("WORD")
                || OF_THE_STATUS.contains(&word)
            {
                continue;
            }
            assert!(is_key_of(section, key), "{place}: there is no key `{word}`: {text}");
            found.insert(word.to_owned());
        }
        // `key = value`, as it is to be written.
        for snippet in quoted(&text) {
            let Some((key, value)) = snippet.split_once(" = ") else { continue };
            let is_name = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if !key.is_empty() && is_name && !value.contains("WORD") && key != "key" {
                assert!(
                    SECTIONS.iter().any(|section| is_key_of(section, key)),
                    "{place}: there is no key `{key}`: {text}"
                );
                found.insert(key.to_owned());
            }
        }
    }
    assert!(found.len() > 20, "{found:?}");
}

#[test]
fn every_path_of_the_package_that_is_named_is_its() {
    // What the unit makes or has in it, and the package installs.
    let unit = include_str!("../../packaging/systemd/gatewire.service");
    for directive in ["ConfigurationDirectory=gatewire", "StateDirectory=gatewire", "RuntimeDirectory=gatewire"] {
        assert!(unit.lines().any(|line| line == directive));
    }
    const FILES: [&str; 23] = [
        "/run/credentials/gatewire.service",
        "/etc/gatewire",
        "/etc/gatewire/gatewire.toml",
        "/etc/gatewire/certs",
        "/etc/gatewire/certs/AmazonRootCA1.pem",
        "/etc/gatewire/certs/certificate.pem.crt",
        "/etc/gatewire/certs/private.pem.key",
        "/etc/gatewire/conf.d",
        "/var/lib/gatewire",
        "/var/lib/gatewire/gatewire.db",
        "/run/gatewire",
        "/run/gatewire/status.sock",
        "/run/gatewire-action.lock",
        "/run/gatewire-action.sock",
        "/run/gatewire-textfile/gatewire.prom",
        "/etc/systemd/system/gatewire.service.d",
        "/etc/gatewire/claim/certificate.pem.crt",
        "/etc/gatewire/claim/private.pem.key",
        // What the user is to make, as the shipped configuration or docs/keys.md names it.
        "/etc/gatewire/pin",
        "/etc/gatewire/house-ca.pem",
        "/etc/gatewire/house.pem",
        "/etc/gatewire/house.key",
        "/etc/gatewire/house.password",
    ];
    let mut count = 0;
    for (place, text) in texts() {
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || "/._-".contains(c))) {
            let word = word.trim_end_matches(['.', '/']);
            let is_ours = word.starts_with('/') && word.contains("/gatewire");
            if !is_ours || word.contains("WORD") || word.starts_with("/usr/share/doc/") {
                continue;
            }
            count += 1;
            let in_run = Path::new(word).parent() == Some(Path::new("/run/gatewire")) && word.ends_with(".sock");
            let of_drop_in = word.starts_with("/etc/systemd/system/gatewire.service.d/") && word.ends_with(".conf");
            assert!(FILES.contains(&word) || in_run || of_drop_in, "{place}: {word}: {text}");
        }
    }
    assert!(count > 10, "only {count} are found");
}
