//! What the reader says of files that people write.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::template::Machine;

mod action;
mod advice;
mod bridge;
mod generated;
mod meter;
mod metrics;
mod misconfigurations;
mod provisioning;
mod proxy;
mod publish;
mod secrets;
mod services;
mod shipped;
mod texts;

fn environment() -> Environment {
    Environment {
        hostname: "pi4".to_owned(),
        machine: Machine {
            serial: None,
            machine_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
            hostname: Some("pi4".to_owned()),
        },
        thing: |_| None,
        credentials_directory: Some(String::new()),
        runtime_directory: Some("/run/a:/run/b".to_owned()),
        state_directory: None,
        group_exists: |name| name == "gatewire",
    }
}

/// A directory with `gatewire.toml` and `conf.d` files.
fn files(main: &[u8], drop_ins: &[(&str, &[u8])]) -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("gatewire.toml"), main).unwrap();
    if !drop_ins.is_empty() {
        fs::create_dir(directory.path().join("conf.d")).unwrap();
    }
    for (name, text) in drop_ins {
        fs::write(directory.path().join("conf.d").join(name), text).unwrap();
    }
    directory
}

fn load(main: &str, drop_ins: &[(&str, &str)]) -> Result<(Config, Vec<String>), Vec<String>> {
    let drop_ins: Vec<_> = drop_ins.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    load_bytes(main.as_bytes(), &drop_ins)
}

fn load_bytes(main: &[u8], drop_ins: &[(&str, &[u8])]) -> Result<(Config, Vec<String>), Vec<String>> {
    let directory = files(main, drop_ins);
    let strip = |text: String| text.replace(&format!("{}/", directory.path().display()), "");
    match read(&directory.path().join("gatewire.toml"), &environment()) {
        Ok(loaded) => Ok((loaded.config, loaded.warnings.iter().map(|warning| strip(warning.to_string())).collect())),
        Err(error) => Err(strip(error.to_string()).lines().map(str::to_owned).collect()),
    }
}

const CONNECTION: &str = "[connection]\nendpoint = \"localhost\"\nclient_id = \"thing-1\"\nprotocol = \"3.1.1\"\n";

/// The errors of a file that begins with a good `[connection]` of four lines.
fn errors(rest: &str) -> Vec<String> {
    load(&format!("{CONNECTION}{rest}"), &[]).expect_err(rest)
}

fn publish(rest: &str) -> String {
    format!("[[publish]]\nname = \"p\"\ntopic = \"t\"\nevery = \"1s\"\npayload = \"x\"\n{rest}\n")
}

#[test]
fn left_out_keys_have_the_defaults_of_the_documentation() {
    let (config, warnings) = load(CONNECTION, &[]).unwrap();
    assert_eq!(warnings, [""; 0]);
    let connection = config.connection;
    assert_eq!((connection.port, connection.keep_alive), (8883, KeepAlive::Fixed(Duration::from_secs(60))));
    assert_eq!(connection.backoff.max, Duration::from_secs(120));
    assert_eq!(connection.backoff.first, Duration::from_secs(1));
    assert_eq!((connection.rate_limit.messages_per_second, connection.rate_limit.bytes_per_second), (100, 512 * 1024));
    assert_eq!(config.tls.key_file.path().unwrap(), Path::new("/etc/gatewire/certs/private.pem.key"));
    assert_eq!(config.status.socket.path, Path::new("/run/gatewire/status.sock"));
    assert_eq!((config.status.socket.mode, &config.status.socket.group), (0o660, &None));
    assert_eq!(config.outbox.max_size, 256 << 20);
}

