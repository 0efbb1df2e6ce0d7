//! The connection of a bridge to its local broker: with a real mosquitto, and with what only looks like a broker.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "bridge_local/closing.rs"]
mod closing;
mod support;
#[path = "bridge_local/tls.rs"]
mod tls;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{TryRecvError, channel};
use std::time::Duration;

use serde_json::json;
use support::daemon::{Gatewire, Setup};
use support::local_broker::LocalBroker;
use support::mosquitto::{Mosquitto, Subscriber};
use support::{CERTIFICATES, closed_port, eventually, patiently, settled};

/// A bridge to `broker` with these keys, and one rule.
fn bridge(broker: &str, keys: &str) -> String {
    format!(
        "[[bridge]]\nname = \"house\"\nbroker = \"{broker}\"\n{keys}\n[[bridge.up]]\nfrom = \"z2m/#\"\nto = \"gw/\"\n"
    )
}

/// With nothing in the place of IoT Core: the bridge doesn't wait for it.
fn setup(broker: &str, keys: &str) -> Setup {
    Setup::new(closed_port(), &bridge(broker, keys))
}

fn at(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Waits for the failure of this code; the line of the log.
fn failure(gatewire: &Gatewire, code: &str) -> String {
    let message = patiently(code, || {
        let document = gatewire.status();
        let error = document["bridge"][0]["last_error"].clone();
        (error["code"] == json!(code)).then(|| error["message"].as_str().unwrap().to_owned())
    });
    let line = gatewire.wait_for(&message);
    assert!(line.contains("bridge house: "), "{line}");
    line
}

fn says(line: &str, words: &[&str]) {
    words.iter().for_each(|word| assert!(line.contains(word), "no {word:?} in: {line}"));
}

/// What isn't a broker: answers each connection with these bytes once something has come, and closes.
fn answering(bytes: &'static [u8]) -> u16 {
    scripted(&[bytes], false)
}

/// Answers what comes with one of these after the other, and then closes, or doesn't.
fn scripted(answers: &[&'static [u8]], stays: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, answers) = (listener.local_addr().unwrap().port(), answers.to_vec());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            for answer in &answers {
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(answer);
            }
            if stays {
                let _ = stream.read_to_end(&mut Vec::new());
            }
        }
    });
    port
}

#[test]
fn a_broker_that_does_not_run_is_named_and_found_when_it_does() {
    let mut local = LocalBroker::start();
    local.stop();
    let gatewire = setup(&at(local.port), "").start();
    says(
        &failure(&gatewire, "broker_not_running"),
        &[&at(local.port), "nothing listens there", "systemctl status mosquitto"],
    );
    // It may just be trying.
    eventually("a wait", || (gatewire.status()["bridge"][0]["state"] == json!("waiting")).then_some(()));
    local.restart();
    gatewire.wait_for("bridge house: connected to ");
    gatewire.wait_for("bridge house: subscribed to z2m/#");
    assert_eq!(gatewire.status()["bridge"][0]["state"], json!("connected"));
}

#[test]
fn a_wrong_password_is_named_and_the_right_one_found_without_a_reload() {
    for protocol in ["5", "3.1.1"] {
        let directory = tempfile::tempdir().unwrap();
        let passwords = directory.path().join("passwords");
        let made =
            Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&passwords).args(["gatewire", "right"]).status();
        assert!(made.unwrap().success());
        let local =
            LocalBroker::with_options(&format!("allow_anonymous false\npassword_file {}\n", passwords.display()));
        let version = format!("protocol = \"{protocol}\"");
        let gatewire = setup(&at(local.port), &version).start();
        says(&failure(&gatewire, "broker_refused_login"), &["requires a login", "username and password_file"]);
        drop(gatewire);
        let keys = format!("{version}\nusername = \"gatewire\"\npassword_file = \"DIR/password\"");
        let setup = setup(&at(local.port), &keys);
        let gatewire = setup.start();
        let password = gatewire.path("password");
        says(&failure(&gatewire, "broker_password_file"), &[password.to_str().unwrap(), "there is no such file"]);
        fs::write(&password, "wrong-secret\n").unwrap();
        says(
            &failure(&gatewire, "broker_refused_login"),
            &["the user `gatewire`", password.to_str().unwrap(), "mosquitto_passwd"],
        );
        fs::write(&password, "right\n").unwrap();
        gatewire.wait_for("bridge house: connected to ");
        assert!(!gatewire.log().iter().any(|line| line.contains("wrong-secret")));
    }
}

