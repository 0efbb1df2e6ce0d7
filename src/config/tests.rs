//! What the reader says of files that people write.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn environment() -> Environment {
    Environment {
        hostname: "pi4".to_owned(),
        runtime_directory: Some("/run/a:/run/b".to_owned()),
        ..Environment::default()
    }
}

/// A directory with `gatewire.toml` and `conf.d` files.
fn files(main: &str, drop_ins: &[(&str, &str)]) -> TempDir {
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
    assert_eq!((connection.port, connection.keep_alive), (8883, Duration::from_secs(60)));
    assert_eq!(connection.backoff.max, Duration::from_secs(120));
    assert_eq!((connection.rate_limit.messages_per_second, connection.rate_limit.bytes_per_second), (100, 512 * 1024));
    assert_eq!(config.tls.key_file, Path::new("/etc/gatewire/certs/private.pem.key"));
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
            "gatewire.toml:6: `connection.port`: must be an integer, not a string",
            "conf.d/10-more.toml:1: `connectoin`: unknown section; did you mean `connection`?",
            "conf.d/10-more.toml:3: `connection.ack_timeout`: must be a duration with its unit in quotes, such as \"10s\"",
            "conf.d/10-more.toml:4: `publish.every`: is missing; it is written like `every = \"1m\"`",
            "conf.d/10-more.toml:4: `publish.payload`: is missing; it is written like `payload = { message = \"Hello\" }`",
            "conf.d/10-more.toml:4: `publish.topic`: is missing; it is written like `topic = \"test/topic\"`",
        ]
    );
}

#[test]
fn an_error_says_what_is_wrong_and_what_is_right() {
    for (rest, line, text) in [
        ("keep_alive = \"1s\"", 5, "`connection.keep_alive`: \"1s\" is out of range, it must be from 5s to 20m"),
        ("keep_alive = \"soon\"", 5, "isn't a duration such as \"500ms\""),
        ("port = 0", 5, "0 is out of range, it must be from 1 to 65535"),
        ("backoff = { min = \"5m\", max = \"1m\" }", 5, "`connection.backoff.min`: must not be longer than `max`"),
        ("backoff = { mim = \"1s\" }", 5, "`connection.backoff.mim`: unknown key; did you mean `min`?"),
        ("rate_limit = { burst = 0 }", 5, "`connection.rate_limit.burst`: 0 is out of range"),
        ("will = { topic = \"t\" }", 5, "`connection.will`: not supported yet"),
        ("proxy = \"http://p\"", 5, "`connection.proxy`: not supported yet"),
        (
            "[[forward]]\nname = \"f\"\nfilters = [\"a/#/b\"]\nsocket = \"/s\"",
            7,
            "\"a/#/b\" isn't a topic filter: `#` must stand",
        ),
        ("[[forward]]\nname = \"f\"\nfilters = []\nsocket = \"/s\"", 7, "must hold at least one string"),
        ("[[forward]]\nname = \"f\"\nfilters = \"a\"\nsocket = \"/s\"", 7, "must be an array of strings"),
        ("[[forward]]\nname = \"f\"\nfilters = [\"a\"]\nsocket = \"s\"", 8, "\"s\" must be an absolute path"),
        (
            "[[forward]]\nname = \"f\"\nfilters = [\"a\"]\nsocket = \"/s\"\nmode = 660",
            9,
            "must be in quotes, such as \"0660\"",
        ),
        (
            "[[forward]]\nname = \"f\"\nfilters = [\"a\"]\nsocket = \"/s\"\nmode = \"0999\"",
            9,
            "isn't permission bits in octal",
        ),
        ("[[forward]]\nname = \"f\"\nfilters = [\"a\"]\nsocket = \"/s\"\nack = \"reader\"", 9, "not supported yet"),
        (
            "[[forward]]\nname = \"f\"\nfilters = [\"a\"]\nsocket = \"/s\"\nformat = \"jsno\"",
            9,
            "did you mean \"json\"?",
        ),
        ("[[forward]]\nname = \"f\"\nfilters = [\"a\"]\nsocket = \"/s\"\nkeep = { bytes = 5 }", 9, "such as \"5 B\""),
        ("[[ingest]]\nname = \"i\"\nsocket = \"$HOME/x\"\ntopics = [\"a\"]", 7, "$HOME can't stand in a path"),
        (
            "[[ingest]]\nname = \"i\"\nsocket = \"$STATE_DIRECTORY/x\"\ntopics = [\"a\"]",
            7,
            "systemd sets it for a unit with `StateDirectory=`",
        ),
        (
            "[[ingest]]\nname = \"i\"\nsocket = \"/x\"\ntopics = [\"a\"]\nbatch = { max = 5 }",
            9,
            "`ingest.batch`: not supported yet",
        ),
        ("[publish]\nname = \"p\"", 5, "`publish`: must be an array of tables, [[publish]]"),
        ("[outbox]\nmax_size = \"lots\"", 6, "isn't a size such as \"512 KiB\""),
        ("[log]\nlevel = \"loud\"", 6, "isn't one of \"error\", \"warn\", \"info\", \"debug\""),
        ("[tls\nca_file = 1", 5, "not TOML"),
    ] {
        let found = errors(rest);
        let expected = format!("gatewire.toml:{line}: ");
        assert!(found.iter().any(|error| error.starts_with(&expected) && error.contains(text)), "{rest}\n{found:#?}");
    }
}