#[test]
fn all_errors_of_all_files_come_in_one_run_in_order() {
    let main = "[connection]\nendpoint = \"localhost\"\nclient_id = \"thing-1\"\nprotocol = \"3.1.1\"\nkeepalive = \"60s\"\nport = \"8883\"\n";
    let drop_in = "[connectoin]\n[connection]\nack_timeout = 10\n[[publish]]\nname = \"p\"\n";
    let found = load(main, &[("10-more.toml", drop_in)]).unwrap_err();
    assert_eq!(
        found,
        [
            "gatewire.toml:5: `connection.keepalive`: unknown key; did you mean `keep_alive`?",
            "gatewire.toml:6: `connection.port`: must be a number without quotes, 8883",
            "conf.d/10-more.toml:1: `connectoin`: unknown section; did you mean `[connection]`?",
            "conf.d/10-more.toml:3: `connection.ack_timeout`: must be a duration with its unit in quotes, such as \"10s\"",
            "conf.d/10-more.toml:4: `publish.every`: is missing; it is written like `every = \"1m\"` or `cron = \"*/5 * * * *\"`",
            "conf.d/10-more.toml:4: `publish.payload`: is missing; it is written like `payload = { message = \"Hello\" }`",
            "conf.d/10-more.toml:4: `publish.topic`: is missing; it is written like `topic = \"test/topic\"`",
        ]
    );
}

#[test]
fn mqtt_5_is_spoken_unless_3_1_1_is_asked_for() {
    let without = CONNECTION.replace("protocol = \"3.1.1\"\n", "");
    assert_eq!(load(&without, &[]).unwrap().0.connection.protocol, Protocol::Mqtt5);
    let five = CONNECTION.replace("3.1.1", "5");
    assert_eq!(load(&five, &[]).unwrap().0.connection.protocol, Protocol::Mqtt5);
    assert_eq!(load(CONNECTION, &[]).unwrap().0.connection.protocol, Protocol::Mqtt311);
    let found = load(&CONNECTION.replace("3.1.1", "3.1"), &[]).unwrap_err();
    assert!(found.len() == 1 && found[0].contains("isn't one of \"5\", \"3.1.1\""), "{found:#?}");
}

#[test]
fn what_is_needed_is_asked_for() {
    let found = load("", &[]).unwrap_err();
    assert!(
        found.iter().any(|error| error.starts_with("gatewire.toml:1: `connection.endpoint`: is missing")),
        "{found:#?}"
    );
}

#[test]
fn a_keep_alive_may_be_found_by_trying() {
    let (config, warnings) = load(&format!("{CONNECTION}keep_alive = \"auto\""), &[]).unwrap();
    assert_eq!((config.connection.keep_alive, warnings), (KeepAlive::UpTo(Duration::from_secs(1200)), vec![]));
    // Blanks at the ends are no part of it, as they aren't of a duration.
    let (config, _) = load(&format!("{CONNECTION}keep_alive = \" auto \""), &[]).unwrap();
    assert_eq!(config.connection.keep_alive, KeepAlive::UpTo(Duration::from_secs(1200)));
    let errors = load(&format!("{CONNECTION}keep_alive = \"AUTO\""), &[]).unwrap_err();
    assert!(errors.len() == 1 && errors[0].ends_with("\"AUTO\" is written \"auto\""), "{errors:?}");
    let errors = load(&format!("{CONNECTION}keep_alive = \"auot\""), &[]).unwrap_err();
    assert!(errors.len() == 1 && errors[0].ends_with("\"7d\", nor \"auto\""), "{errors:?}");
}

#[test]
fn a_short_keep_alive_is_a_warning() {
    let (_, warnings) = load(&format!("{CONNECTION}keep_alive = \"5s\""), &[]).unwrap();
    assert_eq!(warnings, ["gatewire.toml:5: warning: `connection.keep_alive`: IoT Core counts less than 30s as 30s"]);
}

#[test]
fn a_keep_alive_that_is_found_by_trying_wants_a_session() {
    let auto = format!("{CONNECTION}keep_alive = \"auto\"\nsession_expiry = ");
    let (_, warnings) = load(&format!("{auto}\"0s\""), &[]).unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("without a session (session_expiry = \"0s\")"), "{warnings:?}");
    assert_eq!(load(&format!("{auto}\"1h\""), &[]).unwrap().1, [""; 0]);
}