#[test]
fn a_unix_socket_is_as_good_and_one_that_is_missing_or_left_behind_is_named() {
    let mut local = LocalBroker::with_options("listener 0 DIR/mqtt.sock\nallow_anonymous true\n");
    let socket = local.path("mqtt.sock");
    let broker = format!("unix:{}", socket.display());
    let gatewire = setup(&broker, "").start();
    gatewire.wait_for(&format!("bridge house: connected to {broker} as `gatewire-thing-1`"));
    local.kill();
    says(&failure(&gatewire, "broker_not_running"), &["left behind", "systemctl status mosquitto"]);
    fs::remove_file(&socket).unwrap();
    says(
        &failure(&gatewire, "broker_socket_missing"),
        &["there is no such socket", &format!("listener 0 {}", socket.display())],
    );
    local.restart();
    gatewire.wait_for_nth("bridge house: connected to ", 2);
}

#[test]
fn what_is_no_broker_or_one_of_another_version_is_told_apart() {
    let http = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    says(&failure(&setup(&at(http), "").start(), "broker_not_mqtt"), &["HTTP/1.1", "web server"]);
    let alert = answering(b"\x15\x03\x01\x00\x02\x02\x46");
    says(&failure(&setup(&at(alert), "").start(), "broker_not_mqtt"), &["That port speaks TLS"]);
    let old = answering(b"\x20\x02\x00\x01");
    says(
        &failure(&setup(&at(old), "").start(), "broker_refused_protocol_version"),
        &["MQTT 5", "protocol = \"3.1.1\""],
    );
    let new = answering(b"\x20\x03\x00\x84\x00");
    let gatewire = setup(&at(new), "protocol = \"3.1.1\"").start();
    assert!(failure(&gatewire, "broker_not_mqtt").contains("protocol = \"5\""));
    let silent = answering(b"");
    says(&failure(&setup(&at(silent), "").start(), "broker_closed_before_connack"), &["may speak TLS", "3.1.1"]);
}

