//! `gatewire status`: what it says of a running daemon, and what where there is none.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

// The reader of the document is the binary's: here it is asked what it passes over.
#[path = "../src/status/document/mod.rs"]
#[allow(dead_code, unused_imports, reason = "what the page makes of it is the binary's business")]
mod document;
#[path = "status/following.rs"]
mod following;
mod support;
#[path = "../src/time/rfc3339.rs"]
#[allow(dead_code, reason = "the document is only read here")]
mod time;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Group, Uid, User, chown};
use serde_json::{Value, json};
use support::daemon::Setup;
use support::mosquitto::Mosquitto;
use support::{closed_port, eventually};

const REST: &str = "[[publish]]\nname = \"hello\"\ntopic = \"test/topic\"\nevery = \"1h\"\npayload = \"x\"\n\
    [[forward]]\nname = \"messages\"\nfilters = [\"test/topic\"]\nsocket = \"DIR/messages.sock\"\n\
    [[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"up/#\"]\n";

fn line<'a>(page: &'a str, start: &str) -> &'a str {
    page.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start:?} in\n{page}"))
}

/// Standard output; the daemon must have answered.
fn status(setup: &Setup, options: &[&str]) -> String {
    let (code, out, err) = setup.output_of(&[&["status"], options].concat());
    assert_eq!((code, err.as_str()), (0, ""));
    out
}

#[test]
fn the_page_tells_link_waiting_schedules_and_certificate() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, REST);
    let gatewire = setup.connect();
    // Nobody reads what was published: it waits. It may come back before its PUBACK does.
    eventually("the message to come back", || {
        let status = gatewire.status();
        (status["forward"][0]["waiting"] == 1 && status["outbox"]["waiting"] == 0).then_some(())
    });
    let page = status(&setup, &[]);
    assert!(page.starts_with(&format!("gatewire {}, up for ", env!("CARGO_PKG_VERSION"))), "{page}");
    assert!(line(&page, "gatewire").contains("memory ") && !page.contains('\u{1b}'), "{page}");
    assert!(
        line(&page, "link ").contains(" connected for ") && line(&page, "link ").ends_with("; a new session"),
        "{page}"
    );
    assert!(page.contains(&format!("localhost:{} as thing-1, MQTT 5\n", broker.port)), "{page}");
    assert!(line(&page, "outbox ").ends_with(" nothing waits for IoT Core"), "{page}");
    assert!(line(&page, "inbox ").contains(" 1 message waits for readers, the oldest for "), "{page}");
    assert!(line(&page, "certificate ").contains(" expires in "), "{page}");
    let schedule: Vec<&str> = line(&page, "hello ").split("  ").filter(|cell| !cell.is_empty()).collect();
    assert!(
        (schedule[1].ends_with("s ago") || schedule[1] == "just now")
            && ["in 1h", "in 59m"].iter().any(|soon| schedule[3].starts_with(soon)),
        "{page}"
    );
    assert!(line(&page, "messages ").contains(" 1 "), "{page}");
}

