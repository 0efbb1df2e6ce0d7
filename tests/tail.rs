//! `gatewire tail`: what it shows, what it leaves alone, how it ends.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::{Child, ChildStdout, Stdio};

use support::daemon::{Gatewire, Setup};
use support::mosquitto::Mosquitto;
use support::preload::preload;
use support::{PATIENCE, closed_port, eventually};

const FORWARDS: &str = "[[forward]]\nname = \"messages\"\nfilters = [\"test/#\"]\nsocket = \"DIR/messages.sock\"\n\
    [[forward]]\nname = \"bare\"\nfilters = [\"bare/#\"]\nsocket = \"DIR/bare.sock\"\nformat = \"payload\"\n";

struct Tail {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Tail {
    /// Follows these forwards, once they know of it.
    fn start(setup: &Setup, gatewire: &Gatewire, options: &[&str], forwards: &[usize]) -> Tail {
        // Its sockets are there once it answers.
        gatewire.status();
        let mut command = setup.command();
        command.arg("tail").args(options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        eventually("an observer", || {
            let status = gatewire.status();
            forwards.iter().all(|n| status["forward"][*n]["observers"] == 1).then_some(())
        });
        Tail { child, lines }
    }

    fn next(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// Exit code and standard error.
    fn end(mut self) -> (i32, String) {
        let code = eventually("the end of tail", || self.child.try_wait().unwrap()).code().unwrap();
        let mut err = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (code, err)
    }
}

#[test]
fn each_message_is_a_line_as_the_socket_gives_it_and_no_reader_misses_it() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, FORWARDS);
    let gatewire = setup.connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let mut tail = Tail::start(&setup, &gatewire, &[], &[0, 1]);
    broker.publish("test/a", b"\x1b[2J \"quoted\"");
    let shown = tail.next();
    broker.publish("bare/a", b"as it is");
    assert_eq!(tail.next(), "as it is");
    // Both wait for a reader all the same.
    assert_eq!(gatewire.client("messages.sock").line().unwrap(), shown);
    assert_eq!(gatewire.client("bare.sock").line().unwrap(), "as it is");
    assert!(shown.contains(r#","topic":"test/a","payload":"\u001b[2J \"quoted\"","#), "{shown}");
}

#[test]
fn however_late_it_gets_its_turn_it_takes_nothing() {
    for ack in ["written", "reader"] {
        let broker = Mosquitto::start();
        let setup = Setup::new(broker.port, &FORWARDS.replacen("filters", &format!("ack = \"{ack}\"\nfilters"), 1));
        let gatewire = setup.connect();
        broker.wait_for("Sending SUBACK to thing-1");
        broker.publish("test/a", b"waits");
        eventually("it", || (gatewire.status()["forward"][0]["stored"] == 1).then_some(()));
        // Stopped between its connection and the first word that it could say.
        let stopped = preload(setup.again(), "tests/support/stop.c");
        let mut tail = Tail::start(&stopped, &gatewire, &["--forward", "messages"], &[0]);
        let process = format!("/proc/{}/stat", tail.child.id());
        eventually("it to be stopped", || std::fs::read_to_string(&process).unwrap().contains(") T ").then_some(()));
        assert_eq!(gatewire.status()["forward"][0]["waiting"], 1);
        broker.publish("test/a", b"new");
        let mut reader = gatewire.client("messages.sock");
        let lines = [reader.json(), reader.json()];
        let read = lines.each_ref().map(|line| (&line["payload"], &line["duplicate"]));
        assert_eq!(read, [(&"waits".into(), &false.into()), (&"new".into(), &false.into())]);
        let pid = nix::unistd::Pid::from_raw(tail.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
        assert!(tail.next().contains("\"payload\":\"new\""));
        tail.child.kill().unwrap();
        tail.child.wait().unwrap();
    }
}

/// Commands that look at a socket, or are given the wrong one, are no readers either, and may sleep before they close it.
#[test]
fn no_command_takes_a_message_from_a_forward_that_it_connects_to() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, FORWARDS);
    let gatewire = setup.connect();
    broker.wait_for("Sending SUBACK to thing-1");
    broker.publish("test/a", b"waits");
    eventually("it", || (gatewire.status()["forward"][0]["stored"] == 1).then_some(()));
    let socket = gatewire.path("messages.sock");
    let path = socket.to_str().unwrap();
    let other = Setup::new(closed_port(), &FORWARDS.replace("DIR/messages.sock", path));
    let commands: [(&Setup, &[&str]); 5] = [
        (&setup, &["check"]),
        (&other, &["check"]),
        (&other, &["run"]),
        (&setup, &["status", "--socket", path]),
        (&setup, &["publish", "a/b", "c", "--socket", path]),
    ];
    for (setup, command) in commands {
        let mut stopped = preload(setup.again(), "tests/support/stop.c").spawn(command);
        eventually("an observer", || (gatewire.status()["forward"][0]["observers"] == 1).then_some(()));
        assert_eq!(gatewire.status()["forward"][0]["waiting"], 1, "{command:?}");
        stopped.kill().unwrap();
        stopped.wait().unwrap();
        eventually("its end", || (gatewire.status()["forward"][0]["observers"] == 0).then_some(()));
    }
    let line = gatewire.client("messages.sock").json();
    assert_eq!((&line["payload"], &line["duplicate"]), (&"waits".into(), &false.into()));
}

#[test]
fn a_socket_of_another_kind_is_named_as_one() {
    let setup = Setup::new(
        closed_port(),
        &format!("{FORWARDS}[[ingest]]\nname = \"p\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"a/#\"]\n"),
    );
    let gatewire = setup.start();
    gatewire.status();
    for (command, socket, kind) in [
        (&["status"][..], "messages.sock", "[status]"),
        (&["status"], "bare.sock", "[status]"),
        (&["status"], "publish.sock", "[status]"),
        (&["publish", "a/b", "c"], "messages.sock", "an [[ingest]]"),
        (&["publish", "a/b", "c"], "status.sock", "an [[ingest]]"),
        (&["tail"], "publish.sock", "a [[forward]]"),
        (&["tail"], "status.sock", "a [[forward]]"),
    ] {
        let path = gatewire.path(socket);
        let (code, out, err) = setup.output_of(&[command, &["--socket", path.to_str().unwrap()]].concat());
        let expected = format!("{socket} is a socket of gatewire, but not that of {kind}, whose path is");
        assert!(code == 69 && out.is_empty() && err.contains(&expected), "{command:?} {socket}: {code} {out} {err}");
    }
}

/// After an upgrade the old daemon runs until it is restarted.
#[test]
fn it_does_not_connect_to_a_daemon_that_could_take_it_for_a_reader() {
    let setup = Setup::new(closed_port(), FORWARDS);
    let gatewire = setup.start();
    let mut document = gatewire.status();
    assert_eq!(gatewire.stop().0, 0);
    document["version"] = "0.0.9".into();
    document["forward"][0].as_object_mut().unwrap().remove("format").unwrap();
    let directory = setup.directory.path();
    let [status, forward] =
        ["status.sock", "messages.sock"].map(|name| UnixListener::bind(directory.join(name)).unwrap());
    let answering = std::thread::spawn(move || {
        std::io::Write::write_all(&mut status.accept().unwrap().0, document.to_string().as_bytes()).unwrap();
    });
    let (code, out, err) = setup.output_of(&["tail", "--forward", "messages"]);
    assert!(code == 69 && out.is_empty() && err.contains("version 0.0.9, which may take"), "{code} {out} {err}");
    answering.join().unwrap();
    forward.set_nonblocking(true).unwrap();
    assert_eq!(forward.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody came");
}

#[test]
fn with_netstrings_a_payload_may_hold_anything() {
    let broker = Mosquitto::start();
    let forward =
        "[[forward]]\nname = \"n\"\nfilters = [\"test/#\"]\nsocket = \"DIR/n.sock\"\nformat = \"netstring\"\n";
    let setup = Setup::new(broker.port, forward);
    let gatewire = setup.connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let mut tail = Tail::start(&setup, &gatewire, &[], &[0]);
    for payload in [&b"two\nlines, 3:abc,"[..], b"end\n"] {
        broker.publish("test/a", payload);
    }
    let expected = ["17:two", "lines, 3:abc,,4:end"];
    assert_eq!(expected, [tail.next(), tail.next()].each_ref().map(String::as_str));
    let mut reader = gatewire.client("n.sock");
    assert_eq!(expected, [(); 2].map(|()| reader.line().unwrap()).each_ref().map(String::as_str));
    // With "payload" they would be four lines, and `check` says so.
    assert_eq!(setup.output("check").0, 0);
    let (code, out, err) = setup.edit("netstring", "payload").output("check");
    assert!(code == 0 && (out + &err).contains("a newline in a payload ends a line"), "{code}");
    tail.child.kill().unwrap();
    tail.child.wait().unwrap();
}

#[test]
fn one_forward_can_be_followed_alone() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, FORWARDS);
    let gatewire = setup.connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let mut tail = Tail::start(&setup, &gatewire, &["--forward", "bare"], &[1]);
    assert_eq!(gatewire.status()["forward"][0]["observers"], 0);
    broker.publish("test/a", b"not this");
    broker.publish("bare/a", b"this");
    assert_eq!(tail.next(), "this");
    let (code, _, err) = setup.output_of(&["tail", "--forward", "bear"]);
    assert_eq!((code, err.as_str()), (64, "there is no [[forward]] `bear`; the configuration has messages, bare\n"));
}

#[test]
fn it_ends_with_its_reader_without_waiting_for_a_message() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, FORWARDS);
    let gatewire = setup.connect();
    let Tail { mut child, lines } = Tail::start(&setup, &gatewire, &[], &[0, 1]);
    drop(lines);
    let status = eventually("the end of tail", || child.try_wait().unwrap());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((status.code(), err.as_str()), (Some(0), ""));
}

