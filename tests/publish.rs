//! `gatewire publish`: what it hands to the daemon, and what it ends with.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Stdio};

use support::daemon::Setup;
use support::mosquitto::Mosquitto;
use support::{closed_port, eventually, patiently};

const INGESTS: &str = "[[ingest]]\nname = \"doors\"\nsocket = \"DIR/doors.sock\"\ntopics = [\"up/door/+\"]\n\
    [[ingest]]\nname = \"all\"\nsocket = \"DIR/all.sock\"\ntopics = [\"up/#\"]\n";

fn publish(setup: &Setup, arguments: &[&str]) -> (i32, String, String) {
    setup.output_of(&[&["publish"], arguments].concat())
}

fn done(word: &str) -> (i32, String, String) {
    (0, format!("{word}\n"), String::new())
}

/// With something to read on standard input.
fn spawn(setup: &Setup, arguments: &[&str]) -> Child {
    let mut command = setup.command();
    command.arg("publish").args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn piped(setup: &Setup, arguments: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut child = spawn(setup, arguments);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn an_urgent_message_takes_a_socket_that_lets_it_be_so_and_says_where_there_is_none() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, &INGESTS.replacen("name", "urgent = false\nname", 1)).unspilled();
    let gatewire = setup.connect();
    let accepted = |n: usize| gatewire.status()["ingest"][n]["accepted"].clone();
    assert_eq!(publish(&setup, &["up/door/front", "x"]), done("delivered"));
    assert_eq!((accepted(0), accepted(1)), (1.into(), 0.into()));
    assert_eq!(publish(&setup, &["up/door/front", "x", "--urgent"]), done("delivered"));
    assert_eq!((accepted(0), accepted(1)), (1.into(), 1.into()));
    let (code, out, err) = publish(&setup, &["up/door/front", "x", "--urgent", "--ingest", "doors"]);
    assert_eq!((code, &*out), (0, "delivered\n"));
    assert!(err.contains("[[ingest]] doors has `urgent = false`: this goes like the other messages"), "{err}");
}

