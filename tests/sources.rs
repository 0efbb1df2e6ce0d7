//! Scheduled publications that read a value: from a file, a command, this machine; by cron, on change, in batches.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::daemon::{Gatewire, Setup};
use support::mosquitto::{Mosquitto, Subscriber};
use support::{eventually, takes_less_than};

/// A publication on `v`, every 50 ms unless `rest` says otherwise.
fn publish(rest: &str) -> String {
    let every = if rest.contains("cron") || rest.contains("every") { "" } else { "every = \"50ms\"\n" };
    format!("[[publish]]\nname = \"p\"\ntopic = \"v\"\n{every}{rest}\n")
}

fn start(broker: &Mosquitto, rest: &str) -> (Subscriber, Gatewire) {
    let subscriber = broker.subscribe("v");
    (subscriber, Setup::new(broker.port, rest).unspilled().connect())
}

fn payload(subscriber: &Subscriber) -> String {
    subscriber.next().strip_prefix("v ").unwrap().to_owned()
}

fn json_payload(subscriber: &Subscriber) -> Value {
    let payload = payload(subscriber);
    serde_json::from_str(&payload).unwrap_or_else(|error| panic!("{error}: {payload}"))
}

/// What a script has written into a file, once it has.
fn written(path: &Path) -> String {
    let whole = || fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'));
    eventually(&path.display().to_string(), whole).trim().to_owned()
}

/// Waits until a process is gone, or a corpse that its parent has still to bury.
fn wait_until_gone(pid: &str) {
    let lives = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    eventually(&format!("the end of process {pid}"), || (!lives()).then_some(()));
}