#[test]
fn a_filter_that_the_broker_refuses_is_named() {
    for (protocol, connack, suback, words) in [
        ("5", &b"\x20\x03\x00\x00\x00"[..], &b"\x90\x04\x00\x01\x00\x87"[..], "with reason code 0x87 (not authorized)"),
        ("3.1.1", b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x80", "refused to subscribe us to `z2m/#`: "),
    ] {
        let port = scripted(&[connack, suback], true);
        let gatewire = setup(&at(port), &format!("protocol = \"{protocol}\"")).start();
        let line = gatewire.wait_for("refused to subscribe us");
        says(&line, &["bridge house: ", words, "topic read z2m/#", "before the first `user`"]);
        assert_eq!(gatewire.status()["bridge"][0]["state"], json!("connected"));
    }
}

#[test]
fn the_status_topic_follows_the_link_and_says_how_it_ended() {
    let cloud = Mosquitto::start();
    let local = LocalBroker::start();
    let watcher = local.subscribe("gatewire/link");
    let keys = "status_topic = \"gatewire/link\"";
    let setup = Setup::new(cloud.port, &bridge(&at(local.port), keys));
    let gatewire = setup.start();
    let until = |state: &str| {
        let wanted = format!("gatewire/link {{\"state\":\"{state}\"}}");
        eventually(state, || (watcher.next() == wanted).then_some(()));
    };
    until("connected");
    gatewire.stop();
    until("stopped");
    let gatewire = setup.start();
    until("connected");
    gatewire.kill();
    until("gone");
    let retained = local.subscribe("gatewire/link");
    assert_eq!(retained.next(), "gatewire/link {\"state\":\"gone\"}");
}

#[test]
fn a_status_topic_that_is_left_shows_no_state_any_more() {
    let (cloud, local, other) = (Mosquitto::start(), LocalBroker::start(), LocalBroker::start());
    let (watcher, bystander) = (local.subscribe("status/#"), other.subscribe("status/#"));
    let setup = Setup::new(cloud.port, &bridge(&at(local.port), "status_topic = \"status/one\""));
    let gatewire = setup.start();
    let until = |watcher: &Subscriber, wanted: &str| {
        eventually(wanted, || (watcher.next() == wanted).then_some(()));
    };
    until(&watcher, "status/one {\"state\":\"connected\"}");
    let again = setup.again().edit("status/one", "status/two");
    gatewire.signal("HUP");
    until(&watcher, "status/one ");
    until(&watcher, "status/two {\"state\":\"connected\"}");
    let _again = again.again().edit(&at(local.port), &at(other.port));
    gatewire.signal("HUP");
    until(&watcher, "status/two {\"state\":\"stopped\"}");
    until(&bystander, "status/two {\"state\":\"connected\"}");
}

#[test]
fn what_the_broker_does_not_have_messages_go_without() {
    let cloud = Mosquitto::start();
    let local = LocalBroker::with_options("allow_anonymous true\nmax_qos 0\nretain_available false\n");
    let device = local.subscribe_with("cmd/#", &["-q", "0"], "%t %p %r");
    let down = "[[bridge.down]]\nfrom = \"set/#\"\nstrip = \"set/\"\nto = \"cmd/\"\n";
    let setup = Setup::new(cloud.port, &format!("{}{down}", bridge(&at(local.port), "")));
    let gatewire = setup.connect();
    gatewire.wait_for("bridge house: connected to ");
    cloud.wait_for("Sending SUBACK to thing-1");
    cloud.publish_with("set/lamp", b"on", &["-r"]);
    cloud.publish("set/lamp", b"off");
    assert_eq!([device.next(), device.next()], ["cmd/lamp on 0", "cmd/lamp off 0"]);
    let line = gatewire.wait_for("accepts QoS 0 only");
    assert!(line.contains("`max_qos 1` or more"), "{line}");
    eventually("both to be delivered", || {
        let rule = gatewire.status()["bridge"][0]["down"][0].clone();
        (rule["delivered"] == 2 && rule["waiting"] == 0 && rule["dropped"] == json!({})).then_some(())
    });
    assert_eq!(gatewire.count("accepts QoS 0 only"), 1);
}

#[test]
fn another_client_with_our_id_is_named() {
    for protocol in ["5", "3.1.1"] {
        let local = LocalBroker::start();
        let gatewire = setup(&at(local.port), &format!("protocol = \"{protocol}\"")).start();
        gatewire.wait_for("bridge house: connected to ");
        // It connects again once it has been thrown out and gatewire is at rest: with a SUBSCRIBE in flight that could be to blame.
        let port = local.port;
        let log = local.path("log");
        let is_at_rest = move || {
            let read = || std::fs::read_to_string(&log).unwrap();
            settled("what the broker says", || read().len());
            let log = read();
            let mut last = log.lines().rev().filter(|line| line.contains("gatewire-thing-1"));
            // With a session that was kept, nothing need be asked for.
            let at_rest = ["Sending SUBACK to gatewire-thing-1", "Sending CONNACK to gatewire-thing-1 (1,"];
            last.next().is_some_and(|line| at_rest.iter().any(|sent| line.contains(sent)))
        };
        let (stop, stopped) = channel::<()>();
        let rival = std::thread::spawn(move || {
            while stopped.try_recv() != Err(TryRecvError::Disconnected) {
                if !is_at_rest() {
                    continue;
                }
                let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                stream.write_all(b"\x10\x1c\x00\x04MQTT\x04\x00\x00\x3c\x00\x10gatewire-thing-1").unwrap();
                // Until gatewire has taken over, or will for so long not.
                let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
                while stream.read(&mut [0; 4]).is_ok_and(|length| length > 0) {}
            }
        });
        says(&failure(&gatewire, "broker_client_id_taken_over"), &["gatewire-thing-1", "set another client_id"]);
        drop(gatewire);
        drop(stop);
        rival.join().unwrap();
    }
}

#[test]
fn retained_messages_come_once_for_a_subscription_whoever_restarts() {
    for protocol in ["5", "3.1.1"] {
        let mut local = LocalBroker::start();
        local.publish_with("z2m/lamp", b"ON", &["-q", "1", "-r"]);
        let setup = setup(&at(local.port), &format!("protocol = \"{protocol}\""));
        let received = |gatewire: &Gatewire| gatewire.status()["bridge"][0]["up"][0]["received"].as_u64().unwrap();
        // What isn't acknowledged would come again, whether retained or not.
        let acknowledged = |local: &LocalBroker, n| {
            let count = || local.log().matches("Received PUBACK from gatewire-thing-1").count();
            eventually("the PUBACK", || (count() == n).then_some(()));
        };
        let gatewire = setup.start();
        gatewire.wait_for("bridge house: subscribed to ");
        eventually("the retained message", || (received(&gatewire) == 1).then_some(()));
        acknowledged(&local, 1);
        gatewire.stop();
        let gatewire = setup.start();
        gatewire.wait_for("bridge house: connected to ");
        local.publish("z2m/door", b"open");
        acknowledged(&local, 2);
        assert_eq!(received(&gatewire), 1, "another message");
        if protocol == "5" {
            local.stop();
            local.restart();
            gatewire.wait_for_nth("bridge house: connected to ", 2);
            local.publish("z2m/door", b"closed");
            acknowledged(&local, 3);
            assert_eq!(received(&gatewire), 2, "another message");
        }
    }
}

#[test]
fn check_goes_the_way_to_the_local_broker_and_a_running_daemon_does_not_notice() {
    let cloud = Mosquitto::start();
    let mut local = LocalBroker::start();
    let setup = Setup::new(cloud.port, &bridge(&at(local.port), ""));
    let (code, output, errors) = setup.output_of(&["check", "--connect"]);
    assert_eq!(code, 0, "{output}{errors}");
    let steps = [
        "  ok       bridge house: TCP: connected to 127.0.0.1:",
        "  ok       bridge house: MQTT 5: accepted as `gatewire-thing-1-check-",
        "  ok       bridge house: SUBSCRIBE: `z2m/#` granted with QoS 1",
    ];
    says(&output, &steps);
    let gatewire = setup.start();
    gatewire.wait_for("bridge house: connected to ");
    gatewire.wait_for("connected to localhost");
    let (code, output, errors) = setup.output_of(&["check", "--connect"]);
    assert_eq!(code, 0, "{output}{errors}");
    says(&output, &steps);
    says(&output, &["gatewire is running; nothing is tried beside it"]);
    assert_eq!((gatewire.count("bridge house: connected to "), gatewire.count("bridge_down")), (1, 0));
    local.stop();
    let (code, output, _) = setup.output_of(&["check", "--connect"]);
    assert_eq!(code, 1, "{output}");
    says(&output, &["  failed   bridge house: connecting to the broker 127.0.0.1:", "nothing listens there"]);
    let (code, output, _) = setup.output_of(&["check", "--connect", "--tls-only"]);
    assert!(code == 0 && !output.contains("bridge house: "), "{output}");
}
