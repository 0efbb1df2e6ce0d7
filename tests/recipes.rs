//! The programs and configurations of docs/recipes.md, run as they stand there, but for the directory of the sockets.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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

/// In the place of Home Assistant: takes one request, which gets `answer`; its head in lower case, and its body.
fn serve(server: &TcpListener, answer: &str) -> (String, Vec<u8>) {
    serve_with(server, "200 OK", answer)
}

fn serve_with(server: &TcpListener, status: &str, answer: &str) -> (String, Vec<u8>) {
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
    write!(client, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}").unwrap();
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
    all_done(&gatewire);
}

fn all_done(gatewire: &Gatewire) {
    eventually("its acknowledgement", || (gatewire.status()["forward"][0]["waiting"] == 0).then_some(()));
}

/// A message waits while Home Assistant is away, hangs up, or answers that it can't now, and is there once when it can.
#[test]
fn a_message_for_home_assistant_waits_until_it_is_taken() {
    let broker = Mosquitto::start();
    let setup = setup_with(broker.port, "home-assistant.toml", |piece| {
        let (_, forward) = piece.split_once("[[forward]]").unwrap();
        format!("[[forward]]{forward}")
    });
    let gatewire = setup.connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let address = server.local_addr().unwrap();
    let webhook = format!("http://{address}/api/webhook/x");
    let start = |gatewire: &Gatewire, credentials: &Path| {
        let mut command = Command::new(recipe("home-assistant.sh"));
        command.env("WEBHOOK", &webhook).env("CREDENTIALS_DIRECTORY", credentials);
        let program = Program::start(&mut command, gatewire);
        eventually("the program", || (gatewire.status()["forward"][0]["readers"] == 1).then_some(()));
        program
    };
    let publish = |payload: &str| broker.publish("gateways/thing-1/home/light", payload.as_bytes());
    let payload = |(head, body): (String, Vec<u8>)| {
        assert!(head.starts_with("post /api/webhook/x "), "{head}");
        let message: Value = serde_json::from_slice(&body).unwrap();
        message["payload"].as_str().unwrap().to_owned()
    };
    let waiting = |n: u64| {
        eventually("what waits", || (gatewire.status()["forward"][0]["waiting"] == n).then_some(()));
    };
    let nothing = tempfile::tempdir().unwrap();
    let program = start(&gatewire, nothing.path());
    ["one", "two", "three"].into_iter().for_each(publish);
    // It starts, and is behind a proxy that says so; it hangs up; it has taken it.
    assert_eq!(payload(serve_with(&server, "503 Service Unavailable", "")), "one");
    assert_eq!(payload(serve_with(&server, "502 Bad Gateway", "")), "one");
    waiting(3);
    drop(eventually("a connection", || server.accept().ok()));
    assert_eq!(payload(serve(&server, "")), "one");
    // One that is at fault itself doesn't stop the others.
    assert_eq!(payload(serve_with(&server, "400 Bad Request", "")), "two");
    // The program ends before the answer has come: the message isn't lost with it.
    let (client, _) = eventually("a connection", || server.accept().ok());
    drop(program);
    drop(client);
    // While Home Assistant starts it takes webhooks, and forgets them.
    fs::write(nothing.path().join("home-assistant.curl"), "header = \"Authorization: Bearer TOKEN\"\n").unwrap();
    let _program = start(&gatewire, nothing.path());
    let asked = |state: &str| {
        let (head, _) = serve(&server, &json!({ "state": state }).to_string());
        assert!(head.starts_with("get /api/config http/1.1\r\n") && head.contains("bearer token"), "{head}");
    };
    asked("NOT_RUNNING");
    asked("STARTING");
    waiting(1);
    asked("RUNNING");
    assert_eq!(payload(serve(&server, "")), "three");
    all_done(&gatewire);
}

/// The `n`th command of docs/collectors.md between these marks, as it stands there, but for where programs and sockets are.
fn collectors_command(gatewire: &Gatewire, from: &str, to: &str, n: usize) -> Command {
    let page = fs::read_to_string(recipe("../collectors.md")).unwrap();
    let rest = page.split(from).nth(n).unwrap_or_else(|| panic!("no {n}th {from:?}"));
    let command = rest.split(to).next().unwrap().replace("thing-gateway-01", "thing-1");
    let words: Vec<String> = match command.starts_with('[') {
        true => {
            serde_json::from_str(&command.replace("/run/gatewire", gatewire.directory().to_str().unwrap())).unwrap()
        }
        false => command.split(' ').map(str::to_owned).collect(),
    };
    if words[0].trim_start_matches("/usr/bin/") != "gatewire" {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        return command;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewire"));
    command.arg("--config").arg(gatewire.path("gatewire.toml")).args(&words[1..]);
    command
}

#[test]
fn what_collectors_run_reads_the_link_and_messages_and_publishes() {
    let broker = Mosquitto::start();
    let arrived = broker.subscribe("gateways/thing-1/#");
    let sockets = "[[forward]]\nname = \"all\"\nfilters = [\"down/#\"]\nsocket = \"DIR/messages.sock\"\n\
                   [[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"gateways/#\"]\n";
    let gatewire = Setup::new(broker.port, sockets).connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let first_line = |mut command: Command| {
        let mut program = Program(command.process_group(0).stdout(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(program.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()
    };
    // Telegraf: the link, messages, a batch.
    let of_telegraf = |n| collectors_command(&gatewire, "\n  command = ", "\n", n);
    assert_eq!(first_line(of_telegraf(1))["link"]["state"], "connected");
    broker.publish("down/telegraf", b"21.5");
    let message = first_line(of_telegraf(2));
    assert_eq!((&message["topic"], &message["payload"]), (&json!("down/telegraf"), &json!("21.5")));
    let publish = |mut command: Command, input: &str| {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{input}");
    };
    publish(of_telegraf(3), "{\"metrics\":[\n{},{}]}");
    assert_eq!(arrived.next(), "gateways/thing-1/telegraf {\"metrics\":[");
    assert_eq!(arrived.next(), "{},{}]}");
    // vector and Fluent Bit.
    broker.publish("down/vector", b"on");
    assert_eq!(first_line(collectors_command(&gatewire, "\n    command: ", "\n", 1))["topic"], "down/vector");
    publish(collectors_command(&gatewire, "-p format=json_lines | ", "\n", 1), "{\"cpu\":1}\n{\"cpu\":2}\n");
    for n in 1..=2 {
        assert_eq!(arrived.next(), format!("gateways/thing-1/fluent-bit {{\"cpu\":{n}}}"));
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let units = ["lamp.service", "home-assistant.service"];
    let directory = tempfile::tempdir().unwrap();
    let verify = |name: &str| {
        let output =
            Command::new("systemd-analyze").args(["verify", "--man=no", name]).current_dir(&directory).output();
        let output = output.expect("systemd-analyze isn't here: `make tools` installs systemd");
        let said = String::from_utf8(output.stderr).unwrap();
        said.lines().filter(|line| line.contains(name)).collect::<String>()
    };
    for unit in units {
        let text = fs::read_to_string(recipe(unit)).unwrap();
        // What it starts isn't installed on a machine that only builds.
        let text = text
            .replace("/usr/local/bin/lamp.py", "/bin/true")
            .replace("/usr/local/bin/home-assistant.sh", "/bin/true");
        fs::write(directory.path().join(unit), text).unwrap();
    }
    for unit in units {
        assert_eq!(verify(unit), "");
    }
    // It does look.
    let path = directory.path().join("lamp.service");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace("Restart=always", "Restart=sometimes")).unwrap();
    assert!(verify("lamp.service").contains("sometimes"));
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