#[test]
fn it_ends_with_the_daemon() {
    let setup = Setup::new(closed_port(), FORWARDS);
    let gatewire = setup.start();
    let tail = Tail::start(&setup, &gatewire, &[], &[0, 1]);
    assert_eq!(gatewire.stop().0, 0);
    assert_eq!(tail.end(), (69, "gatewire tail: gatewire has stopped\n".to_owned()));
    let (code, out, err) = setup.output_of(&["tail"]);
    assert!(code == 69 && out.is_empty() && err.contains("`systemctl status gatewire`"), "{code} {err}");
}

#[test]
fn where_it_is_read_too_slowly_it_says_that_messages_were_missed_and_goes_on() {
    let setup = Setup::new(closed_port(), FORWARDS);
    let listener = UnixListener::bind(setup.directory.path().join("messages.sock")).unwrap();
    let mut command = setup.command();
    command.args(["tail", "--forward", "messages"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let serve = |text: &[u8]| {
        let (mut client, _) = listener.accept().unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut hello = [0; 17];
        client.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"{\"observe\":true}\n");
        std::io::Write::write_all(&mut client, text).unwrap();
    };
    // What a daemon does to who doesn't read: it closes the connection, in the middle of a line for all it knows.
    serve(b"first\nhal");
    assert_eq!(lines.next().unwrap().unwrap(), "first");
    serve(b"second\n");
    assert_eq!(lines.next().unwrap().unwrap(), "second");
    // And what one does that stops: nobody is told of messages that nobody missed.
    serve(b"");
    let tail = Tail { child, lines };
    let (code, err) = tail.end();
    assert_eq!(code, 69);
    let said: Vec<&str> = err.lines().collect();
    assert!(
        said.len() == 2 && said[0].contains("messages were missed here") && said[1].contains("has stopped"),
        "{err}"
    );
}

#[test]
fn a_socket_that_serves_no_more_clients_is_no_message() {
    // As one where every other program has a place, too.
    let setup = Setup::new(closed_port(), FORWARDS);
    let listener = UnixListener::bind(setup.directory.path().join("messages.sock")).unwrap();
    let refusal = b"{\"error\":\"too_many_clients\",\"detail\":\"256 are served\"}\n";
    let server = std::thread::spawn(move || listener.accept().unwrap().0.write_all(refusal).unwrap());
    let (code, out, err) = setup.output_of(&["tail", "--forward", "messages"]);
    server.join().unwrap();
    assert!(code == 69 && out.is_empty() && err.contains("serves no more clients"), "{code} {out} {err}");
}
