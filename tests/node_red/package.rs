//! The package: what is in it, what the Debian package has of it, its examples, its own tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::SOCKETS;
use crate::program::{NodeRed, PACKED, Version, path, succeed};
use crate::support::daemon::{Gatewire, Setup};
use crate::support::mosquitto::Mosquitto;
use crate::support::patiently;

fn manifest() -> Value {
    serde_json::from_str(&fs::read_to_string(path("packaging/node-red/package.json")).unwrap()).unwrap()
}

/// The files of the published package.
fn packed() -> BTreeSet<String> {
    let list = succeed(Command::new("tar").arg("-tzf").arg(&PACKED.0));
    list.lines().map(|name| name.strip_prefix("package/").unwrap().to_owned()).collect()
}

#[test]
fn the_published_package_has_what_it_needs_and_nothing_else() {
    let expected = [
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "examples/receive-and-publish.json",
        "examples/requests-and-answers.json",
        "gatewire.html",
        "gatewire.js",
        "icons/gatewire.svg",
        "lib/connection.js",
        "lib/kept.js",
        "lib/lines.js",
        "lib/message.js",
        "lib/queue.js",
        "lib/receiver.js",
        "lib/sender.js",
        "lib/words.js",
        "locales/en-US/gatewire.html",
        "locales/en-US/gatewire.json",
        "package.json",
    ];
    assert_eq!(packed(), expected.map(str::to_owned).into());
    let manifest = manifest();
    assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(manifest["license"], env!("CARGO_PKG_LICENSE"));
    let kinds = ["dependencies", "peerDependencies", "optionalDependencies", "devDependencies"];
    assert!(kinds.iter().all(|kind| manifest.get(kind).is_none()), "{manifest}");
    assert!(manifest["keywords"].as_array().unwrap().contains(&json!("node-red")));
    for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
        let [ours, copy] =
            [path(name), path("packaging/node-red").join(name)].map(|path| fs::read_to_string(path).unwrap());
        assert_eq!(ours, copy, "{name}");
    }
}

