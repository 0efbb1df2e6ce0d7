//! `gatewire act`: what root does for the daemon, and what it refuses. The tests are the daemon; whoever runs them is root here.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "act/ending.rs"]
mod ending;
mod support;

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use support::patiently;
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(120);

/// A configuration, and a directory for what actions write, `$0` of their scripts.
struct Place {
    directory: TempDir,
    /// Of this place alone: what belongs to it is looked for on the whole machine.
    execution: String,
}

/// A script as `run`, with its directory as `$0`.
fn action(name: &str, keys: &str, script: &str, directory: &Path) -> String {
    let run = format!("run = [\"/bin/sh\", \"-c\", '''{script}''', \"{}\", \"{{{{args}}}}\"]", directory.display());
    format!("[[action]]\nname = \"{name}\"\nas = \"root\"\nargs = \"[a-z]+\"\n{run}\n{keys}\n")
}

impl Place {
    fn new() -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let execution = format!("act-{}-{}:1", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let place = Place { directory: tempfile::tempdir().unwrap(), execution };
        let at = place.directory.path();
        let slow = "exec > /dev/null 2>&1; echo $$ > $0/pid; trap \"echo ended > $0/ended; exit 0\" TERM; : > $0/begun; while :; do sleep 0.01; done";
        place.write(
            "gatewire.toml",
            &[
                action("say", "", "echo \"$@\"; echo one >&2; printf two >&2; pwd; exit 3", at),
                action("environment", "", "env", at),
                action("slow", "", slow, at),
                action("short", "timeout = \"1s\"", "trap \"\" TERM; exec sleep 1000", at)
                    .replace("trap \"\" TERM; ", ""),
                action(
                    "lasting",
                    "done = \"after-restart\"",
                    "echo $$ > $0/pid; : > $0/begun; until [ -e $0/go ]; do sleep 0.01; done; : > $0/done",
                    at,
                ),
                "[[action]]\nname = \"sandboxed\"\nrun = [\"/bin/true\"]\n".to_owned(),
                "[[action]]\nname = \"missing\"\nas = \"root\"\nrun = [\"/bin/no-such-program\"]\n".to_owned(),
                "[[action]]\nname = \"install\"\nas = \"root\"\nrun = [\"/bin/cat\", \"{{download}}\"]\n\
                 download = { hosts = [\"downloads.example\"], max_size = \"1 KiB\" }\n"
                    .to_owned(),
            ]
            .concat(),
        );
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    }

    /// A helper with this end of a connection, and what it has to say beside that.
    fn helper(&self, connection: impl Into<OwnedFd>) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatewire"));
        command.arg("--config").arg(self.path("gatewire.toml")).arg("act").arg("--lock").arg(self.path("lock"));
        command.stdin(Stdio::from(connection.into())).stdout(Stdio::null()).stderr(Stdio::piped());
        command.env("NOTIFY_SOCKET", "/nowhere").env("SECRET", "secret").spawn().unwrap()
    }

    fn connect(&self) -> Daemon {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(LONG)).unwrap();
        let helper = self.helper(theirs);
        Daemon { lines: BufReader::new(ours.try_clone().unwrap()), connection: ours, helper }
    }

    fn ask(&self, request: Value) -> Daemon {
        let mut daemon = self.connect();
        daemon.say(request);
        daemon
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Daemon {
        self.ask(json!({ "action": name, "arguments": arguments, "execution": self.execution }))
    }

    /// Whether it is begun. Waits for its end.
    fn is_begun(&self, name: &str) -> bool {
        let mut daemon = self.run(name, &[]);
        let is_begun = daemon.next() == json!({ "started": true });
        daemon.next();
        daemon.ended();
        is_begun
    }

    /// Why it is refused.
    fn refused(&self, name: &str, arguments: &[&str]) -> String {
        self.run(name, arguments).error()
    }

    fn wait_for(&self, name: &str) {
        patiently(name, || self.path(name).exists().then_some(()));
    }

    /// Of the process that has written its number.
    fn is_running(&self) -> bool {
        let pid = fs::read_to_string(self.path("pid")).unwrap();
        fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
    }
}

/// The daemon's end of a connection.
struct Daemon {
    connection: UnixStream,
    lines: BufReader<UnixStream>,
    helper: Child,
}

impl Daemon {
    fn say(&mut self, request: Value) {
        self.connection.write_all(format!("{request}\n").as_bytes()).unwrap();
    }

