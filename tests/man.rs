//! The manual pages and the completions that `make man` writes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../examples/man/commands.rs"]
mod commands;
#[path = "../examples/man/configuration.rs"]
mod configuration;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// What groff makes of a page, and what it has to say about it.
fn groff(page: &[u8], options: &[&str]) -> (String, String) {
    let mut command = Command::new("groff");
    command.args(["-man", "-ww", "-Tutf8", "-P-c", "-P-b", "-P-u"]).args(options);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("groff is there");
    child.stdin.take().unwrap().write_all(page).unwrap();
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_pages_render_without_a_warning() {
    let pages: Vec<(String, Vec<u8>)> = commands::pages().into_iter().chain([configuration::page()]).collect();
    let names: BTreeSet<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    for command in
        ["act", "bridge", "check", "jobs", "policy", "provision", "publish", "run", "signer", "status", "tail"]
    {
        assert!(names.contains(format!("gatewire-{command}.1").as_str()), "{names:?}");
    }
    assert!(names.contains("gatewire.1") && names.contains("gatewire.toml.5"), "{names:?}");
    for (name, page) in &pages {
        let (text, warnings) = groff(page, &[]);
        assert_eq!(warnings, "", "{name}");
        assert!(text.contains("\nNAME\n") && text.contains("\nSEE ALSO\n"), "{name}: {text}");
    }
}

#[test]
fn what_a_command_says_of_itself_stands_in_its_page() {
    let (_, page) = commands::pages().into_iter().find(|(name, _)| name == "gatewire-publish.1").unwrap();
    let (text, _) = groff(&page, &["-rLL=100n"]);
    for expected in [
        "       gatewire publish [OPTIONS] <TOPIC> [PAYLOAD]\n",
        "       --expires-in <DURATION>\n",
        "       gatewire publish gateways/thing-gateway-01/door '{\"open\":true}'\n",
        "\nEXIT STATUS\n",
    ] {
        assert!(text.contains(expected), "no {expected:?} in\n{text}");
    }
}

/// The names in the parser's complaint about something unknown: all there are. `None` if it doesn't complain.
fn known(text: &str, unknown: &str) -> Option<BTreeSet<String>> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gatewire.toml");
    fs::write(&path, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_gatewire")).arg("--config").arg(path).arg("check").output().unwrap();
    let complaints = String::from_utf8(output.stderr).unwrap();
    let start = format!("`{unknown}; there ");
    let names = complaints.lines().find_map(|line| line.split_once(&start))?.1;
    let names = names.trim_start_matches("are ").trim_start_matches("is only ");
    Some(names.split(", ").map(str::to_owned).collect())
}

#[test]
fn the_page_of_the_configuration_has_every_key_that_the_parser_knows_and_no_other() {
    let (_, sections) = configuration::shipped();
    let key_of = |table: &str| format!("{table}.zzzz`: unknown key");
    let mut seen = BTreeSet::new();
    for section in &sections {
        let name = section.header.trim_matches(['[', ']']);
        seen.insert(name.to_owned());
        let keys: Vec<_> = section.entries.iter().flat_map(|entry| &entry.keys).collect();
        let mut documented: BTreeSet<String> = keys.iter().map(|key| key.name.clone()).collect();
        assert_eq!(documented.len(), keys.len(), "{}: a key is there twice", section.header);
        // Tables below it have headers of their own.
        let below = sections
            .iter()
            .filter_map(|other| other.header.trim_matches(['[', ']']).strip_prefix(name)?.strip_prefix('.'));
        documented.extend(below.map(str::to_owned));
        assert_eq!(
            known(&format!("{}\nzzzz = 1\n", section.header), &key_of(name)).unwrap(),
            documented,
            "{}",
            section.header
        );
        for key in keys {
            // The keys of an inline table, unless any key may stand in it.
            let value: toml::Table = toml::from_str(&format!("value = {}", key.value)).unwrap();
            let Some(inner) = value["value"].as_table() else { continue };
            let text = format!("{}\n{} = {{ zzzz = 1 }}\n", section.header, key.name);
            if let Some(known) = known(&text, &key_of(&format!("{name}.{}", key.name))) {
                assert_eq!(known, inner.keys().cloned().collect(), "{} {}", section.header, key.name);
            }
        }
    }
    let sections = known("[zzzz]\n", "zzzz`: unknown section").unwrap();
    assert_eq!(sections.iter().map(|header| header.trim_matches(['[', ']']).to_owned()).collect::<BTreeSet<_>>(), seen);
    assert!(known("[connection]\nbackoff = { zzzz = 1 }\n", &key_of("connection.backoff")).is_some());
}

#[test]
fn every_key_stands_in_the_rendered_page_as_it_is_shipped() {
    let (_, page) = configuration::page();
    let text = groff(&page, &["-rLL=200n"]).0;
    for section in configuration::shipped().1 {
        let (_, rest) = text.split_once(&format!("\n{}\n", section.header)).unwrap_or_else(|| panic!("{text}"));
        // Up to the next head at the margin.
        let body: Vec<&str> = rest.lines().take_while(|line| line.is_empty() || line.starts_with(' ')).collect();
        for key in section.entries.iter().flat_map(|entry| &entry.keys) {
            assert!(
                body.iter().any(|line| line.trim_start().starts_with(&key.name)),
                "{} {}",
                section.header,
                key.name
            );
            let set = format!("{} = {}", key.name, key.value);
            assert!(body.iter().any(|line| line.contains(&set)), "no {set} in {body:#?}");
        }
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let (_, script) = commands::completions().into_iter().find(|(name, _)| name == "gatewire").unwrap();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gatewire");
    fs::write(&path, script).unwrap();
    let complete = |words: &[&str]| {
        let line = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                    _gatewire \"$1\" \"${!#}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let output = Command::new("bash").args(["-euc", line, "bash"]).arg(&path).args(words).output().unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(complete(&["gatewire", "st"]), "status\n");
    assert_eq!(complete(&["gatewire", "status", "--pr"]), "--prometheus\n");
    assert_eq!(complete(&["gatewire", "publish", "--content"]), "--content-type\n");
}