#[test]
fn json_is_the_document_with_the_keys_that_scripts_rely_on() {
    let broker = Mosquitto::start();
    let bridge = format!(
        "[[bridge]]\nname = \"house\"\nbroker = \"127.0.0.1:{}\"\n[[bridge.up]]\nfrom = \"dev/#\"\n[[bridge.down]]\nfrom = \"set/#\"\n",
        closed_port()
    );
    let setup = Setup::new(broker.port, &format!("{REST}{bridge}"));
    let _gatewire = setup.connect();
    let document: Value = serde_json::from_str(&status(&setup, &["--json"])).unwrap();
    let has = |object: &Value, keys: &str| {
        for key in keys.split_whitespace() {
            assert!(object.get(key).is_some(), "no {key} in {object}");
        }
    };
    has(&document, "version link outbox inbox counters publish forward ingest certificate memory clock");
    has(
        &document["link"],
        "state since endpoint client_id protocol session_present next_attempt last_error disconnected_since",
    );
    has(&document["outbox"], "waiting in_flight bytes oldest stored dropped quarantined");
    has(&document["certificate"], "not_after");
    has(&document["bridge"][0], "name state since last_error up down");
    has(&document["bridge"][0]["up"][0], "from received accepted delivered waiting dropped");
    // Each key of it is told of in docs/sockets.md.
    let told = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sockets.md")).unwrap();
    let (_, told) = told.split_once("\n## Status\n").unwrap();
    // There are none yet.
    let execution = json!([{"at": 0, "kind": 0, "id": 0, "execution": 0, "action": 0, "status": 0, "reason": 0}]);
    let executions = ("executions".to_owned(), execution);
    assert_eq!(document["executions"], json!([]));
    for (part, value) in document.as_object().unwrap().iter().chain([(&executions.0, &executions.1)]) {
        let row =
            told.lines().find(|row| row.split('|').nth(1).is_some_and(|cell| cell.contains(&format!("`{part}`"))));
        let row = row.unwrap_or_else(|| panic!("no {part} in docs/sockets.md"));
        let one = value.as_array().map_or(value, |items| items.first().unwrap_or(&Value::Null));
        for key in one.as_object().into_iter().flat_map(|object| object.keys()) {
            assert!(row.contains(&format!("`{key}`")), "no {key} of {part} in docs/sockets.md");
        }
    }
    assert_eq!(
        (&document["link"]["state"], &document["link"]["disconnected_since"]),
        (&json!("connected"), &Value::Null)
    );
    assert!(document["memory"]["resident"].as_u64().unwrap() > 1 << 20, "{document}");
}

/// Reads a document as the page does; there must be no key in it that the page doesn't know.
fn known(text: &str) -> document::Document {
    let mut unknown = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
    let document = serde_ignored::deserialize(&mut deserializer, note).unwrap();
    assert_eq!(unknown, Vec::<String>::new());
    document
}

#[test]
fn the_page_knows_every_key_of_the_document() {
    let mut broker = Mosquitto::start();
    let publish = "[[publish]]\nname = \"failing\"\ntopic = \"t\"\nevery = \"1h\"\nfile = \"DIR/absent\"\n";
    let slow = "rate_limit = { messages_per_second = 20, burst = 1, connects_per_second = 100 }\n\
        backoff = { min = \"100ms\", max = \"300ms\", stable_after = \"1m\" }\n";
    let setup = Setup::with_connection(broker.port, slow, &format!("{REST}{publish}"));
    let gatewire = setup.connect();
    eventually("a publication that fails", || (gatewire.status()["publish"][1]["failing"] == true).then_some(()));
    let document = known(&status(&setup, &["--json"]));
    assert!(document.publish[1].last_error.as_ref().is_some_and(|error| error.message.contains("absent")));
    broker.kill();
    gatewire.wait_for("next attempt in");
    assert!(known(&status(&setup, &["--json"])).link.last_error.is_some());
    let went = Instant::now();
    let mut client = gatewire.client("publish.sock");
    (0..600).for_each(|_| client.send("{\"topic\":\"up/x\",\"payload\":\"x\"}"));
    (0..600).for_each(|_| assert_eq!(client.json()["result"], "stored"));
    eventually("an outage worth a word", || (went.elapsed() > Duration::from_secs(1)).then_some(()));
    broker.restart();
    // Half a minute's worth.
    let drain = eventually("a backlog on its way out", || known(&status(&setup, &["--json"])).outbox.drain);
    assert!(drain.messages >= 600 && drain.delivered < 600, "{drain:?}");
    let page = eventually("an estimate", || Some(status(&setup, &[])).filter(|page| page.contains(" left\n")));
    assert!(line(&page, "             the backlog goes out: ").contains(" are delivered, about "), "{page}");
    assert!(status(&setup, &["--prometheus"]).contains("\ngatewire_outbox_drain_left_seconds "));
    // The journal tells it in that order.
    let log = gatewire.log();
    let said = |text: &str| {
        log.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text:?} in {log:#?}"))
    };
    assert!(said("s without a connection; ") < said("messages wait for IoT Core, the oldest from "), "{log:#?}");
}