#[test]
fn an_error_in_a_publication_says_what_is_wrong() {
    for (rest, text) in [
        ("qos = 2", "`publish.qos`: IoT Core has no QoS 2; use 1"),
        ("jitter = \"1s\"", "must be shorter than `every`"),
        ("count = 0", "0 is out of range"),
        ("cron = \"* * * * *\"", "`publish.cron`: not supported yet"),
        ("timezone = \"Europe/Berlin\"", "`publish.timezone`: not supported yet"),
        ("file = \"/x\"", "`publish.file`: not supported yet"),
        ("command = [\"x\"]", "`publish.command`: not supported yet"),
        ("metrics = [\"cpu\"]", "`publish.metrics`: not supported yet"),
        ("on_change = true", "`publish.on_change`: not supported yet"),
        ("batch = { max = 50 }", "`publish.batch`: not supported yet"),
        ("retain = 1", "must be true or false"),
        ("topik = 1", "did you mean `topic`?"),
    ] {
        let found = errors(&publish(rest));
        assert!(
            found.len() == 1 && found[0].starts_with("gatewire.toml:10: ") && found[0].contains(text),
            "{found:#?}"
        );
    }
    for (payload, text) in [
        ("\"{{cuont}}\"", "did you mean `{{count}}`?"),
        ("{ v = \"{{value}}\" }", "`{{value}}` is not supported yet"),
        ("{ v = inf }", "JSON has no number inf"),
        ("5", "must be a string, a table or an array, not an integer"),
        (&format!("\"{}\"", "x".repeat(131_073)), "may get 131073 bytes long"),
    ] {
        let found = errors(&publish("").replace("\"x\"", payload));
        assert!(found.len() == 1 && found[0].starts_with("gatewire.toml:9: ") && found[0].contains(text), "{found:#?}");
    }
}

#[test]
fn an_endpoint_copied_from_somewhere_is_explained() {
    for (endpoint, text) in [
        ("https://a.amazonaws.com", "must not begin with \"https://\""),
        ("a.amazonaws.com:8883", "write `endpoint = \"a.amazonaws.com\"` and `port = 8883`"),
        ("a.amazonaws.com/", "must not hold '/'"),
        ("", "must not be empty"),
        (
            "xxxxxxxxxxxxxx-ats.iot.eu-west-1.amazonaws.com",
            "is still the placeholder. Your account's endpoint is shown by",
        ),
    ] {
        let found = load(&CONNECTION.replace("localhost", endpoint), &[]).unwrap_err();
        assert!(found.len() == 1 && found[0].starts_with("gatewire.toml:2: ") && found[0].contains(text), "{found:#?}");
    }
    for endpoint in ["127.0.0.1", "::1", "a1b2-ats.iot.eu-west-1.amazonaws.com"] {
        assert!(load(&CONNECTION.replace("localhost", endpoint), &[]).is_ok(), "{endpoint}");
    }
}

