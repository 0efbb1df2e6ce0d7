//! `gatewire bridge`, and what `check` and `policy` say of bridges.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use support::CERTIFICATES;
use tempfile::TempDir;

const CONNECTION: &str =
    "[connection]\nendpoint = \"a1b2c3d4e5f6g7-ats.iot.eu-west-1.amazonaws.com\"\nclient_id = \"gw\"\n";

const HOUSE: &str = "[[bridge]]\nname = \"house\"\nbroker = \"127.0.0.1:1883\"\n\
                     [[bridge.up]]\nfrom = \"zigbee2mqtt/+\"\nstrip = \"zigbee2mqtt/\"\nto = \"gateways/{{client_id}}/z2m/\"\n\
                     except = [\"zigbee2mqtt/bridge\"]\nevery = \"30s\"\non_change = true\nbatch = { max = 5, within = \"10s\" }\n\
                     [[bridge.up]]\nfrom = \"tele/#\"\nretain = true\n\
                     [[bridge.down]]\nfrom = \"gateways/{{client_id}}/set/#\"\nstrip = \"gateways/{{client_id}}/set/\"\nto = \"zigbee2mqtt/\"\n";

/// Exit code, standard output, standard error.
type Said = (Option<i32>, String, String);

fn gatewire(directory: &Path, arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewire"));
    let output = command.current_dir(directory).args(["--config", "gatewire.toml"]).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn configured(text: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("gatewire.toml"), format!("{CONNECTION}{text}")).unwrap();
    directory
}

#[test]
fn a_topic_is_told_with_its_rule_and_what_becomes_of_it() {
    let directory = configured(HOUSE);
    let says = |topic: &str| gatewire(directory.path(), &["bridge", topic]);
    assert_eq!(
        says("zigbee2mqtt/lamp"),
        (
            Some(0),
            "house: up, by rule 1 from zigbee2mqtt/+: zigbee2mqtt/lamp becomes gateways/gw/z2m/lamp at IoT Core\n  \
             every: only the newest message of the topic, at most once in 30s\n  on_change: only if it differs from the topic's last one\n  \
             batch: in JSON arrays of up to 5, the first waits at most 10s\n  retain: what is retained here isn't retained at IoT Core\n"
                .to_owned(),
            String::new()
        )
    );
    assert_eq!(
        says("tele/plug/STATE").1,
        "house: up, by rule 2 from tele/#: tele/plug/STATE becomes tele/plug/STATE at IoT Core\n  \
         retain: what is retained here is retained at IoT Core, too\n"
    );
    assert_eq!(
        says("gateways/gw/set/lamp/set").1,
        "house: down, by rule 1 from gateways/gw/set/#: gateways/gw/set/lamp/set becomes zigbee2mqtt/lamp/set at the local broker\n"
    );
}

#[test]
fn a_topic_that_does_not_arrive_is_told_with_the_reason() {
    let directory = configured(HOUSE);
    let says = |topic: &str| gatewire(directory.path(), &["bridge", topic]);
    let (exit, out, _) = says("zigbee2mqtt/bridge");
    assert_eq!(exit, Some(1));
    assert!(
        out.starts_with(
            "house: up: zigbee2mqtt/bridge is left out by `except`, zigbee2mqtt/bridge, of rule 1 from zigbee2mqtt/+;"
        ),
        "{out}"
    );
    assert!(
        out.contains("\nhouse: down: no rule takes zigbee2mqtt/bridge; the rules take gateways/gw/set/#\n"),
        "{out}"
    );
    let (exit, out, _) = says("tele/1/2/3/4/5/6/7/8");
    assert_eq!(exit, Some(1));
    assert!(
        out.contains("is left out (too_many_slashes): its topic there would have more than the 7 slashes"),
        "{out}"
    );
    for (topic, expected) in [
        (
            "zigbee2mqtt/#",
            "\"zigbee2mqtt/#\" is a filter, and what becomes of each of its topics may differ: name one topic, such as \"zigbee2mqtt/x\"",
        ),
        ("", "\"\" isn't a topic: it is empty"),
        ("a\u{1}", "\"a\\u0001\" isn't a topic: it has a control character"),
    ] {
        let (exit, out, err) = says(topic);
        assert!(exit == Some(64) && out.is_empty() && err.starts_with(expected), "{topic}: {err}");
    }
    assert_eq!(gatewire(directory.path(), &["bridge"]).0, Some(64));
    let none = configured("");
    assert_eq!(
        gatewire(none.path(), &["bridge", "a"]),
        (Some(1), "there is no [[bridge]] in the configuration\n".to_owned(), String::new())
    );
    let wrong = configured("[[bridge]]\n");
    let (exit, _, err) = gatewire(wrong.path(), &["bridge", "a"]);
    assert!(exit == Some(78) && err.contains("`bridge.name`: is missing"), "{err}");
}