#[test]
fn it_is_answered_while_the_link_is_down_and_the_outbox_full() {
    let connection = "backoff = { min = \"1m\", max = \"1m\" }\n";
    let setup = Setup::with_connection(closed_port(), connection, REST);
    let setup = setup.edit("[outbox]\n", "[outbox]\nmax_size = \"1 MiB\"\nwhen_full = \"reject-new\"\n");
    let gatewire = setup.start();
    gatewire.wait_for("next attempt in");
    let mut client = gatewire.client("publish.sock");
    let line_of = |text: &str| format!("{{\"topic\":\"up/x\",\"payload\":\"{text}\"}}");
    let large = line_of(&"x".repeat(100_000));
    while client.ask(&large).get("error") != Some(&json!("outbox_full")) {}
    let page = status(&setup, &[]);
    let link = line(&page, "link ");
    assert!(link.contains(" not connected for ") && link.contains("; next attempt in "), "{page}");
    assert!(line(&page, "last error ").contains("refused"), "{page}");
    assert!(line(&page, "outbox ").contains(" messages wait for IoT Core, 0 in flight: "), "{page}");
    assert!(page.contains("\n  refused: 1 outbox full\n"), "{page}");
    // Since when there is no link is not since when the state is what it is. Times compare as texts, in any script.
    let document = gatewire.status();
    assert!(document["link"]["disconnected_since"].as_str().unwrap() <= document["link"]["since"].as_str().unwrap());
}

#[test]
fn prometheus_can_parse_the_metrics() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, REST);
    let gatewire = setup.connect();
    gatewire.client("publish.sock").ask("nonsense");
    eventually("a delivery", || (gatewire.status()["outbox"]["delivery"]["count"] == 1).then_some(()));
    let interpreter = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.venv/bin/python3");
    assert!(interpreter.exists(), "{} isn't there: `make test` makes it", interpreter.display());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/metrics.py");
    let mut parser =
        Command::new(interpreter).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let metrics = status(&setup, &["--prometheus"]);
    parser.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = parser.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}\n{metrics}");
    let parsed = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "gatewire_up 1.0",
        "gatewire_link_up 1.0",
        "gatewire_link_state{state='connected'} 1.0",
        "gatewire_link_state{state='waiting'} 0.0",
        "gatewire_ingest_refused_total{code='bad_line'},{ingest='publish'} 1.0",
        "gatewire_publish_failing{publish='hello'} 0.0",
        "gatewire_delivery_seconds_bucket{le='86400'} 1.0",
        "gatewire_delivery_seconds_bucket{le='+Inf'} 1.0",
        "gatewire_delivery_seconds_count 1.0",
    ] {
        assert!(parsed.lines().any(|line| line == expected), "no {expected} in\n{parsed}");
    }
}