#[test]
fn a_message_is_delivered_as_it_was_given() {
    let broker = Mosquitto::start();
    let subscriber = broker.subscribe_with("up/#", &[], "%t %q %r %x");
    let setup = Setup::new(broker.port, INGESTS).unspilled();
    let gatewire = setup.connect();
    assert_eq!(publish(&setup, &["up/door/front", r#"{"open":true}"#]), done("delivered"));
    assert_eq!(subscriber.next(), "up/door/front 1 0 7b226f70656e223a747275657d");
    assert_eq!(publish(&setup, &["up/x", "-5", "--qos", "0"]), done("sent"));
    assert_eq!(subscriber.next(), "up/x 0 0 2d35");
    assert_eq!(publish(&setup, &["up/x", ""]), done("delivered"));
    assert_eq!(subscriber.next(), "up/x 1 0 ");
    assert_eq!(piped(&setup, &["up/x", "-"], b"\xff\n\x00"), done("delivered"));
    assert_eq!(subscriber.next(), "up/x 1 0 ff0a00");
    assert_eq!(piped(&setup, &["up/x"], b"x\n"), done("delivered"));
    assert_eq!(subscriber.next(), "up/x 1 0 780a");
    // Never an empty message without a word.
    for arguments in [&["up/x"][..], &["up/x", "-"]] {
        let (code, out, err) = piped(&setup, arguments, b"");
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(
            err.starts_with("not published: standard input is empty; an empty message is `gatewire publish"),
            "{err}"
        );
    }
    // The first that allows the topic, or the one that is named.
    let accepted = |n: usize| gatewire.status()["ingest"][n]["accepted"].clone();
    assert_eq!((accepted(0), accepted(1)), (1.into(), 4.into()));
    assert_eq!(publish(&setup, &["up/door/front", "x", "--ingest", "all"]), done("delivered"));
    let socket = gatewire.path("all.sock");
    assert_eq!(publish(&setup, &["up/door/front", "x", "--socket", socket.to_str().unwrap()]), done("delivered"));
    assert_eq!((accepted(0), accepted(1)), (1.into(), 6.into()));
    let blank = publish(&setup, &["up/x ", "1"]);
    assert_eq!((blank.0, blank.1.as_str()), (0, "delivered\n"));
    assert!(blank.2.starts_with("warning: TOPIC: \"up/x \" ends with a blank"), "{blank:?}");
}

#[test]
fn retain_and_properties_go_with_it() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, INGESTS).unspilled();
    let _gatewire = setup.connect();
    let options = "--retain --expires-in 1h --content-type text/plain --response-topic up/y --correlation-data abc \
        --user-property k=v --user-property k=w=x";
    let arguments: Vec<&str> = ["up/x", "text"].into_iter().chain(options.split_whitespace()).collect();
    assert_eq!(publish(&setup, &arguments), done("delivered"));
    let subscriber = broker.subscribe_with("up/x", &["-V", "5"], "%r %p %C %R %D %P");
    assert_eq!(subscriber.next(), "1 text text/plain up/y abc k:v k:w=x");
}

#[test]
fn lines_are_messages_in_their_order() {
    let broker = Mosquitto::start();
    let subscriber = broker.subscribe("up/#");
    let setup = Setup::new(broker.port, INGESTS).unspilled();
    let _gatewire = setup.connect();
    // More than the daemon takes without an answer being read.
    let input: String = (0..3000).map(|n| format!("line {n}\n\n")).collect();
    assert_eq!(piped(&setup, &["up/x", "--lines"], input.as_bytes()), done("3000 delivered"));
    for n in 0..3000 {
        assert_eq!(subscriber.next(), format!("up/x line {n}"));
    }
    let mut mixed = b"first\n".to_vec();
    mixed.extend(std::iter::repeat_n(b'x', 500_000));
    mixed.extend(b"\nlast");
    let (code, out, err) = piped(&setup, &["up/x", "-", "--lines"], &mixed);
    assert_eq!((code, out.as_str()), (1, "2 delivered\n"));
    assert!(err.starts_with("line 2 is not published: too_large: ") && err.lines().count() == 1, "{err}");
    assert_eq!([subscriber.next(), subscriber.next()], ["up/x first", "up/x last"]);
}

#[test]
fn what_is_refused_says_why() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, INGESTS).speaking("3.1.1");
    let gatewire = setup.connect();
    let refused = |arguments: &[&str], why: &str| {
        let (code, out, err) = publish(&setup, arguments);
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.starts_with("not published: ") && err.contains(why) && err.lines().count() == 1, "{err}");
    };
    refused(&["down/x", "x"], "(up/door/+, up/#)");
    refused(&["up/+", "x"], "topic `up/+`");
    refused(&["up/x", "x", "--ingest", "doors"], "topic_not_allowed: ");
    refused(&["up/x", "x", "--content-type", "text/plain"], "protocol = \"5\"");
    let (code, _, err) = piped(&setup, &["up/x", "-"], &[b'x'; 131_073]);
    assert!(code == 1 && err.starts_with("not published: too_large"), "{code} {err}");
    assert_eq!(gatewire.status()["ingest"][1]["accepted"], 0);
    for arguments in [
        &["up/x", "x", "--qos", "2"][..],
        &["up/x", "x", "--ingest", "windows"],
        &["up/x", "x", "--lines"],
        &["up/x", "x", "--user-property", "k"],
    ] {
        assert_eq!(publish(&setup, arguments).0, 64, "{arguments:?}");
    }
}

#[test]
fn while_the_link_is_down_it_is_stored() {
    let setup = Setup::with_connection(closed_port(), "backoff = { min = \"1m\", max = \"1m\" }\n", INGESTS);
    let gatewire = setup.start();
    gatewire.wait_for("next attempt in");
    assert_eq!(publish(&setup, &["up/x", "x"]), done("stored"));
    assert_eq!(gatewire.status()["outbox"]["stored"], 1);
    let (code, _, err) = publish(&setup, &["up/x", "x", "--qos", "0"]);
    assert!(code == 1 && err.contains("not_connected: "), "{code} {err}");
}

