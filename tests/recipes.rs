//! The programs and configurations of docs/recipes.md, run as they stand there, but for the directory of the sockets.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::daemon::{Gatewire, Setup};
use support::mosquitto::Mosquitto;
use support::{PATIENCE, closed_port, eventually};

fn recipe(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes").join(name)
}

/// A configuration with the `[[ingest]]` of the shipped one and `piece` in `conf.d`, their files in the test's directory.
fn setup(port: u16, piece: &str) -> Setup {
    setup_with(port, piece, str::to_owned)
}

/// Likewise, with an edited piece.
fn setup_with(port: u16, piece: &str, edit: impl FnOnce(&str) -> String) -> Setup {
    let shipped = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/gatewire.toml")).unwrap();
    let (_, ingest) = shipped.split_once("\n[[ingest]]\n").unwrap();
    let (ingest, _) = ingest.split_once("\n[outbox]\n").unwrap();
    let setup = Setup::new(port, &format!("[[ingest]]\n{}\n", ingest.replace("/run/gatewire", "DIR")));
    let piece = edit(&fs::read_to_string(recipe(piece)).unwrap());
    let directory = setup.directory.path();
    fs::create_dir(directory.join("conf.d")).unwrap();
    fs::write(directory.join("conf.d/piece.toml"), piece.replace("/run/gatewire", directory.to_str().unwrap()))
        .unwrap();
    setup
}

/// A program that is killed with the test, and what it has started with it.
struct Program(Child);