#[test]
fn only_a_terminal_gets_colours_and_only_if_it_wants_them() {
    let setup = Setup::new(closed_port(), "");
    let gatewire = setup.start();
    gatewire.wait_for("next attempt in");
    // script(1) runs a command with a terminal for its output.
    let on_terminal = |environment: &[(&str, &str)]| {
        let command =
            format!("{} status --socket {}", env!("CARGO_BIN_EXE_gatewire"), gatewire.path("status.sock").display());
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).stdin(Stdio::null());
        let output =
            script.env("TERM", "xterm").env_remove("NO_COLOR").envs(environment.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(on_terminal(&[]).contains("\u{1b}[1mlink"));
    for plain in [[("NO_COLOR", "1")], [("TERM", "dumb")]] {
        let page = on_terminal(&plain);
        assert!(page.contains("link  ") && !page.contains('\u{1b}'), "{page:?}");
    }
    assert!(!status(&setup, &[]).contains('\u{1b}'));
}

#[test]
fn without_a_daemon_it_says_where_to_look() {
    let setup = Setup::new(closed_port(), "");
    let absent = |options: &[&str], said: &str| {
        let (code, out, err) = setup.output_of(&[&["status"], options].concat());
        assert_eq!((code, out.lines().last().unwrap_or_default()), (69, said));
        assert!(err.contains("status.sock") && err.contains("`systemctl status gatewire`"), "{err}");
        assert!(err.contains("`sudo journalctl -u gatewire`") && err.lines().count() == 1, "{err}");
    };
    absent(&[], "");
    absent(&["--json"], "");
    // One that was killed leaves its socket.
    let gatewire = setup.start();
    gatewire.status();
    gatewire.kill();
    // A metric that is gone would fire no alert.
    absent(&["--prometheus"], "gatewire_up 0");
}

#[test]
fn what_answers_but_is_no_gatewire_is_not_shown() {
    let setup = Setup::new(closed_port(), "");
    let listener = UnixListener::bind(setup.directory.path().join("status.sock")).unwrap();
    let answering = |text: &'static [u8]| {
        let listener = listener.try_clone().unwrap();
        let server = std::thread::spawn(move || listener.accept().unwrap().0.write_all(text).unwrap());
        let (code, out, err) = setup.output_of(&["status", "--json"]);
        server.join().unwrap();
        assert_eq!((code, out.as_str()), (69, ""));
        err
    };
    assert!(answering(b"hello\n").contains("isn't answered by gatewire"));
    assert!(answering(b"{\"error\":\"too_many_clients\",\"detail\":\"256 are served\"}\n").contains("256 are served"));
    // One that hangs lets us in and says nothing.
    let (code, _, err) = setup.output_of(&["status"]);
    assert!(code == 69 && err.contains("it hangs"), "{code} {err}");
}

#[test]
fn a_configuration_that_cannot_be_used_can_be_gone_around() {
    let setup = Setup::new(closed_port(), "");
    let gatewire = setup.start();
    gatewire.wait_for("next attempt in");
    let socket = gatewire.path("status.sock");
    let setup = setup.edit("client_id", "client_ide");
    let (code, out, err) = setup.output_of(&["status"]);
    assert!(code == 0 && out.contains("not connected"), "{code} {out} {err}");
    assert!(err.contains("did you mean `client_id`?") && err.contains("had before"), "{err}");
    let (code, _, err) = setup.output_of(&["tail"]);
    assert!(code == 78 && err.ends_with("`--socket PATH` names the socket instead\n"), "{code} {err}");
    let setup = setup.edit("[status]", "[state]");
    let (code, out, err) = setup.output_of(&["status"]);
    assert_eq!((code, out.as_str()), (78, ""), "{err}");
    assert!(status(&setup, &["--socket", socket.to_str().unwrap()]).contains("not connected"));
    let (code, ..) = setup.output_of(&["status", "--json", "--prometheus"]);
    assert_eq!(code, 64);
}

#[test]
fn without_permission_it_says_which_group_to_join() {
    let setup = Setup::new(closed_port(), "");
    let gatewire = setup.start();
    let socket = gatewire.path("status.sock");
    // It has its mode and its group once it is answered.
    gatewire.status();
    let is_root = Uid::effective().is_root();
    let denied = |mode, command: &[&str]| {
        fs::set_permissions(&socket, fs::Permissions::from_mode(mode)).unwrap();
        // Root without its capabilities is a user like others.
        let prefix: &[&str] = if is_root { &["setpriv", "--bounding-set=-all", "--"] } else { &["setpriv", "--"] };
        let mut process = Command::new(prefix[0]);
        process.args(&prefix[1..]).arg(env!("CARGO_BIN_EXE_gatewire")).args(command).arg("--socket").arg(&socket);
        let output = process.stdin(Stdio::null()).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(69), &b""[..]), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let commands: [&[&str]; 3] = [&["status"], &["tail"], &["publish", "up/x", "payload"]];
    let user = User::from_uid(Uid::effective()).unwrap().unwrap().name;
    if is_root {
        let (uid, gid) = (Uid::from_raw(65534), Gid::from_raw(65534));
        chown(&socket, Some(uid), Some(gid)).unwrap();
        let group = Group::from_gid(gid).unwrap().unwrap().name;
        for command in commands {
            let err = denied(0o660, command);
            assert!(err.contains(&format!("`sudo usermod -aG {group} {user}`, then log in again")), "{err}");
            assert!(denied(0o600, command).contains("`sudo -u nobody`"), "{err}");
        }
    } else {
        for command in commands {
            assert!(denied(0o000, command).contains(&format!("`sudo -u {user}`")));
        }
    }
}