#[test]
fn protocol_5_and_silence_about_it_are_not_supported_yet() {
    for protocol in ["protocol = \"5\"", ""] {
        let found = load(&CONNECTION.replace("protocol = \"3.1.1\"", protocol), &[]).unwrap_err();
        assert!(found.len() == 1 && found[0].contains("not supported yet; write `protocol = \"3.1.1\"`"), "{found:#?}");
    }
    let found = load("", &[]).unwrap_err();
    assert!(
        found.iter().any(|error| error.starts_with("gatewire.toml:1: `connection.endpoint`: is missing")),
        "{found:#?}"
    );
}

#[test]
fn a_short_keep_alive_is_a_warning() {
    let (_, warnings) = load(&format!("{CONNECTION}keep_alive = \"5s\""), &[]).unwrap();
    assert_eq!(warnings, ["gatewire.toml:5: warning: `connection.keep_alive`: IoT Core counts less than 30s as 30s"]);
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
    assert_eq!(config.ingest[0].socket.path, Path::new("/run/a/i.sock"));
    let found = load(&CONNECTION.replace("thing-1", "{{client_id}}"), &[]).unwrap_err();
    assert!(found[0].contains("but not itself"), "{found:#?}");
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
        found[0].starts_with("gatewire.toml:11: `forward.filters`: with \"f2\" there are 51 filters"),
        "{found:#?}"
    );
    let found = errors(&format!("{}{}", forward(1, "\"a\""), forward(1, "\"b\"").replace("f1", "g")));
    assert_eq!(found, ["gatewire.toml:12: `socket`: /s1 is taken by the one at gatewire.toml:8"]);
}

#[test]
fn files_that_cannot_be_read_are_explained() {
    let said = |path: &Path| read(path, &environment()).unwrap_err().to_string();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gatewire.toml");
    assert!(said(&path).contains("there is no such file. The package brings /etc/gatewire/gatewire.toml"));
    assert!(said(directory.path()).contains("it is a directory"));
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(said(&path).contains("it isn't UTF-8"));
}

#[test]
fn the_shipped_configuration_is_right_but_for_its_placeholder_and_names_every_key() {
    let shipped = include_str!("../../config/gatewire.toml");
    let found = load(shipped, &[]).unwrap_err();
    assert!(found.len() == 1 && found[0].contains("is still the placeholder"), "{found:#?}");
    let real = shipped.replace("xxxxxxxxxxxxxx", "a1b2c3");
    assert_eq!(load(&real, &[]).unwrap().1, [""; 0]);
    // The commented keys, taken at their word, change nothing: they are the defaults, except for those that are optional.
    let optional = ["count", "group"];
    let uncommented: String = real
        .lines()
        .map(|line| {
            match line
                .strip_prefix("# ")
                .filter(|rest| is_key(rest) && !optional.iter().any(|key| rest.starts_with(key)))
            {
                Some(key) => format!("{key}\n"),
                None => format!("{line}\n"),
            }
        })
        .collect();
    let (mut explicit, mut implicit) = (load(&uncommented, &[]).unwrap().0, load(&real, &[]).unwrap().0);
    for config in [&mut explicit, &mut implicit] {
        forget_places(config);
    }
    assert_eq!(explicit, implicit);
    for key in [
        "session_expiry",
        "backoff",
        "rate_limit",
        "key_file",
        "at_start",
        "keep",
        "spill_after",
        "level",
        "count",
        "group",
    ] {
        assert!(shipped.contains(&format!("# {key} ")) || shipped.contains(&format!("# {key}  ")), "{key}");
    }
}

fn is_key(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| {
        !key.trim().is_empty() && key.trim().chars().all(|c| c.is_ascii_lowercase() || c == '_')
    })
}

fn forget_places(config: &mut Config) {
    let nowhere = Place { order: 0, file: Path::new("").into(), line: 0 };
    let forwards = config.forward.iter_mut().flat_map(|forward| [&mut forward.place, &mut forward.socket.place]);
    let ingests = config.ingest.iter_mut().map(|ingest| &mut ingest.socket.place);
    for place in forwards.chain(ingests).chain([&mut config.status.socket.place]) {
        *place = nowhere.clone();
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[\\[\\]a-z_=\"{}0-9.,\n# ]{0,300}") {
        let _ = load(&text, &[]);
        let _ = load(&format!("{CONNECTION}{text}"), &[]);
    }
}