#[test]
fn its_own_tests_pass() {
    let mut files: Vec<_> =
        fs::read_dir(path("packaging/node-red/test")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let output = Command::new("node").arg("--test").args(&files).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("\n# fail 0\n"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Each text that the editor shows is there, and each node has its help.
#[test]
fn the_editor_has_a_text_for_each_label_and_help_for_each_node() {
    let read = |name: &str| fs::read_to_string(path("packaging/node-red").join(name)).unwrap();
    let (html, help) = (read("gatewire.html"), read("locales/en-US/gatewire.html"));
    let texts: Value = serde_json::from_str(&read("locales/en-US/gatewire.json")).unwrap();
    let keys: Vec<&str> = html.split("data-i18n=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(keys.len() > 15, "{keys:?}");
    for key in keys {
        let pointer = format!("/{}", key.rsplit(']').next().unwrap().replace('.', "/"));
        assert!(texts.pointer(&pointer).is_some_and(Value::is_string), "{key}");
    }
    for node in ["gatewire in", "gatewire out"] {
        assert!(
            html.contains(&format!("data-template-name=\"{node}\""))
                && html.contains(&format!("registerType('{node}'"))
        );
        assert!(help.contains(&format!("data-help-name=\"{node}\"")));
    }
}

/// Brokers, gatewire, and Node-RED with a flow of this file.
fn with_flow(version: Version, file: &Path) -> (NodeRed, Gatewire, Mosquitto) {
    let broker = Mosquitto::start();
    let gatewire = Setup::new(broker.port, SOCKETS).connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let text = fs::read_to_string(file).unwrap().replace("/run/gatewire", gatewire.directory().to_str().unwrap());
    let mut node_red = NodeRed::new(version, gatewire.directory());
    let flow = serde_json::from_str(&text.replace("thing-gateway-01", "thing-1")).unwrap();
    node_red.replace_flow(flow);
    node_red.run();
    patiently("its connections", || (crate::counts(&gatewire.status()) == (1, 1)).then_some(()));
    (node_red, gatewire, broker)
}

pub(crate) fn the_examples_run(version: Version) {
    let examples = path("packaging/node-red/examples");
    let (node_red, _gatewire, broker) = with_flow(version, &examples.join("receive-and-publish.json"));
    let published = broker.subscribe_with("gateways/thing-1/door", &[], "%p");
    let button = node_red.flow.iter().find(|node| node["type"] == "inject").unwrap()["id"].as_str().unwrap();
    node_red.post(&format!("/inject/{button}"), &[], &json!({}));
    assert_eq!(published.next(), "{\"open\":true}");
    drop(node_red);
    let (_node_red, _gatewire, broker) = with_flow(version, &examples.join("requests-and-answers.json"));
    let answers = broker.subscribe_with("gateways/thing-1/answers", &["-V", "5"], "%p");
    let options = [
        "-V",
        "5",
        "-D",
        "publish",
        "response-topic",
        "gateways/thing-1/answers",
        "-D",
        "publish",
        "correlation-data",
        "7",
    ];
    broker.publish_with("test/topic", b"{\"uptime\":1}", &options);
    let answer: Value = serde_json::from_str(&answers.next()).unwrap();
    assert_eq!(answer["request"], json!({"uptime": 1}));
    assert!(answer["uptime"].is_number());
}

/// What Cargo.toml has of the package for the Debian package, as it is there.
fn install_as_debian_does(root: &Path) {
    let cargo: toml::Table = fs::read_to_string(path("Cargo.toml")).unwrap().parse().unwrap();
    let assets = cargo["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    let mut copied = BTreeSet::new();
    for asset in assets {
        let [from, to] = [0, 1].map(|i| asset[i].as_str().unwrap());
        let Some(to) = to.strip_prefix("usr/share/gatewire/node-red/") else { continue };
        fs::create_dir_all(root.join(to)).unwrap();
        let (directory, name) = from.rsplit_once('/').unwrap();
        let start = name.strip_suffix('*');
        let is_meant = |file: &str| start.map_or(file == name, |start| file.starts_with(start));
        let files = fs::read_dir(path(directory)).unwrap().map(|file| file.unwrap().path());
        let files = files.filter(|file| is_meant(file.file_name().unwrap().to_str().unwrap()));
        for file in files {
            let name = file.file_name().unwrap().to_str().unwrap();
            fs::copy(&file, root.join(to).join(name)).unwrap();
            copied.insert(format!("{to}{name}"));
        }
    }
    // The licences are in the Debian package's own file for them.
    let expected = packed().into_iter().filter(|name| !name.starts_with("LICENSE")).collect();
    assert_eq!(copied, expected, "Cargo.toml has other files for the Debian package");
}

pub(crate) fn the_directory_of_the_debian_package_is_installed_as_printed(version: Version) {
    let home = TempDir::new().unwrap();
    let debian = home.path().join("usr/share/gatewire/node-red");
    install_as_debian_does(&debian);
    let before = succeed(Command::new("find").arg(&debian));
    let broker = Mosquitto::start();
    let gatewire = Setup::new(broker.port, SOCKETS).connect();
    let mut node_red = NodeRed::without_package(version, gatewire.directory());
    std::os::unix::fs::symlink(node_red.directory(), home.path().join(".node-red")).unwrap();
    let commands = |document: &str| {
        let text = fs::read_to_string(path(document)).unwrap();
        let block = text.split("```sh\n").find(|block| block.starts_with("cd ~/.node-red\n")).unwrap().to_owned();
        block.split("\n```").next().unwrap().to_owned()
    };
    assert_eq!(commands("docs/node-red.md"), commands("packaging/node-red/README.md"));
    let script = commands("docs/node-red.md").replace("/usr/share", home.path().join("usr/share").to_str().unwrap());
    succeed(Command::new("sh").args(["-ec", &script]).env("HOME", home.path()));
    assert_eq!(succeed(Command::new("find").arg(&debian)), before, "nothing is written there");
    node_red.run();
    node_red.wait_until_connected();
    // The editor gets the dialogs, the help, the texts, the icon and the examples.
    let html = node_red.get("/nodes", "text/html");
    let dialogs = ["gatewire in", "gatewire out"];
    assert!(dialogs.iter().all(|node| html.contains(&format!("data-template-name=\"{node}\""))));
    assert!(dialogs.iter().all(|node| html.contains(&format!("data-help-name=\"{node}\""))));
    let texts: Value = serde_json::from_str(&node_red.get("/nodes/messages?lng=en-US", "application/json")).unwrap();
    assert_eq!(texts["node-red-contrib-gatewire/gatewire"]["gatewire"]["label"]["socket"], "Socket");
    assert!(node_red.get("/icons/node-red-contrib-gatewire/gatewire.svg", "*/*").starts_with("<svg"));
    assert!(node_red.get("/library/examples/flows/", "application/json").contains("node-red-contrib-gatewire"));
}
