//! The AWS SDK for Python as the other end, with mosquitto in between.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use support::CERTIFICATES;
use support::daemon::Setup;
use support::mosquitto::Mosquitto;

/// A program from tests/python in the environment that `make test` makes.
fn python(program: &str, port: u16, client_id: &str) -> Command {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let interpreter = tests.join(".venv/bin/python3");
    assert!(interpreter.exists(), "{} isn't there: `make test` makes it", interpreter.display());
    let mut command = Command::new(interpreter);
    command.arg(tests.join("python").join(program)).arg(port.to_string());
    command.arg(CERTIFICATES.path("x").parent().unwrap()).args([client_id, "test/topic", "5"]);
    command
}

#[test]
fn what_its_publisher_sends_comes_out_of_the_forward_socket() {
    let broker = Mosquitto::start();
    let forward = "[[forward]]\nname = \"messages\"\nfilters = [\"test/topic\"]\nsocket = \"DIR/messages.sock\"\n";
    let gatewire = Setup::new(broker.port, forward).connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let mut reader = gatewire.client("messages.sock");
    let published = python("publisher.py", broker.port, "test-sdk-publisher").output().unwrap();
    assert!(published.status.success(), "{published:?}");
    for n in 1..=5 {
        assert_eq!(reader.payload(), format!("\"Hello World! [{n}]\""));
    }
}

#[test]
fn its_subscriber_receives_the_scheduled_publications() {
    let broker = Mosquitto::start();
    let mut subscriber =
        python("subscriber.py", broker.port, "test-sdk-subscriber").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let publish = "[[publish]]\nname = \"hello\"\ntopic = \"test/topic\"\nevery = \"100ms\"\ncount = 5\n\
        payload = { message = \"Hello from gatewire [{{count}}]\" }\n";
    let gatewire = Setup::new(broker.port, publish).connect();
    for n in 1..=5 {
        let expected = format!("test/topic {{\"message\":\"Hello from gatewire [{n}]\"}}");
        assert_eq!(lines.next().unwrap().unwrap(), expected);
    }
    assert!(subscriber.wait().unwrap().success());
    assert_eq!(gatewire.stop().0, 0);
}
