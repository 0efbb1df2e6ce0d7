//! What others write (topics, payloads, file names, servers, programs) never acts on a log or a terminal, and what repeats in the
//! log has its limit.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;

use support::daemon::Setup;
use support::mosquitto::Mosquitto;
use support::socket::Client;
use support::{closed_port, eventually, program};

/// What a terminal would obey, or a reader of the log be misled by.
const HARMFUL: &str = "x\n2026-01-01T00:00:00Z error: forged\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{2028}\u{feff}\u{ffff}";

fn harmless(text: &[u8], what: &str) -> String {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let forbidden = |c: char| (c.is_control() && !"\n\r".contains(c)) || "\u{202e}\u{2028}\u{feff}\u{ffff}".contains(c);
    assert!(!text.contains(forbidden), "{what}: {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("2026-01-01")), "{what}: {text:?}");
    text
}

/// Runs a command with a terminal as standard output, or only as standard error.
fn on_a_terminal(setup: &Setup, arguments: &[&str], piped: bool, variables: &[(&str, &str)]) -> Output {
    let command = setup.command();
    let quote = |word: &str| format!("'{}'", word.replace('\'', "'\\''"));
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(|word| word.to_str().unwrap());
    let line: Vec<String> = words.chain(arguments.iter().copied()).map(quote).collect();
    let line = line.join(" ") + if piped { " | cat" } else { "" };
    program("script").args(["-qec", &line, "/dev/null"]).envs(variables.iter().copied()).output().unwrap()
}

/// Answers the next client of a socket with these bytes, once it has said so much.
fn serve_once(path: &Path, expected: usize, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.read_exact(&mut vec![0; expected]).unwrap();
        drop(listener);
        client.write_all(&bytes).unwrap();
    })
}

#[test]
fn tail_gives_programs_each_byte_and_a_terminal_nothing_to_obey() {
    let line = format!("{{\"id\":1,\"topic\":\"t\",\"payload\":\"{}\"}}\n{HARMFUL}\n", &HARMFUL[40..]);
    let variables: [&[(&str, &str)]; 3] = [&[("TERM", "xterm")], &[("NO_COLOR", "1")], &[("TERM", "dumb")]];
    for (i, variables) in variables.iter().enumerate() {
        let setup = Setup::new(closed_port(), "");
        let path = setup.directory.path().join("fake.sock");
        let server = serve_once(&path, "{\"observe\":true}\n".len(), line.clone().into_bytes());
        let output = on_a_terminal(&setup, &["tail", "--socket", path.to_str().unwrap()], false, variables);
        server.join().unwrap();
        let ours = ["\u{1b}[2m", "\u{1b}[36m", "\u{1b}[0m"];
        let shown = String::from_utf8(output.stdout).unwrap();
        assert_eq!(shown.contains(ours[0]), i == 0, "{shown:?}");
        let shown = ours.iter().fold(shown, |shown, colour| shown.replace(colour, ""));
        let shown = shown.replace("\r\n2026-01-01T00:00:00Z error: forged", "");
        assert!(harmless(shown.as_bytes(), "tail").contains("\\u001b[2J\\u009b31m\\u007f\\u202e"), "{shown:?}");
    }
    let setup = Setup::new(closed_port(), "");
    let path = setup.directory.path().join("fake.sock");
    let server = serve_once(&path, "{\"observe\":true}\n".len(), line.clone().into_bytes());
    let output = setup.command().args(["tail", "--socket", path.to_str().unwrap()]).output().unwrap();
    server.join().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), line);
}