#[test]
fn a_store_that_another_gatewire_holds_is_told_and_that_of_its_own_daemon_is_not() {
    let setup = Setup::new(closed_port(), "");
    let gatewire = setup.start();
    // It has its store by then.
    gatewire.status();
    let (code, _, errors) = setup.output("check");
    assert_eq!(code, 0, "its own: {errors}");
    let own = format!("{}/status.sock", gatewire.directory().display());
    let moved = setup.again().edit(&own, &own.replace("status.sock", "moved.sock"));
    assert_eq!(moved.output("check").0, 0, "its own, about to get another status socket");
    let other = Setup::new(closed_port(), "");
    let path = |setup: &Setup| format!("{}/gatewire.db", setup.directory.path().display());
    let own = path(&other);
    let other = other.edit(&own, &path(&setup));
    let (code, _, errors) = other.output("check");
    assert_eq!(code, 78, "{errors}");
    assert!(errors.contains("another gatewire uses it"), "{errors}");
    assert!(errors.contains(&format!("(process {})", gatewire.pid())), "{errors}");
}

#[test]
fn the_page_sums_up_the_last_day_of_the_link() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, "");
    let gatewire = setup.connect();
    let spans = gatewire.status()["link"]["history"].clone();
    let states: Vec<&str> = spans.as_array().unwrap().iter().map(|span| span["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["disconnected", "connected"], "{spans}");
    eventually("a second of it", || {
        status(&setup, &[]).contains(" since gatewire started, longest gap ").then_some(())
    });
}

#[test]
fn metrics_go_to_a_file_with_a_daemon_or_without() {
    let setup = Setup::new(closed_port(), "");
    let file = setup.directory.path().join("gatewire.prom");
    let written = || {
        let (code, out, err) = setup.output_of(&["status", "--prometheus", "--output", file.to_str().unwrap()]);
        assert_eq!((code, out.as_str()), (0, ""), "{err}");
        let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o644);
        (fs::read_to_string(&file).unwrap(), err)
    };
    let (text, err) = written();
    assert!(text.ends_with("\ngatewire_up 0\n") && err.contains("`systemctl status gatewire`"), "{text} {err}");
    let gatewire = setup.start();
    gatewire.wait_for("next attempt in");
    let (text, err) = written();
    assert!(text.contains("\ngatewire_up 1\n") && text.contains("\ngatewire_link_up 0\n") && err.is_empty(), "{text}");
    let nowhere = setup.directory.path().join("none/gatewire.prom");
    let (code, _, err) = setup.output_of(&["status", "--prometheus", "--output", nowhere.to_str().unwrap()]);
    assert!(code == 70 && err.contains("there is no directory"), "{code} {err}");
    let is_left = |entry: fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".new");
    assert!(!fs::read_dir(setup.directory.path()).unwrap().any(|entry| is_left(entry.unwrap())));
    for arguments in [&["--output", "x"][..], &["--json", "--output", "x"], &["--follow", "--output", "x"]] {
        let (code, ..) = setup.output_of(&[&["status"], arguments].concat());
        assert_eq!(code, 64, "{arguments:?}");
    }
}
