//! Each command for the AWS CLI that the project tells anybody to run, in its documentation and in the texts of its programs, is run by
//! a test: blocks of whole pages where they belong together ([`RUN`]), and all others here, each page in an account of its own (moto).

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::closed_port;
use support::documented::{ControlPlane, RUN, Shell, aws, blocks, commands, part, program, root, section};
use tempfile::TempDir;

/// What moto doesn't have. That the AWS CLI understands such a command is all that is tested.
const NOT_IN_MOTO: [&str; 4] = [
    // AWS's managed job templates.
    "iot create-job --job-id restart-2 ",
    "iot create-command ",
    "iot-jobs-data start-command-execution ",
    "iot get-command-execution ",
];

/// Words that stand for something of the reader's account: in which command (all of them: ""), the word, and what it is here.
const MEANT: [(&str, &str, &str); 6] = [
    ("", "CERTIFICATE_ARN", "\"$certificate_arn\""),
    ("", "--certificate-id ID", "--certificate-id \"$certificate\""),
    ("", "--certificate-id {}", "--certificate-id \"$certificate\""),
    ("list-thing-principals", "NAME", "\"$thing\""),
    ("describe-provisioning-template", "NAME", "gateways"),
    ("", "https://localhost", "http://localhost"),
];

/// What a sentence that only mentions a command leaves out.
const LEFT_OUT: [(&str, &str, &str); 13] = [
    ("iot list-job-executions-for-thing", "--thing-name", "\"$thing\""),
    ("iot create-job", "--document", "{}"),
    ("iot create-job", "--job-id", "job-2"),
    ("iot create-job", "--targets", "\"$arn\""),
    ("iot describe-certificate", "--certificate-id", "\"$certificate\""),
    ("iot describe-provisioning-template", "--template-name", "gateways"),
    ("iot get-policy", "--policy-name", "\"$thing\""),
    ("iot update-certificate", "--certificate-id", "\"$certificate\""),
    ("iot update-certificate", "--new-status", "INACTIVE"),
    ("iot create-policy-version", "--policy-name", "\"$thing\""),
    ("cloudformation deploy", "--stack-name", "gateways"),
    ("cloudformation deploy", "--parameter-overrides", "Fleet=others"),
    ("cloudformation deploy", "--template-file", "/usr/share/gatewire/aws/fleet.yaml"),
];

/// Files whose texts are for people, below a folder.
fn files(directory: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() { files(&path, ends) } else { vec![path] };
    let is_meant = |path: &PathBuf| ends.iter().any(|end| path.to_str().unwrap().ends_with(end));
    entries.flat_map(below).filter(is_meant).collect()
}

fn texts() -> Vec<PathBuf> {
    let mut paths = files(&root().join("docs"), &[""]);
    paths.extend(files(&root().join("config"), &[""]));
    paths.extend(files(&root().join("packaging"), &[".catalog", ".md", "README", "golden-image", "demo"]));
    paths.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md", "certs/README.md"].map(|name| root().join(name)));
    let sources = files(&root().join("src"), &[".rs"]);
    paths.extend(sources.into_iter().filter(|path| !path.to_str().unwrap().contains("test")));
    paths.sort();
    paths
}

