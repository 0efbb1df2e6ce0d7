//! `gatewire check`, and what `run` says to a bad configuration.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "config/installed.rs"]
mod installed;
#[path = "config/programs.rs"]
mod programs;
#[path = "config/store.rs"]
mod store;
mod support;

use std::fs;
use std::io::pipe;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use support::CERTIFICATES;
use tempfile::TempDir;

const CONNECTION: &str = "[connection]\nendpoint = \"localhost\"\nclient_id = \"thing-1\"\nprotocol = \"3.1.1\"\n";

/// A configuration in a directory of its own.
struct Files(TempDir);

impl Files {
    fn new(text: &str) -> Files {
        let files = Files(TempDir::new().unwrap());
        files.write("gatewire.toml", text);
        files
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// With the credentials of the tests where systemd would put them.
    fn command(&self, command: &str) -> Command {
        let mut gatewire = gatewire();
        gatewire.arg("--config").arg(self.0.path().join("gatewire.toml")).arg(command);
        gatewire.env("CREDENTIALS_DIRECTORY", CERTIFICATES.path(""));
        gatewire
    }

    fn check(&self) -> Said {
        self.said(self.command("check").output().unwrap())
    }

    /// Paths without the directory.
    fn said(&self, output: Output) -> Said {
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(&format!("{}/", self.0.path().display()), "");
        Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn gatewire() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewire"));
    for name in ["NOTIFY_SOCKET", "JOURNAL_STREAM", "CREDENTIALS_DIRECTORY", "RUNTIME_DIRECTORY", "STATE_DIRECTORY"] {
        command.env_remove(name);
    }
    command
}

const TLS: &str = "[tls]\nca_file = \"$CREDENTIALS_DIRECTORY/AmazonRootCA1.pem\"\n\
                   cert_file = \"$CREDENTIALS_DIRECTORY/certificate.pem.crt\"\n\
                   key_file = \"$CREDENTIALS_DIRECTORY/private.pem.key\"\n";

#[test]
fn a_good_configuration_is_summed_up_and_exits_0() {
    let files = Files::new(&format!(
        "{CONNECTION}{TLS}[[publish]]\nname = \"hello\"\ntopic = \"test/topic\"\nevery = \"90s\"\npayload = \"x\"\n\
         [[forward]]\nname = \"messages\"\nfilters = [\"a/#\", \"b\"]\nsocket = \"/run/messages.sock\"\n\
         [[bridge]]\nname = \"house\"\nbroker = \"127.0.0.1:1883\"\n[[bridge.up]]\nfrom = \"z/#\"\nurgent = true\n[[bridge.up]]\nfrom = \"tele/#\"\n\
         [[bridge.down]]\nfrom = \"set/#\"\n"
    ));
    files.write(
        "conf.d/10.toml",
        "[connection]\nport = 443\n[[ingest]]\nname = \"up\"\nsocket = \"/run/up.sock\"\ntopics = [\"{{client_id}}/+\"]\n",
    );
    let said = files.check();
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{said:?}");
    assert_eq!(
        said.stdout.lines().collect::<Vec<_>>(),
        [
            "configuration and credentials can be used",
            "  link     localhost:443 as thing-1",
            "  publish  hello: on test/topic every 1m 30s",
            "  forward  messages: a/#, b to /run/messages.sock",
            "  ingest   up: /run/up.sock to thing-1/+",
            "  bridge   house: gatewire-thing-1 at 127.0.0.1:1883, 2 rules up (1 urgent), 1 rule down",
            "  cost     in a month, connected for all of its 43,800 minutes: at least 29,200 messages, 29,200 units of 5 KB, \
             2.2 MB sent, 1.8 MB received, and what isn't counted (below); AWS's prices differ by region",
            "  cost     hello: 29,200 messages, 29,200 units of 5 KB, 1.1 MB sent, 759.2 kB received",
            "  cost     keep alive: at most 1.1 MB sent, 1.1 MB received",
            "  cost     not counted, as it depends on others: ingest up, forward messages, bridge house",
        ]
    );
}

#[test]
fn a_warning_is_told_and_exits_0() {
    let said = Files::new(&format!("{CONNECTION}keep_alive = \"10s\"\n{TLS}")).check();
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(
        said.stderr,
        "gatewire.toml:5: warning: `connection.keep_alive`: IoT Core counts less than 30s as 30s\n"
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once_and_exits_78() {
    let tls = TLS.replace("certificate.pem.crt", "nowhere.pem");
    let files = Files::new(&format!("{CONNECTION}keep_alive = \"10s\"\nprt = 1\n{tls}"));
    files.write("conf.d/10.toml", "[status]\nmode = 660\n[[publish]]\nname = \"p\"\n");
    let said = files.check();
    assert_eq!((said.code, said.stdout.as_str()), (Some(78), ""), "{said:?}");
    let lines: Vec<&str> = said.stderr.lines().collect();
    // What keeps it from starting comes first.
    assert_eq!(
        lines[..7],
        [
            "gatewire.toml:6: `connection.prt`: unknown key; did you mean `port`?",
            "conf.d/10.toml:2: `status.mode`: must be in quotes, \"0660\"",
            "conf.d/10.toml:3: `publish.every`: is missing; it is written like `every = \"1m\"` or `cron = \"*/5 * * * *\"`",
            "conf.d/10.toml:3: `publish.payload`: is missing; it is written like `payload = { message = \"Hello\" }`",
            "conf.d/10.toml:3: `publish.topic`: is missing; it is written like `topic = \"test/topic\"`",
            lines[5],
            "gatewire.toml:5: warning: `connection.keep_alive`: IoT Core counts less than 30s as 30s",
        ]
    );
    assert!(lines[5].contains("nowhere.pem"), "{lines:#?}");
}

#[test]
fn run_refuses_what_check_refuses() {
    let files = Files::new(&format!("{CONNECTION}prt = 1\n{}", TLS.replace("certificate.pem.crt", "nowhere.pem")));
    let (checked, ran) = (files.check(), files.said(files.command("run").output().unwrap()));
    assert_eq!((checked.code, ran.code), (Some(78), Some(78)));
    for line in checked.stderr.lines() {
        assert!(ran.stderr.lines().any(|logged| logged.ends_with(&format!(" error: {line}"))), "{line}\n{ran:#?}");
    }
    assert!(ran.stderr.trim_end().ends_with("`gatewire check` shows the same report"), "{ran:#?}");
}

#[test]
fn what_a_document_may_not_name_is_refused_by_check_run_and_before_a_reload() {
    let files = Files::new("");
    for run in
        [r#""/bin/sh", "-c", "{{args}}""#, r#""/usr/bin/env", "bash", "-c", "{{args}}""#, r#""/bin/sh", "{{args}}""#]
    {
        let action = format!("[jobs]\n[[action]]\nname = \"x\"\nargs = \"(a|b)\"\nrun = [{run}]\n");
        files.write("gatewire.toml", &format!("{CONNECTION}{TLS}{action}"));
        let said = |arguments: &[&str]| files.said(files.command(arguments[0]).args(&arguments[1..]).output().unwrap());
        for arguments in [&["check"][..], &["check", "--reloadable"], &["run"]] {
            let said = said(arguments);
            let line = "gatewire.toml:13: `action.run`: ";
            let is_told = said.stderr.contains(line) && said.stderr.contains("never comes from a document");
            assert!(said.code == Some(78) && is_told, "{run} {arguments:?}: {said:?}");
        }
    }
}

#[test]
fn what_an_actions_program_most_likely_cannot_do_is_told_by_check() {
    let action = "[jobs]\n[[action]]\nname = \"x\"\nhandler = \"reboot.sh\"\nrun = [\"/usr/bin/env\", \"systemctl\", \"reboot\"]\n";
    let said = Files::new(&format!("{CONNECTION}{TLS}{action}")).check();
    let told: Vec<&str> = said.stderr.lines().filter(|line| line.contains("warning: `action.run`")).collect();
    assert_eq!(told.len(), 2, "{said:?}");
    let says = |text: &str| told.iter().any(|line| line.starts_with("gatewire.toml:13: ") && line.contains(text));
    assert!(says("`action.run`: systemctl most likely needs root"), "{told:?}");
    assert!(says("write `as = \"root\"`") && says("write `done = \"after-boot\"`"), "{told:?}");
    let right = format!("{action}as = \"root\"\ndone = \"after-boot\"\n");
    let said = Files::new(&format!("{CONNECTION}{TLS}{right}")).check();
    assert!(!said.stderr.contains("`action.run`"), "{said:?}");
}

#[test]
fn the_shipped_configuration_tells_a_newcomer_all_that_is_left_to_do() {
    let shipped = include_str!("../config/gatewire.toml");
    let files = Files::new(shipped);
    files.write(
        "gatewire.toml",
        &format!("{shipped}\n").replace("# ca_file   = \"/etc/gatewire", "ca_file = \"/nowhere"),
    );
    let said = files.check();
    assert_eq!(said.code, Some(78));
    assert!(
        said.stderr.contains("`connection.endpoint`: is still the placeholder. Your account's endpoint"),
        "{said:?}"
    );
    assert!(said.stderr.contains("/nowhere/certs/AmazonRootCA1.pem"), "{said:?}");
}

#[test]
fn a_file_that_is_not_there_is_named_with_what_to_do() {
    let files = Files::new("");
    fs::remove_file(files.0.path().join("gatewire.toml")).unwrap();
    let said = files.check();
    assert_eq!(said.code, Some(78));
    assert_eq!(
        said.stderr,
        "gatewire.toml: there is no such file. The package installs /etc/gatewire/gatewire.toml; name another file with \
         --config\n"
    );
}

#[test]
fn nobody_reading_the_answer_changes_nothing_about_it() {
    for (text, code) in [(format!("{CONNECTION}{TLS}"), 0), (String::new(), 78)] {
        let files = Files::new(&text);
        let closed = || Stdio::from(pipe().unwrap().1);
        let status = files.command("check").stdout(closed()).stderr(closed()).status().unwrap();
        assert_eq!(status.code(), Some(code));
    }
}

#[test]
fn usage_errors_exit_64_and_help_exits_0() {
    for arguments in [&[][..], &["chekc"], &["check", "--conect"], &["--config"], &["check", "more"]] {
        let output = gatewire().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    for (argument, part) in
        [("--help", "Examples:"), ("--version", concat!("gatewire ", env!("CARGO_PKG_VERSION"), "\n"))]
    {
        let output = gatewire().arg(argument).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8(output.stdout).unwrap().contains(part) && output.stderr.is_empty());
    }
}

#[test]
fn the_shipped_configuration_is_known_until_its_endpoint_is_filled_in() {
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/gatewire.toml")).unwrap();
    let setup = support::daemon::Setup::with_text(&shipped);
    let (code, output, errors) = setup.output_of(&["check", "--configured"]);
    assert_eq!((code, output.as_str()), (1, ""));
    assert!(errors.contains("gatewire.toml is still the placeholder: gatewire isn't started"), "{errors}");
    // A file of conf.d may be where it is filled in. That the credentials aren't there is for `run` to say.
    std::fs::create_dir(setup.directory.path().join("conf.d")).unwrap();
    let drop_in = "[connection]\nendpoint = \"a1b2c3-ats.iot.eu-west-1.amazonaws.com\"\n";
    std::fs::write(setup.directory.path().join("conf.d/site.toml"), drop_in).unwrap();
    assert_eq!(setup.output_of(&["check", "--configured"]), (0, String::new(), String::new()));
}

/// Standard error, without the times that the log has.
fn says(said: &Said, text: &str) -> bool {
    said.stderr.lines().any(|line| line.ends_with(text))
}

#[test]
fn what_would_end_the_start_is_told_by_check_in_the_same_words() {
    for (section, text) in [
        (
            "[status]\nsocket = \"DIR/none/status.sock\"\n[outbox]\npath = \"DIR/a.db\"\n",
            "the directory none doesn't exist",
        ),
        ("[status]\nsocket = \"DIR/file\"\n[outbox]\npath = \"DIR/a.db\"\n", "a file that isn't a socket is there"),
        ("[status]\nsocket = \"DIR/s.sock\"\n[outbox]\npath = \"DIR/file\"\n", "it isn't a database of gatewire"),
        ("[status]\nsocket = \"DIR/s.sock\"\n[outbox]\npath = \"DIR/conf.d\"\n", "it is a directory, not a database"),
    ] {
        let files = Files::new("");
        let section = section.replace("DIR", &files.0.path().display().to_string());
        files.write("gatewire.toml", &format!("{CONNECTION}{TLS}{section}"));
        files.write("file", &"text\n".repeat(100));
        fs::create_dir(files.0.path().join("conf.d")).unwrap();
        let list = || fs::read_dir(files.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        let before = list();
        let checked = files.check();
        assert_eq!(checked.code, Some(78), "{checked:?}");
        assert!(checked.stderr.contains(text), "{checked:?}");
        assert_eq!(list(), before, "nothing is changed");
        let ran = files.said(files.command("run").output().unwrap());
        assert_eq!(ran.code, Some(78), "{ran:?}");
        let line = checked.stderr.lines().last().unwrap();
        assert!(says(&ran, line), "{line}\n{ran:?}");
    }
}

#[test]
fn a_directory_that_is_missing_is_told_once_for_all_its_sockets() {
    let files = Files::new("");
    let at = files.0.path().display();
    let socket = |name: &str| format!("socket = \"{at}/none/{name}.sock\"\n");
    let forward = format!("[[forward]]\nname = \"f\"\nfilters = [\"a\"]\n{}", socket("f"));
    let status = format!("[status]\n{}", socket("s"));
    files.write("gatewire.toml", &format!("{CONNECTION}{TLS}{forward}{status}"));
    let said = files.check();
    assert_eq!((said.code, said.stderr.matches("none doesn't exist").count()), (Some(78), 1), "{said:?}");
    files.write("none", "");
    let said = files.check();
    assert!(said.code == Some(78) && said.stderr.contains("none or a part of it is a file"), "{said:?}");
}

#[test]
fn check_and_run_refuse_the_same_with_the_line_that_names_it() {
    let files = Files::new("");
    let at = files.0.path().display().to_string();
    files.write("text", "a file");
    files.write("private.pem.key", "-----BEGIN PRIVATE KEY-----");
    std::os::unix::fs::symlink(&at, format!("{at}/link")).unwrap();
    let outbox = |path: &str| format!("[outbox]\npath = \"{path}\"\n");
    let status = |path: &str| format!("{}[status]\nsocket = \"{path}\"\n", outbox(&format!("{at}/a.db")));
    for (rest, key) in [
        (
            status("/proc/gatewire.sock"),
            "gatewire.toml:12: `status.socket`: the socket /proc/gatewire.sock can't be made: ",
        ),
        (status("/proc/self/x.sock"), "gatewire.toml:12: `status.socket`: "),
        (status("/sys/x.sock"), "gatewire.toml:12: `status.socket`: "),
        (status("/dev/pts/x.sock"), "gatewire.toml:12: `status.socket`: "),
        (status(&format!("{at}/none/x.sock")), "gatewire.toml:12: `status.socket`: "),
        (status(&format!("{at}/text")), "gatewire.toml:12: `status.socket`: "),
        (outbox(&format!("{at}/text")), "gatewire.toml:10: `outbox.path`: "),
        (outbox("/dev/null"), "gatewire.toml:10: `outbox.path`: "),
        (outbox(&format!("{at}/private.pem.key")), "gatewire.toml:10: `outbox.path`: "),
        (status(&format!("{at}/link/a.db")), "gatewire.toml:12: `status.socket`: "),
        (status(&format!("{at}/a.db-wal")), "gatewire.toml:12: `status.socket`: "),
        (status(&format!("{at}/a.db.lock")), "gatewire.toml:12: `status.socket`: "),
    ] {
        files.write("gatewire.toml", &format!("{CONNECTION}{TLS}{rest}"));
        let (check, run) = (files.check(), files.said(files.command("run").output().unwrap()));
        assert_eq!((check.code, run.code), (Some(78), Some(78)), "{rest}: {check:?} {run:?}");
        let line =
            check.stderr.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{rest}: {check:?}"));
        assert!(run.stderr.contains(line), "{line}\n{run:?}");
    }
    let tls = TLS.replace("$CREDENTIALS_DIRECTORY/private", "/nowhere/private");
    files.write("gatewire.toml", &format!("{CONNECTION}{tls}[status]\nsocket = \"/proc/x.sock\"\n"));
    let (check, run) = (files.check(), files.said(files.command("run").output().unwrap()));
    let line = "gatewire.toml:8: tls.key_file /nowhere/private.pem.key: there is no directory /nowhere";
    assert!(check.stderr.starts_with(line) && run.stderr.contains(line), "{check:?} {run:?}");
    assert!(check.stderr.contains("gatewire.toml:10: `status.socket`: "), "the rest isn't kept back: {check:?}");
    files.write("gatewire.toml", &format!("{CONNECTION}{TLS}{}", outbox("/proc/a.db")));
    let check = files.check();
    assert_eq!(check.code, Some(1), "run would start, and store nothing: {check:?}");
    assert!(
        check.stderr.contains("gatewire.toml:10: `outbox.path`: nothing could be stored: /proc/a.db: "),
        "{check:?}"
    );
    files.write("gatewire.toml", &format!("{CONNECTION}{TLS}{}", outbox(&format!("{at}/text/a.db"))));
    let check = files.check();
    assert!(
        check.code == Some(1) && check.stderr.contains("a part of this path is a file, not a directory"),
        "{check:?}"
    );
}

#[test]
fn a_login_where_a_program_belongs_is_repeated_neither_by_check_nor_by_run() {
    let publish =
        "[[publish]]\nname = \"p\"\ntopic = \"t\"\nevery = \"1h\"\ncommand = [\"http://me:hunter2@camera/snapshot\"]\n";
    let setup = support::daemon::Setup::new(support::closed_port(), publish);
    let (_, out, err) = setup.output("check");
    let said = format!("{out}{err}");
    assert!(said.contains("there is no program http://...@camera/snapshot") && !said.contains("hunter2"), "{said}");
    let gatewire = setup.start();
    let line = gatewire.wait_for("publish p: ");
    assert!(!gatewire.log().join("\n").contains("hunter2"), "{line}");
}