impl Program {
    fn start(command: &mut Command, gatewire: &Gatewire) -> Program {
        let built = Path::new(env!("CARGO_BIN_EXE_gatewire")).parent().unwrap();
        let mut path = OsString::from(built);
        path.extend([OsString::from(":"), std::env::var_os("PATH").unwrap()]);
        Program(command.env("SOCKETS", gatewire.directory()).env("PATH", path).process_group(0).spawn().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// A lamp is switched, and says so; nothing is lost when either side dies.
fn switches_a_lamp(program: &str) {
    let broker = Mosquitto::start();
    let reports = broker.subscribe_with("gateways/thing-1/lamp", &[], "%p");
    let setup = setup(broker.port, "lamp.toml");
    let gatewire = setup.connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let lamp = gatewire.path("lamp");
    let start = |gatewire: &Gatewire| {
        let program = Program::start(Command::new(recipe(program)).env("LAMP", &lamp), gatewire);
        eventually("the program", || (gatewire.status()["forward"][0]["readers"] == 1).then_some(()));
        program
    };
    let set = |state: &str| broker.publish("gateways/thing-1/lamp/set", state.as_bytes());
    let all_done = |gatewire: &Gatewire| {
        eventually("its acknowledgement", || (gatewire.status()["forward"][0]["waiting"] == 0).then_some(()));
    };
    let reports_next = |state: &str, value: &str| {
        assert_eq!(reports.next(), state);
        assert_eq!(fs::read_to_string(&lamp).unwrap().trim(), value);
    };
    let running = start(&gatewire);
    set("on");
    reports_next("on", "1");
    set("purple");
    set("off");
    reports_next("off", "0");
    all_done(&gatewire);
    // Without the program it waits.
    drop(running);
    set("on");
    eventually("a waiting message", || (gatewire.status()["forward"][0]["waiting"] == 1).then_some(()));
    let _running = start(&gatewire);
    reports_next("on", "1");
    all_done(&gatewire);
    // Without the daemon the program waits.
    gatewire.kill();
    let gatewire = setup.again().connect();
    eventually("the program again", || (gatewire.status()["forward"][0]["readers"] == 1).then_some(()));
    set("off");
    // What was acknowledged just before the daemon died may come once more: at least once is what is promised.
    while reports.next() != "off" {}
    assert_eq!(fs::read_to_string(&lamp).unwrap().trim(), "0");
    all_done(&gatewire);
}

#[test]
fn a_shell_script_reads_and_publishes() {
    switches_a_lamp("lamp.sh");
}

#[test]
fn a_python_program_reads_and_publishes() {
    switches_a_lamp("lamp.py");
}

#[test]
fn a_node_program_reads_and_publishes() {
    switches_a_lamp("lamp.mjs");
}

/// The harness, and what debug nodes show.
struct Flow {
    _program: Program,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Flow {
    fn next(&mut self, node: &str) -> Value {
        loop {
            let line = self.lines.next().expect("the flow has ended").unwrap();
            if let Some(rest) = line.strip_prefix(node) {
                return serde_json::from_str(rest).unwrap();
            }
        }
    }
}

#[test]
fn a_node_red_flow_receives_and_publishes() {
    let broker = Mosquitto::start();
    let doors = broker.subscribe_with("gateways/thing-1/door", &[], "%p");
    let forward = "[[forward]]\nname = \"messages\"\nfilters = [\"test/topic\"]\nsocket = \"DIR/messages.sock\"\n\
        [[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"gateways/{{client_id}}/#\"]\n";
    let setup = Setup::new(broker.port, forward);
    let gatewire = setup.connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let mut command = Command::new("node");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/flow.mjs")).arg(recipe("node-red.json"));
    command.arg(gatewire.directory()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = Program::start(&mut command, &gatewire);
    let (stdin, stdout) = (program.0.stdin.take(), program.0.stdout.take().unwrap());
    let mut flow = Flow { _program: program, stdin, lines: BufReader::new(stdout).lines() };
    let connected = |flow: &mut Flow| (0..2).for_each(|_| while flow.next("status ") != "connected" {});
    connected(&mut flow);
    broker.publish("test/topic", b"hello");
    let message = flow.next("messages ");
    assert_eq!((&message["topic"], &message["payload"]), (&json!("test/topic"), &json!("hello")));
    let door = |flow: &mut Flow, topic: &str| {
        let line = json!({"topic": topic, "payload": {"open": true}});
        writeln!(flow.stdin.as_mut().unwrap(), "{line}").unwrap();
    };
    door(&mut flow, "gateways/thing-1/door");
    assert_eq!(doors.next(), "{\"open\":true}");
    assert_eq!(flow.next("answers ")["payload"], json!({"result": "delivered"}));
    door(&mut flow, "elsewhere");
    assert_eq!(flow.next("answers ")["payload"]["error"], "topic_not_allowed");
    gatewire.kill();
    let _gatewire = setup.again().connect();
    connected(&mut flow);
    door(&mut flow, "gateways/thing-1/door");
    assert_eq!(flow.next("answers ")["payload"], json!({"result": "delivered"}));
    drop(flow.stdin.take());
    assert!(flow.lines.map_while(Result::ok).all(|line| !line.starts_with("status ")), "it ends when it is closed");
}

/// In the place of Home Assistant: takes one request, which gets `answer`; its head in lower case, and its body.
fn serve(server: &TcpListener, answer: &str) -> (String, Vec<u8>) {
    let (mut client, _) = eventually("a request", || server.accept().ok());
    client.set_nonblocking(false).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let (mut head, mut line) = (String::new(), String::new());
    while line != "\r\n" {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "{head}");
        head.push_str(&line.to_lowercase());
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let length = answer.len();
    write!(client, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}").unwrap();
    (head, body)
}

#[test]
fn home_assistant_is_read_and_gets_messages() {
    let broker = Mosquitto::start();
    let rooms = broker.subscribe_with("gateways/thing-1/living-room", &[], "%p");
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let address = format!("http://{}", server.local_addr().unwrap());
    let token = tempfile::NamedTempFile::new().unwrap();
    fs::write(&token, "header = \"Authorization: Bearer TOKEN\"\n").unwrap();
    let setup = setup_with(broker.port, "home-assistant.toml", |piece| {
        let token = token.path().to_str().unwrap();
        piece.replace("http://localhost:8123", &address).replace("/etc/gatewire/home-assistant.curl", token)
    });
    let gatewire = setup.connect();
    let state = "{\"entity_id\":\"sensor.x\",\"state\":\"21.5\",\"last_updated\":\"2026-01-31T12:00:00+00:00\"}";
    let (head, _) = serve(&server, state);
    assert!(head.starts_with("get /api/states/sensor.living_room_temperature http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nauthorization: bearer token\r\n"), "{head}");
    let expected = json!({"celsius": "21.5", "at": "2026-01-31T12:00:00+00:00"});
    assert_eq!(serde_json::from_str::<Value>(&rooms.next()).unwrap(), expected);

    broker.wait_for("Sending SUBACK to thing-1");
    let webhook = format!("{address}/api/webhook/x");
    let _program = Program::start(Command::new(recipe("home-assistant.sh")).env("WEBHOOK", webhook), &gatewire);
    let payload = "{\"light\":\"on\", \"why\":\"it's dark\"}";
    broker.publish("gateways/thing-1/home/light", payload.as_bytes());
    let (head, body) = serve(&server, "");
    assert!(head.starts_with("post /api/webhook/x http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
    let message: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&message["payload"], &message["topic"]), (&json!(payload), &json!("gateways/thing-1/home/light")));
}

#[test]
fn systemd_finds_nothing_wrong_with_the_service_of_the_lamp() {
    let directory = tempfile::tempdir().unwrap();
    let unit = fs::read_to_string(recipe("lamp.service")).unwrap();
    // What it starts isn't installed on a machine that only builds.
    let unit = unit.replace("/usr/local/bin/lamp.py", "/bin/true");
    let path = directory.path().join("lamp.service");
    fs::write(&path, &unit).unwrap();
    let verify = || {
        let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output();
        let output = output.expect("systemd-analyze isn't here: `make tools` installs systemd");
        String::from_utf8(output.stderr).unwrap().lines().filter(|line| line.contains("lamp")).collect::<String>()
    };
    assert_eq!(verify(), "");
    // It does look.
    fs::write(&path, unit.replace("Restart=always", "Restart=sometimes")).unwrap();
    assert!(verify().contains("sometimes"), "{}", verify());
}

#[test]
fn each_recipe_is_told_of() {
    let text = fs::read_to_string(recipe("../recipes.md")).unwrap();
    for file in fs::read_dir(recipe("")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(text.contains(&format!("(recipes/{name})")), "docs/recipes.md doesn't link {name}");
    }
    // The pieces that no test above runs a daemon with.
    for piece in ["lamp.toml", "home-assistant.toml"] {
        let (code, out, err) = setup(closed_port(), piece).output("check");
        assert_eq!(code, 0, "{piece}: {out}{err}");
    }
}