#[test]
fn each_bridge_that_takes_a_topic_is_told() {
    let second = HOUSE.replace("\"house\"", "\"attic\"").replace("127.0.0.1", "192.168.1.9");
    let directory = configured(&format!("{HOUSE}{second}"));
    let (exit, out, _) = gatewire(directory.path(), &["bridge", "tele/x"]);
    assert_eq!(exit, Some(0));
    assert!(out.starts_with("house: up, by rule 2") && out.contains("\nattic: up, by rule 2"), "{out}");
}

#[test]
fn the_policy_has_the_prefixes_of_bridges_and_allows_them() {
    let directory = configured(HOUSE);
    let (exit, policy, err) = gatewire(directory.path(), &["policy", "--account", "123456789012"]);
    assert_eq!((exit, err.as_str()), (Some(0), ""));
    let policy_of: serde_json::Value = serde_json::from_str(&policy).unwrap();
    let statement = |sid: &str| {
        let statements = policy_of["Statement"].as_array().unwrap();
        let found = statements
            .iter()
            .find(|statement| statement["Sid"] == sid)
            .unwrap_or_else(|| panic!("no {sid} in {policy}"));
        let resources = match &found["Resource"] {
            serde_json::Value::Array(all) => all.iter().map(|one| one.as_str().unwrap().to_owned()).collect(),
            one => vec![one.as_str().unwrap().to_owned()],
        };
        let names: Vec<String> =
            resources.iter().map(|resource| resource.rsplit_once(":123456789012:").unwrap().1.to_owned()).collect();
        (found["Action"].as_str().unwrap().to_owned(), names)
    };
    let of = |action: &str, names: &[&str]| {
        (action.to_owned(), names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(
        statement("PublishBridge"),
        of("iot:Publish", &["topic/gateways/gw/z2m/*", "topic/tele", "topic/tele/*"])
    );
    assert_eq!(statement("Retain"), of("iot:RetainPublish", &["topic/tele", "topic/tele/*"]));
    assert_eq!(statement("SubscribeBridge"), of("iot:Subscribe", &["topicfilter/gateways/gw/set/#"]));
    assert_eq!(statement("ReceiveBridge"), of("iot:Receive", &["topic/gateways/gw/set/*"]));
    fs::write(directory.path().join("policy.json"), &policy).unwrap();
    let (exit, out, _) = gatewire(directory.path(), &["policy", "--against", "policy.json"]);
    assert!(exit == Some(0) && out.contains("bridge \"house\""), "{out}");
    // What a rule makes is denied where only what it takes is allowed.
    fs::write(directory.path().join("policy.json"), policy.replace("topic/gateways/gw/z2m/*", "topic/zigbee2mqtt/*"))
        .unwrap();
    assert_eq!(gatewire(directory.path(), &["policy", "--against", "policy.json"]).0, Some(1));
}

#[test]
fn a_bridge_of_mosquitto_is_translated_with_the_files_that_it_includes() {
    let directory = configured("");
    let conf = directory.path().join("conf.d");
    fs::create_dir(&conf).unwrap();
    fs::write(directory.path().join("mosquitto.conf"), "persistence true\ninclude_dir conf.d\n").unwrap();
    let bridge = "connection aws\naddress a1b2c3d4e5f6g7-ats.iot.eu-west-1.amazonaws.com:8883\ntopic # out 1 tele/ gateways/gw/tele/\nbridge_outgoing_retain false\n";
    fs::write(conf.join("aws.conf"), bridge).unwrap();
    fs::write(conf.join("readme.txt"), "frobnicate\n").unwrap();
    let translate = |file: &str| gatewire(directory.path(), &["bridge", "--from-mosquitto", file]);
    let (exit, toml, err) = translate("mosquitto.conf");
    assert_eq!((exit, err.as_str()), (Some(0), ""), "{toml}");
    fs::write(directory.path().join("gatewire.toml"), format!("{CONNECTION}{toml}")).unwrap();
    let (exit, out, _) = gatewire(directory.path(), &["bridge", "tele/plug/STATE"]);
    assert!(exit == Some(0) && out.contains("becomes gateways/gw/tele/plug/STATE"), "{out}");
    fs::write(conf.join("b.conf"), "frobnicate yes\n").unwrap();
    let (exit, _, err) = translate("mosquitto.conf");
    assert_eq!(
        (exit, err.as_str()),
        (Some(1), "conf.d/b.conf:1: gatewire doesn't know `frobnicate` as an option of mosquitto, and leaves it out\n")
    );
    let (exit, out, err) = translate("nowhere.conf");
    assert_eq!((exit, out.as_str(), err.as_str()), (Some(78), "", "nowhere.conf: there is no such file\n"));
    let (exit, out, err) = translate("conf.d");
    assert_eq!((exit, out.as_str()), (Some(78), ""));
    assert!(err.starts_with("conf.d: it is a directory; name a file, such as /etc/"), "{err}");
    let (exit, out, err) = translate("gatewire.toml");
    assert_eq!((exit, out.as_str()), (Some(1), ""));
    assert!(err.starts_with("gatewire.toml: there is no `connection` in it or in the files that it includes"), "{err}");
    fs::write(conf.join("b.conf"), "").unwrap();
    fs::write(conf.join("aws.conf"), bridge.replace("# out", "# sideways")).unwrap();
    let (exit, out, err) = translate("mosquitto.conf");
    assert_eq!((exit, out.as_str()), (Some(1), ""));
    assert!(err.contains("conf.d/aws.conf:1: the connection \"aws\" is left with no `topic`"), "{err}");
}

/// What stands in the blocks of this kind in docs/bridge.md.
fn blocks(kind: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bridge.md")).unwrap();
    let start = format!("```{kind}\n");
    let blocks = text.split(&start).skip(1).map(|rest| format!("{}\n", rest.split("\n```").next().unwrap()));
    blocks.collect()
}

#[test]
fn every_configuration_of_the_page_can_be_used() {
    let blocks = blocks("toml");
    assert!(blocks.len() > 6, "{blocks:?}");
    for block in blocks {
        let own = TempDir::new().unwrap();
        let tls = "[tls]\nca_file = \"$CREDENTIALS_DIRECTORY/AmazonRootCA1.pem\"\ncert_file = \"$CREDENTIALS_DIRECTORY/certificate.pem.crt\"\n\
                   key_file = \"$CREDENTIALS_DIRECTORY/private.pem.key\"\n";
        let path = own.path().to_str().unwrap();
        let places = format!("[status]\nsocket = \"{path}/status.sock\"\n[outbox]\npath = \"{path}/gatewire.db\"\n");
        // A client id of the length that AWS's examples have.
        let connection = CONNECTION.replace("\"gw\"", "\"thing-gateway-01\"");
        fs::write(
            own.path().join("gatewire.toml"),
            format!("{connection}{tls}{places}{}", block.replace("/etc/gatewire", path)),
        )
        .unwrap();
        for name in ["house-ca.pem", "house.password"] {
            let file = own.path().join(name);
            fs::copy(CERTIFICATES.path("AmazonRootCA1.pem"), &file).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(own.path().join("house.password"), "x").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatewire"));
        command
            .args(["--config", &format!("{path}/gatewire.toml"), "check"])
            .env("CREDENTIALS_DIRECTORY", CERTIFICATES.path(""));
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let about_the_bridge: Vec<&str> = said.lines().filter(|line| line.contains("bridge")).collect();
        assert!(output.status.success() && about_the_bridge.is_empty(), "{block}\n{said}");
    }
}

#[test]
fn the_translation_on_the_page_is_the_commands() {
    let [conf] = &blocks("conf")[..] else { panic!("one file of mosquitto's") };
    let directory = configured("");
    fs::write(directory.path().join("mosquitto.conf"), conf).unwrap();
    let (exit, toml, err) = gatewire(directory.path(), &["bridge", "--from-mosquitto", "mosquitto.conf"]);
    assert_eq!((exit, err.as_str()), (Some(0), ""));
    assert!(blocks("toml").contains(&toml), "docs/bridge.md doesn't have\n{toml}");
}

#[test]
fn check_names_files_of_a_bridge_that_others_can_read_or_gatewire_cannot() {
    let directory = configured("");
    let path = directory.path().to_str().unwrap();
    let house = format!(
        "[[bridge]]\nname = \"house\"\nbroker = \"h:8883\"\ntls = {{ ca_file = \"{path}/ca.pem\" }}\nusername = \"u\"\n\
         password_file = \"{path}/password\"\n[[bridge.up]]\nfrom = \"a\"\n"
    );
    fs::write(directory.path().join("gatewire.toml"), format!("{CONNECTION}{house}")).unwrap();
    let said = || gatewire(directory.path(), &["check"]).2;
    let missing = said();
    let line = |key: &str, file: &str| format!("warning: bridge house: `{key}` {path}/{file} isn't there");
    assert!(missing.contains(&format!("gatewire.toml:7: {}", line("ca_file", "ca.pem"))), "{missing}");
    assert!(missing.contains(&format!("gatewire.toml:9: {}", line("password_file", "password"))), "{missing}");
    for file in ["ca.pem", "password"] {
        fs::write(directory.path().join(file), "hunter2").unwrap();
        fs::set_permissions(directory.path().join(file), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let open = said();
    let warning = "gatewire.toml:9: warning: `bridge.password_file`: others than gatewire can read the password; let gatewire alone read";
    assert!(open.contains(warning) && !open.contains("hunter2"), "{open}");
    let ca = format!("gatewire.toml:7: warning: bridge house: tls.ca_file {path}/ca.pem: ");
    assert!(open.contains(&ca), "it is no certificate: {open}");
    fs::set_permissions(directory.path().join("password"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(!said().contains("password"));
    for unusable in [&b""[..], b"two\nlines\n", b"not \xff text"] {
        fs::write(directory.path().join("password"), unusable).unwrap();
        let said = said();
        let line = format!("gatewire.toml:9: warning: bridge house: password_file {path}/password: it ");
        assert!(said.contains(&line), "{unusable:?}: {said}");
    }
}

#[test]
fn before_there_is_an_identity_its_name_is_a_placeholder() {
    let directory = TempDir::new().unwrap();
    let text = "[connection]\nendpoint = \"localhost\"\nclient_id = \"{{thing}}\"\n[provisioning]\ntemplate = \"t\"\n\
        claim_cert_file = \"/c/cert\"\nclaim_key_file = \"/c/key\"\n[jobs]\nsocket = \"/run/jobs.sock\"\n\
        [[bridge]]\nname = \"house\"\nbroker = \"127.0.0.1:1883\"\n[[bridge.up]]\nfrom = \"thing/#\"\nto = \"{{thing}}/\"\n\
        [[bridge.down]]\nfrom = \"{{thing}}/set/#\"\nstrip = \"{{thing}}/\"\n";
    fs::write(directory.path().join("gatewire.toml"), text).unwrap();
    let says = |topic: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatewire"));
        command.current_dir(directory.path()).env("STATE_DIRECTORY", directory.path());
        let output = command.args(["--config", "gatewire.toml", "bridge", topic]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = says("thing/lamp");
    assert!(code == Some(0) && said.contains("thing/lamp becomes {{thing}}/thing/lamp at IoT Core\n"), "{said}");
    assert!(said.contains("{{thing}} is the name of the thing, which AWS is yet to give"), "{said}");
    let (code, said) = says("{{thing}}/set/lamp");
    assert!(code == Some(0) && said.contains("{{thing}}/set/lamp becomes set/lamp at the local broker\n"), "{said}");
}

#[test]
fn an_urgent_rule_is_told() {
    let directory = configured(
        "[[bridge]]\nname = \"house\"\nbroker = \"localhost:1883\"\n[[bridge.up]]\nfrom = \"alarm/#\"\nurgent = true\n",
    );
    assert_eq!(
        gatewire(directory.path(), &["bridge", "alarm/door"]).1,
        "house: up, by rule 1 from alarm/#: alarm/door becomes alarm/door at IoT Core\n  \
         urgent: before everything that isn't urgent and hasn't been sent\n  \
         retain: what is retained here isn't retained at IoT Core\n"
    );
}