    /// The next line; `null` at the end.
    fn next(&mut self) -> Value {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => Value::Null,
            Ok(_) => serde_json::from_str(&line).unwrap(),
            // The kernel says so where something was left unread.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Value::Null,
            Err(error) => panic!("{error}"),
        }
    }

    /// The only answer, a refusal. The journal has it, too.
    fn error(mut self) -> String {
        let answer = self.next();
        let error = answer["error"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        let said = self.ended();
        assert!(said.contains("refused to act as root: ") && said.contains(&error), "{said}");
        error
    }

    /// Once the helper has ended: what it has said beside the answers.
    fn ended(mut self) -> String {
        assert_eq!(self.next(), Value::Null);
        let output = self.helper.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn a_listed_action_is_run_with_arguments_that_it_takes() {
    let place = Place::new();
    let mut daemon = place.run("say", &["hello", "world"]);
    assert_eq!(daemon.next(), json!({ "started": true }));
    let expected = json!({ "exit_code": 3, "stdout": "hello world\n/\n", "stderr": "one\ntwo", "stderr_lines": 2 });
    assert_eq!(daemon.next(), expected);
    let said = daemon.ended();
    assert!(
        said.contains("the action \"say\" of execution act-") && said.contains(":1 has begun as root: /bin/sh"),
        "{said}"
    );
    assert!(
        said.contains(&format!("the action \"say\" of execution {} ended with exit code 3", place.execution)),
        "{said}"
    );
    // What an argument says isn't for the journal.
    assert!(!said.contains("hello"), "{said}");
}

#[test]
fn it_has_a_small_environment_and_no_file_of_the_helper() {
    let place = Place::new();
    let mut daemon = place.run("environment", &[]);
    daemon.next();
    let answer = daemon.next();
    let environment = answer["stdout"].as_str().unwrap();
    assert!(
        environment.contains(&format!("GATEWIRE_EXECUTION={}\n", place.execution))
            && environment.contains("GATEWIRE_JOB_ID=act-")
    );
    assert!(!environment.contains("SECRET") && !environment.contains("NOTIFY_SOCKET"), "{environment}");
}

#[test]
fn what_is_not_listed_for_root_is_refused() {
    let place = Place::new();
    let refused = place.refused("no-such-action", &[]);
    assert!(refused.ends_with("gatewire.toml has no action of this name"), "{refused}");
    assert!(place.refused("sandboxed", &[]).ends_with("has it without `as = \"root\"`"));
    assert!(
        place.refused("say", &["a", "B"]).ends_with(": argument 2: \"B\" doesn't match `args` of the action \"say\"")
    );
    assert!(place.refused("say", &["a\nb"]).contains("control character"));
    assert!(place.refused("say", &["a"; 40]).contains("takes at most"));
    assert!(place.refused("missing", &[]).contains("/bin/no-such-program"));
    assert!(place.refused("\u{1b}[2J", &[]).contains("\"\\u001b[2J\""), "nothing of others is shown raw");
    for request in [
        json!({ "action": "say", "execution": "job:1", "argv": ["/bin/sh"] }),
        json!({ "action": "say", "execution": "../job" }),
        json!({ "action": "say" }),
        json!("say"),
    ] {
        assert!(place.ask(request.clone()).error().starts_with("the request can't be used: "), "{request}");
    }
    assert!(place.ask(json!({ "cancel": true })).error().contains("nothing to cancel"));
    let mut daemon = place.connect();
    // It is refused before all of it has come.
    let _ = daemon.connection.write_all(&[b'x'; 66 * 1024]);
    assert!(daemon.error().starts_with("the request can't be read: "));
    let daemon = place.connect();
    daemon.connection.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(daemon.error(), "the connection was closed without a request");
}

#[test]
fn files_that_others_can_change_are_not_obeyed() {
    let place = Place::new();
    let set = |name: &str, mode| fs::set_permissions(place.path(name), Permissions::from_mode(mode)).unwrap();
    set("gatewire.toml", 0o666);
    let refused = place.refused("say", &[]);
    assert!(refused.contains("can be changed by others than root (mode 0666)"), "{refused}");
    // The advice works as printed.
    let advice = refused.split('`').nth(1).unwrap().strip_prefix("sudo ").unwrap();
    assert!(Command::new("sh").args(["-c", advice]).status().unwrap().success());
    assert!(place.is_begun("say"));
    set("", 0o777);
    let refused = place.refused("say", &[]);
    assert!(refused.contains("the directory ") && refused.contains("on the way to"), "{refused}");
    set("", 0o755);
    // One of conf.d isn't read.
    let extra = "[[action]]\nname = \"extra\"\nas = \"root\"\nrun = [\"/bin/true\"]\n";
    place.write("conf.d/extra.toml", extra);
    assert!(place.is_begun("extra"));
    set("conf.d/extra.toml", 0o602);
    let refused = place.refused("extra", &[]);
    assert!(
        refused.contains("no file that root alone can change has it") && refused.contains("conf.d/extra.toml"),
        "{refused}"
    );
    assert!(place.is_begun("say"));
    set("conf.d/extra.toml", 0o600);
    set("conf.d", 0o777);
    assert!(place.refused("extra", &[]).contains("the directory "));
    // Nor a program.
    set("conf.d", 0o755);
    place.write("program", "#!/bin/sh\n");
    let program = place.path("program");
    place.write("conf.d/extra.toml", &extra.replace("/bin/true", program.to_str().unwrap()));
    set("program", 0o755);
    assert!(place.is_begun("extra"));
    set("program", 0o757);
    let by_others = format!("{} can be changed by others", program.display());
    assert!(place.refused("extra", &[]).contains(&by_others));
    // Nor a script that an interpreter is given, or an interpreter that a script names.
    let shell = format!("[\"/bin/sh\", \"{}\"]", program.display());
    place.write("conf.d/extra.toml", &extra.replace("[\"/bin/true\"]", &shell));
    assert!(place.refused("extra", &[]).contains(&by_others));
    set("program", 0o755);
    assert!(place.is_begun("extra"));
    let script = place.path("script");
    place.write("script", &format!("#!{}\n", program.display()));
    set("script", 0o755);
    place.write("conf.d/extra.toml", &extra.replace("/bin/true", script.to_str().unwrap()));
    assert!(place.is_begun("extra"));
    set("program", 0o757);
    assert!(place.refused("extra", &[]).contains(&by_others));
}

#[test]
fn only_gatewires_user_and_root_may_ask() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.path(""), Permissions::from_mode(0o755)).unwrap();
    let listener = UnixListener::bind(place.path("socket")).unwrap();
    fs::set_permissions(place.path("socket"), Permissions::from_mode(0o666)).unwrap();
    let script = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
                  try: s.sendall(b'{\"action\":\"say\",\"execution\":\"job:1\"}\\n')\n\
                  except BrokenPipeError: pass # it is refused before that\nprint(s.makefile().readline())";
    let mut command = Command::new("python3");
    let stranger = command.args(["-c", script]).arg(place.path("socket")).uid(12_345).gid(12_345);
    let stranger = stranger.current_dir("/").stdout(Stdio::piped()).spawn().unwrap();
    let mut helper = place.helper(listener.accept().unwrap().0);
    let answer = String::from_utf8(stranger.wait_with_output().unwrap().stdout).unwrap();
    assert!(answer.contains("the user 12345 may not ask for actions of root"), "{answer}");
    assert!(helper.wait().unwrap().success());
}

