//! The commands of a page of docs/, run as they stand there: those for the cloud by the AWS CLI, with moto in the place of AWS's
//! control plane.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::cloud::jobs::Execution;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Of the environment that `make test` makes.
pub fn python(name: &str) -> PathBuf {
    let path = root().join("tests/.venv/bin").join(name);
    assert!(path.exists(), "{} isn't there: `make test` makes it", path.display());
    path
}

/// What is run as it stands: all blocks of these sections of docs/ (without a heading: of the page), by which test.
pub const RUN: [(&str, &str, &str); 5] = [
    ("aws.md", "", "tests/aws_fleet.rs"),
    ("jobs.md", "## Quick start", "tests/quick_start_jobs.rs"),
    ("provisioning.md", "## Quick start", "tests/quick_start_fleet.rs"),
    ("quick-start.md", "", "tests/aws_commands.rs"),
    ("recipes.md", "## Jobs", "tests/quick_start_jobs.rs"),
];

/// A page of docs/ from a heading to the next of its level; without one all of it. To be run: it must be in [`RUN`].
pub fn section(page: &str, heading: &str) -> String {
    let is_known = RUN.iter().any(|(known, part, _)| (*known, *part) == (page, heading));
    assert!(is_known, "{page} {heading} isn't in RUN");
    part(page, heading)
}

/// Likewise, of any page.
pub fn part(page: &str, heading: &str) -> String {
    let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
    if heading.is_empty() {
        return text;
    }
    let (_, rest) = text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{page} has no {heading}"));
    let level = heading.split(' ').next().unwrap();
    rest.split(&format!("\n{level} ")).next().unwrap().to_owned()
}

/// The code blocks of a language.
pub fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let starts = text.split("```").skip(1).step_by(2);
    starts.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

/// The commands of a block, without its comments; a loop is one.
pub fn commands(block: &str) -> Vec<String> {
    let whole = block.replace("\\\n", "\u{1}");
    let mut commands: Vec<String> = Vec::new();
    let mut open = 0;
    for line in whole.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match commands.last_mut() {
            Some(command) if open > 0 => *command = format!("{command}\n{line}"),
            _ => commands.push(line.to_owned()),
        }
        let word = line.trim_start();
        open += usize::from(word.starts_with("for ") || word.starts_with("while "));
        open -= usize::from(word == "done" || word.starts_with("done "));
    }
    commands.into_iter().map(|command| command.replace('\u{1}', "\\\n")).collect()
}

/// bash, which remembers its variables from one command to the next.
pub struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    pub fn start(command: &mut Command) -> Shell {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut shell = Shell { child, input, output };
        shell.run("exec 2>&1; set -euo pipefail");
        shell
    }

    /// What a command prints. It must succeed.
    pub fn run(&mut self, command: &str) -> String {
        const END: &str = "--- the end of a command ---";
        writeln!(self.input, "{{ {command}\n}} < /dev/null\necho '{END}'").unwrap();
        let mut said = String::new();
        loop {
            let before = said.len();
            let count = self.output.read_line(&mut said).unwrap();
            assert!(count > 0, "{command}\n{said}");
            if said[before..].trim_end().ends_with(END) {
                return said.replace(&format!("{END}\n"), "");
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The word behind an option.
pub fn option<'a>(command: &'a str, name: &str) -> &'a str {
    command.split(name).nth(1).unwrap().split_whitespace().next().unwrap()
}

/// AWS's control plane: moto. It knows of things and their jobs what it is told.
pub struct ControlPlane {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    port: u16,
}

impl ControlPlane {
    pub fn start() -> ControlPlane {
        let mut command = Command::new(python("python3"));
        command.arg(root().join("tests/python/control_plane.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut plane = ControlPlane { child, input, output, port: 0 };
        let port = plane.line().parse();
        plane.port = port.unwrap_or_else(|_| panic!("moto doesn't start: `make test` installs it into tests/.venv"));
        plane
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// What the thing has said of an execution.
    pub fn tell(&mut self, thing: &str, execution: &Execution) {
        let Execution { job, status, details, .. } = execution;
        self.say(&json!({"job": job, "thing": thing, "status": status.as_str(), "details": details}));
    }

    /// Likewise, without details.
    pub fn tell_status(&mut self, thing: &str, job: &str, status: &str) {
        self.say(&json!({"job": job, "thing": thing, "status": status, "details": {}}));
    }

    /// A thing has been registered, with a certificate, by the only template.
    pub fn register(&mut self, thing: &str, certificate: &str, parameters: &Value) {
        self.say(&json!({"thing": thing, "certificate": certificate, "parameters": parameters}));
    }

    /// What programs have published by it: topics and payloads.
    pub fn published(&mut self) -> Vec<(String, String)> {
        serde_json::from_value(self.ask(&json!({"published": true}))).unwrap()
    }

    /// Another account, which has one of each: their names.
    pub fn another_account(&mut self) -> Value {
        self.ask(&json!({"account": true}))
    }

    fn say(&mut self, told: &Value) {
        writeln!(self.input, "{told}").unwrap();
        assert_eq!(self.line(), "told");
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.input, "{question}").unwrap();
        serde_json::from_str(&self.line()).unwrap()
    }

    /// A function of the stack, which has this account behind it.
    pub fn function(&self, name: &str, environment: &[(&str, &str)]) -> Function {
        let mut command = Command::new(python("python3"));
        command.arg(root().join("tests/python/function.py")).arg(root().join("packaging/aws/fleet.yaml")).arg(name);
        command.envs(credentials(self.port)).envs(environment.iter().copied());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Function { child, input, output }
    }

    /// A shell with the AWS CLI.
    pub fn shell(&self, directory: &Path) -> Shell {
        Shell::start(&mut aws(directory, self.port))
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a function of Lambda does with an event.
pub struct Function {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Function {
    pub fn call(&mut self, event: &Value) -> Value {
        writeln!(self.input, "{event}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the function has failed at {event}"))
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Of an account behind a port.
fn credentials(port: u16) -> [(&'static str, String); 6] {
    [
        ("AWS_PAGER", String::new()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ("AWS_DEFAULT_REGION", "eu-west-1".to_owned()),
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
        ("AWS_MAX_ATTEMPTS", "1".to_owned()),
    ]
}

/// bash with the AWS CLI of an account behind a port.
pub fn aws(directory: &Path, port: u16) -> Command {
    let mut command = Command::new("bash");
    let path =
        format!("{}:{}:{}", directory.join("bin").display(), python("").display(), std::env::var("PATH").unwrap());
    command.current_dir(directory).env("PATH", path).env("HOME", directory).envs(credentials(port));
    command
}

pub fn program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/bash\n{text}\n")).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}