#[test]
fn a_max_that_is_shorter_than_the_default_of_first_is_one_for_that_too() {
    let backoff = "backoff = { min = \"10ms\", max = \"20ms\" }\n";
    let (config, _) = load(&format!("{CONNECTION}{backoff}"), &[]).unwrap();
    assert_eq!(config.connection.backoff.first, Duration::from_millis(20));
}

#[test]
fn later_files_win_and_arrays_of_tables_append() {
    let first = "[connection]\nport = 1\nbackoff = { min = \"2s\" }\n";
    let second = format!("[connection]\nport = 2\nbackoff.max = \"3s\"\n{}", publish("").replace("\"p\"", "\"q\""));
    let hidden = "nonsense =";
    let files = [("20.toml", second.as_str()), ("10.toml", first), ("30.txt", hidden), (".40.toml", hidden)];
    let (config, _) = load(&format!("{CONNECTION}{}", publish("")), &files).unwrap();
    assert_eq!(config.connection.port, 2);
    let backoff = &config.connection.backoff;
    assert_eq!((backoff.min, backoff.max), (Duration::from_secs(2), Duration::from_secs(3)));
    let names: Vec<&str> = config.publish.iter().map(|publish| publish.name.as_str()).collect();
    assert_eq!(names, ["p", "q"]);
    let found = load(&format!("{CONNECTION}{}", publish("")), &[("10.toml", &publish(""))]).unwrap_err();
    assert_eq!(found, ["conf.d/10.toml:2: `publish.name`: \"p\" is taken by the [[publish]] at gatewire.toml:6"]);
}

#[test]
fn placeholders_and_directories_are_filled_in() {
    let text = format!(
        "{}{}[[ingest]]\nname = \"i\"\nsocket = \"$RUNTIME_DIRECTORY/i.sock\"\ntopics = [\"g/{{{{client_id}}}}/#\"]\n",
        CONNECTION.replace("thing-1", "thing-{{hostname}}"),
        publish("").replace("\"t\"", "\"g/{{client_id}}\"")
    );
    let (config, _) = load(&text, &[]).unwrap();
    assert_eq!(config.connection.client_id, "thing-pi4");
    assert_eq!(config.publish[0].topic.as_str(), "g/thing-pi4");
    assert_eq!(config.ingest[0].topics[0].as_str(), "g/thing-pi4/#");
    assert!(config.ingest[0].urgent);
    assert_eq!(config.ingest[0].socket.path, Path::new("/run/a/i.sock"));
    // What follows can't lead out of the directory.
    let (config, _) = load(&text.replace("Y/i.sock", "Y//etc/i.sock"), &[]).unwrap();
    assert_eq!(config.ingest[0].socket.path, Path::new("/run/a/etc/i.sock"));
    let found = load(&CONNECTION.replace("thing-1", "{{client_id}}"), &[]).unwrap_err();
    assert!(found[0].contains("but not itself"), "{found:#?}");
}