#[test]
fn a_daemon_that_is_away_or_goes_away_is_told_apart_from_a_refusal() {
    let setup = Setup::new(closed_port(), INGESTS);
    let (code, out, err) = publish(&setup, &["up/x", "x"]);
    assert_eq!((code, out.as_str()), (69, ""));
    assert!(err.contains("`systemctl status gatewire`"), "{err}");

    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, INGESTS).unspilled();
    let gatewire = setup.connect();
    let mut child = spawn(&setup, &["up/x", "--lines"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\n").unwrap();
    eventually("the message", || (gatewire.status()["outbox"]["delivered"] == 1).then_some(()));
    // It may have been counted just now. Before another client is served, that which waited for it has its answer.
    gatewire.status();
    gatewire.kill();
    let status = child.wait().unwrap();
    let mut err = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_to_string(&mut err).unwrap();
    assert_eq!((status.code(), err.as_str()), (Some(69), "gatewire has stopped\n"));
    assert_eq!(BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap(), "1 delivered");
}

#[test]
fn clients_that_leave_their_answers_unread_take_nobodys_place() {
    let setup = Setup::with_connection(closed_port(), "backoff = { min = \"1m\", max = \"1m\" }\n", INGESTS);
    let gatewire = setup.start();
    let flood = b"nonsense\n".repeat(3000);
    for _ in 0..300 {
        gatewire.client("all.sock").write(&flood);
    }
    patiently("the places to be free", || (gatewire.status()["ingest"][1]["clients"] == 0).then_some(()));
    let mut client = gatewire.client("all.sock");
    client.write(&flood);
    client.shutdown_write();
    for _ in 0..3000 {
        assert_eq!(client.json()["error"], "bad_line");
    }
    assert_eq!(client.line(), None);
}

#[test]
fn unfinished_lines_of_many_clients_take_little_memory_and_keep_nobody_waiting() {
    let setup = Setup::with_connection(closed_port(), "backoff = { min = \"1m\", max = \"1m\" }\n", INGESTS);
    let gatewire = setup.start();
    gatewire.wait_for("next attempt in");
    let before = gatewire.process_status("VmRSS");
    let unfinished = format!("{{\"topic\":\"up/x\",\"payload\":\"{}", "x".repeat(120_000));
    let hoarders: Vec<_> = (0..250)
        .map(|_| {
            let mut client = gatewire.client("all.sock");
            // What isn't read stays in the socket, which takes no more then.
            client.write_some(unfinished.as_bytes());
            client
        })
        .collect();
    let mut honest = gatewire.client("all.sock");
    assert_eq!(honest.ask("{\"topic\":\"up/x\",\"payload\":1}")["result"], "stored");
    let long = format!("{{\"topic\":\"up/x\",\"payload\":\"{}\"}}", "y".repeat(120_000));
    let mut other = gatewire.client("doors.sock");
    assert_eq!(other.ask(&long.replace("up/x", "up/door/a"))["result"], "stored");
    let after = gatewire.process_status("VmRSS");
    assert!(after - before < 16 * 1024, "{} KiB", after - before);
    drop(hoarders);
}

#[test]
fn an_answer_that_does_not_come_is_not_waited_for_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("silent.sock");
    // It takes connections, and says nothing.
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let setup = Setup::new(closed_port(), INGESTS);
    let arguments = ["up/x", "x", "--timeout", "300ms", "--socket", socket.to_str().unwrap()];
    let (code, out, err) = publish(&setup, &arguments);
    assert_eq!((code, out.as_str()), (69, ""));
    assert!(err.starts_with("no answer within 300ms for 1 message, which may be published all the same."), "{err}");
    for timeout in ["0s", "soon"] {
        assert_eq!(publish(&setup, &["up/x", "x", "--timeout", timeout]).0, 64);
    }
}