/// Where commands begin: `aws SERVICE OPERATION`, the words in small letters, perhaps on the next line of a comment.
fn starts(text: &str) -> Vec<usize> {
    let is_word = |word: Option<&str>| word.is_some_and(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
    let is_command = |at: &usize| {
        let before = text[..*at].chars().next_back();
        let mut words =
            text[*at + 4..].split(|c: char| c.is_whitespace() || "#/".contains(c)).filter(|it| !it.is_empty());
        before.is_none_or(|c| !(c.is_alphanumeric() || "-_/.".contains(c)))
            && is_word(words.next())
            && is_word(words.next())
    };
    text.match_indices("aws ").map(|(at, _)| at).filter(is_command).collect()
}

/// Those outside of shells' blocks: in backquotes, across lines perhaps, or to the end of the line.
fn mentioned(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", "\n");
    let joined = |command: &str| {
        let lines = command.lines().map(|line| line.trim().trim_start_matches(['#', '/']).trim());
        lines.collect::<Vec<_>>().join(" ")
    };
    let one = |at: usize| {
        let rest = &text[at..];
        let end = if text[..at].ends_with('`') { rest.find('`') } else { rest.find('\n') };
        joined(&rest[..end.unwrap_or(rest.len())]).trim_end_matches([' ', '|']).to_owned()
    };
    starts(&text).into_iter().map(one).collect()
}

/// The commands of a text that no other test runs.
fn found(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    if path.extension().is_none_or(|extension| extension != "md") {
        return mentioned(&text);
    }
    let page = path.strip_prefix(root().join("docs")).unwrap_or(Path::new("")).to_str().unwrap().to_owned();
    let run = RUN.iter().filter(|(known, _, _)| *known == page).map(|(page, heading, _)| part(page, heading));
    let run: Vec<String> = run.collect();
    let mut commands_of_page = Vec::new();
    for (number, piece) in text.split("```").enumerate() {
        match piece.strip_prefix("sh\n").filter(|_| number % 2 == 1) {
            Some(block) if run.iter().any(|run| run.contains(block)) => {}
            Some(block) => {
                commands_of_page.extend(commands(block).into_iter().filter(|command| !starts(command).is_empty()));
            }
            None => commands_of_page.extend(mentioned(piece)),
        }
    }
    commands_of_page
}

/// The command as this account's owner would write it.
fn completed(command: &str) -> String {
    let mut command = command.to_owned();
    for (of, word, here) in MEANT {
        if command.contains(of) {
            command = command.replace(word, here);
        }
    }
    for (of, option, value) in LEFT_OUT {
        let is_meant = command.starts_with(&format!("aws {of}")) && !command[4 + of.len()..].starts_with('-');
        if is_meant && !command.contains(option) {
            command = format!("{command} {option} {value}");
        }
    }
    command.replace("/usr/share/gatewire", root().join("packaging").to_str().unwrap())
}

/// What lies about where the commands are run.
struct Place {
    directory: TempDir,
    shell: Shell,
}

impl Place {
    /// In an account of its own, with the files that a page speaks of.
    fn new(plane: &mut ControlPlane) -> Place {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        let text = "[connection]\nendpoint = \"a1b2c3d4e5f6g7-ats.iot.eu-west-1.amazonaws.com\"\nclient_id = \"thing-gateway-01\"\n\
                    [[publish]]\nname = \"hello\"\ntopic = \"test/topic\"\nevery = \"1m\"\npayload = \"x\"\n";
        fs::write(here.join("gatewire.toml"), text).unwrap();
        let binary = env!("CARGO_BIN_EXE_gatewire");
        program(&here.join("bin/gatewire"), &format!("exec {binary} --config {}/gatewire.toml \"$@\"", here.display()));
        for name in ["scp", "curl"] {
            program(&here.join("bin").join(name), "");
        }
        // No TLS at the port of this account; and version 1 of the AWS CLI, which is the one that pip installs, takes payloads as they
        // are, without the option with which version 2 does.
        let cli = support::documented::python("aws");
        let adapted = "a=(); for w; do case $w in --cli-binary-format|raw-in-base64-out) ;; \
                       *) a+=(\"${w/#https:\\/\\/localhost/http://localhost}\") ;; esac; done";
        program(&here.join("bin/aws"), &format!("{adapted}\nexec {} \"${{a[@]}}\"", cli.display()));
        let mut request = Command::new("openssl");
        request.args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        request.args(["-keyout", "/dev/null", "-subj", "/CN=gateway-01", "-out"]).arg(here.join("gateway-01.csr"));
        assert!(request.output().unwrap().status.success());
        let mut shell = plane.shell(here);
        shell.run("gatewire policy --account 123456789012 > policy.json");
        Place { directory, shell }
    }

    /// With one of each in the account.
    fn with_one_of_each(plane: &mut ControlPlane) -> Place {
        let mut place = Place::new(plane);
        let names = plane.another_account();
        for name in ["thing", "arn", "certificate"] {
            place.shell.run(&format!("{name}={}", names[name].as_str().unwrap()));
        }
        place.shell.run("certificate_arn=arn:aws:iot:eu-west-1:123456789012:cert/$certificate; claim=$certificate_arn");
        place
    }
}

#[test]
fn each_command_outside_of_the_pages_that_are_run_works() {
    let mut plane = ControlPlane::start();
    let (mut run, mut understood) = (0, 0);
    let mut seen = BTreeSet::new();
    for path in texts() {
        let mut commands = found(&path);
        // What a page says is done in its order; what is only mentioned has no order, and once is enough.
        let is_page = path.extension().is_some_and(|extension| extension == "md");
        // But for what makes something that the next one shows.
        let makes = |command: &str| command.contains(" create-policy ");
        commands.retain(|command| seen.insert(completed(command)) || is_page || makes(command));
        if commands.is_empty() {
            continue;
        }
        let mut place = Place::with_one_of_each(&mut plane);
        let port = closed_port();
        let mut nobody = Shell::start(&mut aws(place.directory.path(), port));
        nobody.run("arn=arn:aws:iot:eu-west-1:123456789012:thing/thing-gateway-01; endpoint=unused");
        for command in commands {
            eprintln!("{}: {command}", path.strip_prefix(root()).unwrap().display());
            if NOT_IN_MOTO.iter().any(|known| command.starts_with(&format!("aws {known}"))) {
                let at = format!("{command} --endpoint-url http://127.0.0.1:{port} || true");
                let said = nobody.run(&at);
                assert!(said.contains("Could not connect to the endpoint URL"), "{command}\n{said}");
                understood += 1;
            } else {
                place.shell.run(&completed(&command));
                run += 1;
            }
        }
    }
    assert_eq!(understood, NOT_IN_MOTO.len());
    assert!(run > 20, "{run}");
}

/// So that none is found where there is none, and none is overlooked.
#[test]
fn commands_are_found_wherever_they_stand() {
    let text = "See `aws iot list-things`, not aws-iot or docs/aws x y.\n#    (`aws iot\n# get-policy`)\n";
    assert_eq!(mentioned(text), ["aws iot list-things", "aws iot get-policy"]);
    assert_eq!(mentioned("x: `aws iot \\\n    get-policy --x {}` |"), ["aws iot get-policy --x {}"]);
    assert_eq!(mentioned("    aws iot get-policy --x y |\n      gatewire"), ["aws iot get-policy --x y"]);
    assert_eq!(starts("x=$(aws iot a-b) && aws s3 ls; AWS iot x y").len(), 2);
}

#[test]
fn the_pages_that_are_run_are_run_by_their_tests() {
    for (page, heading, test) in RUN {
        let source = fs::read_to_string(root().join(test)).unwrap();
        assert!(source.contains(&format!("section(\"{page}\", \"{heading}\")")), "{test} doesn't run {page} {heading}");
    }
}

#[test]
fn each_command_for_the_cloud_of_the_quick_start_works() {
    let text = section("quick-start.md", "");
    let mut plane = ControlPlane::start();
    let mut place = Place::new(&mut plane);
    let mut said = Vec::new();
    for block in blocks(&text, "sh").into_iter().filter(|block| block.starts_with("# cloud\n")) {
        said.extend(commands(block).iter().map(|command| place.shell.run(command)));
    }
    assert!(said.iter().any(|said| said.trim() == "123456789012"), "{said:?}");
    let all = blocks(&text, "sh").len();
    assert_eq!(
        all,
        blocks(&text, "sh").iter().filter(|it| it.starts_with("# pi\n") || it.starts_with("# cloud\n")).count()
    );
    assert!(place.directory.path().join("private.pem.key").exists());
    assert_eq!(place.shell.run("aws iot list-things --query things --output text").trim(), "");
}