#[test]
fn status_shows_nothing_that_a_terminal_would_obey() {
    let document = serde_json::json!({
        "version": HARMFUL,
        "link": {"state": "waiting", "endpoint": HARMFUL, "client_id": HARMFUL, "last_error": {"code": HARMFUL, "message": HARMFUL, "advice": HARMFUL},
            "filters_refused": [{"filter": HARMFUL, "reason": HARMFUL, "missing": HARMFUL}]},
        "outbox": {"quarantined": 1, "quarantine": [{"topic": HARMFUL, "reason": HARMFUL, "messages": 1}], "dropped": {HARMFUL: 1}},
        "store": {"path": HARMFUL, "moved_aside": [HARMFUL]},
        "publish": [{"name": HARMFUL, "topic": HARMFUL, "last_error": {"message": HARMFUL, "at": "2026-01-01T00:00:00Z"}}],
        "forward": [{"name": HARMFUL, "socket": HARMFUL, "dropped": {HARMFUL: 1}}],
        "ingest": [{"name": HARMFUL, "socket": HARMFUL, "refused": {HARMFUL: 1}}],
    });
    let document = serde_json::to_vec(&document).unwrap();
    for (option, piped) in [(None, false), (None, true), (Some("--json"), false), (Some("--prometheus"), true)] {
        let setup = Setup::new(closed_port(), "");
        let path = setup.directory.path().join("fake.sock");
        let server = serve_once(&path, 0, document.clone());
        let arguments: Vec<&str> = ["status", "--socket", path.to_str().unwrap()].into_iter().chain(option).collect();
        let output = on_a_terminal(&setup, &arguments, piped, &[("NO_COLOR", "1")]);
        server.join().unwrap();
        let shown = harmless(&output.stdout, "status");
        assert!(shown.contains("u001b[2J") && shown.contains("u009b31m"), "{shown}");
        if option == Some("--json") {
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
                serde_json::from_slice::<serde_json::Value>(&document).unwrap()
            );
        }
    }
}

#[test]
fn neither_arguments_nor_files_nor_programs_forge_a_line() {
    // An argument that clap repeats, a file's name, a key and a value of a configuration.
    let setup = Setup::new(closed_port(), "");
    for arguments in [
        vec!["status", "--json", HARMFUL],
        vec![HARMFUL],
        vec!["publish", "t", "--qos", HARMFUL],
        vec!["policy", "--account", "123456789012", "--region", "eu-west-1", "--against", HARMFUL],
        vec!["tail", "--socket", HARMFUL],
        vec!["publish", HARMFUL, "x"],
    ] {
        let output = setup.command().args(&arguments).output().unwrap();
        assert!(!output.status.success());
        assert!(harmless(&output.stderr, &format!("{arguments:?}")).contains("\\u009b31m"), "{output:?}");
        harmless(&output.stdout, "standard output");
    }
    let directory = setup.directory.path().join(HARMFUL[1..].replace('/', "_"));
    let output = program(env!("CARGO_BIN_EXE_gatewire")).arg("--config").arg(directory).arg("check").output().unwrap();
    assert!(harmless(&output.stderr, "--config").contains("\\u009b31m"), "{output:?}");
    let value = serde_json::to_string(&HARMFUL[1..]).unwrap().replace('\u{7f}', "\\u007f");
    let setup =
        Setup::new(closed_port(), &format!("[[publish]]\nname = \"p\"\n{value} = 1\ntopic = \"t\"\nevery = {value}\n"));
    let (code, out, err) = setup.output("check");
    assert_eq!(code, 78, "{out}");
    assert!(harmless(err.as_bytes(), "check").contains("\\u001b[2J"), "{err}");
}

#[test]
fn a_source_that_fails_every_other_time_is_told_a_few_times_and_its_words_stay_in_their_line() {
    let script = "if [ -e $0 ]; then rm $0; printf 'no sensor\\n2026-01-01T00:00:00Z error: forged\\033[2J\\302\\2331m\\n' >&2; exit 3; fi; touch $0; echo 1";
    let publish = format!(
        "[[publish]]\nname = \"p\"\ntopic = \"v\"\nevery = \"50ms\"\nqos = 0\ncommand = [\"sh\", \"-c\", {}, \"DIR/flag\"]\n",
        serde_json::to_string(script).unwrap()
    );
    let gatewire = Setup::new(closed_port(), &publish).start();
    let failed = || gatewire.status()["publish"][0]["failed"].as_u64().unwrap();
    eventually("many failures", || (failed() >= 15).then_some(()));
    let log = gatewire.log();
    // On a busy machine runs are skipped, too, which is told by itself.
    let told = |text: &str| log.iter().filter(|line| line.contains("publish p: ") && line.contains(text)).count();
    let of_p = told("ended with exit code") + told("not published") + told("published again");
    assert!((3..=7).contains(&of_p), "{log:#?}");
    gatewire.signal("TERM");
    // Each kind of line has its own count: on a busy machine that of runs that were skipped, too.
    gatewire.wait_for(": stopped");
    let log = gatewire.log();
    let left_out = |line: &String| {
        let (before, _) = line.split_once(" more lines like this were left out, the last: publish p: ")?;
        before.rsplit(' ').next()?.parse::<u64>().ok()
    };
    assert!(log.iter().filter_map(left_out).any(|count| count >= 10), "{log:#?}");
    assert!(log.iter().any(|line| line.contains("no sensor")), "{log:#?}");
    harmless(log.join("\n").as_bytes(), "the log");
}