#[test]
fn a_will_has_its_placeholders_filled_in_and_defaults() {
    let read = |will: &str| load(&format!("{CONNECTION}will = {will}\n"), &[]).unwrap().0.connection.will.unwrap();
    let will = read("{ topic = \"g/{{client_id}}/link\", payload = \"{{hostname}} lost\" }");
    assert_eq!((will.topic.as_str(), &will.payload[..]), ("g/thing-1/link", &b"pi4 lost"[..]));
    assert_eq!((will.qos, will.retain), (Qos::AtLeastOnce, false));
    let will = read("{ topic = \"t\", payload = { up = false, on = \"{{hostname}}\" }, qos = 0, retain = true }");
    assert_eq!(&will.payload[..], br#"{"up":false,"on":"pi4"}"#);
    assert_eq!((will.qos, will.retain), (Qos::AtMostOnce, true));
    assert_eq!(&read("{ topic = \"t\", payload = \"\" }").payload[..], b"");
    assert_eq!(load(CONNECTION, &[]).unwrap().0.connection.will, None);
}

#[test]
fn a_birth_has_its_placeholders_filled_in_and_defaults() {
    let read = |birth: &str| load(&format!("{CONNECTION}birth = {birth}\n"), &[]).unwrap().0.connection.birth.unwrap();
    let birth = read("{ topic = \"g/{{thing}}/link\", payload = { up = true, on = \"{{hostname}}\" } }");
    assert_eq!((birth.topic.as_str(), &birth.payload[..]), ("g/thing-1/link", &br#"{"up":true,"on":"pi4"}"#[..]));
    assert_eq!((birth.qos, birth.retain), (Qos::AtLeastOnce, false));
    let birth = read("{ topic = \"$aws/things/thing-1/shadow/update\", payload = \"{}\", qos = 0 }");
    assert_eq!((birth.qos, birth.retain), (Qos::AtMostOnce, false));
    assert_eq!(load(CONNECTION, &[]).unwrap().0.connection.birth, None);
}

#[test]
fn readers_that_may_ask_for_what_there_is_no_room_for_are_warned_of() {
    let warnings = |most: usize| {
        let forward = "[[forward]]\nname = \"f\"\nfilters = [\"a\", \"b\"]\nallow = [\"x/#\"]\nsocket = \"/s\"\n";
        load(&format!("{CONNECTION}max_subscriptions = {most}\n{forward}"), &[]).unwrap().1
    };
    let found = warnings(2);
    assert!(
        found.len() == 1 && found[0].contains("`forward.allow`: readers of \"f\" can have no filter of their own"),
        "{found:?}"
    );
    assert_eq!(warnings(3), [""; 0]);
}

#[test]
fn what_does_not_go_together_is_found() {
    let forward =
        |n: usize, filters: &str| format!("[[forward]]\nname = \"f{n}\"\nfilters = [{filters}]\nsocket = \"/s{n}\"\n");
    let many = |from: usize, to: usize| (from..to).map(|i| format!("\"t/{i}\"")).collect::<Vec<_>>().join(",");
    assert!(load(&format!("{CONNECTION}{}{}", forward(1, &many(0, 50)), forward(2, &many(10, 40))), &[]).is_ok());
    let found = errors(&format!("{}{}", forward(1, &many(0, 30)), forward(2, &many(25, 51))));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("gatewire.toml:11: `forward.filters`: with those of \"f2\" there are 51 filters"),
        "{found:#?}"
    );
    assert!(found[0].contains("connection.max_subscriptions allows 50; a wildcard"), "{found:#?}");
    // Another broker may take more, or fewer.
    let with_most = |most: usize, n: usize| {
        load(&format!("{CONNECTION}max_subscriptions = {most}\n{}", forward(1, &many(0, n))), &[]).is_ok()
    };
    assert!(with_most(51, 51) && with_most(2, 2) && !with_most(51, 52) && !with_most(2, 3));
    let found = errors(&format!("{}{}", forward(1, "\"a\""), forward(1, "\"b\"").replace("f1", "g")));
    assert_eq!(
        found,
        [
            "gatewire.toml:12: `forward.socket`: /s1 is gatewire's own socket, `forward.socket` at gatewire.toml:8; a socket needs a path of its own, such as \"/run/gatewire/NAME.sock\""
        ]
    );
}

#[test]
fn an_error_does_not_hide_another() {
    // Without a client id: whether topics that hold it are right, whether sockets clash, whether conf.d is right.
    let main = CONNECTION.replace("client_id = \"thing-1\"", "client_id = 5")
        + "[[publish]]\nname = \"p\"\ntopic = \"{{client_id}}\"\nevery = \"1s\"\npayload = \"x\"\n\
           [[ingest]]\nname = \"i\"\nsocket = \"/s\"\ntopics = [\n\"a\",\n\"b#\",\n\"c+\"]\n\
           [[forward]]\nname = \"f\"\nsocket = \"/s\"\nfilters = [\"a\"]\n";
    let drop_ins: [(&str, &[u8]); 3] = [("1.toml", b"\xff"), ("2.toml", b"[log]\nlevel = 1\n"), ("3.toml", b"=")];
    assert_eq!(
        load_bytes(main.as_bytes(), &drop_ins).unwrap_err(),
        [
            "gatewire.toml:3: `connection.client_id`: must be a string in quotes, \"5\"",
            "gatewire.toml:12: `ingest.socket`: /s is gatewire's own socket, `forward.socket` at gatewire.toml:19; a socket needs a path of its own, such as \"/run/gatewire/NAME.sock\"",
            "gatewire.toml:15: `ingest.topics`: \"b#\" isn't a topic filter: `#` must stand alone after the last slash",
            "gatewire.toml:16: `ingest.topics`: \"c+\" isn't a topic filter: `+` must stand alone between slashes",
            "conf.d/1.toml:1: the byte 0xFF in column 1 is a `ÿ` in Latin-1, and isn't UTF-8. Type the character again and save the \
             file as UTF-8, or convert it: `iconv -f LATIN1 -t UTF-8 conf.d/1.toml > /tmp/utf8.toml`, and copy that over it",
            "conf.d/2.toml:2: `log.level`: must be a string in quotes, \"1\"",
            "conf.d/3.toml:1: there is no key before the `=`",
        ]
    );
}

#[test]
fn credentials_can_be_checked_although_something_else_is_wrong() {
    let tls = |text: &str| {
        let directory = files(text.as_bytes(), &[]);
        read(&directory.path().join("gatewire.toml"), &environment()).unwrap_err().tls.map(|found| found.0)
    };
    let placed = tls("[tls]\nkey_file = \"/here/key\"\n").unwrap();
    assert_eq!(
        (placed.key_file.path().unwrap(), placed.ca_file.file_name().unwrap()),
        (Path::new("/here/key"), "AmazonRootCA1.pem".as_ref())
    );
    // Where nobody knows which files are meant, none are looked at.
    assert_eq!(tls("[tls]\nkey_file = \"here\"\n"), None);
    assert_eq!(tls("[tls\nkey_file = \"/here/key\"\n"), None);
}

#[test]
fn a_wrong_allow_is_told_once_and_filters_need_not_be_there_beside_it() {
    let forward = |rest: &str| {
        load(&format!("{CONNECTION}[[forward]]\nname = \"f\"\nsocket = \"/s\"\n{rest}\n"), &[])
            .map(|(config, _)| config.forward[0].wants())
    };
    for (allow, wrong) in [
        ("\"x/#\"", "must be an array"),
        ("[1]", "must be"),
        ("[\"\"]", "isn't a topic filter"),
        ("[\"a/#/b\"]", "isn't a topic filter"),
        (
            "[\"$share/g/q/#\"]",
            "is a shared subscription, for which a reader can't ask. Write the filter by itself, \"q/#\"",
        ),
    ] {
        let found = forward(&format!("allow = {allow}")).unwrap_err();
        assert!(found.len() == 1 && found[0].contains("`forward.allow`: ") && found[0].contains(wrong), "{found:#?}");
    }
    let asked = "what readers ask for (allow g/thing-1/#, x)";
    assert_eq!(forward("allow = [\"g/{{client_id}}/#\", \"x\"]").unwrap(), asked);
    assert_eq!(
        forward("allow = [\"g/{{client_id}}/#\", \"x\"]\nfilters = [\"a\", \"b\"]").unwrap(),
        format!("a, b, and {asked}")
    );
    assert!(forward("").unwrap_err()[0].contains("`forward.filters`: is missing"));
}
