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

/// A page of docs/ from a heading to the next of its level.
pub fn section(page: &str, heading: &str) -> String {
    let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
    let (_, rest) = text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{page} has no {heading}"));
    let level = heading.split(' ').next().unwrap();
    rest.split(&format!("\n{level} ")).next().unwrap().to_owned()
}

/// The code blocks of a language.
pub fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let starts = text.split("```").skip(1).step_by(2);
    starts.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

/// The commands of a block, without its comments.
pub fn commands(block: &str) -> Vec<String> {
    let whole = block.replace("\\\n", "\u{1}");
    let lines = whole.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.replace('\u{1}', "\\\n")).collect()
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

    /// A thing has been registered, with a certificate.
    pub fn register(&mut self, thing: &str, certificate: &str) {
        self.say(&json!({"thing": thing, "certificate": certificate}));
    }

    fn say(&mut self, told: &Value) {
        writeln!(self.input, "{told}").unwrap();
        assert_eq!(self.line(), "told");
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

/// bash with the AWS CLI of an account behind a port.
pub fn aws(directory: &Path, port: u16) -> Command {
    let mut command = Command::new("bash");
    let path =
        format!("{}:{}:{}", directory.join("bin").display(), python("").display(), std::env::var("PATH").unwrap());
    command.current_dir(directory).env("PATH", path).env("HOME", directory).env("AWS_PAGER", "");
    command
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_DEFAULT_REGION", "eu-west-1");
    command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")).env("AWS_MAX_ATTEMPTS", "1");
    command
}

pub fn program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/bash\n{text}\n")).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}
