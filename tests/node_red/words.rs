//! What a person sees under the nodes and in the log of Node-RED.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::program::{INSTALLED, NodeRed, Version, succeed};
use crate::support::daemon::Setup;
use crate::support::mosquitto::Mosquitto;
use crate::support::patiently;

pub(crate) fn each_failure_is_told_under_the_node(version: Version) {
    let broker = Mosquitto::start();
    let setup = crate::setup(broker.port);
    let directory = setup.directory.path().to_owned();
    let mut node_red = NodeRed::start(version, &directory);
    for node in ["gw-in", "gw-out"] {
        let status = node_red.wait_for_status(node, "waiting for gatewire: there is no ");
        assert_eq!(status["fill"], "red");
    }
    patiently("the log", || node_red.log().contains("`systemctl status gatewire`").then_some(()));
    let gatewire = setup.connect();
    node_red.wait_until_connected();
    // Each at the socket of the other. What waits for a reader isn't taken from it.
    let [messages, publish] = ["messages.sock", "publish.sock"].map(|name| directory.join(name));
    node_red.node("gw-in")["socket"] = json!(publish);
    node_red.deploy("nodes");
    node_red.wait_for_status("gw-in", "not the socket of a [[forward]]");
    broker.wait_for("Sending SUBACK to thing-1");
    broker.publish("test/topic", b"1");
    patiently("a waiting message", || (gatewire.status()["forward"][0]["waiting"] == 1).then_some(()));
    node_red.node("gw-out")["socket"] = json!(messages);
    node_red.deploy("nodes");
    patiently("an observer", || (gatewire.status()["forward"][0]["observers"] == 1).then_some(()));
    broker.publish("test/topic", b"2");
    node_red.wait_for_status("gw-out", "not the socket of an [[ingest]]");
    patiently("both wait", || (gatewire.status()["forward"][0]["waiting"] == 2).then_some(()));
    node_red.node("gw-in")["socket"] = json!(directory.join("status.sock"));
    node_red.node("gw-out")["socket"] = json!(directory.join("status.sock"));
    node_red.deploy("nodes");
    node_red.wait_for_status("gw-in", "not the socket of a [[forward]]");
    node_red.wait_for_status("gw-out", "not the socket of an [[ingest]]");
    assert_eq!(gatewire.status()["ingest"][0]["refused"], json!({}));
    // Corrected.
    node_red.node("gw-in")["socket"] = json!(messages);
    node_red.node("gw-out")["socket"] = json!(publish);
    node_red.deploy("nodes");
    assert_eq!(node_red.next("message", 2)[1]["payload"], 2);
    node_red.wait_until_connected();
    gatewire.kill();
    node_red.wait_for_status("gw-in", "waiting for gatewire, which isn't running");
    fs::remove_file(&messages).unwrap();
    fs::write(&messages, "").unwrap();
    node_red.node("gw-in")["name"] = json!("again");
    node_red.deploy("nodes");
    node_red.wait_for_status("gw-in", "isn't a socket");
    fs::remove_file(&messages).unwrap();
    other_forwards(&setup, &mut node_red);
}

/// One that doesn't want acknowledgements, and one that can't be read.
fn other_forwards(setup: &Setup, node_red: &mut NodeRed) {
    let gatewire = setup.again().edit("ack = \"reader\"\n", "").connect();
    node_red.wait_until_connected();
    let publish = |gatewire: &crate::support::daemon::Gatewire, payload: u32| {
        let line = json!({"topic": "gateways/thing-1/echo", "payload": payload}).to_string();
        let mut client = gatewire.client("publish.sock");
        client.send(&line);
        assert_eq!(client.json()["result"], "delivered");
    };
    (10..13).for_each(|n| publish(&gatewire, n));
    patiently("the last", || node_red.all("message").iter().any(|message| message["payload"] == 12).then_some(()));
    patiently("the log", || node_red.log().contains("add `ack = \"reader\"` to its [[forward]]").then_some(()));
    assert_eq!(node_red.log().matches("messages aren't acknowledged").count(), 1);
    gatewire.kill();
    let gatewire = setup.again().edit("name = \"messages\"\n", "name = \"messages\"\nformat = \"payload\"\n").connect();
    node_red.wait_until_connected();
    publish(&gatewire, 3);
    node_red.wait_for_status("gw-in", "not the socket of a [[forward]]");
    patiently("the log", || node_red.log().contains("it doesn't give JSON objects").then_some(()));
}

/// A user who isn't in the group is told which, and how to join it.
#[test]
fn a_user_without_the_right_is_told_which_group_to_join() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let directory = TempDir::new().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let package = INSTALLED.path().join("node_modules/node-red-contrib-gatewire");
    succeed(Command::new("cp").arg("-r").arg(package).arg(directory.path()));
    let socket = directory.path().join("publish.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let (adm, nobody) = (4, "65534");
    chown(&socket, Some(0), Some(adm)).unwrap();
    let script = "const { Connection } = require('./node-red-contrib-gatewire/lib/connection');\n\
                  new Connection(process.argv[1], '[[ingest]]', { problem: (words) => {\n\
                      console.log(JSON.stringify(words));\nprocess.exit();\n} });";
    let said = |mode: u32| {
        fs::set_permissions(&socket, fs::Permissions::from_mode(mode)).unwrap();
        let mut node = Command::new("setpriv");
        node.args(["--reuid", nobody, "--regid", nobody, "--clear-groups", "node", "-e", script, "--"]).arg(&socket);
        succeed(node.current_dir(directory.path()))
    };
    let group = said(0o660);
    assert!(group.contains("no permission: user nobody isn't in group adm"), "{group}");
    assert!(group.contains("`sudo usermod -aG adm nobody`, then restart Node-RED"), "{group}");
    assert!(said(0o600).contains("set `mode = \\\"0660\\\"`"));
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let inner = directory.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o700)).unwrap();
    let mut node = Command::new("setpriv");
    node.args(["--reuid", nobody, "--regid", nobody, "--clear-groups", "node", "-e", script, "--"])
        .arg(inner.join("x.sock"));
    let directory_said = succeed(node.current_dir(directory.path()));
    assert!(directory_said.contains("may not enter the directory of"), "{directory_said}");
}
