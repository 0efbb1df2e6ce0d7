//! `gatewire status --follow`.

use super::*;

/// What `gatewire status --follow` prints, line by line, and the process.
fn follow(setup: &Setup) -> (std::process::Child, std::io::Lines<std::io::BufReader<std::process::ChildStdout>>) {
    use std::io::BufRead as _;
    let mut command = setup.command();
    command.args(["status", "--follow"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

/// The next line, whose link is in this state.
fn next(lines: &mut impl Iterator<Item = std::io::Result<String>>, state: &str) -> Value {
    let found = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    found.into_iter().find(|line| line["link"]["state"] == state).unwrap_or_else(|| panic!("no line with {state}"))
}

#[test]
fn who_follows_is_told_of_each_change_until_the_daemon_ends() {
    use std::io::Read as _;
    let mut broker = Mosquitto::start();
    let connection = "backoff = { min = \"100ms\", max = \"200ms\" }\n";
    let setup = Setup::with_connection(broker.port, connection, REST);
    let gatewire = setup.connect();
    let (mut child, mut lines) = follow(&setup);
    let line = next(&mut lines, "connected");
    assert_eq!(line.as_object().unwrap().keys().collect::<Vec<_>>(), ["link", "outbox"]);
    assert!(line["outbox"]["waiting"].is_u64() && line["link"]["history"].is_null(), "{line}");
    broker.stop();
    let line = next(&mut lines, "waiting");
    assert!(line["link"]["last_error"]["code"].is_string(), "{line}");
    broker.restart();
    next(&mut lines, "connected");
    assert_eq!(gatewire.stop().0, 0);
    next(&mut lines, "stopped");
    assert!(lines.next().is_none());
    let (mut said, code) = (String::new(), child.wait().unwrap());
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((code.code(), said.as_str()), (Some(69), "gatewire status: gatewire has stopped\n"));
}

#[test]
fn who_follows_may_be_interrupted_and_without_a_daemon_is_told_where_to_look() {
    let setup = Setup::new(closed_port(), "");
    let (code, out, err) = setup.output_of(&["status", "--follow"]);
    assert_eq!((code, out.as_str()), (69, ""));
    assert!(err.contains("`systemctl status gatewire`"), "{err}");
    let gatewire = setup.start();
    gatewire.wait_for("next attempt in");
    for signal in [nix::sys::signal::Signal::SIGINT, nix::sys::signal::Signal::SIGTERM] {
        let (mut child, mut lines) = follow(&setup);
        assert!(lines.next().is_some());
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    // Nobody reads it any more.
    let (mut child, lines) = follow(&setup);
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A daemon of before, which answers with its document whatever is said.
#[test]
fn a_daemon_that_cannot_be_followed_is_told_to_be_restarted() {
    let setup = Setup::new(closed_port(), "");
    let listener = UnixListener::bind(setup.directory.path().join("status.sock")).unwrap();
    let server = std::thread::spawn(move || {
        for _ in 0..3 {
            listener.accept().unwrap().0.write_all(b"{\"version\":\"0.2.0\",\"link\":{}}\n").unwrap();
        }
    });
    let (code, out, err) = setup.output_of(&["status", "--follow"]);
    server.join().unwrap();
    assert_eq!((code, out.as_str()), (69, ""), "{err}");
    assert!(err.contains("version 0.2.0") && err.contains("systemctl restart gatewire"), "{err}");
}