/// Files below `directory`.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// Whether a file below `src/` isn't part of the daemon.
fn is_for_tests(name: &str) -> bool {
    ["test", "fuzzing", "/simulation/", "/simulated.rs"].iter().any(|part| name.contains(part))
}

#[test]
fn nothing_is_printed_but_by_the_two_places_that_make_it_harmless() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (logger, output) = (root.join("journal/mod.rs"), root.join("cli/output.rs"));
    let printers = [
        "println!",
        "print!",
        "dbg!",
        "io::stdout",
        "io::stderr",
        "/dev/std",
        "/dev/tty",
        "/dev/fd",
        "STDOUT",
        "STDERR",
        ".print()",
        "set_logger",
        "set_boxed_logger",
        ".exit()",
        "process::exit",
    ];
    // What only looks at standard output, what keeps it from a module's words, and the terminal of `status --watch`, on which
    // ratatui draws no control character.
    let allowed = [
        "let stdout = io::stdout();",
        "[PollFd::new(stdout.as_fd()",
        "dup2_stdout(io::stderr())",
        "() if !io::stdout().is_terminal() =>",
        "io::stdout().as_fd().try_clone_to_owned().map(File::from)",
        "std::process::exit(Exit::Done as i32);",
    ];
    let mut found = Vec::new();
    for path in sources(&root) {
        let name = path.to_str().unwrap();
        if path == logger || path == output || is_for_tests(name) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            if printers.iter().any(|printer| line.contains(printer))
                && !allowed.iter().any(|known| line.contains(known))
            {
                found.push(format!("{name}: {}", line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "use cli::output or log: {found:#?}");
    for path in [&logger, &output] {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains("printable("), "{} doesn't make text harmless", path.display());
    }
}

/// A journal whose disk hangs, a terminal that was stopped (Ctrl-S), `| less`.
#[test]
fn nobody_reading_the_log_holds_up_nothing() {
    let broker = Mosquitto::start();
    let noisy =
        "[log]\nlevel = \"debug\"\n[[ingest]]\nname = \"p\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"a/#\"]\n";
    let setup = Setup::new(broker.port, noisy).unspilled();
    let directory = Arc::clone(&setup.directory);
    let directory = directory.path();
    // On standard error, and in the place of the journal and of systemd.
    let (full, _unread) = UnixStream::pair().unwrap();
    full.set_nonblocking(true).unwrap();
    while (&full).write(&[b' '; 4096]).is_ok() {}
    full.set_nonblocking(false).unwrap();
    let path = directory.join("notify.sock");
    let _systemd = UnixDatagram::bind(&path).unwrap();
    let full_systemd = UnixDatagram::unbound().unwrap();
    full_systemd.set_nonblocking(true).unwrap();
    while full_systemd.send_to(b"X=1", &path).is_ok() {}
    let setup = setup.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
    let mut child = setup.command().arg("run").stdin(Stdio::null()).stderr(OwnedFd::from(full)).spawn().unwrap();
    broker.wait_for("Sending CONNACK to thing-1");
    let mut client = Client::connect(&directory.join("publish.sock"));
    for _ in 0..1000 {
        client.send(r#"{"topic":"a/b","payload":"x"}"#);
        assert_eq!(client.json()["result"], "delivered");
    }
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(eventually("its end", || child.try_wait().unwrap()).code(), Some(0));
}