#[test]
fn a_cron_pattern_is_due_when_the_clock_shows_it() {
    let broker = Mosquitto::start();
    let (subscriber, gatewire) = start(
        &broker,
        &publish(
            "cron = \"* * * * * *\"\ntimezone = \"Europe/Berlin\"\npayload = { at = \"{{timestamp}}\" }\ncount = 2",
        ),
    );
    let seconds: Vec<jiff::Timestamp> =
        (0..2).map(|_| json_payload(&subscriber)["at"].as_str().unwrap().parse().unwrap()).collect();
    assert!(seconds.iter().all(|at| at.subsec_nanosecond() == 0), "{seconds:?}");
    assert!(seconds[0] < seconds[1], "{seconds:?}");
    gatewire.wait_for("publish p: on v cron `* * * * * *` (Europe/Berlin)");
    assert_eq!(gatewire.stop().0, 0);
    // One that is due tomorrow keeps nobody waiting at the end, and is in the status.
    let gatewire = Setup::new(broker.port, &publish("cron = \"0 3 * * *\"\npayload = \"x\"")).connect();
    let next: jiff::Timestamp = gatewire.status()["publish"][0]["next_run"].as_str().unwrap().parse().unwrap();
    let ahead = next.duration_since(jiff::Timestamp::now());
    assert!(ahead.is_positive() && ahead.as_hours() <= 25, "{ahead}");
    assert_eq!(gatewire.status()["publish"][0]["last_run"], Value::Null);
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn what_a_file_holds_arrives_and_that_it_is_missing_is_said_once() {
    let broker = Mosquitto::start();
    let (subscriber, gatewire) =
        start(&broker, &publish("file = \"DIR/temp\"\npayload = { millidegrees = \"{{value}}\" }"));
    let status = || gatewire.status()["publish"][0].clone();
    eventually("some failures", || (status()["failed"].as_u64() > Some(3)).then_some(()));
    assert_eq!(gatewire.count("temp isn't there: there is no such file"), 1, "{:#?}", gatewire.log());
    let error = status()["last_error"].clone();
    assert!(error["message"].as_str().unwrap().ends_with("temp isn't there: there is no such file"), "{error}");
    assert!(error["at"].as_str().unwrap().ends_with('Z'));
    // Renamed into place, as whoever writes it should do.
    fs::write(gatewire.path("new"), "48312\n").unwrap();
    fs::rename(gatewire.path("new"), gatewire.path("temp")).unwrap();
    assert_eq!(payload(&subscriber), r#"{"millidegrees":48312}"#);
    gatewire.wait_for("publish p: works again, after ");
    // Another error is another line, and the first again is one more.
    fs::remove_file(gatewire.path("temp")).unwrap();
    fs::create_dir(gatewire.path("temp")).unwrap();
    gatewire.wait_for("temp is a directory, not a regular file");
    fs::remove_dir(gatewire.path("temp")).unwrap();
    gatewire.wait_for_nth("temp isn't there", 2);
    assert!(gatewire.count("works again") <= 2, "{:#?}", gatewire.log());
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn what_a_command_prints_arrives_and_its_failure_is_explained_once() {
    let broker = Mosquitto::start();
    let script = "command = [\"sh\", \"-c\", 'if [ -e $0 ]; then echo \"no sensor ($$)\" >&2; exit 3; fi; echo \"{\\\"temp\\\": 21.5, \\\"n\\\": [1]}\"', \"DIR/broken\"]\n";
    let (subscriber, gatewire) = start(
        &broker,
        &publish(&format!(
            "{script}payload = {{ temp = \"{{{{value.temp}}}}\", all = \"{{{{value}}}}\", n = \"{{{{value.n}}}}\" }}"
        )),
    );
    assert_eq!(json_payload(&subscriber), json!({"temp": 21.5, "all": "{\"temp\": 21.5, \"n\": [1]}", "n": [1]}));
    fs::write(gatewire.path("broken"), "").unwrap();
    gatewire.wait_for("ended with exit code 3: no sensor (");
    let failed = || gatewire.status()["publish"][0]["failed"].as_u64().unwrap();
    eventually("more failures", || (failed() > 3).then_some(()));
    fs::remove_file(gatewire.path("broken")).unwrap();
    gatewire.wait_for("publish p: works again");
    assert_eq!(gatewire.count("exit code 3"), 1, "{:#?}", gatewire.log());
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn a_command_that_hangs_is_killed_with_its_children_and_never_runs_twice_at_a_time() {
    let broker = Mosquitto::start();
    let hangs = "command = [\"sh\", \"-c\", 'sh -c \"echo \\$\\$ > $0.child; exec sleep 1000\" & echo $$ > $0.parent; wait', \"DIR/pid\"]\n";
    let (_subscriber, gatewire) = start(&broker, &publish(&format!("{hangs}timeout = \"500ms\"")));
    let (parent, child) = (written(&gatewire.path("pid.parent")), written(&gatewire.path("pid.child")));
    gatewire.wait_for("took longer than its timeout of 500ms; it was killed with its children");
    wait_until_gone(&parent);
    wait_until_gone(&child);
    // It is due every 50 ms, also in the runs that follow.
    eventually("some are left out", || (gatewire.status()["publish"][0]["skipped"].as_u64() >= Some(5)).then_some(()));
    assert_eq!(gatewire.count("the previous run is still reading its value"), 1);
    assert_eq!(gatewire.stop().0, 0);
}

#[test]
fn the_end_of_the_daemon_is_the_end_of_what_it_runs() {
    takes_less_than(Duration::from_secs(3), || {
        let broker = Mosquitto::start();
        let hangs = "command = [\"sh\", \"-c\", 'echo $$ > $0; sleep 1000; true', \"DIR/pid\"]\ntimeout = \"1h\"";
        let (_subscriber, gatewire) = start(&broker, &publish(hangs));
        let pid = written(&gatewire.path("pid"));
        let (code, took) = gatewire.stop();
        assert_eq!(code, 0);
        wait_until_gone(&pid);
        took
    });
}

#[test]
fn this_machine_tells_how_it_is() {
    let broker = Mosquitto::start();
    let (subscriber, _gatewire) =
        start(&broker, &publish("metrics = [\"cpu\", \"memory\", \"disk\", \"network\", \"uptime\"]\ncount = 1"));
    let value = json_payload(&subscriber);
    assert!((0.0..=100.0).contains(&value["cpu"]["percent"].as_f64().unwrap()), "{value}");
    for number in ["/cpu/load", "/memory/available", "/memory/used_percent", "/disk/total", "/uptime"] {
        assert!(value.pointer(number).is_some_and(Value::is_number), "{number} in {value}");
    }
    let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["cpu", "memory", "disk", "network", "uptime"]);
    let some = publish("metrics = [\"uptime\"]\npayload = \"up {{value.uptime}} s\"\ncount = 1");
    let (subscriber, _gatewire) = start(&broker, &some);
    assert!(payload(&subscriber).strip_prefix("up ").unwrap().ends_with(" s"));
}

#[test]
fn only_what_has_moved_is_sent() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, &publish("file = \"DIR/temp\"\non_change = true\nmin_change = 0.5"));
    let write = |text: &str| {
        fs::write(setup.directory.path().join("new"), text).unwrap();
        fs::rename(setup.directory.path().join("new"), setup.directory.path().join("temp")).unwrap();
    };
    write("20.0\n");
    let subscriber = broker.subscribe("v");
    let gatewire = setup.connect();
    assert_eq!(payload(&subscriber), "20.0");
    let unchanged = || gatewire.status()["publish"][0]["unchanged"].as_u64().unwrap();
    write("20.4\n");
    let before = unchanged();
    eventually("it to be looked at", || (unchanged() > before + 2).then_some(()));
    write("20.6\n");
    assert_eq!(payload(&subscriber), "20.6");
    assert_eq!(gatewire.stop().0, 0);
    assert_eq!(subscriber.try_next(), None);
}

#[test]
fn values_of_a_batch_come_as_one_array_and_what_is_left_at_the_end_goes_out() {
    let broker = Mosquitto::start();
    let (subscriber, gatewire) = start(
        &broker,
        &publish("every = \"20ms\"\npayload = { n = \"{{count}}\" }\ncount = 7\nbatch = { max = 3, within = \"1h\" }"),
    );
    assert_eq!(payload(&subscriber), r#"[{"n":1},{"n":2},{"n":3}]"#);
    assert_eq!(payload(&subscriber), r#"[{"n":4},{"n":5},{"n":6}]"#);
    eventually("the last value", || (gatewire.status()["publish"][0]["count"] == 7).then_some(()));
    assert_eq!(gatewire.status()["outbox"]["accepted"], 2);
    assert_eq!(gatewire.stop().0, 0);
    assert_eq!(payload(&subscriber), r#"[{"n":7}]"#);
}

#[test]
fn lines_of_a_batch_come_as_one_array_and_are_answered_when_it_is_safe() {
    let ingest = "[[ingest]]\nname = \"i\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"v\"]\n";
    let broker = Mosquitto::start();
    let (subscriber, gatewire) = start(&broker, &format!("{ingest}batch = {{ max = 2, within = \"1h\" }}\n"));
    let mut client = gatewire.client("publish.sock");
    client.send(r#"{"topic":"v","payload":{"open": true},"id":1}"#);
    assert!(client.is_silent(), "it waits for others, and isn't safe");
    client.send(r#"{"topic":"v","payload":"shut","id":2}"#);
    assert_eq!(payload(&subscriber), r#"[{"open":true},"shut"]"#);
    assert_eq!(client.json(), json!({"id": 1, "result": "delivered"}));
    assert_eq!(client.json(), json!({"id": 2, "result": "delivered"}));
    client.send(r#"{"topic":"v","payload":3,"id":3}"#);
    eventually("the third line", || (gatewire.status()["ingest"][0]["accepted"] == 3).then_some(()));
    gatewire.signal("TERM");
    assert_eq!(client.json(), json!({"id": 3, "result": "delivered"}));
    assert_eq!(payload(&subscriber), "[3]");
    assert_eq!(gatewire.wait().0, 0);
}

#[test]
fn a_batch_that_the_end_finds_without_a_link_is_stored_and_sent_after_the_next_start() {
    let ingest =
        "[[ingest]]\nname = \"i\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"v\"]\nbatch = { within = \"1h\" }\n";
    let mut broker = Mosquitto::with_options("persistence true\npersistence_location DIR/\n");
    let setup = Setup::new(broker.port, ingest);
    let gatewire = setup.connect();
    broker.kill();
    gatewire.wait_for("next attempt in");
    let mut client = gatewire.client("publish.sock");
    client.send(r#"{"topic":"v","payload":1,"id":1}"#);
    eventually("the line", || (gatewire.status()["ingest"][0]["accepted"] == 1).then_some(()));
    gatewire.signal("TERM");
    assert_eq!(client.json(), json!({"id": 1, "result": "stored"}));
    assert_eq!(gatewire.wait().0, 0);
    broker.restart();
    let subscriber = broker.subscribe("v");
    let _gatewire = setup.again().connect();
    assert_eq!(payload(&subscriber), "[1]");
}

#[test]
fn numbers_arrive_with_the_digits_that_were_read() {
    let broker = Mosquitto::start();
    let command = r#"command = ["cat", "DIR/value"]
on_change = true
payload = { all = "{{value}}", part = "{{value.a}}", object = "{{value.o}}" }"#;
    let setup = Setup::new(broker.port, &publish(command));
    let write = |text: &str| {
        fs::write(setup.directory.path().join("new"), text).unwrap();
        fs::rename(setup.directory.path().join("new"), setup.directory.path().join("value")).unwrap();
    };
    write(r#"{"a": 12345678901234567890123, "o": {"z": 1.10, "a": 1e400}}"#);
    let subscriber = broker.subscribe("v");
    let gatewire = setup.connect();
    let text = r#""all":"{\"a\": 12345678901234567890123, \"o\": {\"z\": 1.10, \"a\": 1e400}}""#;
    assert_eq!(
        payload(&subscriber),
        format!(r#"{{{text},"part":12345678901234567890123,"object":{{"z":1.10,"a":1e400}}}}"#)
    );
    write(r#"{"a": 12345678901234567890124, "o": {"z": 1.10, "a": 1e400}}"#);
    assert!(payload(&subscriber).contains(r#""part":12345678901234567890124,"#));
    write(r#"{"o": {"a": 1E+400, "z": 1.1}, "a": 12345678901234567890124.0}"#);
    let unchanged = || gatewire.status()["publish"][0]["unchanged"].as_u64().unwrap();
    let before = unchanged();
    eventually("it to be looked at", || (unchanged() > before + 2).then_some(()));
    // Nothing at all is no value.
    write("\n");
    gatewire.wait_for("` ended with exit code 0 and printed nothing on standard output: there is no value to publish");
    assert!(gatewire.status()["publish"][0]["failed"].as_u64() > Some(0));
    assert_eq!(gatewire.stop().0, 0);
    assert_eq!(subscriber.try_next(), None);
}

#[test]
fn an_empty_file_is_no_value_unless_the_payload_does_without() {
    let broker = Mosquitto::start();
    let (_subscriber, gatewire) = start(&broker, &publish("file = \"DIR/empty\""));
    fs::write(gatewire.path("empty"), "").unwrap();
    gatewire.wait_for("/empty is empty: there is no value to publish");
    let (subscriber, gatewire) = start(&broker, &publish("file = \"DIR/empty\"\npayload = \"there\""));
    fs::write(gatewire.path("empty"), "").unwrap();
    assert_eq!(payload(&subscriber), "there");
}

#[test]
fn numbers_of_ingest_lines_come_back_and_arrive_as_they_were_written() {
    let ingest = "[[ingest]]\nname = \"i\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"v\"]\n";
    let broker = Mosquitto::start();
    for (batch, expected) in [("", "{P}"), ("batch = { max = 1, within = \"1h\" }\n", "[{P}]")] {
        let (subscriber, gatewire) = start(&broker, &format!("{ingest}{batch}"));
        let mut client = gatewire.client("publish.sock");
        let number = "123456789012345678901234567890";
        for sent in [number, "1e400", r#"{"z":-0.10,"a":[123456789012345678901234567890]}"#] {
            client.send(&format!(r#"{{"topic":"v","payload": {sent} ,"id":{number}}}"#));
            assert_eq!(client.line().unwrap(), format!(r#"{{"id":{number},"result":"delivered"}}"#));
            assert_eq!(payload(&subscriber), expected.replace("{P}", sent));
        }
    }
}