#[test]
fn a_downloaded_file_is_the_one_that_was_opened_and_the_daemons() {
    let place = Place::new();
    let file = place.path("file");
    place.write("file", "content");
    let ask = |file: &Path| place.ask(json!({ "action": "install", "execution": "job:1", "download": file }));
    let mut daemon = ask(&file);
    daemon.next();
    assert_eq!(daemon.next(), json!({ "exit_code": 0, "stdout": "content" }));
    symlink(&file, place.path("link")).unwrap();
    assert!(ask(&place.path("link")).error().contains("can't be opened"));
    assert!(ask(&place.path("")).error().contains("is no regular file"));
    assert!(ask(Path::new("file")).error().contains("can't be opened"));
    place.write("large", &"x".repeat(1025));
    assert!(ask(&place.path("large")).error().contains("is larger than `max_size`"));
    assert!(place.refused("install", &[]).contains("needs a downloaded file"));
    let daemon = place.ask(json!({ "action": "say", "execution": "job:1", "download": file }));
    assert!(daemon.error().contains("it has no `download`"));
    if nix::unistd::geteuid().is_root() {
        chown(&file, Some(12_345), None).unwrap();
        assert!(ask(&file).error().contains("belongs to 12345"));
    }
}

#[test]
fn by_hand_it_says_who_starts_it() {
    let place = Place::new();
    let output = place.helper(fs::File::open("/dev/null").unwrap()).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("systemd starts `gatewire act`, for each connection to gatewire-action.socket"), "{said}");
}
